"""The rules that pages and API share: access, rendering, forms and errors."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from http import HTTPStatus
from inspect import iscoroutinefunction
from threading import Condition
from time import monotonic
from typing import Any, cast
from urllib.parse import parse_qsl, urlencode

from cachetools import TTLCache, cached
from markupsafe import Markup
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from hls_handler.console.access import Access
from hls_handler.console.endpoints import Endpoint
from hls_handler.console.pages import render
from hls_handler.console.queries import InvalidFilter, check_text
from hls_handler.engine.health import Health
from hls_handler.errors import StoreUnavailable
from hls_handler.github.api import RateLimit
from hls_handler.logs import LogRing
from hls_handler.prompting.library import ReloadingLibrary
from hls_handler.reports.documents import to_json
from hls_handler.settings.model import Settings
from hls_handler.store.storage import Storage
from hls_handler.web.receiver import BODY_TIMEOUT_S

MAX_FORM_BYTES = 64 * 1024
SIGN_IN = "/sign-in"
CSRF_FIELD = Markup('<input type="hidden" name="csrf_token" value="{}">')
"""Field that each form has."""
SESSION_ENDED = (
    "Your session has ended, and nothing was sent. Go back, copy what you wrote, and sign in again."
)
READ_ONLY = "you may only read here: server.viewers in the settings names you"
Answer = Callable[[Request], Response] | Callable[[Request], Awaitable[Response]]
"""Answers a request. A function that is no coroutine runs in a thread, because it may block."""

ApiAnswer = Callable[[Request, Any], Response] | Callable[[Request, Any], Awaitable[Response]]
"""The same with the value of the endpoint's query."""

Form = Mapping[str, str]
Process = Callable[[Request, Form], Response]
"""Processes a form. It runs in a thread, because it may block."""


@dataclass(frozen=True, slots=True)
class ConsolePorts:
    """Data and functions that the console uses; `hls_handler/app.py` passes them."""

    store: Storage
    now: Callable[[], float]  # seconds since 1970
    health: Health
    rate_limit: Callable[[], RateLimit]  # GitHub's rate limit, from GitHub's last response
    log_ring: LogRing  # the newest log lines of this process
    prompts: Callable[[], ReloadingLibrary]  # the prompt library in use
    has_webhooks: bool = True  # False: only other processes receive webhooks
    clock: Callable[[], float] = monotonic  # seconds
    form_timeout_s: float = BODY_TIMEOUT_S

    def cache(self, read: Callable[..., Any], *, max_age_s: float, max_entries: int = 1) -> Any:
        """Return `read` with a cache, which all threads share: one of them reads, and the others
        wait.
        """
        results = TTLCache[Any, Any](max_entries, max_age_s, timer=self.clock)
        return cached(results, condition=Condition())(read)


class Frame:
    """The frame of all pages and of the API, for one set of settings."""

    def __init__(self, settings: Settings, access: Access, ports: ConsolePorts) -> None:
        self.settings = settings
        self.access = access
        self.ports = ports

    def may_use(self, request: Request) -> bool:
        return self.access.find_rejection(request) is None and self.access.is_allowed(request)

    def page(self, path: str, show: Answer, *, for_others: Answer | None = None) -> Route:
        """Return the route of a page for people who may use the console.

        `for_others` answers others; without it, they are asked for the key.
        """

        async def guarded(request: Request) -> Response:
            if self.may_use(request):
                return await self._answer(request, _run(show, request))
            if "hx-request" in request.headers:  # the session ended while the page was open
                return Response(headers={"hx-refresh": "true"})
            if for_others is not None:
                return await _run(for_others, request)
            self.require_permitted_origin(request)
            address = request.url.path
            if request.url.query:
                address = f"{address}?{request.url.query}"
            return RedirectResponse(f"{SIGN_IN}?{urlencode({'next': address})}", 303)

        return Route(path, guarded, methods=["GET"])

    def form(self, path: str, process: Process, *, max_bytes: int = MAX_FORM_BYTES) -> Route:
        """Return the route of a form of people who may use the console."""

        async def read_and_process(request: Request) -> Response:
            return await asyncio.to_thread(
                process, request, await self.read_own_form(request, max_bytes=max_bytes)
            )

        async def guarded(request: Request) -> Response:
            self.require_permitted_origin(request)
            if not self.access.is_allowed(request):
                return self.message(request, SESSION_ENDED, status=401)
            if not self.access.may_write(request):
                return self.message(request, f"{READ_ONLY.capitalize()}.", status=403)
            return await self._answer(request, read_and_process(request))

        return Route(path, guarded, methods=["POST"])

    async def _answer(self, request: Request, answer: Awaitable[Response]) -> Response:
        try:
            return await answer
        except InvalidFilter as exc:
            text = f"{exc.detail}."
            status = exc.status_code
        except HTTPException as exc:
            text = f"{exc.detail[:1].upper()}{exc.detail[1:]}."
            status = exc.status_code
        except StoreUnavailable:
            text = "The database cannot be read now. /health says why."
            status = 503
        return self.message(request, text, status=status)

    def endpoint(self, endpoint: Endpoint, answer: ApiAnswer) -> Sequence[Route]:
        """Return the routes of an endpoint. `answer` gets the value of its query."""

        async def guarded(request: Request) -> Response:
            self._require_program(request)
            query = endpoint.query.parse(request.query_params)
            for name, _ in request.query_params.multi_items():
                if len(request.query_params.getlist(name)) > 1:
                    raise InvalidFilter(f"{name}: given more than once")
            try:
                return await _run(answer, request, query)
            except StoreUnavailable:
                raise HTTPException(503, "the database cannot be read now; see /health") from None

        paths = (endpoint.path, endpoint.other_path)
        return [
            Route(path, guarded, methods=[endpoint.method]) for path in paths if path is not None
        ]

    def require_permitted_origin(self, request: Request) -> None:
        rejection = self.access.find_rejection(request)
        if rejection is not None:
            raise rejection

    def _require_program(self, request: Request) -> None:
        self.require_permitted_origin(request)
        if not self.access.is_allowed(request):
            raise HTTPException(
                401, "send the service's key (server.api_key) in the header X-API-Key"
            )
        if request.method == "POST" and not self.access.is_program(request):
            raise HTTPException(
                403, "send the key in the header X-API-Key; without a key, send no Origin"
            )
        if request.method == "POST" and not self.access.may_write(request):
            raise HTTPException(403, READ_ONLY)

    def render(
        self, request: Request, template: str, *, status: int = 200, **variables: object
    ) -> Response:
        now = datetime.fromtimestamp(self.access.now(), UTC)
        return render(
            request,
            template,
            status=status,
            csrf_field=CSRF_FIELD.format(self.access.csrf_token(request)),
            has_key=self.access.has_key,
            may_use=self.may_use(request),
            may_write=self.access.may_write(request),
            user=self.access.find_user(request),
            shorten=self.settings.shorten_paths,
            **{"now": now, **variables},
        )

    def person(self, request: Request) -> str:
        """Return who sends a permitted request, for the log. No login has a space."""
        user = self.access.find_user(request)
        if user is not None:
            return user
        return "API key" if self.access.has_key else "local browser"

    def message(self, request: Request, text: str, *, status: int) -> Response:
        return self.render(
            request, "message.html", status=status, title=HTTPStatus(status).phrase, text=text
        )

    async def read_own_form(self, request: Request, *, max_bytes: int = MAX_FORM_BYTES) -> Form:
        """Return the fields of a form of this console. Raises `HTTPException` if it is not one, or
        too large.
        """
        body = bytearray()
        timeout_s = self.ports.form_timeout_s
        try:
            async with asyncio.timeout(timeout_s):
                async for chunk in request.stream():
                    body += chunk
                    if len(body) > max_bytes:
                        raise HTTPException(413, f"a form may have {max_bytes} bytes")
        except TimeoutError:
            raise HTTPException(408, f"the form did not arrive within {timeout_s:g} s") from None
        # also if the body is malformed, which the server has answered with 400
        except ClientDisconnect:
            raise HTTPException(400, "the form did not arrive completely") from None
        try:
            text = body.decode("utf-8")
            fields = parse_qsl(text, keep_blank_values=True, strict_parsing=bool(body))
            form = {check_text(name): check_text(value) for name, value in fields}
        except ValueError:
            raise HTTPException(
                400, "expected a form (application/x-www-form-urlencoded) without the character NUL"
            ) from None
        if not self.access.is_own_form(request, form.get("csrf_token", "")):
            raise HTTPException(403, "the form is too old: load the page again")
        return form


class Pages:
    """Pages with the same frame."""

    def __init__(self, frame: Frame) -> None:
        self._frame = frame
        self._store = frame.ports.store


async def _run(answer: Callable[..., Any], *arguments: object) -> Response:
    if iscoroutinefunction(answer):
        return cast(Response, await answer(*arguments))
    return cast(Response, await asyncio.to_thread(answer, *arguments))


def send_json(request: Request, document: object, *, status: int = 200) -> Response:
    """Return the document as JSON with an ETag; 304 without a body if the client has it already."""
    body = to_json(document).encode()
    tag = f'"{sha256(body).hexdigest()[:32]}"'
    headers = {"etag": tag}
    if request.method != "POST" and tag in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=headers)
    return Response(body, status, headers=headers, media_type="application/json")
