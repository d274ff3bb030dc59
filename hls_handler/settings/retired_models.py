"""Retired Claude models and their successors.

This table does not come from the SDK, whose own table drops a model some time after its retirement.
https://platform.claude.com/docs/en/about-claude/model-deprecations
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from types import MappingProxyType

HAIKU, SONNET, OPUS = "claude-haiku-5-5", "claude-sonnet-5-5", "claude-opus-5-5"


@dataclass(frozen=True, slots=True)
class RetiredModel:
    model: str  # "claude-3-5-sonnet-20241022"
    retired_on: date
    successor: str  # the current model of the same line

    @property
    def sentence(self) -> str:
        return f"{self.model} was retired on {self.retired_on.isoformat()}; {self.successor} is used in its place"


_RETIRED: Mapping[str, tuple[date, str]] = MappingProxyType(
    {
        "claude-1.0": (date(2024, 11, 6), SONNET),
        "claude-1.1": (date(2024, 11, 6), SONNET),
        "claude-1.2": (date(2024, 11, 6), SONNET),
        "claude-1.3": (date(2024, 11, 6), SONNET),
        "claude-1.3-100k": (date(2024, 11, 6), SONNET),
        "claude-instant-1.0": (date(2024, 11, 6), HAIKU),
        "claude-instant-1.1": (date(2024, 11, 6), HAIKU),
        "claude-instant-1.1-100k": (date(2024, 11, 6), HAIKU),
        "claude-instant-1.2": (date(2024, 11, 6), HAIKU),
        "claude-2.0": (date(2025, 7, 21), SONNET),
        "claude-2.1": (date(2025, 7, 21), SONNET),
        "claude-3-sonnet-20240229": (date(2025, 7, 21), SONNET),
        "claude-3-5-sonnet-20240620": (date(2025, 10, 28), SONNET),
        "claude-3-5-sonnet-20241022": (date(2025, 10, 28), SONNET),
        "claude-3-5-sonnet-latest": (date(2025, 10, 28), SONNET),
        "claude-3-opus-20240229": (date(2026, 1, 5), OPUS),
        "claude-3-opus-latest": (date(2026, 1, 5), OPUS),
        "claude-3-7-sonnet-20250219": (date(2026, 2, 19), SONNET),
        "claude-3-7-sonnet-latest": (date(2026, 2, 19), SONNET),
        "claude-3-5-haiku-20241022": (date(2026, 2, 19), HAIKU),
        "claude-3-5-haiku-latest": (date(2026, 2, 19), HAIKU),
        "claude-3-haiku-20240307": (date(2026, 4, 20), HAIKU),
        "claude-opus-4-0": (date(2026, 6, 15), OPUS),
        "claude-opus-4-20250514": (date(2026, 6, 15), OPUS),
        "claude-sonnet-4-0": (date(2026, 6, 15), SONNET),
        "claude-sonnet-4-20250514": (date(2026, 6, 15), SONNET),
        "claude-opus-4-1": (date(2026, 8, 5), OPUS),
        "claude-opus-4-1-20250805": (date(2026, 8, 5), OPUS),
    }
)


def resolve_model(model: str) -> str:
    """Return the successor of a retired model; any other model itself."""
    retired = find_retired(model)
    return retired.successor if retired else model


def find_retired(model: str) -> RetiredModel | None:
    """Return the retirement of a model; None if it is not known to be retired."""
    found = _RETIRED.get(model)
    return RetiredModel(model, *found) if found else None
