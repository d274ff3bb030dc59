"""The stand-in GitHub over HTTP: credentials, media types, paging, rate limit; what is answered stands in the calls."""

from __future__ import annotations

import hmac
import json
import uuid
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlencode

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from hls_handler.sandbox import shapes, validation
from hls_handler.sandbox.call import Answer, Call
from hls_handler.sandbox.github_calls import ROUTES
from hls_handler.sandbox.state import State
from hls_handler.sandbox.storage import Storage
from hls_handler.sandbox.validation import Refusal

API_VERSIONS = frozenset({"2022-11-28", "2026-03-10"})

SEARCH = {"limit": 30, "used": 0, "remaining": 30, "reset": 0, "resource": "search"}

Endpoint = Callable[[Call], Answer]


class RateLimit:
    """The primary rate limit of one credential: so many requests an hour, counted from the first."""

    def __init__(self, limit: int, clock: Callable[[], datetime]) -> None:
        self.limit = limit
        self.used = 0
        self._clock = clock
        self._reset = clock() + timedelta(hours=1)

    def count(self) -> None:
        """Raises `Refusal` where the limit is reached."""
        if self._clock() >= self._reset:
            self.used, self._reset = 0, self._clock() + timedelta(hours=1)
        if self.used >= self.limit:
            raise Refusal(403, "API rate limit exceeded for the account of this token.", headers=self.headers())
        self.used += 1

    def headers(self) -> dict[str, str]:
        return {f"X-RateLimit-{key.capitalize()}": str(value) for key, value in self.document().items()}

    def document(self) -> dict[str, int | str]:
        left = self.limit - self.used
        reset = int(self._reset.timestamp())
        return {"limit": self.limit, "used": self.used, "remaining": left, "reset": reset, "resource": "core"}


def github_app(
    state: State,
    *,
    token: str,
    api_url: str,
    web_url: str,
    storage: Storage,
    rate_limit: int,
    clock: Callable[[], datetime],
) -> Starlette:
    """The API at `api_url` ("http://127.0.0.1:8123/api/v3"); pages that its answers point to are under `web_url`."""
    limit = RateLimit(rate_limit, clock)

    def respond(status: int, document: Any, headers: Mapping[str, str]) -> Response:
        shown = shapes.localised(document, api_url=api_url, web_url=web_url)
        moved = {key: _local(value, api_url) if key == "Location" else value for key, value in headers.items()}
        always = {
            "X-GitHub-Request-Id": uuid.uuid4().hex[:20].upper(),
            "X-GitHub-Media-Type": "github.v3; format=json",
            "X-OAuth-Scopes": "repo",
            **limit.headers(),
        }
        body = json.dumps(shown, ensure_ascii=False).encode()
        return Response(body, status, {**always, **moved}, media_type="application/json; charset=utf-8")

    async def rate(request: Request) -> Response:
        try:
            _authenticate(request, token)
        except Refusal as refusal:
            return respond(refusal.status, refusal.document(), refusal.headers)
        counted = limit.document()
        return respond(200, {"resources": {"core": counted, "search": SEARCH}, "rate": counted}, {})

    def endpoint(methods: Mapping[str, tuple[Endpoint, str]]) -> Callable[[Request], Any]:
        async def answer(request: Request) -> Response:
            try:
                _authenticate(request, token)
                limit.count()
                _negotiate(request)
                if request.method not in methods:
                    raise Refusal(404, "Not Found")
                called, needs = methods[request.method]
                call = await _call(request, state, needs)
                made = called(call)
                headers = {"X-Accepted-GitHub-Permissions": needs, **made.headers}
                if made.file is not None:
                    return Response(None, made.status, {**headers, "Location": storage.address(made.file)})
                if made.listed:
                    page, links = _page(request, api_url, made.document)
                    wrapped = {"total_count": len(made.document), made.inside: page} if made.inside else page
                    return respond(200, wrapped, {**headers, **links})
                return respond(made.status, made.document, headers)
            except Refusal as refusal:
                return respond(refusal.status, refusal.document(), refusal.headers)

        return answer

    def not_found(request: Request, exc: Exception) -> Response:
        del request, exc
        return respond(404, Refusal(404, "Not Found").document(), {})

    by_path: dict[str, dict[str, tuple[Endpoint, str]]] = {}
    for method, path, called, needs in ROUTES:
        by_path.setdefault(path, {})[method] = (called, needs)
    every = ["GET", "POST", "PATCH", "PUT", "DELETE"]
    routes = [Route(path, endpoint(methods), methods=every) for path, methods in by_path.items()]
    return Starlette(
        routes=[Route("/rate_limit", rate, methods=["GET"]), *routes],
        exception_handlers={HTTPException: not_found},
    )


def error_of_status(status: int) -> dict[str, Any]:
    """GitHub's usual document of an error status."""
    usual = {
        401: "Bad credentials",
        403: "Resource not accessible by personal access token",
        404: "Not Found",
        410: "This issue was deleted",
        422: "Validation Failed",
        429: "You have exceeded a secondary rate limit. Please wait a few minutes before you try again.",
    }
    return Refusal(status, usual.get(status, "Server Error")).document()


def _authenticate(request: Request, token: str) -> None:
    if not request.headers.get("user-agent"):
        raise Refusal(
            403, "Request forbidden by administrative rules. Please make sure your request has a User-Agent header"
        )
    scheme, _, given = request.headers.get("authorization", "").partition(" ")
    if not given:
        raise Refusal(401, "Requires authentication")
    right = hmac.compare_digest(given.strip().encode("utf-8", "replace"), token.encode())
    if scheme.lower() not in {"bearer", "token"} or not right:
        raise Refusal(401, "Bad credentials")


def _negotiate(request: Request) -> None:
    accepted = request.headers.get("accept", "*/*")
    if "json" not in accepted and "*/*" not in accepted:
        raise Refusal(415, "Unsupported 'Accept' header. Must accept 'application/json'.")
    version = request.headers.get("x-github-api-version")
    if version is not None and version not in API_VERSIONS:
        raise Refusal(400, f"The X-GitHub-Api-Version header is invalid: {version} is not a supported version")


async def _call(request: Request, state: State, needs: str) -> Call:
    body = None
    if request.method in {"POST", "PATCH", "PUT"}:
        body = validation.parse_body(await request.body(), request.headers.get("content-type", ""))
    path = {key: str(value) for key, value in request.path_params.items()}
    return Call(state, request.method, path, dict(request.query_params), body, needs)


def _page(request: Request, api_url: str, items: list[Any]) -> tuple[list[Any], dict[str, str]]:
    """One page, and the `Link` header with the addresses of its neighbours."""
    page, size = validation.page_of(request.query_params)
    last = max((len(items) + size - 1) // size, 1)
    wanted = {"prev": page - 1, "next": page + 1, "last": last, "first": 1}
    there = {"prev": page > 1, "next": page < last, "last": page < last, "first": page > 1}
    path = api_url + request.url.path.removeprefix(request.scope.get("root_path", ""))
    links = [
        f'<{path}?{urlencode({**request.query_params, "page": number})}>; rel="{name}"'
        for name, number in wanted.items()
        if there[name]
    ]
    return items[(page - 1) * size : page * size], {"Link": ", ".join(links)} if links else {}


def _local(address: str, api_url: str) -> str:
    return api_url + address.removeprefix(shapes.API) if address.startswith(shapes.API) else address
