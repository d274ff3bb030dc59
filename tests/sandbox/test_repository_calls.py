"""Runs, logs, releases and comparisons over HTTP, with the product's client and with plain requests."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime
from time import monotonic

import pytest
from pydantic import SecretStr

from hls_handler.clients.api import GithubApi
from hls_handler.clients.reader import GithubReader
from hls_handler.clients.repository_labels import RepositoryLabels
from hls_handler.handlers.reader import NoLog
from hls_handler.prompting import recorded
from hls_handler.sandbox.reader import SandboxReader
from hls_handler.sandbox.server import Sandbox
from hls_handler.settings.model import Github
from tests.contracts.github import violations
from tests.sandbox.conftest import REPOSITORY, seed_story

RUN, JOB = 19041222731, 54110020701
HEAD = "octocat:discount-codes"


class Clock:
    def __init__(self) -> None:
        self.now = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def sandbox(clock: Clock) -> Iterator[Sandbox]:
    with Sandbox(clock=clock) as running:
        seed_story(running, *recorded.DERIVED)
        yield running


@pytest.fixture
def over_http(sandbox: Sandbox) -> Iterator[GithubReader]:
    settings = Github(token=SecretStr(sandbox.token), webhook_secret=SecretStr("x" * 32), base_url=sandbox.github_url)
    with closing(GithubApi(settings, observe=lambda rate: None, now=lambda: datetime.now(UTC))) as api:
        yield GithubReader(api, REPOSITORY, RepositoryLabels(monotonic))


def here(sandbox: Sandbox, url: str) -> str:
    return url.replace("https://github.com/", sandbox.page_url)


def test_objects_are_equal_with_and_without_http(sandbox: Sandbox, over_http: GithubReader) -> None:
    without = SandboxReader(sandbox.state, REPOSITORY)
    for attempt in (1, 2):
        jobs = without.jobs(RUN, attempt)
        assert len(jobs) == 2
        assert over_http.jobs(RUN, attempt) == tuple(replace(job, html_url=here(sandbox, job.html_url)) for job in jobs)
    releases = without.releases()
    assert len(releases) == 4
    assert over_http.releases() == tuple(replace(one, html_url=here(sandbox, one.html_url)) for one in releases)
    assert over_http.commits_between("v4.2.0", "v4.3.0") == without.commits_between("v4.2.0", "v4.3.0")
    comments = without.comments(11, most=5)
    assert [comment.user.login for comment in comments] == ["Codertocat", "monalisa"]
    assert over_http.comments(11, most=5) == tuple(
        replace(one, html_url=here(sandbox, one.html_url)) for one in comments
    )
    assert over_http.comments(11, most=1) == over_http.comments(11, most=5)[-1:]
    (pull,) = without.pull_requests_from(HEAD)
    assert over_http.pull_requests_from(HEAD) == (replace(pull, html_url=here(sandbox, pull.html_url)),)


def test_every_request_is_documented_by_github(sandbox: Sandbox, over_http: GithubReader) -> None:
    over_http.jobs(RUN, 1)
    over_http.job_log(JOB)
    over_http.pull_requests_from(HEAD)
    over_http.releases()
    over_http.commits_between("v4.2.0", "v4.3.0")
    over_http.comments(11, most=5)
    seen = [one.document() for one in sandbox.requests.all("github")]
    assert len(seen) == 6
    assert violations(seen) == []


def test_logs_are_equal_with_and_without_http(sandbox: Sandbox, over_http: GithubReader) -> None:
    without = SandboxReader(sandbox.state, REPOSITORY).job_log(JOB)
    fetched = over_http.job_log(JOB)
    assert isinstance(without, Iterator)
    assert isinstance(fetched, Iterator)
    lines = list(fetched)
    assert lines == list(without)
    assert lines[0] == "2026-11-02T10:24:40.0204113Z Current runner version: '2.332.0'"
    assert lines[-1].endswith(" Cleaning up orphan processes")


@pytest.mark.parametrize(("log", "why"), [(None, "expired"), ("", "empty")])
def test_a_missing_log_has_a_reason(sandbox: Sandbox, over_http: GithubReader, log: str | None, why: str) -> None:
    assert sandbox.state.set_log(REPOSITORY, JOB, log)
    assert over_http.job_log(JOB) == SandboxReader(sandbox.state, REPOSITORY).job_log(JOB)
    found = over_http.job_log(JOB)
    assert isinstance(found, NoLog)
    assert found.why == why


def logs(job: int) -> str:
    return f"/repos/{REPOSITORY}/actions/jobs/{job}/logs"
