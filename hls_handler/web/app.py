"""The web application: the door for webhooks, two pages about us, and one shape of answer for all that is not found."""

from __future__ import annotations

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import Lifespan, Receive, Scope, Send

from hls_handler.settings.effective import RepositoryTable
from hls_handler.settings.model import Settings
from hls_handler.web.answers import DEFECT
from hls_handler.web.api_key import ApiKey
from hls_handler.web.counting import Counting
from hls_handler.web.door import Door
from hls_handler.web.pages import Pages
from hls_handler.web.ports import Ports
from hls_handler.web.request_ids import SCOPE_KEY, RequestIds, answer_headers
from hls_handler.web.room import Room
from hls_handler.web.signature import Secrets


class App(Starlette):
    """Starlette's application, with a door before its layers: each webhook would pay for them."""

    door: Door | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        door = self.door
        if door is not None and scope["type"] == "http" and scope["path"] == door.path:
            await door(scope, receive, send)
        else:
            await super().__call__(scope, receive, send)


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
        self.app = App(
            middleware=[Middleware(RequestIds)],
            exception_handlers={HTTPException: _not_served, Exception: _broken},
            lifespan=lifespan,
        )
        self.app.router.redirect_slashes = False  # GitHub follows no redirects: say at once that the path is wrong
        self.put_under(settings, table)

    def put_under(self, settings: Settings, table: RepositoryTable) -> None:
        """These settings hold from the next request on. From any thread: a request finds what was there, or the new."""
        pages = Pages(ApiKey(settings), self._ports, self._counting, started=self._started)
        self.app.router.routes = [Route("/health", pages.health), Route("/stats", pages.stats)]
        if self._has_door:
            self.app.door = Door(settings, Secrets(settings, table), self._ports, self._room)


def _not_served(_request: Request, exc: Exception) -> Response:
    """404 and 405."""
    assert isinstance(exc, HTTPException)
    return JSONResponse({"detail": exc.detail}, status_code=exc.status_code, headers=exc.headers)


def _broken(request: Request, _exc: Exception) -> Response:
    """A defect of ours; the server logs its trace. Sent from outside the middleware, so the id is added here."""
    headers = {name.decode(): value.decode() for name, value in answer_headers(request.scope[SCOPE_KEY])}
    return JSONResponse({"detail": DEFECT}, 500, headers)
