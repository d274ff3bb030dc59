"""Truncation of comment bodies, and checked boxes in them."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hls_handler.clients.comment_body import TRUNCATION_NOTE, copy_checked_boxes, truncate_comment

MAX_CHARS = 10_000


def test_long_comment_is_cut_at_a_line_end_with_a_note() -> None:
    truncated = truncate_comment("line\n" * 5_000 + "\n\nFooter.", MAX_CHARS)
    head, _, rest = truncated.partition("\n\n")
    assert rest == f"{TRUNCATION_NOTE}\n\nFooter."
    assert set(head.split("\n")) == {"line"}
    assert MAX_CHARS - 10 < len(truncated) <= MAX_CHARS


@pytest.mark.parametrize(
    ("opening", "closing"),
    [
        ("```python\n", "\n```"),
        ("<details><summary>Files</summary>\n\n", "\n\n</details>"),
        ("<details>\n<details>\n```\n", "\n```\n\n</details>\n\n</details>"),
        ("```\nx\n```\n<details></details>\n", ""),
        ("```\n<details>\n", "\n```"),
    ],
)
def test_open_markup_is_closed_after_the_cut(opening: str, closing: str) -> None:
    truncated = truncate_comment(opening + "line\n" * 5_000 + "\n\nFooter.", MAX_CHARS)
    assert truncated.endswith(f"\nline{closing}\n\n{TRUNCATION_NOTE}\n\nFooter.")
    assert len(truncated) <= MAX_CHARS


def test_body_of_one_long_line_is_cut() -> None:
    truncated = truncate_comment("x" * 50_000, MAX_CHARS)
    assert truncated == "x" * (MAX_CHARS - len(TRUNCATION_NOTE) - 4) + f"\n\n{TRUNCATION_NOTE}\n\n"


def test_too_long_last_paragraph_is_cut() -> None:
    truncated = truncate_comment("start\n\n" + "y" * 50_000, MAX_CHARS)
    assert truncated.startswith("start\n\nyyy")
    assert len(truncated) == MAX_CHARS


@pytest.mark.parametrize(
    ("older", "newer", "expected"),
    [
        ("- [x] a\n- [ ] b", "Now:\n- [ ] b\n- [ ] a", "Now:\n- [ ] b\n- [x] a"),
        ("- [x] run  the\ttests \r", "- [ ] run the tests", "- [x] run the tests"),
        ("* [x] a", "1. [ ] a", "1. [x] a"),
        ("- [x] a", "- [ ] b", "- [ ] b"),
        ("- [x] a", "- [ ] A", "- [ ] A"),
        ("no list [x] a", "- [ ] a", "- [ ] a"),
        ("- [x] [ ] a", "- [ ] [ ] a", "- [x] [ ] a"),
    ],
)
def test_checked_item_stays_checked(older: str, newer: str, expected: str) -> None:
    assert copy_checked_boxes(older, newer) == expected


@pytest.mark.parametrize(
    ("older", "newer", "expected"),
    [
        ("- [ ] a\n- [x] a", "- [ ] a\n- [ ] a", "- [ ] a\n- [x] a"),
        ("- [x] a", "- [ ] a\n- [ ] a\n- [ ] a", "- [x] a\n- [ ] a\n- [ ] a"),
        ("- [x] a\n- [x] a", "- [x] a\n- [ ] a", "- [x] a\n- [x] a"),
    ],
)
def test_equal_items_match_in_their_order(older: str, newer: str, expected: str) -> None:
    assert copy_checked_boxes(older, newer) == expected


@pytest.mark.parametrize("code", ["```\n{}\n```", "~~~~ text\n{}\n```\n~~~~", "> {}"])
def test_boxes_in_code_and_quotes_are_ignored(code: str) -> None:
    checked, empty = code.format("- [x] a"), code.format("- [ ] a")
    assert copy_checked_boxes(checked, "- [ ] a") == "- [ ] a"
    assert copy_checked_boxes("- [x] a", empty) == empty
    assert copy_checked_boxes(f"{empty}\n\n- [x] a", f"{empty}\n\n- [ ] a") == f"{empty}\n\n- [x] a"


LINES = st.sampled_from(
    ("- [ ] a", "- [x] a", "* [ ] a ", "- [ ] b", "1. [x] b", "  - [X] a", "```", "> - [ ] a", "words", "", "[ ] a\r")
)
TEXTS = st.lists(LINES, max_size=12).map("\n".join)
ITEM = re.compile(r"^( *(?:[-*]|1\.) \[)([ xX])\] (\w)", re.MULTILINE)


def uncheck_all(text: str) -> str:
    return ITEM.sub(r"\1 ] \3", text)


@given(asked=TEXTS, data=st.data())
def test_text_that_differs_only_in_checked_boxes_becomes_the_older_one(asked: str, data: st.DataObject) -> None:
    asked = asked.replace("```", "code")
    mark = st.sampled_from(" xX")
    older = ITEM.sub(lambda item: f"{item[1]}{data.draw(mark) if item[2] == ' ' else item[2]}] {item[3]}", asked)
    assert copy_checked_boxes(older, asked) == older


@given(older=TEXTS, newer=TEXTS)
def test_only_boxes_are_changed_and_only_to_checked(older: str, newer: str) -> None:
    result = copy_checked_boxes(older, newer)
    assert uncheck_all(result) == uncheck_all(newer)
    boxes = zip(ITEM.findall(newer), ITEM.findall(result), strict=True)
    assert all(was in (now, " ") for (_, was, _), (_, now, _) in boxes)
    assert copy_checked_boxes(older, result) == result
