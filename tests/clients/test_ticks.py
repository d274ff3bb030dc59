"""Boxes that a person ticked stay ticked in what replaces the text."""

from __future__ import annotations

import re
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hls_handler.clients.ticks import keep_ticks


@pytest.mark.parametrize(
    ("older", "newer", "kept"),
    [
        ("- [x] a\n- [ ] b", "Now:\n- [ ] b\n- [ ] a", "Now:\n- [ ] b\n- [x] a"),
        ("- [X] a", "- [ ] a", "- [X] a"),
        ("- [x] run  the\ttests \r", "- [ ] run the tests", "- [x] run the tests"),
        ("* [x] a", "1. [ ] a", "1. [x] a"),
        ("- [x] a", "  + [ ] a", "  + [x] a"),
        ("2) [x] a", "- [ ] a", "- [x] a"),
        ("- [x] a", "- [ ] b", "- [ ] b"),
        ("- [x] a", "- [ ] A", "- [ ] A"),
        ("- [ ] a", "- [ ] a", "- [ ] a"),
        ("- [ ] a", "- [x] a", "- [x] a"),
        ("no list [x] a", "- [ ] a", "- [ ] a"),
        ("- [x]", "- [ ]", "- [ ]"),
        ("- [x] [ ] a", "- [ ] [ ] a", "- [x] [ ] a"),
        ("", "- [ ] a", "- [ ] a"),
        ("- [x] a", "", ""),
    ],
)
def test_an_item_that_stood_ticked_is_ticked(older: str, newer: str, kept: str) -> None:
    assert keep_ticks(older, newer) == kept


@pytest.mark.parametrize(
    ("older", "newer", "kept"),
    [
        ("- [x] a\n- [ ] a", "- [ ] a\n- [ ] a", "- [x] a\n- [ ] a"),
        ("- [ ] a\n- [x] a", "- [ ] a\n- [ ] a", "- [ ] a\n- [x] a"),
        ("- [ ] a\n- [x] a", "- [ ] a", "- [x] a"),
        ("- [x] a", "- [ ] a\n- [ ] a\n- [ ] a", "- [x] a\n- [ ] a\n- [ ] a"),
        ("- [ ] a\n- [x] a\n- [x] a", "- [ ] a\n- [ ] a", "- [x] a\n- [x] a"),
        ("- [ ] a\n- [x] a", "- [x] a\n- [ ] a", "- [x] a\n- [ ] a"),
        ("- [x] a\n- [x] a", "- [x] a\n- [ ] a", "- [x] a\n- [x] a"),
    ],
)
def test_of_items_with_the_same_text_as_many_are_ticked_as_were(older: str, newer: str, kept: str) -> None:
    assert keep_ticks(older, newer) == kept


@pytest.mark.parametrize("code", ["```\n{}\n```", "~~~~ text\n{}\n```\n~~~~", "> {}"])
def test_boxes_in_code_and_in_quotes_are_nobodys_ticks(code: str) -> None:
    ticked, empty = code.format("- [x] a"), code.format("- [ ] a")
    assert keep_ticks(ticked, "- [ ] a") == "- [ ] a"
    assert keep_ticks("- [x] a", empty) == empty
    assert keep_ticks(f"{empty}\n\n- [x] a", f"{empty}\n\n- [ ] a") == f"{empty}\n\n- [x] a"


LINES = st.sampled_from(
    ("- [ ] a", "- [x] a", "* [ ] a ", "- [ ] b", "1. [x] b", "  - [X] a", "```", "> - [ ] a", "words", "", "[ ] a\r")
)
TEXTS = st.lists(LINES, max_size=12).map("\n".join)
ITEM = re.compile(r"^( *(?:[-*]|1\.) \[)([ xX])\] (\w)", re.MULTILINE)


def without_ticks(text: str) -> str:
    return ITEM.sub(r"\1 ] \3", text)


@given(asked=TEXTS, data=st.data())
def test_a_text_that_differs_in_ticks_alone_becomes_the_older_one_again(asked: str, data: st.DataObject) -> None:
    asked = asked.replace("```", "code")
    tick = st.sampled_from(" xX")
    older = ITEM.sub(lambda item: f"{item[1]}{data.draw(tick) if item[2] == ' ' else item[2]}] {item[3]}", asked)
    assert keep_ticks(older, asked) == older


@given(older=TEXTS, newer=TEXTS)
def test_nothing_but_boxes_is_changed_and_only_towards_a_tick(older: str, newer: str) -> None:
    kept = keep_ticks(older, newer)
    assert without_ticks(kept) == without_ticks(newer)
    boxes = zip(ITEM.findall(newer), ITEM.findall(kept), strict=True)
    assert all(was in (now, " ") for (_, was, _), (_, now, _) in boxes)
    assert keep_ticks(older, kept) == kept


@given(older=TEXTS, newer=TEXTS)
def test_as_many_boxes_of_a_text_are_ticked_as_were_or_as_there_are(older: str, newer: str) -> None:
    older, newer = older.replace("```", ""), newer.replace("```", "")

    def ticked(text: str) -> Counter[str]:
        return Counter(name for _, box, name in ITEM.findall(text) if box != " ")

    there = Counter(name for _, _, name in ITEM.findall(newer))
    for name in "ab":
        expected = max(ticked(newer)[name], min(ticked(older)[name], there[name]))
        assert ticked(keep_ticks(older, newer))[name] == expected
