"""Which adapter answers which share of conversations: a fold over the deployments topic.

Pure. Undoing is one more event. An event that makes no sense in the present state changes nothing,
so every replica that reads the same topic holds the same state, whatever was appended.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Literal

from infra.events import DeploymentChanged

Stage = Literal["candidate", "canary", "stable", "retired", "rejected"]

# How many hexadecimal digits of its content an adapter's name ends with, after the night's day.
_CONTENT = 12


@dataclass(frozen=True, slots=True)
class Deployment:
    """The state after `version` events. An empty adapter name means the base model.

    `canary` is the adapter on trial with `share` (0 to 1) of the conversations; `paused`: it neither gets
    more nor is promoted until it is resumed; `previous` what stable was before the last promotion; `denied`
    holds adapters that failed their gates or were rolled back: their content is never served again, under
    no name.
    """

    version: int = 0
    stable: str = ""
    canary: str = ""
    share: float = 0.0
    paused: bool = False
    previous: str = ""
    denied: frozenset[str] = frozenset()
    served: frozenset[str] = frozenset()

    @property
    def wanted(self) -> tuple[str, ...]:
        """Adapters that the engine must have loaded, stable first."""
        return tuple(name for name in (self.stable, self.canary) if name)

    def stage(self, adapter: str) -> Stage:
        """Where an adapter stands in its life."""
        if adapter == self.canary:
            return "canary"
        if adapter == self.stable:
            return "stable"
        if self.refused(adapter):
            return "rejected"
        return "retired" if adapter in self.served else "candidate"

    def refused(self, adapter: str) -> bool:
        """Whether this content was denied, under this name or another."""
        return _content(adapter) in {_content(denied) for denied in self.denied}


def apply(state: Deployment, change: DeploymentChanged) -> Deployment:
    """The state after one more event; equal but for `version` where the event does not apply."""
    return replace(_apply(state, change), version=state.version + 1)


def _apply(state: Deployment, change: DeploymentChanged) -> Deployment:  # noqa: PLR0911 - one for each action
    match change.action:
        case "canary" if _may_start(state, change.adapter):
            return replace(state, canary=change.adapter, share=change.share, paused=False)
        case "share" if state.canary and change.adapter == state.canary:
            return replace(state, share=change.share)
        case "pause" | "resume" if state.canary and change.adapter in ("", state.canary):
            return replace(state, paused=change.action == "pause")
        case "promote" if _may_promote(state, change.adapter):
            return replace(
                _ended(state),
                stable=change.adapter,
                previous=state.stable,
                served=state.served | {change.adapter},
            )
        case "roll_back":
            return _roll_back(state, change.adapter)
        case "reject" if change.adapter and change.adapter not in state.wanted:
            return _deny(state, change.adapter)
        case "base":
            return _deny(replace(_ended(state), stable="", previous=""), *state.wanted)
        case _:
            return state


def _may_start(state: Deployment, adapter: str) -> bool:
    """One canary at a time, never a denied adapter, and stable needs no trial."""
    return bool(adapter) and not state.canary and adapter != state.stable and not state.refused(adapter)


def _may_promote(state: Deployment, adapter: str) -> bool:
    """A canary is promoted by its verdict, any other adapter by an operator; never a denied one."""
    return bool(adapter) and adapter != state.stable and not state.refused(adapter)


def _roll_back(state: Deployment, adapter: str) -> Deployment:
    """Takes back the canary, or else the stable adapter in favour of what was stable before it."""
    if state.canary and adapter in ("", state.canary):
        return _deny(_ended(state), state.canary)
    if state.stable and adapter in ("", state.stable):
        back = replace(state, stable=state.previous, previous="")
        if back.stable and back.stable == back.canary:  # on trial once more, it serves everybody now
            back = _ended(back)
        return _deny(back, state.stable)
    return state


def _ended(state: Deployment) -> Deployment:
    """No canary any more."""
    return replace(state, canary="", share=0.0, paused=False)


def _deny(state: Deployment, *adapters: str) -> Deployment:
    """Never served again, nor gone back to; nor is what holds the same under another name."""
    state = replace(state, denied=state.denied | set(adapters))
    if state.refused(state.previous):
        state = replace(state, previous="")
    if state.refused(state.canary):
        state = _ended(state)
    return replace(state, stable="") if state.refused(state.stable) else state


def _content(adapter: str) -> str:
    """The part of a registered adapter's name that tells its content; of any other name, the whole."""
    day, _, content = adapter.rpartition("-")
    return content if day.startswith("ns-") and len(content) == _CONTENT else adapter


def fold(changes: Iterable[DeploymentChanged], state: Deployment | None = None) -> Deployment:
    """The state after all `changes`, from the empty state or from `state`."""
    result = state or Deployment()
    for change in changes:
        result = apply(result, change)
    return result
