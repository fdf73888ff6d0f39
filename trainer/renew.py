"""Renewing the reward: what customers said of answers, from the record into weights that must prove better.

It runs in a process of its own, weekly or by hand, and touches no night: the next one reads what is in use.
"""

from __future__ import annotations

import logging
from datetime import datetime, timedelta

from infra.lake import Lake
from infra.settings import Settings
from trainer.reward.encoder import Encoder
from trainer.reward.gauge import Gauge
from trainer.reward.learnt import STARTER, Weights
from trainer.reward.renewal import Outcome, renew
from trainer.reward.store import RewardStore
from trainer.reward.text import Reader
from trainer.reward.vectors import WordTable
from trainer.reward.votes import votes

logger = logging.getLogger(__name__)

# Tastes and documents change: older words are let go of. Newer ones fill the limit first.
WINDOW = timedelta(days=365)
LIMIT = 20_000


def renewed(settings: Settings, now: datetime) -> Outcome:
    """Learns from the record's votes up to `now`, keeps what came of it, and says so.

    Raises:
        LakeError: the record cannot be read.
        NightError: a file of the reward is missing or broken.
    """
    store = RewardStore(settings.reward_dir)
    used = store.used
    with Lake.open(settings) as lake:
        rows = lake.query("judged_answers", since=now - WINDOW, until=now, limit=LIMIT)
    found = votes(rows)
    present = Weights.load(store.file)
    if not found:
        return Outcome.nothing(present.version, now)
    at = {row["response_id"]: row["told_at"] for row in rows}
    judging = [used is None or at[vote.response_id] > used.at for vote in found]
    gauge = Gauge(Reader(WordTable(settings.vectors_dir)), Encoder(settings.encoder_dir))
    logger.info("reading %d votes", len(found))
    weights, outcome, judged = renew(
        Weights.load(STARTER),
        present,
        found,
        gauge.measure([vote.case for vote in found]),
        judging,
        now,
        settings.trainer.alpha,
        settings.trainer.seed,
    )
    store.put(weights, outcome, judged)
    logger.info("%s %s: %s", outcome.gate.claim, outcome.gate.verdict, outcome.gate.detail)
    return outcome
