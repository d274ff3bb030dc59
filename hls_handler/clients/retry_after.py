"""When a server wants to be asked again: the Retry-After header, as a point in time."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

LONGEST = timedelta(hours=2)
"""A server's word is not believed beyond this: then it is asked again, for what it was about may have been mended."""


def retry_after(headers: Mapping[str, str], now: datetime) -> datetime | None:
    """The time that `retry-after-ms` or `retry-after` (seconds or an HTTP date) names; None if neither can be read.

    `headers` has lower-case names. The answer lies between `now` and two hours later.
    https://www.rfc-editor.org/rfc/rfc9110#field.retry-after
    """
    wait_s = _number(headers.get("retry-after-ms"), unit_s=0.001)
    if wait_s is None:
        wait_s = _number(headers.get("retry-after"), unit_s=1.0)
    if wait_s is None:
        wait_s = _seconds_until(headers.get("retry-after"), now)
    if wait_s is None:
        return None
    return now + timedelta(seconds=min(max(wait_s, 0.0), LONGEST.total_seconds()))


def _number(header: str | None, *, unit_s: float) -> float | None:
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
