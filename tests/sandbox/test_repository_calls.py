"""Runs, logs, releases and comparisons over HTTP, with the product's client and with plain requests."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from time import monotonic
from typing import Any
from urllib.parse import urlsplit

import pytest
from pydantic import SecretStr

from hls_handler.clients.api import GithubApi
from hls_handler.clients.reader import GithubReader
from hls_handler.clients.repository_labels import RepositoryLabels
from hls_handler.handlers.reader import FileAtRef, NoLog
from hls_handler.prompting import recorded
from hls_handler.sandbox.reader import SandboxReader
from hls_handler.sandbox.server import Sandbox
from hls_handler.settings.model import Github
from tests.contracts.github import violations
from tests.sandbox.conftest import REPOSITORY, Answer, ask, ask_github, seed_story

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


def fetch(address: str, **headers: str) -> Answer:
    parts = urlsplit(address)
    return ask(f"http://{parts.netloc}", "GET", f"{parts.path}?{parts.query}", headers=headers)


def test_a_log_url_expires_after_a_minute(sandbox: Sandbox, clock: Clock) -> None:
    sent_on = ask_github(sandbox, "GET", logs(JOB))
    assert (sent_on.status, sent_on.text) == (302, "")
    address = sent_on.headers["location"]
    assert address.startswith(f"{sandbox.page_url}_storage/logs/{REPOSITORY}/{JOB}?until=")
    assert fetch(address).status == 200
    clock.now += timedelta(seconds=59)
    assert fetch(address).status == 200
    clock.now += timedelta(seconds=2)
    assert fetch(address).status == 403


def test_a_log_download_with_token_or_wrong_signature_is_rejected(sandbox: Sandbox) -> None:
    address = ask_github(sandbox, "GET", logs(JOB)).headers["location"]
    assert fetch(address, Authorization=f"token {sandbox.token}").status == 400
    for changed in (
        address.replace(str(JOB), "54110020702"),
        address[:-1] + ("0" if address[-1] != "0" else "1"),
        address.partition("?")[0],
        address.replace("until=", "until=x"),
        address + "\u00e9".encode().hex(),
    ):
        assert fetch(changed).status == 403


@pytest.mark.parametrize("job", [1, 99])
def test_the_log_of_an_unknown_job_is_404(sandbox: Sandbox, job: int) -> None:
    assert ask_github(sandbox, "GET", logs(job)).status == 404


def test_an_expired_log_is_410_and_an_unwritten_one_404(sandbox: Sandbox) -> None:
    sandbox.state.set_log(REPOSITORY, JOB, None)
    assert ask_github(sandbox, "GET", logs(JOB)).status == 410
    one = recorded.load("demo/tests-failed")
    payload: Any = one.payload
    running = {**payload["workflow_run"], "id": 5, "conclusion": None, "status": "in_progress"}
    sandbox.state.seed(one.event, {**payload, "workflow_run": running})
    assert ask_github(sandbox, "GET", logs(501)).status == 404


def test_jobs_are_wrapped_and_paginated(sandbox: Sandbox) -> None:
    path = f"/repos/{REPOSITORY}/actions/runs/{RUN}/attempts/1/jobs?per_page=1&page=2"
    answer = ask_github(sandbox, "GET", path)
    assert answer.headers["x-accepted-github-permissions"] == "actions=read"
    assert answer.document["total_count"] == 2
    (job,) = answer.document["jobs"]
    assert (job["name"], job["run_id"], job["run_attempt"], job["run_url"]) == (
        "eslint",
        RUN,
        1,
        f"{sandbox.github_url}/repos/{REPOSITORY}/actions/runs/{RUN}",
    )
    assert 'rel="prev"' in answer.headers["link"]


def test_runs_and_earlier_attempts_can_be_read(sandbox: Sandbox) -> None:
    base = f"/repos/{REPOSITORY}/actions/runs/{RUN}"
    now, then = (ask_github(sandbox, "GET", path).document for path in (base, f"{base}/attempts/1"))
    assert (now["run_attempt"], now["conclusion"], then["run_attempt"], then["conclusion"]) == (
        2,
        "success",
        1,
        "failure",
    )
    assert now["previous_attempt_url"] == f"{sandbox.github_url}{base}/attempts/1"
    assert then["previous_attempt_url"] is None
    assert (now["pull_requests"], now["head_repository"]["full_name"]) == ([], "octocat/Hello-World")
    assert now["html_url"] == f"{sandbox.page_url}{REPOSITORY}/actions/runs/{RUN}"


@pytest.mark.parametrize(
    "path",
    [
        "actions/runs/1",
        "actions/runs/1/attempts/1/jobs",
        f"actions/runs/{RUN}/attempts/3",
        f"actions/runs/{RUN}/attempts/3/jobs",
        "compare/v4.2.0...v9",
        "compare/v4.2.0",
        "compare/...",
    ],
)
def test_unknown_objects_are_404(sandbox: Sandbox, path: str) -> None:
    assert ask_github(sandbox, "GET", f"/repos/{REPOSITORY}/{path}").status == 404


def test_a_comparison_has_ahead_and_behind_counts(sandbox: Sandbox) -> None:
    path = f"/repos/{REPOSITORY}/compare"
    ahead = ask_github(sandbox, "GET", f"{path}/v4.2.0...v4.3.0").document
    behind = ask_github(sandbox, "GET", f"{path}/v4.3.0...v4.2.0").document
    same = ask_github(sandbox, "GET", f"{path}/v4.3.0...v4.3.0").document
    assert [
        (one["status"], one["ahead_by"], one["behind_by"], one["total_commits"]) for one in (ahead, behind, same)
    ] == [
        ("ahead", 7, 0, 7),
        ("behind", 0, 7, 0),
        ("identical", 0, 0, 0),
    ]
    assert ahead["base_commit"]["sha"] == ahead["merge_base_commit"]["sha"] == behind["merge_base_commit"]["sha"]
    authors = [(one["author"] or {}).get("login") for one in ahead["commits"]]
    assert authors == ["Codertocat", "octocat", "octocat", None, "Codertocat", "octocat", "Codertocat"]


def test_pull_requests_of_a_fork_are_found_by_branch_and_not_by_commit(sandbox: Sandbox) -> None:
    sha = recorded.load("demo/feature-push").payload["after"]
    assert ask_github(sandbox, "GET", f"/repos/{REPOSITORY}/commits/{sha}/pulls").document == []
    (pull,) = ask_github(sandbox, "GET", f"/repos/{REPOSITORY}/pulls?head={HEAD}").document
    assert (pull["number"], pull["head"]["sha"]) == (13, sha)


def test_files_are_read_by_branch_and_folders_are_listed(sandbox: Sandbox, over_http: GithubReader) -> None:
    sandbox.state.set_file(REPOSITORY, ".github/hls.yaml", "enabled: false\n")
    sandbox.state.set_file(REPOSITORY, ".github/hls.yaml", "enabled: true\n", branch="changes")
    without_http = SandboxReader(sandbox.state, REPOSITORY)
    for reader in (over_http, without_http):
        found = reader.find_file(".github/hls.yaml", ref=None)
        assert found == FileAtRef("file", "bc114417c781606bda9a6b2369c0912b598f7cd6", b"enabled: false\n")
        changed = reader.find_file(".github/hls.yaml", ref="changes")
        assert (changed and changed.content) == b"enabled: true\n"
        assert reader.find_file(".github/hls.yaml", ref="nowhere") is None
        assert reader.find_file("README.md", ref=None) is None
    assert over_http.find_file(".github", ref=None) == FileAtRef("directory", "", None)
    assert violations(request.document() for request in sandbox.requests.all("github")) == []
