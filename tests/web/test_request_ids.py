"""Request ids."""

from __future__ import annotations

import io
import json

import pytest

from hls_handler import logs
from hls_handler.deliveries import CAUGHT_UP
from hls_handler.web.app import given_request_id
from tests.web.fakes import GUID, WebSetup, ask, headers, payload, settings


@pytest.mark.parametrize(
    ("given", "used"),
    [
        ((b"12345678",), "12345678"),
        ((b"a" * 64,), "a" * 64),
        ((GUID.upper().encode(),), GUID.upper().replace("-", "")),  # never the GUID of a delivery
        ((), None),
        ((b"1234567",), None),
        ((b"a" * 65,), None),
        ((b"12345678\r\nset-cookie: a",), None),
        ((b"\xff" * 8,), None),
        ((b"12345678", b"12345678"), None),
        (
            (f"{CAUGHT_UP}1234567".encode(),),
            None,
        ),  # rule 2: no request passes as a delivery that catch-up read
    ],
)
def test_rule_4_a_valid_request_id_is_reused_and_others_are_ignored(
    given: tuple[bytes, ...], used: str | None
) -> None:
    assert (
        given_request_id([(b"host", b"x"), *((b"x-request-id", value) for value in given)]) == used
    )


@pytest.mark.usefixtures("logging_as_before")
def test_log_lines_contain_request_id_and_delivery_id() -> None:
    lines = io.StringIO()
    logs.configure("INFO", "json", lines, ())
    setup, body = WebSetup(settings()), payload()
    app = setup.app()
    setup.store.broken = "disk full"
    ask(app, headers=headers(body, x_request_id="request-0001"), chunks=[body])
    ask(
        app,
        headers=headers(body, x_request_id="request-0002", x_github_delivery="?"),
        chunks=[body],
    )
    logged = [json.loads(line) for line in lines.getvalue().splitlines()]
    assert [
        (
            line["message"],
            line["request_id"],
            line.get("delivery"),
            line.get("why") or line["reason"],
        )
        for line in logged
    ] == [
        ("unhealthy", "request-0001", GUID, "disk full"),
        ("webhook could not be stored", "request-0001", GUID, "disk full"),
        ("webhook received", "request-0001", GUID, "disk full"),
        (
            "webhook received",
            "request-0002",
            None,
            "X-GitHub-Delivery must be an id of at most 64 letters, digits and hyphens",
        ),
    ]
