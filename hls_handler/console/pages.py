"""Renders the pages of the console. All text is escaped, and no page has an inline script or
style.
"""

from __future__ import annotations

import json
import re
from datetime import datetime
from functools import cache
from http import HTTPStatus
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined, pass_context
from jinja2.runtime import Context
from markupsafe import Markup
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Mount
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

from hls_handler import __version__
from hls_handler.untrusted.cleaning import escape_unprintable_lines, truncate
from hls_handler.wording import format_relative, format_seconds, format_usd

FOLDER = Path(__file__).parent
HEADERS = {
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
        "connect-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
    ),
    # Without it, browsers would send "Origin: null" with forms.
    "referrer-policy": "same-origin",
}
NAVIGATION = {
    "Overview": "/",
    "Deliveries": "/deliveries",
    "Prompts": "/prompts",
    "Batches": "/batches",
    "Figures": "/figures",
    "Log": "/log",
}
NOTHING = "\u2013"  # there is nothing to show
MAX_JSON_CHARACTERS = 100_000
MAX_PATH = 200  # characters of a path that an error quotes


def render(request: Request, template: str, *, status: int = 200, **variables: Any) -> Response:
    """Return the page. `variables` are those of the template besides `base.html`'s."""
    page = _environment().get_template(template).render(path=request.url.path, **variables)
    return HTMLResponse(page, status_code=status, headers=HEADERS)


def show_error(request: Request, error: HTTPException) -> Response:
    """Return the page about a request that no other page answers. Everybody may see it."""
    path = truncate(request.url.path, MAX_PATH)
    text = f"{error.detail[:1].upper()}{error.detail[1:]}."
    if error.detail == HTTPStatus.NOT_FOUND.phrase:
        text = f"There is no page {path}."
    elif error.detail == HTTPStatus.METHOD_NOT_ALLOWED.phrase:
        text = f"{path} does not answer to {request.method}."
    title = HTTPStatus(error.status_code).phrase
    page = render(
        request,
        "message.html",
        status=error.status_code,
        title=title,
        text=text,
        has_key=False,
        may_use=False,
    )
    page.headers.update(error.headers or {})
    return page


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(FOLDER / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=lambda value: escape_unprintable_lines(value) if type(value) is str else value,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "time": _format_time,
        "relative": _format_relative,
        "duration": format_duration,
        "json": _format_json,
        "number": "{:,}".format,
        "sentence": _to_sentence,
        "usd": format_usd,
    }
    environment.globals.update(navigation=NAVIGATION, version=__version__)
    return environment


def format_percent(percent: float | None) -> str:
    return NOTHING if percent is None else f"{percent:.1f}%"


def format_sum_usd(usd: float | None) -> str:
    return NOTHING if usd is None else format_usd(usd)


def format_duration(seconds: float | None) -> str:
    """Return "0.45 s", "12.5 s", "2.0 min", "3.1 h" or "4.2 d"."""
    if seconds is None:
        return NOTHING
    return format_seconds(seconds)


def _format_time(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%S}"


@pass_context
def _format_relative(context: Context, moment: datetime) -> Markup:
    """Filter: return "5 min ago" or "in 5 min" as an element with the time as its title.

    A macro of another template needs `import ... with context`, because the filter reads `now`.
    """
    return Markup('<time datetime="{}" title="{} UTC">{}</time>').format(
        moment.isoformat(), _format_time(moment), format_relative(moment, context["now"])
    )


def _to_sentence(text: str) -> str:
    """Filter: begin with an upper-case letter, unless the first word is a name such as "a/b" or
    "claude.model", and end with a full stop.
    """
    first = text.partition(" ")[0]
    if first.rstrip(",:").isalpha():
        text = f"{text[0].upper()}{text[1:]}"
    if text.endswith((".", "!", "?")):
        return text
    return f"{text}."


def _format_json(value: object) -> str:
    """Filter: return JSON for reading. Each line of a text is marked, so that it cannot imitate a
    key.
    """
    text = json.dumps(value, indent=2, ensure_ascii=False)
    lines = re.sub(r"\\(.)", lambda escape: "\n    | " if escape[1] == "n" else escape[0], text)
    return truncate(lines, MAX_JSON_CHARACTERS)


class _Files(StaticFiles):
    """Files that browsers keep. They ask each time whether a file has changed."""

    async def get_response(self, path: str, scope: Scope) -> Response:
        response = await super().get_response(path, scope)
        response.headers["cache-control"] = "no-cache"
        return response


STATIC = Mount("/static", _Files(directory=FOLDER / "static"))
"""`console.css` and `console.js` are ours. `htmx.min.js` is version 4.0.1 of the npm package
htmx.org, unchanged. `tests/console/make_styles.py` makes the other files from npm packages.
"""
