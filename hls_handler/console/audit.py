"""The page and the endpoint with the changes that people made."""

from __future__ import annotations

from collections.abc import Sequence
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
        changes, next_query = self._find(query)
        return self._frame.render(
            request, "audit.html", query=query, changes=changes, next_query=next_query
        )

    def _list(self, request: Request, query: AuditQuery) -> Response:
        changes, next_query = self._find(query)
        document: AuditDocument = {
            "changes": [to_document(ChangeDocument, change) for change in changes],
            "next": next_query and f"{LIST_AUDIT.path}?{next_query}",
        }
        return send_json(request, document)

    def _find(self, query: AuditQuery) -> tuple[Sequence[Change], str | None]:
        """Return a page of changes, and the query of the next one."""
        found = self._store.audit.find(person=query.person, before=query.before, most=PAGE_ROWS + 1)
        page = found[:PAGE_ROWS]
        given = {"person": query.person} if query.person else {}
        return page, urlencode({**given, "before": page[-1].id}) if len(found) > PAGE_ROWS else None
