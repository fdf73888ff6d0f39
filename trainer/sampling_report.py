"""What a night would have got from fewer samples: `python -m trainer.sampling_report FOLDER`.

Replays the completions and rewards that a night of a fixed N left in its folder; the engine is not asked. The
engine tells the tokens of a group, so each completion's are taken as its share of the group's characters.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import accumulate
from pathlib import Path
from statistics import fmean

from rich.console import Console
from rich.table import Table

from infra.errors import NightError
from trainer.journal import read_whole
from trainer.notes import Resampled, Scored
from trainer.reward.model import Reward
from trainer.rounds import HOPELESS, PERFECT, rounds, settled

# Stops after the samples so far?
Stop = Callable[[Sequence[Reward]], bool]
# The stop rules that are shown beside the one in use: (perfect, hopeless); values go from 0 to 1.
RULES = ((PERFECT, HOPELESS), (PERFECT, 0.0), (0.9, HOPELESS), (0.8, HOPELESS), (1.0, HOPELESS))


@dataclass(frozen=True, slots=True)
class Group:
    """One query's completions in the order of sampling: tokens and reward of each."""

    tokens_N: tuple[float, ...]
    rewards_N: tuple[Reward, ...]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a way of sampling would have cost and given.

    `good` is the share of queries with a good completion, `best` the mean over all queries of the highest
    reward, `learned` that of the rows to learn from.
    """

    samples: int
    tokens: float
    good: float
    best: float
    learned: float


def groups(resampled: Resampled, scored: Scored) -> list[Group]:
    """The groups of one night.

    Raises:
        NightError: there is none, or their sizes differ: the night was adaptive itself.
    """
    if len({len(group.texts) for group in resampled.groups}) != 1:
        raise NightError(
            f"The groups of this night have {sorted({len(group.texts) for group in resampled.groups})} "
            "completions: only one with the same number for all tells what fewer would give. "
            "Set trainer.adaptive = false for a night."
        )
    return [
        Group(_tokens(group.texts, group.tokens), rewards)
        for group, rewards in zip(resampled.groups, scored.rewards_Q_N, strict=True)
    ]


def fixed(_: Sequence[Reward]) -> bool:
    """Never stops early."""
    return False


def replay(night: Sequence[Group], plan: Sequence[int], stop: Stop) -> Outcome:
    """Samples every query by `plan` (samples of each round) until `stop`."""
    taken = [_taken(group, plan, stop) for group in night]
    rewards_Q_N = [group.rewards_N[:count] for group, count in zip(night, taken, strict=True)]
    learned = [
        max(reward.value for reward in rewards if reward.good)
        for rewards in rewards_Q_N
        if any(reward.good for reward in rewards)
    ]
    return Outcome(
        samples=sum(taken),
        tokens=sum(sum(group.tokens_N[:count]) for group, count in zip(night, taken, strict=True)),
        good=len(learned) / len(night),
        best=fmean(max(reward.value for reward in rewards) for rewards in rewards_Q_N),
        learned=fmean(learned) if learned else 0.0,
    )


def outcomes(night: Sequence[Group]) -> list[tuple[str, Outcome]]:
    """Fixed N, from 2 doubling up to the night's own, and adaptive N by each of RULES."""
    most = len(night[0].rewards_N)
    found = [(f"fixed {n}", replay(night, (n,), fixed)) for n in accumulate(rounds(most))]
    for perfect, hopeless in RULES:
        name = f"adaptive, perfect {perfect}, hopeless {hopeless}"
        stop = partial(settled, perfect=perfect, hopeless=hopeless)
        found.append((name, replay(night, rounds(most), stop)))
    return found


def table(found: Sequence[tuple[str, Outcome]], queries: int) -> Table:
    """One row for each way; tokens also as a share of the most."""
    most = max(outcome.tokens for _, outcome in found) or 1.0
    made = Table(
        "N", "samples", "tokens", "of the most", "good", "best reward", "learned", title=f"{queries} queries"
    )
    for name, it in found:
        made.add_row(
            name,
            str(it.samples),
            f"{it.tokens:.0f}",
            f"{it.tokens / most:.2f}",
            f"{it.good:.3f}",
            f"{it.best:.3f}",
            f"{it.learned:.3f}",
        )
    return made


def _taken(group: Group, plan: Sequence[int], stop: Stop) -> int:
    """How many samples are drawn before `stop`."""
    drawn = 0
    for count in plan:
        drawn += count
        if stop(group.rewards_N[:drawn]):
            break
    return drawn


def _tokens(texts: Sequence[str], tokens: int) -> tuple[float, ...]:
    # One more for each: an empty completion has its end too.
    lengths = [len(text) + 1 for text in texts]
    return tuple(tokens * length / sum(lengths) for length in lengths)


def main(arguments: Sequence[str]) -> int:
    """Prints the table of a night."""
    parser = argparse.ArgumentParser(prog="python -m trainer.sampling_report")
    parser.add_argument("folder", type=Path, help="a night's folder")
    folder: Path = parser.parse_args(arguments).folder
    resampled = read_whole(folder / "resample.json", Resampled)
    scored = read_whole(folder / "score.json", Scored)
    console = Console()
    if resampled is None or scored is None:
        console.print(
            f"{folder} holds no resample.json and score.json: name the folder of a night that has scored."
        )
        return 2
    try:
        night = groups(resampled, scored)
    except NightError as err:
        console.print(str(err))
        return 1
    console.print(table(outcomes(night), len(night)))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
