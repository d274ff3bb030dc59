"""Events about the installation of a GitHub App."""

from __future__ import annotations

import json
from typing import Any

import pytest
from starlette.testclient import TestClient

from tests.web.fakes import OWN_SECRET, SECRET, WebSetup, settings, signature

INSTALLATION = {"id": 5, "account": {"login": "octo", "type": "Organization"}}
REPOSITORIES = {
    "repositories_added": [{"id": 1, "full_name": "octo/a"}],
    "repositories_removed": [{"full_name": "octo/b"}],
}


def post(setup: WebSetup, event: str, body: dict[str, Any], *, secret: str = SECRET) -> tuple[int, dict[str, Any]]:
    raw = json.dumps(body).encode()
    headers = {
        "content-type": "application/json",
        "x-github-event": event,
        "x-github-delivery": "guid-1",
        "x-hub-signature-256": signature(raw, secret).decode(),
    }
    response = TestClient(setup.app()).post("/webhook", content=raw, headers=headers)
    return response.status_code, response.json()


@pytest.mark.parametrize(
    ("event", "action", "more", "repositories"),
    [
        ("installation", "created", {"repositories": [{"id": 1, "full_name": "octo/a"}]}, ()),
        ("installation", "deleted", {}, ()),
        ("installation_repositories", "added", REPOSITORIES, ("octo/a", "octo/b")),
    ],
)
def test_change_of_an_installation_is_applied_and_not_stored_as_work(
    event: str, action: str, more: dict[str, Any], repositories: tuple[str, ...]
) -> None:
    setup = WebSetup(settings())
    status, answer = post(setup, event, {"action": action, "installation": INSTALLATION, **more})
    assert (status, answer["status"]) == (200, "ignored")
    (change,) = setup.installation_changes
    assert (change.action, change.owner, change.repositories) == (action, "octo", repositories)


def test_rule_2_secret_of_a_repository_is_not_valid_for_an_installation() -> None:
    setup = WebSetup(settings())
    status, _ = post(setup, "installation", {"action": "deleted", "installation": INSTALLATION}, secret=OWN_SECRET)
    assert (status, setup.installation_changes) == (401, [])


@pytest.mark.parametrize(
    "body",
    [{"action": "deleted"}, {"installation": INSTALLATION}, {"action": "added", "installation": {"id": "x"}}],
    ids=["no installation", "no action", "invalid id"],
)
def test_incomplete_payload_is_rejected(body: dict[str, Any]) -> None:
    setup = WebSetup(settings())
    assert post(setup, "installation", body)[0] == 400
    assert setup.installation_changes == []
