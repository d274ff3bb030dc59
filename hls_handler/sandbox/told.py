"""Single values as payloads tell them; where a payload has something else there, the nearest sound value."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime

from hls_handler.sandbox.world import GHOST, Account


def account(shown: object) -> Account:
    """An account as payloads show it; GitHub's ghost for one that is missing or null."""
    if not isinstance(shown, Mapping) or not isinstance(shown.get("login"), str):
        return GHOST
    return Account(login=shown["login"], id=count(shown.get("id")), type=str(shown.get("type") or "User"))


def count(value: object) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else 0


def time(value: object, otherwise: datetime) -> datetime:
    try:
        return datetime.fromisoformat(str(value)).astimezone(UTC)
    except ValueError:
        return otherwise


def text(value: object) -> str:
    return str(value or "")
