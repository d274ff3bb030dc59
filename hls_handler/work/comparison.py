"""Comparison of the results of two prompts for the same deliveries."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TypeVar

from hls_handler.analysis import Usage
from hls_handler.events import event_key
from hls_handler.history.calls import CallRow
from hls_handler.history.statistics import DeliveryRow
from hls_handler.storage import Storage
from hls_handler.work.shadow import SHADOWED, Ran


@dataclass(frozen=True, slots=True)
class Side:
    """Result and cost of one prompt for one delivery."""

    ran: Ran
    tokens: int  # input (also cached) and output
    cost_usd: float | None  # None if no price is known


@dataclass(frozen=True, slots=True, order=True)
class Difference:
    """Requested labels of one group that differ between the two sides; () for none."""

    group: str  # "priority"
    one: tuple[str, ...]
    other: tuple[str, ...]


Counted = TypeVar("Counted", str, Difference)


@dataclass(frozen=True, slots=True)
class Pair:
    """Results of two prompts for one delivery."""

    guid: str
    event_key: str  # "issues.opened"
    thread: str  # "owner/repo#7"
    one: Side
    other: Side

    @property
    def differences(self) -> tuple[Difference, ...]:
        """Groups whose requested labels differ."""
        one, other = _by_group(self.one.ran), _by_group(self.other.ran)
        groups = dict.fromkeys([*one, *other])
        found = (Difference(group, one.get(group, ()), other.get(group, ())) for group in groups)
        return tuple(difference for difference in found if difference.one != difference.other)


@dataclass(frozen=True, slots=True)
class Comparison:
    """All pairs and their totals. `one` is the prompt that the user named, `other` the prompt it is compared with."""

    pairs: tuple[Pair, ...]
    excluded: Mapping[str, int]  # "failed" -> 2: deliveries where there is nothing to compare

    @property
    def differing(self) -> int:
        """Number of deliveries with different requested labels."""
        return sum(bool(pair.differences) for pair in self.pairs)

    @property
    def groups(self) -> Sequence[tuple[str, int]]:
        """Number of deliveries in which each label group differs, the most frequent first."""
        return _ranked(difference.group for pair in self.pairs for difference in pair.differences)

    @property
    def differences(self) -> Sequence[tuple[Difference, int]]:
        """Number of occurrences of each difference, the most frequent first."""
        return _ranked(difference for pair in self.pairs for difference in pair.differences)

    @property
    def spoke_differently(self) -> int:
        """Number of deliveries in which only one side wanted a new comment."""
        return sum(pair.one.ran.speaks != pair.other.ran.speaks for pair in self.pairs)


def recorded(store: Storage, prompt: str, other: str | None, *, since: datetime) -> Comparison:
    """Compare stored shadow results with the posted results, for deliveries received after `since` (aware UTC).

    `prompt` is a name or an id. Without `other`, it is a shadow and is compared with the posted prompt, whichever that
    is; with `other`, either of them may be the shadow.
    """
    pairs: list[Pair] = []
    excluded: Counter[str] = Counter()
    for row in store.deliveries.with_checkpoint(SHADOWED.name, since=since):
        shadowed = SHADOWED.decode(store.checkpoints.load(row.guid).get((SHADOWED.name, 0)))
        if shadowed is None:
            continue
        calls = store.calls.calls_of(row.guid)
        posted = side(shadowed.posted, [call for call in calls if not call.of_shadow])
        if shadowed.ran is None:
            is_meant = is_named(prompt.partition("@")[0], shadowed.prompt)
            excluded[shadowed.state] += is_meant and (other is None or is_named(other, posted.ran.prompt_id))
            continue
        shadow = side(shadowed.ran, [call for call in calls if call.of_shadow])
        if is_named(prompt, shadow.ran.prompt_id) and (other is None or is_named(other, posted.ran.prompt_id)):
            pairs.append(pair(row, shadow, posted))
        elif other is not None and is_named(prompt, posted.ran.prompt_id) and is_named(other, shadow.ran.prompt_id):
            pairs.append(pair(row, posted, shadow))
    return Comparison(tuple(pairs), +excluded)


def pair(row: DeliveryRow, one: Side, other: Side) -> Pair:
    """Return the pair of two sides of a delivery."""
    thread = f"{row.repository}#{row.number}"
    return Pair(row.guid, event_key(row.event, row.action), thread, one, other)


def is_named(given: str, prompt_id: str) -> bool:
    """Return whether a name ("issues/strict") or an id ("issues/strict@3f9c2a") denotes this prompt."""
    return given in (prompt_id, prompt_id.partition("@")[0])


def side(ran: Ran, spent: Iterable[CallRow | Usage]) -> Side:
    """Return the side with the tokens and costs of its calls, including those with an unusable reply."""
    calls = list(spent)
    tokens = sum(
        count or 0
        for call in calls
        for count in (call.input_tokens, call.output_tokens, call.cache_write_tokens, call.cache_read_tokens)
    )
    costs = [call.cost_usd for call in calls if call.cost_usd is not None]
    return Side(ran, tokens, sum(costs) if costs else None)


def prompt_ids(sides: Iterable[Side]) -> tuple[str, ...]:
    """Return the prompt ids of the sides, sorted: ("issues/strict@3f9c2a",)."""
    return tuple(sorted({one.ran.prompt_id for one in sides}))


def mean_tokens(sides: Sequence[Side]) -> float:
    """Return the mean number of tokens. `sides` is not empty."""
    return sum(one.tokens for one in sides) / len(sides)


def mean_cost_usd(sides: Iterable[Side]) -> float | None:
    """Return the mean of the known costs in USD; None if none is known."""
    costs = [one.cost_usd for one in sides if one.cost_usd is not None]
    return sum(costs) / len(costs) if costs else None


def _by_group(ran: Ran) -> dict[str, tuple[str, ...]]:
    groups = dict.fromkeys(label.group for label in ran.labels)
    return {group: tuple(sorted(label.name for label in ran.labels if label.group == group)) for group in groups}


def _ranked(found: Iterable[Counted]) -> list[tuple[Counted, int]]:
    return sorted(Counter(found).items(), key=lambda counted: (-counted[1], counted[0]))
