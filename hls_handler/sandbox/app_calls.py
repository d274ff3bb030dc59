"""Endpoints of the stand-in GitHub for webhooks and for Apps. Credentials of their own authenticate
the latter.

https://docs.github.com/en/rest/repos/webhooks, https://docs.github.com/en/rest/apps
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from hls_handler.sandbox import shapes
from hls_handler.sandbox.apps import hook_of
from hls_handler.sandbox.github_request import (
    Answer,
    Call,
    Endpoint,
    existing,
    page_size,
    repository_of,
    valid_fields,
)
from hls_handler.sandbox.hooks import Attempt, Hook, Hooks
from hls_handler.sandbox.objects import Document
from hls_handler.sandbox.shapes import GitHubError

# --- webhooks of repositories and organisations
# ----------------------------------------------------------------------


def hooks(call: Call) -> Answer:
    found = call.state.hooks.of(_owner(call))
    if not found and "org" in call.path:
        raise GitHubError(404, "Not Found")
    return Answer([hook.document() for hook in found], listed=True)


def create_hook(call: Call) -> Answer:
    owner = _owner(call)
    given = valid_fields(call.body, "config")
    config = valid_fields(given["config"], "url")
    if any(hook.url == config["url"] for hook in call.state.hooks.of(owner)):
        raise GitHubError(
            422, "Validation Failed", ({"message": "Hook already exists on this repository"},)
        )
    hook = call.state.hooks.add(
        owner,
        config["url"],
        config.get("secret", ""),
        active=given.get("active", True),
        events=tuple(given.get("events", ["push"])),
        repository=shapes.repository(repository_of(call), "admin"),
    )
    return Answer(hook.document(), status=201)


def change_hook(call: Call) -> Answer:
    hook = _hook(call)
    given = valid_fields(call.body)
    config = given.get("config", {})
    changed = replace(
        hook,
        url=config.get("url", hook.url),
        secret=config.get("secret", hook.secret),
        active=given.get("active", hook.active),
        events=tuple(given.get("events", hook.events)),
    )
    return Answer(call.state.hooks.change(changed).document())


def ping_hook(call: Call) -> Answer:
    call.state.hooks.ping(
        _hook(call), {"repository": shapes.repository(repository_of(call), "admin")}
    )
    return Answer(None, status=204)


def deliveries(call: Call) -> Answer:
    return _list_deliveries(call.state.hooks, _hook(call), call.query)


def delivery(call: Call) -> Answer:
    return _show_delivery(call.state.hooks, _hook(call), call.path)


def _list_deliveries(hooks: Hooks, hook: Hook, query: Mapping[str, str]) -> Answer:
    """Return a page of attempts, newest first. The query's `cursor` is that of the page's first
    attempt.
    """
    size = page_size(query)
    cursor = query.get("cursor", "").removeprefix("v1_")
    first = int(cursor) if cursor.isdecimal() else None
    attempts = [attempt for attempt in hooks.attempts(hook) if first is None or attempt.id <= first]
    page = attempts[:size]
    rest = attempts[size:]
    headers = {}
    if rest:
        url = f"{shapes.API}/hooks/{hook.id}/deliveries?per_page={size}&cursor=v1_{rest[0].id}"
        headers["Link"] = f'<{url}>; rel="next"'
    return Answer([attempt.document() for attempt in page], headers=headers)


def _show_delivery(hooks: Hooks, hook: Hook, path: Mapping[str, str]) -> Answer:
    attempt = _find_attempt(hooks, hook, path)
    return Answer({**attempt.document(), "request": {"payload": attempt.payload}})


def _find_attempt(hooks: Hooks, hook: Hook, path: Mapping[str, str]) -> Attempt:
    return existing(
        next(
            (attempt for attempt in hooks.attempts(hook) if attempt.id == int(path["delivery"])),
            None,
        )
    )


def _owner(call: Call) -> str:
    if "org" in call.path:
        return call.path["org"]
    home = repository_of(call)
    if call.state.permission(home.full_name, call.state.me.login) != "admin":
        raise GitHubError(404, "Not Found")
    return home.full_name


def _hook(call: Call) -> Hook:
    return existing(call.state.hooks.find(_owner(call), int(call.path["hook"])))


_REPOSITORY = "/repos/{owner}/{repo}/hooks"
_ORGANIZATION = "/orgs/{org}/hooks"
_DELIVERIES = "/{hook:int}/deliveries"

_HOOK_ROUTES: tuple[tuple[str, str, Endpoint], ...] = (
    ("GET", _REPOSITORY, hooks),
    ("POST", _REPOSITORY, create_hook),
    ("PATCH", f"{_REPOSITORY}/{{hook:int}}", change_hook),
    ("POST", f"{_REPOSITORY}/{{hook:int}}/pings", ping_hook),
    ("GET", f"{_REPOSITORY}{_DELIVERIES}", deliveries),
    ("GET", f"{_REPOSITORY}{_DELIVERIES}/{{delivery:int}}", delivery),
    ("GET", _ORGANIZATION, hooks),
    ("GET", f"{_ORGANIZATION}{_DELIVERIES}", deliveries),
    ("GET", f"{_ORGANIZATION}{_DELIVERIES}/{{delivery:int}}", delivery),
)
"""(method, path, endpoint) of each route."""


# --- Apps
# -----------------------------------------------------------------------------


def conversion(call: Call) -> Answer:
    made, pem = call.apps.convert(call.path["code"])
    return Answer(
        {**shapes.app(made), "webhook_secret": made.webhook_secret, "pem": pem}, status=201
    )


def app(call: Call) -> Answer:
    return Answer(shapes.app(call.signed_by))


def hook_config(call: Call) -> Answer:
    return Answer({"url": call.signed_by.webhook_url})


def hook_deliveries(call: Call) -> Answer:
    return _list_deliveries(call.state.hooks, hook_of(call.signed_by), call.query)


def hook_delivery(call: Call) -> Answer:
    return _show_delivery(call.state.hooks, hook_of(call.signed_by), call.path)


def redeliver(call: Call) -> Answer:
    hook = hook_of(call.signed_by)
    call.state.hooks.redeliver(hook, _find_attempt(call.state.hooks, hook, call.path))
    return Answer({}, status=202)


def installations(call: Call) -> Answer:
    app = call.signed_by
    return Answer(
        [shapes.installation(app, one) for one in call.apps.installations(app)], listed=True
    )


def repository_installation(call: Call) -> Answer:
    one = existing(
        call.apps.installation_of(call.signed_by, f"{call.path['owner']}/{call.path['repo']}")
    )
    return Answer(shapes.installation(call.signed_by, one))


def access_tokens(call: Call) -> Answer:
    text, token = call.apps.create_token(call.signed_by, int(call.path["id"]), call.body or {})
    document: Document = {"token": text, "expires_at": shapes.stamp(token.expires_at)}
    return Answer({**document, "permissions": dict(token.permissions)}, status=201)


def installation_repositories(call: Call) -> Answer:
    names = call.apps.repositories_of(existing(call.token))
    return Answer([{"full_name": name} for name in names], listed=True, inside="repositories")


ROUTES: tuple[tuple[str, str, Endpoint], ...] = (
    ("POST", "/app-manifests/{code}/conversions", conversion),
    ("GET", "/app", app),
    ("GET", "/app/hook/config", hook_config),
    ("GET", "/app/hook/deliveries", hook_deliveries),
    ("GET", "/app/hook/deliveries/{delivery:int}", hook_delivery),
    ("POST", "/app/hook/deliveries/{delivery:int}/attempts", redeliver),
    ("GET", "/app/installations", installations),
    ("POST", "/app/installations/{id:int}/access_tokens", access_tokens),
    ("GET", "/repos/{owner}/{repo}/installation", repository_installation),
    ("GET", "/installation/repositories", installation_repositories),
    *_HOOK_ROUTES,
)
"""(method, path, endpoint) of each route."""
