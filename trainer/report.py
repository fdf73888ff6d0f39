"""The morning report: what the night did, in words that a shop owner understands. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from trainer.gates import Gate, Verdict


def report(
    queries: int,
    completions: int,
    chosen: int,
    replayed: int,
    gates: Sequence[Gate],
    verdict: Verdict,
    reason: str,
) -> list[str]:
    """Short paragraphs, most important first."""
    paragraphs = [_headline(verdict, reason)]
    held_out = next((gate for gate in gates if gate.name == "held-out"), None)
    if held_out and held_out.n:
        paragraphs.append(_held_out(held_out))
    if queries:
        paragraphs.append(
            f"The night took {queries} questions that customers asked, tried {completions} answers to them, "
            f"and learned from the {chosen} that were clearly right."
            + (f" It learned again from {replayed} answers of earlier nights." if replayed else "")
        )
    failed = [gate for gate in gates if gate.verdict is not Verdict.PASS]
    paragraphs += [f"{gate.claim} This was not shown: {_why(gate)}." for gate in failed]
    if _diverged(gates):
        paragraphs.append(
            "The score that chose the answers rose while the answers themselves did not get better. The "
            "choice is not to be trusted; look at the chosen answers of this night."
        )
    return paragraphs


def _headline(verdict: Verdict, reason: str) -> str:
    if verdict is Verdict.PASS:
        return "A better model was found. It now answers part of your customers' conversations, on trial."
    said = {
        Verdict.FAIL: "The new model was not proven better, so it was rejected.",
        Verdict.NOT_ENOUGH_DATA: "There was not enough data to learn or to judge.",
    }[verdict]
    return f"{said} Nothing changes for customers. {reason}".strip()


def _held_out(gate: Gate) -> str:
    often = "more" if gate.estimate >= 0 else "less"
    return (
        f"On {gate.n} questions that it had not learned from, the new model gives the right answer "
        f"{abs(gate.estimate) * 100:.1f} points {often} often than the present one "
        f"(between {gate.low * 100:+.1f} and {gate.high * 100:+.1f})."
    )


def _why(gate: Gate) -> str:
    if gate.verdict is Verdict.NOT_ENOUGH_DATA:
        return gate.detail
    measured = f"measured {gate.estimate:+.3f}, between {gate.low:+.3f} and {gate.high:+.3f}"
    return f"{measured}, allowed {gate.margin:.3f}"


def _diverged(gates: Sequence[Gate]) -> bool:
    by_name = {gate.name: gate for gate in gates}
    reward, answers = by_name.get("reward agrees"), by_name.get("held-out")
    return bool(reward and answers and reward.low > 0.0 and answers.verdict is Verdict.FAIL)
