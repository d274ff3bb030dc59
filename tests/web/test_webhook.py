"""Headers, signatures and secrets of webhook requests."""

from __future__ import annotations

import hashlib
import hmac

import pytest

from hls_handler.settings.effective import RepositoryTable
from hls_handler.web.webhook import Rejected, WebhookHeaders, WebhookSecrets, body_digest, parse_headers, sign
from tests.web.fakes import OWN_SECRET, SECRET, settings, signature

SIGNATURE = b"sha256=" + b"0" * 64
GOOD = (
    (b"host", b"hls.example"),
    (b"content-type", b"application/json"),
    (b"content-length", b"12"),
    (b"x-github-event", b"issues"),
    (b"x-github-delivery", b"72d3162e-cc78-11e3-81ab-4c9367dc0958"),
    (b"x-hub-signature-256", SIGNATURE),
)
NOT_VERIFIED = "the request could not be verified: check the webhook's secret"


def having(name: bytes, *values: bytes) -> list[tuple[bytes, bytes]]:
    return [header for header in GOOD if header[0] != name] + [(name, value) for value in values]


def test_valid_headers_are_parsed() -> None:
    assert parse_headers(GOOD, signed=True) == WebhookHeaders(
        event="issues",
        delivery="72d3162e-cc78-11e3-81ab-4c9367dc0958",
        signature=SIGNATURE,
        is_form=False,
        content_length=12,
    )


@pytest.mark.parametrize(
    ("name", "values", "status"),
    [
        (b"x-github-event", (b"Issues",), 400),
        (b"x-github-event", (b"issues\n",), 400),
        (b"x-github-event", (b"i" * 65,), 400),
        (b"x-github-delivery", (b"a" * 65,), 400),
        (b"x-github-delivery", (b"../../etc/passwd",), 400),
        (b"x-github-delivery", (b"\xff\xfe",), 400),
        (b"x-hub-signature-256", (SIGNATURE, SIGNATURE), 401),
        (b"x-hub-signature-256", (b"sha1=" + b"0" * 40,), 401),
        (b"x-hub-signature-256", (b"sha256=" + b"0" * 63,), 401),
        (b"x-hub-signature-256", (b"sha256=" + b"\xe9" * 64,), 401),
        (b"content-type", (), 415),
        (b"content-type", (b"application/json; " + b"x" * 300,), 400),
        (b"content-type", (b"application/js\xf6n",), 400),
        (b"content-length", (b"twelve",), 400),
        (b"content-length", (b"-1",), 400),
        (b"content-length", (b"1" * 5000,), 400),
    ],
)
def test_rule_4_invalid_headers_are_rejected_with_one_sentence(
    name: bytes, values: tuple[bytes, ...], status: int
) -> None:
    with pytest.raises(Rejected) as rejected:
        parse_headers(having(name, *values), signed=True)
    assert rejected.value.status == status
    assert "\n" not in rejected.value.detail
    assert (rejected.value.detail == NOT_VERIFIED) == (status == 401)


@pytest.mark.parametrize(
    ("content_type", "is_form"),
    [
        (b"application/json", False),
        (b"application/json; charset=utf-8", False),
        (b"Application/JSON", False),
        (b"application/x-www-form-urlencoded", True),
        (b"application/x-www-form-urlencoded;charset=UTF-8", True),
    ],
)
def test_both_content_types_of_github_are_accepted(content_type: bytes, is_form: bool) -> None:
    assert parse_headers(having(b"content-type", content_type), signed=True).is_form is is_form


def test_a_chunked_body_has_no_declared_length_and_without_validation_no_signature_is_needed() -> None:
    assert parse_headers(having(b"content-length"), signed=True).content_length is None
    assert parse_headers(having(b"x-hub-signature-256"), signed=False).signature == b""


def secrets(**github: object) -> WebhookSecrets:
    given = settings(github=github)
    return WebhookSecrets(given, RepositoryTable(given))


def test_rule_2_test_vector_of_github_is_valid() -> None:
    """https://docs.github.com/en/webhooks/using-webhooks/validating-webhook-deliveries#testing-the-webhook-payload-validation"""
    assert (
        sign(b"It's a Secret to Everybody", b"Hello, World!")
        == b"sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"
    )


def test_rule_2_one_changed_byte_matches_no_secret() -> None:
    assert secrets().find_matching(b"Hello, World!", signature(b"Hello, World!")) == SECRET.encode()
    assert secrets().find_matching(b"Hello, World?", signature(b"Hello, World!")) is None


@pytest.mark.parametrize("garbage", [b"", b"sha256=", b"sha256=" + b"\xe9" * 64, b"\x00", b"sha256=" + b"0" * 64])
def test_rule_2_signatures_that_are_not_ascii_match_nothing(garbage: bytes) -> None:
    assert secrets().find_matching(b"Hello, World!", garbage) is None


@pytest.mark.parametrize("secret", ["the-old-secret-0123", "the-new-secret-0123"])
def test_rule_2_several_secrets_are_valid_during_rotation(secret: str) -> None:
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
        (SECRET, "another/repository", True),
        (OWN_SECRET, "another/repository", False),
        (SECRET, None, True),
        (OWN_SECRET, None, False),
    ],
)
def test_rule_2_a_secret_is_valid_only_for_its_repositories(secret: str, repository: str | None, allowed: bool) -> None:
    assert secrets().is_allowed(secret.encode(), repository) is allowed


@pytest.mark.parametrize("size", [0, 2_047, 2_048, 65_537])
def test_digests_cover_bodies_of_every_size(size: int) -> None:
    body = bytes(range(256)) * (size // 256) + bytes(size % 256)
    assert sign(b"secret", body) == b"sha256=" + hmac.digest(b"secret", body, "sha256").hex().encode()
    ids = bytes(7) + b"\x05" + bytes(8)
    assert body_digest(body, repository_id=5, number=None) == ids + hashlib.sha256(body).digest()
