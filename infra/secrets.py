"""Passwords out of texts that people read: settings, and errors that quote them."""

from __future__ import annotations

import re

# In connection strings: postgresql://name:PASSWORD@host, password=PASSWORD, secret='…'.
_URL = re.compile(r"(://[^/\s:@]*):[^@\s]*@")
_PAIR = re.compile(r"(?i)\b(\w*(?:pass(?:word|wd)?|secret|token|key)\w*\s*=\s*)('[^']*'|\"[^\"]*\"|[^\s;&]+)")


def without_secrets(value: object) -> str:
    """A value as text, passwords replaced."""
    return _PAIR.sub(r"\1•••", _URL.sub(r"\1:•••@", str(value)))
