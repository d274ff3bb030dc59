"""Parses the Retry-After header into a point in time."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

MAX_WAIT = timedelta(hours=2)
"""Longer waits are shortened to this: the server is then asked again, because the cause may have been fixed."""


def retry_after(headers: Mapping[str, str], now: datetime) -> datetime | None:
    """Return the time given by `retry-after-ms` or `retry-after` (seconds or an HTTP date); None if neither is valid.

    `headers` has lower-case names. The time lies between `now` and two hours later.
    https://www.rfc-editor.org/rfc/rfc9110#field.retry-after
    """
    wait_s = _parse_number(headers.get("retry-after-ms"), unit_s=0.001)
    if wait_s is None:
        wait_s = _parse_number(headers.get("retry-after"), unit_s=1.0)
    if wait_s is None:
        wait_s = _seconds_until(headers.get("retry-after"), now)
    if wait_s is None:
        return None
    return now + timedelta(seconds=min(max(wait_s, 0.0), MAX_WAIT.total_seconds()))


def _parse_number(header: str | None, *, unit_s: float) -> float | None:
    try:
        value = float(header or "")
    except ValueError:
        return None
    return value * unit_s if math.isfinite(value) else None


def _seconds_until(header: str | None, now: datetime) -> float | None:
    try:
        date = parsedate_to_datetime(header or "")
    except ValueError:
        return None
    aware = date if date.tzinfo is not None else date.replace(tzinfo=UTC)
    return (aware - now).total_seconds()
