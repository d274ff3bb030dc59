"""Stores workflow runs, releases, commits and tags from payloads in the stand-in GitHub."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from hls_handler.sandbox import derived
from hls_handler.sandbox.objects import Attempt, Document, Job, Release, Run, read_count, read_text, read_time
from hls_handler.sandbox.world import World

NO_COMMIT = "0" * 40  # `after` of a push that deletes its ref
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


def seed_run(world: World, full_name: str, event: str, payload: Mapping[str, Any], now: datetime) -> World:
    """Store the run of a `workflow_run` event; other events change nothing.

    A new attempt without recorded jobs gets those of `generate_jobs`. Missing earlier attempts are generated with the
    conclusion "failure".
    """
    shown = payload.get("workflow_run")
    if event != "workflow_run" or not isinstance(shown, Mapping) or not isinstance(shown.get("id"), int):
        return world
    number = min(max(read_count(shown.get("run_attempt")), 1), MAX_ATTEMPTS)
    known = world.run(full_name, shown["id"])
    attempts = {attempt.number: attempt for attempt in (known.attempts if known else ())}
    for earlier in range(1, number):
        if earlier not in attempts:
            failed = {**shown, "run_attempt": earlier, "status": "completed", "conclusion": "failure"}
            attempts[earlier] = _attempt(failed, earlier, None, now)
    attempts[number] = _attempt(dict(shown), number, attempts.get(number), now)
    run = Run(full_name, shown["id"], tuple(attempts[each] for each in sorted(attempts)))
    return world.with_run(run)


def _attempt(shown: Document, number: int, before: Attempt | None, now: datetime) -> Attempt:
    conclusion = shown.get("conclusion")
    if before is not None and before.conclusion == conclusion:  # keep the jobs: a test may have set their logs
        return replace(before, document=shown)
    jobs = derived.jobs_of(shown["id"], number)
    if jobs is not None:
        return Attempt(number, shown, tuple(Job(dict(job), derived.log_of(int(str(job["id"])))) for job in jobs))
    return Attempt(number, shown, generate_jobs(shown, number, now))


def generate_jobs(run: Document, number: int, now: datetime) -> tuple[Job, ...]:
    """Return one job with the conclusion of the run; () if a run with this conclusion has no jobs."""
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
        "steps": [] if conclusion == "skipped" else [{**common, "number": 1, "name": "Run make test"}],
    }
    if not isinstance(conclusion, str) or conclusion not in OUTPUT:
        return (Job(job, None),)
    lines = ("##[group]Run make test", "make test", "##[endgroup]", *OUTPUT[conclusion])
    return (Job(job, "".join(f"{began:%Y-%m-%dT%H:%M:%S}.{place:07}Z {line}\n" for place, line in enumerate(lines))),)


def _stamp(at: datetime) -> str:
    return at.strftime("%Y-%m-%dT%H:%M:%SZ")


def seed_release(world: World, full_name: str, event: str, payload: Mapping[str, Any], now: datetime) -> World:
    """Store or delete the release of a `release` event; other events change nothing.

    For a release of the demo, the releases and commits before it are stored, too. If the release's tag does not
    exist, it is set to the newest commit. A repository without commits first gets a generated commit.
    """
    shown = payload.get("release")
    if event != "release" or not isinstance(shown, Mapping) or not isinstance(shown.get("id"), int):
        return world
    release = Release(full_name, shown["id"], {**shown, "tag_name": read_text(shown.get("tag_name"))})
    if payload.get("action") == "deleted":
        return world.without_release(release)
    for earlier in derived.releases_before(release.id):
        world = world.with_release(Release(full_name, int(str(earlier["id"])), dict(earlier)))
    world = _with_history(world, full_name, derived.history_of(release.id))
    if not release.tag or world.commit_at(full_name, release.tag):
        return world.with_release(release)
    if not world.history.get(full_name.lower()):
        world = world.with_commits(full_name, [_generate_commit(release, now)])
    newest = world.history[full_name.lower()][-1]["sha"]
    return world.with_ref(full_name, release.tag, str(newest)).with_release(release)


def _with_history(world: World, full_name: str, commits: tuple[Mapping[str, object], ...]) -> World:
    for commit in commits:
        document = {key: value for key, value in commit.items() if key != "tags"}
        world = world.with_commits(full_name, [document])
        names: Any = commit.get("tags", ())
        for tag in names:
            world = world.with_ref(full_name, tag, str(document["sha"]))
    return world


def seed_push(world: World, full_name: str, event: str, payload: Mapping[str, Any], now: datetime) -> World:
    """Append the commits of a `push` event to the history, and set the pushed branch or tag to the commit `after`."""
    ref, after = read_text(payload.get("ref")), read_text(payload.get("after"))
    if event != "push" or not ref or len(after) != 40:
        return world
    name = ref.removeprefix("refs/heads/").removeprefix("refs/tags/")
    shown = payload.get("commits")
    commits = [one for one in (shown if isinstance(shown, list) else ()) if isinstance(one, Mapping) and one.get("id")]
    world = world.with_commits(full_name, [_pushed(commit, now) for commit in commits])
    return world if after == NO_COMMIT else world.with_ref(full_name, name, after)


def _pushed(shown: Mapping[str, Any], now: datetime) -> Document:
    who = shown.get("author")
    author: Mapping[str, Any] = who if isinstance(who, Mapping) else {}
    login = author.get("username")
    return commit(
        str(shown["id"]),
        read_text(shown.get("message")),
        name=read_text(author.get("name")),
        email=read_text(author.get("email")),
        login=login if isinstance(login, str) else None,
        at=read_time(shown.get("timestamp"), now),
    )


def _generate_commit(release: Release, now: datetime) -> Document:
    sha = hashlib.sha1(f"{release.key} {release.tag}".encode()).hexdigest()
    return commit(sha, f"Release {release.tag}", name="ghost", email="", login=None, at=now)


def commit(sha: str, message: str, *, name: str, email: str, login: str | None, at: datetime) -> Document:
    """Return a commit as in `GET compare/{base}...{head}`, without URLs. `login` is the author's account, if any."""
    by = {"name": name, "email": email, "date": at.strftime("%Y-%m-%dT%H:%M:%SZ")}
    account = {"login": login} if login else None
    return {
        "sha": sha,
        "commit": {"message": message, "author": by, "committer": by},
        "author": account,
        "committer": account,
    }
