"""Endpoints of GitHub's REST API for workflow runs, releases, commits, files, check runs and commit
statuses.

https://docs.github.com/en/rest
"""

from __future__ import annotations

import re
from typing import Any

from hls_sandbox import shapes
from hls_sandbox.github_request import (
    Answer,
    Call,
    Endpoint,
    check_length,
    existing,
    repository_of,
    valid_fields,
)
from hls_sandbox.objects import Document, Repository
from hls_sandbox.shapes import GitHubError

MAX_STATUS_CHARACTERS = 140


def attempt_jobs(call: Call) -> Answer:
    run = call.state.run(repository_of(call).full_name, int(call.path["run"]))
    attempt = run.attempt(int(call.path["attempt"])) if run else None
    if run is None or attempt is None:
        raise GitHubError(404, "Not Found")
    return Answer([shapes.job(run, one) for one in attempt.jobs], listed=True, inside="jobs")


def job_logs(call: Call) -> Answer:
    """Redirect to the log of a job. Raises 410 for an expired log, and 404 for an unknown or
    running job.
    """
    home = repository_of(call)
    found = call.state.find_job(home.full_name, int(call.path["job"]))
    if found is None or found[2].conclusion is None:
        raise GitHubError(404, "Not Found")
    if found[2].log is None:
        raise GitHubError(
            410, "Server Error: The logs for this run have expired and are no longer available."
        )
    return Answer(None, log=(home.full_name, found[2].id))


def releases(call: Call) -> Answer:
    home = repository_of(call)
    return Answer([shapes.release(one) for one in call.state.releases(home.full_name)], listed=True)


def compare(call: Call) -> Answer:
    """Return the commits of head that are not in base. Every history in the stand-in is linear."""
    home = repository_of(call)
    base, _, head = call.path["basehead"].partition("...")
    between = existing(call.state.world.commits_between(home.full_name, base, head))
    return Answer(shapes.comparison(between, call.state.world.accounts))


# --- checks: https://docs.github.com/en/rest/checks/runs
# -------------------------------------------------------------


def create_check_run(call: Call) -> Answer:
    home = _home_of_app(call)
    given = valid_fields(call.body, "name", "head_sha")
    _require_commit(given["head_sha"])
    number = call.state.world.next_id
    run: Document = {
        "id": number,
        "html_url": f"{shapes.WEB}/{home.full_name}/runs/{number}",
        "app": {"slug": call.me.login.removesuffix("[bot]")},
        "external_id": "",
        "status": "queued",
        "conclusion": None,
        "output": {"title": None, "summary": None, "annotations_count": 0},
        "annotations": [],
    }
    return Answer(_store_check_run(call, home, run, given), status=201)


def check_run(call: Call) -> Answer:
    return Answer(_shown(_find_check_run(call, repository_of(call))))


def annotations_of(call: Call) -> Answer:
    home = repository_of(call)
    job = call.state.find_job(home.full_name, int(call.path["run"]))
    if job is not None:
        return Answer(list(job[2].annotations), listed=True)
    return Answer(_find_check_run(call, home)["annotations"], listed=True)


def update_check_run(call: Call) -> Answer:
    home = _home_of_app(call)
    run = _find_check_run(call, home)
    if run["app"]["slug"] != call.me.login.removesuffix("[bot]"):
        raise GitHubError(
            403,
            "Invalid app_id `1` - check run can only be modified by the GitHub App that"
            " created it.",
        )
    return Answer(_store_check_run(call, home, run, valid_fields(call.body)))


def check_runs_of_commit(call: Call) -> Answer:
    """Filter by `check_name`. With `filter=latest`, the default, only the last run of each name and
    App is listed.
    """
    home = repository_of(call)
    name = call.query.get("check_name")
    found = call.state.world.check_runs_on(home.full_name, call.path["sha"])
    if call.query.get("filter", "latest") == "latest":
        latest = {(run["app"]["slug"], run["name"]): run for run in found}
        found = sorted(latest.values(), key=lambda run: int(run["id"]))
    listed = [_shown(run) for run in reversed(found) if name is None or run["name"] == name]
    return Answer(listed, listed=True, inside="check_runs")


def create_status(call: Call) -> Answer:
    home = repository_of(call)
    sha = call.path["sha"]
    if call.permission(home.full_name) not in {"admin", "write"}:
        raise GitHubError(404, "Not Found")
    given = {"description": None, "context": "default", **valid_fields(call.body, "state")}
    check_length("Status", "description", given["description"] or "", MAX_STATUS_CHARACTERS)
    _require_commit(sha)
    status: Document = {**given, "id": call.state.world.next_id, "sha": sha}
    call.state.change(lambda world: world.with_status(home.full_name, status))
    return Answer(status, status=201)


def _store_check_run(
    call: Call, home: Repository, run: Document, given: dict[str, Any]
) -> Document:
    changed = {**run, **given}
    if "conclusion" in given:
        changed["status"] = "completed"
    elif given.get("status") in ("queued", "in_progress"):
        changed["conclusion"] = None
    output = dict(given.get("output") or {})
    annotations = [*run["annotations"], *output.pop("annotations", [])]
    changed["annotations"] = annotations
    changed["output"] = {**run["output"], **output, "annotations_count": len(annotations)}
    call.state.change(lambda world: world.with_check_run(home.full_name, changed))
    return _shown(changed)


def _shown(run: Document) -> Document:
    # they have an endpoint of their own
    return {key: value for key, value in run.items() if key != "annotations"}


def _home_of_app(call: Call) -> Repository:
    home = repository_of(call)
    if not call.is_installation:
        raise GitHubError(403, "You must authenticate via a GitHub App.")
    return home


def _find_check_run(call: Call, home: Repository) -> Document:
    return existing(call.state.world.check_runs.get(f"{home.full_name}/{call.path['run']}".lower()))


def _require_commit(sha: str) -> None:
    # The stand-in does not know all commits.
    if not re.fullmatch(r"[0-9a-f]{40}", sha):
        raise GitHubError(422, f"No commit found for SHA: {sha}")


REPOSITORY = "/repos/{owner}/{repo}"

ROUTES: tuple[tuple[str, str, Endpoint], ...] = (
    (
        "GET",
        f"{REPOSITORY}/actions/runs/{{run:int}}/attempts/{{attempt:int}}/jobs",
        attempt_jobs,
    ),
    ("GET", f"{REPOSITORY}/actions/jobs/{{job:int}}/logs", job_logs),
    ("GET", f"{REPOSITORY}/releases", releases),
    ("GET", f"{REPOSITORY}/compare/{{basehead:path}}", compare),
    ("POST", f"{REPOSITORY}/check-runs", create_check_run),
    ("GET", f"{REPOSITORY}/check-runs/{{run:int}}", check_run),
    ("GET", f"{REPOSITORY}/check-runs/{{run:int}}/annotations", annotations_of),
    ("PATCH", f"{REPOSITORY}/check-runs/{{run:int}}", update_check_run),
    ("GET", f"{REPOSITORY}/commits/{{sha}}/check-runs", check_runs_of_commit),
    ("POST", f"{REPOSITORY}/statuses/{{sha}}", create_status),
)
"""(method, path, endpoint) of each route."""
