"""Signatures and secrets."""

from __future__ import annotations

import hashlib
import hmac

import pytest

from hls_handler.settings.effective import RepositoryTable
from hls_handler.web.webhook import WebhookSecrets, sha256, sign
from tests.web.fakes import OWN_SECRET, SECRET, settings, signature


def secrets(**github: object) -> WebhookSecrets:
    given = settings(github=github)
    return WebhookSecrets(given, RepositoryTable(given))


def test_rule_2_githubs_own_test_vector() -> None:
    """https://docs.github.com/en/webhooks/using-webhooks/validating-webhook-deliveries#testing-the-webhook-payload-validation"""
    assert (
        sign(b"It's a Secret to Everybody", b"Hello, World!")
        == b"sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"
    )


def test_rule_2_one_changed_byte_matches_no_secret() -> None:
    assert secrets().find_matching(b"Hello, World!", signature(b"Hello, World!")) == SECRET.encode()
    assert secrets().find_matching(b"Hello, World?", signature(b"Hello, World!")) is None


@pytest.mark.parametrize("garbage", [b"", b"sha256=", b"sha256=" + b"\xe9" * 64, b"\x00", b"sha256=" + b"0" * 64])
def test_rule_2_garbage_is_compared_as_bytes_and_matches_nothing(garbage: bytes) -> None:
    assert secrets().find_matching(b"Hello, World!", garbage) is None


@pytest.mark.parametrize("secret", ["the-old-secret-0123", "the-new-secret-0123"])
def test_rule_2_several_secrets_are_valid_while_rotating(secret: str) -> None:
    rotating = secrets(webhook_secret=["the-old-secret-0123", "the-new-secret-0123"])
    assert rotating.find_matching(b"{}", signature(b"{}", secret)) == secret.encode()
    assert rotating.is_allowed(secret.encode(), "owner/repo")


@pytest.mark.parametrize(
    ("secret", "repository", "allowed"),
    [
        (SECRET, "owner/repo", True),
        (OWN_SECRET, "owner/private", True),
        (OWN_SECRET, "Owner/Private", True),
        (OWN_SECRET, "owner/repo", False),
        (SECRET, "owner/private", False),
        (SECRET, "stranger/unknown", True),
        (OWN_SECRET, "stranger/unknown", False),
        (SECRET, None, True),
        (OWN_SECRET, None, False),
    ],
)
def test_rule_2_a_secret_speaks_for_its_own_repositories_only(
    secret: str, repository: str | None, allowed: bool
) -> None:
    assert secrets().is_allowed(secret.encode(), repository) is allowed


@pytest.mark.parametrize("size", [0, 1, 2_047, 2_048, 20_000, 65_536, 65_537, 1_000_000])
def test_bodies_of_every_size_are_digested_whole(size: int) -> None:
    body = bytes(range(256)) * (size // 256) + bytes(size % 256)
    assert sign(b"secret", body) == b"sha256=" + hmac.digest(b"secret", body, "sha256").hex().encode()
    assert sha256(body) == hashlib.sha256(body).digest()
