"""What fine-tuning is asked for, and what it reports: the files between a night and the training process.

No torch here: nights read it.
"""

from __future__ import annotations

import math
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from infra.probe import Probe
from infra.settings import Settings

Method = Literal["sft", "dpo", "grpo"]

# What each method learns with where nothing is set: LoRA, rank 16 on q_proj and v_proj, 135M parameters. In
# a night of 400 questions SFT gets 0.661 of 1,156 held-out ones right with 1e-3, 0.697 with 2e-3, 0.734 with
# 4e-3. Of 700, after another night, SFT gets 0.704 to 0.731, DPO with the likelihood in its loss 0.766 with
# 2e-3, and 0.766 and 0.796 with 4e-3. GRPO's is not tuned yet.
LEARNING_RATE: dict[Method, float] = {"sft": 4e-3, "dpo": 4e-3, "grpo": 2e-4}

# Up to here a third training pays: of 101 rows the mean of three is some points better than that of two.
FEW_ROWS = 300


class Order(BaseModel):
    """What to train. `base` is the folder of the base model; `targets` the layers that get an adapter.
    The rows are learned `trainings` times (0: as `times` has it), with the seeds from `seed` on, and the mean
    is the adapter.

    `max_tokens` and `temperature` are for sampling in training, `settings` (all of them, without secrets) for
    the reward that judges the samples: GRPO needs them, the others do not.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    base: str
    method: Method
    rank: int = 16
    targets: tuple[str, ...] = ("q_proj", "v_proj")
    learning_rate: float = LEARNING_RATE["sft"]
    epochs: int = 1
    rows_per_step: int = 4
    trainings: int = 0
    max_length: int = 2048
    seed: int = 1
    max_tokens: int = 80
    temperature: float = 0.9
    settings: dict[str, Any] = Field(default_factory=dict)  # Any: as a settings file has them

    def times(self, rows: int) -> int:
        """How often so many rows are learned. Chance does less where they are many, and time more."""
        return self.trainings or (1 if self.method == "grpo" else 3 if rows <= FEW_ROWS else 2)

    def warmup(self, rows: int) -> float:
        """Share of the steps in which the learning rate rises. It begins at zero: of few, one is too many."""
        steps = math.ceil(rows / self.rows_per_step) * self.epochs
        return 0.1 if steps >= 10 else 0.0

    @classmethod
    def of(cls, settings: Settings) -> Order:
        """All that the result depends on, besides the rows."""
        trainer = settings.trainer
        return cls(
            base=str(settings.base_model.resolve()),
            method=trainer.method,
            rank=trainer.rank,
            targets=trainer.targets,
            learning_rate=trainer.learning_rate or LEARNING_RATE[trainer.method],
            epochs=trainer.epochs,
            rows_per_step=trainer.rows_per_step,
            trainings=trainer.trainings,
            max_length=settings.engine.max_model_len,
            seed=trainer.seed,
            max_tokens=settings.agent.max_tokens,
            temperature=trainer.temperature,
            settings=settings.model_dump(mode="json") if trainer.method == "grpo" else {},
        )


class Trained(BaseModel):
    """What training measured. `tokens` counts prompts and answers over all epochs; `steps`, `tokens` and
    `seconds` are of all trainings together, losses and measures their mean.

    `measures` are the method's own: how far apart DPO holds chosen and rejected, GRPO's mean reward.
    `probe` is by what an engine shows that it applies the adapter.
    """

    model_config = ConfigDict(frozen=True)

    rows: int
    steps: int
    tokens: int
    seconds: float
    first_loss: float
    loss: float
    base_hash: str
    measures: dict[str, float] = Field(default_factory=dict)
    probe: Probe | None = None
