"""Template variables of the web pages about workflow runs and releases."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import quote

from markupsafe import Markup

from hls_handler.sandbox.markdown import rendered
from hls_handler.sandbox.objects import Attempt, Document, Job, Release, Run, read_account, read_count, read_text
from hls_handler.sandbox.state import State

MAX_ROWS = 20
"""Maximum number of runs, and of releases, on the index page."""

MAX_LOG_CHARACTERS = 100_000
"""Maximum characters of a log on a page. Of a longer log the end is shown, because it contains the failure."""

COLOUR = re.compile(r"\x1b\[[0-9;]*m")


def run_address(run: Run) -> str:
    """Return the path of a run's page: "/owner/repo/actions/runs/5"."""
    return f"/{run.repository}/actions/runs/{run.id}"


def release_address(release: Release) -> str:
    """Return the path of a release's page: "/owner/repo/releases/tag/v1.2.0"."""
    return f"/{release.repository}/releases/tag/{quote(release.tag)}"


def run_rows(state: State) -> list[dict[str, Any]]:
    """Return the rows of the index page for the `MAX_ROWS` most recently changed runs."""
    return [run_row(run) for run in state.runs()[:MAX_ROWS]]


def release_rows(state: State) -> list[dict[str, Any]]:
    homes = sorted(home.full_name for home in state.world.repositories.values())
    return [release_row(release) for name in homes for release in state.releases(name)][:MAX_ROWS]


def run_row(run: Run) -> dict[str, Any]:
    document = run.last.document
    return {
        "repository": run.repository,
        "workflow": read_text(document.get("name")) or "(without a name)",
        "title": read_text(document.get("display_title")) or read_text(document.get("head_sha"))[:7],
        "number": read_count(document.get("run_number")),
        "attempts": len(run.attempts),
        "state": run.last.conclusion or read_text(document.get("status")) or "queued",
        "branch": _branch(run.repository, document),
        "head_sha": read_text(document.get("head_sha"))[:7],
        "event": read_text(document.get("event")),
        "actor": read_account(document.get("triggering_actor") or document.get("actor")),
        "address": run_address(run),
    }


def run_shown(run: Run) -> dict[str, Any]:
    """Return the template variables of a run's page, with the newest attempt first."""
    return {**run_row(run), "tries": [_attempt(attempt) for attempt in reversed(run.attempts)]}


def _branch(repository: str, document: Document) -> str:
    home = document.get("head_repository") or {}
    branch = read_text(document.get("head_branch"))
    return (
        branch if home.get("full_name") in {None, repository} else f"{read_account(home.get('owner')).login}:{branch}"
    )


def _attempt(attempt: Attempt) -> dict[str, Any]:
    return {
        "number": attempt.number,
        "state": attempt.conclusion or read_text(attempt.document.get("status")) or "queued",
        "jobs": [_job(job) for job in attempt.jobs],
    }


def _job(job: Job) -> dict[str, Any]:
    log = None if job.log is None else COLOUR.sub("", job.log)
    cut = log is not None and len(log) > MAX_LOG_CHARACTERS
    return {
        "id": job.id,
        "name": job.name,
        "state": job.conclusion or "queued",
        "steps": [
            {"name": read_text(step.get("name")), "state": read_text(step.get("conclusion")) or "queued"}
            for step in job.document.get("steps") or ()
        ],
        "log": log[-MAX_LOG_CHARACTERS:] if log is not None else None,
        "cut": cut,
    }


def release_row(release: Release) -> dict[str, Any]:
    document = release.document
    return {
        "repository": release.repository,
        "title": read_text(document.get("name")) or release.tag,
        "tag": release.tag,
        "state": "draft" if document.get("draft") else "pre-release" if document.get("prerelease") else "released",
        "author": read_account(document.get("author")),
        "day": read_text(document.get("published_at"))[:10],
        "address": release_address(release),
    }


def release_shown(release: Release) -> dict[str, Any]:
    body = read_text(release.document.get("body"))
    return {**release_row(release), "body": Markup(rendered(body)) if body.strip() else ""}
