r"""A comment that several sources feed: a section for each, under an invisible mark, then one footer, then our marker.

    <!-- hls:section reviewer-21031067 0123456789abcdef -->
    What the reviewer said.

    <!-- hls:sections end -->
    The footer.
    <!-- hls:pull_requests -->

The digest is of what the source last asked for, not of what stands there: a person may have edited it, or ticked boxes.

People edit comments, so `parse` takes whatever it finds, and never raises:
- Text in front of the first mark is dropped at the next write. It is no source's, so nobody would ever correct it or
  take it away, and it would stand there twice once the source whose mark is gone speaks again.
- A line that is no whole mark is text, so what follows it belongs to the section above, which its source will replace.
- A mark whose digest is gone still names its section; what it says counts as edited.
- Of two sections with one key the first counts. Footers are not read: whoever writes brings one.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, replace

from hls_handler.clients.clamp import LONGEST, clamp
from hls_handler.untrusted.inline import BREAK

LONGEST_SECTION = 20_000
"""Characters of one source's text: three of the longest fit into a comment."""

LONGEST_FOOTER = 4_000

CUT = "*The middle of this part was left out: GitHub shows 65,536 characters of a comment at most.*"
OLDER_LEFT_OUT = "*Older parts of this comment were left out: GitHub shows 65,536 characters at most.*"

_OURS = "<!-- hls:"
_END = "<!-- hls:sections end -->"  # no family's marker has a space inside
_LEFT_OUT = "<!-- hls:sections left-out -->"
_KEY = r"[A-Za-z0-9-]{1,100}"
_MARK = re.compile(
    rf"^[ \t\r]*<!-- hls:(?:section (?P<key>{_KEY})(?: (?P<digest>[0-9A-Za-z]{{0,64}}))?"
    r"|sections (?P<part>end|left-out)) -->[ \t\r]*$",
    re.MULTILINE,
)


@dataclass(frozen=True, slots=True)
class Section:
    """What one source says."""

    key: str  # "reviewer-21031067": letters, digits and hyphens
    digest: str  # `digest_of` what the source asked for when we last wrote it; "" where a person damaged the mark
    text: str  # as it stands in the comment, without newlines around it


@dataclass(frozen=True, slots=True)
class Sections:
    """All that is said, oldest source first. `older_left_out`: there were more, which did not fit."""

    each: tuple[Section, ...] = ()
    older_left_out: bool = False

    def find(self, key: str) -> Section | None:
        return next((section for section in self.each if section.key == key), None)

    def with_section(self, new: Section) -> Sections:
        """In place of the one with its key, else behind the others."""
        if self.find(new.key) is None:
            return replace(self, each=(*self.each, new))
        return replace(self, each=tuple(new if section.key == new.key else section for section in self.each))


def own_text(body: str) -> str:
    """A source's text as its section has it: of bounded length, and without anything that `parse` takes for a mark.

    Strangers' text has no HTML comments left when it comes here (untrusted/markdown.py); a template might write some.
    """
    return clamp(_without_marks(body), LONGEST_SECTION, note=CUT).strip("\r\n")


def digest_of(text: str) -> str:
    """16 hex digits, which tell an edit from another; they keep no secret."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]


def parse(body: str, *, marker: str) -> Sections:
    """The sections of a comment, whatever people made of it. `marker` is the family's."""
    body = body.rstrip().removesuffix(marker)
    marks = list(_MARK.finditer(body))
    ends = [*(mark.start() for mark in marks), len(body)][1:]
    each: dict[str, Section] = {}
    for mark, end in zip(marks, ends, strict=True):
        key = mark["key"]
        if key is not None and key not in each:
            each[key] = Section(key, mark["digest"] or "", body[mark.end() : end].strip("\r\n"))
    return Sections(tuple(each.values()), any(mark["part"] == "left-out" for mark in marks))


def compose(sections: Sections, *, newest: str, footer: str, marker: str) -> str:
    """The whole comment, in at most as many characters as GitHub takes.

    Where it would be longer, the oldest sections but the one with the key `newest` go, and one line says so. That one
    is an `own_text`, so that alone it fits.
    """
    footer = clamp(_without_marks(footer), LONGEST_FOOTER, note=CUT).strip("\r\n")
    body = _joined(sections, footer, marker)
    others = [section for section in sections.each if section.key != newest]
    while len(body) > LONGEST and others:
        oldest = others.pop(0)
        sections = Sections(tuple(section for section in sections.each if section is not oldest), older_left_out=True)
        body = _joined(sections, footer, marker)
    return body


def _joined(sections: Sections, footer: str, marker: str) -> str:
    parts = [f"{_LEFT_OUT}\n{OLDER_LEFT_OUT}"] if sections.older_left_out else []
    parts += [f"{_mark(section)}\n{section.text}" for section in sections.each]
    parts += [f"{_END}\n{footer}"] if footer else []
    return "\n\n".join(parts) + f"\n{marker}"


def _mark(section: Section) -> str:
    if re.fullmatch(_KEY, section.key) is None:
        raise ValueError(f"a section is named by letters, digits and hyphens, 100 at most, not by {section.key!r}")
    return f"{_OURS}section {section.key}{f' {section.digest}' if section.digest else ''} -->"


def _without_marks(text: str) -> str:
    return text.replace(_OURS, f"<!-- hls{BREAK}:")
