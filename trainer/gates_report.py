"""How often the gates err on what a night recorded: `python -m trainer.gates_report FOLDER`.

Candidates are dealt from recorded answers, none is trained: stable's answer to a question is one of those
recorded, the candidate's another of the same. What calls an answer right, see `recorded`. Each question is
dealt by itself: a candidate that is better for some businesses and worse for others is not among them. Its
conduct is as good as stable's: of each recorded pair, which is whose is dealt too. Not asked are the gates
that need more than texts and rewards: second scorer, tokens, latency.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import product
from pathlib import Path

from rich.console import Console
from rich.table import Table
from scipy.stats import binomtest

from infra.errors import NightError
from infra.sections import TrainerSettings
from infra.settings import load
from trainer import gates, style
from trainer.conduct import conducts
from trainer.gates import Gate, Pair, Verdict
from trainer.journal import read_whole
from trainer.notes import Conduct
from trainer.recorded import Question, Record, Said, evaluated, sampled

# Of one question: its group, stable's answer, the candidate's.
Dealt = tuple[str, Said, Said]

# A gain that a night hopes for, and which gates should mostly see.
GAIN = 0.08
# Of 200 candidates that change nothing 10 may pass: the interval is then 0.03 to 0.09.
CANDIDATES = 200


@dataclass(frozen=True, slots=True)
class Share:
    """How many candidates passed, as a share with Wilson's 95% interval."""

    passed: int
    share: float
    low: float
    high: float

    @classmethod
    def of(cls, passed: int, count: int) -> Share:
        """Of `count`, at least 1."""
        interval = binomtest(passed, count).proportion_ci(method="wilson")
        return cls(passed, passed / count, float(interval.low), float(interval.high))


@dataclass(frozen=True, slots=True)
class Simulated:
    """What came of candidates with a true gain of `gain`, dealt from one record.

    `refused_by` counts, of those that the held-out gate passed, the gates that did not.
    """

    record: str
    right_by: str
    questions: int
    groups: int
    right: float
    gain: float
    candidates: int
    held_out: Share
    every: Share
    refused_by: dict[str, int]


def simulate(
    record: Record,
    gain: float,
    candidates: int,
    seed: int,
    settings: TrainerSettings,
    conduct: Conduct | None = None,
) -> Simulated:
    """Deals `candidates` and asks the gates, as strict as `settings` have them; without `conduct` all but it.

    Raises:
        NightError: the record has too few questions for the gates, or too few right answers for the gain.
    """
    questions = record.questions
    if len(questions) < settings.min_cases:
        raise NightError(
            f"{record.name}: {len(questions)} questions with two answers, and gates ask for "
            f"{settings.min_cases} (trainer.min_cases), so that none would pass: take a longer night."
        )
    if record.room < gain:
        raise NightError(
            f"{record.name}: a right answer wherever there is one gains {record.room:.3f}, so that no "
            f"candidate can be {gain} better: take a night with more samples of each question."
        )
    judged = []
    for number in range(candidates):
        rng = random.Random(f"{seed}/{number}")
        dealt = deal(questions, gain, rng)
        conducted = swapped(conduct, rng) if conduct and settings.conduct_gate else None
        judged.append(refusals(dealt, settings, seed + number, conducted))
    refused_by = Counter(name for names in judged for name in names)
    held_out = candidates - refused_by.pop("held-out", 0)
    return Simulated(
        record=record.name,
        right_by=record.right_by,
        questions=len(questions),
        groups=len({question.group for question in questions}),
        right=record.right,
        gain=gain,
        candidates=candidates,
        held_out=Share.of(held_out, candidates),
        every=Share.of(judged.count(()), candidates),
        refused_by=dict(refused_by.most_common()),
    )


def deal(questions: Sequence[Question], gain: float, rng: random.Random) -> list[Dealt]:
    """Two different answers of those recorded to each question, in their order.

    The candidate gets a right one where questions are drawn for it, as many as the gain takes by expectation.
    """
    dealt = [rng.sample(question.said_N, 2) for question in questions]
    for place in _improved(questions, gain, rng):
        dealt[place][1] = rng.choice([said for said in questions[place].said_N if said.right])
    return [
        (question.group, stable, candidate)
        for question, (stable, candidate) in zip(questions, dealt, strict=True)
    ]


def swapped(conduct: Conduct, rng: random.Random) -> Conduct:
    """The same, and by lot which answer is whose: such a candidate is like stable."""
    sides = zip(conduct.stable, conduct.candidate, strict=True)
    dealt = [rng.sample(both, 2) for both in sides]
    return conduct.model_copy(
        update={"stable": tuple(one for one, _ in dealt), "candidate": tuple(one for _, one in dealt)}
    )


def refusals(
    dealt: Sequence[Dealt], settings: TrainerSettings, seed: int, conducted: Conduct | None = None
) -> tuple[str, ...]:
    """The names of the gates that do not pass.

    A night passes when all gates do, so where the held-out gate does not the dearer ones are not asked.
    """
    terms = settings.min_cases, settings.alpha, seed
    pairs = [
        Pair(str(place), group, float(stable.right), float(candidate.right), stable.text, candidate.text)
        for place, (group, stable, candidate) in enumerate(dealt)
    ]
    held_out = gates.better(pairs, *terms)
    if held_out.verdict is not Verdict.PASS:
        return (held_out.name,)
    asked: list[Gate] = [
        style.brief(pairs, *terms),
        style.matched(pairs, *terms),
        style.varied(pairs, *terms),
        gates.answered(pairs, settings.min_cases),
    ]
    if rises := _rises(dealt):
        asked.append(gates.rewarded(rises, *terms))
    if conducted:
        asked += conducts(conducted, *terms)
    return tuple(gate.name for gate in asked if gate.verdict is not Verdict.PASS)


def table(found: Sequence[Simulated]) -> Table:
    """One row for each record and gain; what the records are stands below."""
    made = Table(
        "answers", "gain", "held-out passed", "all gates passed", "refused by", title="Share of candidates, %"
    )
    for one in found:
        made.add_row(
            one.record,
            f"{one.gain:+.2f}" if one.gain else "none",
            _percent(one.held_out),
            _percent(one.every),
            ", ".join(f"{name} {count}" for name, count in one.refused_by.items()),
        )
    records = dict.fromkeys(
        f"{one.record}: {one.questions} questions of {one.groups} clusters; "
        f"{one.right:.3f} right by {one.right_by}"
        for one in found
    )
    below = (
        f"{found[0].candidates} candidates each, with Wilson's 95% interval",
        "refused by: how many of those that passed held-out",
        *records,
    )
    made.caption, made.caption_justify = "\n".join(below), "left"
    return made


def _improved(questions: Sequence[Question], gain: float, rng: random.Random) -> list[int]:
    """Places that get a right answer, in random order until the expected gain is reached."""
    mixed = [place for place, question in enumerate(questions) if 0 < question.wrong < 1]
    rng.shuffle(mixed)
    wanted, chosen = gain * len(questions), []
    for place in mixed:
        if wanted <= 0:
            break
        chosen.append(place)
        wanted -= questions[place].wrong
    return chosen


def _rises(dealt: Sequence[Dealt]) -> list[tuple[str, float]]:
    """The reward's differences by group; none where the night kept no values."""
    return [
        (group, candidate.value - stable.value)
        for group, stable, candidate in dealt
        if candidate.value is not None and stable.value is not None
    ]


def _percent(share: Share) -> str:
    return f"{100 * share.share:.1f} ({100 * share.low:.1f} to {100 * share.high:.1f})"


def main(arguments: Sequence[str]) -> int:
    """Prints what came of both kinds of candidates, for each record that the night left."""
    parser = argparse.ArgumentParser(prog="python -m trainer.gates_report")
    parser.add_argument("folder", type=Path, help="a night's folder")
    parser.add_argument("--candidates", type=int, default=CANDIDATES, help="candidates of each kind")
    parser.add_argument("--seed", type=int, default=1, help="deals the candidates")
    parser.add_argument("--json", action="store_true", help="print the result as JSON alone")
    given = parser.parse_args(arguments)
    if given.candidates < 1:
        parser.error("--candidates must be at least 1")
    console = Console(stderr=given.json, highlight=False)
    records = [record for record in (sampled(given.folder), evaluated(given.folder)) if record]
    if not records:
        console.print(
            f"{given.folder} holds no question with two scored answers: name a night that has scored."
        )
        return 2
    settings, found, left_out = load().trainer, list[Simulated](), list[str]()
    conduct = read_whole(given.folder / "conduct.json", Conduct)
    for record, gain in product(records, (0.0, GAIN)):
        try:
            found.append(simulate(record, gain, given.candidates, given.seed, settings, conduct))
        except NightError as err:
            left_out.append(str(err))
    if given.json:
        simulated = [asdict(one) for one in found]
        print(json.dumps({"seed": given.seed, "simulated": simulated, "left_out": left_out}))  # noqa: T201  # the result
        return 0 if found else 1
    if found:
        console.print(table(found))
    for sentence in dict.fromkeys(left_out):
        console.print(sentence)
    return 0 if found else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
