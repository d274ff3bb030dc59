"""Endpoints of GitHub's REST API for webhooks and the record of their deliveries.

https://docs.github.com/en/rest/repos/webhooks
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from hls_handler.sandbox import shapes
from hls_handler.sandbox.github_request import Answer, Call, GitHubError, page_size, repository_of, valid_fields
from hls_handler.sandbox.hooks import Hook, Hooks

CONFIG_FIELDS: Mapping[str, type] = dict.fromkeys(("url", "content_type", "secret", "insecure_ssl"), str)
HOOK_FIELDS: Mapping[str, type] = {"name": str, "active": bool, "events": list, "config": dict}


def repository_hooks(call: Call) -> Answer:
    return Answer([hook.document() for hook in call.state.hooks.of(_administered(call))], listed=True)


def create_hook(call: Call) -> Answer:
    owner = _administered(call)
    given = valid_fields(call.body, HOOK_FIELDS, required=("config",))
    config = valid_fields(given["config"], CONFIG_FIELDS, required=("url",))
    if any(hook.url == config["url"] for hook in call.state.hooks.of(owner)):
        raise GitHubError(422, "Validation Failed", ({"message": "Hook already exists on this repository"},))
    events, home = tuple(given.get("events", ["push"])), repository_of(call)
    hook = call.state.hooks.add(
        owner,
        config["url"],
        config.get("secret", ""),
        active=given.get("active", True),
        events=events,
        repository=shapes.repository(home, "admin"),
    )
    return Answer(hook.document(), status=201)


def change_hook(call: Call) -> Answer:
    hook = _hook(call, _administered(call))
    given = valid_fields(call.body, HOOK_FIELDS, required=())
    config = valid_fields(given.get("config", {}), CONFIG_FIELDS, required=())
    changed = replace(
        hook,
        url=config.get("url", hook.url),
        secret=config.get("secret", hook.secret),
        active=given.get("active", hook.active),
        events=tuple(given.get("events", hook.events)),
    )
    return Answer(call.state.hooks.change(changed).document())


def ping_hook(call: Call) -> Answer:
    hook = _hook(call, _administered(call))
    call.state.hooks.ping(hook, {"repository": shapes.repository(repository_of(call), "admin")})
    return Answer(None, status=204)


def organization_hooks(call: Call) -> Answer:
    hooks = call.state.hooks.of(call.path["org"])
    if not hooks:
        raise GitHubError(404, "Not Found")
    return Answer([hook.document() for hook in hooks], listed=True)


def repository_deliveries(call: Call) -> Answer:
    return list_deliveries(call.state.hooks, _hook(call, _administered(call)), call.query)


def repository_delivery(call: Call) -> Answer:
    return show_delivery(call.state.hooks, _hook(call, _administered(call)), int(call.path["delivery"]))


def organization_deliveries(call: Call) -> Answer:
    return list_deliveries(call.state.hooks, _hook(call, call.path["org"]), call.query)


def organization_delivery(call: Call) -> Answer:
    return show_delivery(call.state.hooks, _hook(call, call.path["org"]), int(call.path["delivery"]))


def list_deliveries(hooks: Hooks, hook: Hook, query: Mapping[str, str]) -> Answer:
    """Return a page of attempts, newest first. The query's `cursor` is that of the page's first attempt."""
    size = page_size(query)
    cursor = query.get("cursor", "").removeprefix("v1_")
    first = int(cursor) if cursor.isdecimal() else None
    attempts = [attempt for attempt in hooks.attempts(hook) if first is None or attempt.id <= first]
    page, rest = attempts[:size], attempts[size:]
    headers = {}
    if rest:
        url = f"{shapes.API}/hooks/{hook.id}/deliveries?per_page={size}&cursor=v1_{rest[0].id}"
        headers["Link"] = f'<{url}>; rel="next"'
    return Answer([attempt.document() for attempt in page], headers=headers)


def show_delivery(hooks: Hooks, hook: Hook, attempt_id: int) -> Answer:
    found = next((attempt for attempt in hooks.attempts(hook) if attempt.id == attempt_id), None)
    if found is None:
        raise GitHubError(404, "Not Found")
    headers = {"X-GitHub-Event": found.event, "X-GitHub-Delivery": found.guid}
    request = {"headers": headers, "payload": found.payload}
    response = {"headers": {}, "payload": ""}
    return Answer({**found.document(), "url": hook.url, "request": request, "response": response})


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


_REPOSITORY, _ORGANIZATION = "/repos/{owner}/{repo}/hooks", "/orgs/{org}/hooks"
_DELIVERIES, _DELIVERY = "/{hook:int}/deliveries", "/{hook:int}/deliveries/{delivery:int}"

ROUTES: tuple[tuple[str, str, Callable[[Call], Answer], str], ...] = (
    ("GET", _REPOSITORY, repository_hooks, "repository_hooks=read"),
    ("POST", _REPOSITORY, create_hook, "repository_hooks=write"),
    ("PATCH", f"{_REPOSITORY}/{{hook:int}}", change_hook, "repository_hooks=write"),
    ("POST", f"{_REPOSITORY}/{{hook:int}}/pings", ping_hook, "repository_hooks=read"),
    ("GET", f"{_REPOSITORY}{_DELIVERIES}", repository_deliveries, "repository_hooks=read"),
    ("GET", f"{_REPOSITORY}{_DELIVERY}", repository_delivery, "repository_hooks=read"),
    ("GET", _ORGANIZATION, organization_hooks, "organization_hooks=read"),
    ("GET", f"{_ORGANIZATION}{_DELIVERIES}", organization_deliveries, "organization_hooks=read"),
    ("GET", f"{_ORGANIZATION}{_DELIVERY}", organization_delivery, "organization_hooks=read"),
)
