"""Which adapters answer a conversation, in the order in which to try them.

Pure: a sticky hash of conversation and canary against the canary's share. Loading adapters and
knowing which are loaded is not done here.
"""

from __future__ import annotations

import hashlib
from collections.abc import Set
from dataclasses import dataclass

from infra.deployment import Deployment
from infra.events import Arm

BASE_MODEL = ""  # how events and deployments write "no adapter"


@dataclass(frozen=True, slots=True)
class Route:
    """Where a request goes: `adapters` to try in turn, the last one always the base model (empty name).

    `canary` is the adapter on trial while this request is answered, empty when there is none that could
    be on trial. `skipped` is the canary when it is known to be unusable: the request counts as the
    canary's failure, and is answered by the others.
    """

    arm: Arm
    canary: str
    adapters: tuple[str, ...]
    skipped: str = ""


def choose(conversation: str, state: Deployment, usable: Set[str], failed: Set[str]) -> Route:
    """Routes a conversation. `usable` adapters are loaded and checked, `failed` ones cannot be used.

    A canary that is neither (it is just being loaded) is not on trial yet: nobody is assigned to it,
    and nothing is recorded for or against it. One that failed keeps its conversations, so that its
    verdict hears of it.
    """
    fallback = (*((state.stable,) if state.stable in usable else ()), BASE_MODEL)
    on_trial = state.canary if state.canary in usable or state.canary in failed else ""
    if not on_trial:
        return Route(Arm.STABLE, "", fallback)
    if fraction(conversation, on_trial) >= state.share:
        return Route(Arm.STABLE, on_trial, fallback)
    if on_trial in failed:
        return Route(Arm.CANARY, on_trial, fallback, skipped=on_trial)
    return Route(Arm.CANARY, on_trial, (on_trial, *fallback))


def fraction(conversation: str, canary: str) -> float:
    """A number in [0, 1), uniform over conversations, the same at every call and in every replica.

    The canary's name is hashed too, so each canary gets a fresh draw of conversations; and a larger
    share keeps those that a smaller one had.
    """
    digest = hashlib.blake2b(f"{canary}\0{conversation}".encode(), digest_size=8).digest()
    return int.from_bytes(digest) / 2**64
