"""The guidance that one call shows, within its tokens."""

from __future__ import annotations

import pytest

from hls_handler.github.values import GuidanceFile, ReviewContext
from hls_handler.review.facts import ShownText, count_context_tokens, select_context

HLS = ".github/hls.md"
API = "## api/**\n" + "a" * 3_990  # 4,000 characters
WEB = "## web/**\n" + "w" * 988  # 998 characters
RULES = "r" * 5_000


def test_parts_of_a_file_are_shown_and_counted_up_to_6000_characters() -> None:
    context = ReviewContext(guidance=(GuidanceFile(HLS, f"{RULES}\n{API}\n{WEB}"),))
    shown = select_context(context, ["api/a.py", "web/b.ts"], 2_000)
    assert shown.parts == (
        ShownText(f"{HLS} (api/**)", API),
        ShownText(f"{HLS} (web/**)", WEB),
        ShownText(HLS, "r" * 998),
    )
    assert shown.guidance == (GuidanceFile(HLS, f"{API}\n\n{WEB}\n\n{RULES}"),)
    assert shown.tokens == 1_815  # 100, and 6,000 characters


def test_part_beyond_the_first_6000_characters_is_not_named() -> None:
    long = f"## api/**\n{'a' * 6_000}"
    context = ReviewContext(guidance=(GuidanceFile(HLS, f"{RULES}\n{long}"),))
    shown = select_context(context, ["api/a.py"], 2_000)
    assert shown.parts == (ShownText(f"{HLS} (api/**)", long[:6_000]),)


@pytest.mark.parametrize(
    ("paths", "most", "reserved"),
    [
        ((HLS, "AGENTS.md"), 10_000, 3_630),
        ((HLS, "AGENTS.md"), 2_000, 1_815),  # no call shows the second one
        (("api/AGENTS.md", "web/AGENTS.md"), 10_000, 3_630),  # a call may show both
        (("api/AGENTS.md", "web/AGENTS.md"), 2_000, 2_000),  # each may be shown by another call
        (("docs/AGENTS.md",), 2_000, 0),
    ],
)
def test_each_call_reserves_what_one_with_all_files_would_show(
    paths: tuple[str, ...], most: int, reserved: int
) -> None:
    guidance = tuple(GuidanceFile(path, "r" * 6_000) for path in paths)
    changed = ["api/a.py", "web/b.ts"]
    assert count_context_tokens(ReviewContext(guidance=guidance), changed, most) == reserved
