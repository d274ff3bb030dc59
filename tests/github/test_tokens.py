"""Several tokens: which one is used, and what is known about each."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import pytest
from pydantic import SecretStr

from hls_handler.errors import DependencyDown, Permanent, Postponed, TokenReplaced
from hls_handler.github.client import Github, connect, connect_read_only, make_credentials
from hls_handler.github.identity import describe_tokens
from hls_handler.github.tokens import Tokens
from hls_handler.prompting import recorded
from hls_handler.settings.model import GithubSettings
from hls_sandbox.objects import Account
from hls_sandbox.server import TOKEN
from hls_sandbox.state import BOT
from tests.github.review_world import NOON
from tests.github_fake.faults import Fault
from tests.github_fake.server import Sandbox

REPOSITORY = "Codertocat/Hello-World"
SPARE, SPARE_TOKEN = Account("spare-bot", 99_000_002, "User"), "spare-token"
FIRST, SECOND = "github.tokens[0]", "github.tokens[1]"


@dataclass
class World:
    sandbox: Sandbox
    now: list[datetime] = field(default_factory=lambda: [NOON])
    changes: list[bool] = field(default_factory=list)

    def __post_init__(self) -> None:
        event = recorded.load("demo/bug")
        conversation = self.sandbox.state.seed(event.event, event.payload)
        assert conversation is not None
        self.number = conversation.number
        self.sandbox.tokens[SPARE_TOKEN] = SPARE
        self.settings = GithubSettings(
            tokens=(SecretStr(TOKEN), SecretStr(SPARE_TOKEN)),
            webhook_secret=SecretStr("sixteen bytes at least"),
            base_url=self.sandbox.github_url,
        )
        credentials = make_credentials(
            self.settings, now=lambda: self.now[-1], changed=self._record
        )
        assert isinstance(credentials, Tokens)
        self.tokens = credentials

    def _record(self) -> None:
        self.changes.append(True)

    def connect(self) -> Github:
        """Return a client that uses the first token."""
        return connect(self.tokens, now=lambda: self.now[-1])

    def read(self) -> str:
        """Read an issue with the token that is used now; return its key."""
        token = self.tokens.preferred
        with closing(self.connect()) as github:
            github.with_token(token).reader(REPOSITORY).issue(self.number)
        return token.key

    def fetch_accounts(self) -> list[str]:
        with closing(self.connect()) as github:
            return [account.fetch_bot_account().login for account in github.accounts()]


@pytest.fixture
def world() -> Iterator[World]:
    now = [NOON]
    with Sandbox(clock=lambda: now[-1]) as sandbox:
        yield World(sandbox, now)


def test_rejected_token_is_replaced_until_github_accepts_it_again(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    del world.sandbox.tokens[TOKEN]
    with pytest.raises(
        TokenReplaced,
        match=r"github\.tokens\[0\]: GitHub rejected it \(401\); github\.tokens\[1\] takes",
    ):
        world.read()
    assert world.read() == SECOND
    assert len(world.changes) == 1  # /health is updated at once
    world.sandbox.tokens[TOKEN] = BOT
    assert world.read() == SECOND
    assert world.fetch_accounts() == ["hls-bot", "spare-bot"]
    assert world.read() == FIRST
    assert len(world.changes) == 2
    assert [record.getMessage() for record in caplog.records if record.name.endswith("tokens")] == [
        "a GitHub token cannot be used",
        "a GitHub token can be used again",
    ]


def test_used_up_limit_moves_work_to_the_next_account_until_it_resets(world: World) -> None:
    world.fetch_accounts()
    world.sandbox.used_up["hls-bot"] = NOON + timedelta(hours=1)
    with pytest.raises(
        TokenReplaced, match=r"the limit of its account is used up until 13:00:00 UTC"
    ):
        world.read()
    assert world.read() == SECOND
    world.now.append(NOON + timedelta(minutes=61))
    assert world.read() == FIRST


def test_limit_concerns_all_tokens_of_the_account(world: World) -> None:
    world.sandbox.tokens[SPARE_TOKEN] = BOT
    world.fetch_accounts()
    world.sandbox.used_up["hls-bot"] = NOON + timedelta(hours=1)
    with pytest.raises(DependencyDown, match="API rate limit exceeded"):
        world.read()
    with pytest.raises(Postponed) as caught:
        world.read()
    assert caught.value.at == NOON + timedelta(hours=1)


def test_rejected_token_is_replaced_by_another_one_of_its_account(world: World) -> None:
    world.sandbox.tokens[SPARE_TOKEN] = BOT
    world.fetch_accounts()
    del world.sandbox.tokens[TOKEN]
    with pytest.raises(TokenReplaced):
        world.read()
    assert world.read() == SECOND


def test_token_with_a_problem_sends_no_request(world: World) -> None:
    with closing(world.connect()) as github:
        del world.sandbox.tokens[TOKEN]
        with pytest.raises(TokenReplaced):
            github.reader(REPOSITORY).issue(world.number)
        sent = len(world.sandbox.requests.all())
        with pytest.raises(
            DependencyDown, match=r"github\.tokens\[0\]: GitHub rejected it \(401\)"
        ) as caught:
            github.reader(REPOSITORY).issue(world.number)
    assert len(world.sandbox.requests.all()) == sent
    assert (
        caught.value.remedy
        == "set github.tokens[0] to a valid token: this one is wrong, expired or revoked"
    )


def test_read_only_client_sends_the_request_with_the_next_token(world: World) -> None:
    del world.sandbox.tokens[TOKEN]
    with closing(connect_read_only(world.settings, now=lambda: NOON)) as github:
        assert github.reader(REPOSITORY).issue(world.number).number == world.number


def test_identity_shows_each_token_with_its_account_scopes_and_problem(world: World) -> None:
    world.fetch_accounts()
    del world.sandbox.tokens[TOKEN]
    with pytest.raises(TokenReplaced):
        world.read()
    identity = describe_tokens(world.tokens)
    assert identity.sentences == (
        (
            "GitHub: the token github.tokens[0] belongs to hls-bot; permissions: the scopes repo;"
            " GitHub rejected it (401)"
        ),
        "GitHub: the token github.tokens[1] belongs to spare-bot; permissions: the scopes repo",
    )
    common = {"kind": "classic token", "permissions": ["repo"], "expires_at": None}
    spare = {**common, "key": SECOND, "login": "spare-bot"}
    first = {**common, "key": FIRST, "login": "hls-bot"}
    assert identity.details == {
        **spare,
        "missing_permissions": [],
        "tokens": [{**first, "problem": "GitHub rejected it (401)"}, {**spare, "problem": None}],
    }


def test_identity_shows_the_permission_that_a_403_named(world: World) -> None:
    headers = {"X-Accepted-GitHub-Permissions": "issues=write; pull_requests=write"}
    world.sandbox.faults.add(Fault(effect="status", path="/issues/", status=403, headers=headers))
    with pytest.raises(Permanent, match="lacks a permission"):
        world.read()
    needed = (
        "labels and comments on issues need issues: write or pull_requests: write (GitHub rejected"
        " a request)"
    )
    assert describe_tokens(world.tokens).missing == (needed,)
    world.now.append(NOON + timedelta(minutes=61))
    assert describe_tokens(world.tokens).missing == ()


@pytest.mark.parametrize(
    "reason",
    [
        "Commenting is disabled on issues with more than 2500 comments",
        "Repository was archived so is read-only.",
        "Unable to create comment because issue is locked.",
    ],
)
def test_a_403_for_another_reason_names_no_permission(world: World, reason: str) -> None:
    headers = {"X-Accepted-GitHub-Permissions": "issues=write; pull_requests=write"}
    body = json.dumps({"message": reason})
    world.sandbox.faults.add(
        Fault(effect="status", path="/issues/", status=403, headers=headers, body=body)
    )
    with pytest.raises(Permanent, match=reason):
        world.read()
    assert describe_tokens(world.tokens).missing == ()


@pytest.mark.parametrize(
    ("scopes", "permissions", "missing"),
    [
        (None, "not listed by GitHub", ()),
        ("public_repo, gist", ["public_repo", "gist"], ()),
        (
            "gist",
            ["gist"],
            (
                (
                    "labels and comments need the scope repo, or public_repo for public"
                    " repositories (github.tokens[0])"
                ),
            ),
        ),
    ],
    ids=["fine-grained", "classic", "classic without repo"],
)
def test_permissions_of_a_token_are_its_scopes(
    world: World, scopes: str | None, permissions: object, missing: tuple[str, ...]
) -> None:
    headers = {} if scopes is None else {"x-oauth-scopes": scopes}
    world.tokens.all[0].report_success("hls-bot", headers)
    identity = describe_tokens(world.tokens)
    assert (identity.details["permissions"], identity.missing) == (permissions, missing)


IN_14_DAYS = ("github.tokens[0] expires at 2026-12-04 11:59 UTC",)


@pytest.mark.parametrize(
    ("header", "expires_at", "expiring"),
    [
        ("2026-12-04 11:59:00 UTC", "2026-12-04T11:59:00+00:00", IN_14_DAYS),
        ("2026-12-04 13:59:00 +0200", "2026-12-04T11:59:00+00:00", IN_14_DAYS),
        ("2026-12-04 12:00:00 UTC", "2026-12-04T12:00:00+00:00", ()),
        ("never", None, ()),
    ],
)
def test_expiry_of_a_token_comes_from_a_response_and_is_named_14_days_before(
    world: World, header: str, expires_at: str | None, expiring: tuple[str, ...]
) -> None:
    body = json.dumps({"login": "hls-bot", "id": 9001, "type": "User"})
    headers = {"GitHub-Authentication-Token-Expiration": header}
    world.sandbox.faults.add(
        Fault(effect="status", path="/user", status=200, headers=headers, body=body)
    )
    world.fetch_accounts()
    identity = describe_tokens(world.tokens)
    assert (identity.details["expires_at"], identity.expiring) == (expires_at, expiring)
