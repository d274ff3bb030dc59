"""What the pages show of runs and releases: lists beside the threads, and a page for each where github.com has it."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import quote

from markupsafe import Markup

from hls_handler.sandbox import told
from hls_handler.sandbox.markdown import rendered
from hls_handler.sandbox.state import State
from hls_handler.sandbox.world import Attempt, Document, Job, Release, Run

MOST = 20
"""Runs and releases on the index."""

MOST_LOG = 100_000
"""Characters of a log that a page shows: its end, where failures are told."""

COLOUR = re.compile(r"\x1b\[[0-9;]*m")


def run_address(run: Run) -> str:
    """ "/owner/repo/actions/runs/5" """
    return f"/{run.repository}/actions/runs/{run.id}"


def release_address(release: Release) -> str:
    """ "/owner/repo/releases/tag/v1.2.0" """
    return f"/{release.repository}/releases/tag/{quote(release.tag)}"


def run_rows(state: State) -> list[dict[str, Any]]:
    """The runs that were told of last."""
    return [run_row(run) for run in state.runs()[:MOST]]


def release_rows(state: State) -> list[dict[str, Any]]:
    homes = sorted(home.full_name for home in state.world.repositories.values())
    return [release_row(release) for name in homes for release in state.releases(name)][:MOST]


def run_row(run: Run) -> dict[str, Any]:
    document = run.last.document
    return {
        "repository": run.repository,
        "workflow": told.text(document.get("name")) or "(without a name)",
        "title": told.text(document.get("display_title")) or told.text(document.get("head_sha"))[:7],
        "number": told.count(document.get("run_number")),
        "attempts": len(run.attempts),
        "state": run.last.conclusion or told.text(document.get("status")) or "queued",
        "branch": _branch(run.repository, document),
        "head_sha": told.text(document.get("head_sha"))[:7],
        "event": told.text(document.get("event")),
        "actor": told.account(document.get("triggering_actor") or document.get("actor")),
        "address": run_address(run),
    }


def run_shown(run: Run) -> dict[str, Any]:
    """The newest attempt first."""
    return {**run_row(run), "tries": [_attempt(attempt) for attempt in reversed(run.attempts)]}


def _branch(repository: str, document: Document) -> str:
    """ "main", or "octocat:main" in a fork."""
    home = document.get("head_repository") or {}
    branch = told.text(document.get("head_branch"))
    return (
        branch if home.get("full_name") in {None, repository} else f"{told.account(home.get('owner')).login}:{branch}"
    )


def _attempt(attempt: Attempt) -> dict[str, Any]:
    return {
        "number": attempt.number,
        "state": attempt.conclusion or told.text(attempt.document.get("status")) or "queued",
        "jobs": [_job(job) for job in attempt.jobs],
    }


def _job(job: Job) -> dict[str, Any]:
    log = None if job.log is None else COLOUR.sub("", job.log)
    cut = log is not None and len(log) > MOST_LOG
    return {
        "id": job.id,
        "name": job.name,
        "state": job.conclusion or "queued",
        "steps": [
            {"name": told.text(step.get("name")), "state": told.text(step.get("conclusion")) or "queued"}
            for step in job.document.get("steps") or ()
        ],
        "log": log[-MOST_LOG:] if log is not None else None,
        "cut": cut,
    }


def release_row(release: Release) -> dict[str, Any]:
    document = release.document
    return {
        "repository": release.repository,
        "title": told.text(document.get("name")) or release.tag,
        "tag": release.tag,
        "state": "draft" if document.get("draft") else "pre-release" if document.get("prerelease") else "released",
        "author": told.account(document.get("author")),
        "day": told.text(document.get("published_at"))[:10],
        "address": release_address(release),
    }


def release_shown(release: Release) -> dict[str, Any]:
    body = told.text(release.document.get("body"))
    return {**release_row(release), "body": Markup(rendered(body)) if body.strip() else ""}
