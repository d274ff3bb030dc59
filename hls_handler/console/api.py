"""The API: the pages about deliveries as JSON. Errors are problem details (RFC 9457)."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from hashlib import sha256
from http import HTTPStatus

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from hls_handler.console.access import Access
from hls_handler.console.deliveries import InvalidFilter, find_delivery, parse_search, to_query
from hls_handler.errors import StoreUnavailable
from hls_handler.reports.delivery_report import load_report
from hls_handler.reports.json_documents import deliveries_to_dict, report_to_dict
from hls_handler.reports.retry import retry_delivery
from hls_handler.settings.model import Settings
from hls_handler.storage import Storage

DELIVERIES = "/api/deliveries"


class Problem(Exception):
    def __init__(self, status: int, detail: str) -> None:
        super().__init__(detail)
        self.status, self.detail = status, detail

    def respond(self) -> Response:
        title = HTTPStatus(self.status).phrase
        content = {"type": "about:blank", "title": title, "status": self.status, "detail": self.detail}
        return Response(json.dumps(content), self.status, media_type="application/problem+json")


class Api:
    """The routes for one set of settings."""

    def __init__(self, store: Storage, settings: Settings, access: Access) -> None:
        self._store, self._access = store, access
        self._body_days_source = settings.sources.where("storage.body_days")

    def routes(self) -> Sequence[BaseRoute]:
        guid = DELIVERIES + "/{guid}"
        return [
            Route(DELIVERIES, self._guard(self._list)),
            Route(guid, self._guard(self._show)),
            Route(f"{guid}/retry", self._guard(self._retry), methods=["POST"]),
        ]

    def _guard(self, answer: Callable[[Request], Awaitable[Response]]) -> Callable[[Request], Awaitable[Response]]:
        async def guarded(request: Request) -> Response:
            try:
                self._require_access(request)
                return await answer(request)
            except Problem as exc:
                return exc.respond()
            except StoreUnavailable:
                return Problem(503, "the database cannot be read now; see /health").respond()

        return guarded

    def _require_access(self, request: Request) -> None:
        if not self._access.is_on:
            raise Problem(404, "the API is off: set server.api_key, because others may reach this service")
        if not self._access.is_known_host(request):
            raise Problem(403, "use http://127.0.0.1 or http://localhost, or set server.api_key")
        if not self._access.is_allowed(request):
            raise Problem(401, "send the service's key (server.api_key) in the header X-API-Key")
        if request.method == "POST" and not self._access.is_program(request):
            raise Problem(403, "send the key in the header X-API-Key; without a key, send no Origin")

    async def _list(self, request: Request) -> Response:
        try:
            search = parse_search(request.query_params)
        except InvalidFilter as exc:
            raise Problem(400, str(exc)) from None
        found = await asyncio.to_thread(self._store.searches.find, search)
        pauses = await asyncio.to_thread(self._store.pauses.active)
        following = None if found.next is None else f"{DELIVERIES}?{to_query(request.query_params, before=found.next)}"
        document = deliveries_to_dict(found.rows, pauses)
        return _respond(request, {**document, "next": following, "is_complete": found.is_complete})

    async def _show(self, request: Request) -> Response:
        row = await find_delivery(self._store, request.path_params["guid"])
        if row is None:
            raise Problem(404, "there is no such delivery, or it was deleted")
        return _respond(request, report_to_dict(await asyncio.to_thread(load_report, self._store, row)))

    async def _retry(self, request: Request) -> Response:
        row = await find_delivery(self._store, request.path_params["guid"])
        if row is None:
            raise Problem(404, "there is no such delivery, or it was deleted")
        run = partial(retry_delivery, body_days_source=self._body_days_source)
        result = await asyncio.to_thread(run, self._store, row)
        if not result.is_queued:
            raise Problem(409, result.sentence)
        return _respond(request, {"delivery": row.guid, "detail": result.sentence}, status=202)


def _respond(request: Request, document: object, *, status: int = 200) -> Response:
    """Return the document as JSON with an ETag; 304 without a body if the client has it already."""
    body = json.dumps(document).encode()
    tag = f'"{sha256(body).hexdigest()[:32]}"'
    headers = {"etag": tag}
    if request.method != "POST" and tag in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=headers)
    return Response(body, status, headers=headers, media_type="application/json")
