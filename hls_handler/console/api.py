"""The API: deliveries and analyses as JSON. Errors are problem details (RFC 9457)."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from urllib.parse import urlencode

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute

from hls_handler.console.delivery_search import parse_retried, parse_search, parse_time, require_delivery, to_query
from hls_handler.console.endpoints import (
    ANALYSIS_ID,
    LIST_ANALYSES,
    LIST_DELIVERIES,
    MAX_LIMIT,
    MAX_NUMBER,
    MAX_OFFSET,
    REPOSITORY,
    RETRY_DELIVERIES,
    RETRY_DELIVERY,
    SHOW_ANALYSIS,
    SHOW_DELIVERY,
    AnalysesDocument,
    AnalysisDocument,
    RetriesDocument,
    RetryDocument,
)
from hls_handler.console.frame import Frame, send_json
from hls_handler.events import event_key
from hls_handler.reports.delivery_report import load_report
from hls_handler.reports.json_documents import DeliveriesPage, deliveries_to_dict, report_to_dict, to_document
from hls_handler.reports.retry import retry_delivery, retry_matching
from hls_handler.storage import Storage
from hls_handler.store.analyses import KINDS, AnalysisRow, AnalysisSearch

MAX_QUOTED = 100  # characters of an invalid value that an error quotes


class Api:
    def __init__(self, frame: Frame, store: Storage) -> None:
        self._frame, self._store = frame, store

    def routes(self) -> Sequence[BaseRoute]:
        return [
            *self._frame.endpoint(LIST_ANALYSES, self._list_analyses),
            *self._frame.endpoint(SHOW_ANALYSIS, self._show_analysis),
            *self._frame.endpoint(LIST_DELIVERIES, self._list),
            *self._frame.endpoint(RETRY_DELIVERIES, self._retry_all),
            *self._frame.endpoint(SHOW_DELIVERY, self._show),
            *self._frame.endpoint(RETRY_DELIVERY, self._retry),
        ]

    def _list_analyses(self, request: Request) -> Response:
        search = _parse_analysis_search(request.query_params)
        found = self._store.analyses.find(search)
        following = search.offset + search.limit
        can_go_on = following <= MAX_OFFSET
        query = urlencode({**request.query_params, "offset": following})
        document: AnalysesDocument = {
            "analyses": [_analysis_to_dict(row) for row in found.rows],
            "limit": search.limit,
            "offset": search.offset,
            "next": f"{request.url.path}?{query}" if found.has_more and can_go_on else None,
            "is_complete": can_go_on or not found.has_more,
        }
        return send_json(request, document)

    def _show_analysis(self, request: Request) -> Response:
        given: str = request.path_params["id"]
        guid, _, index = given.partition(":")
        is_id = re.fullmatch(ANALYSIS_ID, given, re.ASCII)
        row = self._store.analyses.get(guid, int(index)) if is_id else None
        if row is None:
            raise HTTPException(404, "there is no such analysis, or it was deleted")
        return send_json(request, _analysis_to_dict(row))

    def _list(self, request: Request) -> Response:
        search = parse_search(request.query_params)
        found, pauses = self._store.searches.find(search), self._store.pauses.active()
        query = None if found.next is None else to_query(request.query_params, before=found.next)
        document: DeliveriesPage = {
            **deliveries_to_dict(found.rows, pauses),
            "next": None if query is None else f"{LIST_DELIVERIES.path}?{query}",
        }
        return send_json(request, document)

    def _show(self, request: Request) -> Response:
        row = require_delivery(self._store, request)
        return send_json(request, report_to_dict(load_report(self._store, row)))

    def _retry(self, request: Request) -> Response:
        row = require_delivery(self._store, request)
        result = retry_delivery(self._store, row, self._frame.settings)
        if not result.is_queued:
            raise HTTPException(409, result.sentence)
        document: RetryDocument = {"delivery": row.guid, "detail": result.sentence}
        return send_json(request, document, status=202)

    def _retry_all(self, request: Request) -> Response:
        given = dict(request.query_params)
        number = _parse_number(given, "number", 0, MAX_NUMBER) or 0
        search = parse_retried({name: value for name, value in given.items() if name != "number"})
        result = retry_matching(self._store, search, self._frame.settings, number=number)
        if result.queued is None:
            raise HTTPException(409, result.sentence)
        document: RetriesDocument = {"queued": result.queued, "detail": result.sentence}
        return send_json(request, document, status=202)


def _parse_analysis_search(query: Mapping[str, str]) -> AnalysisSearch:
    repository, kind = query.get("repo_full_name"), query.get("kind")
    if repository is not None and not re.fullmatch(REPOSITORY, repository):
        raise HTTPException(400, f"repo_full_name: found {repository[:MAX_QUOTED]!r}, expected owner/repo")
    if kind is not None and kind not in KINDS:
        raise HTTPException(400, f"kind: found {kind[:MAX_QUOTED]!r}, expected one of {', '.join(KINDS)}")
    return AnalysisSearch(
        repository=repository,
        number=_parse_number(query, "pr_number", 1, MAX_NUMBER),
        kind=next((one for one in KINDS if one == kind), None),
        since=parse_time("since", query.get("since")),
        limit=_parse_number(query, "limit", 1, MAX_LIMIT) or 20,
        offset=_parse_number(query, "offset", 0, MAX_OFFSET) or 0,
    )


def _parse_number(query: Mapping[str, str], name: str, least: int, most: int) -> int | None:
    given = query.get(name)
    if given is None:
        return None
    if not re.fullmatch("[0-9]{1,10}", given) or not least <= int(given) <= most:
        raise HTTPException(400, f"{name}: found {given[:MAX_QUOTED]!r}, expected a number from {least} to {most}")
    return int(given)


def _analysis_to_dict(row: AnalysisRow) -> AnalysisDocument:
    return to_document(
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
