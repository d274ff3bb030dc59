"""The sandbox with a log of its requests and with faults, as tests use it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import Future
from datetime import datetime
from typing import Any, cast

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.types import ASGIApp
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from hls_sandbox import server
from hls_sandbox.apps import includes
from hls_sandbox.claude import Answerer, Asked, canned
from hls_sandbox.github import Extensions
from hls_sandbox.github_request import Call
from hls_sandbox.objects import Conversation
from hls_sandbox.state import now_utc
from tests.github_fake.access import require_permission, require_requests_left
from tests.github_fake.claude_rules import check_request
from tests.github_fake.faults import Faults
from tests.github_fake.git_server import GitRepositories
from tests.github_fake.middleware import DROP, FaultMiddleware, RequestLog
from tests.github_fake.routes import QUERIES, ROUTES


class _Protocol(HttpToolsProtocol):
    def on_message_begin(self) -> None:
        super().on_message_begin()
        cast(dict[str, Any], self.scope)[DROP] = self.transport.abort


class Sandbox(server.Sandbox):
    """The sandbox. `requests` are those to the stand-ins, some of which get `faults`."""

    protocol = _Protocol

    def __init__(
        self,
        *args: Any,
        answer: Answerer = canned,
        clock: Callable[[], datetime] = now_utc,
        **options: Any,
    ) -> None:
        def answer_valid(asked: Asked) -> Any:
            check_request(asked.body)
            return answer(asked)

        super().__init__(*args, answer=answer_valid, clock=clock, **options)
        self._clock = clock
        self.used_up: dict[str, datetime] = {}  # login -> when the limit of the account is reset
        self.git = GitRepositories(self.state)
        self.faults = Faults()
        self.requests = RequestLog()
        self._closing: Future[None] = Future()

    def conversation(self, number: int) -> Conversation:
        """Return an issue or pull request of Codertocat/Hello-World, which must exist."""
        found = self.state.conversation("Codertocat/Hello-World", number)
        assert found is not None
        return found

    def stop(self) -> None:
        """Stop the server, even while requests hang because of a fault."""
        if not self._closing.done():
            self._closing.set_result(None)
        super().stop()
        self._closing = Future()

    def extensions(self) -> Extensions:
        return Extensions(ROUTES, QUERIES, self._check)

    def _check(self, call: Call) -> None:
        require_requests_left(call, self.used_up, self._clock())
        require_permission(call)

    def _can_fetch(self, credential: str, full_name: str) -> bool:
        """Return True if a token gives git read access to the files of a repository."""
        if credential in self.tokens:
            return self.state.permission(full_name, self.tokens[credential].login) != "none"
        token = self.apps.find_token(credential)
        if token is None:
            return False
        names = {granted.lower() for granted in self.apps.repositories_of(token)}
        return full_name.lower() in names and includes(token.permissions.get("contents"), "read")

    def mount(self, stand_ins: Mapping[str, ASGIApp]) -> list[BaseRoute]:
        """Return the stand-ins behind the log and the faults, and the log for other processes."""

        def wrap(prefix: str, app: ASGIApp) -> ASGIApp:
            return FaultMiddleware(
                app,
                "claude" if prefix == server.CLAUDE_PREFIX else "github",
                prefix=prefix,
                faults=self.faults,
                requests=self.requests,
                closing=self._closing,
            )

        async def list_requests(request: Request) -> Response:
            if request.method == "DELETE":
                self.requests.clear()
            return JSONResponse([logged.document() for logged in self.requests.all()])

        path = "/_sandbox/requests"
        return [
            Route(path, list_requests, methods=["GET", "DELETE"]),
            *self.git.routes(self._can_fetch),
            *(Mount(prefix, wrap(prefix, app)) for prefix, app in stand_ins.items()),
        ]
