"""The stand-in GitHub over HTTP: authentication, pagination and log downloads.

The endpoints are in `github_calls`, `repository_calls`, `review_calls` and `app_calls`.
"""

from __future__ import annotations

import asyncio
import json
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from hls_sandbox import github_request, review_calls, shapes
from hls_sandbox.apps import Apps
from hls_sandbox.github_calls import ROUTES
from hls_sandbox.github_request import Answer, Call, Endpoint, Query, existing
from hls_sandbox.objects import Account, Document
from hls_sandbox.shapes import GitHubError
from hls_sandbox.state import State

STORAGE_PREFIX = "/_storage/"

ANONYMOUS = Account("", 0, "User")
"""Account of a request without a token, or of an App itself."""


@dataclass(frozen=True, slots=True)
class Extensions:
    """Further routes and queries, and a check of each call, which may raise `GitHubError`."""

    routes: Sequence[tuple[str, str, Endpoint]] = ()
    queries: Mapping[str, Query] = field(default_factory=dict)  # by text
    check: Callable[[Call], None] = lambda _call: None


class LogStorage:
    """Storage of job logs with secret URLs.

    As at GitHub, a request with an Authorization header is rejected, because clients must not send
    the token to the storage. `web_url` is the URL of the sandbox without a slash at the end.
    """

    def __init__(self, state: State, *, web_url: str) -> None:
        self._state = state
        self._web_url = web_url
        self._files: dict[str, tuple[str, int]] = {}  # secret -> repository, job

    def new_url(self, full_name: str, job_id: int) -> str:
        secret = secrets.token_urlsafe(16)
        self._files[secret] = (full_name, job_id)
        return f"{self._web_url}{STORAGE_PREFIX}{secret}"

    def routes(self) -> list[Route]:
        return [Route(f"{STORAGE_PREFIX}{{secret}}", self._log, methods=["GET"])]

    async def _log(self, request: Request) -> Response:
        if "authorization" in request.headers:
            return PlainTextResponse(
                "InvalidAuthenticationInfo: no Authorization is needed here", 400
            )
        found = self._state.find_job(*self._files.get(request.path_params["secret"], ("", 0)))
        if found is None or found[2].log is None:
            return PlainTextResponse("BlobNotFound", 404)
        return Response("\ufeff" + found[2].log, media_type="text/plain; charset=utf-8")


class GitHubApi:
    """REST API at `api_url`, such as "http://127.0.0.1:8123/api/v3". The URLs of web pages begin
    with `web_url`.
    """

    def __init__(
        self,
        state: State,
        *,
        tokens: Mapping[str, Account],
        api_url: str,
        web_url: str,
        storage: LogStorage,
        apps: Apps,
        extensions: Extensions,
    ) -> None:
        """`tokens` has the account of each token."""
        self._state = state
        self._tokens = tokens
        self._storage = storage
        self._apps = apps
        self._api_url = api_url
        self._web_url = web_url
        self._extensions = extensions
        self._sending: set[asyncio.Task[None]] = set()

    def app(self) -> Starlette:
        by_path: dict[str, dict[str, Endpoint]] = {}
        for method, path, endpoint in (*ROUTES, *self._extensions.routes):
            by_path.setdefault(path, {})[method] = endpoint
        methods = ["GET", "POST", "PATCH", "PUT", "DELETE"]
        return Starlette(
            routes=[
                Route(path, self._endpoint(endpoints), methods=methods)
                for path, endpoints in by_path.items()
            ],
            exception_handlers={GitHubError: self._error, HTTPException: self._not_found},
        )

    def graphql_app(self) -> Starlette:
        """Return the GraphQL API, which is beside the REST API."""
        handlers: dict[Any, Any] = {GitHubError: self._error, HTTPException: self._not_found}
        return Starlette(
            routes=[Route("/graphql", self._graphql, methods=["POST"])], exception_handlers=handlers
        )

    async def _graphql(self, request: Request) -> Response:
        call = await self._call(request, "/graphql")
        self._extensions.check(call)

        def can_read(full_name: str) -> bool:
            if call.token is None:
                return call.permission(full_name) != "none"
            return full_name in self._apps.repositories_of(call.token)

        found = review_calls.query(
            self._state, call.body, me=call.me, can_read=can_read, queries=self._extensions.queries
        )
        return self._respond(request, 200, found, {})

    def _endpoint(self, endpoints: Mapping[str, Endpoint]) -> Callable[[Request], Any]:
        async def respond(request: Request) -> Response:
            call = await self._call(request, request.scope["route"].path)
            if request.method not in endpoints:
                raise GitHubError(404, "Not Found")
            self._extensions.check(call)
            if call.token is not None and "repo" in call.path:
                name = f"{call.path['owner']}/{call.path['repo']}".lower()
                if name not in map(str.lower, self._apps.repositories_of(call.token)):
                    raise GitHubError(404, "Not Found")
            answer = endpoints[request.method](call)
            self._send_webhooks(answer.webhooks)
            return self._to_response(request, answer)

        return respond

    async def _call(self, request: Request, route: str) -> Call:
        """Return the request with its account. Raises `GitHubError` (401)."""
        credential = request.headers.get("authorization", "").partition(" ")[2].strip()
        token = self._apps.find_token(credential)
        account = self._tokens.get(credential, ANONYMOUS)
        app = None
        is_public = request.method == "GET" or "code" in request.path_params  # of a manifest
        if not credential and not is_public:
            raise GitHubError(401, "Requires authentication")
        if token is not None:
            account = existing(self._state.world.app(token.installation.app_id)).bot
        elif credential.count(".") == 2:
            app = self._apps.authenticate(credential)
        elif credential and account is ANONYMOUS:
            raise GitHubError(401, "Bad credentials")
        return Call(
            self._state,
            self._apps,
            f"{request.method} {route}",
            {name: str(value) for name, value in request.path_params.items()},
            dict(request.query_params),
            await _body(request),
            account,
            token,
            app,
        )

    def _send_webhooks(self, webhooks: tuple[tuple[str, Document], ...]) -> None:
        """Send webhooks in order, without waiting for them."""

        async def send() -> None:
            for event, payload in webhooks:
                local = shapes.localised(payload, api_url=self._api_url, web_url=self._web_url)
                await asyncio.to_thread(self._apps.send_webhook, event, local)

        if webhooks:
            task = asyncio.get_running_loop().create_task(send())
            self._sending.add(task)
            task.add_done_callback(self._sending.discard)

    def _to_response(self, request: Request, answer: Answer) -> Response:
        headers = answer.headers
        if answer.log is not None:
            return Response(None, 302, {**headers, "Location": self._storage.new_url(*answer.log)})
        if not answer.listed:
            return self._respond(request, answer.status, answer.document, headers)
        path = request.url.path.removeprefix(request.scope.get("root_path", ""))
        page, links = github_request.paginate(
            answer.document, request.query_params, self._api_url + path
        )
        wrapped = (
            {"total_count": len(answer.document), answer.inside: page} if answer.inside else page
        )
        return self._respond(request, 200, wrapped, {**headers, **links})

    def _error(self, request: Request, exc: Exception) -> Response:
        assert isinstance(exc, GitHubError)
        return self._respond(request, exc.status, exc.document(), exc.headers)

    def _not_found(self, request: Request, exc: Exception) -> Response:
        del exc
        return self._error(request, GitHubError(404, "Not Found"))

    def _respond(
        self, request: Request, status: int, document: Any, headers: Mapping[str, str]
    ) -> Response:
        always: dict[str, str] = {}  # no headers of a rate limit: there is none
        if request.headers.get("authorization", "").partition(" ")[2] in self._tokens:
            always["X-OAuth-Scopes"] = "repo"  # all these tokens are classic ones
        shown = shapes.localised(document, api_url=self._api_url, web_url=self._web_url)
        body = b"" if status == 204 else json.dumps(shown, ensure_ascii=False).encode()
        return Response(
            body, status, {**always, **headers}, media_type="application/json; charset=utf-8"
        )


async def _body(request: Request) -> Any:
    raw = await request.body()
    return github_request.parse_body(raw, request.headers.get("content-type", "")) if raw else None
