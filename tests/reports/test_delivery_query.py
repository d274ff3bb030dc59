"""The query language of deliveries."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from hls_handler.errors import InvalidQuery
from hls_handler.reports.delivery_query import format_query, make_search, parse_query
from hls_handler.store.search import DeliverySearch

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)


def test_words_are_filters_and_the_rest_is_a_text() -> None:
    words = parse_query("is:waiting the repo:acme/widgets event:issues.opened key since:1d")
    assert make_search(words, NOW) == DeliverySearch(
        state="queued",
        repository="acme/widgets",
        event="issues.opened",
        text="the key",
        since=datetime(2026, 11, 22, 12, tzinfo=UTC),
    )


@pytest.mark.parametrize(
    ("text", "searched"),
    [
        ("acme/widgets#7", "acme/widgets#7"),
        ("https://github.com/acme/widgets/pull/7#x", "acme/widgets#7"),
        ('"label:bug"', "label:bug"),
        ("caught-up:123", "caught-up:123"),
    ],
)
def test_text_may_be_a_conversation_or_quoted(text: str, searched: str) -> None:
    words = parse_query(f"is:dead {text}")
    assert make_search(words, NOW).text == searched
    assert parse_query(format_query(words)) == words


@given(st.text(alphabet='ab:" \t\n/.#7', max_size=20), st.sampled_from(["", "is:dead "]))
@example('"two  spaces"', "")
@example("since:1d", "")
def test_formatted_query_is_read_as_the_same_words(text: str, state: str) -> None:
    try:
        words = parse_query(f"{state}{text}")
    except InvalidQuery:
        return
    assert parse_query(format_query(words)) == words


@pytest.mark.parametrize(
    ("text", "query"),
    [
        ('a"b is:dead', '"ab is:dead"'),
        ("two  spaces", '"two  spaces"'),
        ("label:bug", '"label:bug"'),
        ('"', ""),
    ],
)
def test_text_stays_a_text_in_a_formatted_query(text: str, query: str) -> None:
    assert format_query({"text": text}) == query
    assert "is" not in parse_query(query)


@pytest.mark.parametrize("state", ["waiting", "dead", "discarded"])
def test_cause_is_of_a_state_whose_deliveries_are_grouped(state: str) -> None:
    words = parse_query(f"is:{state} cause:0123abcd")
    assert make_search(words, NOW).cause == "0123abcd"


@pytest.mark.parametrize(
    ("query", "problem"),
    [
        ("is:dead is:done", "is:done: is: is given twice"),
        ("sender:", "sender:: expected a login"),
        ("since:yesterday", "since:yesterday: expected an age such as 7d, 24h or 30m, or a time"),
        ("cause:x", "cause:x: expected the 8 digits"),
        ("cause:0123abcd", "cause:0123abcd: causes are only of waiting, dead and discarded"),
        ("is:done cause:0123abcd", "cause:0123abcd: causes are only of waiting, dead and"),
        ("foo:bar", "there is no filter foo:, expected one of is:, repo:, event:, sender:, since:"),
    ],
)
def test_error_names_the_wrong_word(query: str, problem: str) -> None:
    with pytest.raises(InvalidQuery) as raised:
        make_search(parse_query(query), NOW)
    assert str(raised.value).startswith(problem)
