"""The documentation of this version as pages: `/docs/running.md` is `docs/running.md` as HTML."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

from markupsafe import Markup
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from hls_handler.console.frame import Pages
from hls_handler.settings import shipped
from hls_handler.settings.reference import REQUIRED

if TYPE_CHECKING:
    from markdown_it.token import Token

KEY_COLUMNS = ["key", "meaning", "default"]
"""The columns of the tables of settings, whose rows are shown as blocks."""

UNBROKEN_CODE = 45
"""Characters of code that fit into a line on a phone. Longer code is broken, if needed."""

_KEY = Markup(
    '<dl class="key" id="{path}"><dt>{0} <span class="quiet">{default}</span></dt>\n'
    "<dd>{1}</dd></dl>"
)
"""A key of the settings; the numbers are those of `KEY_COLUMNS`."""


@dataclass(frozen=True, slots=True)
class PageBlock:
    """A heading, paragraph, list or table of a page, or a key of the settings."""

    html: Markup
    title: str  # of the heading itself, or of the one above the block
    level: int = 0  # 2 for a heading <h2>; 0: no heading
    text: str = ""  # that the filter searches, in lower case; "" of a heading

    @property
    def anchor(self) -> str:
        return _anchor(self.title)


class DocumentationPages(Pages):
    """The pages need no key, because they contain nothing of the service's data."""

    def routes(self) -> Sequence[BaseRoute]:
        return [Route("/docs", self._show_index), Route("/docs/{name}", self._show)]

    def _show_index(self, request: Request) -> Response:
        documents = shipped.group_documents()
        return self._frame.render(request, "documents.html", documents=documents)

    def _show(self, request: Request) -> Response:
        name = request.path_params["name"]
        titles = shipped.list_documents()
        if name not in titles:
            raise HTTPException(404)
        blocks = _read_blocks(name)
        text = request.query_params.get("q", "").strip()
        return self._frame.render(
            request,
            "documentation.html",
            title=titles[name],
            contents=[block for block in blocks if block.level > 1],
            blocks=_filter(blocks, text.lower()),
            text=text,
        )


def _filter(blocks: Sequence[PageBlock], text: str) -> Sequence[PageBlock]:
    """Return the blocks that contain the text, or whose heading does, with the headings above."""
    matching: list[PageBlock] = []
    level = 2  # the page's own heading is always shown
    for block in reversed(blocks):
        if 0 < block.level < level:
            matching.append(block)
            level = block.level
        elif block.level == 0 and text in block.text:
            matching.append(block)
            level = 7  # the next heading is shown, whichever level it has
    return matching[::-1]


@cache  # of a few shipped files; a page takes up to 0.2 s
def _read_blocks(name: str) -> Sequence[PageBlock]:
    # here, because a service loads it only if a page is requested
    from markdown_it import (
        MarkdownIt,
    )

    parser = MarkdownIt("commonmark", {"html": False}).enable("table")
    tokens = parser.parse((shipped.DOCS / name).read_text(encoding="utf-8"))
    for token in tokens:
        if token.type in ("table_open", "fence"):
            token.attrSet("tabindex", "0")  # it scrolls on a phone
        if token.children:
            titles = shipped.list_documents()
            token.children = list(_drop_links_to_other_files(token.children, titles))
        for part in token.children or ():
            if part.type == "code_inline" and len(part.content) > UNBROKEN_CODE:
                part.attrSet("class", "long")

    def render(part: Sequence[Token]) -> Markup:
        rendered = parser.renderer.render(part, parser.options, {})
        return Markup(rendered)  # noqa: S704 the files are shipped

    return tuple(_iter_blocks(tokens, render))


def _iter_blocks(
    tokens: Sequence[Token], render: Callable[[Sequence[Token]], Markup]
) -> Iterator[PageBlock]:
    title = ""
    block: list[Token] = []
    for token in tokens:
        block.append(token)
        if token.level > 0 or token.nesting > 0:
            continue  # the block has not ended
        texts = [part for part in block if part.type == "inline"]
        if token.type == "heading_close":
            title = texts[0].content.replace("`", "")
            block[0].attrSet("id", _anchor(title))
            yield PageBlock(render(block), title, int(token.tag[1:]))
        elif [cell.content for cell in texts[:3]] == KEY_COLUMNS:
            for start in range(3, len(texts), 3):
                cells = [render([cell]) for cell in texts[start : start + 3]]
                yield _make_block(_render_key(cells), title)
        else:
            yield _make_block(render(block), title)
        block = []


def _make_block(html: Markup, title: str) -> PageBlock:
    return PageBlock(html, title, text=f"{title} {html.striptags()}".lower())


def _render_key(cells: Sequence[Markup]) -> Markup:
    default = cells[2]
    if default.striptags() != REQUIRED:
        default = Markup("default {}").format(default)
    return _KEY.format(*cells, path=cells[0].striptags(), default=default)


def _anchor(heading: str) -> str:
    """Return the anchor that GitHub gives a heading: "Cost of an event" -> "cost-of-an-event"."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def _drop_links_to_other_files(tokens: list[Token], names: dict[str, str]) -> Iterator[Token]:
    """Yield the tokens without links to files that the service does not serve, such as
    "../compose.yaml".
    """
    is_dropped = False
    for token in tokens:
        if token.type == "link_open":
            target = str(token.attrs["href"])
            is_dropped = (
                not target.startswith(("https:", "#")) and target.partition("#")[0] not in names
            )
        if not (is_dropped and token.type in ("link_open", "link_close")):
            yield token
