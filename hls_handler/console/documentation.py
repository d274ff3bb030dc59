"""The documentation of this version as pages: `/docs/running.md` is `docs/running.md` as HTML."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import cache
from itertools import pairwise
from typing import TYPE_CHECKING

from markupsafe import Markup
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from hls_handler import shipped
from hls_handler.console.frame import Frame

if TYPE_CHECKING:
    from markdown_it.token import Token


class DocumentationPages:
    """The pages need no key, because they contain nothing of the service's data."""

    def __init__(self, frame: Frame) -> None:
        self._frame = frame

    def routes(self) -> Sequence[BaseRoute]:
        return [Route("/docs/{name}", self._show)]

    def _show(self, request: Request) -> Response:
        name = request.path_params["name"]
        titles = shipped.list_documents()
        if name not in titles:
            raise HTTPException(404)
        return self._frame.render(
            request, "documentation.html", title=titles[name], titles=titles, body=_render(name)
        )


@cache  # of a few shipped files; a page takes up to 0.1 s
def _render(name: str) -> Markup:
    # here, because a service loads it only if a page is requested
    from markdown_it import (
        MarkdownIt,
    )

    parser = MarkdownIt("commonmark", {"html": False}).enable("table")
    tokens = parser.parse((shipped.DOCS / name).read_text(encoding="utf-8"))
    for heading, content in pairwise(tokens):
        if heading.type == "heading_open":
            heading.attrSet("id", _anchor(content.content))
    for token in tokens:
        if token.type == "table_open":
            token.attrSet("tabindex", "0")  # it scrolls on a phone
        if token.children:
            token.children = list(
                _drop_links_to_other_files(token.children, shipped.list_documents())
            )
    rendered = parser.renderer.render(tokens, parser.options, {})
    return Markup(rendered)  # noqa: S704 the files are shipped


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
