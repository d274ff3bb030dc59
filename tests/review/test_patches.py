"""Patches as numbered lines, and the form in which Claude sees them."""

from __future__ import annotations

import pytest

from hls_handler.review.patches import (
    Hunk,
    Line,
    Patch,
    numbered,
    parse_numbered,
    parse_patch,
    widen,
)

TWO_HUNKS = """\
@@ -10,3 +10,4 @@ def area():
     side = 2
-    return side * 2
+    # squared
+    return side ** 2
\x20
@@ -40 +41,0 @@ def gone():
-gone = 1"""


def test_lines_are_numbered_on_their_side_and_shown_with_number_mark_and_text() -> None:
    assert parse_patch(TWO_HUNKS) == Patch(
        (
            Hunk(
                "@@ -10,3 +10,4 @@ def area():",
                (
                    Line("RIGHT", 10, " ", "    side = 2"),
                    Line("LEFT", 11, "-", "    return side * 2"),
                    Line("RIGHT", 11, "+", "    # squared"),
                    Line("RIGHT", 12, "+", "    return side ** 2"),
                    Line("RIGHT", 13, " ", ""),
                ),
            ),
            Hunk("@@ -40 +41,0 @@ def gone():", (Line("LEFT", 40, "-", "gone = 1"),)),
        )
    )
    assert (
        numbered(parse_patch(TWO_HUNKS)) == "@@ -10,3 +10,4 @@ def area():\n"
        "R   10       side = 2\n"
        "L   11 -     return side * 2\n"
        "R   11 +     # squared\n"
        "R   12 +     return side ** 2\n"
        "R   13   \n"
        "@@ -40 +41,0 @@ def gone():\n"
        "L   40 - gone = 1"
    )


def test_missing_newline_at_end_of_file_is_shown() -> None:
    text = "@@ -1 +1 @@\n-old\n\\ No newline at end of file\n+new\n\\ No newline at end of file"
    patch = parse_patch(text)
    assert patch.hunks[0].lines == (
        Line("LEFT", 1, "-", "old", lacks_newline=True),
        Line("RIGHT", 1, "+", "new", lacks_newline=True),
    )
    assert (
        numbered(patch)
        == "@@ -1 +1 @@\nL    1 - old\n\\ No newline at end of file\nR    1 + new\n\\ No newline at"
        " end of file"
    )


def test_code_that_looks_like_a_patch_is_code() -> None:
    patch = parse_patch(
        "@@ -1,2 +1,3 @@\n ++ x\n+@@ -9,9 +9,9 @@\n+--- a/file\n-\\ No newline at end of file"
    )
    assert patch.hunks[0].lines == (
        Line("RIGHT", 1, " ", "++ x"),
        Line("RIGHT", 2, "+", "@@ -9,9 +9,9 @@"),
        Line("RIGHT", 3, "+", "--- a/file"),
        Line("LEFT", 2, "-", "\\ No newline at end of file"),
    )
    assert parse_numbered(numbered(patch)) == patch


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("@@ -1,3 +1 @@\n-a\n+b\n\n", 2),
        ("@@ -1 +1,3 @@\n-a\n+b\n\n", 2),
        ("@@ -1,2 +1,2 @@\n-a\n+b\n\n", 3),
        ("@@ -1 +1 @@\n\n", 1),
    ],
    ids=["behind the new side", "behind the old side", "inside both", "of one line"],
)
def test_empty_line_counts_only_if_both_sides_of_the_hunk_continue(text: str, lines: int) -> None:
    assert len(parse_patch(text).hunks[0].lines) == lines


def test_remarks_between_numbered_lines_are_left_out() -> None:
    text = (
        "a remark\nR    1 + early\n@@ -1 +1 @@\nR    1 + x\n[cut here to fit: 3 more]\n\\ No"
        " newline at end of file"
    )
    assert parse_numbered(text) == Patch(
        (Hunk("@@ -1 +1 @@", (Line("RIGHT", 1, "+", "x", lacks_newline=True),)),)
    )


def unchanged(*numbers: int) -> list[Line]:
    return [Line("RIGHT", number, " ", f"line {number}") for number in numbers]


def test_lines_around_hunks_are_shown_with_them_and_hunks_that_touch_become_one() -> None:
    widened = widen(parse_patch(TWO_HUNKS), unchanged(3, 9, 10, 14, 41, 42))
    assert numbered(widened).split("\n") == [
        "@@ -3,1 +3,1 @@",
        "R    3   line 3",
        "@@ -9,5 +9,6 @@",
        "R    9   line 9",
        "R   10       side = 2",
        "L   11 -     return side * 2",
        "R   11 +     # squared",
        "R   12 +     return side ** 2",
        "R   13   ",
        "R   14   line 14",
        "@@ -40,3 +41,2 @@",
        "R   41   line 41",
        "L   40 - gone = 1",
        "R   42   line 42",
    ]
    assert parse_numbered(numbered(widened)) == widened


def test_header_of_lines_around_a_later_hunk_is_one_of_a_patch() -> None:
    later = Patch((Hunk("@@ -2,1 +40,2 @@", (Line("RIGHT", 40, "+", "x"),)),))
    assert numbered(widen(later, unchanged(1))).startswith("@@ -1,1 +1,1 @@\nR    1   line 1\n@@")


def test_patch_without_lines_around_is_as_it_was() -> None:
    patch = parse_patch(TWO_HUNKS)
    assert widen(patch, unchanged(10)) == patch
