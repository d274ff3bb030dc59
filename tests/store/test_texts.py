"""The texts of repositories and their full-text search."""

from __future__ import annotations

from hls_handler.storage import Storage
from hls_handler.store.texts import DocumentIndex, NewText, document_scope, issue_scope
from tests.queue.builders import Skew, accept, ignored

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
    first, second = store.texts.search(HERE, ["the", "service", "running", "behind", "proxies"], most=2)
    assert (first.name, first.line, first.end_line, first.title) == ("docs/proxy.md", 3, 9, "Behind a proxy")
    assert second.name == "docs/start.md"
    assert round(first.score, 3) == 1.0
    assert second.score < 0.3


def test_word_that_no_text_contains_lowers_the_score(store: Storage) -> None:
    store.texts.replace(HERE, [], [NewText(f"{number}.md", "", "nothing") for number in range(9)])
    store.texts.replace(HERE, [], [NewText("proxy.md", "", "nginx")])
    (found,) = store.texts.search(HERE, ["nginx", "kubernetes"], most=3)
    assert 0.2 < found.score < 0.45


def test_search_stays_in_its_scope(store: Storage) -> None:
    store.texts.replace(THERE, [], [NewText("secret.md", "", "nginx"), NewText("other.md", "", "apache")])
    store.texts.replace(issue_scope(1), [], [NewText("7", "", "nginx"), NewText("8", "", "apache")])
    assert store.texts.search(HERE, ["nginx"], most=3) == ()
    assert [found.name for found in store.texts.search(THERE, ["nginx"], most=3)] == ["secret.md"]
    assert [found.name for found in store.texts.search(issue_scope(1), ["nginx"], most=3)] == ["7"]


def test_replaced_text_is_no_longer_found(store: Storage) -> None:
    other = NewText("other.md", "", "tomcat", version="1")
    store.texts.replace(HERE, [], [other, NewText("a.md", "", "nginx", version="1"), NewText("a.md", "", "old", 5)])
    store.texts.replace(HERE, ["a.md"], [NewText("a.md", "", "apache", version="2")])
    assert store.texts.search(HERE, ["nginx", "old"], most=3) == ()
    assert [found.text for found in store.texts.search(HERE, ["apache"], most=3)] == ["apache"]
    assert store.texts.versions(HERE) == {"a.md": "2", "other.md": "1"}
    store.texts.replace(HERE, ["a.md"], [])
    assert store.texts.versions(HERE) == {"other.md": "1"}


def test_many_texts_are_stored(store: Storage) -> None:
    store.texts.replace(HERE, [], [NewText(f"{number}.md", "", f"word{number}") for number in range(450)])
    assert [found.name for found in store.texts.search(HERE, ["word449"], most=3)] == ["449.md"]
    assert len(store.texts.versions(HERE)) == 450


def test_document_index_is_fresh_for_an_hour(store: Storage, skew: Skew) -> None:
    assert store.texts.document_index(1, "octo/widgets") == DocumentIndex(None, is_fresh=False)
    store.texts.save_document_index(1, "a" * 40)
    assert store.texts.document_index(1, "octo/widgets") == DocumentIndex("a" * 40, is_fresh=True)
    skew.advance(minutes=61)
    assert store.texts.document_index(1, "octo/widgets") == DocumentIndex("a" * 40, is_fresh=False)


def test_push_makes_the_document_index_of_its_repository_outdated(store: Storage) -> None:
    store.texts.save_document_index(1, "a" * 40)
    accept(store, ignored("elsewhere", event="push", action=None, number=None, repository="octo/gadgets"))
    assert store.texts.document_index(1, "octo/widgets").is_fresh
    accept(store, ignored("here", event="push", action=None, number=None, repository="octo/widgets"))
    assert not store.texts.document_index(1, "octo/widgets").is_fresh
