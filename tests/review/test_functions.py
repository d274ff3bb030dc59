"""Lines between the beginning of a function and a hunk."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hls_handler.review.functions import find_lines_above
from hls_handler.review.patches import parse_patch

PYTHON = """\
import os


class Square:
    side = 2

    # The area.
    def area(
        self,
    ) -> int:
        total = 0
        for _ in range(2):
# commented out
            total += self.side
            total -= 0
            total *= 1
            print(total)
        return total
"""
JAVA = """\
class Square
{
    /** The area. */
    public int area(int side)
    {
        int a = compute(
            side,
            side);
        if (a > 0) {
            a = 1;
        } else {
            a = 2;
        }
        a += 1;
        a += 2;
        a += 3;
        return a;
    }
}
"""
GO = "package shop\n\nfunc (s *Square) Area() int {\n\tx := 1\n\ty := 2\n\tz := 3\n\tq := 4\n\treturn x\n}\n"


def above(text: str, patch: str) -> list[list[int]]:
    """Return the numbers of the lines above each hunk, whose texts must be those of the file."""
    lines = text.split("\n")
    found = find_lines_above(text, parse_patch(patch))
    assert all(line.text == lines[line.number - 1] for hunk in found for line in hunk)
    assert all((line.side, line.mark) == ("RIGHT", " ") for hunk in found for line in hunk)
    return [[line.number for line in hunk] for hunk in found]


def hunk(text: str, first: int, changed: int, last: int) -> str:
    """A patch that adds the line `changed` between the unchanged lines `first` and `last`."""
    lines = text.split("\n")
    shown = [f"{'+' if number == changed else ' '}{lines[number - 1]}" for number in range(first, last + 1)]
    return "\n".join([f"@@ -{first},{last - first} +{first},{last - first + 1} @@", *shown])


@pytest.mark.parametrize(
    ("text", "place", "numbers"),
    [
        pytest.param(PYTHON, (15, 16, 17), [*range(8, 15)], id="a signature of several lines, loops and comments"),
        pytest.param(PYTHON, (2, 5, 6), [], id="the hunk shows the class"),
        pytest.param(PYTHON, (1, 2, 3), [], id="no function"),
        pytest.param(JAVA, (14, 15, 16), [*range(4, 14)], id="braces of their own, calls of several lines"),
        pytest.param(GO, (6, 7, 8), [3, 4, 5], id="tabs"),
    ],
)
def test_lines_from_the_beginning_of_the_function(text: str, place: tuple[int, int, int], numbers: list[int]) -> None:
    assert above(text, hunk(text, *place)) == [numbers]


def test_lines_of_other_hunks_are_not_repeated() -> None:
    patch = f"{hunk(PYTHON, 9, 10, 11)}\n{hunk(PYTHON, 15, 16, 17)}"
    assert above(PYTHON, patch) == [[4, 5, 6, 7, 8], [8, 12, 13, 14]]


def test_a_long_function_shows_its_beginning_and_the_lines_before_the_hunk() -> None:
    text = "def long():\n" + "".join(f"    x = {number}\n" for number in range(2, 101))
    assert above(text, hunk(text, 80, 81, 82)) == [[*range(1, 11), *range(60, 80)]]


def test_a_hunk_of_another_version_of_the_file_has_none() -> None:
    patch = hunk(PYTHON, 15, 16, 17)
    assert above(PYTHON.replace("total -= 0", "total -= 1"), patch) == [[]]
    assert above("x", patch) == [[]]
    assert above(PYTHON, "@@ -1,1 +0,0 @@\n-import os") == [[]]


@given(st.text(alphabet=" \tab({}):#\n=,", max_size=200), st.integers(1, 40))
def test_any_text_gives_lines_above_the_hunk(text: str, first: int) -> None:
    lines = text.split("\n")
    first = min(first, len(lines))
    patch = f"@@ -{first},1 +{first},2 @@\n {lines[first - 1]}\n+x"
    (numbers,) = above(text, patch)
    assert numbers == sorted(set(numbers))
    assert len(numbers) <= 30
    assert all(1 <= number < first for number in numbers)
