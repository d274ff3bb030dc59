r"""A comment with sections from several sources: each under an invisible mark, then one footer, then the marker.

    <!-- hls:section reviewer-21031067 0123456789abcdef -->
    The text of the reviewer's section.

    <!-- hls:sections end -->
    The footer.
    <!-- hls:pull_requests -->

The digest is that of the last requested text, not of the current text: a person may have edited it or checked boxes.

People edit comments, so `parse_sections` accepts any text and never raises:
- Text before the first mark is dropped at the next write. It belongs to no source, so it would never be updated or
  removed, and it would be duplicated when the source whose mark is missing writes its section again.
- A line that is not a complete mark is text: what follows it belongs to the section above, which its source replaces.
- A mark without its digest still names its section; the text of the section counts as edited.
- Of two sections with the same key the first is used. Footers are not read: each write has its own footer.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, replace

from hls_handler.clients.clamp import MAX_COMMENT_CHARS, truncate_comment
from hls_handler.untrusted.inline import BREAK

MAX_SECTION_CHARS = 20_000
"""Limit for the text of one source, in characters: three of the longest fit into one comment."""

MAX_FOOTER_CHARS = 4_000

SECTION_TRUNCATED = "*The middle of this part was left out: GitHub shows 65,536 characters of a comment at most.*"
OLDER_LEFT_OUT = "*Older parts of this comment were left out: GitHub shows 65,536 characters at most.*"

_MARK_PREFIX = "<!-- hls:"
_END_MARK = "<!-- hls:sections end -->"  # cannot be the marker of a family, which has no space inside
_LEFT_OUT_MARK = "<!-- hls:sections left-out -->"
_KEY = r"[A-Za-z0-9-]{1,100}"
_MARK = re.compile(
    rf"^[ \t\r]*<!-- hls:(?:section (?P<key>{_KEY})(?: (?P<digest>[0-9A-Za-z]{{0,64}}))?"
    r"|sections (?P<part>end|left-out)) -->[ \t\r]*$",
    re.MULTILINE,
)


@dataclass(frozen=True, slots=True)
class Section:
    """The text of one source."""

    key: str  # "reviewer-21031067": letters, digits and hyphens
    digest: str  # `digest_of` the text last requested by the source; "" if a person damaged the mark
    text: str  # as it is in the comment, without surrounding newlines


@dataclass(frozen=True, slots=True)
class Sections:
    """All sections, oldest source first. `older_left_out` is true if older ones were dropped because of the limit."""

    each: tuple[Section, ...] = ()
    older_left_out: bool = False

    def find(self, key: str) -> Section | None:
        return next((section for section in self.each if section.key == key), None)

    def with_section(self, new: Section) -> Sections:
        """Replace the section with the same key, or append `new`."""
        if self.find(new.key) is None:
            return replace(self, each=(*self.each, new))
        return replace(self, each=tuple(new if section.key == new.key else section for section in self.each))


def section_text(body: str) -> str:
    """Return a source's text for its section: truncated, and without anything that `parse_sections` takes for a mark.

    HTML comments were removed from untrusted text before (untrusted/markdown.py), but a template might write some.
    """
    return truncate_comment(_without_marks(body), MAX_SECTION_CHARS, note=SECTION_TRUNCATED).strip("\r\n")


def digest_of(text: str) -> str:
    """Return 16 hex digits of SHA-256: enough to detect a change, not meant to protect a secret."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]


def parse_sections(body: str, *, marker: str) -> Sections:
    """Return the sections of a comment, also of one that people edited. `marker` is that of the family."""
    body = body.rstrip().removesuffix(marker)
    marks = list(_MARK.finditer(body))
    ends = [*(mark.start() for mark in marks), len(body)][1:]
    each: dict[str, Section] = {}
    for mark, end in zip(marks, ends, strict=True):
        key = mark["key"]
        if key is not None and key not in each:
            each[key] = Section(key, mark["digest"] or "", body[mark.end() : end].strip("\r\n"))
    return Sections(tuple(each.values()), any(mark["part"] == "left-out" for mark in marks))


def render_sections(sections: Sections, *, newest: str, footer: str, marker: str) -> str:
    """Return the whole comment, within GitHub's limit.

    If it is too long, the oldest sections other than `newest` are dropped, and a line in the comment says so. The text
    of `newest` must come from `section_text`, so that it fits alone.
    """
    footer = truncate_comment(_without_marks(footer), MAX_FOOTER_CHARS, note=SECTION_TRUNCATED).strip("\r\n")
    body = _join(sections, footer, marker)
    others = [section for section in sections.each if section.key != newest]
    while len(body) > MAX_COMMENT_CHARS and others:
        oldest = others.pop(0)
        sections = Sections(tuple(section for section in sections.each if section is not oldest), older_left_out=True)
        body = _join(sections, footer, marker)
    return body


def _join(sections: Sections, footer: str, marker: str) -> str:
    parts = [f"{_LEFT_OUT_MARK}\n{OLDER_LEFT_OUT}"] if sections.older_left_out else []
    parts += [f"{_mark(section)}\n{section.text}" for section in sections.each]
    parts += [f"{_END_MARK}\n{footer}"] if footer else []
    return "\n\n".join(parts) + f"\n{marker}"


def _mark(section: Section) -> str:
    if re.fullmatch(_KEY, section.key) is None:
        raise ValueError(f"invalid section key {section.key!r}: expected 1 to 100 letters, digits and hyphens")
    return f"{_MARK_PREFIX}section {section.key}{f' {section.digest}' if section.digest else ''} -->"


def _without_marks(text: str) -> str:
    return text.replace(_MARK_PREFIX, f"<!-- hls{BREAK}:")
