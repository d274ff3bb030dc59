"""The API: the pages about deliveries as JSON. Errors are problem details (RFC 9457)."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import partial

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute

from hls_handler.console.delivery_search import InvalidFilter, find_delivery, parse_search, to_query
from hls_handler.console.frame import Frame, Problem, send_json
from hls_handler.history.statistics import DeliveryRow
from hls_handler.reports.delivery_report import load_report
from hls_handler.reports.json_documents import DeliveriesPage, deliveries_to_dict, report_to_dict
from hls_handler.reports.retry import retry_delivery
from hls_handler.storage import Storage

DELIVERIES = "/api/deliveries"


class Api:
    """The routes for one set of settings."""

    def __init__(self, frame: Frame, store: Storage) -> None:
        self._frame, self._store = frame, store

    def routes(self) -> Sequence[BaseRoute]:
        guid = DELIVERIES + "/{guid}"
        return [
            self._frame.endpoint(DELIVERIES, self._list),
            self._frame.endpoint(guid, self._show),
            self._frame.endpoint(f"{guid}/retry", self._retry, method="POST"),
        ]

    async def _list(self, request: Request) -> Response:
        try:
            search = parse_search(request.query_params)
        except InvalidFilter as exc:
            raise Problem(400, str(exc)) from None
        found = await asyncio.to_thread(self._store.searches.find, search)
        pauses = await asyncio.to_thread(self._store.pauses.active)
        following = None if found.next is None else f"{DELIVERIES}?{to_query(request.query_params, before=found.next)}"
        page: DeliveriesPage = {
            **deliveries_to_dict(found.rows, pauses),
            "next": following,
            "is_complete": found.is_complete,
        }
        return send_json(request, page)

    async def _show(self, request: Request) -> Response:
        row = await self._find(request)
        return send_json(request, report_to_dict(await asyncio.to_thread(load_report, self._store, row)))

    async def _find(self, request: Request) -> DeliveryRow:
        row = await find_delivery(self._store, request.path_params["guid"])
        if row is None:
            raise Problem(404, "there is no such delivery, or it was deleted")
        return row

    async def _retry(self, request: Request) -> Response:
        row = await self._find(request)
        run = partial(retry_delivery, body_days_source=self._frame.settings.sources.where("storage.body_days"))
        result = await asyncio.to_thread(run, self._store, row)
        if not result.is_queued:
            raise Problem(409, result.sentence)
        return send_json(request, {"delivery": row.guid, "detail": result.sentence}, status=202)
