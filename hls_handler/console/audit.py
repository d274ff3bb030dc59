"""The page and the endpoint with the changes that people made."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute

from hls_handler.console.endpoints import LIST_AUDIT, AuditDocument, ChangeDocument
from hls_handler.console.frame import Frame, send_json
from hls_handler.console.queries import AuditQuery
from hls_handler.queue.audit import Change
from hls_handler.reports.json_documents import to_document
from hls_handler.storage import Storage

PAGE_ROWS = 50


@dataclass(frozen=True, slots=True)
class _ChangesPage:
    changes: Sequence[Change]
    next_query: str | None  # of the address of the next page


class AuditPages:
    def __init__(self, frame: Frame, store: Storage) -> None:
        self._frame = frame
        self._store = store

    def routes(self) -> Sequence[BaseRoute]:
        return [
            self._frame.page("/audit", self._show),
            *self._frame.endpoint(LIST_AUDIT, self._list),
        ]

    def _show(self, request: Request) -> Response:
        query = AuditQuery.parse(request.query_params)
        page = self._find(query)
        return self._frame.render(
            request, "audit.html", query=query, changes=page.changes, next_query=page.next_query
        )

    def _list(self, request: Request, query: AuditQuery) -> Response:
        page = self._find(query)
        document: AuditDocument = {
            "changes": [to_document(ChangeDocument, change) for change in page.changes],
            "next": page.next_query and f"{LIST_AUDIT.path}?{page.next_query}",
        }
        return send_json(request, document)

    def _find(self, query: AuditQuery) -> _ChangesPage:
        found = self._store.audit.find(person=query.person, before=query.before, most=PAGE_ROWS + 1)
        changes = found[:PAGE_ROWS]
        if len(found) <= PAGE_ROWS:
            return _ChangesPage(changes, None)
        following = f"before={changes[-1].id}"
        if query.person:
            following = f"{urlencode({'person': query.person})}&{following}"
        return _ChangesPage(changes, following)
