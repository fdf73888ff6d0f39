"""What each stage of a night leaves behind for the next one, as it lies in the night's folder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from statistics import fmean
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from trainer.curate import Row, weight
from trainer.evaluate import Answered, Prompted
from trainer.gates import Gate, Pair, Verdict
from trainer.order import Method
from trainer.queries import Query
from trainer.replay import Remembered
from trainer.resample import Sampled
from trainer.reward.model import Case, Reward, RewardModel
from trainer.suite import SuiteCase


class Note(BaseModel):
    model_config = ConfigDict(frozen=True)


class Chosen(Note):
    """The queries, the lake snapshot they were read at, and what served when the night began.

    `remembered` is what earlier nights chose: their queries are not among `queries`.
    """

    snapshot: int
    stable: str
    logged: int
    queries: tuple[Query, ...]
    remembered: tuple[Remembered, ...] = ()

    @property
    def known(self) -> tuple[Query, ...]:
        """Every query that the night may learn from."""
        return self.queries + tuple(one.query for one in self.remembered)

    def joined(self, written: Sequence[Query]) -> Chosen:
        """The same with the night's own questions behind the logged ones."""
        return self.model_copy(update={"queries": self.queries + tuple(written)})


class Synthesised(Note):
    """Questions that the night wrote itself, to some of `asked` facts; `dropped` counts why not to others."""

    queries: tuple[Query, ...] = ()
    asked: int = 0
    dropped: dict[str, int] = Field(default_factory=dict)
    tokens: int = 0


class Resampled(Note):
    """One group of completions for each query, in their order."""

    groups: tuple[Sampled, ...]

    @property
    def completions(self) -> int:
        return sum(len(group.texts) for group in self.groups)

    @property
    def tokens(self) -> int:
        return sum(group.tokens for group in self.groups)


class Scored(Note):
    """Rewards by query and completion (`rewards_Q_N`), with the reward model's name and version."""

    model: str
    version: str
    rewards_Q_N: tuple[tuple[Reward, ...], ...]

    @classmethod
    def of(cls, model: RewardModel, queries: Sequence[Query], groups: Sequence[Sampled]) -> Scored:
        """Scores every completion; the reward sees the retrieved facts, never a reference."""
        cases = [
            Case(query.query, query.facts, text)
            for query, group in zip(queries, groups, strict=True)
            for text in group.texts
        ]
        rewards = iter(model.score(cases))
        rewards_Q_N = tuple(tuple(next(rewards) for _ in group.texts) for group in groups)
        return cls(model=model.name, version=model.version, rewards_Q_N=rewards_Q_N)

    def mean(self) -> float:
        """Mean reward of all completions: what random choice would give."""
        values = [reward.value for rewards in self.rewards_Q_N for reward in rewards]
        return sum(values) / len(values) if values else 0.0


class Curated(Note):
    """The rows to train on: those that the night chose, and those of earlier nights."""

    rows: tuple[Row, ...]
    replayed: tuple[Row, ...] = ()

    @property
    def every(self) -> tuple[Row, ...]:
        return self.rows + self.replayed

    def mean(self) -> float:
        """Mean reward of the completions that the night chose."""
        return sum(row.reward for row in self.rows) / len(self.rows) if self.rows else 0.0


class Rehearsed(Note):
    """What the night rehearsed of its conduct: rows to train on, of so many questions that were `asked`."""

    rows: tuple[Row, ...] = ()
    asked: int = 0
    tokens: int = 0


class Registered(Note):
    """The candidate adapter and what its training measured."""

    adapter: str
    rows: int
    steps: int
    tokens: int
    first_loss: float
    loss: float
    base_hash: str

    @classmethod
    def measured(cls) -> tuple[str, ...]:
        """The fields that training measures: all but the name."""
        return tuple(name for name in cls.model_fields if name != "adapter")


class Rises(Note):
    """A reward's values, candidate's minus stable's, by the business of each case; and both means."""

    by_group: tuple[tuple[str, float], ...]
    means: dict[str, float]


class Evaluation(Note):
    """Both models' answers to the same cases. `prompts` are the agent's own, in the order of the cases."""

    prompts: tuple[Prompted, ...]
    stable: tuple[Answered, ...]
    candidate: tuple[Answered, ...]

    def pairs(self, cases: Sequence[SuiteCase]) -> list[Pair]:
        """Each case with both scores, clustered by the business that it asks about."""
        return [
            Pair(
                case=case.key,
                group=case.group,
                stable=float(stable.passed),
                candidate=float(candidate.passed),
                stable_answer=stable.answer,
                candidate_answer=candidate.answer,
            )
            for case, stable, candidate in zip(cases, self.stable, self.candidate, strict=True)
        ]

    def rises(self, cases: Sequence[SuiteCase], model: RewardModel) -> Rises:
        """How a reward's values of the candidate's answers differ from those of stable's."""
        stable = [reward.value for reward in model.score(_cases(cases, self.prompts, self.stable))]
        candidate = [reward.value for reward in model.score(_cases(cases, self.prompts, self.candidate))]
        sides = zip(cases, stable, candidate, strict=True)
        return Rises(
            by_group=tuple((case.group, after - before) for case, before, after in sides),
            means={"stable": fmean(stable), "candidate": fmean(candidate)},
        )


class Conduct(Evaluation):
    """The same of the cases of conduct; `base` is what the base model answered, where another one serves."""

    cases: tuple[SuiteCase, ...]
    base: tuple[Answered, ...] = ()

    def since_base(self, pairs: Sequence[Pair]) -> list[Pair]:
        """`pairs`, one of each case, with the base model in stable's place."""
        return [
            replace(pair, stable=float(base.passed), stable_answer=base.answer)
            for pair, base in zip(pairs, self.base, strict=True)
        ]


class Gated(Note):
    """Every gate, the night's verdict, and why in a sentence when it did not pass; `told` decide nothing.

    `rewards` is the mean selecting reward of stable's and of the candidate's answers, `second` the same of
    the scorer that only judges, which `second_model` names.
    """

    gates: tuple[Gate, ...]
    told: tuple[Gate, ...] = ()
    rewards: dict[str, float]
    second: dict[str, float] = Field(default_factory=dict)
    second_model: dict[str, str] = Field(default_factory=dict)
    verdict: Verdict
    reason: str


class Deployed(Note):
    """What was asked of the deployments topic for the candidate."""

    action: str


class NightResult(Note):
    """How a night ended, and all it measured."""

    night: str
    verdict: Verdict
    adapter: str = ""
    reason: str = ""


def _cases(
    cases: Sequence[SuiteCase], prompts: Sequence[Prompted], answers: Sequence[Answered]
) -> list[Case]:
    return [
        Case(case.question, prompt.facts, answer.answer)
        for case, prompt, answer in zip(cases, prompts, answers, strict=True)
    ]


def training_row(
    method: Method, row: Row, query: Query | None = None, synthetic_weight: float = 1.0
) -> dict[str, Any]:
    """A row as the fine-tuning reads it: customers' text is the prompt, never the target.

    The columns are those that TRL's trainer of the method knows, and how much the row counts: its `weight`,
    times `synthetic_weight` for a night's own question. What DPO has nothing to reject for holds the chosen
    answer on both sides. GRPO's judge gets query and facts, and no weight. What is rehearsed has no query,
    counts once, and has nothing to teach GRPO.
    """
    prompt = {"prompt": [{"role": message.role, "content": message.content} for message in row.prompt]}
    if method == "grpo":
        assert query is not None, "GRPO samples a query anew"
        return prompt | {"query": query.query, "facts": [fact.model_dump() for fact in query.facts]}
    share = synthetic_weight if query and query.synthetic else 1.0
    counts = prompt | {"weight": share * (weight(row.completion, query) if query else 1.0)}
    chosen = [{"role": "assistant", "content": row.completion}]
    if method == "sft":
        return counts | {"completion": chosen}
    rejected = row.completion if row.rejected is None else row.rejected
    return counts | {"chosen": chosen, "rejected": [{"role": "assistant", "content": rejected}]}
