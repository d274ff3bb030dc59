"""Addresses of pages on GitHub."""

from __future__ import annotations

import re
from urllib.parse import quote

RENDERED = (".md", ".markdown", ".mdx", ".rst")

CONVERSATION_OR_RUN = re.compile(r"/(?:issues|pull|(?:actions/)?runs)/[0-9]+$")


def permalink(
    html_url: str, commit: str, path: str, line: int | None, *, start: int | None = None
) -> str:
    """Return the address of a file at a commit, or of the lines from `start` to `line`; "" if it is
    unknown.

    `html_url` is that of an issue, a pull request or a run of the repository.
    """
    if not commit:
        return ""
    place = f"blob/{commit}/{quote(path)}"
    if path.lower().endswith(RENDERED):
        place += "?plain=1"
    if line is None:
        return web_url(html_url, place)
    if start in (None, line):
        return web_url(html_url, f"{place}#L{line}")
    return web_url(html_url, f"{place}#L{start}-L{line}")


def web_url(html_url: str, path: str) -> str:
    """Return the address of `path` in the repository whose issue, pull request or run has
    `html_url`.
    """
    match = CONVERSATION_OR_RUN.search(html_url)
    if match is None:
        return ""
    return f"{html_url[: match.start()]}/{path}"
