"""The service as a GitHub App."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from hls_handler.prompting import recorded
from hls_sandbox.objects import App, Installation
from tests.e2e.conftest import MakeService
from tests.e2e.service import Service, wait_until
from tests.github.test_credentials import ALL, OWNER, REPOSITORY, public_key
from tests.github_fake.apps import add_app, change_installation
from tests.github_fake.server import Sandbox
from tests.settings.files import app_key

BUG, QUESTION = recorded.load("demo/bug"), recorded.load("demo/question")
FEATURE = recorded.load("demo/feature")


def install(sandbox: Sandbox) -> tuple[App, Installation]:
    app = add_app(sandbox.state, owner=OWNER, public_key=public_key(), permissions=ALL)
    return app, sandbox.apps.install(app, OWNER, (REPOSITORY,))


def make_app_service(make_service: MakeService, sandbox: Sandbox, app: App) -> Service:
    service = make_service()
    key = service.settings.with_name("app.pem")
    key.write_text(app_key())
    key.chmod(0o600)
    text = service.settings.read_text()
    app_section = f'app: {{id: {app.id}, private_key_path: "{key}"}}'
    service.settings.write_text(text.replace(f'token: "{sandbox.token}"', app_section))
    return service.start()


def deliver(
    service: Service,
    sandbox: Sandbox,
    payload: recorded.Recorded,
    *,
    guid: str,
    waits: bool = False,
    **more: object,
) -> int:
    conversation = sandbox.state.seed(payload.event, payload.payload)
    assert conversation is not None
    body = json.dumps({**payload.payload, **more}).encode()
    assert service.deliver(payload.event, body, guid=guid).status == 202
    if not waits:
        service.until_idle()
    return conversation.number


def installation_event(app: App, installation: Installation, action: str) -> bytes:
    account = {"login": OWNER.login, "id": OWNER.id, "type": "User"}
    described = {"id": installation.id, "app_id": app.id, "account": account}
    repositories = [{"id": 1, "name": "Hello-World", "full_name": REPOSITORY}]
    return json.dumps(
        {
            "action": action,
            "installation": described,
            "repositories": repositories,
            "sender": account,
        }
    ).encode()


def authors(sandbox: Sandbox, number: int) -> list[str]:
    return [comment.author.login for comment in sandbox.conversation(number).comments]


@pytest.mark.parametrize("name", ["@my-hls", "@My-HLS[bot],"])
def test_mention_of_the_app_is_answered(
    make_service: MakeService, sandbox: Sandbox, name: str
) -> None:
    app, installation = install(sandbox)
    service = make_app_service(make_service, sandbox, app)
    mention = recorded.load("demo/mention")
    body = mention.body.replace(b"@hls-bot", name.encode())
    asked = replace(mention, body=body)
    number = deliver(service, sandbox, asked, guid="guid-1", installation={"id": installation.id})
    with closing(service.open_store()) as store:
        row = store.deliveries.find("guid-1")
    assert row is not None
    assert (row.state, row.reason) == ("done", "commented")
    assert authors(sandbox, number) == ["Codertocat", "my-hls[bot]"]


def test_app_comments_as_its_bot_until_it_is_suspended(
    make_service: MakeService, sandbox: Sandbox
) -> None:
    def github_health(service: Service) -> Mapping[str, Any]:
        component: Mapping[str, Any] = service.get("/health").body["components"]["github"]
        return component

    app, installation = install(sandbox)
    service = make_app_service(make_service, sandbox, app)
    number = deliver(service, sandbox, BUG, guid="guid-1", installation={"id": installation.id})
    assert authors(sandbox, number) == ["my-hls[bot]"]
    requested = [
        one.body for one in sandbox.requests.all("github") if one.path.endswith("/access_tokens")
    ]
    assert [body["repositories"] for body in requested] == [["Hello-World"]]
    sent = [
        one
        for one in sandbox.requests.all("github")
        if one.path.startswith(f"/repos/{REPOSITORY}/")
    ]
    with closing(service.open_store()) as store:
        row = store.deliveries.find("guid-1")
    assert row is not None
    assert row.github_requests == len(sent) > 3
    wait_until(lambda: github_health(service)["state"] == "healthy")
    github = github_health(service)
    assert github["identity"]["login"] == "my-hls[bot]"
    assert github["identity"]["installations"][0]["permissions"] == ALL

    change_installation(
        sandbox.state, installation.id, suspended_at=datetime(2026, 1, 1, tzinfo=UTC)
    )
    answer = service.deliver(
        "installation", installation_event(app, installation, "suspend"), guid="guid-2"
    )
    assert (answer.status, answer.body["status"]) == (200, "ignored")
    assert "the installation of the GitHub App" in answer.body["reason"]
    wait_until(lambda: github_health(service)["identity"]["installations"][0]["suspended"])
    other = deliver(service, sandbox, QUESTION, guid="guid-3", waits=True)
    wait_until(lambda: "is suspended" in (github_health(service)["message"] or ""))
    assert authors(sandbox, other) == []

    change_installation(sandbox.state, installation.id, suspended_at=None)
    service.deliver(
        "installation", installation_event(app, installation, "unsuspend"), guid="guid-4"
    )
    with closing(service.open_store()) as store:
        assert store.deliveries.find("guid-4") is not None
    service.until_idle()
    assert authors(sandbox, other) == ["my-hls[bot]"]
    assert '"level": "ERROR"' not in service.log.read_text()
    assert service.log.read_text().count("the installation of the GitHub App has changed") == 2
