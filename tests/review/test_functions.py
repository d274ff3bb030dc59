"""Lines between the beginning of a function and a hunk."""

from __future__ import annotations

import pytest

from hls_handler.review.functions import find_lines_above
from hls_handler.review.patches import parse_patch

PYTHON = """\
import os


class Square:
    side = 2

    # The area.
    @property
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
TYPESCRIPT = """\
export interface Query {
  where: {
    side: number;
    colour: string;
    name: string;
  };
}

export const area = async (query: Query) => {
  const found = await find({
    where: {
      side: query.side,
      colour: "red",
    },
  });
  found.forEach((square) => {
    const side = square.side;
    log(side);
    log(side);
    log(side);
    log(side);
  });
};

it("has an area", () => {
  const a = 1;
  const b = 2;
  const c = 3;
  expect(a).toBe(1);
});
"""
JAVA = """\
class Square
{
    /** The area. */
    @Override
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
GO = (
    "package shop\n\nfunc (s *Square) Area() int {\n\tx := 1\n\ty := 2\n\tz := 3\n\tq :="
    " 4\n\treturn x\n}\n"
)
RUST = (
    "impl Square {\n    fn area(&self) -> i32 {\n        let a = 1;\n        let b = 2;\n        a"
    " + b\n    }\n}\n"
)
C_SHARP = (
    "class Square {\n    int Area(int side) {\n"
    "        var a = 1;\n        var b = 2;\n        return a;\n    }\n}\n"
)
C = "static int\narea(int side)\n{\n    int a = 1;\n    int b = 2;\n    return a * b;\n}\n"
CPP = "template <typename T>\nT area(T side) {\n    T a = 1;\n    T b = 2;\n    return a * b;\n}\n"


def above(text: str, path: str, patch: str) -> list[list[int]]:
    """Return the numbers of the lines above each hunk, whose texts must be those of the file."""
    lines = text.split("\n")
    found = find_lines_above(text, path, parse_patch(patch))
    assert all(line.text == lines[line.number - 1] for hunk in found for line in hunk)
    assert all((line.side, line.mark) == ("RIGHT", " ") for hunk in found for line in hunk)
    return [[line.number for line in hunk] for hunk in found]


def hunk(text: str, first: int, changed: int, last: int) -> str:
    """A patch that adds the line `changed` between the unchanged lines `first` and `last`."""
    lines = text.split("\n")
    shown = [
        f"{'+' if number == changed else ' '}{lines[number - 1]}"
        for number in range(first, last + 1)
    ]
    return "\n".join([f"@@ -{first},{last - first} +{first},{last - first + 1} @@", *shown])


@pytest.mark.parametrize(
    ("path", "text", "place", "numbers"),
    [
        pytest.param(
            "a.py", PYTHON, (16, 17, 18), [*range(7, 16)], id="a decorated method of several lines"
        ),
        pytest.param("a.py", PYTHON, (2, 5, 6), [], id="the hunk shows the class"),
        pytest.param("a.py", PYTHON, (1, 2, 3), [], id="no function"),
        pytest.param("a.ts", TYPESCRIPT, (3, 4, 5), [1, 2], id="a type"),
        pytest.param(
            "a.ts",
            TYPESCRIPT,
            (12, 13, 14),
            [9, 10, 11],
            id="an object of a function that is a value",
        ),
        pytest.param(
            "a.tsx",
            TYPESCRIPT,
            (18, 19, 20),
            [*range(9, 18)],
            id="a callback of a function with a name",
        ),
        pytest.param(
            "a.js",
            TYPESCRIPT.partition("\n\n")[2],
            (20, 21, 22),
            [*range(17, 20)],
            id="only a callback",
        ),
        pytest.param(
            "A.java", JAVA, (15, 16, 17), [*range(3, 15)], id="annotations, calls of several lines"
        ),
        pytest.param("a.go", GO, (6, 7, 8), [3, 4, 5], id="Go"),
        pytest.param("a.rs", RUST, (4, 5, 6), [2, 3], id="Rust"),
        pytest.param("a.cs", C_SHARP, (4, 5, 6), [2, 3], id="C#"),
        pytest.param("a.c", C, (5, 6, 7), [1, 2, 3, 4], id="C"),
        pytest.param(
            "a.HPP", CPP, (4, 5, 6), [1, 2, 3], id="C++, and another case of the extension"
        ),
        pytest.param(
            "a.cpp", CPP.replace(" area", " operator+"), (4, 5, 6), [1, 2, 3], id="an operator"
        ),
        pytest.param(
            "a.go",
            "// It.\n" * 9 + GO[14:],
            (13, 14, 15),
            [*range(3, 13)],
            id="a part of a long comment",
        ),
        pytest.param(
            "a.rb", "def area\n  a = 1\n  b = 2\n  c = 3\nend\n", (3, 4, 5), [], id="no grammar"
        ),
    ],
)
def test_lines_from_the_beginning_of_the_function(
    path: str, text: str, place: tuple[int, int, int], numbers: list[int]
) -> None:
    assert above(text, path, hunk(text, *place)) == [numbers]


def test_lines_of_other_hunks_are_not_repeated() -> None:
    patch = f"{hunk(PYTHON, 10, 11, 12)}\n{hunk(PYTHON, 16, 17, 18)}"
    assert above(PYTHON, "a.py", patch) == [[7, 8, 9], [7, 8, 9, 13, 14, 15]]


def test_a_long_function_shows_its_beginning_and_the_lines_before_the_hunk() -> None:
    text = "def long():\n" + "".join(f"    x = {number}\n" for number in range(2, 101))
    assert above(text, "a.py", hunk(text, 80, 81, 82)) == [[*range(1, 11), *range(60, 80)]]


def test_a_hunk_of_another_version_of_the_file_has_none() -> None:
    patch = hunk(PYTHON, 16, 17, 18)
    assert above(PYTHON.replace("total -= 0", "total -= 1"), "a.py", patch) == [[]]
    assert above("x", "a.py", patch) == [[]]
    assert above(PYTHON, "a.py", "@@ -1,1 +0,0 @@\n-import os") == [[]]
