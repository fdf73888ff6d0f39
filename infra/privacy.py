"""Replaces personal data in a text by typed placeholders, before an event leaves the agent's process.

Pure, and linear in the text's length. Names, postal addresses, birth dates and customer numbers are left
alone on purpose: to tell them from an ordinary question takes a language model, and would harm questions.
"""

import ipaddress
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from re import Match, Pattern

from infra import privacy_patterns as shape

Span = tuple[int, int]

_DIGIT = re.compile(r"\d")


@dataclass(frozen=True, slots=True)
class Redacted:
    """A text with placeholders such as `[EMAIL]` for personal data, and how many of each kind were put in."""

    text: str
    counts: Mapping[str, int]


def redact(text: str) -> Redacted:
    """Redact secrets, e-mail and IP addresses, IBANs, payment cards, US social security and phone numbers.

    `counts` holds the kinds that were found (`privacy_patterns.KINDS`). Redacting twice changes nothing.
    """
    if not text:
        return Redacted("", {})
    counts: Counter[str] = Counter()
    # The surest first: a card's digits must not be taken for a phone number.
    for kind, find in _RULES + _RULES_OF_DIGITS if _DIGIT.search(text) else _RULES:
        text, found = _replace(text, kind, find)
        if found:
            counts[kind] += found
    return Redacted(text, dict(counts))


def _replace(text: str, kind: str, find: Callable[[str], Iterator[Span]]) -> tuple[str, int]:
    parts: list[str] = []
    end = 0
    for start, stop in find(text):
        parts += (text[end:start], f"[{kind}]")
        end = stop
    return "".join((*parts, text[end:])), len(parts) // 2


def _keys(text: str) -> Iterator[Span]:
    return (match.span() for match in shape.KEY.finditer(text))


def _named_secrets(text: str) -> Iterator[Span]:
    for match in shape.NAMED_SECRET.finditer(text):
        group = match.lastgroup
        assert group is not None  # every alternative ends in a named group
        quoted = text[match.end() : match.end() + 1] in ("'", '"', "`")
        value = match[group] if quoted else match[group].rstrip(".,;:!?)")
        if len(value) >= 3 and _is_secret(text, match, value):
            yield match.start(group), match.start(group) + len(value)


def _is_secret(text: str, match: Match[str], value: str) -> bool:
    """Whether the value is a secret rather than the sentence going on ("my password is not accepted")."""
    if match.lastgroup in ("pin", "header") or any(c.isdigit() or c in "!@#$%^&*_+=~" for c in value):
        return True
    # A plain word is a secret only as the whole rest of a line: "Password: hunter".
    alone = text[match.end() : match.end() + 1] in ("", "\n", "\r")
    return match.lastgroup == "value" and match["link"] in (":", "=") and alone


def _emails(text: str) -> Iterator[Span]:
    return (match.span() for match in shape.EMAIL.finditer(text)) if "@" in text else iter(())


def _ipv6(text: str) -> Iterator[Span]:
    for match in shape.IPV6.finditer(text) if text.count(":") >= 2 else ():
        run = match[0].rstrip(".")
        run = run if run.endswith("::") else run.rstrip(":")
        # "12::30" is a slip in a time of day and "::" punctuation, though both are valid addresses.
        told = run == "::1" or run.count(":") > 2 or (run.upper().isupper() and any(map(str.isdigit, run)))
        if told and _is_ip(run):
            yield match.start(), match.start() + len(run)


def _ipv4(text: str) -> Iterator[Span]:
    return (match.span() for match in shape.IPV4.finditer(text) if _is_ip(match[0]))


def _is_ip(address: str) -> bool:
    try:
        ipaddress.ip_address(address)
    except ValueError:
        return False
    return True


def _ibans(text: str) -> Iterator[Span]:
    done = 0
    for match in shape.IBAN_START.finditer(text):
        length = shape.IBAN_LENGTH.get(match[0][:2].upper(), 0)
        if length and match.start() >= done:
            done = _iban_end(text, match.start(), length)
            if done:
                yield match.start(), done


def _iban_end(text: str, start: int, length: int) -> int:
    """Where the IBAN of `length` characters that begins at `start` ends; 0 when there is none (ISO 13616)."""
    compact = ""
    at = start
    while at < len(text) and len(compact) < length:
        if text[at].isascii() and text[at].isalnum():
            compact += text[at]
        elif text[at] not in shape.IBAN_GAPS or text[at - 1] in shape.IBAN_GAPS:
            return 0
        at += 1
    if len(compact) < length or text[at : at + 1].isalnum():
        return 0
    # Letters count as 10 to 35; the number so written leaves 1 when divided by 97.
    return at if int("".join(str(int(c, 36)) for c in compact[4:] + compact[:4])) % 97 == 1 else 0


def _cards(text: str) -> Iterator[Span]:
    for run in shape.DIGIT_GROUPS.finditer(text):
        if len(run[0]) >= shape.CARD_SHORTEST:
            groups = [(group.start(), group.end()) for group in shape.DIGITS.finditer(text, *run.span())]
            yield from _cards_among(text, groups)


def _cards_among(text: str, groups: list[Span]) -> Iterator[Span]:
    """The cards written as one or more neighbouring groups of digits; from the left, the longest first."""
    first = 0
    while first < len(groups):
        digits, best = "", first
        for last in range(first, len(groups)):
            digits += text[slice(*groups[last])]
            if len(digits) > shape.CARD_LONGEST:
                break
            if len(digits) >= shape.CARD_SHORTEST and is_card(digits):
                best = last + 1
        if best > first:
            yield groups[first][0], groups[best - 1][1]
        first = max(best, first + 1)


def is_card(digits: str) -> bool:
    """Whether the digits are a payment card's: a network's prefix and length, and Luhn's check (ISO 7812)."""
    return shape.CARD.fullmatch(digits) is not None and _luhn(digits) % 10 == 0


def _luhn(digits: str) -> int:
    doubled = (divmod(2 * int(digit), 10) for digit in digits[-2::-2])
    return sum(map(int, digits[::-2])) + sum(tens + ones for tens, ones in doubled)


def _ids(text: str) -> Iterator[Span]:
    for match in shape.SSN.finditer(text):
        yield match.span("shape" if match["shape"] else "named")


def _phones(pattern: Pattern[str]) -> Callable[[str], Iterator[Span]]:
    def find(text: str) -> Iterator[Span]:
        before, end = "", 0  # the end of what is already written out, with its placeholders
        for match in pattern.finditer(text):
            before = (before + text[end : match.start()])[-shape.CALLED_WINDOW :]
            if _is_phone(before, match):
                yield match.span()
                before += "[PHONE]"
            else:
                before += match[0]
            end = match.end()

    return find


def _is_phone(before: str, match: Match[str]) -> bool:
    if shape.DATE.match(match[0]):
        return False
    called = None
    for word in shape.CALLED.finditer(before):
        called = word.lastgroup
    if match.lastgroup == "sure" or called == "phone":
        return True
    if match.lastgroup == "likely":
        return called is None
    return called is None and shape.CALLED_AFTER.match(match.string, match.end()) is not None


_RULES: tuple[tuple[str, Callable[[str], Iterator[Span]]], ...] = (
    ("SECRET", _keys),
    ("SECRET", _named_secrets),
    ("EMAIL", _emails),
    ("IP", _ipv6),
)
# What these find has digits, and most of what customers write has none.
_RULES_OF_DIGITS: tuple[tuple[str, Callable[[str], Iterator[Span]]], ...] = (
    ("IP", _ipv4),
    ("IBAN", _ibans),
    ("CARD", _cards),
    ("ID", _ids),
    ("PHONE", _phones(shape.PHONE)),
    ("PHONE", _phones(shape.PERHAPS_PHONE)),
)
