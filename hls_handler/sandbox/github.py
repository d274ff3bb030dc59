"""The stand-in GitHub over HTTP: authentication, pagination, rate limit and log downloads.

The endpoints are in `github_calls`, `repository_calls`, `review_calls` and `app_calls`.
"""

from __future__ import annotations

import asyncio
import json
import secrets
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from hls_handler.sandbox import app_calls, github_request, review_calls, shapes
from hls_handler.sandbox.apps import Apps, InstallationToken, includes
from hls_handler.sandbox.github_calls import ROUTES
from hls_handler.sandbox.github_request import Answer, Call
from hls_handler.sandbox.objects import Account, Document
from hls_handler.sandbox.shapes import GitHubError
from hls_handler.sandbox.state import State

STORAGE_PREFIX = "/_storage/"

Endpoint = Callable[[Call], Answer]

ANONYMOUS = Account("", 0, "User")
"""Account of a request without a token, of which GitHub accepts 60 an hour."""


class RateLimit:
    """The primary rate limit of one account, App or installation: `limit` requests per hour."""

    def __init__(self, limit: int, clock: Callable[[], datetime]) -> None:
        self.limit = limit
        self.used = 0
        self._clock = clock
        self._reset = clock() + timedelta(hours=1)

    def count(self) -> None:
        """Count a request. Raises `GitHubError` if the limit is reached."""
        if self._clock() >= self._reset:
            self.used, self._reset = 0, self._clock() + timedelta(hours=1)
        if self.used >= self.limit:
            raise GitHubError(
                403,
                "API rate limit exceeded for the account of this token.",
                headers=self.headers(),
            )
        self.used += 1

    def headers(self) -> dict[str, str]:
        shown = {"Limit": self.limit, "Used": self.used, "Remaining": self.limit - self.used}
        shown["Reset"] = int(self._reset.timestamp())
        return {f"X-RateLimit-{name}": str(value) for name, value in shown.items()}


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
        limit_of: Callable[[str], RateLimit],
    ) -> None:
        """`tokens` has the account of each token. `limit_of` returns the rate limit of an
        account.
        """
        self._state = state
        self._tokens = tokens
        self._storage = storage
        self._apps = apps
        self._api_url = api_url
        self._web_url = web_url
        self._limit_of = limit_of
        self._sending: set[asyncio.Task[None]] = set()

    def app(self) -> Starlette:
        by_path: dict[str, dict[str, tuple[Endpoint, str]]] = {}
        for method, path, endpoint, needs in (*app_calls.ROUTES, *ROUTES):
            by_path.setdefault(path, {})[method] = (endpoint, needs)
        methods = ["GET", "POST", "PATCH", "PUT", "DELETE"]
        return Starlette(
            routes=[
                Route(path, self._endpoint(endpoints), methods=methods)
                for path, endpoints in by_path.items()
            ],
            exception_handlers={GitHubError: self._error, HTTPException: self._not_found},
        )

    def graphql_app(self) -> Starlette:
        """Return the GraphQL API, which is beside the REST API and has a rate limit of its own."""
        handlers: dict[Any, Any] = {GitHubError: self._error, HTTPException: self._not_found}
        return Starlette(
            routes=[Route("/graphql", self._graphql, methods=["POST"])], exception_handlers=handlers
        )

    async def _graphql(self, request: Request) -> Response:
        account, token = self._authenticate(request)
        name = account.login if token is None else f"installation {token.installation.id}"
        self._count(request, f"graphql of {name}")
        body = await _body(request)

        def can_read(full_name: str, permission: str) -> bool:
            if token is None:
                return self._state.permission(full_name, account.login) != "none"
            names = {granted.lower() for granted in self._apps.repositories_of(token)}
            return full_name.lower() in names and includes(
                token.permissions.get(permission), "read"
            )

        return self._respond(
            request, 200, review_calls.query(self._state, body, can_read=can_read), {}
        )

    def can_fetch(self, given: str, full_name: str) -> bool:
        """Return True if a token gives git read access to the files of a repository."""
        if given in self._tokens:
            return self._state.permission(full_name, self._tokens[given].login) != "none"
        token = self._apps.find_token(given)
        if token is None:
            return False
        names = {granted.lower() for granted in self._apps.repositories_of(token)}
        return full_name.lower() in names and includes(token.permissions.get("contents"), "read")

    def _endpoint(self, endpoints: Mapping[str, tuple[Endpoint, str]]) -> Callable[[Request], Any]:
        async def respond(request: Request) -> Response:
            endpoint, needs = endpoints.get(request.method, (None, ""))
            account = ANONYMOUS
            token = None
            app = None
            if needs == "app":
                app = self._apps.authenticate(_credential(request))
            elif needs != "none" and (
                "authorization" in request.headers or not _is_public(request, needs)
            ):
                account, token = self._authenticate(request)
            self._count(
                request,
                (
                    app.slug
                    if app
                    else f"installation {token.installation.id}"
                    if token
                    else account.login
                ),
            )
            if endpoint is None:
                raise GitHubError(404, "Not Found")
            if token is not None:
                self._require_granted(token, request, needs)
            query = dict(request.query_params)
            body = await _body(request)
            call = Call(
                self._state,
                self._apps,
                request.method,
                _path(request),
                query,
                body,
                needs,
                account,
                token,
                app,
            )
            answer = endpoint(call)
            self._send_webhooks(answer.webhooks)
            return self._to_response(
                request, answer, {"X-Accepted-GitHub-Permissions": needs} if "=" in needs else {}
            )

        return respond

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

    def _to_response(
        self, request: Request, answer: Answer, headers: Mapping[str, str]
    ) -> Response:
        headers = {**headers, **answer.headers}
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

    def _authenticate(self, request: Request) -> tuple[Account, InstallationToken | None]:
        given = _credential(request)
        if given in self._tokens:
            return self._tokens[given], None
        found = self._apps.find_token(given)
        app = self._state.world.app(found.installation.app_id) if found else None
        if found is None or app is None:
            raise GitHubError(401, "Bad credentials")
        return app.bot, found

    def _require_granted(self, token: InstallationToken, request: Request, needs: str) -> None:
        path = request.path_params
        if "repo" in path:
            name = f"{path['owner']}/{path['repo']}".lower()
            if name not in {granted.lower() for granted in self._apps.repositories_of(token)}:
                raise GitHubError(404, "Not Found")
        choices = (
            [choice.strip().partition("=") for choice in needs.split(";")] if "=" in needs else []
        )
        if choices and not any(
            includes(token.permissions.get(name), level) for name, _, level in choices
        ):
            headers = {"X-Accepted-GitHub-Permissions": needs}
            raise GitHubError(403, "Resource not accessible by integration", headers=headers)

    def _count(self, request: Request, account: str) -> None:
        request.state.limit = limit = self._limit_of(account)
        limit.count()

    def _error(self, request: Request, exc: Exception) -> Response:
        assert isinstance(exc, GitHubError)
        return self._respond(request, exc.status, exc.document(), exc.headers)

    def _not_found(self, request: Request, exc: Exception) -> Response:
        del exc
        return self._error(request, GitHubError(404, "Not Found"))

    def _respond(
        self, request: Request, status: int, document: Any, headers: Mapping[str, str]
    ) -> Response:
        local = {
            key: self._local(value) if key == "Location" else value
            for key, value in headers.items()
        }
        always = request.state.limit.headers() if hasattr(request.state, "limit") else {}
        if request.headers.get("authorization", "").partition(" ")[2] in self._tokens:
            always["X-OAuth-Scopes"] = "repo"  # all these tokens are classic ones
        shown = shapes.localised(document, api_url=self._api_url, web_url=self._web_url)
        body = b"" if status == 204 else json.dumps(shown, ensure_ascii=False).encode()
        return Response(
            body, status, {**always, **local}, media_type="application/json; charset=utf-8"
        )

    def _local(self, url: str) -> str:
        return self._api_url + url.removeprefix(shapes.API) if url.startswith(shapes.API) else url


def _is_public(request: Request, needs: str) -> bool:
    """Return True for what GitHub shows without a token: accounts, objects of repositories except
    logs and roles.
    """
    names = request.path_params.keys()
    if "login" in names:
        return True
    is_read = (
        request.method == "GET" and needs.endswith("=read") and "repository_hooks" not in needs
    )
    return is_read and "repo" in names and not names & {"job", "user"}


def _credential(request: Request) -> str:
    if not request.headers.get("user-agent"):
        raise GitHubError(
            403,
            "Request forbidden by administrative rules. Please make sure your request has a"
            " User-Agent header",
        )
    scheme, _, given = request.headers.get("authorization", "").partition(" ")
    if not given:
        raise GitHubError(401, "Requires authentication")
    if scheme.lower() not in {"bearer", "token"}:
        raise GitHubError(401, "Bad credentials")
    return given.strip()


async def _body(request: Request) -> Any:
    raw = await request.body()
    return github_request.parse_body(raw, request.headers.get("content-type", "")) if raw else None


def _path(request: Request) -> dict[str, str]:
    return {name: str(value) for name, value in request.path_params.items()}
