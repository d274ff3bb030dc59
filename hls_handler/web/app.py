"""The web application: three routes, request ids around them, and one shape of answer for all that is not found."""

from __future__ import annotations

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route
from starlette.types import Lifespan

from hls_handler.settings.effective import RepositoryTable
from hls_handler.settings.model import Settings
from hls_handler.web.api_key import ApiKey
from hls_handler.web.counting import Counting
from hls_handler.web.door import Door
from hls_handler.web.pages import Pages
from hls_handler.web.ports import Ports
from hls_handler.web.request_ids import SCOPE_KEY, RequestIds, answer_headers
from hls_handler.web.room import Room
from hls_handler.web.signature import Secrets


class Web:
    """The application, whose routes can be put under other settings while it serves.

    Build it inside or outside a running loop, but once for each loop.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        table: RepositoryTable,
        ports: Ports,
        lifespan: Lifespan[Starlette] | None = None,
        door: bool = True,
    ) -> None:
        """`lifespan` is where the composition root starts and ends the workers. Without `door`, webhooks are 404."""
        self._ports, self._started, self._has_door = ports, ports.clock(), door
        self._counting = Counting(ports.counters, ports.queue, ports.clock)
        self._room = Room(ports.clock)
        self.app = Starlette(
            routes=self._routes(settings, table),
            middleware=[Middleware(RequestIds)],
            exception_handlers={HTTPException: _not_served, Exception: _broken},
            lifespan=lifespan,
        )
        self.app.router.redirect_slashes = False  # GitHub follows no redirects: say at once that the path is wrong

    def put_under(self, settings: Settings, table: RepositoryTable) -> None:
        """These settings hold from the next request on. From any thread: a request finds the old routes, or the new."""
        self.app.router.routes = self._routes(settings, table)

    def _routes(self, settings: Settings, table: RepositoryTable) -> list[BaseRoute]:
        pages = Pages(ApiKey(settings), self._ports, self._counting, started=self._started)
        about_us = [Route("/health", pages.health), Route("/stats", pages.stats)]
        if not self._has_door:
            return list(about_us)
        door = Door(settings, Secrets(settings, table), self._ports, self._room)
        return [Route(settings.server.webhook_path, door), *about_us]


def _not_served(_request: Request, exc: Exception) -> Response:
    """404 and 405."""
    assert isinstance(exc, HTTPException)
    return JSONResponse({"detail": exc.detail}, status_code=exc.status_code, headers=exc.headers)


def _broken(request: Request, _exc: Exception) -> Response:
    """A defect of ours; the server logs its trace. Sent from outside the middleware, so the id is added here."""
    headers = {name.decode(): value.decode() for name, value in answer_headers(request.scope[SCOPE_KEY])}
    return JSONResponse({"detail": "internal error; see the log under this request id"}, 500, headers)
