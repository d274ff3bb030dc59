"""Parsing of the Retry-After header."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from hls_handler.clients.retry_after import retry_after

NOON = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("headers", "wait"),
    [
        ({"retry-after": "90"}, timedelta(seconds=90)),
        ({"retry-after": "1.5"}, timedelta(seconds=1.5)),
        ({"retry-after": "0"}, timedelta()),
        ({"retry-after": "-5"}, timedelta()),
        ({"retry-after-ms": "250", "retry-after": "90"}, timedelta(seconds=0.25)),
        ({"retry-after-ms": "much", "retry-after": "90"}, timedelta(seconds=90)),
        ({"retry-after": "Fri, 20 Nov 2026 12:05:00 GMT"}, timedelta(minutes=5)),
        ({"retry-after": "Fri, 20 Nov 2026 12:05:00 -0000"}, timedelta(minutes=5)),
        ({"retry-after": "Fri, 20 Nov 2026 11:00:00 GMT"}, timedelta()),
        ({"retry-after": "86400"}, timedelta(hours=2)),
        ({"retry-after": "99999999999999"}, timedelta(hours=2)),
    ],
)
def test_header_gives_a_time(headers: dict[str, str], wait: timedelta) -> None:
    assert retry_after(headers, NOON) == NOON + wait


@pytest.mark.parametrize("header", [{}, {"retry-after": "soon"}, {"retry-after": ""}, {"retry-after": "nan"}])
def test_invalid_header_gives_none(header: dict[str, str]) -> None:
    assert retry_after(header, NOON) is None
