"""Routes of GitHub for webhooks of repositories and organisations.

https://docs.github.com/en/rest/repos/webhooks
"""

from __future__ import annotations

from dataclasses import replace

from hls_sandbox import shapes
from hls_sandbox.app_calls import list_deliveries, show_delivery
from hls_sandbox.github_request import (
    Answer,
    Call,
    Endpoint,
    existing,
    repository_of,
    valid_fields,
)
from hls_sandbox.hooks import Hook
from hls_sandbox.shapes import GitHubError


def list_hooks(call: Call) -> Answer:
    hooks = call.state.hooks.of(_owner(call))
    if not hooks and "org" in call.path:
        raise GitHubError(404, "Not Found")
    return Answer([hook.document() for hook in hooks], listed=True)


def create_hook(call: Call) -> Answer:
    owner = _owner(call)
    fields = valid_fields(call.body, "config")
    config = valid_fields(fields["config"], "url")
    if any(hook.url == config["url"] for hook in call.state.hooks.of(owner)):
        problem = {"message": "Hook already exists on this repository"}
        raise GitHubError(422, "Validation Failed", (problem,))
    hook = call.state.hooks.add(
        owner,
        config["url"],
        config.get("secret", ""),
        active=fields.get("active", True),
        events=tuple(fields.get("events", ["push"])),
        repository=shapes.repository(repository_of(call), "admin"),
    )
    return Answer(hook.document(), status=201)


def change_hook(call: Call) -> Answer:
    hook = _find_hook(call)
    fields = valid_fields(call.body)
    config = fields.get("config", {})
    changed = replace(
        hook,
        url=config.get("url", hook.url),
        secret=config.get("secret", hook.secret),
        active=fields.get("active", hook.active),
        events=tuple(fields.get("events", hook.events)),
    )
    return Answer(call.state.hooks.change(changed).document())


def ping_hook(call: Call) -> Answer:
    repository = shapes.repository(repository_of(call), "admin")
    call.state.hooks.ping(_find_hook(call), {"repository": repository})
    return Answer(None, status=204)


def list_hook_deliveries(call: Call) -> Answer:
    return list_deliveries(call, _find_hook(call))


def show_hook_delivery(call: Call) -> Answer:
    return show_delivery(call, _find_hook(call))


def _owner(call: Call) -> str:
    if "org" in call.path:
        return call.path["org"]
    home = repository_of(call)
    if call.state.permission(home.full_name, call.state.me.login) != "admin":
        raise GitHubError(404, "Not Found")
    return home.full_name


def _find_hook(call: Call) -> Hook:
    number = int(call.path["hook"])
    hooks = call.state.hooks.of(_owner(call))
    return existing(next((hook for hook in hooks if hook.id == number), None))


_REPOSITORY = "/repos/{owner}/{repo}/hooks"
_ORGANIZATION = "/orgs/{org}/hooks"
_DELIVERIES = "/{hook:int}/deliveries"

ROUTES: tuple[tuple[str, str, Endpoint], ...] = (
    ("GET", _REPOSITORY, list_hooks),
    ("POST", _REPOSITORY, create_hook),
    ("PATCH", f"{_REPOSITORY}/{{hook:int}}", change_hook),
    ("POST", f"{_REPOSITORY}/{{hook:int}}/pings", ping_hook),
    ("GET", f"{_REPOSITORY}{_DELIVERIES}", list_hook_deliveries),
    ("GET", f"{_REPOSITORY}{_DELIVERIES}/{{delivery:int}}", show_hook_delivery),
    ("GET", _ORGANIZATION, list_hooks),
    ("GET", f"{_ORGANIZATION}{_DELIVERIES}", list_hook_deliveries),
    ("GET", f"{_ORGANIZATION}{_DELIVERIES}/{{delivery:int}}", show_hook_delivery),
)
"""(method, path, endpoint) of each route."""
