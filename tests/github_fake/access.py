"""Checks of GitHub that the stand-in leaves out: permissions of tokens, and used up limits."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from hls_sandbox.apps import includes
from hls_sandbox.github_request import Call
from hls_sandbox.shapes import GitHubError

PERMISSIONS: Mapping[str, tuple[str, ...]] = {
    "issues": ("issues", "pull_requests"),
    "labels": ("issues", "pull_requests"),
    "pulls": ("pull_requests",),
    "actions": ("actions",),
    "check-runs": ("checks",),
    "statuses": ("statuses",),
    "hooks": ("repository_hooks",),
    "contents": ("contents",),
    "releases": ("contents",),
    "commits": ("contents",),
    "compare": ("contents",),
    "git": ("contents",),
}
"""First part of a path below a repository -> permissions, of which one suffices. Others need
`metadata`.
"""
ONLY_WITH_TOKEN = ("/hooks", "/logs", "/permission")


def list_permissions(name: str) -> tuple[str, ...]:
    """Return the permissions of which a call needs one, such as "issues=read"; () if it needs
    none.
    """
    method, _, path = name.partition(" ")
    prefix = "/repos/{owner}/{repo}"
    if not path.startswith(prefix) or path.endswith("/installation"):
        return ()
    parts = path.removeprefix(prefix).strip("/").split("/")
    names = PERMISSIONS.get(parts[0], ("metadata",))
    if parts[0] == "issues" and len(parts) < 3:
        names = ("issues",)
    if parts[-1] == "check-runs":
        names = ("checks",)
    level = "write"
    if method == "GET" or parts[-1] == "pings":
        level = "read"
    return tuple(f"{one}={level}" for one in names)


def require_permission(call: Call) -> None:
    """Raise `GitHubError` (403 or 401) as GitHub does for an App's token, or none."""
    needed = list_permissions(call.name)
    if not call.me.login and call.app is None and call.name.endswith(ONLY_WITH_TOKEN):
        raise GitHubError(401, "Requires authentication")
    if call.token is None or not needed:
        return
    granted = call.token.permissions
    for permission in needed:
        name, _, level = permission.partition("=")
        if includes(granted.get(name), level):
            return
    headers = {"X-Accepted-GitHub-Permissions": "; ".join(needed)}
    raise GitHubError(403, "Resource not accessible by integration", headers=headers)


def require_requests_left(call: Call, used_up: Mapping[str, datetime], now: datetime) -> None:
    """`used_up` has, by login, when the limit of an account is reset."""
    reset = used_up.get(call.me.login)
    if reset is None or now >= reset:
        return
    headers = {
        "X-RateLimit-Limit": "5000",
        "X-RateLimit-Remaining": "0",
        "X-RateLimit-Reset": str(int(reset.timestamp())),
    }
    message = "API rate limit exceeded for the account of this token."
    raise GitHubError(403, message, headers=headers)
