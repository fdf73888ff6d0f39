"""Trains a classifier reward on pairs of answers by TRL's RewardTrainer, and writes it with its card.

`python -m trainer.reward.preferences --help` names its files. Pairs come from people's ratings, and with
--record from what this business's customers said. What it writes is for `trainer.reward = "classifier"`.
The loss is the pairwise logistic one (Bradley and Terry 1952; Ouyang et al. 2022).
"""

from __future__ import annotations

import argparse
import logging
import random
import sys
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch
from datasets import Dataset
from peft import LoraConfig
from transformers import AutoModelForSequenceClassification, AutoTokenizer
from trl.trainer.reward_config import RewardConfig
from trl.trainer.reward_trainer import RewardTrainer

from infra.lake import Lake
from infra.sections import ClassifierSettings
from infra.settings import load
from trainer.finetune import Progress
from trainer.renew import LIMIT, WINDOW
from trainer.reward.calibration import card, rated_pairs
from trainer.reward.classifier import ClassifierReward, conversation
from trainer.reward.model import Case
from trainer.reward.rated import read
from trainer.reward.text import Reader
from trainer.reward.vectors import WordTable
from trainer.reward.votes import Vote, votes

logger = logging.getLogger(__name__)

Pair = tuple[Case, Case]  # the better one first
SEED = 1
# LoRA on all layers and a learnt head. LoRA wants ten times the rate of full training, which is 1e-4 here.
RANK, LEARNING_RATE = 16, 1e-3
ROWS_PER_STEP = 16
# Probability from which an answer is called good; the card tells how often that is right.
GOOD = 0.9


def voted_pairs(found: Sequence[Vote]) -> Iterator[Pair]:
    """Of answers to the same query with the same facts, each that a person liked with each disliked one."""
    said: dict[tuple[Any, ...], dict[bool, list[Case]]] = {}
    for vote in found:
        if vote.said:
            kinds = said.setdefault((vote.case.query, vote.case.facts), {True: [], False: []})
            kinds[vote.liked].append(vote.case)
    for kinds in said.values():
        yield from ((better, worse) for better in kinds[True] for worse in kinds[False])


def train(pairs: Sequence[Pair], base: Path, out: Path, epochs: int) -> None:
    """Fits a head and an adapter, merges them into the base model, and saves it with its tokenizer."""
    tokenizer = AutoTokenizer.from_pretrained(base)
    torch.manual_seed(SEED)  # the head begins at random
    model = AutoModelForSequenceClassification.from_pretrained(base, num_labels=1, dtype=torch.float32)
    settings = RewardConfig(
        output_dir=str(out / "checkpoints"),
        num_train_epochs=epochs,
        learning_rate=LEARNING_RATE,
        lr_scheduler_type="cosine",
        warmup_steps=0.1,
        per_device_train_batch_size=ROWS_PER_STEP,
        gradient_checkpointing=False,
        bf16=False,
        use_cpu=not torch.cuda.is_available(),
        logging_steps=5,
        save_strategy="no",
        report_to=[],
        disable_tqdm=True,
        seed=SEED,
    )
    lora = LoraConfig(
        r=RANK,
        lora_alpha=2 * RANK,
        target_modules="all-linear",
        modules_to_save=["score"],
        task_type="SEQ_CLS",
    )
    rows = [{"chosen": conversation(better), "rejected": conversation(worse)} for better, worse in pairs]
    trainer = RewardTrainer(
        model=model,
        args=settings,
        train_dataset=Dataset.from_list(rows),
        processing_class=tokenizer,
        peft_config=lora,
        callbacks=[Progress()],
    )
    trainer.train()
    adapted: Any = trainer.model  # PEFT's, since there is a config; its types know no merging
    adapted.merge_and_unload().save_pretrained(out)
    tokenizer.save_pretrained(out)


def main(arguments: Sequence[str] | None = None) -> None:
    """Reads pairs, trains, and judges replies that were not learnt from."""
    given = _parser().parse_args(arguments)
    pairs = list(_pairs(given))
    random.Random(SEED).shuffle(pairs)
    pairs = pairs[: given.limit or None]
    logger.info("%d pairs", len(pairs))
    train(pairs, given.base, given.out, given.epochs)
    if given.test_ratings:
        reader = Reader(WordTable(given.vectors))
        replies = read(given.test_ratings, given.test_businesses, reader)
        reward = ClassifierReward.open(ClassifierSettings(model=str(given.out), good=GOOD))
        judged = reward.score([reply.case for reply in replies])
        value_N, good_N = np.array([one.value for one in judged]), np.array([one.good for one in judged])
        found = card(replies, value_N, good_N, value_N, GOOD, SEED)
        (given.out / "card.json").write_text(found.model_dump_json(indent=2) + "\n")
        (given.out / "card.md").write_text(found.markdown())
        logger.info("pair accuracy %s, area %s", found.pair_accuracy, found.area)


def _pairs(given: argparse.Namespace) -> Iterator[Pair]:
    if given.ratings:
        replies = read(given.ratings, given.businesses, Reader(WordTable(given.vectors)))
        for better, worse in rated_pairs(replies):
            yield replies[better].case, replies[worse].case
    if given.record:
        now = datetime.now(UTC)
        with Lake.open(load()) as lake:
            yield from voted_pairs(
                votes(lake.query("judged_answers", since=now - WINDOW, until=now, limit=LIMIT))
            )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m trainer.reward.preferences", description=__doc__)
    parser.add_argument("--base", required=True, type=Path, help="folder of the model to begin with")
    parser.add_argument("--out", required=True, type=Path, help="folder to write to")
    parser.add_argument("--ratings", type=Path, help="rated replies, JSONL")
    parser.add_argument("--businesses", type=Path, help="what each business knows, JSONL")
    parser.add_argument("--record", action="store_true", help="learn from the record's votes too")
    parser.add_argument(
        "--vectors", type=Path, default=load().vectors_dir, help="folder of the static vectors"
    )
    parser.add_argument("--test-ratings", type=Path, help="judge these, for a card")
    parser.add_argument("--test-businesses", type=Path, help="what the businesses of --test-ratings know")
    parser.add_argument("--limit", type=int, default=0, help="pairs at most, drawn by lot; 0 for all")
    parser.add_argument("--epochs", type=int, default=1)
    return parser


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    main()
