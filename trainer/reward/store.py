"""Where a business keeps its own reward: the weights in use, and what came of the last renewal.

Without a renewed one the starter is in use. Old weights stay, so that a night's version can be found again.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from pydantic import ValidationError

from infra.errors import NightError
from trainer.reward.learnt import STARTER, Weights
from trainer.reward.renewal import Judged, Outcome


class RewardStore:
    """A folder, which need not exist: `learnt.json` is in use, `outcome.json` the last renewal's."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._renewed = folder / "learnt.json"

    @property
    def file(self) -> Path:
        """The weights in use."""
        return self._renewed if self._renewed.is_file() else STARTER

    @property
    def outcome(self) -> Outcome | None:
        """The last renewal's, None before the first.

        Raises:
            NightError: its file is broken.
        """
        return self._read("outcome.json")

    @property
    def used(self) -> Outcome | None:
        """The outcome by which the weights in use came to be used; None for the starter's."""
        return self._read("used.json") if self._renewed.is_file() else None

    def put(self, weights: Weights, outcome: Outcome, judged: Sequence[Judged]) -> None:
        """Keeps an outcome, with what was judged, and takes the weights into use where they won."""
        self._folder.mkdir(parents=True, exist_ok=True)
        self._write(f"learnt-{weights.version}.json", weights.model_dump_json() + "\n")
        self._write("judged.jsonl", "".join(json.dumps(_line(one)) + "\n" for one in judged))
        if outcome.used:
            # First the proof: weights without one would count as never renewed.
            self._write("used.json", outcome.model_dump_json(indent=2) + "\n")
            self._write("learnt.json", weights.model_dump_json() + "\n")
        self._write("outcome.json", outcome.model_dump_json(indent=2) + "\n")

    def _read(self, name: str) -> Outcome | None:
        file = self._folder / name
        try:
            return Outcome.model_validate_json(file.read_bytes())
        except FileNotFoundError:
            return None
        except (OSError, ValidationError) as err:
            raise NightError(
                f"{file} does not hold a renewal's outcome ({err}): delete its folder to begin with the "
                "reward that comes with the project."
            ) from err

    def _write(self, name: str, text: str) -> None:
        """Whole or not at all: a night may read it meanwhile."""
        file = self._folder / f"{name}.new"
        file.write_text(text)
        file.replace(self._folder / name)


def _line(judged: Judged) -> dict[str, object]:
    """No customer's words: the response is in the record."""
    vote = judged.vote
    return {
        "response_id": vote.response_id,
        "voter": vote.voter,
        "liked": vote.liked,
        "said": vote.said,
        "present": round(judged.present, 4),
        "new": round(judged.new, 4),
    }
