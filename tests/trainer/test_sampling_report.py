"""What fewer samples would have given, replayed from a small made-up night."""

from __future__ import annotations

from pathlib import Path

import pytest

from infra.errors import NightError
from trainer.journal import write_whole
from trainer.notes import Resampled, Scored
from trainer.resample import Sampled
from trainer.reward.model import Reward
from trainer.rounds import rounds, settled
from trainer.sampling_report import fixed, groups, main, outcomes, replay


def rewards(*values: float) -> tuple[Reward, ...]:
    return tuple(Reward(value, good=value >= 0.6) for value in values)


# Right at once; hopeless; right at the seventh sample.
NIGHT_Q_N = (
    rewards(0.5, 1.0, 0.4, 0.4, 0.4, 0.4, 0.4, 0.4),
    rewards(*[0.1] * 8),
    rewards(0.4, 0.4, 0.4, 0.4, 0.4, 0.4, 0.8, 0.4),
)


def night(rewards_Q_N: tuple[tuple[Reward, ...], ...] = NIGHT_Q_N) -> tuple[Resampled, Scored]:
    sampled = [
        Sampled(response_id=f"r{place}", texts=("word",) * len(row), tokens=10 * len(row), seconds=1.0)
        for place, row in enumerate(rewards_Q_N)
    ]
    return Resampled(groups=tuple(sampled)), Scored(model="made", version="1", rewards_Q_N=rewards_Q_N)


def test_fixed_and_adaptive_are_counted() -> None:
    known = groups(*night())
    two, eight = replay(known, (2,), fixed), replay(known, (8,), fixed)
    assert (two.samples, eight.samples) == (6, 24)
    assert (two.tokens, eight.tokens) == pytest.approx((60, 240))
    assert (two.good, eight.good) == pytest.approx((1 / 3, 2 / 3))
    assert eight.best == pytest.approx((1.0 + 0.1 + 0.8) / 3)
    assert eight.learned == pytest.approx(0.9)
    adaptive = replay(known, rounds(8), settled)
    assert adaptive.samples == 2 + 4 + 8
    assert (adaptive.good, adaptive.best) == (eight.good, eight.best)


def test_each_way_of_sampling_is_shown() -> None:
    names = [name for name, _ in outcomes(groups(*night()))]
    assert names[:5] == ["fixed 1", "fixed 2", "fixed 4", "fixed 8", "adaptive, perfect 0.95, hopeless 0.3"]


def test_a_nights_folder_is_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(tmp_path)]) == 2
    assert "name the folder" in capsys.readouterr().out
    resampled, scored = night()
    write_whole(tmp_path / "resample.json", resampled)
    write_whole(tmp_path / "score.json", scored)
    assert main([str(tmp_path)]) == 0
    assert "3 queries" in capsys.readouterr().out


def test_an_adaptive_night_cannot_tell() -> None:
    with pytest.raises(NightError, match=r"\[2, 8\]"):
        groups(*night((NIGHT_Q_N[0], rewards(0.1, 0.2))))
