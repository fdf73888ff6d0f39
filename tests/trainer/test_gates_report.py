"""How often gates err, dealt from the answers of a small made-up night."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest

from infra.errors import NightError
from infra.sections import TrainerSettings
from trainer.evaluate import Answered, Prompted
from trainer.gates_report import deal, main, refusals, simulate
from trainer.journal import write_whole
from trainer.notes import Chosen, Conduct, Evaluation, Resampled, Scored, Synthesised
from trainer.queries import Query
from trainer.recorded import Question, Record, Said, evaluated, sampled
from trainer.resample import Sampled
from trainer.reward.model import Reward
from trainer.suite import SuiteCase

# Enough for gates to judge, in clusters of five.
QUESTIONS, SAMPLES = 120, 4
SETTINGS = TrainerSettings()


def query(place: int, synthetic: bool = False) -> Query:
    return Query(
        response_id=f"r{place}",
        conversation_id="",
        collection=f"business-{place // 5}",
        query="?",
        prompt=(),
        facts=(),
        synthetic=synthetic,
    )


def text(rng: random.Random) -> str:
    """An answer of some 12 words, right ones as long as wrong ones."""
    return " ".join(f"word{rng.randrange(3_000)}" for _ in range(rng.randint(8, 16)))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A night whose last question was its own; a third of its answers are right, as its reward has it."""
    rng = random.Random(1)
    queries = [query(place, synthetic=place == QUESTIONS - 1) for place in range(QUESTIONS)]
    groups, rewards_Q_N = [], []
    for place in range(QUESTIONS):
        chance = rng.betavariate(0.88, 1.79)
        values = [0.5 + 0.2 * (rng.random() < chance) + 0.1 * rng.random() for _ in range(SAMPLES)]
        rewards_Q_N.append(tuple(Reward(value, good=value >= 0.65) for value in values))
        texts = tuple(text(rng) for _ in values)
        groups.append(Sampled(response_id=f"r{place}", texts=texts, tokens=80, seconds=1.0))
    write_whole(
        tmp_path / "choose.json", Chosen(snapshot=1, stable="", logged=9, queries=tuple(queries[:-1]))
    )
    write_whole(tmp_path / "synthesise.json", Synthesised(queries=tuple(queries[-1:]), asked=1))
    write_whole(tmp_path / "resample.json", Resampled(groups=tuple(groups)))
    write_whole(tmp_path / "score.json", Scored(model="made", version="1", rewards_Q_N=tuple(rewards_Q_N)))
    return tmp_path


def answered(place: int, passed: bool) -> Answered:
    said = text(random.Random(f"{place} {passed}"))
    return Answered(
        case=f"s/{place}", answer=said, tokens=9, latency_s=0.1, passed=passed, negated=False, copied=False
    )


def evaluation(count: int) -> Evaluation:
    """Stable is right in every third case, the candidate in every second."""
    prompts = [Prompted(case=f"s/{i}", group=f"b{i // 5}", messages=(), facts=()) for i in range(count)]
    return Evaluation(
        prompts=tuple(prompts),
        stable=tuple(answered(i, i % 3 == 0) for i in range(count)),
        candidate=tuple(answered(i, i % 2 == 0) for i in range(count)),
    )


def conduct(changed: int) -> Conduct:
    """60 cases of three suites, half of them conducted well; the candidate the first `changed` otherwise."""
    cases = [
        SuiteCase(id=str(i), suite=f"s{i % 3}", collection="inn", question="?", declines=True, cluster=str(i))
        for i in range(60)
    ]
    return Conduct(
        cases=tuple(cases),
        prompts=tuple(Prompted(case=case.key, group=case.group, messages=(), facts=()) for case in cases),
        stable=tuple(answered(i, i % 2 == 0) for i in range(60)),
        candidate=tuple(answered(i, (i % 2 == 0) != (i < changed)) for i in range(60)),
    )


def recorded(folder: Path) -> Record:
    found = sampled(folder)
    assert found
    return found


def test_what_was_sampled_is_read_with_its_rewards(folder: Path) -> None:
    record = recorded(folder)
    assert [len(question.said_N) for question in record.questions] == [SAMPLES] * QUESTIONS
    assert record.questions[-1].group == "business-23"
    assert "made" in record.right_by
    assert 0.25 < record.right < 0.45
    for said in record.questions[0].said_N:
        assert said.value is not None
        assert said.right == (said.value >= 0.65)


def test_what_was_evaluated_is_right_by_the_reference(tmp_path: Path) -> None:
    assert evaluated(tmp_path) is None
    write_whole(tmp_path / "evaluate.json", evaluation(6))
    record = evaluated(tmp_path)
    assert record
    assert [[said.right for said in question.said_N] for question in record.questions[:3]] == [
        [True, True],
        [False, False],
        [False, True],
    ]
    assert record.right == pytest.approx(5 / 12)
    assert record.room == pytest.approx(3 * 0.5 / 6)


def test_a_question_answered_once_is_left_out(folder: Path) -> None:
    scored = Scored(model="made", version="1", rewards_Q_N=((Reward(1.0, True),),))
    write_whole(folder / "choose.json", Chosen(snapshot=1, stable="", logged=9, queries=()))
    write_whole(folder / "score.json", scored)
    once = Sampled(response_id="r119", texts=("yes",), tokens=1, seconds=1.0)
    write_whole(folder / "resample.json", Resampled(groups=(once,)))
    assert sampled(folder) is None


def test_two_answers_of_one_question_are_dealt() -> None:
    questions = [
        Question("inn", tuple(Said(f"{place} {n}", n == 0) for n in range(3))) for place in range(50)
    ]
    for _, stable, candidate in deal(questions, 0.0, random.Random(1)):
        assert stable != candidate
        assert stable.text.split()[0] == candidate.text.split()[0]
    dealt = deal(questions, 2 / 3, random.Random(1))
    assert all(candidate.right for _, _, candidate in dealt), "all that there is to gain"


def test_the_gain_is_what_was_asked_for(folder: Path) -> None:
    questions = recorded(folder).questions
    risen = [
        candidate.right - stable.right
        for seed in range(300)
        for _, stable, candidate in deal(questions, 0.08, random.Random(seed))
    ]
    # 36,000 pairs: a standard error of 0.003; the last question drawn may add up to 1/120.
    assert sum(risen) / len(risen) == pytest.approx(0.084, abs=0.012)


def test_a_candidate_that_changes_nothing_seldom_passes(folder: Path) -> None:
    found = simulate(recorded(folder), 0.0, 60, 1, SETTINGS)
    assert (found.questions, found.groups, found.candidates) == (120, 24, 60)
    assert found.held_out.passed <= 8
    assert found.every.passed <= found.held_out.passed
    assert found.held_out.low <= found.held_out.share <= found.held_out.high


def test_a_large_gain_passes(folder: Path) -> None:
    found = simulate(recorded(folder), 0.2, 15, 1, SETTINGS)
    assert found.held_out.passed == 15
    assert found.every.passed >= 12
    assert found == simulate(recorded(folder), 0.2, 15, 1, SETTINGS)
    others = deal(recorded(folder).questions, 0.2, random.Random("2/0"))
    assert others != deal(recorded(folder).questions, 0.2, random.Random("1/0"))


def test_the_other_gates_are_asked_where_the_held_out_one_passed() -> None:
    better = [(f"b{i // 5}", Said("no", False, 0.9), Said(f"yes {i}", True, 0.1)) for i in range(120)]
    assert refusals(better, SETTINGS, 1) == ("length", "reward agrees")
    assert refusals([(group, two, one) for group, one, two in better], SETTINGS, 1) == ("held-out",)
    silent = [(group, one, Said("", True)) for group, one, _ in better]
    assert "answered" in refusals(silent, SETTINGS, 1)


def test_conduct_that_did_not_change_seldom_refuses_a_candidate(folder: Path) -> None:
    def passed(changed: int, settings: TrainerSettings = SETTINGS) -> int:
        found = simulate(recorded(folder), 0.2, 15, 1, settings, conduct(changed))
        assert set(found.refused_by) <= {"length", "matched length", "conduct"}
        return found.candidates - found.refused_by.get("conduct", 0)

    assert passed(0) == 15
    assert passed(6) >= 14
    # Where every answer comes out otherwise, which of the two models is better is chance alone.
    assert passed(60) <= 5
    assert passed(60, TrainerSettings(conduct_gate=False)) == 15


def test_too_small_a_night_says_so(folder: Path) -> None:
    record = recorded(folder)
    with pytest.raises(NightError, match=r"50 questions .* 100"):
        simulate(Record("sampled", "x", record.questions[:50]), 0.0, 1, 1, SETTINGS)
    with pytest.raises(NightError, match=r"no candidate can be 0\.9 better"):
        simulate(record, 0.9, 1, 1, SETTINGS)


def test_a_nights_folder_is_told(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_whole(folder / "evaluate.json", evaluation(60))
    assert main([str(folder), "--candidates", "4", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert [(one["record"], one["gain"]) for one in told["simulated"]] == [
        ("sampled", 0.0),
        ("sampled", 0.08),
    ]
    assert len(told["left_out"]) == 2
    assert main([str(folder), "--candidates", "4"]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "sampled: 120 questions of 24 clusters" in shown
    assert "right by the reward made, as scored" in shown
    assert "evaluation: 60 questions with two answers" in shown


def test_a_folder_without_a_night_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(tmp_path)]) == 2
    assert "name a night that has scored" in " ".join(capsys.readouterr().out.split())
