"""The attacks of `attacks.yaml`, by place."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import yaml

TABLE = Path(__file__).parent / "attacks.yaml"
LEAST_ROUNDS = 9
"""Few enough to be quick, and enough for Claude to write in every family what attackers wish for in replies."""

REPLY = "reply"
"""The place that is in no event: what Claude writes."""


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
        place: tuple(Attack(place, technique, _text(given)) for row in rows for technique, given in row.items())
        for place, rows in table.items()
    }


def _text(given: str | Mapping[str, str | int]) -> str:
    if isinstance(given, str):
        return given
    hidden = "".join(chr(0xE0000 + ord(character)) for character in str(given.get("hidden", "")))
    return str(given["text"]) * int(given.get("times", 1)) + hidden


def rounds(places: tuple[str, ...]) -> tuple[Mapping[str, Attack], ...]:
    """So many that each attack of these places is in one at least; every round has an attack at every place."""
    table = attacks()
    number = max(LEAST_ROUNDS, *(len(table[place]) for place in places))
    return tuple({place: table[place][at % len(table[place])] for place in places} for at in range(number))


def calm(places: tuple[str, ...]) -> Mapping[str, Attack]:
    """A round of words that harm nobody, and that stand nowhere else."""
    return {place: Attack(place, "calm", f"{CALM} {place}") for place in places}


CALM = "heliotrope"
