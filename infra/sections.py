"""What can be set, room by room: names, types, defaults and what each is for. `settings` reads them."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator

from infra.addresses import url

Port = Annotated[int, Field(ge=1, le=65535)]
Share = Annotated[float, Field(gt=0.0, le=1.0)]


class Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class AgentSettings(Section):
    # Address of the chat endpoint. Listening beyond loopback needs API keys.
    host: str = "127.0.0.1"
    port: Port = 8080
    # The model name that clients see. It never changes; the adapter behind it does.
    model: str = "nightshift"
    # The business that the system prompt speaks for when a request names no collection.
    collection: str = "default"
    # Facts put into the prompt, best first. Six holds an answering fact for 0.966 of questions.
    facts: Annotated[int, Field(ge=0, le=50)] = 6
    # Longest answer, in tokens.
    max_tokens: Annotated[int, Field(ge=1, le=4096)] = 80
    # Randomness of live answers; 0 gives the most likely one.
    temperature: Annotated[float, Field(ge=0.0, le=2.0)] = 0.0
    # Largest request body, in bytes.
    max_body: Annotated[int, Field(ge=1024)] = 262_144
    # Requests answered at one time, by all engines together; some more wait briefly, all others get 429 with
    # Retry-After.
    max_concurrent: Annotated[int, Field(ge=1)] = 64
    # Seconds until a request to the engine counts as failed.
    timeout_s: Annotated[float, Field(gt=0)] = 60.0

    @property
    def url(self) -> str:
        return url(self.host, self.port)


class EngineSettings(Section):
    # Where the engine answers. `nightshift engine` starts one there.
    host: str = "127.0.0.1"
    port: Port = 8000
    # Further engines with the same base model, as "http://host:port", that share the agent's requests with
    # that one. Each must find the adapters under the agent's own path. Nights ask the first one alone.
    others: tuple[str, ...] = ()
    # Folder of the base model (safetensors and tokenizer), or a hub name where a hub can be reached.
    base: str = "smollm2-135m"
    # auto: bfloat16 where the processor computes it (AVX512-BF16, AMX, a GPU), else float32.
    dtype: Literal["auto", "bfloat16", "float32", "float16"] = "auto"
    # Longest prompt and answer together, in tokens.
    max_model_len: Annotated[int, Field(ge=256)] = 2048
    # Adapters computed in one batch: stable, canary and a candidate under evaluation.
    max_loras: Annotated[int, Field(ge=1)] = 3
    # Largest adapter rank that the engine takes.
    max_rank: Literal[1, 8, 16, 32, 64, 128] = 16

    @property
    def url(self) -> str:
        return url(self.host, self.port)

    @property
    def urls(self) -> tuple[str, ...]:
        """All engines, each once, the one at `host` and `port` first."""
        return tuple(dict.fromkeys((self.url, *self.others)))

    @field_validator("others")
    @classmethod
    def _addresses(cls, others: tuple[str, ...]) -> tuple[str, ...]:
        for other in others:
            if not re.fullmatch(r"https?://[^/@\s?#]+", other):
                raise ValueError(f"{other!r} is no engine's address: write it as http://host:port")
        return others


class KafkaSettings(Section):
    # Brokers to begin with, as "host:9092,host:9092". Empty: the event log lies on this machine alone.
    bootstrap: str = ""
    # Begins the name of every topic and group, for a cluster that others use too.
    prefix: str = "nightshift."
    # For topics that are created here: partitions of the chat topics bound how many collectors share them.
    partitions: Annotated[int, Field(ge=1, le=1000)] = 6
    # Copies of each partition; 3 on a cluster.
    replication: Annotated[int, Field(ge=1, le=10)] = 1
    # Days that chat events stay on the broker. The record keeps them; the log is there to build it anew.
    retention_days: Annotated[float, Field(gt=0)] = 90.0
    # Disk for events on their way to the brokers, in an agent's data folder. When it is full, chat stops.
    outbox_gb: Annotated[float, Field(gt=0)] = 10.0
    # How to talk to the brokers. Passwords are best set by NIGHTSHIFT_KAFKA__PASSWORD.
    security: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = "PLAINTEXT"
    # With SSL: the authority that signed the brokers' certificates, and this client's own, as PEM files.
    ca_file: str = ""
    certificate_file: str = ""
    key_file: str = ""
    key_password: SecretStr = SecretStr("")
    # With SASL: how to log in, and as whom.
    mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = "SCRAM-SHA-512"
    username: str = ""
    password: SecretStr = SecretStr("")


class S3Settings(Section):
    # Address of an S3-compatible store as "host:port"; empty for Amazon's own.
    endpoint: str = ""
    region: str = "us-east-1"
    # How to log in. The secret is best set by NIGHTSHIFT_LAKE__S3__SECRET.
    key_id: str = ""
    secret: SecretStr = SecretStr("")
    use_ssl: bool = True
    # How buckets are addressed: by path (most stores) or as the host's first name (Amazon).
    url_style: Literal["path", "vhost"] = "path"


class LakeSettings(Section):
    # The transactional catalog: a SQLite file (one machine), or "postgres:" and a connection string for
    # several collectors ("postgres:host=db dbname=nightshift", with its password in PGPASSWORD or a passfile,
    # since errors name the string). Empty for a SQLite file in the data folder.
    catalog: str = ""
    # Where Parquet files go: a folder, or "s3://bucket/folder". Empty for a folder in the data folder.
    files: str = ""
    s3: S3Settings = S3Settings()
    # Days that customers' words stay in the record; 0 keeps them. Nights and deployments always stay.
    retention_days: Annotated[float, Field(ge=0)] = 0.0
    # Days that old versions of the record stay readable: so long a night can be repeated exactly.
    versions_days: Annotated[float, Field(gt=0)] = 30.0

    @field_validator("catalog")
    @classmethod
    def _no_password(cls, catalog: str) -> str:
        if re.search(r"password\s*=|//[^/@]*:[^/@]*@", catalog):
            raise ValueError("it holds a password: set PGPASSWORD, or name a passfile, instead")
        return catalog


class CollectorSettings(Section):
    # Events in one lake transaction at most. A commit costs some 50 ms beside its rows, so larger is faster.
    batch: Annotated[int, Field(ge=1, le=100_000)] = 10_000
    # Seconds between commits while events trickle in: how stale the lake may be.
    interval_s: Annotated[float, Field(gt=0, le=60)] = 0.5
    # Days that the event log of one machine keeps chat events that the record holds: what a record that was
    # lost is built anew from.
    log_days: Annotated[float, Field(gt=0)] = 90.0
    # Address of the collector's probes and metrics.
    host: str = "127.0.0.1"
    port: Port = 8082


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
    verifiers: dict[str, Annotated[float, Field(ge=0.0, le=1.0)]] = {"private": 1.0}
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
    # answers to them; 0 for none. Not measured yet, so it is off.
    rehearsal: Annotated[int, Field(ge=0, le=36)] = 0
    # Whether a night fails by its conduct, or only tells it. A model of 135M parameters resists orders mostly
    # by not understanding them, and learning to answer takes some of that away: with this on, nights fail.
    conduct_gate: bool = False
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


class CanarySettings(Section):
    # Shares of conversations, in turn. The last is 1, the promotion: with one arm there is nothing to judge.
    steps: Annotated[tuple[Share, ...], Field(min_length=2)] = (0.01, 0.05, 0.25, 0.5, 1.0)
    # Fewest answers of the canary on each step, and of either arm before a verdict other than a burst guard.
    min_outcomes: Annotated[int, Field(ge=10)] = 50
    step_s: Annotated[float, Field(ge=0)] = 3600.0  # fewest seconds on each step
    # Hours: a canary begins at the first step that has its fewest answers by then, as traffic is.
    patience_h: Annotated[float, Field(gt=0)] = 24.0
    # Answers on the canary arm, and hours, after which an undecided canary is rolled back.
    max_outcomes: Annotated[int, Field(ge=20)] = 5000
    max_h: Annotated[float, Field(gt=0)] = 24 * 14.0
    # Promotions in 24 hours that canaries get by themselves; one more waits. By hand there may be any number.
    promotions_a_day: Annotated[int, Field(ge=1)] = 1
    # It is promoted once its good rate is proven to be at most this much worse, and rolled back once it is
    # proven to be worse there at all, or worse by more than one of these:
    margin: Annotated[float, Field(ge=0.0, le=0.5)] = 0.05
    reward_margin: Annotated[float, Field(ge=0.0, le=1.0)] = 0.05  # of the mean reward, 0 to 1
    # Times to the first token and in all, as a part of stable's; 1.5 against the base model, as at the gates.
    latency_margin: Annotated[float, Field(ge=0.0)] = 0.25
    length_margin: Annotated[float, Field(ge=0.0)] = 0.2  # words, as a part of stable's
    refusals_margin: Annotated[float, Field(ge=0.0, le=1.0)] = 0.03  # answers that refuse or send elsewhere
    handovers_margin: Annotated[float, Field(ge=0.0, le=1.0)] = 0.02  # customers who then want a person
    unhappy_margin: Annotated[float, Field(ge=0.0, le=1.0)] = 0.05  # or ask again; thumbs down among thumbs
    # Chance of rolling back a canary that is no worse, however often one looks; split over the metrics.
    alpha: Annotated[float, Field(gt=0.0, lt=0.5)] = 0.05
    interval_s: Annotated[float, Field(gt=0)] = 1.0  # seconds between looks at the record

    @field_validator("steps")
    @classmethod
    def _rising(cls, steps: tuple[float, ...]) -> tuple[float, ...]:
        if list(steps) != sorted(set(steps)) or steps[-1] != 1.0:
            raise ValueError("each must be larger than the one before, and the last must be 1")
        return steps


class DashboardSettings(Section):
    # Address of the operations pages. Beyond loopback a login is asked for.
    host: str = "127.0.0.1"
    port: Port = 8081

    @property
    def url(self) -> str:
        return url(self.host, self.port)
