"""What is counted, and kept for ever: rows of (name, label, value), bumped in the transaction of what they count."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy import select

from hls_handler.deliveries import State
from hls_handler.store.part import EXPECTED_SINCE, LAST_WEBHOOK, Counts, Part
from hls_handler.store.tables import counters

BUCKETS_S = (0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0)
"""Upper bounds of the histogram of processing times, in seconds; one more bucket, "inf", takes the rest."""

TIMES = (LAST_WEBHOOK, EXPECTED_SINCE)
"""Names of rows that are no counters."""

LABEL_SET, LABEL_CORRECTED, CORRECTION_WITHDRAWN = "label_set", "label_corrected", "label_correction_withdrawn"
"""Counters of feedback, by prompt and field. None of them ever falls: what is withdrawn is counted for itself."""


@dataclass(frozen=True, slots=True)
class FieldFeedback:
    """What came of one field of one prompt's replies."""

    set: int  # labels that we set
    corrected: int  # of those, what people changed within a month and did not change back

    @property
    def share(self) -> float:
        return self.corrected / self.set if self.set else 0.0


class Counting(Part):
    """Counters of things that have no row, and all counters to read."""

    def count(self, counts: Counts) -> None:
        """Add to counters, for what has no row of its own: `{("outcome", "pong"): 1}`."""
        with self._database.writing() as connection:
            self._count(connection, counts)

    def counters(self) -> dict[tuple[str, str], int]:
        """All counters, by name and label ("" where a counter has only one)."""
        with self._database.reading() as connection:
            numbers = select(counters.c.name, counters.c.label, counters.c.value).where(counters.c.name.not_in(TIMES))
            rows = connection.execute(numbers)
            return {(row.name, row.label): row.value for row in rows}


def ended(
    state: State, *, repository: str | None, kind: str | None = None, handler: str | None = None
) -> Counter[tuple[str, str]]:
    """What is counted when a delivery ends in `state`; `kind` is what an ignored one is counted under."""
    counts: Counter[tuple[str, str]] = Counter({("outcome", state): 1})
    if repository is not None:
        counts["repository_outcome", f"{repository}:{state}"] = 1
    if handler is not None:
        counts["handler", f"{handler}:{state}"] = 1
    if state == "ignored":
        counts["ignored", kind or "other"] = 1
    return counts


def processed(took_ms: int) -> Counter[tuple[str, str]]:
    """What is counted for the time from a delivery's coming to its being done."""
    bucket = next((f"{bound:g}" for bound in BUCKETS_S if took_ms <= bound * 1000), "inf")
    return Counter({("processing_ms", ""): took_ms, ("processing_count", ""): 1, ("processing_le", bucket): 1})


def of_field(prompt_id: str, group: str) -> str:
    """The label under which feedback is counted: "issues/analyze@3f9c2a:priority". Of a list all groups are one."""
    return f"{prompt_id}:{field_of(group)}"


def field_of(group: str) -> str:
    """The field that a group of labels comes from: "areas" of "areas area/api"."""
    return group.partition(" ")[0]


def feedback_in(counted: Mapping[tuple[str, str], int]) -> dict[str, dict[str, FieldFeedback]]:
    """Prompt id to field to what came of it, of all that was ever counted."""
    found: dict[str, dict[str, FieldFeedback]] = {}
    for name, label in sorted(counted):
        if name == LABEL_SET:
            prompt_id, _, field = label.rpartition(":")
            corrected = counted.get((LABEL_CORRECTED, label), 0) - counted.get((CORRECTION_WITHDRAWN, label), 0)
            found.setdefault(prompt_id, {})[field] = FieldFeedback(counted[name, label], corrected)
    return found
