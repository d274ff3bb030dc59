"""GitHub Apps of the sandbox: creation from a manifest, installation, and the App's own credentials."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import jwt
import pytest

from hls_handler.sandbox.server import Sandbox
from tests.sandbox.conftest import REPOSITORY, Answer, ask, seed_story

MANIFEST: dict[str, Any] = {
    "name": "My HLS",
    "url": "https://github.com",
    "hook_attributes": {"url": "https://hls.invalid/webhook"},
    "redirect_url": "http://127.0.0.1:9/code",
    "default_permissions": {"issues": "write", "metadata": "read"},
    "default_events": ["issues"],
}


def post_form(sandbox: Sandbox, path: str, fields: dict[str, str], **headers: str) -> Answer:
    body = urlencode(fields).encode()
    sent = {"Content-Type": "application/x-www-form-urlencoded", **headers}
    return ask(sandbox.page_url, "POST", path, body, sent)


def confirm(sandbox: Sandbox, manifest: dict[str, Any]) -> Answer:
    """Press the button of the page that shows the manifest."""
    fields = {"manifest": json.dumps(manifest), "name": manifest["name"], "organization": "", "state": "s-1"}
    return post_form(sandbox, "/settings/apps/confirm", fields)


def create(sandbox: Sandbox, manifest: dict[str, Any] = MANIFEST) -> dict[str, Any]:
    """Return the converted App, with `pem` and `webhook_secret`."""
    location = confirm(sandbox, manifest).headers["location"]
    code = parse_qs(urlsplit(location).query)["code"][0]
    converted = ask(sandbox.github_url, "POST", f"/app-manifests/{code}/conversions")
    assert converted.status == 201
    document: dict[str, Any] = converted.document
    return document


def sign(app: dict[str, Any], *, at: datetime, lifetime_s: int = 300, issuer: str | None = None) -> str:
    issued = int(at.timestamp())
    claims = {"iat": issued - 60, "exp": issued + lifetime_s, "iss": issuer or str(app["id"])}
    return jwt.encode(claims, app["pem"], algorithm="RS256")


def as_app(sandbox: Sandbox, app: dict[str, Any], path: str, method: str = "GET", body: object = None) -> Answer:
    return ask(sandbox.github_url, method, path, body, {"Authorization": f"Bearer {sign(app, at=datetime.now(UTC))}"})


def test_an_app_is_created_by_the_form_and_the_code(sandbox: Sandbox) -> None:
    seed_story(sandbox)
    shown = post_form(sandbox, "/settings/apps/new?state=s-1", {"manifest": json.dumps(MANIFEST)})
    assert shown.status == 200
    assert "Create GitHub App for Codertocat" in shown.text
    assert re.search('name="state" value="s-1"', shown.text)
    redirect = confirm(sandbox, MANIFEST)
    assert redirect.status == 302
    target = urlsplit(redirect.headers["location"])
    assert (target.netloc, target.path, parse_qs(target.query)["state"]) == ("127.0.0.1:9", "/code", ["s-1"])


def test_an_app_authenticates_with_the_private_key_of_the_exchange(sandbox: Sandbox) -> None:
    app = create(sandbox)
    found = as_app(sandbox, app, "/app").document
    assert (found["slug"], found["html_url"]) == ("my-hls", f"{sandbox.page_url}apps/my-hls")
    assert as_app(sandbox, app, "/app/hook/config").document["url"] == "https://hls.invalid/webhook"
    assert as_app(sandbox, app, "/app/installations").document == []


def test_a_code_is_valid_once_and_for_an_hour() -> None:
    times = [datetime.now(UTC)]
    with Sandbox(clock=lambda: times[-1]) as sandbox:
        location = confirm(sandbox, MANIFEST).headers["location"]
        path = f"/app-manifests/{parse_qs(urlsplit(location).query)['code'][0]}/conversions"
        assert [ask(sandbox.github_url, "POST", path).status for _ in range(2)] == [201, 404]
        location = confirm(sandbox, {**MANIFEST, "name": "Other"}).headers["location"]
        path = f"/app-manifests/{parse_qs(urlsplit(location).query)['code'][0]}/conversions"
        times.append(times[0] + timedelta(minutes=61))
        assert ask(sandbox.github_url, "POST", path).status == 404


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"url": None}, "&#34;url&#34; wasn"),
        ({"hook_attributes": {"active": False}}, "&#34;url&#34; wasn"),
        ({"hook_attributes": {"url": "http://localhost:8000/webhook"}}, "reachable over the public Internet"),
        ({"default_events": ["workflow_run"]}, "Default events unsupported: workflow_run"),
    ],
    ids=["no homepage", "no webhook URL", "localhost", "event without permission"],
)
def test_a_manifest_that_github_rejects_is_rejected(sandbox: Sandbox, change: dict[str, Any], reason: str) -> None:
    shown = post_form(sandbox, "/settings/apps/new?state=s-1", {"manifest": json.dumps({**MANIFEST, **change})})
    assert shown.status == 422
    assert reason in shown.text


def test_a_name_is_taken_once(sandbox: Sandbox) -> None:
    create(sandbox)
    again = confirm(sandbox, MANIFEST)
    assert again.status == 422
    assert "Name is already taken" in again.text


def test_a_form_of_another_site_confirms_and_installs_nothing(sandbox: Sandbox) -> None:
    fields = {"manifest": json.dumps(MANIFEST), "name": "My HLS"}
    assert post_form(sandbox, "/settings/apps/confirm", fields, Origin="https://evil.example").status == 403


def test_an_installation_gives_tokens_for_its_repositories(sandbox: Sandbox) -> None:
    seed_story(sandbox)
    app = create(sandbox)
    assert REPOSITORY in ask(sandbox.page_url, "GET", "/apps/my-hls/installations/new").text
    post_form(sandbox, "/apps/my-hls/installations/new", {"selection": "selected", "repository": REPOSITORY})
    (installation,) = as_app(sandbox, app, "/app/installations").document
    assert (installation["account"]["login"], installation["repository_selection"]) == ("Codertocat", "selected")
    assert as_app(sandbox, app, f"/repos/{REPOSITORY}/installation").document["id"] == installation["id"]
    assert as_app(sandbox, app, "/repos/other/repo/installation").status == 404
    path = f"/app/installations/{installation['id']}/access_tokens"
    created = as_app(sandbox, app, path, "POST", {"repositories": ["Hello-World"], "permissions": {"issues": "read"}})
    assert (created.status, created.document["permissions"]) == (201, {"issues": "read"})
    token = {"Authorization": f"Bearer {created.document['token']}"}
    listed = ask(sandbox.github_url, "GET", "/installation/repositories", headers=token).document
    assert [one["full_name"] for one in listed["repositories"]] == [REPOSITORY]
    for body in ({"permissions": {"contents": "read"}}, {"repositories": ["Unknown"]}):
        assert as_app(sandbox, app, path, "POST", body).status == 422


@pytest.mark.parametrize(
    ("claims", "status"),
    [
        ({"lifetime_s": 660}, 401),
        ({"lifetime_s": -1}, 401),
        ({"issuer": "999"}, 404),
        ({}, 200),
    ],
    ids=["lives too long", "expired", "another App", "valid"],
)
def test_a_jwt_is_checked(sandbox: Sandbox, claims: dict[str, Any], status: int) -> None:
    signed = sign(create(sandbox), at=datetime.now(UTC), **claims)
    assert ask(sandbox.github_url, "GET", "/app", headers={"Authorization": f"Bearer {signed}"}).status == status


def test_a_token_of_a_person_is_no_credential_of_an_app(sandbox: Sandbox) -> None:
    token = {"Authorization": f"Bearer {sandbox.token}"}
    assert ask(sandbox.github_url, "GET", "/app", headers=token).status == 401
    assert ask(sandbox.github_url, "GET", "/installation/repositories", headers=token).status == 401
