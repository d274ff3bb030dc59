"""Endpoints of GitHub's REST API for check runs and commit statuses.

https://docs.github.com/en/rest/checks/runs
https://docs.github.com/en/rest/commits/statuses
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from hls_handler.sandbox import github_request, shapes
from hls_handler.sandbox.github_request import Answer, Call, GitHubError, failed, repository_of
from hls_handler.sandbox.objects import Document, Repository

MAX_STATUSES = 1_000  # of one context on one commit


def create_check_run(call: Call) -> Answer:
    home = _home_of_app(call)
    given = github_request.check_run(call.body, required=("name", "head_sha"))
    _require_commit(given["head_sha"])
    world = call.state.world
    number, name = world.next_id, home.full_name
    url = f"{shapes.API}/repos/{name}/check-runs/{number}"
    run: Document = {
        "id": number,
        "url": url,
        "html_url": f"{shapes.WEB}/{name}/runs/{number}",
        "app": {"slug": call.me.login.removesuffix("[bot]")},
        "external_id": "",
        "status": "queued",
        "conclusion": None,
        "started_at": _now(),
        "completed_at": None,
        "output": {"title": None, "summary": None, "text": None, "annotations_count": 0},
        "annotations": [],
    }
    made = _changed(run, given)
    call.state.change(lambda world: world.with_check_run(name, made))
    return Answer(_shown(made), status=201, headers={"Location": url})


def check_run(call: Call) -> Answer:
    home = repository_of(call)
    return Answer(_shown(_find(call, home)))


def update_check_run(call: Call) -> Answer:
    home = _home_of_app(call)
    run = _find(call, home)
    if run["app"]["slug"] != call.me.login.removesuffix("[bot]"):
        raise GitHubError(403, "Invalid app_id `1` - check run can only be modified by the GitHub App that created it.")
    made = _changed(run, github_request.check_run(call.body, required=()))
    call.state.change(lambda world: world.with_check_run(home.full_name, made))
    return Answer(_shown(made))


def check_runs_of_commit(call: Call) -> Answer:
    """Filter by `check_name`. With `filter=latest`, the default, only the last run of each name and App is listed."""
    home, name = repository_of(call), call.query.get("check_name")
    found = call.state.world.check_runs_on(home.full_name, call.path["sha"])
    if call.query.get("filter", "latest") == "latest":
        latest = {(run["app"]["slug"], run["name"]): run for run in found}
        found = [run for run in found if latest[run["app"]["slug"], run["name"]] is run]
    listed = [_shown(run) for run in reversed(found) if name is None or run["name"] == name]
    return Answer(listed, listed=True, inside="check_runs")


def create_status(call: Call) -> Answer:
    home = repository_of(call)
    if call.permission(home.full_name) not in {"admin", "write"}:
        raise GitHubError(404, "Not Found")
    sha = call.path["sha"]
    given = github_request.status(call.body)
    _require_commit(sha)
    earlier = [one for one in call.state.world.statuses_on(home.full_name, sha) if one["context"] == given["context"]]
    if len(earlier) >= MAX_STATUSES:
        raise failed("Status", "custom", "context", "This SHA and context has reached the maximum number of statuses.")
    status: Document = {
        **given,
        "id": call.state.world.next_id,
        "url": f"{shapes.API}/repos/{home.full_name}/statuses/{sha}",
        "creator": shapes.account(call.me),
        "created_at": _now(),
        "sha": sha,
    }
    call.state.change(lambda world: world.with_status(home.full_name, status))
    return Answer(status, status=201)


def statuses(call: Call) -> Answer:
    home = repository_of(call)
    return Answer([*reversed(call.state.world.statuses_on(home.full_name, call.path["sha"]))], listed=True)


def combined_status(call: Call) -> Answer:
    home, sha = repository_of(call), call.path["sha"]
    latest = {one["context"]: one for one in call.state.world.statuses_on(home.full_name, sha)}
    states = {one["state"] for one in latest.values()}
    state = (
        "failure" if states & {"failure", "error"} else "pending" if "pending" in states or not states else "success"
    )
    return Answer({"state": state, "sha": sha, "total_count": len(latest), "statuses": [*latest.values()]})


def _changed(run: Document, given: dict[str, Any]) -> Document:
    changed = {**run, **{key: value for key, value in given.items() if key != "output"}}
    if "conclusion" in given:
        changed |= {"status": "completed", "completed_at": _now()}
    elif given.get("status") in ("queued", "in_progress"):
        changed |= {"conclusion": None, "completed_at": None}
    output = dict(given.get("output") or {})
    added = output.pop("annotations", [])
    changed["annotations"] = [*run["annotations"], *added]
    changed["output"] = {**run["output"], **output, "annotations_count": len(changed["annotations"])}
    return changed


def _shown(run: Document) -> Document:
    return {key: value for key, value in run.items() if key != "annotations"}  # they have an endpoint of their own


def _home_of_app(call: Call) -> Repository:
    home = repository_of(call)
    if not call.is_installation:
        raise GitHubError(403, "You must authenticate via a GitHub App.")
    return home


def _find(call: Call, home: Repository) -> Document:
    found = call.state.world.check_runs.get(f"{home.full_name}/{call.path['run']}".lower())
    if found is None:
        raise GitHubError(404, "Not Found")
    return found


def _require_commit(sha: str) -> None:
    # The stand-in does not know all commits.
    if not re.fullmatch(r"[0-9a-f]{40}", sha):
        raise GitHubError(422, f"No commit found for SHA: {sha}")


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


RUN = "/repos/{owner}/{repo}/check-runs/{run:int}"

ROUTES: tuple[tuple[str, str, Callable[[Call], Answer], str], ...] = (
    ("POST", "/repos/{owner}/{repo}/check-runs", create_check_run, "checks=write"),
    ("GET", RUN, check_run, "checks=read"),
    ("PATCH", RUN, update_check_run, "checks=write"),
    ("GET", "/repos/{owner}/{repo}/commits/{sha}/check-runs", check_runs_of_commit, "checks=read"),
    ("POST", "/repos/{owner}/{repo}/statuses/{sha}", create_status, "statuses=write"),
    ("GET", "/repos/{owner}/{repo}/commits/{sha}/statuses", statuses, "statuses=read"),
    ("GET", "/repos/{owner}/{repo}/commits/{sha}/status", combined_status, "statuses=read"),
)
"""(method, path, endpoint, permissions that a fine-grained token needs) of each route."""
