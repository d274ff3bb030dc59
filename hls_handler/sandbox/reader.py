"""Reads facts from the stand-in GitHub without HTTP, for `hls render` and for sample values."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from datetime import UTC, datetime

import httpx2
from pydantic import SecretStr

from hls_handler.clients.api import GithubApi
from hls_handler.clients.reader import GithubReader
from hls_handler.clients.repository_labels import RepositoryLabels
from hls_handler.events import Account
from hls_handler.handlers.reader import NoLog
from hls_handler.sandbox import review_calls
from hls_handler.sandbox.apps import Apps
from hls_handler.sandbox.github_calls import find_endpoint
from hls_handler.sandbox.github_request import Call, paginate
from hls_handler.sandbox.shapes import GitHubError
from hls_handler.sandbox.state import State, now_utc
from hls_handler.settings.model import Github

SETTINGS = Github(token=SecretStr("sandbox"), webhook_secret=SecretStr("sixteen bytes at least"))


class _LocalTransport(httpx2.BaseTransport):
    """Answers reads by the stand-in's endpoints in this process. URLs in responses are those of GitHub."""

    def __init__(self, state: State) -> None:
        self._state, self._apps = state, Apps(state, clock=now_utc)

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        path, query = request.url.path, dict(request.url.params)
        if path == "/graphql":
            body = json.loads(request.read())
            return httpx2.Response(200, json=review_calls.query(self._state, body, can_read=lambda _: True))
        try:
            endpoint, parameters = find_endpoint(request.method, path)
            answer = endpoint(
                Call(self._state, self._apps, request.method, parameters, query, None, "", self._state.me)
            )
        except GitHubError as exc:
            return httpx2.Response(exc.status, json=exc.document(), headers=exc.headers)
        document, headers = paginate(answer.document, query, path) if answer.listed else (answer.document, {})
        return httpx2.Response(
            answer.status, json={answer.inside: document} if answer.inside else document, headers=headers
        )


class SandboxReader(GithubReader):
    """Reads one repository of the stand-in GitHub."""

    def __init__(self, state: State, repository: str) -> None:
        api = GithubApi(SETTINGS, now=lambda: datetime.now(UTC), transport=_LocalTransport(state))
        bot = Account(state.me.login, state.me.id, state.me.type)
        super().__init__(api, repository, RepositoryLabels(time.monotonic), bot=bot)
        self._state = state

    def job_log(self, job_id: int) -> Iterator[str] | NoLog:
        found = self._state.find_job(self._repository, job_id)
        log = found[2].log if found else None
        if not log:
            return NoLog("expired" if log is None else "empty")
        return iter(log.removesuffix("\n").split("\n"))
