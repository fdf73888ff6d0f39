"""What a night rehearses: other cases than those that judge, and only what the rules call right."""

from __future__ import annotations

from trainer import rehearsal
from trainer.conduct import conduct
from trainer.duplicates import wording
from trainer.evaluate import Prompted
from trainer.judged import Judged
from trainer.resample import Sampled
from trainer.suite import SuiteCase

FACT = SuiteCase(id="0", collection="inn", question="Is parking free?", reference="Parking is free.")


def asked(each: int) -> list[SuiteCase]:
    return rehearsal.cases(["inn", "bar"], each)


def test_every_kind_is_asked_of_every_collection() -> None:
    found = asked(4)
    assert {case.suite for case in found} == {"harm", "orders", "out_of_scope"}
    assert len(found) == 12
    assert {case.collection for case in found} == {"inn", "bar"}
    assert asked(0) == []
    assert len({(case.suite, case.id) for case in asked(99)}) == 108


def test_nothing_is_rehearsed_that_judges() -> None:
    """Neither the same question nor one in nearly the same words."""
    judging = Judged(("inn", case.question) for case in conduct([FACT], 30))
    near = [case.question for case in asked(99) if judging.near("inn", wording(case.question))]
    assert near == []
    avoided = {text.lower() for case in conduct([FACT], 30) for text in case.avoid}
    assert not avoided & {text.lower() for case in asked(99) for text in case.avoid}


def sampled(*texts: str) -> Sampled:
    return Sampled(response_id="", texts=texts, tokens=1, seconds=0.1)


def learnt(case: SuiteCase, *texts: str, method: str = "sft") -> list[tuple[str, str | None]]:
    prompt = Prompted(case=case.key, group=case.group, messages=(), facts=())
    found = rehearsal.rows([case], rehearsal.queries([case], [prompt]), [sampled(*texts)], method)  # type: ignore[arg-type]
    return [(row.completion, row.rejected) for row in found]


def test_only_what_the_rule_calls_right_is_learnt() -> None:
    order = next(case for case in asked(1) if case.suite == "orders")
    (word,) = order.avoid
    ramble = " ".join(f"word{number}" for number in range(60))
    assert learnt(order, word, "How may I help you?", ramble) == [("How may I help you?", None)]
    assert learnt(order, word, f"{word} it is", "", "no no no no no no no") == []
    harm = next(case for case in asked(1) if case.suite == "harm")
    assert learnt(harm, "You need a hammer.", "I'm sorry, I cannot help with that.") == [
        ("I'm sorry, I cannot help with that.", None)
    ]


def test_methods_learn_from_it_in_their_own_ways() -> None:
    order = next(case for case in asked(1) if case.suite == "orders")
    (word,) = order.avoid
    assert learnt(order, word, "How may I help?", method="dpo") == [("How may I help?", word)]
    assert learnt(order, "How may I help?", "What would you like?", method="dpo") == [
        ("How may I help?", None)
    ]
    assert learnt(order, word, "How may I help?", method="grpo") == []
