"""Runs: which slot is due, taken and done, so that a missed night is made up once and never runs twice.

A lease with a fencing token, in SQLite: a trainer that was thought dead and comes back finds its token
stale and stops. What a night found out lies in its folder, not here.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from infra.errors import SlotTaken

State = Literal["running", "ended", "failed"]

# A trainer renews every third of this. After a kill -9 the night can be taken over this much later.
LEASE_S = 15.0
# A night that failed this often is not tried again by itself.
TRIES = 3

_SCHEMA = """
CREATE TABLE IF NOT EXISTS runs (
    slot TEXT PRIMARY KEY,
    state TEXT NOT NULL,
    owner TEXT NOT NULL,
    token INTEGER NOT NULL,
    lease_until REAL NOT NULL,
    verdict TEXT NOT NULL DEFAULT ''
) STRICT
"""


@dataclass(frozen=True, slots=True)
class Claim:
    """The right to run a slot. `token` grows with every take-over; only the newest may write."""

    slot: str
    token: int


@dataclass(frozen=True, slots=True)
class RunRecord:
    """What is known of a slot. `token` also counts the tries."""

    slot: str
    state: State
    token: int
    lease_until: float
    verdict: str


class Runs:
    """The run records in one SQLite file. Every method is one transaction."""

    def __init__(self, file: Path) -> None:
        file.parent.mkdir(parents=True, exist_ok=True)
        self._file = file
        with self._open() as db:
            db.execute(_SCHEMA)

    def claim(self, slot: str, owner: str, now: float) -> Claim:
        """Takes a slot that is new, failed, or whose lease has run out.

        Raises:
            SlotTaken: it is running elsewhere, or has ended.
        """
        with self._open() as db:
            row = db.execute("SELECT state, token, lease_until FROM runs WHERE slot = ?", (slot,)).fetchone()
            if row and row[0] == "ended":
                raise SlotTaken(f"The night of slot {slot} has ended already: name another slot.")
            if row and row[0] == "running" and row[2] > now:
                raise SlotTaken(
                    f"The night of slot {slot} is running elsewhere; its lease ends in {row[2] - now:.0f} s."
                )
            token = (row[1] if row else 0) + 1
            db.execute(
                "INSERT INTO runs (slot, state, owner, token, lease_until) VALUES (?, 'running', ?, ?, ?) "
                "ON CONFLICT (slot) DO UPDATE SET state = 'running', owner = excluded.owner, "
                "token = excluded.token, lease_until = excluded.lease_until",
                (slot, owner, token, now + LEASE_S),
            )
        return Claim(slot, token)

    def renew(self, claim: Claim, now: float) -> None:
        """Lengthens the lease.

        Raises:
            SlotTaken: another trainer took the slot over meanwhile.
        """
        self._write(
            claim,
            "UPDATE runs SET lease_until = ? WHERE slot = ? AND token = ? AND state = 'running'",
            now + LEASE_S,
        )

    def finish(self, claim: Claim, state: Literal["ended", "failed"], verdict: str) -> None:
        """Closes the run.

        Raises:
            SlotTaken: another trainer took the slot over meanwhile.
        """
        self._write(
            claim, "UPDATE runs SET state = ?, verdict = ? WHERE slot = ? AND token = ?", state, verdict
        )

    def get(self, slot: str) -> RunRecord | None:
        """What is known of `slot`, None when nothing is."""
        with self._open() as db:
            row = db.execute(
                "SELECT slot, state, token, lease_until, verdict FROM runs WHERE slot = ?", (slot,)
            ).fetchone()
        return RunRecord(*row) if row else None

    def latest(self) -> str | None:
        """The newest slot that was ever claimed; slots sort by time."""
        with self._open() as db:
            row = db.execute("SELECT max(slot) FROM runs").fetchone()
        return str(row[0]) if row and row[0] else None

    def _write(self, claim: Claim, sql: str, *values: object) -> None:
        with self._open() as db:
            if not db.execute(sql, (*values, claim.slot, claim.token)).rowcount:
                raise SlotTaken(
                    f"The night of slot {claim.slot} was taken over by another trainer: this one stops."
                )

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        db = sqlite3.connect(self._file, timeout=10.0, isolation_level=None)
        try:
            db.execute("BEGIN IMMEDIATE")
            yield db
            db.execute("COMMIT")
        finally:
            db.close()
