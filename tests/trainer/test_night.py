"""When a night has enough to train on. The whole of it runs in `tests/test_circle.py`."""

from __future__ import annotations

import pytest

from trainer.curate import Row
from trainer.night import too_few
from trainer.notes import Chosen, Curated

CHOSEN = Chosen(snapshot=1, stable="", logged=9, queries=())
ROW = Row(response_id="r", prompt=(), completion="Yes.", sample=0, reward=1.0)


@pytest.mark.parametrize(
    ("fresh", "replayed", "why"),
    [
        (5, 0, ""),
        (1, 4, ""),
        (4, 0, "5 are needed"),
        (2, 2, "2 of earlier nights; 5 are needed"),
        (0, 0, "nothing is new"),
        (0, 50, "nothing is new"),
    ],
)
def test_a_night_needs_rows_enough_and_a_new_one_among_them(fresh: int, replayed: int, why: str) -> None:
    said = too_few(Curated(rows=(ROW,) * fresh, replayed=(ROW,) * replayed), CHOSEN, 5)
    assert why in said
    assert bool(said) == bool(why)
