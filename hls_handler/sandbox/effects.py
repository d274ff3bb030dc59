"""What a comment would set off on GitHub: people it notifies, issues it closes, images it loads, bots it commands.

Judged as GitHub does, on the rendered Markdown: what stands in code or in a link's text neither notifies nor closes, an
entity or a backslash before a character changes nothing, and HTML comments are not shown.
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
COMMAND = re.compile(r"^/([A-Za-z][\w-]*)(?![\w./-])", re.MULTILINE)  # bots read the source, code or not
TAG = re.compile(r"<([A-Za-z][A-Za-z0-9-]*)")
TAGS = re.compile(r"<(code|pre|a)\b.*?(?:</\1>|\Z)|<[^>]*>", re.DOTALL | re.IGNORECASE)
HTML_COMMENT = re.compile(r"<!--.*?(?:-->|\Z)", re.DOTALL)

READING = {"html": True, "maxNesting": 100}
"""By itself the parser gives up 20 levels in, ten lists in each other, and does not read what stands there."""


@dataclass(frozen=True, slots=True)
class Effects:
    notifies: tuple[str, ...] = ()  # logins and teams, without @
    closes: tuple[str, ...] = ()  # "#12", "owner/repo#12", or an address
    references: tuple[str, ...] = ()  # issues that would show "mentioned this", those it closes included
    images: tuple[str, ...] = ()  # addresses that would be fetched
    html: tuple[str, ...] = ()  # names of raw HTML tags that would reach the page, those GitHub allows included
    commands: tuple[str, ...] = ()  # "/lgtm" at the start of a line of the source


def effects_of(body: str) -> Effects:
    """Everything that a comment with this Markdown would set off."""
    tokens = MarkdownIt("commonmark", READING).enable(["table", "strikethrough"]).parse(body)
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
        for text in _texts(token.children or []):
            notifies += MENTION.findall(text)
        for line in _lines(token.children or []):
            closes += CLOSE.findall(line)
            references += REFERENCE.findall(line)
    return Effects(
        notifies=_once(notifies),
        closes=_once(closes),
        references=_once(references),
        images=_once(images),
        html=_once([name.lower() for name in html]),
        commands=_once([f"/{name}" for name in COMMAND.findall(body)]),
    )


def _texts(children: list[Token]) -> Iterator[str]:
    """Each run of text that stands neither in code nor in a link: GitHub looks for mentions run by run."""
    depth = 0
    for child in children:
        depth += child.nesting if child.type in {"link_open", "link_close"} else 0
        if child.type == "text" and not depth:
            yield child.content


def _lines(children: list[Token]) -> Iterator[str]:
    """The same text with emphasis taken away, cut where code, HTML or a link stands; a bare address stays in."""
    line = ""
    named_link = False
    for child in children:
        if child.type == "link_open" and child.info != "auto":
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


def _once(found: list[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(found))
