"""Response ids that vouch for themselves: a ULID, and a code that only we can compute.

So a thumb given after a restart, or to another replica, is known to be about an answer of ours without
a list of them, and an invented id is refused. Replicas share the secret by sharing the data folder.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
from pathlib import Path

from ulid import ULID

from infra.errors import NotFound, SettingsError

_PREFIX = "chatcmpl-"  # as clients of this API know ids
_CODE = 20  # hexadecimal digits: 80 bits, which cannot be guessed over HTTP
_SECRET_BYTES = 32


class ResponseIds:
    """Issues and checks ids; also makes pseudonyms, since it holds the secret for both."""

    def __init__(self, secret: bytes) -> None:
        self._secret = secret

    def issue(self) -> str:
        ulid = str(ULID())
        return f"{_PREFIX}{ulid}-{self._code('response', ulid)}"

    def check(self, response_id: str) -> None:
        """Raises NotFound unless `issue` made this id, here or in a replica with the same secret."""
        ulid, _, code = response_id.removeprefix(_PREFIX).partition("-")
        if not hmac.compare_digest(code.encode(), self._code("response", ulid).encode()):
            raise NotFound(
                f"No answer of this service has the id {response_id[:80]!r}: send the `id` of the response."
            )

    def pseudonym(self, text: str) -> str:
        """A stable name for somebody whose own name must not be written."""
        return f"person-{self._code('person', text)}"

    def _code(self, purpose: str, text: str) -> str:
        message = f"{purpose}\0{text}".encode(errors="surrogatepass")
        return hmac.new(self._secret, message, hashlib.sha256).hexdigest()[:_CODE]


def load_secret(file: Path) -> bytes:
    """The secret in `file`, which is made on the first start, readable by its owner alone.

    Raises:
        SettingsError: the file is there, but is not a secret that this function wrote.
    """
    if not file.exists():
        _create(file)
    secret = file.read_bytes()
    if len(secret) != _SECRET_BYTES:
        raise SettingsError(
            f"{file} holds {len(secret)} bytes, not {_SECRET_BYTES}: restore it from a backup, or delete it "
            "(then feedback on earlier answers is refused)."
        )
    return secret


def _create(file: Path) -> None:
    """Written whole under another name, then linked: of two replicas starting at once, one wins."""
    file.parent.mkdir(parents=True, exist_ok=True)
    draft = file.with_name(f".{file.name}.{secrets.token_hex(4)}")
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as out:
        out.write(secrets.token_bytes(_SECRET_BYTES))
        out.flush()
        os.fsync(out.fileno())
    try:
        os.link(draft, file)
    except FileExistsError:
        pass
    finally:
        draft.unlink()
