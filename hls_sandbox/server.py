"""The sandbox as one local server: stand-ins for GitHub and Claude, web pages, and the API
`/_sandbox`.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from datetime import datetime
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

import uvicorn
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.routing import BaseRoute, Mount
from starlette.types import ASGIApp
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from hls_handler.errors import HlsError
from hls_sandbox.app_pages import app_page_routes
from hls_sandbox.apps import Apps
from hls_sandbox.claude import Answerer, canned, claude_app
from hls_sandbox.control import BadRequest, control_routes, reject
from hls_sandbox.github import Extensions, GitHubApi, LogStorage
from hls_sandbox.objects import Account
from hls_sandbox.pages import FindDelivery, create_environment, page_routes
from hls_sandbox.state import BOT, State, now_utc

HOST = "127.0.0.1"
GITHUB_PREFIX = "/api/v3"  # as on GitHub Enterprise Server
GRAPHQL_PREFIX = "/api"  # the whole path is "/api/graphql"
CLAUDE_PREFIX = "/claude"
TOKEN = "sandbox-github-token"
API_KEY = "sandbox-claude-key"
START_TIMEOUT_S = 30.0
KEEP_ALIVE_S = 60
"""Seconds until an idle connection is closed.

Clients keep them for 5 s. If both sides used 5 s, the server could close a connection while a
request is sent.
"""


class SandboxDown(HlsError):
    """The sandbox is not started, or could not be started."""


class Sandbox:
    """A server with stand-ins for GitHub and Claude. Its thread runs from `start` to `stop`, or in
    a `with` block.

    `state_path` is the file that stores the objects of the stand-in GitHub. `me` is the account of
    the token. `answer` returns Claude's replies. Port 0 selects a free port. `claude_max_usd` is
    the budget of the real Claude, which a service asks in place of the stand-in; the pages show it.
    """

    protocol: type[HttpToolsProtocol] | Literal["httptools"] = "httptools"

    def __init__(
        self,
        state_path: Path | None = None,
        *,
        token: str = TOKEN,
        api_key: str = API_KEY,
        port: int = 0,
        me: Account = BOT,
        answer: Answerer = canned,
        claude_max_usd: float | None = None,
        clock: Callable[[], datetime] = now_utc,
    ) -> None:
        self.token = token
        self.api_key = api_key
        self.tokens = {token: me}  # the account of each valid token; tests add and remove some
        self.state = State(state_path, me=me, clock=clock)
        self.apps = Apps(self.state, clock=clock)
        self.find_delivery: FindDelivery | None = None  # of a service; the pages show the results
        self._claude_max_usd = claude_max_usd
        self._answer = answer
        self._wanted_port = port
        self._port: int | None = None
        self._server: uvicorn.Server | None = None
        self._thread: threading.Thread | None = None

    @property
    def page_url(self) -> str:
        """URL of the web pages: "http://127.0.0.1:43817/"."""
        if self._port is None:
            raise SandboxDown("the sandbox has no address before it is started")
        return f"http://{HOST}:{self._port}/"

    @property
    def github_url(self) -> str:
        """The value for the setting `github.base_url`."""
        return f"{self.page_url[:-1]}{GITHUB_PREFIX}"

    @property
    def claude_url(self) -> str:
        """The value for the setting `claude.base_url`."""
        return f"{self.page_url[:-1]}{CLAUDE_PREFIX}"

    def start(self) -> Self:
        """Start the server and return when it responds. Raises `SandboxDown` if it cannot be
        started.
        """
        listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((HOST, self._wanted_port))
            listener.listen(256)  # from here on, connections wait and are not refused
        except OSError as exc:
            listener.close()
            raise SandboxDown(
                f"the sandbox cannot listen on {HOST}:{self._wanted_port}: {exc.strerror}"
            ) from exc
        # a later `start` uses the same port
        self._port = self._wanted_port = int(listener.getsockname()[1])
        started = threading.Event()
        config = uvicorn.Config(
            self._app(started),
            http=self.protocol,
            ws="none",
            log_config=None,
            access_log=False,
            lifespan="on",
            timeout_keep_alive=KEEP_ALIVE_S,
            timeout_graceful_shutdown=5,
            server_header=False,
        )
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(
            target=self._server.run, kwargs={"sockets": [listener]}, name="hls-sandbox", daemon=True
        )
        self._thread.start()
        if not started.wait(START_TIMEOUT_S):
            listener.close()
            raise SandboxDown(f"the sandbox did not start within {START_TIMEOUT_S:g} s")
        return self

    def stop(self) -> None:
        """Stop the server. `state` can still be read."""
        if self._server is None or self._thread is None:
            return
        self._server.should_exit = True
        self._thread.join()
        self._server = self._thread = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def extensions(self) -> Extensions:
        """Return what is added to the stand-in GitHub from outside."""
        return Extensions()

    def mount(self, stand_ins: Mapping[str, ASGIApp]) -> list[BaseRoute]:
        """Return the routes of the stand-ins, which have the prefixes of their paths as keys.

        The place for additions from outside, such as a log of requests and faults.
        """
        return [Mount(prefix, stand_in) for prefix, stand_in in stand_ins.items()]

    def _app(self, started: threading.Event) -> Starlette:
        @asynccontextmanager
        async def lifespan(app: Starlette) -> AsyncIterator[None]:
            del app
            started.set()
            yield

        storage = LogStorage(self.state, web_url=self.page_url[:-1])
        github = GitHubApi(
            self.state,
            tokens=self.tokens,
            api_url=self.github_url,
            web_url=self.page_url[:-1],
            storage=storage,
            apps=self.apps,
            extensions=self.extensions(),
        )
        claude = claude_app(api_key=self.api_key, answer=self._answer)
        urls = {
            "github_url": self.github_url,
            "claude_url": self.claude_url,
            "page_url": self.page_url,
        }
        environment = create_environment(self._claude_max_usd)
        rejection = partial(reject, environment)
        return Starlette(
            routes=[
                *self.mount(
                    {
                        GITHUB_PREFIX: github.app(),
                        GRAPHQL_PREFIX: github.graphql_app(),
                        CLAUDE_PREFIX: claude,
                    }
                ),
                *control_routes(self.state, self.apps, urls=urls),
                *storage.routes(),
                *app_page_routes(self.apps),
                *page_routes(self.state, environment, lambda: self.find_delivery),
            ],
            middleware=[
                Middleware(TrustedHostMiddleware, allowed_hosts=[HOST, "localhost"]),
            ],
            exception_handlers={BadRequest: rejection},
            lifespan=lifespan,
        )
