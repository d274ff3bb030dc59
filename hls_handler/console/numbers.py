"""Numbers of all deliveries or of many in short; "–" if there is nothing to show."""

from __future__ import annotations

NOTHING = "\u2013"


def format_percent(share: float | None) -> str:
    """Return "93.8%" for 0.938."""
    return NOTHING if share is None else f"{share:.1%}"


def format_sum_usd(usd: float | None) -> str:
    """Return "1,234.50 USD", or "0.0123 USD" below one dollar. The cost of one call or delivery has six decimals."""
    if usd is None:
        return NOTHING
    return f"{usd:,.2f} USD" if usd >= 1 or not usd else f"{usd:.4f} USD"


def format_duration(seconds: float | None) -> str:
    """Return "0.45 s", "12.5 s", "2.0 min", "3.1 h" or "4.2 d"."""
    if seconds is None:
        return NOTHING
    if seconds < 1:
        return f"{seconds:.2f} s"
    for limit, unit_s, unit in ((120, 1, "s"), (7_200, 60, "min"), (172_800, 3_600, "h")):
        if seconds < limit:
            return f"{seconds / unit_s:.1f} {unit}"
    return f"{seconds / 86_400:.1f} d"
