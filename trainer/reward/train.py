"""Learns the reward from people's ratings and writes its weights, and a card of how far to trust it.

`python -m trainer.reward.train --help` names its files. It writes learnt.json, card.json and card.md. The
card is about businesses not learnt from: five folds, or the replies of --test-ratings, --test-businesses.
"""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from trainer.reward.calibration import Card, card
from trainer.reward.encoder import Encoder
from trainer.reward.fit import Sample, fit
from trainer.reward.gauge import Gauge
from trainer.reward.learnt import Weights, judge
from trainer.reward.rated import Rated, folds, read
from trainer.reward.text import Reader
from trainer.reward.vectors import WordTable

if TYPE_CHECKING:
    from numpy.typing import NDArray

logger = logging.getLogger(__name__)

FOLDS = 5
VERSION = "1"
SEED = 1


@dataclass(slots=True)
class Judged:
    """What the reward says of replies that it had not seen."""

    value_N: NDArray[np.float64]
    good_N: NDArray[np.bool_]
    known_N: NDArray[np.float64]

    @classmethod
    def blank(cls, count: int) -> Judged:
        return cls(np.zeros(count), np.zeros(count, dtype=bool), np.zeros(count))

    def put(self, rows: NDArray[np.intp], weights: Weights, replies: Sequence[Rated], sample: Sample) -> None:
        """Judges some rows with `weights`."""
        rewards = judge(weights, [replies[row].case for row in rows], sample.take(rows).measured)
        self.value_N[rows] = [reward.value for reward in rewards]
        self.good_N[rows] = [reward.good for reward in rewards]
        self.known_N[rows] = weights.stated.predict(sample.known_N_S[rows])


def cross_validated(replies: Sequence[Rated], sample: Sample) -> Judged:
    """Each fold of businesses judged by weights that learnt from the others; nothing else is shared."""
    judged = Judged.blank(len(replies))
    fold_N = np.array(folds(replies, FOLDS))
    for fold in range(FOLDS):
        rest = np.flatnonzero(fold_N != fold)
        inner = np.array(folds([replies[row] for row in rest], FOLDS))
        weights = fit(replace(sample.take(rest), fold_N=inner), VERSION, "")
        judged.put(np.flatnonzero(fold_N == fold), weights, replies, sample)
        logger.info("fold %d of %d", fold + 1, FOLDS)
    return judged


def main(arguments: Sequence[str] | None = None) -> None:
    """Reads, measures, learns, and writes."""
    given = _parser().parse_args(arguments)
    reader = Reader(WordTable(given.vectors))
    gauge = Gauge(reader, Encoder(given.encoder))
    replies = read(given.ratings, given.businesses, reader)
    sample = Sample.of(replies, gauge)
    logger.info("measured %d replies", len(replies))
    weights = fit(sample, VERSION, given.learnt_from)
    if given.test_ratings is None:
        judged = cross_validated(replies, sample)
    else:
        replies = read(given.test_ratings, given.test_businesses, reader)
        judged = Judged.blank(len(replies))
        judged.put(np.arange(len(replies)), weights, replies, Sample.of(replies, gauge))
    found = card(replies, judged.value_N, judged.good_N, judged.known_N, weights.good, SEED)
    write(given.out, weights, found)
    logger.info("pair accuracy %s, area %s", found.pair_accuracy, found.area)


def write(folder: Path, weights: Weights, found: Card) -> None:
    """learnt.json, card.json and card.md, in a folder that is made when it is missing."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "learnt.json").write_text(weights.model_dump_json() + "\n")
    (folder / "card.json").write_text(found.model_dump_json(indent=2) + "\n")
    (folder / "card.md").write_text(found.markdown())


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m trainer.reward.train", description=__doc__)
    for name, needed, what in (
        ("--ratings", True, "rated replies, JSONL"),
        ("--businesses", True, "what each business knows, JSONL"),
        ("--encoder", True, "folder of all-MiniLM-L6-v2"),
        ("--vectors", True, "folder of the static vectors"),
        ("--out", True, "folder to write to"),
        ("--test-ratings", False, "judge these instead of five folds"),
        ("--test-businesses", False, "what the businesses of --test-ratings know"),
    ):
        parser.add_argument(name, required=needed, type=Path, help=what)
    parser.add_argument("--learnt-from", default="", help="a sentence about the data and its licence")
    return parser


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    main()
