"""Tokens of a GitHub App's installations, against the sandbox."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_private_key,
)
from pydantic import SecretStr

from hls_handler.engine.repository_settings import find_organization_file
from hls_handler.errors import AppNotInstalled, DependencyDown, Permanent
from hls_handler.git.mirror import Mirrors
from hls_handler.github.client import Github, connect, make_credentials
from hls_handler.github.credentials import REQUESTED_PERMISSIONS, App
from hls_handler.prompting import recorded
from hls_handler.settings.model import GithubApp, GithubSettings, MirrorSettings
from hls_sandbox.objects import Account as SandboxAccount
from hls_sandbox.objects import Installation
from tests.github.review_world import NOON
from tests.github_fake.apps import add_app, change_installation, remove_installation
from tests.github_fake.faults import Fault
from tests.github_fake.files import set_file
from tests.github_fake.server import Sandbox
from tests.sandbox.conftest import ask
from tests.settings.files import app_key

REPOSITORY = "Codertocat/Hello-World"
OWNER = SandboxAccount("Codertocat", 21031067, "User")
ALL = dict(REQUESTED_PERMISSIONS)


@cache
def public_key() -> str:
    key = load_pem_private_key(app_key().encode(), password=None).public_key()
    return key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


@dataclass
class World:
    """A sandbox with an installed App, a clock that only tests advance, and the App's client."""

    sandbox: Sandbox
    now: list[datetime] = field(default_factory=lambda: [NOON])
    requests: int = 0

    def __post_init__(self) -> None:
        event = recorded.load("demo/bug")
        conversation = self.sandbox.state.seed(event.event, event.payload)
        assert conversation is not None
        self.number = conversation.number
        self.registered = add_app(
            self.sandbox.state, owner=OWNER, public_key=public_key(), permissions=ALL
        )
        self.installation = self.install()
        secret = SecretStr("sixteen bytes at least")
        app = GithubApp(id=self.registered.id, private_key=SecretStr(app_key()))
        settings = GithubSettings(app=app, webhook_secret=secret, base_url=self.sandbox.github_url)
        credentials = make_credentials(settings, now=self.time)
        assert isinstance(credentials, App)
        self.app = credentials

    def install(self, repositories: tuple[str, ...] = (REPOSITORY,)) -> Installation:
        return self.sandbox.apps.install(self.registered, OWNER, repositories)

    def time(self) -> datetime:
        return self.now[-1]

    def connect(self) -> Github:
        return connect(self.app, now=self.time)

    def read(self) -> str:
        with closing(self.connect()) as github:
            return github.reader(REPOSITORY).issue(self.number).title

    def token_requests(self) -> list[object]:
        logged = self.sandbox.requests.all("github")
        return [one.body for one in logged if one.path.endswith("/access_tokens")]


@pytest.fixture
def world() -> Iterator[World]:
    now = [NOON]
    with Sandbox(clock=lambda: now[-1]) as sandbox:
        yield World(sandbox, now)


def test_rule_20_token_is_requested_with_least_permissions_and_for_one_repository(
    world: World,
) -> None:
    assert world.read() == world.read()
    assert world.token_requests() == [
        {
            "repositories": ["Hello-World"],
            "permissions": {
                "issues": "write",
                "pull_requests": "write",
                "checks": "write",
                "actions": "read",
                "contents": "read",
                "metadata": "read",
            },
        }
    ]


def test_rule_20_the_file_of_an_organisation_is_read_with_a_token_for_its_repository_alone(
    world: World,
) -> None:
    home = world.sandbox.state.world.repository(REPOSITORY)
    assert home is not None
    shared = replace(home, document={**home.document, "id": 7, "full_name": "Codertocat/.github"})
    world.sandbox.state.change(lambda given: given.with_repository(shared))
    set_file(world.sandbox.state, "Codertocat/.github", "hls.yaml", "enabled: false\n")
    with closing(world.connect()) as github:
        assert find_organization_file(github, "Codertocat") is None
        world.install((REPOSITORY, "Codertocat/.github"))
        found = find_organization_file(github, "Codertocat")
    assert found is not None
    assert found.content == b"enabled: false\n"
    assert world.token_requests() == [{"repositories": [".github"], "permissions": ALL}]


def test_replaced_installation_is_looked_up_again(world: World) -> None:
    world.read()
    remove_installation(world.sandbox.state, world.installation.id)
    # takes its id
    world.sandbox.apps.install(
        world.registered, SandboxAccount("octo-org", 583_231, "Organization"), ()
    )
    world.install()
    world.now.append(NOON + timedelta(minutes=56))
    world.read()
    tokens = [
        one.path
        for one in world.sandbox.requests.all("github")
        if one.path.endswith("/access_tokens")
    ]
    assert len(set(tokens)) == 2


def test_token_is_renewed_before_it_expires(world: World) -> None:
    world.read()
    world.now.append(NOON + timedelta(minutes=54))
    world.read()
    assert len(world.token_requests()) == 1
    world.now.append(NOON + timedelta(minutes=56))
    world.read()
    assert len(world.token_requests()) == 2
    world.now.append(NOON + timedelta(minutes=110))
    world.read()
    assert len(world.token_requests()) == 2


def test_failed_renewal_uses_the_old_token_and_tries_again_later(world: World) -> None:
    world.read()
    world.now.append(NOON + timedelta(minutes=56))
    world.sandbox.faults.add(
        Fault(stand_in="github", path="/access_tokens", effect="status", status=502, times=1)
    )
    world.read()
    world.read()
    assert len(world.token_requests()) == 2
    world.now.append(NOON + timedelta(minutes=57))
    world.read()
    assert len(world.token_requests()) == 3


def test_one_thread_renews_while_the_others_use_the_old_token(world: World) -> None:
    credential = world.app.credential(REPOSITORY)
    old = credential.authorization()
    world.now.append(NOON + timedelta(minutes=56))
    results: list[str] = []
    start = threading.Barrier(8)

    def use() -> None:
        start.wait()
        results.append(credential.authorization())
        world.read()

    threads = [threading.Thread(target=use) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(world.token_requests()) == 2
    assert set(results) <= {old, credential.authorization()}
    requests = world.sandbox.requests.all("github")
    assert {request.status for request in requests} == {200, 201}


def test_rejected_token_is_renewed_once_and_the_request_is_sent_again(world: World) -> None:
    world.read()
    world.sandbox.faults.add(Fault(effect="status", status=401, path="/issues/"))
    assert world.read() == world.read()
    assert len(world.token_requests()) == 2


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ("removed", "is not installed on Codertocat/Hello-World"),
        ("other repositories", "is not installed on Codertocat/Hello-World"),
        ("suspended", "on Codertocat/Hello-World is suspended"),
    ],
)
def test_missing_installation_is_an_error_of_its_own(
    world: World, change: str, reason: str
) -> None:
    world.read()
    if change == "removed":
        remove_installation(world.sandbox.state, world.installation.id)
    elif change == "suspended":
        change_installation(
            world.sandbox.state,
            world.installation.id,
            suspended_at=datetime(2026, 1, 1, tzinfo=UTC),
        )
    else:
        world.install(("Codertocat/other",))
    with pytest.raises(AppNotInstalled, match=reason):
        world.read()


def test_permission_that_was_not_granted_is_not_requested(world: World) -> None:
    granted = {"issues": "write", "pull_requests": "read", "metadata": "read"}
    change_installation(world.sandbox.state, world.installation.id, permissions=granted)
    world.read()
    assert [body["permissions"] for body in world.token_requests() if isinstance(body, dict)] == [
        granted
    ]
    with closing(world.connect()) as github:
        identity = github.fetch_identity()
        with pytest.raises(Permanent, match="actions=read"):
            github.reader(REPOSITORY).jobs(1, 1)
    assert identity.missing == (
        (
            "labels, comments and the files of pull requests need pull_requests: write"
            " (installation on Codertocat)"
        ),
        "checks on the commits of pull requests need checks: write (installation on Codertocat)",
        "logs of failed workflow runs need actions: read (installation on Codertocat)",
        (
            ".github/hls.yaml and the commits of a release need contents: read (installation on"
            " Codertocat)"
        ),
    )


def test_new_permission_is_used_without_a_restart(world: World) -> None:
    change_installation(
        world.sandbox.state,
        world.installation.id,
        permissions={"issues": "read", "metadata": "read"},
    )
    world.read()
    change_installation(world.sandbox.state, world.installation.id, permissions=ALL)
    world.now.append(NOON + timedelta(minutes=2))
    with closing(world.connect()) as github, pytest.raises(Permanent, match="404"):
        github.reader(REPOSITORY).jobs(1, 1)
    assert len(world.token_requests()) == 2


def test_identity_names_app_installations_and_permissions(world: World) -> None:
    with closing(world.connect()) as github:
        identity = github.fetch_identity()
    assert identity.sentences == (
        (
            f"GitHub: the App my-hls (id {world.registered.id}) acts as my-hls[bot]; installed on"
            " Codertocat"
        ),
    )
    assert identity.missing == ()
    assert identity.details == {
        "kind": "app",
        "login": "my-hls[bot]",
        "app_id": world.registered.id,
        "app_slug": "my-hls",
        "installations": [
            {
                "id": world.installation.id,
                "account": "Codertocat",
                "repositories": "selected",
                "suspended": False,
                "permissions": ALL,
                "missing_permissions": [],
            }
        ],
    }


def test_identity_lacks_an_installation_that_is_not_suspended(world: World) -> None:
    change_installation(
        world.sandbox.state, world.installation.id, suspended_at=datetime(2026, 1, 1, tzinfo=UTC)
    )
    with closing(world.connect()) as github:
        identity = github.fetch_identity()
    page = f"{world.sandbox.github_url.removesuffix('/api/v3')}/apps/my-hls/installations/new"
    assert identity.missing == (
        f"every installation of the App my-hls is suspended; unsuspend one at {page}",
    )
    other = SandboxAccount("octo-org", 583_231, "Organization")
    world.sandbox.apps.install(world.registered, other, ("octo-org/Hello-World",))
    with closing(world.connect()) as github:
        assert github.fetch_identity().missing == ()


def test_several_installations_work_at_the_same_time(world: World) -> None:
    """Each repository's token is one of the installation of its owner, and is valid for this
    repository only.
    """
    event = recorded.load("demo/bug")
    world.sandbox.state.seed(
        event.event, json.loads(event.body.replace(b"Codertocat", b"octo-org"))
    )
    other = SandboxAccount("octo-org", 583_231, "Organization")
    installed = world.sandbox.apps.install(world.registered, other, ("octo-org/Hello-World",))
    with closing(world.connect()) as github:
        first, second = github.reader(REPOSITORY), github.reader("octo-org/Hello-World")
        assert [reader.issue(world.number).number for reader in (first, second, first)] == [
            world.number
        ] * 3
        limits = {
            github.rate_limit(name) for name in (REPOSITORY, "codertocat/other", "octo-org/repo")
        }
        assert limits == {"github codertocat", "github octo-org"}
    requested = [
        one.path
        for one in world.sandbox.requests.all("github")
        if one.path.endswith("/access_tokens")
    ]
    assert requested == [
        f"/app/installations/{one.id}/access_tokens" for one in (world.installation, installed)
    ]
    own = world.app.credential("octo-org/Hello-World").authorization()
    answer = ask(
        world.sandbox.github_url, "GET", f"/repos/{REPOSITORY}", headers={"Authorization": own}
    )
    assert answer.status == 404


def test_key_of_another_app_is_rejected_with_a_remedy(world: World) -> None:
    app = GithubApp(id=world.registered.id, private_key=SecretStr(app_key("second")))
    settings = world.app.settings.model_copy(update={"app": app})
    credentials = make_credentials(settings, now=world.time)
    with closing(connect(credentials, now=world.time)) as github:
        with pytest.raises(DependencyDown, match="A JSON web token could not be decoded") as caught:
            github.fetch_bot_account()
        assert "its private key" in caught.value.remedy
        with pytest.raises(DependencyDown, match="A JSON web token could not be decoded"):
            github.reader(REPOSITORY).issue(world.number)


def test_forgotten_token_is_requested_again(world: World) -> None:
    world.read()
    world.app.forget(["codertocat/hello-world"], owner="Codertocat")
    world.read()
    world.app.forget(None, owner="codertocat")
    world.read()
    world.app.forget(None, owner="other")
    world.read()
    assert len(world.token_requests()) == 3


def test_token_of_an_installation_gives_git_access_to_its_repositories(
    world: World, tmp_path: Path
) -> None:
    head = world.sandbox.git.commit(REPOSITORY, {"shop.py": "pay(1)\n"})
    mirrors = Mirrors(lambda: MirrorSettings(directory=tmp_path))
    with closing(connect(world.app, now=world.time, mirrors=mirrors)) as github:
        files = github.reader(REPOSITORY).files_at(head)
        assert (files.no_mirror, files.texts(["shop.py"])) == ("", {"shop.py": "pay(1)\n"})
