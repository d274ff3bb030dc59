"""Decides the new body of the bot's comment from the requested body and the current one; no I/O.

A checkbox that a person checks must never cause a write. Therefore the checked boxes of the current
body are copied to the requested body. Nothing is written if the result equals the current body. If
it differs, the digest of the requested body is compared with the digest of the last requested body.
If the digests are equal, a person has edited the comment, and nothing is written.

A comment may have sections from several sources, such as reviewers or workflows. Each begins with
an invisible line, its mark. The comment ends with a footer and another invisible line, the marker.

    <!-- hls:section reviewer-21031067 0123456789abcdef -->
    The text of the reviewer's section.

    <!-- hls:sections end -->
    The footer.
    <!-- hls:pull_requests -->

The digest in a mark is that of the last requested text. A person may have edited the text or
checked boxes since.

People edit comments, so `parse_sections` accepts any text and never raises:
- Text before the first mark is dropped at the next write, because no source would ever update it.
  If that text was a section without its mark, the source writes the section again.
- A damaged mark and the text below it count as text of the section above. The next change of that
  section removes them.
- A section whose mark has no digest is replaced if its text differs from the requested text.
- Of two sections with the same key the first is used. Footers are not read: each write has its own
  footer.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

from hls_handler.actions import EnsureComment
from hls_handler.untrusted.cleaning import ZERO_WIDTH_SPACE
from hls_handler.untrusted.markdown import sanitize_blocks

MAX_COMMENT_CHARS = 65_536  # GitHub's limit for a comment, in characters

TRUNCATION_NOTE = (
    "*The middle of this comment was left out: GitHub shows 65,536 characters at most.*"
)

MAX_FOOTER_CHARS = 4_000  # a last paragraph of at most this many characters is kept as the footer


def truncate_comment(body: str, max_chars: int, *, note: str = TRUNCATION_NOTE) -> str:
    """Return `body`. If it is longer than `max_chars`, return its first lines, `note` and its last
    paragraph.

    A last paragraph of more than `MAX_FOOTER_CHARS` is left out. `max_chars` must be at least
    several thousand. This is the last resort: templates of comments shorten themselves
    (`render_comment`).
    """
    if len(body) <= max_chars:
        return body
    _, _, footer = body.rpartition("\n\n")
    tail = f"\n\n{note}\n\n"
    if len(footer) <= MAX_FOOTER_CHARS:
        tail += footer
    head = body[: max_chars - len(tail)]
    cut = head.rfind("\n")
    if cut > len(head) // 2:
        head = head[:cut]
    return head + tail


_FENCE = re.compile(r"^ {0,3}(`{3,}(?=[^`]*$)|~{3,})")
_ITEM = re.compile(
    r"(?P<before>[ \t]*(?:[-*+]|[0-9]{1,9}[.)])[ \t]+\[)(?P<box>[ xX])"
    r"(?P<after>\][ \t]+(?P<text>\S.*))"
)
"""Matches a line such as "- [ ] Run the migration". Quoted lines do not match: they are somebody
else's list.
"""


def copy_checked_boxes(older: str, newer: str) -> str:
    """Check the task list items of `newer` that are checked in `older`, and return the text. No
    check is removed.

    Items match by text, apart from white space; the second item with a text matches the second one.
    If `newer` differs from `older` only by missing checks, the result is `older`. Boxes in code
    blocks are ignored.
    """
    lines = newer.split("\n")
    checked = {item: box for item, (_, box) in _find_boxes(older).items() if box != " "}
    for item, (index, box) in _find_boxes(newer).items():
        if box == " " and item in checked:
            lines[index] = _ITEM.sub(rf"\g<before>{checked[item]}\g<after>", lines[index], count=1)
    return "\n".join(lines)


def list_boxes(text: str) -> dict[str, bool]:
    """Map the text of each task list item to True if it is checked. Of equal ones, the last
    counts.
    """
    return {item: box != " " for (item, _), (_, box) in _find_boxes(text).items()}


def _find_boxes(text: str) -> Mapping[tuple[str, int], tuple[int, str]]:
    """Map the text of each task list item, and its number among equal ones, to line index and
    box.
    """
    boxes: dict[tuple[str, int], tuple[int, str]] = {}
    times = Counter[str]()
    fence: str | None = None
    for index, line in enumerate(text.split("\n")):
        mark = _FENCE.match(line)
        if mark is not None:
            if fence is None:
                fence = mark[1]
            elif mark[1].startswith(fence) and line.strip() == mark[1]:
                fence = None
        item = _ITEM.match(line)
        if fence is None and item is not None:
            words = " ".join(item["text"].split())
            boxes[words, times[words]] = index, item["box"]
            times[words] += 1
    return boxes


MAX_SECTION_CHARS = 20_000
"""Limit for the text of one section, in characters: three of the longest fit into one comment."""

SECTION_TRUNCATED = (
    "*The middle of this part was left out: GitHub shows 65,536 characters of a comment at most.*"
)
OLDER_LEFT_OUT = (
    "*Older parts of this comment were left out: GitHub shows 65,536 characters at most.*"
)

RESOLVED = "Everything that was listed here is resolved"
"""Beginning of a comment whose last section was removed. HLS does not delete comments."""

_MARK_PREFIX = "<!-- hls:"
# never equal to a marker, because no `EnsureComment.family` has a space
_END_MARK = "<!-- hls:sections end -->"
_KEY = r"[A-Za-z0-9-]{1,100}"
_MARK = re.compile(
    rf"^[ \t\r]*<!-- hls:(?:section (?P<key>{_KEY})(?: (?P<digest>[0-9A-Za-z]{{0,64}}))?"
    r"|sections end) -->[ \t\r]*$",
    re.MULTILINE,
)


@dataclass(frozen=True, slots=True)
class CommentSection:
    """The text in the bot's comment that one source writes, such as a reviewer or a workflow."""

    # `digest_of` the text last requested by the source; "" if a person damaged the mark
    digest: str
    text: str  # as it is in the comment, without surrounding newlines


Sections = Mapping[str, CommentSection]
"""The sections of one comment, oldest first, by keys of letters, digits and hyphens:
"reviewer-21031067".
"""


def section_text(body: str) -> str:
    """Return `body`, truncated. Marks of sections, which a template might contain, are made invalid
    with U+200B.
    """
    return truncate_comment(_without_marks(body), MAX_SECTION_CHARS, note=SECTION_TRUNCATED).strip(
        "\r\n"
    )


def digest_of(text: str) -> str:
    """Return the first 16 hexadecimal digits of the text's SHA-256, to detect changes."""
    return _digest(text)[:16]


def parse_sections(body: str, *, marker: str) -> dict[str, CommentSection]:
    """Return the sections of a comment, even if people edited it. `marker` is the last line: "<!--
    hls:issues -->".
    """
    body = body.rstrip().removesuffix(marker)
    marks = list(_MARK.finditer(body))
    ends = [*(mark.start() for mark in marks), len(body)][1:]
    sections: dict[str, CommentSection] = {}
    for mark, end in zip(marks, ends, strict=True):
        if mark["key"] is not None:
            sections.setdefault(
                mark["key"],
                CommentSection(mark["digest"] or "", body[mark.end() : end].strip("\r\n")),
            )
    return sections


def render_sections(
    sections: Sections, *, newest: str, footer: str, marker: str, removed: str = ""
) -> str:
    """Return the whole comment. If it exceeds GitHub's limit, the oldest sections are dropped, and
    a line says so. Without sections, it lists what was in the `removed` one.

    The section with the key `newest` is never dropped. Its text must come from `section_text`,
    which limits the length.
    """
    footer = truncate_comment(
        _without_marks(footer), MAX_FOOTER_CHARS, note=SECTION_TRUNCATED
    ).strip("\r\n")
    end = f"\n{marker}"
    if footer:
        end = f"\n\n{_END_MARK}\n{footer}{end}"
    parts = {
        key: f"{_mark(key, section.digest)}\n{section.text}" for key, section in sections.items()
    }
    body = "\n\n".join(parts.values() or [_describe_resolved(removed)]) + end
    while len(body) > MAX_COMMENT_CHARS and parts.keys() - {newest}:
        del parts[next(key for key in parts if key != newest)]
        body = "\n\n".join([OLDER_LEFT_OUT, *parts.values()]) + end
    return body


def _describe_resolved(removed: str) -> str:
    """Return a sentence with the task list items of a section, or else with its first line.

    People may have edited the text. What HLS wrote is sanitized already and stays as it is.
    """
    text = section_text(removed)
    items = list(list_boxes(text)) or text.split("\n")[:1]
    if items == [""]:
        return f"{RESOLVED}."
    lines = [" ".join(sanitize_blocks(item).split()) for item in items]
    return "\n".join([f"{RESOLVED}:", "", *(f"- {line}" for line in lines)])


def _mark(key: str, digest: str) -> str:
    if re.fullmatch(_KEY, key) is None:
        raise ValueError(
            f"invalid section key {key!r}: expected 1 to 100 letters, digits and hyphens"
        )
    if digest:
        key += f" {digest}"
    return f"{_MARK_PREFIX}section {key} -->"


def _without_marks(text: str) -> str:
    return text.replace(_MARK_PREFIX, f"<!-- hls{ZERO_WIDTH_SPACE}:")


@dataclass(frozen=True, slots=True)
class BodyDecision:
    change: Literal["changed", "unchanged", "edited by a person"]  # only "changed" is written
    # the whole comment with its marks: the new body, or the current one if nothing is written
    body: str
    # to store: SHA-256 in hex of the requested body or, with sections, of the whole comment
    digest: str


def marker(family: str) -> str:
    return f"<!-- hls:{family} -->"


def decide_body(
    action: EnsureComment, current_body: str | None, *, last_digest: str | None
) -> BodyDecision | None:
    """Return the new or unchanged body. None if no comment or section exists and `action.create` is
    False.

    `current_body` is the comment's body on GitHub, None if there is no comment. `last_digest` is
    the stored digest of the last requested body. It is ignored for a section, because the comment
    contains the digest of each section. A section whose requested text is empty is removed.
    """
    if action.section is not None:
        return _decide_section(action, action.section, current_body)
    requested = requested_body(action)
    digest = _digest(requested)
    if current_body is None:
        if not action.create:
            return None
        return BodyDecision("changed", requested, digest)
    body = copy_checked_boxes(current_body, requested)
    if _normalize(current_body) == _normalize(body):
        return BodyDecision("unchanged", body, digest)
    if last_digest == digest:
        return BodyDecision("edited by a person", current_body, digest)
    return BodyDecision("changed", body, digest)


def is_last_written(action: EnsureComment, last_digest: str) -> bool:
    """Return True if the requested body is the last requested one; always False for a section."""
    return action.section is None and _digest(requested_body(action)) == last_digest


def is_as_written(body: str, last_digest: str) -> bool:
    """Return True if a comment without sections is as HLS wrote it."""
    return _digest(body.replace("\r\n", "\n")) == last_digest


def requested_body(action: EnsureComment) -> str:
    """Return the whole comment that the action requests, with the marker, as long as GitHub
    allows.
    """
    mark = f"\n{marker(action.family)}"
    return truncate_comment(action.body, MAX_COMMENT_CHARS - len(mark)) + mark


def _decide_section(
    action: EnsureComment, key: str, current_body: str | None
) -> BodyDecision | None:
    mark = marker(action.family)
    sections = parse_sections(current_body or "", marker=mark)
    current = sections.get(key)
    requested = section_text(action.body)
    if current_body is not None:
        unchanged = BodyDecision("unchanged", current_body, _digest(current_body))
        if not requested.strip():
            if current is None:
                return unchanged
            del sections[key]
            return _written(action, sections, removed=current.text)
        if current is not None:
            text = copy_checked_boxes(current.text, requested)
            if _normalize(current.text) == _normalize(text):
                return unchanged
            if current.digest == digest_of(requested):
                return replace(unchanged, change="edited by a person")
            return _written(action, {**sections, key: CommentSection(digest_of(requested), text)})
    if not action.create:
        return None
    return _written(action, {**sections, key: CommentSection(digest_of(requested), requested)})


def _written(action: EnsureComment, sections: Sections, *, removed: str = "") -> BodyDecision:
    body = render_sections(
        sections,
        newest=action.section or "",
        footer=action.footer,
        marker=marker(action.family),
        removed=removed,
    )
    return BodyDecision("changed", body, _digest(body))


def _normalize(body: str) -> str:
    return body.replace("\r\n", "\n").strip()  # GitHub's editor writes CRLF


def _digest(body: str) -> str:
    return hashlib.sha256(body.encode("utf-8", "surrogatepass")).hexdigest()
