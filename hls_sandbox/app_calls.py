"""Endpoints of the stand-in GitHub for Apps. https://docs.github.com/en/rest/apps"""

from __future__ import annotations

from hls_sandbox import shapes
from hls_sandbox.apps import hook_of
from hls_sandbox.github_request import (
    Answer,
    Call,
    Endpoint,
    existing,
    page_size,
)
from hls_sandbox.hooks import Attempt, Hook
from hls_sandbox.objects import Document


def list_deliveries(call: Call, hook: Hook) -> Answer:
    """Return a page of attempts, newest first. The query's `cursor` is that of the page's first
    attempt.
    """
    size = page_size(call.query)
    cursor = call.query.get("cursor", "").removeprefix("v1_")
    first = int(cursor) if cursor.isdecimal() else None
    attempts = [
        attempt
        for attempt in call.state.hooks.attempts(hook)
        if first is None or attempt.id <= first
    ]
    page = attempts[:size]
    rest = attempts[size:]
    headers = {}
    if rest:
        url = f"{shapes.API}/hooks/{hook.id}/deliveries?per_page={size}&cursor=v1_{rest[0].id}"
        headers["Link"] = f'<{url}>; rel="next"'
    return Answer([attempt.document() for attempt in page], headers=headers)


def show_delivery(call: Call, hook: Hook) -> Answer:
    attempt = _find_attempt(call, hook)
    return Answer({**attempt.document(), "request": {"payload": attempt.payload}})


def _find_attempt(call: Call, hook: Hook) -> Attempt:
    number = int(call.path["delivery"])
    attempts = call.state.hooks.attempts(hook)
    return existing(next((attempt for attempt in attempts if attempt.id == number), None))


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
    return list_deliveries(call, hook_of(call.signed_by))


def hook_delivery(call: Call) -> Answer:
    return show_delivery(call, hook_of(call.signed_by))


def redeliver(call: Call) -> Answer:
    hook = hook_of(call.signed_by)
    call.state.hooks.redeliver(hook, _find_attempt(call, hook))
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
)
"""(method, path, endpoint) of each route."""
