"""The API: deliveries and analyses as JSON. Errors are problem details (RFC 9457)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from urllib.parse import urlencode

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute

from hls_handler.console.endpoints import (
    ANALYSIS_ID,
    LIST_ANALYSES,
    LIST_DELIVERIES,
    RETRY_DELIVERIES,
    RETRY_DELIVERY,
    SHOW_ANALYSIS,
    SHOW_DELIVERY,
    AnalysesDocument,
    AnalysisDocument,
    RetriesDocument,
    RetryDocument,
)
from hls_handler.console.frame import Pages, send_json
from hls_handler.console.queries import (
    MAX_OFFSET,
    AnalysesQuery,
    DeliveriesQuery,
    Query,
    RetryQuery,
    require_delivery,
)
from hls_handler.events import event_key
from hls_handler.reports.delivery_list import DeliveriesPage, list_deliveries
from hls_handler.reports.delivery_report import load_report
from hls_handler.reports.documents import fill
from hls_handler.reports.retry import retry_delivery, retry_matching
from hls_handler.store.analyses import AnalysisRow


class ConsoleApi(Pages):
    def routes(self) -> Sequence[BaseRoute]:
        return [
            *self._frame.endpoint(LIST_ANALYSES, self._list_analyses),
            *self._frame.endpoint(SHOW_ANALYSIS, self._show_analysis),
            *self._frame.endpoint(LIST_DELIVERIES, self._list),
            *self._frame.endpoint(RETRY_DELIVERIES, self._retry_all),
            *self._frame.endpoint(SHOW_DELIVERY, self._show),
            *self._frame.endpoint(RETRY_DELIVERY, self._retry),
        ]

    def _list_analyses(self, request: Request, given: AnalysesQuery) -> Response:
        search = given.search()
        page = self._store.analyses.find(search)
        following = search.offset + search.limit
        can_go_on = following <= MAX_OFFSET
        query = urlencode({**request.query_params, "offset": following})
        document: AnalysesDocument = {
            "analyses": [_analysis_to_dict(row) for row in page.rows],
            "limit": search.limit,
            "offset": search.offset,
            "next": f"{request.url.path}?{query}" if page.has_more and can_go_on else None,
            "is_complete": can_go_on or not page.has_more,
        }
        return send_json(request, document)

    def _show_analysis(self, request: Request, _query: Query) -> Response:
        given: str = request.path_params["id"]
        guid, _, index = given.partition(":")
        is_id = re.fullmatch(ANALYSIS_ID, given, re.ASCII)
        row = self._store.analyses.get(guid, int(index)) if is_id else None
        if row is None:
            raise HTTPException(404, "there is no such analysis, or it was deleted")
        return send_json(request, _analysis_to_dict(row))

    def _list(self, request: Request, given: DeliveriesQuery) -> Response:
        search = replace(given.search(self._store.now()), before=given.before)
        page = self._store.searches.find(search)
        following = None
        if page.next is not None:
            query = urlencode({**request.query_params, "before": page.next})
            following = f"{LIST_DELIVERIES.path}?{query}"
        document = DeliveriesPage(list_deliveries(self._store, page.rows), following)
        return send_json(request, document)

    def _show(self, request: Request, _query: Query) -> Response:
        row = require_delivery(self._store, request)
        return send_json(request, load_report(self._store, row))

    def _retry(self, request: Request, _query: Query) -> Response:
        row = require_delivery(self._store, request)
        result = retry_delivery(
            self._store, row, self._frame.settings, by=self._frame.person(request)
        )
        if not result.is_queued:
            raise HTTPException(409, result.sentence)
        document: RetryDocument = {"delivery": row.guid, "detail": result.sentence}
        return send_json(request, document, status=202)

    def _retry_all(self, request: Request, given: RetryQuery) -> Response:
        by = self._frame.person(request)
        search = given.search(self._store.now())
        result = retry_matching(
            self._store, search, self._frame.settings, number=given.number, by=by
        )
        if result.changed is None:
            raise HTTPException(409, result.sentence)
        document: RetriesDocument = {
            "queued": result.changed,
            "detail": result.sentence,
            "query": result.query,
        }
        return send_json(request, document, status=202)


def _analysis_to_dict(row: AnalysisRow) -> AnalysisDocument:
    return fill(
        AnalysisDocument,
        row,
        id=f"{row.guid}:{row.index}",
        delivery=row.guid,
        event=event_key(row.event, row.action),
        created_at=row.analysed_at,
        tokens={
            "input": row.input_tokens,
            "output": row.output_tokens,
            "cache_write": row.cache_write_tokens,
            "cache_read": row.cache_read_tokens,
        },
    )
