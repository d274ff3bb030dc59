"""Model of how GitHub and bots interpret a comment: GitHub filters the text nodes of the Markdown, bots the raw text.

The patterns are those that GitHub publishes, or stricter: html-pipeline's `MentionFilter`, and the closing keywords of
https://docs.github.com/en/issues/tracking-your-work-with-issues/linking-a-pull-request-to-an-issue
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from markdown_it import MarkdownIt
from markdown_it.token import Token


class _Reader(MarkdownIt):
    def validateLink(self, url: str) -> bool:  # noqa: N802 (as in MarkdownIt)
        """Accept links of every scheme, so that the parser does not hide unsafe ones."""
        return True


MARKDOWN = _Reader("commonmark", {"maxNesting": 100}).enable(["table", "strikethrough"])

MENTION = re.compile(r"(?:^|[^A-Za-z0-9_])[@\uff20][A-Za-z0-9]")
CLOSING = re.compile(
    r"\b(?:close[sd]?|fix(?:e[sd])?|resolve[sd]?|duplicate of)\b:?\s+(?:[\w.-]+/[\w.-]+)?"
    r"(?:#\d|GH-\d|https?://\S+/(?:issues|pull)/\d)",
    re.IGNORECASE,
)
COMMAND = re.compile(
    r"^\s*(?:[/!][A-Za-z][\w-]*(?:\s|$)|bors r\+|retest this please)", re.MULTILINE
)
BOT = re.compile(r"@(?:bors|mergifyio|claude|copilot|[\w-]*bot)\b", re.IGNORECASE)
UNSEEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\U000e0000-\U000e007f\ue000-\ue01f]"
)
UNSAFE_TARGET = re.compile(r"(?!https?:|mailto:)[a-z][a-z0-9+.-]*:", re.IGNORECASE)

FOOTER = "The footer of ours."


def dangers(posted: str) -> list[str]:
    """List what posting the text would trigger, each as a few words; empty if it is harmless."""
    tokens = MARKDOWN.parse(f"{posted}\n\n***\n\n{FOOTER}")
    found = [f"raw: {name}" for name, pattern in _RAW.items() if pattern.search(posted)]
    for token in _flatten(tokens):
        if token.type in {"html_block", "html_inline", "image"}:
            found.append(f"{token.type}: {token.content}")
        if token.type == "link_open" and UNSAFE_TARGET.match(str(token.attrs["href"])):
            found.append(f"link: {token.attrs['href']}")
    for token in tokens:
        if token.type == "inline":
            found += [
                f"mention: {node}"
                for node in text_nodes(token.children or [])
                if MENTION.search(node)
            ]
            if CLOSING.search(_text_for_filters(token.children or [])):
                found.append(f"closing: {token.content}")
    last = [(token.type, token.level) for token in tokens[-4:]]
    own = [("hr", 0), ("paragraph_open", 0), ("inline", 1), ("paragraph_close", 0)]
    return (
        found if last == own and tokens[-2].content == FOOTER else [*found, "swallows the footer"]
    )


SHORTHAND = re.compile(
    r"(?<![A-Za-z0-9&/])(?:[A-Za-z0-9-]+/[\w.-]+)?(?:#|GH-)[0-9]+\b", re.IGNORECASE
)

BARE_URL = re.compile(r"https?://[^\s<]+")  # GitHub links it, this parser does not


def backlinks(posted: str, host: str, known: Sequence[str] = ()) -> list[str]:
    """List the references that leave a "mentioned this" on `host`: shorthands in the text, and
    links.
    """
    target = re.compile(
        rf"https?://(?:www\.)?{re.escape(host)}/[^/]+/[^/]+/(?:issues|pull|discussions|commit)/\w",
        re.I,
    )
    found: list[str] = []
    for token in MARKDOWN.parse(posted):
        children = token.children or []
        texts = list(text_nodes(children)) if token.type == "inline" else []
        found += [one for text in texts for one in SHORTHAND.findall(BARE_URL.sub(" ", text))]
        found += [one for text in texts for one in target.findall(text)]
        hrefs = (str(child.attrs["href"]) for child in children if child.type == "link_open")
        found += [href for href in hrefs if target.match(href)]
    return [one for one in found if one not in known]


_RAW = {"command": COMMAND, "bot": BOT, "comment": re.compile("<!--"), "unseen": UNSEEN}


def text_nodes(children: Sequence[Token]) -> Iterator[str]:
    """Yield the text nodes of the HTML, outside of code and links."""
    node: list[str] = []
    links = 0
    for token in children:
        if token.type == "text":
            node.append(token.content if not links else "")
            continue
        links += {"link_open": 1, "link_close": -1}.get(token.type, 0)
        yield "".join(node)
        node = []
    yield "".join(node)


def _text_for_filters(children: Sequence[Token]) -> str:
    """Return the text that GitHub's filters examine; they skip code."""
    examined = (token for token in children if token.type not in {"image", "code_inline"})
    return "".join("\n" if token.type.endswith("break") else token.content for token in examined)


def _flatten(tokens: Sequence[Token]) -> Iterator[Token]:
    for token in tokens:
        yield token
        yield from _flatten(token.children or [])
