"""Collections on disk: found, refreshed, searched, and safe from bad files and names."""

from __future__ import annotations

from pathlib import Path

import pytest

from agent.index import Vectors
from agent.knowledge import Knowledge, is_slug
from infra.errors import KnowledgeError, NotFound
from infra.settings import Settings
from tests.agent.agents import add_knowledge


def titles(knowledge: Knowledge, query: str, slug: str = "inn") -> list[str]:
    return [fact.title for fact in knowledge.facts(slug, query, 6)]


def test_facts_are_found_best_first(settings: Settings) -> None:
    add_knowledge(settings)
    knowledge = Knowledge(settings.knowledge_dir, "default", None)
    assert knowledge.refresh()
    assert titles(knowledge, "Are dogs allowed?")[0] == "Pets"
    assert titles(knowledge, "when does check in begin")[0] == "Arrival"
    assert titles(knowledge, "zebra xylophone") == []
    assert titles(knowledge, "") == []
    assert len(knowledge.facts("inn", "parking breakfast dogs wifi check-in", 2)) == 2


def test_changed_documents_are_used_without_a_restart(settings: Settings) -> None:
    folder = add_knowledge(settings)
    knowledge = Knowledge(settings.knowledge_dir, "default", None)
    knowledge.refresh()
    assert not knowledge.refresh()
    (folder / "pool.md").write_text("# Pool\nThe pool is heated.\n")
    assert knowledge.refresh()
    assert titles(knowledge, "Is the pool heated?")[0] == "Pool"
    (folder / "pool.md").unlink()
    assert knowledge.refresh()
    assert "Pool" not in titles(knowledge, "Is the pool heated?")


def test_a_bad_file_is_reported_and_left_out(settings: Settings) -> None:
    folder = add_knowledge(settings)
    add_knowledge(settings, "other", "THE OTHER")
    (folder / "bad.jsonl").write_text("{oops\n")
    (settings.knowledge_dir / "other" / "about.toml").write_text("name = 7\n")
    knowledge = Knowledge(settings.knowledge_dir, "default", None)
    knowledge.refresh()
    assert titles(knowledge, "dogs")[0] == "Pets"
    assert titles(knowledge, "dogs", "other")[0] == "Pets"
    assert [("line 1" in problem, "has no name" in problem) for problem in knowledge.problems] == [
        (True, False),
        (False, True),
    ]


def test_names_never_become_paths(settings: Settings) -> None:
    add_knowledge(settings)
    knowledge = Knowledge(settings.knowledge_dir, "default", None)
    knowledge.refresh()
    for name in ("../inn", "..", ".", "inn/", "/", "INN", "a" * 65, "x\n"):
        assert not is_slug(name)
        with pytest.raises(NotFound, match="knowledge add"):
            knowledge.facts(name, "dogs", 6)
    assert knowledge.facts("", "dogs", 6) == ()  # the default one, which has no documents here


def test_missing_vectors_are_told_with_the_next_step(tmp_path: Path) -> None:
    with pytest.raises(KnowledgeError, match="make model"):
        Vectors.load(tmp_path / "nothing")
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(KnowledgeError, match="does not hold static vectors"):
        Vectors.load(tmp_path)


def test_meaning_finds_what_words_do_not(settings: Settings) -> None:
    folder = Path(__file__).parents[2] / "models" / "minilm-static"
    if not folder.is_dir():
        pytest.skip("the static vectors are not assembled on this machine: make model")
    add_knowledge(settings)
    knowledge = Knowledge(settings.knowledge_dir, "default", Vectors.load(folder))
    knowledge.refresh()
    assert titles(knowledge, "puppy")[0] == "Pets"
    assert titles(knowledge, "internet")[0] == "Wireless"
