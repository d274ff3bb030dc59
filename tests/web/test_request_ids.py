"""Request ids."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator

import pytest

from hls_handler import logs
from hls_handler.deliveries import CAUGHT_UP
from hls_handler.web.request_ids import given_request_id, new_request_id
from tests.web.fakes import GUID, WebSetup, ask, headers, payload, settings


@pytest.mark.parametrize("given", [b"12345678", b"a" * 64, b"72d3162e-cc78-11e3"])
def test_a_valid_request_id_is_reused(given: bytes) -> None:
    assert given_request_id([(b"host", b"x"), (b"x-request-id", given)]) == given.decode()


@pytest.mark.parametrize("given", [GUID, GUID.upper()])
def test_request_id_of_a_caller_is_never_the_guid_of_a_delivery(given: str) -> None:
    assert given_request_id([(b"x-request-id", given.encode())]) == given.replace("-", "")


@pytest.mark.parametrize(
    "given",
    [
        (),
        (b"1234567",),
        (b"a" * 65,),
        (b"12345678\r\nset-cookie: a",),
        (b"\xff" * 8,),
        (b"12345678", b"12345678"),
    ],
)
def test_rule_4_other_values_are_ignored(given: tuple[bytes, ...]) -> None:
    assert given_request_id([(b"x-request-id", value) for value in given]) is None


@pytest.fixture
def lines() -> Iterator[io.StringIO]:
    """Collect the log as JSON lines."""
    root = logging.getLogger()
    before, level = root.handlers[:], root.level
    written = io.StringIO()
    logs.configure("INFO", "json", written, ())
    yield written
    root.handlers[:] = before
    root.setLevel(level)
    logging.captureWarnings(capture=False)


def test_log_lines_contain_request_id_and_delivery_id(lines: io.StringIO) -> None:
    setup, body = WebSetup(settings()), payload()
    app = setup.app()
    setup.store.broken = "disk full"
    ask(app, headers=headers(body, x_request_id="request-0001"), chunks=[body])
    ask(app, headers=headers(body, x_request_id="request-0002", x_github_delivery="?"), chunks=[body])
    logged = [json.loads(line) for line in lines.getvalue().splitlines()]
    assert [
        (line["message"], line["request_id"], line.get("delivery"), line.get("why") or line["reason"])
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


def test_rule_2_no_request_passes_as_a_delivery_that_catch_up_read() -> None:
    assert given_request_id([(b"x-request-id", f"{CAUGHT_UP}1234567".encode())]) is None
    assert not new_request_id().startswith(CAUGHT_UP)
