"""Search over facts: both ways of searching count by how much they prefer a fact."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from agent.index import Index, Vectors, Words, shares
from infra.demo.business import businesses, questions
from infra.events import Fact
from trainer.suite import states

VECTORS = Path(__file__).parents[2] / "models" / "minilm-static"


def test_shares_keep_the_lead_and_leave_out_what_does_not_match() -> None:
    assert shares(np.array([4.0, 2.0, 0.0, -1.0], dtype=np.float32)).tolist() == [1.0, 0.5, 0.0, 0.0]
    assert shares(np.array([0.0, -2.0], dtype=np.float32)).tolist() == [0.0, 0.0]
    assert shares(np.array([], dtype=np.float32)).tolist() == []


def first_and_six(vectors: Vectors | None) -> tuple[float, float]:
    """For the demo's questions and the bare texts of its facts: how often a fact that answers comes first,
    and how often it is among six."""
    words = Words()
    indexes = {
        business.collection: Index(
            [Fact(source="demo", title="", text=text) for _, text in business.facts], words, vectors
        )
        for business in businesses()
    }
    ranks = []
    for question in questions()[::3]:
        found = indexes[question.collection].search(question.text, 6)
        hits = [place for place, fact in enumerate(found) if states(fact.text, question.reference)]
        ranks.append(hits[0] if hits else 6)
    return float(np.mean(np.array(ranks) == 0)), float(np.mean(np.array(ranks) < 6))


def test_words_and_vectors_together_find_more_than_words_alone(measured: Callable[[str], None]) -> None:
    if not VECTORS.is_dir():
        pytest.skip("no static vectors: make model")
    alone, both = first_and_six(None), first_and_six(Vectors.load(VECTORS))
    measured(
        f"an answering fact first and among six: words {alone[0]:.3f} and {alone[1]:.3f}, "
        f"both {both[0]:.3f} and {both[1]:.3f}"
    )
    assert both[0] >= 0.84
    assert both[0] > alone[0]
    assert both[1] > alone[1]
