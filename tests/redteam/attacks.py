"""The attacks of `attacks.yaml`, by place."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import yaml

TABLE = Path(__file__).parent / "attacks.yaml"
MIN_ROUNDS = 9
"""Enough that every family gets all attacks of the place `reply`."""

REPLY = "reply"
"""The place of attacks that are not in an event: Claude writes them."""


@dataclass(frozen=True, slots=True)
class Attack:
    place: str  # "issue.title"
    technique: str  # "closing delimiter"
    text: str


@cache
def attacks() -> Mapping[str, tuple[Attack, ...]]:
    """By place, in the order of the file."""
    table = yaml.safe_load(TABLE.read_text("utf-8"))
    return {
        place: tuple(
            Attack(place, technique, _text(given))
            for row in rows
            for technique, given in row.items()
        )
        for place, rows in table.items()
    }


def _text(given: str | Mapping[str, str | int]) -> str:
    if isinstance(given, str):
        return given
    hidden = "".join(chr(0xE0000 + ord(character)) for character in str(given.get("hidden", "")))
    return str(given["text"]) * int(given.get("times", 1)) + hidden


def rounds(places: tuple[str, ...]) -> tuple[Mapping[str, Attack], ...]:
    """Return rounds with one attack in each place, so that every attack of these places occurs."""
    table = attacks()
    number = max(MIN_ROUNDS, *(len(table[place]) for place in places))
    return tuple(
        {place: table[place][at % len(table[place])] for place in places} for at in range(number)
    )


HARMLESS_WORD = "heliotrope"
"""A word that no attack, template or recorded payload contains."""
