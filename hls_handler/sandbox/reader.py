"""Reads facts from the stand-in GitHub without HTTP, for `hls render` and for sample values."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from typing import TypeVar
from urllib.parse import unquote

from hls_handler.clients.api import PAGE_SIZE, GithubApi, validate
from hls_handler.clients.reader import GithubReader
from hls_handler.clients.repository_labels import RepositoryLabels
from hls_handler.errors import Permanent
from hls_handler.events import Account
from hls_handler.handlers.reader import NoLog
from hls_handler.sandbox import review_calls
from hls_handler.sandbox.github_calls import find_endpoint
from hls_handler.sandbox.github_request import Answer, Call, GitHubError, paginate
from hls_handler.sandbox.state import State

T = TypeVar("T")


class _LocalApi(GithubApi):
    """The reads of GitHub's API, answered by the stand-in's endpoints in this process. URLs are those of GitHub."""

    def __init__(self, state: State) -> None:  # without a connection
        self._state = state

    def get_with_headers(
        self, path: str, shape: type[T], *, query: Mapping[str, str] | None = None
    ) -> tuple[T, Mapping[str, str]]:
        answer = self._answer(path, query or {})
        return validate(f"GET {path}", shape, answer.document), answer.headers

    def find(self, path: str, shape: type[T], *, query: Mapping[str, str] | None = None) -> T | None:
        try:
            return self.get_with_headers(path, shape, query=query)[0]
        except Permanent:
            return None

    def page(
        self,
        path: str,
        shape: type[tuple[T, ...]],
        number: int,
        *,
        items_key: str | None = None,
        query: Mapping[str, str] | None = None,
        per_page: int = PAGE_SIZE,
    ) -> tuple[tuple[T, ...], Mapping[str, str]]:
        del items_key  # `answer.document` is the list itself
        query = {**(query or {}), "per_page": str(per_page), "page": str(number)}
        answer = self._answer(path, query)
        items, headers = paginate(answer.document, query, path)
        return validate(f"GET {path}", shape, items), headers

    def query(self, query: str, variables: Mapping[str, object], shape: type[T]) -> T:
        body = {"query": query, "variables": variables}
        answer = review_calls.query(self._state, body, can_read=lambda _: True)
        if answer["data"] is None:
            raise Permanent(answer["errors"][0]["message"])
        return validate("POST /graphql", shape, answer["data"])

    def _answer(self, path: str, query: Mapping[str, str]) -> Answer:
        try:
            endpoint, parameters = find_endpoint("GET", unquote(path))
            return endpoint(Call(self._state, "GET", parameters, query, None, "", self._state.me))
        except GitHubError as exc:
            raise Permanent(f"{path} is not in the sandbox ({exc.message}): send its event first") from exc


class SandboxReader(GithubReader):
    """Reads one repository of the stand-in GitHub."""

    def __init__(self, state: State, repository: str) -> None:
        bot = Account(state.me.login, state.me.id, state.me.type)
        super().__init__(_LocalApi(state), repository, RepositoryLabels(time.monotonic), bot=bot)
        self._state = state

    def job_log(self, job_id: int) -> Iterator[str] | NoLog:
        found = self._state.find_job(self._repository, job_id)
        log = found[2].log if found else None
        if not log:
            return NoLog("expired" if log is None else "empty")
        return iter(log.removesuffix("\n").split("\n"))
