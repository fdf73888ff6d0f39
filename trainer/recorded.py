"""What a night's folder holds of answers, by question, each with whether it was right.

Two records of one night: the completions that were sampled, which are right where the night's own reward
called them good, since nothing else is known of them; and the evaluation's two answers to each case, which
are right by the suite's reference.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

from trainer.bootstrap import clusters
from trainer.journal import read_whole
from trainer.notes import Chosen, Evaluation, Resampled, Scored, Synthesised


@dataclass(frozen=True, slots=True)
class Said:
    """One recorded answer. `value` is the selecting reward's, where the night kept it."""

    text: str
    right: bool
    value: float | None = None


@dataclass(frozen=True, slots=True)
class Question:
    """What was answered to one question, at least twice. `group` is its cluster."""

    group: str
    said_N: tuple[Said, ...]

    @property
    def wrong(self) -> float:
        """The share of answers that are not right."""
        return fmean(not said.right for said in self.said_N)


@dataclass(frozen=True, slots=True)
class Record:
    """Recorded answers of one kind, at least one question; `right_by` is what calls them right."""

    name: str
    right_by: str
    questions: tuple[Question, ...]

    @property
    def right(self) -> float:
        """The share of right answers, each question counting once."""
        return 1 - fmean(question.wrong for question in self.questions)

    @property
    def room(self) -> float:
        """What would be gained by a right answer wherever there is one among others."""
        return sum(question.wrong for question in self.questions if question.wrong < 1) / len(self.questions)


def sampled(folder: Path) -> Record | None:
    """The completions of a night with their rewards, or None where it has not scored."""
    chosen = read_whole(folder / "choose.json", Chosen)
    written = read_whole(folder / "synthesise.json", Synthesised) or Synthesised()
    resampled = read_whole(folder / "resample.json", Resampled)
    scored = read_whole(folder / "score.json", Scored)
    if chosen is None or resampled is None or scored is None:
        return None
    queries = chosen.joined(written.queries).queries
    names = clusters([query.collection for query in queries], [query.response_id for query in queries])
    questions = []
    for name, group, rewards in zip(names, resampled.groups, scored.rewards_Q_N, strict=True):
        said = (Said(text, one.good, one.value) for text, one in zip(group.texts, rewards, strict=True))
        questions.append(Question(name, tuple(said)))
    return _record("sampled", f"the reward {scored.model}, as scored that night", questions)


def evaluated(folder: Path) -> Record | None:
    """Both models' answers to the held-out cases, or None where the night has not evaluated."""
    evaluation = read_whole(folder / "evaluate.json", Evaluation)
    if evaluation is None:
        return None
    cases = zip(evaluation.prompts, evaluation.stable, evaluation.candidate, strict=True)
    questions = [
        Question(case.group, tuple(Said(one.answer, one.passed) for one in sides)) for case, *sides in cases
    ]
    return _record("evaluation", "the suite's reference", questions)


def _record(name: str, right_by: str, questions: Sequence[Question]) -> Record | None:
    """Those that were answered twice, if there are any: of one answer alone nothing can be dealt."""
    kept = tuple(question for question in questions if len(question.said_N) > 1)
    return Record(name, right_by, kept) if kept else None
