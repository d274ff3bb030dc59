"""Endpoints of GitHub's REST API for workflow runs, releases, commits and file contents.

https://docs.github.com/en/rest/actions, /releases, /commits, /repos/contents
"""

from __future__ import annotations

from collections.abc import Callable

from hls_handler.sandbox import repository_shapes as shapes
from hls_handler.sandbox.github_request import Answer, Call, GitHubError, repository_of
from hls_handler.sandbox.objects import Attempt, Document, Repository, Run

MAX_COMMITS = 250


def run(call: Call) -> Answer:
    home = repository_of(call)
    found = _run(call, home)
    return Answer(shapes.run(found, found.last, home))


def attempt(call: Call) -> Answer:
    home = repository_of(call)
    return Answer(shapes.run(*_attempt(call, home), home))


def attempt_jobs(call: Call) -> Answer:
    found, at = _attempt(call, repository_of(call))
    return Answer([shapes.job(found, one) for one in at.jobs], listed=True, inside="jobs")


def job_logs(call: Call) -> Answer:
    """Redirect to the log of a job. Raises 410 for an expired log, and 404 for an unknown or running job."""
    home = repository_of(call)
    found = call.state.find_job(home.full_name, int(call.path["job"]))
    if found is None or found[2].conclusion is None:
        raise GitHubError(404, "Not Found")
    if found[2].log is None:
        raise GitHubError(410, "Server Error: The logs for this run have expired and are no longer available.")
    return Answer(None, status=302, file=f"logs/{home.full_name}/{found[2].id}")


def releases(call: Call) -> Answer:
    home = repository_of(call)
    return Answer([shapes.release(one) for one in call.state.releases(home.full_name)], listed=True)


def compare(call: Call) -> Answer:
    """Return the commits of head that are not in base. Every history in the stand-in is linear."""
    home = repository_of(call)
    world = call.state.world
    base, _, head = call.path["basehead"].partition("...")
    found = world.compared(home.full_name, base, head)
    if found is None:
        raise GitHubError(404, "Not Found")

    def shown(one: Document) -> Document:
        return shapes.commit(home.full_name, one, world.accounts)

    return Answer(
        shapes.comparison(
            home.full_name,
            call.path["basehead"],
            base=shown(found.base),
            merge_base=shown(found.merge_base),
            ahead=len(found.commits),
            behind=found.behind,
            commits=[shown(one) for one in found.commits[:MAX_COMMITS]],
        )
    )


def contents(call: Call) -> Answer:
    """Return a file of a branch, or a list of all files below a folder."""
    home = repository_of(call)
    branch, path, world = call.query.get("ref") or home.default_branch, call.path["path"], call.state.world
    text = world.file_at(home.full_name, branch, path)
    if text is not None:
        return Answer(shapes.content(home.full_name, branch, path, text))
    start = f"{home.full_name.lower()}@{branch}:"
    inside = [key.removeprefix(start) for key in world.files if key.startswith(f"{start}{path}/")]
    if not inside:
        raise GitHubError(404, "Not Found")
    return Answer([shapes.content(home.full_name, branch, name, None) for name in inside])


def _run(call: Call, home: Repository) -> Run:
    found = call.state.run(home.full_name, int(call.path["run"]))
    if found is None:
        raise GitHubError(404, "Not Found")
    return found


def _attempt(call: Call, home: Repository) -> tuple[Run, Attempt]:
    found = _run(call, home)
    at = found.attempt(int(call.path["attempt"]))
    if at is None:
        raise GitHubError(404, "Not Found")
    return found, at


RUN = "/repos/{owner}/{repo}/actions/runs/{run:int}"

ROUTES: tuple[tuple[str, str, Callable[[Call], Answer], str], ...] = (
    ("GET", RUN, run, "actions=read"),
    ("GET", f"{RUN}/attempts/{{attempt:int}}", attempt, "actions=read"),
    ("GET", f"{RUN}/attempts/{{attempt:int}}/jobs", attempt_jobs, "actions=read"),
    ("GET", "/repos/{owner}/{repo}/actions/jobs/{job:int}/logs", job_logs, "actions=read"),
    ("GET", "/repos/{owner}/{repo}/contents/{path:path}", contents, "contents=read"),
    ("GET", "/repos/{owner}/{repo}/releases", releases, "contents=read"),
    ("GET", "/repos/{owner}/{repo}/compare/{basehead:path}", compare, "contents=read"),
)
"""(method, path, endpoint, permissions that a fine-grained token needs) of each route."""
