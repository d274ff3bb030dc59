"""Endpoints of GitHub's REST API for webhooks and the record of their deliveries.

https://docs.github.com/en/rest/repos/webhooks
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hls_handler.sandbox import shapes
from hls_handler.sandbox.github_request import Answer, Call, GitHubError, page_of, repository_of
from hls_handler.sandbox.hooks import Hook
from hls_handler.sandbox.objects import Document


def repository_hooks(call: Call) -> Answer:
    return Answer([_shape(hook) for hook in call.state.hooks.of(_administered(call))], listed=True)


def organization_hooks(call: Call) -> Answer:
    hooks = call.state.hooks.of(call.path["org"])
    if not hooks:
        raise GitHubError(404, "Not Found")
    return Answer([_shape(hook) for hook in hooks], listed=True)


def repository_deliveries(call: Call) -> Answer:
    return list_deliveries(call, _hook(call, _administered(call)))


def repository_delivery(call: Call) -> Answer:
    return show_delivery(call, _hook(call, _administered(call)))


def organization_deliveries(call: Call) -> Answer:
    return list_deliveries(call, _hook(call, call.path["org"]))


def organization_delivery(call: Call) -> Answer:
    return show_delivery(call, _hook(call, call.path["org"]))


def list_deliveries(call: Call, hook: Hook) -> Answer:
    """Return a page of attempts, newest first. The query's `cursor` is that of the page's first attempt."""
    _, size = page_of(call.query)
    all_attempts = call.state.hooks.attempts(hook)
    cursor = call.query.get("cursor", "").removeprefix("v1_")
    first = int(cursor) if cursor.isdecimal() else None
    attempts = [attempt for attempt in all_attempts if first is None or attempt.id <= first]
    page, rest = attempts[:size], attempts[size:]
    headers = {}
    if rest:
        url = f"{shapes.API}/hooks/{hook.id}/deliveries?per_page={size}&cursor=v1_{rest[0].id}"
        headers["Link"] = f'<{url}>; rel="next"'
    return Answer([attempt.document() for attempt in page], headers=headers)


def show_delivery(call: Call, hook: Hook) -> Answer:
    attempts = call.state.hooks.attempts(hook)
    found = next((attempt for attempt in attempts if attempt.id == int(call.path["delivery"])), None)
    if found is None:
        raise GitHubError(404, "Not Found")
    headers = {"X-GitHub-Event": found.event, "X-GitHub-Delivery": found.guid}
    request = {"headers": headers, "payload": found.payload}
    return Answer({**found.document(), "url": hook.url, "request": request, "response": {"headers": {}, "payload": ""}})


def _administered(call: Call) -> str:
    home = repository_of(call)
    if call.state.permission(home.full_name, call.state.me.login) != "admin":
        raise GitHubError(404, "Not Found")
    return home.full_name


def _hook(call: Call, owner: str) -> Hook:
    found = call.state.hooks.find(owner, int(call.path["hook"]))
    if found is None:
        raise GitHubError(404, "Not Found")
    return found


def _shape(hook: Hook) -> Document:
    config: dict[str, Any] = {"url": hook.url, "content_type": "json", "insecure_ssl": "0", "secret": "********"}
    return {
        "type": "Repository",
        "id": hook.id,
        "name": "web",
        "active": hook.active,
        "events": ["*"],
        "config": config,
    }


_REPOSITORY, _ORGANIZATION = "/repos/{owner}/{repo}/hooks", "/orgs/{org}/hooks"
_DELIVERIES, _DELIVERY = "/{hook:int}/deliveries", "/{hook:int}/deliveries/{delivery:int}"

ROUTES: tuple[tuple[str, str, Callable[[Call], Answer], str], ...] = (
    ("GET", _REPOSITORY, repository_hooks, "repository_hooks=read"),
    ("GET", f"{_REPOSITORY}{_DELIVERIES}", repository_deliveries, "repository_hooks=read"),
    ("GET", f"{_REPOSITORY}{_DELIVERY}", repository_delivery, "repository_hooks=read"),
    ("GET", _ORGANIZATION, organization_hooks, "organization_hooks=read"),
    ("GET", f"{_ORGANIZATION}{_DELIVERIES}", organization_deliveries, "organization_hooks=read"),
    ("GET", f"{_ORGANIZATION}{_DELIVERY}", organization_delivery, "organization_hooks=read"),
)
