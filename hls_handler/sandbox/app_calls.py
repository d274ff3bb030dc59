"""Endpoints of the stand-in GitHub for Apps: their own credentials authenticate them, except the exchange of a code.

https://docs.github.com/en/rest/apps/apps, https://docs.github.com/en/rest/apps/installations
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from hls_handler.sandbox import hook_calls, shapes
from hls_handler.sandbox.apps import Apps, InstallationToken, hook_of
from hls_handler.sandbox.github_request import Answer, GitHubError
from hls_handler.sandbox.objects import App, Document


@dataclass(frozen=True, slots=True)
class AppCall:
    apps: Apps
    path: Mapping[str, str]
    body: Any  # parsed JSON; None without a body
    app: App | None  # the App that signed the request
    token: InstallationToken | None  # the token of the request
    query: Mapping[str, str] = field(default_factory=dict)

    def signed_by(self) -> App:
        assert self.app is not None
        return self.app


def conversion(call: AppCall) -> Answer:
    made = call.apps.convert(call.path["code"])
    secret = {
        "client_id": f"Iv1.{made.app.id:016x}",
        "client_secret": f"not-used-{made.app.id}",
        "webhook_secret": made.app.webhook_secret,
        "pem": made.pem,
    }
    return Answer({**_app(made.app), **secret}, status=201)


def app(call: AppCall) -> Answer:
    found = call.signed_by()
    return Answer({**_app(found), "installations_count": len(call.apps.installations(found))})


def hook_config(call: AppCall) -> Answer:
    url = call.signed_by().webhook_url
    return Answer({"content_type": "json", "insecure_ssl": "0", "secret": "********", "url": url})


def hook_deliveries(call: AppCall) -> Answer:
    return hook_calls.list_deliveries(call.apps.state.hooks, hook_of(call.signed_by()), call.query)


def hook_delivery(call: AppCall) -> Answer:
    hook = hook_of(call.signed_by())
    return hook_calls.show_delivery(call.apps.state.hooks, hook, int(call.path["delivery"]))


def redeliver(call: AppCall) -> Answer:
    hook = hook_of(call.signed_by())
    found = [one for one in call.apps.state.hooks.attempts(hook) if one.id == int(call.path["delivery"])]
    if not found:
        raise GitHubError(404, "Not Found")
    call.apps.state.hooks.redeliver(hook, found[0])
    return Answer({}, status=202)


def installations(call: AppCall) -> Answer:
    found = call.signed_by()
    return Answer([shapes.installation(found, one) for one in call.apps.installations(found)], listed=True)


def installation(call: AppCall) -> Answer:
    found = call.signed_by()
    wanted = int(call.path["id"])
    one = next((one for one in call.apps.installations(found) if one.id == wanted), None)
    if one is None:
        raise GitHubError(404, "Not Found")
    return Answer(shapes.installation(found, one))


def repository_installation(call: AppCall) -> Answer:
    found = call.signed_by()
    one = call.apps.installation_of(found, f"{call.path['owner']}/{call.path['repo']}")
    if one is None:
        raise GitHubError(404, "Not Found")
    return Answer(shapes.installation(found, one))


def access_tokens(call: AppCall) -> Answer:
    text, token = call.apps.create_token(call.signed_by(), int(call.path["id"]), call.body or {})
    document: Document = {
        "token": text,
        "expires_at": shapes.stamp(token.expires_at),
        "permissions": dict(token.permissions),
        "repository_selection": "all" if token.repositories is None else "selected",
    }
    if token.repositories is not None:
        document["repositories"] = _repositories(call.apps, token)
    return Answer(document, status=201)


def installation_repositories(call: AppCall) -> Answer:
    assert call.token is not None
    return Answer(_repositories(call.apps, call.token), listed=True, inside="repositories")


def _repositories(apps: Apps, token: InstallationToken) -> list[Document]:
    homes = [apps.state.repository(name) for name in apps.repositories_of(token)]
    return [shapes.repository(home, "read") for home in homes if home is not None]


def _app(this: App) -> Document:
    at = shapes.stamp(this.created_at)
    return {
        "id": this.id,
        "slug": this.slug,
        "node_id": shapes.node_id("Integration", this.id),
        "owner": shapes.account(this.owner),
        "name": this.name,
        "description": "",
        "external_url": shapes.WEB,
        "html_url": f"{shapes.WEB}/apps/{this.slug}",
        "created_at": at,
        "updated_at": at,
        "permissions": dict(this.permissions),
        "events": list(this.events),
    }


Authentication = Literal["none", "app", "installation"]

ROUTES: tuple[tuple[str, str, Callable[[AppCall], Answer], Authentication], ...] = (
    ("POST", "/app-manifests/{code}/conversions", conversion, "none"),
    ("GET", "/app", app, "app"),
    ("GET", "/app/hook/config", hook_config, "app"),
    ("GET", "/app/hook/deliveries", hook_deliveries, "app"),
    ("GET", "/app/hook/deliveries/{delivery:int}", hook_delivery, "app"),
    ("POST", "/app/hook/deliveries/{delivery:int}/attempts", redeliver, "app"),
    ("GET", "/app/installations", installations, "app"),
    ("GET", "/app/installations/{id:int}", installation, "app"),
    ("POST", "/app/installations/{id:int}/access_tokens", access_tokens, "app"),
    ("GET", "/repos/{owner}/{repo}/installation", repository_installation, "app"),
    ("GET", "/installation/repositories", installation_repositories, "installation"),
)
"""(method, path, endpoint, credential that the route needs) of each route."""
