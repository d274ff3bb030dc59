"""Truncation of comments."""

from __future__ import annotations

import pytest

from hls_handler.clients.clamp import TRUNCATION_NOTE, truncate_comment

MAX_CHARS = 10_000


def test_short_comment_is_unchanged() -> None:
    assert truncate_comment("x" * MAX_CHARS, MAX_CHARS) == "x" * MAX_CHARS


def test_long_comment_is_cut_at_a_line_end_with_a_note() -> None:
    truncated = truncate_comment("line\n" * 5_000 + "\n\nFooter.", MAX_CHARS)
    head, _, rest = truncated.partition("\n\n")
    assert rest == f"{TRUNCATION_NOTE}\n\nFooter."
    assert set(head.split("\n")) == {"line"}
    assert MAX_CHARS - 10 < len(truncated) <= MAX_CHARS


def test_note_can_be_chosen() -> None:
    assert truncate_comment("line\n" * 5_000 + "\n\nFooter.", MAX_CHARS, note="*Cut.*").endswith(
        "\nline\n\n*Cut.*\n\nFooter."
    )


@pytest.mark.parametrize(
    ("opening", "closing"),
    [
        ("```python\n", "\n```"),
        ("~~~~\n", "\n~~~~"),
        ("````\n```\n", "\n````"),
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
