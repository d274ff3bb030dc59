"""Stored data of the stand-ins: canned replies, and GitHub API responses of the demo's objects."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

import yaml

from hls_handler.prompting.recorded import PAYLOADS

Answer = tuple[Mapping[str, object], ...]
"""A list of objects, as in a response of GitHub's REST API."""


def files_at(head_sha: str) -> Answer | None:
    """Return the changed files of the demo's pull request at this head commit; None for any other
    commit.
    """
    return next(
        (files for files in _answers("files") if head_sha and f"/blob/{head_sha}/" in str(files)),
        None,
    )


def review_comments_of(review_id: int) -> Answer:
    """Return the stored line comments of the review with this id; () if none are stored."""
    all_comments = _answers("review_comments")
    return next(
        (
            found
            for found in all_comments
            if found and found[0]["pull_request_review_id"] == review_id
        ),
        (),
    )


def jobs_of(run_id: int, attempt: int) -> Answer | None:
    """Return the stored jobs of one attempt of a workflow run; None if none are stored."""
    wanted = (run_id, attempt)
    return next(
        (
            jobs
            for jobs in _answers("jobs")
            if (jobs[0]["run_id"], jobs[0]["run_attempt"]) == wanted
        ),
        None,
    )


def log_of(job_id: int) -> str | None:
    """Return the stored log of a job; None if none is stored."""
    path = PAYLOADS / "derived" / "logs" / f"{job_id}.txt"
    return path.read_text(encoding="utf-8") if path.exists() else None


def releases_before(release_id: int) -> Answer:
    """Return the stored releases before this release, oldest first; () if none are stored."""
    return next(_answers("releases", str(release_id)), ())


def history_of(release_id: int) -> Answer:
    """Return the stored commits up to this release, oldest first. A commit's key `tags` lists its
    tags.
    """
    return next(_answers("history", str(release_id)), ())


@cache
def load_canned() -> Mapping[str, Any]:
    """Return the data of the canned replies and of the pushes in the demo."""
    loaded: Mapping[str, Any] = yaml.safe_load((PAYLOADS / "canned.yaml").read_bytes())
    return loaded


def _answers(folder: str, name: str = "*") -> Iterator[Answer]:
    for path in sorted((PAYLOADS / "derived" / folder).glob(f"{name}.json")):
        yield tuple(json.loads(path.read_bytes()))
