"""A comment that is too long."""

from __future__ import annotations

import pytest

from hls_handler.clients.clamp import NOTE, clamp

MOST = 10_000


def test_a_comment_that_fits_is_left_as_it_is() -> None:
    assert clamp("x" * MOST, MOST) == "x" * MOST


def test_a_long_comment_is_cut_at_a_lines_end_and_says_so() -> None:
    clamped = clamp("line\n" * 5_000 + "\n\nFooter.", MOST)
    head, _, rest = clamped.partition("\n\n")
    assert rest == f"{NOTE}\n\nFooter."
    assert set(head.split("\n")) == {"line"}
    assert MOST - 10 < len(clamped) <= MOST


def test_the_note_can_be_another() -> None:
    assert clamp("line\n" * 5_000 + "\n\nFooter.", MOST, note="*Cut.*").endswith("\nline\n\n*Cut.*\n\nFooter.")


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
def test_what_the_cut_leaves_open_is_closed(opening: str, closing: str) -> None:
    clamped = clamp(opening + "line\n" * 5_000 + "\n\nFooter.", MOST)
    assert clamped.endswith(f"\nline{closing}\n\n{NOTE}\n\nFooter.")
    assert len(clamped) <= MOST


def test_a_body_of_one_endless_line_is_cut_too() -> None:
    clamped = clamp("x" * 50_000, MOST)
    assert clamped == "x" * (MOST - len(NOTE) - 4) + f"\n\n{NOTE}\n\n"


def test_a_last_paragraph_that_is_too_long_for_a_footer_is_cut() -> None:
    clamped = clamp("start\n\n" + "y" * 50_000, MOST)
    assert clamped.startswith("start\n\nyyy")
    assert len(clamped) == MOST
