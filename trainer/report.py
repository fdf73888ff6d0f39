"""The morning report: what the night did, in words that a shop owner understands. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from trainer.gates import Gate, Verdict, diverged


def report(
    queries: int,
    completions: int,
    chosen: int,
    replayed: int,
    gates: Sequence[Gate],
    told: Sequence[Gate],
    verdict: Verdict,
    reason: str,
    synthetic: int = 0,
    rehearsed: int = 0,
) -> list[str]:
    """Short paragraphs, most important first.

    `synthetic` questions the night wrote beside `queries`; `rehearsed` answers were about its conduct.
    """
    paragraphs = [_headline(verdict, reason)]
    held_out = next((gate for gate in gates if gate.name == "held-out"), None)
    if held_out and held_out.n:
        paragraphs.append(_held_out(held_out))
    if queries or synthetic:
        paragraphs.append(_learned(queries, completions, chosen, replayed, synthetic))
    if rehearsed:
        paragraphs.append(
            f"So that it still declines and resists, it also learned from {rehearsed} of its own answers "
            "to questions that no shop answers, that do harm, or that give it orders."
        )
    failed = [gate for gate in gates if gate.verdict is not Verdict.PASS]
    paragraphs += [f"{gate.claim} This was not shown: {_why(gate)}." for gate in failed]
    paragraphs += [f"{said(gate)} This did not decide." for gate in told if gate.verdict is Verdict.FAIL]
    if diverged(gates):
        paragraphs.append(
            "The score that chose the answers rose while the answers themselves did not get better. The "
            "choice is not to be trusted; look at the chosen answers of this night."
        )
    return paragraphs


def said(gate: Gate) -> str:
    """A gate in words that a shop owner understands; empty for a gate whose unit is not known here."""
    words = {
        "held-out": _held_out_said,
        "reward agrees": _reward_said,
        "second scorer": _second_said,
        "length": _length_said,
        "matched length": _matched_said,
        "varied": _varied_said,
        "tokens": _tokens_said,
        "latency": _latency_said,
        "answered": _answered_said,
        "conduct": _conduct_said,
        "conduct kept": _conduct_kept_said,
    }
    if gate.name not in words:
        return ""
    if gate.verdict is Verdict.NOT_ENOUGH_DATA:
        return f"{gate.claim} Too little to tell: {gate.detail}."
    return f"{words[gate.name](gate)} {'Passed.' if gate.verdict is Verdict.PASS else 'Not passed.'}"


def _learned(queries: int, completions: int, chosen: int, replayed: int, synthetic: int) -> str:
    taken = f"{queries + synthetic} questions" + ("" if synthetic else " that customers asked")
    told = (
        f"The night took {taken}, tried {completions} answers to them, "
        f"and learned from the {chosen} that were clearly right."
    )
    if synthetic:
        asked = f"Customers had asked {queries or 'none'} of these questions"
        told += f" {asked}; the other {synthetic} the night wrote itself, from your documents."
    return told + (f" It learned again from {replayed} answers of earlier nights." if replayed else "")


def _held_out_said(gate: Gate) -> str:
    return (
        f"{_held_out(gate)} Chance alone moves it within that range, so all of it must lie above "
        f"{gate.margin * 100:.0f} for the new model to be better."
    )


def _reward_said(gate: Gate) -> str:
    way = "higher" if gate.estimate >= 0 else "lower"
    return (
        f"The score that chose what to learn from (0 to 1) is {abs(gate.estimate):.2f} {way} for the new "
        f"answers (between {gate.low:+.2f} and {gate.high:+.2f}). It may not lie wholly below 0, or it "
        "would contradict the right answers that were counted."
    )


def _length_said(gate: Gate) -> str:
    way = "longer" if gate.estimate >= 0 else "shorter"
    return (
        f"The usual answer is {abs(gate.estimate):.0%} {way} (between {gate.low:+.0%} and "
        f"{gate.high:+.0%}). It may become at most {gate.margin:.0%} longer, since long answers look better "
        "than they are."
    )


def _second_said(gate: Gate) -> str:
    way = "higher" if gate.estimate >= 0 else "lower"
    return (
        f"Another score, which chose nothing, is {abs(gate.estimate):.2f} {way} for the new answers (between "
        f"{gate.low:+.2f} and {gate.high:+.2f}). All of that must lie above {gate.margin:+.2f}."
    )


def _matched_said(gate: Gate) -> str:
    if gate.detail:
        return f"Nothing to show here: {gate.detail}."
    often = "more" if gate.estimate >= 0 else "less"
    return (
        f"Among answers of like length the new model is right {abs(gate.estimate) * 100:.1f} points {often} "
        f"often (between {gate.low * 100:+.1f} and {gate.high * 100:+.1f}). All of that must lie above "
        f"{gate.margin * 100:+.0f}, or it is right only by saying less."
    )


def _varied_said(gate: Gate) -> str:
    return (
        f"The new answers are {gate.estimate:.0%} as varied as the present ones (between {gate.low:.0%} and "
        f"{gate.high:.0%}). Below {gate.margin:.0%} it would say much the same to everybody."
    )


def _tokens_said(gate: Gate) -> str:
    return (
        f"An answer costs {gate.estimate:+.0%} in tokens (between {gate.low:+.0%} and {gate.high:+.0%}). All "
        f"of that must lie below {gate.margin:+.0%}."
    )


def _latency_said(gate: Gate) -> str:
    return (
        f"An answer takes {gate.estimate:.2f} times as long (between {gate.low:.2f} and {gate.high:.2f}). "
        f"All of that must lie below {gate.margin:.1f}."
    )


def _answered_said(gate: Gate) -> str:
    return f"{gate.estimate:.1%} of the new answers are empty. None may be."


def _conduct_said(gate: Gate, subject: str = "It") -> str:
    often = "more" if gate.estimate >= 0 else "less"
    return (
        f"{subject} declines, resists orders and stands firm {abs(gate.estimate) * 100:.1f} points {often} "
        f"often (between {gate.low * 100:+.1f} and {gate.high * 100:+.1f}): {gate.detail}. All of that must "
        f"lie above {gate.margin * 100:+.0f}, and none of them may become rarer beyond chance."
    )


def _conduct_kept_said(gate: Gate) -> str:
    return _conduct_said(gate, "Compared with the model before any night, it")


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
