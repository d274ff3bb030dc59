"""The pages about deliveries: the list, and one delivery with all that is known about it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import partial

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute

from hls_handler.console.delivery_search import (
    STATES,
    InvalidFilter,
    describe_conversation,
    describe_event,
    find_delivery,
    parse_search,
    to_query,
)
from hls_handler.console.frame import Frame
from hls_handler.history.statistics import DeliveryRow
from hls_handler.reports.delivery_report import describe_steps, format_report, load_report
from hls_handler.reports.retry import retry_delivery
from hls_handler.storage import Storage


class DeliveryPages:
    def __init__(self, frame: Frame, store: Storage) -> None:
        self._frame, self._store = frame, store

    def routes(self) -> Sequence[BaseRoute]:
        return [
            self._frame.page("/deliveries", self._list),
            self._frame.page("/deliveries/{guid}", self._show),
            self._frame.page("/deliveries/{guid}/retry", self._retry, method="POST"),
        ]

    async def _list(self, request: Request) -> Response:
        try:
            search = parse_search(request.query_params)
        except InvalidFilter as exc:
            return self._frame.message(request, f"{exc}.", status=400)
        found = await asyncio.to_thread(self._store.searches.find, search)
        return self._frame.render(
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

    async def _show(self, request: Request) -> Response:
        row = await find_delivery(self._store, request.path_params["guid"])
        return self._missing(request) if row is None else await self._page(request, row)

    def _missing(self, request: Request) -> Response:
        guid = request.path_params["guid"]
        return self._frame.message(request, f"There is no delivery {guid}, or it was deleted.", status=404)

    async def _page(self, request: Request, row: DeliveryRow, *, said: str = "", status: int = 200) -> Response:
        report = await asyncio.to_thread(load_report, self._store, row)
        _, *sentences = format_report(report)  # the first one names the delivery
        return self._frame.render(
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

    async def _retry(self, request: Request) -> Response:
        await self._frame.read_own_form(request)
        row = await find_delivery(self._store, request.path_params["guid"])
        if row is None:
            return self._missing(request)
        run = partial(retry_delivery, body_days_source=self._frame.settings.sources.where("storage.body_days"))
        result = await asyncio.to_thread(run, self._store, row)
        now = await find_delivery(self._store, row.guid) or row
        return await self._page(request, now, said=f"{result.sentence}.", status=200 if result.is_queued else 409)
