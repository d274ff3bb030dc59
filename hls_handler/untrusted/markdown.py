"""Markdown of strangers and of Claude as we post it: readable, and unable to notify, close, load, render or command.

Lines outside of code are `inline`'s matter. Here is the block structure, written anew so that GitHub cannot read it
otherwise than we did. A code block gets a fence longer than any run of backticks in it, at most three spaces in, and no
line of it stands further left: whatever list or quote it is in, the fence opens, holds and closes. Quotes stand at the
left edge, every line with its mark.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from urllib.parse import quote

from hls_handler.untrusted.cleaning import Code, cap, clean
from hls_handler.untrusted.inline import BREAK, harden, harden_code, without_markup
from hls_handler.untrusted.redaction import redact
from hls_handler.untrusted.stranger import ShowInMarkdown

LONGEST_TEXT = 30_000
"""Characters of one text in a comment, which may have 65,536 in all."""

FENCE = re.compile(
    r"(?P<indent>[ \t]*+)(?P<marks>(?:(?:[-*+]|[0-9]{1,9}[.)])[ \t]+)*)"
    r"(?P<fence>`{3,}+(?=[^`]*$)|~{3,}+)(?P<word>[ \t]*[\w+#.-]*)"
)
QUOTE = re.compile(r" {0,3}> ?")
DEEPEST_QUOTE = 5

DRAWN = frozenset({"mermaid", "math", "geojson", "topojson", "stl", "suggestion"})
"""Code blocks that GitHub does not show as code."""

UNSAFE_SCHEME = re.compile(r"(?!https?:|mailto:)[a-z][a-z0-9+.-]*:", re.IGNORECASE)

OPEN_ENDS = ("!", "]", "&", "@", "\uff20", "`", "\\")
"""What would make something else of our own text right behind it: an image, a link, an entity, a mention, code."""

BLOCK_MARK = re.compile(r"(?:[#>+*=-]|[0-9]{1,9}(?=[.)]))")
FENCE_IN_FENCE = re.compile(r"^([ \t>]*[`~])(?=[`~]{2})", re.MULTILINE)


def scrub(text: str) -> str:
    """Blocks of Markdown for a comment. Starts or ends with a newline where a block must have a line of its own."""
    lines = _blocks(_readable(text).split("\n"), depth=0)
    if FENCE.match(lines[0]) or QUOTE.match(lines[0]):
        lines.insert(0, "")
    if FENCE.match(lines[-1]) or QUOTE.match(lines[-1]):
        lines.append("")
    return _sealed("\n".join(lines))


def scrub_inline(text: str) -> str:
    """One line of Markdown, for table cells, headings and list items."""
    line = harden(" ".join(_readable(text).split()))
    line = re.sub(r"\\.|\|", lambda found: "\\|" if found[0] == "|" else found[0], line)
    mark = BLOCK_MARK.match(line)
    if mark is not None:
        end = mark.end() if mark[0].isdigit() else 0
        line = f"{line[:end]}\\{line[end:]}"
    return _sealed(line)


@dataclass(frozen=True, slots=True)
class _InComments(ShowInMarkdown):
    """Shows a stranger's text in a comment as its place in the template's own Markdown demands."""

    in_text: Callable[[str], str]

    def __call__(self, text: str, nonce: str) -> str:  # noqa: ARG002 (a comment has no delimiters)
        return self.in_text(cap(text, LONGEST_TEXT))

    def in_code_span(self, text: str) -> str:
        """Between backticks of the template's own: no backtick, one line, bars fit for a table."""
        line = " ".join(_readable(cap(text, LONGEST_TEXT)).split())
        return harden_code(line.replace("`", "ˋ").replace("|", "\\|")) or " "  # two backticks in a row are no code

    def in_code_block(self, text: str) -> str:
        """Inside of the template's own fence: no line of it closes that."""
        lines = _readable(cap(text, LONGEST_TEXT)).split("\n")
        return FENCE_IN_FENCE.sub(rf"\g<1>{BREAK}", "\n".join(harden_code(line) for line in lines))

    def in_link_target(self, text: str) -> str:
        """In the round brackets of the template's own link: an address that ends where it ends, and runs nothing."""
        address = quote("".join(_readable(cap(text, LONGEST_TEXT)).split()), safe="/:?#=&%+,;~").replace("&", "&amp;")
        return address.replace(":", "%3A") if UNSAFE_SCHEME.match(address) else address

    def in_html(self, text: str) -> str:
        """Beside the template's own HTML, where Markdown may or may not be read: one line of plain characters."""
        return without_markup(" ".join(_readable(cap(text, LONGEST_TEXT)).split()))


for_comment = _InComments(scrub)
"""`for_comment(text, nonce)` is the `show` of comments."""

for_cell = _InComments(scrub_inline)
"""The same for one line: table cells, headings, list items."""


def _readable(text: str) -> str:
    """Cleaned, but for HTML comments: those become visible, and so harmless. Redacted."""
    return redact(clean(Code(text)))


def _sealed(text: str) -> str:
    """The same text with an end that nothing can be joined to."""
    return f"{text}{BREAK}" if text.endswith(OPEN_ENDS) else text


def _blocks(lines: Sequence[str], *, depth: int) -> list[str]:
    written: list[str] = []
    at = 0
    while at < len(lines):
        fence = FENCE.match(lines[at])
        if fence is not None:
            end = _end_of_code(lines, at + 1, fence["fence"])
            written += _code_block(fence, lines[at + 1 : end])
            at = end + 1
        elif depth < DEEPEST_QUOTE and QUOTE.match(lines[at]):
            end = next((i for i in range(at, len(lines)) if not QUOTE.match(lines[i])), len(lines))
            quoted = [QUOTE.sub("", line, count=1) for line in lines[at:end]]
            written += [f"> {line}" for line in _blocks(quoted, depth=depth + 1)]
            at = end
        else:
            written.append(harden(lines[at]))
            at += 1
    return written


def _end_of_code(lines: Sequence[str], start: int, fence: str) -> int:
    """The index of the closing fence, or behind the last line: an unclosed block is closed by us."""
    closing = re.compile(rf"[ \t]*+{re.escape(fence)}{re.escape(fence[0])}*+[ \t]*")
    return next((i for i in range(start, len(lines)) if closing.fullmatch(lines[i])), len(lines))


def _code_block(opening: re.Match[str], code: Sequence[str]) -> list[str]:
    before = f"{opening['indent']}{opening['marks']}".expandtabs(4)
    indent = " " * min(len(before), 3)
    longest = max((len(run) for line in code for run in re.findall("`+", line)), default=0)
    fence = "`" * max(longest + 1, 3)
    word = opening["word"].strip()
    item = [f"{opening['indent']}{opening['marks']}&nbsp;"] if opening["marks"] else []  # a mark alone would underline
    inside = [harden_code(f"{indent}{_moved_left(line, len(before))}".rstrip(" ")) for line in code]
    return [*item, f"{indent}{fence}{'' if word.lower() in DRAWN else word[:40]}", *inside, f"{indent}{fence}"]


def _moved_left(line: str, columns: int) -> str:
    """Without its first columns, as far as they are blank."""
    text = line.lstrip(" \t")
    width = len(line[: len(line) - len(text)].expandtabs(4))
    return " " * max(width - columns, 0) + text
