"""Template variables of the web pages about workflow runs, releases, commits and files."""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any
from urllib.parse import quote

from markupsafe import Markup

from hls_handler.review.patches import Side, parse_patch
from hls_handler.sandbox import derived
from hls_handler.sandbox.markdown import rendered
from hls_handler.sandbox.objects import (
    Attempt,
    Conversation,
    Document,
    Job,
    Release,
    Run,
    read_account,
    read_count,
    read_text,
)
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


def patches_shown(state: State, full_name: str, commit: str, path: str | None) -> dict[str, Any]:
    """Return the template variables of a commit's page, or of a file's page: the patches of a pull request.

    They are empty if no known pull request has this head or base commit, or if it does not change the file.
    """
    shown = {"repository": full_name, "title": path or f"Commit {commit[:7]}", "path": path, "commit": commit[:7]}
    for pull, side, changed in _patches_at(state, full_name, commit):
        files = [
            {"previous_filename": None, **file, "patch": _numbered_lines(read_text(file.get("patch")), side)}
            for file in changed
            if path in {None, file.get("filename"), file.get("previous_filename")}
        ]
        if files:
            return {**shown, "pull": pull.number if pull else None, "files": files}
    return {**shown, "pull": None, "files": ()}


def _patches_at(
    state: State, full_name: str, commit: str
) -> Iterator[tuple[Conversation | None, Side, Iterable[Mapping[str, Any]]]]:
    pulls = [one for one in state.conversations() if one.kind == "pull" and one.repository.lower() == full_name.lower()]
    yield from ((pull, "RIGHT", pull.files) for pull in pulls if pull.head_sha == commit)
    yield from ((pull, "LEFT", pull.files) for pull in pulls if (pull.document.get("base") or {}).get("sha") == commit)
    yield None, "RIGHT", derived.files_at(commit) or ()  # an earlier head commit of the demo


def _numbered_lines(patch: str, side: Side) -> Markup | None:
    shown = []
    for hunk in parse_patch(patch).hunks:
        shown.append(f'<span class="hunk">{html.escape(hunk.header)}</span>')
        for line in hunk.lines:
            style = {"+": ' class="plus"', "-": ' class="minus"'}.get(line.mark, "")
            anchor = f' id="L{line.number}"' if line.side == side else ""  # as at GitHub
            shown.append(f"<span{style}{anchor}>{line.number:>4} {line.mark}{html.escape(line.text)}</span>")
    return Markup("<pre><code>{}</code></pre>").format(Markup("\n".join(shown))) if shown else None
