"""What installed packages bring, by name: rewards and verifiers, this project's own among them."""

from __future__ import annotations

from importlib.metadata import entry_points
from typing import Any

from infra.errors import SettingsError
from infra.settings import Settings


def plugin(group: str, name: str, settings: Settings, unknown: str) -> Any:  # Any: what its group promises
    """Makes what an installed package calls `name` in `group`, from the settings.

    Raises:
        SettingsError: no package has it; the message is `unknown` with the known names.
    """
    found = entry_points(group=group, name=name)
    if not found:
        raise SettingsError(f"{unknown} {', '.join(sorted(entry_points(group=group).names))}.")
    (entry,) = found
    return entry.load()(settings)
