"""The last deployment that was seen, kept on disk: it serves while the event log is out of reach."""

from __future__ import annotations

import json
import logging
from pathlib import Path

from infra.deployment import Deployment

_log = logging.getLogger(__name__)


def remember(file: Path, state: Deployment) -> None:
    """Writes what is served. A disk that refuses is logged: the state in force does not depend on it."""
    draft = file.with_suffix(".tmp")
    known = {"stable": state.stable, "denied": sorted(state.denied), "served": sorted(state.served)}
    try:
        draft.write_text(json.dumps(known))
        draft.replace(file)
    except OSError:
        _log.exception("%s cannot be written: a start without the event log would serve the base model", file)


def recall(file: Path) -> Deployment:
    """The stable adapter as it was last seen, as version 0, which any event replaces.

    Without the canary: whether it was rolled back since is not known. The base model where nothing was seen.
    """
    try:
        known = json.loads(file.read_text())
        return Deployment(
            stable=known["stable"], denied=frozenset(known["denied"]), served=frozenset(known["served"])
        )
    except FileNotFoundError:
        return Deployment()
    except (OSError, ValueError, KeyError, TypeError):
        _log.exception("%s cannot be read: the base model serves until the event log answers", file)
        return Deployment()
