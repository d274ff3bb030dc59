"""Truncation of patches to a number of tokens."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hls_handler.prompting.tokens import estimate_tokens
from hls_handler.review.budget import cut_to
from hls_handler.review.patch import Hunk, Line, Patch, numbered


def hunk(start: int, lines: int) -> Hunk:
    """Return a hunk: each line has 8 letters, 18 characters and 6 tokens with its number; the header has 4 tokens."""
    shown = tuple(Line("RIGHT", start + i, "+", "x" * 8) for i in range(lines))
    return Hunk(f"@@ -0,0 +{start} @@"[:12], shown)


TWO = Patch((hunk(1, 10), hunk(50, 30)))


@pytest.mark.parametrize(
    ("tokens", "lines"),
    [(10_000, [10, 30]), (248, [10, 30]), (247, [10]), (64, [10]), (63, []), (0, []), (-5, [])],
    ids=["plenty", "just all", "one too few", "just one hunk", "less than a hunk", "none", "below none"],
)
def test_a_patch_is_cut_between_hunks(tokens: int, lines: list[int]) -> None:
    assert [len(part.lines) for part in cut_to(TWO, tokens).hunks] == lines


@pytest.mark.parametrize(
    ("tokens", "lines"), [(4 + 6 * 25, [25]), (4 + 6 * 20, [20]), (4 + 6 * 20 - 1, [])], ids=["25", "least", "too few"]
)
def test_a_first_hunk_that_is_too_long_is_cut_at_a_line(tokens: int, lines: list[int]) -> None:
    assert [len(part.lines) for part in cut_to(Patch((hunk(1, 30),)), tokens).hunks] == lines


@given(st.lists(st.integers(0, 40), max_size=5), st.integers(0, 2_000))
def test_truncated_patch_fits(sizes: list[int], tokens: int) -> None:
    part = cut_to(Patch(tuple(hunk(100 * i, size) for i, size in enumerate(sizes))), tokens)
    assert estimate_tokens(numbered(part)) <= tokens
