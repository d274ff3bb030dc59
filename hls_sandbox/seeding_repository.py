"""Stores workflow runs, releases and pushed commits from payloads in the stand-in GitHub."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from hls_sandbox import derived
from hls_sandbox.objects import (
    Attempt,
    Document,
    Job,
    Release,
    Run,
    read_count,
    read_text,
    read_time,
)
from hls_sandbox.world import World

MAX_ATTEMPTS = 50  # of one run; earlier attempts are generated

WITHOUT_JOBS = frozenset({"startup_failure", "action_required", "stale"})
OUTPUT: Mapping[str, tuple[str, ...]] = {
    "success": ("12 passed in 1.04s",),
    "failure": (
        "FAILED tests/test_app.py::test_the_page_is_shown - assert 500 == 200",
        "##[error]Process completed with exit code 2.",
    ),
    "timed_out": ("##[error]The action 'Run make test' has timed out after 360 minutes.",),
    "cancelled": ("##[error]The operation was canceled.",),
}
"""Conclusion of a generated job -> the end of its log. Other jobs have no log."""


def seed_run(
    world: World, full_name: str, event: str, payload: Mapping[str, Any], now: datetime
) -> World:
    """Store the run of a `workflow_run` event; other events change nothing.

    A new attempt without recorded jobs gets those of `generate_jobs`. Missing earlier attempts are
    generated with the conclusion "failure".
    """
    shown = payload.get("workflow_run")
    if (
        event != "workflow_run"
        or not isinstance(shown, Mapping)
        or not isinstance(shown.get("id"), int)
    ):
        return world
    number = min(max(read_count(shown.get("run_attempt")), 1), MAX_ATTEMPTS)
    known = world.run(full_name, shown["id"])
    attempts = {attempt.number: attempt for attempt in (known.attempts if known else ())}
    for earlier in range(1, number):
        if earlier not in attempts:
            failed = {
                **shown,
                "run_attempt": earlier,
                "status": "completed",
                "conclusion": "failure",
            }
            attempts[earlier] = _attempt(failed, earlier, None, now)
    attempts[number] = _attempt(dict(shown), number, attempts.get(number), now)
    run = Run(full_name, shown["id"], tuple(attempts[each] for each in sorted(attempts)))
    return world.with_run(run)


def _attempt(shown: Document, number: int, before: Attempt | None, now: datetime) -> Attempt:
    conclusion = shown.get("conclusion")
    # keep the jobs: a test may have set their logs
    if before is not None and before.conclusion == conclusion:
        return replace(before, document=shown)
    jobs = derived.jobs_of(shown["id"], number)
    if jobs is not None:
        return Attempt(
            number,
            shown,
            tuple(Job(dict(job), derived.log_of(int(str(job["id"])))) for job in jobs),
        )
    return Attempt(number, shown, generate_jobs(shown, number, now))


def generate_jobs(run: Document, number: int, now: datetime) -> tuple[Job, ...]:
    """Return one job with the conclusion of the run; () if a run with this conclusion has no
    jobs.
    """
    conclusion = run.get("conclusion")
    if conclusion in WITHOUT_JOBS:
        return ()
    began = read_time(run.get("run_started_at"), now)
    ended = began + timedelta(minutes=1)
    common: Document = {
        "status": "completed" if conclusion else "in_progress",
        "conclusion": conclusion,
        "started_at": _stamp(began),
        "completed_at": _stamp(ended) if conclusion else None,
    }
    job: Document = {
        **common,
        "id": int(run["id"]) * 100 + number,
        "run_id": run["id"],
        "run_attempt": number,
        "name": "test",
        "steps": (
            [] if conclusion == "skipped" else [{**common, "number": 1, "name": "Run make test"}]
        ),
    }
    if not isinstance(conclusion, str) or conclusion not in OUTPUT:
        return (Job(job, None),)
    lines = ("##[group]Run make test", "make test", "##[endgroup]", *OUTPUT[conclusion])
    return (
        Job(
            job,
            "".join(
                f"{began:%Y-%m-%dT%H:%M:%S}.{place:07}Z {line}\n"
                for place, line in enumerate(lines)
            ),
        ),
    )


def _stamp(at: datetime) -> str:
    return at.strftime("%Y-%m-%dT%H:%M:%SZ")


def seed_release(world: World, full_name: str, event: str, payload: Mapping[str, Any]) -> World:
    """Store the release of a `release` event; other events change nothing.

    For a release of the demo, the releases and commits before it are stored, too. If the release's
    tag does not exist, it is set to the newest commit.
    """
    shown = payload.get("release")
    if event != "release" or not isinstance(shown, Mapping) or not isinstance(shown.get("id"), int):
        return world
    if payload.get("action") == "deleted":
        return world
    release = Release(
        full_name, shown["id"], {**shown, "tag_name": read_text(shown.get("tag_name"))}
    )
    for earlier in derived.releases_before(release.id):
        world = world.with_release(Release(full_name, int(str(earlier["id"])), dict(earlier)))
    for commit in derived.history_of(release.id):
        world = world.with_commit(full_name, dict(commit))
        names: Any = commit.get("tags", ())
        for tag in names:
            world = world.with_ref(full_name, tag, str(commit["sha"]))
    commits = world.history.get(full_name.lower())
    if release.tag and commits and not world.commit_at(full_name, release.tag):
        world = world.with_ref(full_name, release.tag, str(commits[-1]["sha"]))
    return world.with_release(release)


def seed_push(world: World, full_name: str, event: str, payload: Mapping[str, Any]) -> World:
    """Append the commits of a `push` event to the history, and set the pushed branch or tag to the
    commit `after`.
    """
    ref = read_text(payload.get("ref"))
    after = read_text(payload.get("after"))
    shown = payload.get("commits")
    if event != "push" or not ref or len(after) != 40:
        return world
    for one in shown if isinstance(shown, list) else ():
        if isinstance(one, Mapping) and one.get("id"):
            author = {"name": "ghost", "email": "", "date": read_text(one.get("timestamp"))}
            by = {"message": read_text(one.get("message")), "author": author, "committer": author}
            world = world.with_commit(
                full_name, {"sha": str(one["id"]), "commit": by, "author": None, "committer": None}
            )
    return world.with_ref(
        full_name, ref.removeprefix("refs/heads/").removeprefix("refs/tags/"), after
    )
