"""REST objects about workflow runs, files, releases and commits, with the URLs that they have on GitHub."""

from __future__ import annotations

from base64 import encodebytes
from collections.abc import Mapping
from hashlib import sha1
from typing import Any

from hls_handler.sandbox.objects import Account, Attempt, Document, Job, Release, Repository, Run
from hls_handler.sandbox.shapes import API, WEB, account, node_id


def run(this: Run, attempt: Attempt, home: Repository) -> Document:
    """Return the response of `GET actions/runs/{id}` and `.../attempts/{n}`."""
    url = f"{API}/repos/{this.repository}/actions/runs/{this.id}"
    return {
        **attempt.document,
        "id": this.id,
        "run_attempt": attempt.number,
        "repository": home.document,
        "url": url,
        "html_url": f"{WEB}/{this.repository}/actions/runs/{this.id}",
        "jobs_url": f"{url}/jobs",
        "logs_url": f"{url}/logs",
        "previous_attempt_url": f"{url}/attempts/{attempt.number - 1}" if attempt.number > 1 else None,
    }


def job(of: Run, this: Job) -> Document:
    """Return an entry of `GET actions/runs/{id}/attempts/{n}/jobs`."""
    url = f"{API}/repos/{of.repository}"
    return {
        "node_id": node_id("CheckRun", this.id),
        "labels": ["ubuntu-latest"],
        "runner_id": 5,
        "runner_name": "GitHub Actions 5",
        "runner_group_id": 2,
        "runner_group_name": "GitHub Actions",
        **this.document,
        "run_url": f"{url}/actions/runs/{of.id}",
        "url": f"{url}/actions/jobs/{this.id}",
        "html_url": f"{WEB}/{of.repository}/actions/runs/{of.id}/job/{this.id}",
        "check_run_url": f"{url}/check-runs/{this.id}",
    }


def content(full_name: str, branch: str, path: str, text: str | None) -> Document:
    """Return the response of `GET contents/{path}` for a file. If `text` is None, omit the content."""
    raw = (text or "").encode()
    sha = sha1(b"blob %d\0%b" % (len(raw), raw), usedforsecurity=False).hexdigest()
    url = f"{API}/repos/{full_name}/contents/{path}?ref={branch}"
    encoded = {"content": encodebytes(raw).decode(), "encoding": "base64"} if text is not None else {}
    return {
        "type": "file",
        "name": path.rpartition("/")[2],
        "path": path,
        "sha": sha,
        "size": len(raw),
        "url": url,
        "html_url": f"{WEB}/{full_name}/blob/{branch}/{path}",
        "git_url": f"{API}/repos/{full_name}/git/blobs/{sha}",
        "download_url": None,
        "_links": {"self": url},
        **encoded,
    }


def release(this: Release) -> Document:
    """Return an entry of `GET releases`."""
    url = f"{API}/repos/{this.repository}/releases/{this.id}"
    return {
        "node_id": node_id("Release", this.id),
        "name": None,
        "body": None,
        "draft": False,
        "prerelease": False,
        "created_at": this.document.get("published_at"),
        "assets": [],
        "assets_url": f"{url}/assets",
        "tarball_url": f"{API}/repos/{this.repository}/tarball/{this.tag}",
        "zipball_url": f"{API}/repos/{this.repository}/zipball/{this.tag}",
        **this.document,
        "url": url,
        "html_url": f"{WEB}/{this.repository}/releases/tag/{this.tag}",
    }


def commit(repository: str, this: Document, accounts: Mapping[str, Account]) -> Document:
    """Return a commit as in the response of `GET compare/{base}...{head}`."""
    url = f"{API}/repos/{repository}/commits/{this['sha']}"
    people = {role: _person(this.get(role), accounts) for role in ("author", "committer")}
    return {
        "node_id": node_id("Commit", int(str(this["sha"])[:8], 16)),
        **this,
        **people,
        "url": url,
        "html_url": f"{WEB}/{repository}/commit/{this['sha']}",
        "comments_url": f"{url}/comments",
        "parents": [],
    }


def comparison(
    repository: str,
    basehead: str,
    *,
    base: Document,
    merge_base: Document,
    ahead: int,
    behind: int,
    commits: list[Document],
) -> Document:
    """Return the response of `GET compare/{base}...{head}` without files."""
    web = f"{WEB}/{repository}/compare/{basehead}"
    return {
        "url": f"{API}/repos/{repository}/compare/{basehead}",
        "html_url": web,
        "permalink_url": web,
        "diff_url": f"{web}.diff",
        "patch_url": f"{web}.patch",
        "base_commit": base,
        "merge_base_commit": merge_base,
        "status": "ahead" if ahead else "behind" if behind else "identical",
        "ahead_by": ahead,
        "behind_by": behind,
        "total_commits": ahead,
        "commits": commits,
        "files": [],
    }


def _person(who: Any, accounts: Mapping[str, Account]) -> Document | None:
    if not isinstance(who, Mapping) or not isinstance(who.get("login"), str):
        return None
    login = who["login"]
    return account(accounts.get(login.lower(), Account(login, 1, "User")))
