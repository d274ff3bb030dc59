"""The routes of the console."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import TypeVar
from urllib.parse import parse_qsl, urlencode

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from hls_handler.console.access import Access, Attempts
from hls_handler.console.api import Api
from hls_handler.console.deliveries import (
    STATES,
    InvalidFilter,
    describe_conversation,
    describe_event,
    find_delivery,
    parse_search,
    to_query,
)
from hls_handler.console.pages import STATIC, render
from hls_handler.errors import StoreUnavailable
from hls_handler.reports.delivery_report import describe_steps, format_report, load_report
from hls_handler.reports.retry import retry_delivery
from hls_handler.settings.model import Settings
from hls_handler.storage import Storage

MAX_FORM_BYTES = 64 * 1024
SIGN_IN = "/sign-in"

_T = TypeVar("_T")
_Page = Callable[[Request], Awaitable[Response]]
_Form = Mapping[str, str]


class Console:
    """The console of one process."""

    def __init__(self, store: Storage, *, now: Callable[[], float]) -> None:
        """`now` returns seconds since 1970."""
        self._store, self._now = store, now
        self._own_key, self._attempts = secrets.token_bytes(32), Attempts()

    def routes(self, settings: Settings) -> Sequence[BaseRoute]:
        """Return the routes for these settings."""
        access = Access(settings, self._own_key, self._attempts, self._now)
        pages = _Pages(self._store, settings, access)
        return [
            Route("/deliveries", pages.guard(pages.list_deliveries)),
            Route("/deliveries/{guid}", pages.guard(pages.show_delivery)),
            Route("/deliveries/{guid}/retry", pages.guard(pages.retry), methods=["POST"]),
            Route(SIGN_IN, pages.show_sign_in, methods=["GET"]),
            Route(SIGN_IN, pages.sign_in, methods=["POST"]),
            Route("/sign-out", pages.guard(pages.sign_out), methods=["POST"]),
            STATIC,
            *Api(self._store, settings, access).routes(),
        ]


class _Pages:
    def __init__(self, store: Storage, settings: Settings, access: Access) -> None:
        self._store, self._access = store, access
        self._body_days_source = settings.sources.where("storage.body_days")
        self._body_timeout_s = settings.server.body_timeout_s

    def guard(self, page: _Page) -> _Page:
        """Return the page for people who may use the console; others are asked for the key."""

        async def guarded(request: Request) -> Response:
            refusal = self._refuse(request)
            if refusal is not None:
                return refusal
            if not self._access.is_allowed(request):
                wanted = request.url.path + (f"?{request.url.query}" if request.url.query else "")
                return RedirectResponse(f"{SIGN_IN}?{urlencode({'next': wanted})}", 303)
            try:
                return await page(request)
            except StoreUnavailable:
                return self._message(request, "The database cannot be read now. /health says why.", status=503)

        return guarded

    def _refuse(self, request: Request) -> Response | None:
        if not self._access.is_on:
            raise HTTPException(404, "the console is off: set server.api_key, because others may reach this service")
        if not self._access.is_known_host(request):
            raise HTTPException(403, "open the console as http://127.0.0.1 or http://localhost, or set server.api_key")
        return None

    def _message(self, request: Request, text: str, *, status: int) -> Response:
        return self._render(request, "message.html", status=status, title="HLS", text=text)

    def _render(self, request: Request, template: str, *, status: int = 200, **variables: object) -> Response:
        token = self._access.csrf_token(request)
        needs_key = self._access.needs_key
        return render(request, template, status=status, csrf_token=token, needs_key=needs_key, **variables)

    async def list_deliveries(self, request: Request) -> Response:
        try:
            search = parse_search(request.query_params)
        except InvalidFilter as exc:
            return self._message(request, f"{exc}.", status=400)
        found = await asyncio.to_thread(self._store.searches.find, search)
        return self._render(
            request,
            "deliveries.html",
            rows=[(row, describe_event(row), describe_conversation(row)) for row in found.rows],
            search=search,
            given=dict(request.query_params),
            states=STATES,
            is_complete=found.is_complete,
            next_query=None if found.next is None else to_query(request.query_params, before=found.next),
            first_query=to_query(request.query_params, before=None) if search.before else None,
        )

    async def show_delivery(self, request: Request) -> Response:
        return await self._show(request, request.path_params["guid"])

    async def _show(self, request: Request, guid: str, *, said: str = "", status: int = 200) -> Response:
        row = await find_delivery(self._store, guid)
        if row is None:
            return self._message(request, f"There is no delivery {guid}, or it was deleted.", status=404)
        report = await asyncio.to_thread(load_report, self._store, row)
        _, *sentences = format_report(report)  # the first one names the delivery
        return self._render(
            request,
            "delivery.html",
            status=status,
            report=report,
            row=row,
            event=describe_event(row),
            conversation=describe_conversation(row),
            sentences=[sentence.strip() for sentence in sentences],
            steps=tuple(describe_steps(report)),
            said=said,
            can_retry=row.state in ("dead", "queued"),
        )

    async def retry(self, request: Request) -> Response:
        form = await self._read_form(request)
        row = await find_delivery(self._store, request.path_params["guid"])
        if row is None:
            return self._message(request, "There is no such delivery, or it was deleted.", status=404)
        self._require_own(request, form)
        run = partial(retry_delivery, body_days_source=self._body_days_source)
        result = await asyncio.to_thread(run, self._store, row)
        return await self._show(request, row.guid, said=f"{result.sentence}.", status=200 if result.is_queued else 409)

    async def show_sign_in(self, request: Request) -> Response:
        self._refuse(request)
        return self._sign_in_page(request, _local_path(request.query_params.get("next")))

    def _sign_in_page(self, request: Request, wanted: str, *, problem: str = "", status: int = 200) -> Response:
        if not self._access.needs_key:
            return RedirectResponse(wanted, 303)
        return self._render(request, "sign_in.html", status=status, wanted=wanted, problem=problem)

    async def sign_in(self, request: Request) -> Response:
        self._refuse(request)
        form = await self._read_form(request)
        wanted = _local_path(form.get("next"))
        self._require_own(request, form)
        if not self._access.may_try():
            problem = "There were ten wrong keys within a minute. Wait a minute."
            return self._sign_in_page(request, wanted, problem=problem, status=429)
        response = RedirectResponse(wanted, 303)
        if self._access.sign_in(form.get("key", ""), response):
            return response
        problem = "This is not the key. It is server.api_key in the settings."
        return self._sign_in_page(request, wanted, problem=problem, status=401)

    async def sign_out(self, request: Request) -> Response:
        self._require_own(request, await self._read_form(request))
        response = RedirectResponse(SIGN_IN, 303)
        self._access.sign_out(response)
        return response

    def _require_own(self, request: Request, form: _Form) -> None:
        if not self._access.is_own_form(request, form.get("csrf_token", "")):
            raise HTTPException(403, "the form is too old, or of another site: load the page again")

    async def _read_form(self, request: Request) -> _Form:
        body = bytearray()
        try:
            async with asyncio.timeout(self._body_timeout_s):
                async for chunk in request.stream():
                    body += chunk
                    if len(body) > MAX_FORM_BYTES:
                        raise HTTPException(413, f"a form may have {MAX_FORM_BYTES} bytes")
        except TimeoutError:
            raise HTTPException(408, f"the form did not arrive within {self._body_timeout_s:g} s") from None
        try:
            return dict(parse_qsl(body.decode("utf-8"), keep_blank_values=True, strict_parsing=bool(body)))
        except ValueError:
            raise HTTPException(400, "expected a form (application/x-www-form-urlencoded)") from None


def _local_path(given: str | None) -> str:
    """Return the path if it is one of this service, else that of the deliveries."""
    is_local = given is not None and given.startswith("/") and not given.startswith(("//", "/\\"))
    return given if given is not None and is_local and given.isprintable() else "/deliveries"
