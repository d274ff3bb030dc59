"""The pages with the results of `hls backtest`, which are files: without them, nothing is read."""

from __future__ import annotations

from collections.abc import Sequence

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute

from hls_handler.console.frame import Frame
from hls_handler.reports.backtests import find_folder, list_names, load_document

MOST = 50  # newest results that the list shows


class BacktestPages:
    def __init__(self, frame: Frame) -> None:
        self._frame = frame
        self._folder = find_folder(frame.settings)

    def routes(self) -> Sequence[BaseRoute]:
        return [
            self._frame.page("/backtests", self._list),
            self._frame.page("/backtests/{name}", self._show),
        ]

    def _list(self, request: Request) -> Response:
        names = list_names(self._folder)
        documents = {name: load_document(self._folder, name) for name in names[:MOST]}
        found = {name: document for name, document in documents.items() if document is not None}
        return self._frame.render(
            request, "backtests.html", documents=found, folder=str(self._folder), more=names[MOST:]
        )

    def _show(self, request: Request) -> Response:
        document = load_document(self._folder, request.path_params["name"])
        if document is None:
            raise HTTPException(404, "there is no result of a backtest with this name")
        return self._frame.render(request, "backtest.html", found=document)
