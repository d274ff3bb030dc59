"""Blocks of changed lines, and which of them are the same."""

from __future__ import annotations

import pytest

from hls_handler.review.blocks import find_blocks, match_blocks
from hls_handler.review.patches import parse_patch
from hls_handler.review.present_lines import PresentFiles

ONE = "@@ -1,6 +1,7 @@\n a\n b\n c\n+new\n d\n e\n f"


def test_block_ends_at_a_blank_or_unchanged_line() -> None:
    def texts(patch: str) -> list[list[str]]:
        return [
            [line.mark + line.text for line in one.lines]
            for one in find_blocks("a.py", parse_patch(patch))
        ]

    patch = "@@ -1,3 +1,7 @@\n-a\n+b\n c\n+d\n+\n+e\n+f\n g"
    assert texts(patch) == [["-a", "+b"], ["+d"], ["+e", "+f"]]


@pytest.mark.parametrize(
    ("now", "expected"),
    [
        (ONE.replace("@@ -1,6 +1,7 @@", "@@ -90,6 +95,7 @@ def f():"), False),
        (ONE.replace("+new", "+new  "), False),
        (ONE.replace(" a\n b\n c", " x\n y\n z"), False),
        (ONE.replace(" c\n", " z\n").replace(" d\n", " y\n"), True),
        (ONE.replace("+new", "+other"), True),
        (ONE.replace("+new", "-new"), True),
        (ONE.replace("+new\n d", "+new\n+d"), True),
        (ONE.replace(" c\n+new", "-c\n \n+new"), True),
        (ONE.replace(" f", "+new\n f"), True),
    ],
    ids=[
        "moved",
        "blanks",
        "base above",
        "base on both sides",
        "edited",
        "mark",
        "longer",
        "beside",
        "second copy",
    ],
)
def test_block_is_new_if_the_author_changed_it_or_a_line_beside_it(
    now: str, expected: bool
) -> None:
    def is_new(before: str, now: str) -> bool:
        known = [one.block for one in find_blocks("a.py", parse_patch(before))]
        present = find_blocks("a.py", parse_patch(now))
        return len(match_blocks(known, present)) < len(present)

    assert is_new(ONE, now) == expected


def test_blocks_of_a_renamed_file_are_known_by_its_path_in_the_base() -> None:
    blocks = [one.block for one in find_blocks("old.py", parse_patch(ONE))]
    renamed = PresentFiles({"new.py": parse_patch(ONE)}, {"new.py": "old.py"})
    assert renamed.find_new({"old.py": blocks}) == {}
    assert PresentFiles({"new.py": parse_patch(ONE)}).find_new({"old.py": blocks}) == {
        "new.py": frozenset({0})
    }


def test_unchanged_line_belongs_to_the_nearest_block_of_its_hunk() -> None:
    patch = parse_patch("@@ -1,6 +1,8 @@\n+x\n a\n b\n c\n+y\n@@ -90 +92 @@\n z")
    blocks = find_blocks("a.py", patch)
    files = PresentFiles({"a.py": patch})
    assert files.find_block("a.py", "RIGHT", 2) == blocks[0]
    assert files.find_block("a.py", "RIGHT", 4) == blocks[1]
    assert files.find_block("a.py", "RIGHT", 92) is None
