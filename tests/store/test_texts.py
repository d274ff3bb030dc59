"""The texts of repositories and their full-text search."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import text

from hls_handler.errors import StoreUnavailable
from hls_handler.handlers.reader import StoredSection
from hls_handler.retrieval.words import question_words
from hls_handler.settings.path_globs import EMPTY_PATH_FILTER, PathFilter
from hls_handler.store.storage import Storage
from hls_handler.store.texts import NewText, document_scope, issue_scope
from tests.postgres import ON_POSTGRESQL
from tests.queue.builders import Skew, accept, ignored
from tests.sqlite import create_database

HERE, THERE = document_scope(1), document_scope(11)


def test_text_with_the_rare_words_of_a_question_is_found_first(store: Storage) -> None:
    store.texts.replace(
        HERE,
        [],
        [
            NewText("docs/proxy.md", "Behind a proxy", "The service runs behind nginx.", 3, 9),
            NewText("docs/start.md", "Start", "The service runs at once.", 1, 4),
            NewText("docs/stop.md", "Stop", "The service ends.", 1, 2),
            NewText("README.md", "", "A service.", 1, 1),
        ],
    )
    first, second, *_ = store.texts.search(
        HERE, question_words("Behind proxies?", "the service is running")
    )
    assert (first.name, first.line, first.end_line, first.title) == (
        "docs/proxy.md",
        3,
        9,
        "Behind a proxy",
    )
    assert second.name == "docs/start.md"
    assert first.score > 2 * second.score


def test_word_that_no_text_contains_lowers_the_score(store: Storage) -> None:
    store.texts.replace(HERE, [], [NewText(f"{number}.md", "", "nothing") for number in range(9)])
    store.texts.replace(HERE, [], [NewText("proxy.md", "", "nginx")])
    (known,) = store.texts.search(HERE, question_words("nginx", ""))
    (unknown,) = store.texts.search(HERE, question_words("nginx", "kubernetes"))
    assert unknown.score < 0.6 * known.score


def test_search_stays_in_its_scope(store: Storage) -> None:
    store.texts.replace(
        THERE, [], [NewText("secret.md", "", "nginx"), NewText("other.md", "", "apache")]
    )
    store.texts.replace(issue_scope(1), [], [NewText("7", "", "nginx"), NewText("8", "", "apache")])
    assert store.texts.search(HERE, question_words("nginx", "")) == ()
    assert [found.name for found in store.texts.search(THERE, question_words("nginx", ""))] == [
        "secret.md"
    ]
    assert [
        found.name for found in store.texts.search(issue_scope(1), question_words("nginx", ""))
    ] == ["7"]


def test_replaced_text_is_no_longer_found(store: Storage) -> None:
    other = NewText("other.md", "", "tomcat", version="1")
    store.texts.replace(
        HERE, [], [other, NewText("a.md", "", "nginx", version="1"), NewText("a.md", "", "old", 5)]
    )
    store.texts.replace(HERE, ["a.md"], [NewText("a.md", "", "apache", version="2")])
    assert store.texts.search(HERE, question_words("nginx old", "")) == ()
    assert [found.text for found in store.texts.search(HERE, question_words("apache", ""))] == [
        "apache"
    ]
    assert store.texts.versions(HERE) == {"a.md": "2", "other.md": "1"}
    store.texts.replace(HERE, ["a.md"], [])
    assert store.texts.versions(HERE) == {"other.md": "1"}


def test_texts_of_one_name_are_stored_in_several_transactions_and_only_all_of_them_have_a_version(
    tmp_path: Path,
) -> None:
    new = [NewText("a.md", "", f"word{line}", line, line, "1") for line in range(450)]
    with closing(Storage.open(create_database(tmp_path / "hls.db"))) as store:
        with closing(sqlite3.connect(tmp_path / "hls.db")) as connection:
            stop = (
                "CREATE TRIGGER stop BEFORE INSERT ON texts WHEN new.line = 400 "
                "BEGIN SELECT RAISE(ABORT, 'full'); END"
            )
            connection.execute(stop)
            with pytest.raises(StoreUnavailable):
                store.texts.replace(HERE, ["b.md"], new)
            connection.execute("DROP TRIGGER stop")
        assert (len(store.texts.load(HERE)), store.texts.versions(HERE)) == (400, {"a.md": None})
        store.texts.replace(HERE, [], new)
        assert (len(store.texts.load(HERE)), store.texts.versions(HERE)) == (450, {"a.md": "1"})


def index(store: Storage) -> tuple[str | None, bool]:
    found = store.texts.document_index(1, "octo/widgets")
    return found.commit, found.is_fresh


def save_index(store: Storage, commit: str) -> None:
    store.texts.save_document_index(
        1, commit, store.texts.document_index(1, "octo/widgets").checked_at
    )


def test_document_index_is_fresh_for_an_hour(store: Storage, skew: Skew) -> None:
    assert index(store) == (None, False)
    save_index(store, "a" * 40)
    assert index(store) == ("a" * 40, True)
    skew.advance(minutes=61)
    assert index(store) == ("a" * 40, False)


@ON_POSTGRESQL
def test_postgresql_knows_the_number_of_texts_after_a_reading(store: Storage) -> None:
    """Without statistics, it reads all texts for each word of a question."""
    store.texts.replace(HERE, [], [NewText(f"{number}.md", "", "nginx") for number in range(250)])
    store.texts.update_statistics()
    with store.database.reading() as connection:
        known = connection.execute(
            text("SELECT reltuples FROM pg_class WHERE relname = 'texts'")
        ).scalar_one()
    assert known >= 250


def test_push_makes_the_document_index_of_its_repository_outdated(store: Storage) -> None:
    save_index(store, "a" * 40)
    accept(
        store,
        ignored("elsewhere", event="push", action=None, number=None, repository="octo/gadgets"),
    )
    assert index(store) == ("a" * 40, True)
    accept(
        store, ignored("here", event="push", action=None, number=None, repository="octo/widgets")
    )
    assert index(store) == ("a" * 40, False)


def test_push_during_a_reading_is_newer_than_the_reading(store: Storage, skew: Skew) -> None:
    begun = store.texts.document_index(1, "octo/widgets").checked_at
    skew.advance(seconds=5)
    accept(
        store, ignored("here", event="push", action=None, number=None, repository="octo/widgets")
    )
    skew.advance(seconds=5)
    store.texts.save_document_index(1, "a" * 40, begun)
    assert index(store) == ("a" * 40, False)


# --- sections by their words, and by their meaning ---

SECTIONS = {
    "a.md": "alpha beta gamma delta",
    "b.md": "alpha beta gamma",
    "c.md": "alpha beta",
    "d.md": "alpha",
    "e.md": "other",
    "f.md": "more",
}


def find(
    store: Storage, *nearest: str, question: str, ignored: PathFilter = EMPTY_PATH_FILTER
) -> list[str]:
    """Return the names of the sections that fit a question. `nearest` are those that fit it by
    their meaning.
    """
    ids = {text.strip(): key for key, text in store.texts.load(HERE).items()}
    keys = [ids[SECTIONS[name]] for name in nearest]
    return [
        one.path
        for one in store.texts.find_sections(1, question_words(question, ""), ignored, keys)
    ]


@pytest.mark.parametrize(
    ("question", "nearest", "found"),
    [
        ("nothing", (), []),
        ("alpha beta gamma delta", (), ["a.md", "b.md", "c.md"]),
        ("nothing", ("e.md", "a.md", "f.md", "b.md"), ["e.md", "a.md", "f.md"]),
        ("alpha beta gamma delta", ("c.md", "e.md"), ["c.md", "a.md", "b.md"]),
        ("alpha beta gamma delta", ("e.md", "f.md", "c.md"), ["c.md", "a.md", "e.md"]),
        ("alpha beta gamma delta", ("b.md", "a.md"), ["a.md", "b.md", "c.md"]),
    ],
    ids=["nothing", "words", "meaning", "in both", "third in both", "a tie"],
)
def test_sections_are_ranked_by_words_and_by_meaning(
    store: Storage, question: str, nearest: tuple[str, ...], found: list[str]
) -> None:
    store.texts.replace(HERE, [], [NewText(name, "", text) for name, text in SECTIONS.items()])
    assert find(store, *nearest, question=question) == found


def test_section_of_an_ignored_file_is_found_neither_by_words_nor_by_meaning(
    store: Storage,
) -> None:
    store.texts.replace(HERE, [], [NewText(name, "", text) for name, text in SECTIONS.items()])
    ignored = PathFilter(("a.md", "e.md"))
    assert find(store, "e.md", "f.md", question="alpha beta gamma delta", ignored=ignored) == [
        "b.md",
        "f.md",
        "c.md",
    ]


def test_copies_in_an_ignored_folder_hide_nothing(store: Storage) -> None:
    copies = [NewText(f"versions/{number}.md", "", "alpha beta gamma") for number in range(60)]
    store.texts.replace(
        HERE, [], [*copies, NewText("docs/a.md", "", "alpha beta"), NewText("b.md", "", "other")]
    )
    assert find(store, question="alpha beta gamma", ignored=PathFilter(("versions/**",))) == [
        "docs/a.md"
    ]


def test_rule_11_text_of_another_repository_is_never_a_section(store: Storage) -> None:
    store.texts.replace(THERE, [], [NewText("secret.md", "", "nginx")])
    store.texts.replace(HERE, [], [NewText("mine.md", "Mine", "tomcat", 3, 9)])
    save_index(store, "a" * 40)
    keys = [*store.texts.load(THERE), *store.texts.load(HERE), 4711]
    found = store.texts.find_sections(1, question_words("nginx", ""), EMPTY_PATH_FILTER, keys)
    assert found == (StoredSection("mine.md", "Mine", 3, 9, "tomcat", "a" * 40),)
    assert list(store.texts.load(HERE).values()) == ["Mine\ntomcat"]
