"""Reads facts from the stand-in GitHub without HTTP, for `hls render` and for sample values."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from urllib.parse import parse_qsl, unquote, urlsplit

from pydantic import SecretStr
from starlette.routing import compile_path

from hls_handler.events import Account
from hls_handler.git.mirror import Mirrors
from hls_handler.github.api import GithubApi
from hls_handler.github.connection import Call as GithubCall
from hls_handler.github.connection import HttpResponse
from hls_handler.github.labels import RepositoryLabels
from hls_handler.github.reader import GithubReader
from hls_handler.github.values import NoLog
from hls_handler.settings.model import GithubSettings
from hls_sandbox import review_calls
from hls_sandbox.apps import Apps, InstallationToken
from hls_sandbox.github_calls import ROUTES
from hls_sandbox.github_request import Call, Endpoint, paginate
from hls_sandbox.shapes import GitHubError
from hls_sandbox.state import State, now_utc
from tests.github_fake import routes
from tests.github_fake.access import require_permission

SETTINGS = GithubSettings(
    token=SecretStr("sandbox"), webhook_secret=SecretStr("sixteen bytes at least")
)


class LocalTransport:
    """Answers requests by the stand-in's endpoints in this process. URLs in responses are those of
    GitHub.
    """

    def __init__(self, state: State, token: InstallationToken | None = None) -> None:
        """`token` is that of an App's installation."""
        self._state = state
        self._apps = Apps(state, clock=now_utc)
        self._token = token

    def send(self, call: GithubCall) -> HttpResponse:
        address = urlsplit(call.target)
        path = unquote(address.path)
        query = dict(parse_qsl(address.query))
        body = json.loads(call.body) if call.body else None
        if path == "/graphql":
            result = review_calls.query(
                self._state,
                body,
                me=self._state.me,
                can_read=lambda _: True,
                queries=routes.QUERIES,
            )
            return _response(200, result, {})
        try:
            found = find_endpoint(call.verb, path)
            received = Call(
                self._state,
                self._apps,
                found.name,
                found.parameters,
                query,
                body,
                self._state.me,
                self._token,
            )
            require_permission(received)
            answer = found.endpoint(received)
        except GitHubError as exc:
            return _response(exc.status, exc.document(), exc.headers)
        document, headers = (
            paginate(answer.document, query, path) if answer.listed else (answer.document, {})
        )
        return _response(
            answer.status, {answer.inside: document} if answer.inside else document, headers
        )

    def close(self) -> None:
        """Do nothing: there is no connection."""


def _response(status: int, document: object, headers: Mapping[str, str]) -> HttpResponse:
    lower = {name.lower(): value for name, value in headers.items()}
    return HttpResponse(status, lower, json.dumps(document).encode())


@dataclass(frozen=True, slots=True)
class FoundEndpoint:
    name: str  # "GET /repos/{owner}/{repo}"
    endpoint: Endpoint
    parameters: Mapping[str, str]


@cache
def _patterns() -> tuple[tuple[str, str, re.Pattern[str], Endpoint], ...]:
    return tuple(
        (method, path, compile_path(path)[0], endpoint)
        for method, path, endpoint in (*ROUTES, *routes.ROUTES)
    )


def find_endpoint(method: str, path: str) -> FoundEndpoint:
    """Return the endpoint of a decoded path. Raises `GitHubError` (404)."""
    for known, route, pattern, endpoint in _patterns():
        match = pattern.match(path)
        if match is not None and known == method:
            return FoundEndpoint(f"{method} {route}", endpoint, match.groupdict())
    raise GitHubError(404, "Not Found")


class SandboxReader(GithubReader):
    """Reads one repository of the stand-in GitHub."""

    def __init__(
        self,
        state: State,
        repository: str,
        api: GithubApi | None = None,
        *,
        mirrors: Mirrors | None = None,
    ) -> None:
        """`api` is by default a new client of the stand-in."""
        if api is None:
            transport = LocalTransport(state)
            api = GithubApi(SETTINGS, now=lambda: datetime.now(UTC), transport=transport)
        bot = Account(state.me.login, state.me.id, state.me.type)
        labels = RepositoryLabels(time.monotonic)
        super().__init__(api.of(repository), labels, bot=bot, mirrors=mirrors)
        self._state = state

    def job_log(self, job_id: int) -> Iterator[str] | NoLog:
        found = self._state.find_job(self._api.repository, job_id)
        log = found[2].log if found else None
        if not log:
            return NoLog("expired" if log is None else "empty")
        return iter(log.removesuffix("\n").split("\n"))
