"""Every error that Nightshift raises for the outside world.

One root, so a caller can catch what is ours; each class also is the built-in error it refines.
A message is a sentence that holds the offending value and the next step. HTTP is not known here.
"""


class NightshiftError(Exception):
    """Root of everything this project raises on purpose."""


class SettingsError(NightshiftError, ValueError):
    """A setting is missing, unknown or out of range."""


class EventError(NightshiftError, ValueError):
    """Bytes on a topic are not an event of a version that we can read."""


class EventLogError(NightshiftError, OSError):
    """The event log did not take or give an event; nothing was acknowledged."""


class LakeError(NightshiftError, OSError):
    """The lake could not be opened, read or written."""


class Unstorable(LakeError):
    """A value does not fit its column: trying again cannot help."""


class EngineError(NightshiftError, OSError):
    """The engine answered with an error. `status` is its HTTP status, 0 when it did not answer at all."""

    def __init__(self, message: str, status: int = 0) -> None:
        super().__init__(message)
        self.status = status


class EngineUnavailable(EngineError, ConnectionError):
    """The engine cannot be reached, or broke off in the middle of an answer."""


class AdapterError(NightshiftError, ValueError):
    """An adapter directory is missing, incomplete, altered or not allowed."""


class KnowledgeError(NightshiftError, ValueError):
    """A document cannot be read as knowledge, or a collection is unknown."""


class NotFound(NightshiftError, LookupError):
    """The thing that was asked for by name does not exist."""


class NotAllowed(NightshiftError, PermissionError):
    """The key or the token does not permit this."""


class NightError(NightshiftError, RuntimeError):
    """A night cannot go on: the run directory, the record or a stage says no."""


class SlotTaken(NightError):
    """Another trainer holds this slot's lease."""


class ProcessError(NightshiftError, RuntimeError):
    """A process of ours did not start, or gave up."""
