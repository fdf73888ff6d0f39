"""Injections: messages that command the agent instead of asking it something. Nights leave them out.

Rules, precise rather than complete. In 45 messages that they were not written for they found 16 of 30
injections, and none in the 15 others; in 40,818 customers' questions they found 3. One that is missed must
still get an answer to it past the reward. The agent by day is not guarded here.
"""

from __future__ import annotations

import base64
import binascii
import re

# What an injection wants to be rid of: what the agent was told. English, German, French, Italian, Spanish.
_TOLD = (
    r"(?:instructions?|prompts?|rules?|guidelines?|directives?|restrictions?|safety checks?|safeguards?|"
    r"anweisungen|systemanweisungen|regeln|istruzioni|regole|instrucciones|reglas|consignes|règles|regles)"
)
# At most so many characters between the parts of a rule: a sentence, not a page.
_NEAR = r"[^.!?\n]{0,60}?"
_IGNORE = (
    r"\b(?:ignore|disregard|forget|override|bypass|skip|drop|ignorier\w*|vergiss|vergessen|ignora\w*|"
    r"dimentica\w*|olvida\w*|ignorez|oublie\w*)\b"
)
_TELL = (
    r"\b(?:reveal|show|print|repeat|output|tell|dump|display|give|leak|recite|verrate?|zeig\w*|rivela\w*|"
    r"mostra\w*|revela\w*|muestra\w*|révèle\w*|revele\w*|montre\w*)\b"
)
_FREE = (
    r"\b(?:no|without|free (?:of|from)|ohne|keine|senza|sin|sans)\s+(?:\w+\s+)?"
    r"(?:restri[ck]\w+|restrizioni)\b"
)
_RULES = [
    # to forget what it was told
    rf"{_IGNORE}{_NEAR}\b{_TOLD}\b",
    r"\b(?:ignore|disregard|forget)\s+(?:everything|all|anything)\b[^.!?\n]{0,20}\b(?:above|before|prior|told)\b",
    r"\b(?:ignoriere?|vergiss|ignora|dimentica|olvida|oublie[sz]?|ignore[sz]?)\s+(?:alles|tutto|todo|tout)\b",
    r"\b(?:new|updated|additional)\s+(?:system\s+)?instructions?\s*:",
    # to be another one, without limits
    r"\byou\s+are\s+now\s+(?:an?|in|my|free|no\s+longer|dan)\b|\bfrom\s+now\s+on\b[^.!?\n]{0,20}\byou\b",
    r"\b(?:pretend|imagine|act|role-?play)\b[^.!?\n]{0,60}?\b(?:no|without|any)\s+(?:\w+\s+)?"
    r"(?:rules|filters|limits|ethics|guidelines|morals)\b",
    rf"(?:\byou\b|\bassistan|\b(?:answer|respond|reply|comply|operate|proceed)\b|asistente){_NEAR}{_FREE}",
    rf"(?:réponds|répondre|repondre|rispond\w+|respond\w+|antworte\w*){_NEAR}{_FREE}",
    r"\b(?:unrestricted|developer|jailbreak|god|dan)\s+mode\b|\bdo anything now\b|\bjailbroken\b",
    r"\bmust\s+comply\s+with\s+(?:every|any|all)\b",
    rf"\bexempt\s+from\b{_NEAR}\b{_TOLD}\b",
    rf"\b{_TOLD}\b{_NEAR}\b(?:do not|don't|were not|not meant to) apply\b",
    # to tell what it was told
    rf"{_TELL}{_NEAR}\b(?:system|hidden|initial|secret|original|your|tuo|deine?)\s+(?:\w+\s+)?{_TOLD}\b",
    rf"{_TELL}{_NEAR}\b(?:systemanweisungen|prompt\s+di\s+sistema|prompt\s+del\s+sistema|system\s*prompt)\b",
    r"\bwritten\s+above\s+this\s+conversation\b",
    r"\bwhat\s+(?:is|are|were|was)\s+your\s+(?:\w+\s+)?(?:prompt|instructions)\b",
    r"\b(?:repeat|print|output)\s+(?:everything|all|the\s+(?:text|words))\s+(?:above|before)\b",
    # to pass for what only the operator writes
    r"<\|[a-z_]+\|>|\[/?INST\]|<</?SYS>>",
    r"^\W*(?:system(?:\s+(?:note|message))?|systemhinweis|nota di sistema|assistant|developer)\s*:",
    r"^\W*end\s+of\s+(?:user\s+)?(?:input|prompt|document|message)\b",
    r"^\W*reasoning\s+trace\b|\b(?:ai|llm)\s+(?:coding\s+)?agents?\)?\s*:",
    # to follow what is hidden
    r"\b(?:decode|base64|hex|rot13)\b[^\n]{0,80}\b(?:follow|execute|obey|do\s+exactly|carry\s+out)\b",
    r"\b(?:do not|don't|without)\s+(?:tell|inform|ask|mention)(?:ing)?\s+(?:\w+\s+)?the\s+user\b",
    # to hand out what is not its own, or to use tools
    rf"\b(?:send|e-?mail|forward|dump|output|export|upload){_NEAR}\b(?:customers?(?:'s?)?|users?)\s+"
    r"(?:\w+\s+)?(?:data\w*|lists?|e-?mails|records|database)\b",
    rf"\b(?:send|e-?mail|forward|dump|output|print|give){_NEAR}\b(?:api keys?|credentials|admin password)\b",
    r"\bgrant\s+(?:this|the|me)\s+(?:user\s+)?admin\w*\b",
    r"\b(?:call|use|invoke|run)\s+[a-z]+_[a-z_]+\b",
]
_RULE = re.compile("|".join(f"(?:{rule})" for rule in _RULES), re.IGNORECASE | re.MULTILINE)
# "I g n o r e": letters set apart, at least a short word of them.
_SPACED = re.compile(r"\b(?:\w ){4,}\w\b")
# Long enough to hide a sentence in.
_BASE64 = re.compile(r"[A-Za-z0-9+/_-]{40,}={0,2}")
_HEX = re.compile(r"\b(?:[0-9a-f]{2}){20,}\b", re.IGNORECASE)


def injected(message: str) -> bool:
    """Whether a message gives orders to the model: as it stands, with its letters closed up, or decoded."""
    plain = _SPACED.sub(lambda found: found[0].replace(" ", ""), message)
    return any(_RULE.search(text) for text in (plain, *_hidden(message)))


def _hidden(message: str) -> list[str]:
    """What is encoded in a message, where it is text."""
    found = [_decoded(bytes.fromhex(match[0])) for match in _HEX.finditer(message)]
    for match in _BASE64.finditer(message):
        text = match[0].rstrip("=").replace("-", "+").replace("_", "/")
        try:
            found.append(_decoded(base64.b64decode(text + "=" * (-len(text) % 4))))
        except binascii.Error:
            continue
    return found


def _decoded(data: bytes) -> str:
    return data.decode(errors="replace")
