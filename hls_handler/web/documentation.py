"""The documentation of this version as pages: `/docs/operating.md` is `docs/operating.md` as HTML."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import html
import re
from collections.abc import Iterator
from functools import cache
from itertools import pairwise
from typing import TYPE_CHECKING

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

from hls_handler import shipped

if TYPE_CHECKING:
    from markdown_it.token import Token

STYLE = (
    "body{max-width:60em;margin:2em auto;padding:0 1em;font-family:sans-serif;line-height:1.5}"
    "table{border-collapse:collapse}td,th{border:1px solid #ccc;padding:.3em .6em;vertical-align:top}"
    "pre{background:#f4f4f4;padding:.8em;overflow-x:auto}code{background:#f4f4f4}"
)
_STYLE_HASH = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()
HEADERS = {
    "content-security-policy": f"default-src 'none'; style-src 'sha256-{_STYLE_HASH}'; frame-ancestors 'none'",
    "cache-control": "public, max-age=3600",
}
PAGE = """<!DOCTYPE html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>{title} · HLS</title>
<style>{style}</style>
{body}
</html>
"""


@cache
def list_titles() -> dict[str, str]:
    """Return the title of each page by its file name: "operating.md" -> "Operating HLS"."""
    titles = {path.name: _first_line(path.read_text(encoding="utf-8")) for path in shipped.DOCS.glob("*.md")}
    return dict(sorted(titles.items()))


def _first_line(text: str) -> str:
    return text.partition("\n")[0].removeprefix("# ").replace("`", "")


async def _show(request: Request) -> Response:
    name = request.path_params["name"]
    if name not in list_titles():
        raise HTTPException(404)
    return HTMLResponse(await asyncio.to_thread(_render, name), headers=HEADERS)


ROUTE = Route("/docs/{name}", _show)


@cache  # of a few shipped files; a page takes up to 0.1 s
def _render(name: str) -> str:
    from markdown_it import MarkdownIt  # here, because a service loads it only if a page is requested

    text, names = (shipped.DOCS / name).read_text(encoding="utf-8"), list_titles()
    parser = MarkdownIt("commonmark", {"html": False}).enable("table")
    tokens = parser.parse(text)
    for heading, content in pairwise(tokens):
        if heading.type == "heading_open":
            heading.attrSet("id", _anchor(content.content))
    for token in tokens:
        if token.children:
            token.children = list(_drop_links_to_other_files(token.children, names))
    body = parser.renderer.render(tokens, parser.options, {})
    return PAGE.format(title=html.escape(_first_line(text)), style=STYLE, body=body)


def _anchor(heading: str) -> str:
    """Return the anchor that GitHub gives a heading: "Cost of an event" -> "cost-of-an-event"."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def _drop_links_to_other_files(tokens: list[Token], names: dict[str, str]) -> Iterator[Token]:
    """Yield the tokens without links to files that the service does not serve, such as "../compose.yaml"."""
    is_dropped = False
    for token in tokens:
        if token.type == "link_open":
            target = str(token.attrs["href"])
            is_dropped = not target.startswith(("https:", "#")) and target.partition("#")[0] not in names
        if not (is_dropped and token.type in ("link_open", "link_close")):
            yield token
