"""Counts, costs, times and invalid values in sentences, such as "2 deliveries", "$0.00060",
"5 min ago" and "kind: expected text". All packages use it for messages.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from datetime import datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails


def count(number: int, noun: str, plural: str = "") -> str:
    """Return "1 request", or "2 requests"."""
    return f"{number} {inflect(number, noun, plural)}"


def inflect(number: int, noun: str, plural: str = "") -> str:
    """Return "request" for 1, else "requests". `plural` is for words whose plural does not follow
    from the last letters: "is", "are".
    """
    if number == 1:
        return noun
    if plural:
        return plural
    if noun.endswith("y") and noun[-2:-1] not in "aeiou":
        return f"{noun[:-1]}ies"
    if noun.endswith(("ch", "sh", "s", "x")):
        return f"{noun}es"
    return f"{noun}s"


def is_or_are(number: int) -> str:
    return "is" if number == 1 else "are"


def was_or_were(number: int) -> str:
    return "was" if number == 1 else "were"


def format_usd(usd: float | None) -> str:
    """Return "$1,234.50", "$0.021", "$0.00060", or "unknown" for None."""
    if usd is None:
        return "unknown"
    if usd >= 1 or usd == 0:
        return f"${usd:,.2f}"
    if usd >= 0.01:
        return f"${usd:.3f}"
    first_digit = -math.floor(math.log10(usd))
    return f"${usd:.{first_digit + 1}f}"


def add_usd(costs: Iterable[float | None]) -> float | None:
    """Return the sum, or None if one of the costs is unknown (None)."""
    amounts = list(costs)
    if None in amounts:
        return None
    return sum(cost for cost in amounts if cost is not None)


def format_seconds(seconds: float) -> str:
    """Return "0.45 s", "12.5 s", "2.0 min", "3.1 h" or "4.2 d"."""
    if seconds < 1:
        return f"{seconds:.2f} s"
    for limit, unit_s, unit in ((120, 1, "s"), (7_200, 60, "min"), (172_800, 3_600, "h")):
        if seconds < limit:
            return f"{seconds / unit_s:.1f} {unit}"
    return f"{seconds / 86_400:.1f} d"


def format_relative(moment: datetime, now: datetime) -> str:
    """Return "5 min ago", "now" or "in 5 min"."""
    seconds = round((now - moment).total_seconds())
    span = re.sub(r"\.\d+", "", format_seconds(abs(seconds)))
    if seconds > 0:
        return f"{span} ago"
    if seconds < 0:
        return f"in {span}"
    return "now"


_PHRASES = (
    ("^Field required$", "is missing"),
    ("^Extra inputs are not permitted$", "is an unknown name"),
    ("^Invalid JSON: .*", "is not JSON"),
    (r", (unable|got|exceeded) .*", ""),
    ("^(URL|UUID|Decimal|Fraction) input should be .*", r"expected a \1"),
    (" after validation, not more$", ""),
    (" after validation, not ", ", found "),
    (r"^[\w ]+ should (be|have|contain|match) ", "expected "),
    ("no more than|less than or equal to", "at most"),
    ("greater than or equal to", "at least"),
    ("a valid (dictionary|mapping).*|a dictionary or .*", "an object"),
    ("a valid string", "text"),
    ("a valid integer", "a whole number"),
    ("a valid boolean", "true or false"),
    ("a valid array", "a list"),
    ("a valid ", "a "),
    ("^expected pattern", "expected text with the pattern"),
)
"""Pattern of a message of pydantic -> our words; those of `settings` come from its descriptions."""


def reword_invalid(message: str) -> str:
    """Return a message of pydantic in our words: "expected text", "is missing"."""
    text = message.removeprefix("Value error, ")  # the text of a ValueError of ours
    if text != message:
        return text
    for pattern, words in _PHRASES:
        message = re.sub(pattern, words, message)
    return message


def describe_invalid(error: ErrorDetails, *, whole: str) -> str:
    """Return pydantic's error as "kind: expected text". `whole` names a value without a key."""
    where = ".".join(map(str, error["loc"])) or whole
    return f"{where}: {reword_invalid(error['msg'])}"


MAX_CHARS = 300  # limit for foreign text in one message, in characters


def shorten(text: str) -> str:
    """Return the text as one line of at most 300 characters."""
    line = " ".join(text.split())
    if len(line) <= MAX_CHARS:
        return line
    return line[: MAX_CHARS - 1] + "…"
