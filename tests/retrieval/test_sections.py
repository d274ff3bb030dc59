"""Splitting documentation into sections."""

from __future__ import annotations

import sys

import pytest

from hls_handler.analysis import estimate_tokens
from hls_handler.retrieval.sections import MAX_TOKENS, FileSection, split_sections


def titles(path: str, text: str) -> list[tuple[str, int, int]]:
    """Return title, first and last line of each section."""
    return [(one.title, one.line, one.end_line) for one in split_sections(path, text)]


def test_markdown_section_has_the_headings_above_it_and_its_lines_in_the_file() -> None:
    text = (
        "Before.\n\n# Guide ##\nHello.\n## C#\n\nOne.\n\nTwo.\n\n"
        "   ### Deep\nThree.\n## Next\nFour.\n# Other\nFive.\n"
    )
    assert split_sections("a.md", text)[:3] == (
        FileSection("", 1, 1, "Before."),
        FileSection("Guide", 3, 4, "# Guide ##\nHello."),
        FileSection("Guide > C#", 5, 9, "## C#\n\nOne.\n\nTwo."),
    )
    assert titles("a.md", text)[3:] == [
        ("Guide > C# > Deep", 11, 12),
        ("Guide > Next", 13, 14),
        ("Other", 15, 16),
    ]


def test_markdown_headings_may_be_underlined() -> None:
    text = (
        "Title\n=====\nPart\n----\nText.\n# Sharp\nText.\nSub\n---\nText.\n\n***\nMore\n***\n~~~~\n"
    )
    assert titles("a.md", text) == [("Title > Part", 3, 5), ("Sharp", 6, 7), ("Sharp > Sub", 8, 15)]


def test_front_matter_is_no_heading() -> None:
    text = "---\ntitle: Proxy\n---\n\nBehind nginx.\n\n## Ports\n443.\n"
    assert titles("a.mdx", text) == [("", 1, 5), ("Ports", 7, 8)]
    assert titles("a.md", "---\nPorts\n---\n443.\n") == [("", 1, 4)]
    assert titles("a.md", "---\n# Ports\n443.\n") == [("", 1, 1), ("Ports", 2, 3)]


@pytest.mark.parametrize(
    ("fenced", "is_code"),
    [
        ("```sh\n# no\n```", True),
        ("~~~\n# no\n```\n# no\n~~~~", True),
        ("````\n```\n# no\n````", True),
        ("```\n# no\n``` no end\n# no\n```", True),
        ("    ```\n# Yes\nText.", False),
        ("```code``` is code\n# Yes\nText.", False),
        ("    # no", True),
        ("#no\n#", True),
    ],
)
def test_comments_in_code_are_no_headings(fenced: str, is_code: bool) -> None:
    found = [title for title, _, _ in titles("a.md", f"# One\n{fenced}\n\n# Two\nText.\n")]
    assert found == (["One", "Two"] if is_code else ["One", "Yes", "Two"])


def test_fence_without_an_end_goes_to_the_end_of_the_file() -> None:
    assert titles("a.md", "# One\n```\n# no\n\n## no\n") == [("One", 1, 5)]


def test_restructuredtext_levels_are_in_the_order_of_their_styles() -> None:
    text = (
        "=====\nTitle\n=====\n\nHello.\n\nPart\n====\nOne.\n\nSub\n~~~\n.. code-block:: sh\n\n   #"
        " no heading\n   --------------\n\nNext\n====\n* a\n\n=====  ====\nTable  x\n=====  ====\n"
    )
    assert titles("a.rst", text) == [
        ("Title", 1, 5),
        ("Title > Part", 7, 9),
        ("Title > Part > Sub", 11, 16),
        ("Title > Next", 18, 24),
    ]


def test_underline_of_a_heading_is_not_the_overline_of_the_next_one() -> None:
    assert titles("a.txt", "One\n===\nTwo\n===\nText.\nText that goes on\n===\n") == [("Two", 3, 7)]


def test_long_section_is_split_between_paragraphs_and_nothing_is_lost() -> None:
    paragraphs = [
        "\n".join(f"Line {number} of {name}, {'x' * 70}" for number in range(9)) for name in "abcde"
    ]
    text = "\n\n".join(["# Title", *paragraphs])
    found = split_sections("a.md", text)
    assert [(one.title, one.line, one.end_line) for one in found] == [
        ("Title", 1, 21),
        ("Title", 23, 41),
        ("Title", 43, 51),
    ]
    assert "\n\n".join(one.text for one in found) == text


def test_heading_stays_with_a_paragraph_that_is_too_long() -> None:
    table = "\n".join(f"| {number} | {'x' * 90} |" for number in range(60))
    found = split_sections("a.md", f"# Title\n\n{table}\n")
    assert [(one.line, one.end_line) for one in found] == [(1, 22), (23, 42), (43, 62)]
    assert "\n".join(one.text for one in found) == f"# Title\n\n{table}"


def test_line_of_a_megabyte_is_cut_and_does_not_hide_the_lines_after_it() -> None:
    found = split_sections(
        "a.md", f"# One\n{'word ' * 200_000}\n\nText.\n{'`' * 1_000_000} x`\n# Two\nText."
    )
    assert [(one.line, one.end_line) for one in found] == [(1, 2), (4, 4), (5, 5), (6, 7)]
    assert max(estimate_tokens(one.text) for one in found) == MAX_TOKENS


@pytest.mark.parametrize(
    ("line", "sections"),
    [
        (f"# {'#' * 200_000}x", 1),
        (f"# {' #' * 100_000}x", 1),
        ("`" * 100_000 + "x" * 100_000 + "`", 2),
    ],
    ids=["closing", "spaced closing", "fence"],
)
def test_time_for_a_line_does_not_grow_with_the_square_of_its_length(
    line: str, sections: int
) -> None:
    """The line is as long as the files that are read. With backtracking, it would take minutes."""
    assert len(split_sections("a.md", f"{line}\nText.\n")) == sections


@pytest.mark.parametrize(
    "section", ["# One\nText.\n", "One\n---\nText.\n", "word\n", f"{'word ' * 400}\n\n\n"]
)
def test_work_grows_with_the_length_of_the_file(section: str) -> None:
    def count_calls(text: str, path: str) -> tuple[int, int]:
        """Return the numbers of sections and of function calls."""
        calls = 0

        def count(frame: object, event: str, argument: object) -> None:
            nonlocal calls
            calls += 1

        sys.setprofile(count)
        try:
            found = split_sections(path, text)
        finally:
            sys.setprofile(None)
        return len(found), calls

    for path in ("a.md", "a.rst"):
        found, few = count_calls(section * 200, path)
        more_found, many = count_calls(section * 2_000, path)
        assert found <= more_found <= found * 10
        assert many < few * 11
