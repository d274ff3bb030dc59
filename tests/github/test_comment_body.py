"""Bodies of comments: truncation, checked boxes, and sections that are parsed again after edits by
people.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hls_handler.github.comments import (
    MAX_COMMENT_CHARS,
    OLDER_LEFT_OUT,
    TRUNCATION_NOTE,
    CommentSection,
    copy_checked_boxes,
    digest_of,
    parse_sections,
    render_sections,
    section_text,
    truncate_comment,
)
from hls_handler.untrusted.cleaning import ZERO_WIDTH_SPACE
from hls_handler.untrusted.markdown import (
    sanitize_blocks,
    sanitize_code_block,
    sanitize_code_span,
    sanitize_html,
    sanitize_inline,
    sanitize_link_target,
)
from tests.untrusted.github_reading import MARKDOWN

MAX_CHARS = 10_000


def test_long_comment_is_cut_at_a_line_end_with_a_note() -> None:
    truncated = truncate_comment("line\n" * 5_000 + "\n\nFooter.", MAX_CHARS)
    head, _, rest = truncated.partition("\n\n")
    assert rest == f"{TRUNCATION_NOTE}\n\nFooter."
    assert set(head.split("\n")) == {"line"}
    assert MAX_CHARS - 10 < len(truncated) <= MAX_CHARS


@pytest.mark.parametrize(
    ("older", "newer", "expected"),
    [
        ("- [x] a\n- [ ] b", "Now:\n- [ ] b\n- [ ] a", "Now:\n- [ ] b\n- [x] a"),
        ("- [x] run  the\ttests \r", "1. [ ] run the tests", "1. [x] run the tests"),
        ("- [x] [ ] a", "- [ ] [ ] a", "- [x] [ ] a"),
        ("``` a``b ```\n- [x] a", "``` a``b ```\n- [ ] a", "``` a``b ```\n- [x] a"),
        ("- [x] a", "- [ ] a\n- [ ] a", "- [x] a\n- [ ] a"),  # equal items match in their order
        ("- [ ] a\n- [x] a", "- [ ] a\n- [ ] a", "- [ ] a\n- [x] a"),
    ],
)
def test_checked_item_stays_checked(older: str, newer: str, expected: str) -> None:
    assert copy_checked_boxes(older, newer) == expected


@pytest.mark.parametrize("code", ["```\n{}\n  ```", "~~~~ text\n{}\n```\n~~~~", "> {}"])
def test_boxes_in_code_and_quotes_are_ignored(code: str) -> None:
    checked, empty = code.format("- [x] a"), code.format("- [ ] a")
    assert copy_checked_boxes(checked, "- [ ] a") == "- [ ] a"
    assert copy_checked_boxes(f"{empty}\n\n- [x] a", f"{empty}\n\n- [ ] a") == f"{empty}\n\n- [x] a"


# --- sections
# -----------------------------------------------------------------------------

MARKER = "<!-- hls:pull_requests -->"
A, B = CommentSection("aaaaaaaaaaaaaaaa", "A says."), CommentSection("bbbbbbbbbbbbbbbb", "B says.")
AB = {"a": A, "b": B}
MARK_A, MARK_B = (
    "<!-- hls:section a aaaaaaaaaaaaaaaa -->",
    "<!-- hls:section b bbbbbbbbbbbbbbbb -->",
)
END = "<!-- hls:sections end -->"


def test_sections_have_invisible_marks_followed_by_footer_and_marker() -> None:
    body = render_sections(AB, newest="b", footer="The footer.", marker=MARKER)
    assert body == f"{MARK_A}\nA says.\n\n{MARK_B}\nB says.\n\n{END}\nThe footer.\n{MARKER}"
    tokens = MARKDOWN.parse(body)
    assert [token.content for token in tokens if token.type == "inline"] == [
        "A says.",
        "B says.",
        "The footer.",
    ]
    assert parse_sections(body, marker=MARKER) == AB


@pytest.mark.parametrize("key", ["", "a-->", "a\n", "x" * 101])
def test_section_key_that_could_break_its_mark_raises_value_error(key: str) -> None:
    with pytest.raises(ValueError, match="expected 1 to 100 letters, digits and hyphens"):
        render_sections({key: CommentSection("", "text")}, newest=key, footer="", marker=MARKER)


# --- edits by people
# -----------------------------------------------------------------------------

WHOLE = f"{MARK_A}\nA says.\n\n{MARK_B}\nB says.\n\n{END}\nThe footer.\n{MARKER}"


@pytest.mark.parametrize(
    ("body", "sections"),
    [
        pytest.param(WHOLE.replace("\n", "\r\n"), AB, id="windows' line ends"),
        pytest.param(f"A note.\n\n{WHOLE}", AB, id="text in front of the first mark is dropped"),
        pytest.param(
            WHOLE.replace(MARK_B, "<!-- hls:section b bbb"),
            {"a": CommentSection(A.digest, "A says.\n\n<!-- hls:section b bbb\nB says.")},
            id="what stands under a damaged mark belongs to the section above",
        ),
        pytest.param(WHOLE.replace(MARKER, WHOLE), AB, id="everything twice"),
        pytest.param(
            WHOLE.replace("A says.", f"Inside {MARK_B} of a line"),
            {"a": CommentSection(A.digest, f"Inside {MARK_B} of a line"), "b": B},
            id="a mark inside of a line is none",
        ),
    ],
)
def test_edited_comment_is_parsed(body: str, sections: dict[str, CommentSection]) -> None:
    assert parse_sections(body, marker=MARKER) == sections


MARKS = [
    MARK_A,
    MARK_B,
    END,
    MARKER,
    OLDER_LEFT_OUT,
    "<!-- hls:section a -->",
    "<!-- hls:section c c -->",
]
MARKS += [
    "<!-- hls:section b",
    "<!-- hls:sections left-out -->",
    "<!-- hls:section ü -->",
    "<!-- hls:",
    "<!-- x -->",
]
PIECES = st.sampled_from(
    [*MARKS, "-->", "<!--", "\r\n", "    ", "```", "- [x] a", *"\n\n\n\r \t\u2028\x0b\x85\udc80"]
)
BODIES = st.lists(PIECES, max_size=30).map("".join)


@given(
    texts=st.dictionaries(
        st.from_regex(r"[A-Za-z0-9-]{1,100}", fullmatch=True), BODIES, max_size=6
    ),
    footer=BODIES,
)
def test_rendered_sections_are_parsed_back(texts: dict[str, str], footer: str) -> None:
    sections = {
        key: CommentSection(digest_of(text), section_text(text)) for key, text in texts.items()
    }
    body = render_sections(sections, newest="a", footer=footer, marker=MARKER)
    assert parse_sections(body, marker=MARKER) == sections


# --- untrusted text
# -----------------------------------------------------------------------------

PLACES: Mapping[str, Callable[[str], str]] = {
    "text": sanitize_blocks,
    "cell": sanitize_inline,
    "code span": lambda text: f"`{sanitize_code_span(text)}`",
    "code block": lambda text: f"```\n{sanitize_code_block(text)}\n```",
    "link": lambda text: f"[a]({sanitize_link_target(text)})",
    "html": sanitize_html,
}
FORGERIES = {
    "mark": MARK_B,
    "mark behind a backslash": f"\\{MARK_B}\n\\\\{MARK_B}",
    "mark as entities": MARK_B.replace("<", "&lt;").replace("-", "&#45;"),
    "mark with hidden characters": (
        MARK_B.replace("!", "\u200b!\u2060").replace("hls", "h\u200dls\ufeff")
    ),
    "mark made of a credential": "<!ghp_aB3dE5gH7jK9mN1pQ3rS5tU7vW9xY1zA3bC5-- hls:section b -->",
    "mark made of private-use characters": MARK_B.replace("!", "\ue000!\ue001"),
}


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("forgery", FORGERIES)
def test_rule_16_scrubbed_text_cannot_forge_a_mark(forgery: str, place: str) -> None:
    scrubbed = PLACES[place](FORGERIES[forgery])
    assert "<!--" not in scrubbed  # `parse_sections` and the search for the marker rely on this
    body = f"**Claude says:**\n\n{scrubbed}\n\nThe end."
    assert section_text(body) == body.strip("\n")  # nothing had to be removed
    sections = {"a": CommentSection("", section_text(body)), "b": B}
    posted = render_sections(sections, newest="a", footer=scrubbed, marker=MARKER)
    assert list(parse_sections(posted, marker=MARKER)) == ["a", "b"]
    assert posted.count(MARKER) == 1


def test_mark_written_by_a_template_is_not_recognized() -> None:
    text = section_text(f"{MARK_B}\n<!-- hls:note --> <!-- mine -->\n{MARKER}")
    assert (
        text == f"<!-- hls{ZERO_WIDTH_SPACE}:section b bbbbbbbbbbbbbbbb -->\n"
        f"<!-- hls{ZERO_WIDTH_SPACE}:note --> <!-- mine -->\n"
        f"<!-- hls{ZERO_WIDTH_SPACE}:pull_requests -->"
    )
    posted = render_sections({"a": A}, newest="a", footer=f"{MARK_B}\nFooter.", marker=MARKER)
    assert parse_sections(posted, marker=MARKER) == {"a": A}


# --- length limits
# -----------------------------------------------------------------------------


@given(
    lengths=st.lists(st.integers(0, 70_000), max_size=8),
    asked=st.integers(0, 70_000),
    footer=st.integers(0, 70_000),
    at=st.integers(0, 8),
)
def test_comment_always_fits_and_contains_the_newest_section(
    lengths: list[int], asked: int, footer: int, at: int
) -> None:
    others = [
        (f"s{number}", CommentSection("", "x" * length)) for number, length in enumerate(lengths)
    ]
    newest = ("new", CommentSection("", section_text("y" * asked)))
    body = render_sections(
        dict([*others[:at], newest, *others[at:]]), newest="new", footer="z" * footer, marker=MARKER
    )
    assert len(body) <= MAX_COMMENT_CHARS
    after = parse_sections(body, marker=MARKER)
    remaining = [(key, section) for key, section in after.items() if key != "new"]
    assert remaining == others[len(others) - len(remaining) :]
    assert after["new"] == newest[1]
    assert body.startswith(OLDER_LEFT_OUT) == (len(remaining) < len(others))
