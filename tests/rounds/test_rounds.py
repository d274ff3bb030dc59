"""Reviews of generated pull requests: positions, repetition, proofs, coverage, calls without a
reply, people.
"""

from __future__ import annotations

import pytest

from tests.rounds.lives import live
from tests.rounds.prompt_reader import ClaudeKind


@pytest.mark.parametrize(
    ("claude", "lives"), [("wrong", 14), ("perfect", 6), ("sloppy", 6), ("literal", 4)]
)
def test_reviews_converge_repeat_nothing_and_show_no_fault_as_green(
    claude: ClaudeKind, lives: int
) -> None:
    """`make rounds` runs more."""
    counts = live(seed=4, lives=lives, claude=claude)
    assert not counts.is_wrong, counts.describe()
    assert min(counts.green_heads, counts.red_heads, counts.comments) > lives, counts.describe()
