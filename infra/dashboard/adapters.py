"""The Adapters page and its two buttons, promote and roll back.

A press appends one DeploymentChanged event, which is the order to the agents and the audit entry; what
the pages show afterwards is read back from the topic.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from threading import Lock
from time import monotonic
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Form, HTTPException
from fastapi.responses import RedirectResponse, Response
from starlette.requests import Request

from infra.dashboard.security import Session
from infra.dashboard.site import Site, View
from infra.deployment import Deployment
from infra.errors import AdapterError, NotFound
from infra.registry import Adapter, Registry

# Hashing an adapter reads megabytes; its files never change by our hand, so a minute is soon enough.
VERIFIED_S = 60.0

Action = Literal["promote", "roll_back"]
Reason = Annotated[str, Form(max_length=500)]
Confirm = Annotated[str, Form()]


def router(site: Site) -> APIRouter:
    routes = APIRouter()
    hashes = Hashes(site.registry)
    press = Buttons(site)
    Operator = Annotated[Session, Depends(site.check_form)]

    @routes.get("/adapters")
    def page(request: Request, done: str = "") -> Response:
        return site.render(request, "adapters.html", {**adapters(site, hashes), "done": done})

    @routes.get("/api/adapters")
    def api() -> View:
        return adapters(site, hashes)

    @routes.post("/adapters/{name}/promote")
    def promote(name: str, session: Operator, reason: Reason = "", confirm: Confirm = "") -> Response:
        press("promote", name, session.actor, _stated(reason, confirm))
        return RedirectResponse("/adapters?done=promote", 303)

    @routes.post("/adapters/{name}/roll-back")
    def roll_back(name: str, session: Operator, reason: Reason = "", confirm: Confirm = "") -> Response:
        press("roll_back", name, session.actor, _stated(reason, confirm))
        return RedirectResponse("/adapters?done=roll_back", 303)

    return routes


@dataclass(slots=True)
class Hashes:
    """Whether an adapter's files are still what the manifest says, looked at once a minute."""

    registry: Registry
    _known: dict[str, tuple[float, str]] = field(default_factory=dict)

    def problem(self, name: str) -> str:
        """What is wrong with the files; empty when every hash is right."""
        at, problem = self._known.get(name, (float("-inf"), ""))
        if monotonic() - at > VERIFIED_S:
            problem = self._verify(name)
            self._known[name] = (monotonic(), problem)
        return problem

    def _verify(self, name: str) -> str:
        try:
            self.registry.verify(name)
        except (AdapterError, NotFound) as err:
            return str(err)
        return ""


@dataclass(slots=True)
class Buttons:
    """Presses are taken one at a time, so a double click is refused and not appended twice."""

    site: Site
    _lock: Lock = field(default_factory=Lock)

    def __call__(self, action: Action, name: str, actor: str, reason: str) -> None:
        with self._lock:
            CHECKS[action](self.site, name, self.site.serving.now())
            self.site.serving.append(action, name, actor, reason)


def _stated(reason: str, confirm: str) -> str:
    """The reason, once it is there and the box is ticked."""
    if not reason.strip() or confirm != "yes":
        raise HTTPException(422, "A reason and the tick above the button are needed, so nothing was changed.")
    return reason.strip()


def _may_promote(site: Site, name: str, state: Deployment) -> None:
    stage = state.stage(name)
    if stage in ("stable", "rejected"):
        raise AdapterError(f"The adapter {name!r} is {stage}, so it cannot be promoted: reload the page.")
    site.registry.verify(name)


def _may_roll_back(_: Site, name: str, state: Deployment) -> None:
    # Files are not asked for: an adapter whose folder is gone or altered must still be taken back.
    if state.stage(name) not in ("canary", "stable"):
        raise AdapterError(f"The adapter {name!r} is {state.stage(name)} and serves nobody: reload the page.")


CHECKS: dict[Action, Callable[[Site, str, Deployment], None]] = {
    "promote": _may_promote,
    "roll_back": _may_roll_back,
}


def adapters(site: Site, hashes: Hashes) -> View:
    """Every adapter of the registry with stage, lineage and gates; what serves but is not there, too."""
    state = site.serving.now()
    known = site.registry.list()
    return {
        "adapters": [_entry(adapter, state, hashes) for adapter in known],
        "missing": [name for name in state.wanted if name not in {adapter.name for adapter in known}],
        "stable": state.stable,
        "canary": state.canary,
        "share": state.share,
        "previous": state.previous,
    }


def _entry(adapter: Adapter, state: Deployment, hashes: Hashes) -> dict[str, Any]:
    manifest = adapter.manifest
    stage = state.stage(adapter.name)
    problem = hashes.problem(adapter.name)
    return {
        "name": adapter.name,
        "stage": stage,
        "created": manifest.created,
        "night": manifest.night,
        "snapshot": manifest.parent_snapshot,
        "base_model": manifest.base_model,
        "base_hash": manifest.base_hash,
        "rows": manifest.rows,
        "metrics": manifest.metrics,
        "gates": manifest.gates,
        "files": manifest.files,
        "problem": problem,
        "can_promote": stage in ("candidate", "canary", "retired") and not problem,
        "can_roll_back": stage in ("canary", "stable"),
    }
