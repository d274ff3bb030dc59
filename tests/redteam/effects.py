"""Effects that a comment would have on GitHub: notifications, closed issues, loaded images, commands of bots.

As on GitHub, mentions and references in code, link texts and HTML comments have no effect. `&#64;user` and `\\@user`
are mentions, because GitHub replaces entities and escapes first.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from markdown_it import MarkdownIt
from markdown_it.token import Token

MENTION = re.compile(r"(?<![\w`/@.-])@([A-Za-z0-9](?:[A-Za-z0-9-]{0,38})(?:/[A-Za-z0-9][\w-]*)?)(?![\w@])")
ISSUE = r"(?:[\w.-]+/[\w.-]+)?#\d+|GH-\d+|https?://[^\s/]+/[\w.-]+/[\w.-]+/(?:issues|pull)/\d+"
CLOSE = re.compile(rf"\b(?:close[sd]?|fix(?:e[sd])?|resolve[sd]?):?\s+({ISSUE})\b", re.IGNORECASE)
REFERENCE = re.compile(rf"(?<![\w/#&])({ISSUE})\b", re.IGNORECASE)
COMMAND = re.compile(r"^/([A-Za-z][\w-]*)(?![\w./-])", re.MULTILINE)  # bots read the source, including code
TAG = re.compile(r"<([A-Za-z][A-Za-z0-9-]*)")
TAGS = re.compile(r"<(code|pre|a)\b.*?(?:</\1>|\Z)|<[^>]*>", re.DOTALL | re.IGNORECASE)
HTML_COMMENT = re.compile(r"<!--.*?(?:-->|\Z)", re.DOTALL)

PARSER_OPTIONS = {"html": True, "maxNesting": 100}
"""By default (`maxNesting` 20), the parser ignores text in more than ten nested lists."""


@dataclass(frozen=True, slots=True)
class Effects:
    notifies: tuple[str, ...] = ()  # logins and teams, without @
    closes: tuple[str, ...] = ()  # "#12", "owner/repo#12", or a URL
    references: tuple[str, ...] = ()  # issues that would show "mentioned this", including the closed ones
    images: tuple[str, ...] = ()  # URLs of images
    html: tuple[str, ...] = ()  # names of raw HTML tags, including those that GitHub allows
    commands: tuple[str, ...] = ()  # "/lgtm" at the start of a line of the source


def effects_of(body: str) -> Effects:
    """Return the effects that a comment with the Markdown `body` would have on GitHub, such as notifications."""
    tokens = MarkdownIt("commonmark", PARSER_OPTIONS).enable(["table", "strikethrough"]).parse(body)
    notifies: list[str] = []
    closes: list[str] = []
    references: list[str] = []
    images: list[str] = []
    html: list[str] = []
    for token in tokens:
        if token.type == "html_block":
            shown = HTML_COMMENT.sub("", token.content)
            html += TAG.findall(shown)
            notifies += MENTION.findall(TAGS.sub("\n", shown))
            closes += CLOSE.findall(TAGS.sub("\n", shown))
            references += REFERENCE.findall(TAGS.sub("\n", shown))
        for child in token.children or ():
            if child.type == "image":
                images.append(str(child.attrs.get("src", "")))
            elif child.type == "html_inline":
                html += TAG.findall(HTML_COMMENT.sub("", child.content))
        # GitHub searches each text node separately for mentions.
        for text in _unlinked_texts(token.children or []):
            notifies += MENTION.findall(text)
        for line in _lines(token.children or []):
            closes += CLOSE.findall(line)
            references += REFERENCE.findall(line)
    return Effects(
        notifies=_unique(notifies),
        closes=_unique(closes),
        references=_unique(references),
        images=_unique(images),
        html=_unique([name.lower() for name in html]),
        commands=_unique([f"/{name}" for name in COMMAND.findall(body)]),
    )


def _unlinked_texts(children: list[Token]) -> Iterator[str]:
    depth = 0
    for child in children:
        depth += child.nesting if child.type in {"link_open", "link_close"} else 0
        if child.type == "text" and not depth:
            yield child.content


def _lines(children: list[Token]) -> Iterator[str]:
    line = ""
    named_link = False
    for child in children:
        if child.type == "link_open" and child.info != "auto":  # not <https://example.org>
            named_link = True
        elif child.type == "link_close":
            named_link = False
        elif child.type in {"softbreak", "hardbreak"}:
            line += " "
        elif child.type == "text" and not named_link:
            line += child.content
        elif child.type in {"code_inline", "html_inline", "image"}:
            yield line
            line = ""
    yield line


def _unique(found: list[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(found))
