"""The service as a GitHub App, and with spare tokens."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import closing
from dataclasses import replace
from typing import Any

import pytest

from hls_handler.clients.app_setup import APP_EVENTS
from hls_handler.prompting import recorded
from hls_handler.sandbox.apps import hook_of
from hls_handler.sandbox.objects import Account, App, Installation
from hls_handler.sandbox.server import Sandbox
from tests.clients.test_credentials import ALL, OWNER, REPOSITORY, public_key
from tests.e2e.conftest import MakeService
from tests.e2e.service import SECRET, Service, Waiting, free_port
from tests.e2e.test_commands import hls
from tests.settings.files import app_key

BUG, QUESTION = recorded.load("demo/bug"), recorded.load("demo/question")
SPARE = Account("spare-bot", 99_000_002, "User")


def install(sandbox: Sandbox) -> tuple[App, Installation]:
    app = sandbox.apps.add("My HLS", owner=OWNER, public_key=public_key(), permissions=ALL)
    return app, sandbox.apps.install(app, OWNER, (REPOSITORY,))


def make_app_service(
    make_service: MakeService,
    sandbox: Sandbox,
    app: App,
    *,
    catch_up: str = "enabled: false",
    port: int = 0,
    secret: str = SECRET,
) -> Service:
    service = make_service(catch_up=catch_up, port=port)
    key = service.settings.with_name("app.pem")
    key.write_text(app_key())
    key.chmod(0o600)
    text = service.settings.read_text().replace(
        f'token: "{sandbox.token}"', f'app: {{id: {app.id}, private_key_path: "{key}"}}'
    )
    service.settings.write_text(text.replace(SECRET, secret))
    return service.start()


def deliver(
    service: Service, sandbox: Sandbox, payload: recorded.Recorded, *, guid: str, waits: bool = False, **more: object
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
        {"action": action, "installation": described, "repositories": repositories, "sender": account}
    ).encode()


def authors(sandbox: Sandbox, number: int) -> list[str]:
    conversation = sandbox.state.conversation(REPOSITORY, number)
    assert conversation is not None
    return [comment.author.login for comment in conversation.comments]


def test_check_names_events_that_the_app_does_not_get(make_service: MakeService, sandbox: Sandbox) -> None:
    events = tuple(event for event in APP_EVENTS if event != "pull_request_review_thread")
    app = sandbox.apps.add("My HLS", owner=OWNER, public_key=public_key(), permissions=ALL, events=events)
    sandbox.apps.install(app, OWNER, (REPOSITORY,))
    service = make_app_service(make_service, sandbox, app)
    checked = hls("check", "--config", str(service.settings))
    assert checked.returncode == 1
    assert checked.stdout.splitlines()[-1].endswith(
        "the App's webhook does not send pull_request_review_thread, which the settings need; select them at "
        f"{sandbox.page_url}settings/apps/my-hls/permissions"
    )


@pytest.mark.parametrize(("kind", "is_named"), [("Organization", True), ("User", False)])
def test_check_names_merge_queues_where_one_may_wait_for_a_check(
    make_service: MakeService, sandbox: Sandbox, kind: str, is_named: bool
) -> None:
    owner = replace(OWNER, type=kind)
    events = tuple(event for event in APP_EVENTS if event != "merge_group")
    app = sandbox.apps.add("My HLS", owner=owner, public_key=public_key(), permissions=ALL, events=events)
    sandbox.apps.install(app, owner, (REPOSITORY,))
    service = make_app_service(make_service, sandbox, app)
    checked = hls("check", "--config", str(service.settings))
    assert checked.returncode == 0
    page = f"{sandbox.page_url}organizations/Codertocat/settings/apps/my-hls/permissions"
    found = [line.partition(": note: ")[2] for line in checked.stdout.splitlines() if "merge_group" in line]
    assert found == is_named * [
        "the App's webhook does not send merge_group, so a merge queue in Codertocat that requires the check waits for "
        "it in vain; if you use one, add the permission Merge queues (read) and the event Merge group at " + page
    ]


def test_check_names_an_owner_on_whose_account_the_app_is_not_installed(
    make_service: MakeService, sandbox: Sandbox
) -> None:
    app, _ = install(sandbox)
    service = make_app_service(make_service, sandbox, app)
    service.settings.write_text(service.settings.read_text().replace('"Codertocat/*"', '"Codertocatt/*"'))
    checked = hls("check", "--config", str(service.settings))
    assert checked.returncode == 1
    assert checked.stdout.splitlines()[-1].endswith(
        "(repositories[0].name): the App is not installed on Codertocatt; check the name, or install it at "
        f"{sandbox.page_url}settings/apps/my-hls/installations"
    )


def until_identity(service: Service, holds: Any) -> Mapping[str, Any]:
    waiting = Waiting(30)
    while waiting.more():
        github: Mapping[str, Any] = service.get("/health").body["components"]["github"]
        if holds(github):
            return github
    raise AssertionError(f"{github}\n{service.log.read_text()[-3000:]}")


def test_app_comments_as_its_bot_until_it_is_suspended(make_service: MakeService, sandbox: Sandbox) -> None:
    app, installation = install(sandbox)
    service = make_app_service(make_service, sandbox, app)
    number = deliver(service, sandbox, BUG, guid="guid-1", installation={"id": installation.id})
    assert authors(sandbox, number) == ["my-hls[bot]"]
    requested = [one.body for one in sandbox.requests.all("github") if one.path.endswith("/access_tokens")]
    assert [body["repositories"] for body in requested] == [["Hello-World"]]
    sent = [one for one in sandbox.requests.all("github") if one.path.startswith(f"/repos/{REPOSITORY}/")]
    with closing(service.open_store()) as store:
        row = store.deliveries.find("guid-1")
    assert row is not None
    assert row.github_requests == len(sent) > 3
    github = until_identity(service, lambda found: found["state"] == "healthy")
    assert github["identity"]["login"] == "my-hls[bot]"
    assert github["identity"]["installations"][0]["permissions"] == ALL

    sandbox.apps.suspend(installation.id)
    answer = service.deliver("installation", installation_event(app, installation, "suspend"), guid="guid-2")
    assert (answer.status, answer.body["status"]) == (200, "ignored")
    assert "the installation of the GitHub App" in answer.body["reason"]
    until_identity(service, lambda found: found["identity"]["installations"][0]["suspended"])
    other = deliver(service, sandbox, QUESTION, guid="guid-3", waits=True)
    until_identity(service, lambda found: "is suspended" in (found["message"] or ""))
    assert authors(sandbox, other) == []

    sandbox.apps.unsuspend(installation.id)
    service.deliver("installation", installation_event(app, installation, "unsuspend"), guid="guid-4")
    with closing(service.open_store()) as store:
        assert store.deliveries.find("guid-4") is not None
    service.until_idle()
    assert authors(sandbox, other) == ["my-hls[bot]"]
    assert '"level": "ERROR"' not in service.log.read_text()
    assert service.log.read_text().count("the installation of the GitHub App has changed") == 2


def test_installation_that_the_sandbox_announces_is_used_at_once(make_service: MakeService, sandbox: Sandbox) -> None:
    port = free_port()
    url = f"http://127.0.0.1:{port}/webhook"
    app = sandbox.apps.add("My HLS", owner=OWNER, public_key=public_key(), permissions=ALL, webhook_url=url)
    sandbox.state.seed(BUG.event, BUG.payload)
    service = make_app_service(make_service, sandbox, app, port=port, secret=app.webhook_secret)
    until_identity(service, lambda found: found.get("identity", {}).get("installations") == [])
    sandbox.apps.install(app, OWNER, (REPOSITORY,))
    until_identity(service, lambda found: len(found["identity"]["installations"]) == 1)
    answers = [(one.event, one.status_code) for one in sandbox.state.hooks.attempts(hook_of(app))]
    assert answers == [("installation", 200), ("ping", 502)]  # the service was started after the ping
    with closing(service.open_store()) as store:
        assert [row.reason_kind for row in store.deliveries.newest()] == ["app installation"]


def test_spare_token_takes_over_and_a_conversation_stays_with_its_account(
    make_service: MakeService, sandbox: Sandbox
) -> None:
    sandbox.tokens["spare-token"] = SPARE
    sandbox.state.set_permission(REPOSITORY, SPARE.login, "write")
    service = make_service()
    text = service.settings.read_text()
    service.settings.write_text(text.replace(f'token: "{sandbox.token}"', f'tokens: ["{sandbox.token}", spare-token]'))
    service.start()
    first = deliver(service, sandbox, BUG, guid="guid-1")
    until_identity(service, lambda found: found["state"] == "healthy")
    me = sandbox.tokens.pop(sandbox.token)
    second = deliver(service, sandbox, QUESTION, guid="guid-2")
    assert (authors(sandbox, first), authors(sandbox, second)) == ([me.login], ["spare-bot"])
    sandbox.tokens[sandbox.token] = me
    deliver(service, sandbox, QUESTION, guid="guid-3", action="reopened")
    assert authors(sandbox, second) == ["spare-bot"]
    assert '"token": "github.tokens[0]"' in service.log.read_text()


def test_missed_webhooks_of_an_app_are_processed(sandbox: Sandbox, make_service: MakeService) -> None:
    unserved = "https://hls.invalid/webhook"
    app = sandbox.apps.add(
        "My HLS", owner=OWNER, public_key=public_key(), permissions=ALL, webhook_url=unserved, events=("issues",)
    )
    sandbox.apps.install(app, OWNER, (REPOSITORY,))
    conversation = sandbox.state.seed(BUG.event, BUG.payload)
    assert conversation is not None
    (attempt,) = sandbox.apps.send_webhook(BUG.event, BUG.payload)
    service = make_app_service(make_service, sandbox, app, catch_up="enabled: true")
    waiting = Waiting(30)
    while waiting.more() and service.get("/health").body["components"]["catch_up"]["state"] == "unknown":
        pass
    service.until_idle()
    assert authors(sandbox, conversation.number) == [app.bot.login]
    with closing(service.open_store()) as store:
        (row,) = store.deliveries.newest()
    assert (row.guid, row.is_caught_up, row.state) == (attempt.guid, True, "done")
