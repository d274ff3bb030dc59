"""The headers of a webhook request."""

from __future__ import annotations

import pytest

from hls_handler.web.webhook import Rejected, WebhookHeaders, parse_headers

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


def test_good_headers() -> None:
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
        (b"x-github-event", (), 400),
        (b"x-github-event", (b"",), 400),
        (b"x-github-event", (b"issues", b"issues"), 400),
        (b"x-github-event", (b"Issues",), 400),
        (b"x-github-event", (b"issues\n",), 400),
        (b"x-github-event", (b"issues; drop",), 400),
        (b"x-github-event", ("issuë".encode(),), 400),
        (b"x-github-event", (b"i" * 65,), 400),
        (b"x-github-delivery", (), 400),
        (b"x-github-delivery", (b"",), 400),
        (b"x-github-delivery", (b"a", b"b"), 400),
        (b"x-github-delivery", (b"a" * 65,), 400),
        (b"x-github-delivery", (b"../../etc/passwd",), 400),
        (b"x-github-delivery", (b"a b",), 400),
        (b"x-github-delivery", (b"\xff\xfe",), 400),
        (b"x-hub-signature-256", (), 401),
        (b"x-hub-signature-256", (b"",), 401),
        (b"x-hub-signature-256", (SIGNATURE, SIGNATURE), 401),
        (b"x-hub-signature-256", (b"0" * 64,), 401),
        (b"x-hub-signature-256", (b"sha1=" + b"0" * 40,), 401),
        (b"x-hub-signature-256", (b"sha256=" + b"0" * 63,), 401),
        (b"x-hub-signature-256", (b"sha256=" + b"0" * 100_000,), 401),
        (b"x-hub-signature-256", (b"sha256=" + b"\xe9" * 64,), 401),
        (b"content-type", (), 415),
        (b"content-type", (b"text/plain",), 415),
        (b"content-type", (b"multipart/form-data; boundary=x",), 415),
        (b"content-type", (b"application/json", b"application/json"), 400),
        (b"content-type", (b"application/json; " + b"x" * 300,), 400),
        (b"content-type", (b"application/js\xf6n",), 400),
        (b"content-length", (b"twelve",), 400),
        (b"content-length", (b"-1",), 400),
        (b"content-length", (b"1" * 5000,), 400),
        (b"content-length", (b"1", b"2"), 400),
    ],
)
def test_rule_4_bad_headers_are_refused_with_one_sentence(name: bytes, values: tuple[bytes, ...], status: int) -> None:
    with pytest.raises(Rejected) as refused:
        parse_headers(having(name, *values), signed=True)
    assert refused.value.status == status
    assert "\n" not in refused.value.detail
    assert (refused.value.detail == NOT_VERIFIED) == (status == 401)


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
def test_both_content_types_of_github_are_taken(content_type: bytes, is_form: bool) -> None:
    assert parse_headers(having(b"content-type", content_type), signed=True).is_form is is_form


def test_an_id_of_64_characters_is_the_longest() -> None:
    assert parse_headers(having(b"x-github-delivery", b"a" * 64), signed=True).delivery == "a" * 64


def test_a_chunked_body_declares_no_length() -> None:
    assert parse_headers(having(b"content-length"), signed=True).content_length is None


def test_without_signature_validation_no_signature_is_needed() -> None:
    assert parse_headers(having(b"x-hub-signature-256"), signed=False).signature == b""
