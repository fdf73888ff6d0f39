"""What can be set of nights: what they learn from, how, and what their gates ask."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, SecretStr

from infra.sections.base import Port, Section, Share


class JudgeSettings(Section):
    # For the reward `judge`: an OpenAI-compatible endpoint ("https://host/v1") and a model there. Empty: the
    # engine and its base model.
    url: str = ""
    model: str = ""
    # Its API key, best set by NIGHTSHIFT_TRAINER__JUDGE__KEY.
    key: SecretStr = SecretStr("")


class ClassifierSettings(Section):
    # For the reward `classifier`: a sequence-classification model with one output, a folder or a hub's name.
    model: str = ""
    # The hub's revision; empty for its newest.
    revision: str = ""
    # From which value, 0 to 1, an answer is called good: see the model's card, or measure it.
    good: Annotated[float, Field(gt=0.0, le=1.0)] = 0.9


class TrainerSettings(Section):
    # When nights are due, as a cron line in the time zone below.
    schedule: str = "0 2 * * *"
    timezone: str = "UTC"
    # Start a night by itself when it is due; off leaves nights to `nightshift night run`.
    automatic: bool = True
    # Hours of the record that a night learns from.
    window_h: Annotated[float, Field(gt=0)] = 24 * 14
    # Logged queries resampled in a night, and completions for each.
    queries: Annotated[int, Field(ge=1)] = 400
    samples: Annotated[int, Field(ge=2, le=64)] = 8
    # Sample a query in rounds, and stop before `samples` where a very good completion is there already, or
    # none comes near; what that would save is told by `python -m trainer.sampling_report NIGHT`. Only for
    # sft: the other methods learn from a group's worse completions too.
    adaptive: bool = False
    # The prompts that completions are sampled from, in turn: served (as customers got it), quoted (the model
    # quotes the fact before it answers), first (the first fact alone). Training rows keep the served one.
    variants: Annotated[tuple[Literal["served", "quoted", "first"], ...], Field(min_length=1)] = ("served",)
    # Randomness of resampling. At 0.9 fewer samples are right than at 0.7, for no more questions.
    temperature: Annotated[float, Field(gt=0.0, le=2.0)] = 0.7
    # Completion groups under way at the engine at one time.
    concurrency: Annotated[int, Field(ge=1)] = 16
    # Which reward chooses the answers to learn from: grounded (rules), learnt (from people's ratings), judge
    # (a language model), classifier (a sequence-classification model), or an installed package's own, by its
    # entry point in the group nightshift.rewards.
    reward: str = "grounded"
    # Which other one rates stable and candidate for a gate. Empty: learnt, or grounded where learnt chooses.
    second: str = ""
    # When the reward `learnt` learns from customers' votes, as a cron line; empty for never. It takes what it
    # learned into use only where that is shown to agree with people more often.
    renewal: str = "0 1 * * sun"
    judge: JudgeSettings = JudgeSettings()
    classifier: ClassifierSettings = ClassifierSettings()
    # Rules that correct the reward that chooses, each with its weight, 0 to 1: grounded, polarity, declines,
    # private (no personal data), length, language, or an installed package's own, by its entry point in the
    # group nightshift.verifiers. With weight 1 an answer that breaks the rule is never learned from.
    verifiers: dict[str, Annotated[float, Field(ge=0.0, le=1.0)]] = Field({"private": 1.0})
    # Fewest chosen rows to learn from; below it the night ends with "not enough data".
    min_rows: Annotated[int, Field(ge=1)] = 40
    # How the adapter learns. sft: imitate the best of each group; dpo: also prefer it to the group's worst,
    # in less than twice the time; grpo: sample anew while training, judged by the reward, for a multiple.
    method: Literal["sft", "dpo", "grpo"] = "dpo"
    # LoRA: rank, learning rate (0: the method's own), passes over the rows, rows in a step, and how often all
    # of that, from other first weights: the adapter is their mean (0: three times, twice above 300 rows).
    rank: Literal[1, 8, 16, 32, 64, 128] = 16
    learning_rate: Annotated[float, Field(ge=0)] = 0.0
    epochs: Annotated[int, Field(ge=1)] = 1
    rows_per_step: Annotated[int, Field(ge=1)] = 4
    trainings: Annotated[int, Field(ge=0)] = 0
    # Rows that earlier nights of the window chose, to learn from again (not grpo), newest first; 0 for none.
    replay: Annotated[int, Field(ge=0)] = 1000
    # Cold start: a night with fewer questions than this, replayed ones included, has the base model write
    # more to facts of the documents (not for grpo); 100 are about as many as min_rows asks for. 0 for none:
    # they are no customers' questions, so to begin with them is the operator's choice.
    synthetic: Annotated[int, Field(ge=0)] = 0
    # How much a row of such a question counts beside a customer's own; in full where there are no others.
    synthetic_weight: Share = 0.5
    # Layers that get an adapter: attention alone is three times cheaper to serve on a CPU. The engine reads
    # them when it starts, so restart it after a change.
    targets: tuple[str, ...] = ("q_proj", "v_proj")
    # Folder of suites (JSONL) that gates judge by; empty for `suites` in the data folder.
    suites: str = ""
    # Cases of each built-in suite of conduct (declining, harm, orders, doubt) for both models; 0 for none.
    conduct: Annotated[int, Field(ge=0, le=30)] = 30
    # Questions of each kind (declining, harm, orders) that a night samples too, to learn from its own right
    # answers to them; 0 for none. Without them a night of few questions lost 9 of 30 orders and won none, and
    # with them it lost 1 and won 2; to nights of many they did no good and no harm.
    rehearsal: Annotated[int, Field(ge=0, le=36)] = 24
    # Whether a night fails by its conduct, or only tells it. From 60 cases on, so `conduct` is 15 or more.
    conduct_gate: bool = True
    # Collections that nights never train on: their questions are kept for evaluation.
    held_out: tuple[str, ...] = ()
    # Fewest paired cases for a gate to say pass or fail. To find a gain four times in five takes some 120 for
    # 16 points, and 450 (of 60 businesses) for 8.
    min_cases: Annotated[int, Field(ge=10)] = 100
    # Chance of passing a candidate that is no better, per gate.
    alpha: Annotated[float, Field(gt=0.0, lt=0.5)] = 0.05
    seed: int = 1
    # An API key with the scope operate, where the agent asks for one: NIGHTSHIFT_TRAINER__AGENT_KEY.
    agent_key: SecretStr = SecretStr("")
    # Address of the trainer's probes and metrics.
    host: str = "127.0.0.1"
    port: Port = 8083
