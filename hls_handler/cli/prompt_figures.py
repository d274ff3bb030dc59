"""Format a prompt's statistics: those of the current version and, in parentheses, those of earlier versions."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Self

from hls_handler.history.calls import PromptStats
from hls_handler.history.corrections import FieldFeedback


@dataclass(frozen=True, slots=True)
class VersionStats:
    """Calls of the current version and of all earlier versions together; None if there were none."""

    current: PromptStats | None
    earlier: PromptStats | None

    @classmethod
    def from_rows(cls, prompt_id: str, rows: Iterable[PromptStats]) -> Self:
        name = prompt_id.partition("@")[0]
        of_prompt = [row for row in rows if row.prompt_id.partition("@")[0] == name]
        current = next((row for row in of_prompt if row.prompt_id == prompt_id), None)
        return cls(current, _add_up([row for row in of_prompt if row.prompt_id != prompt_id]))


def format_stats(stats: VersionStats) -> Iterator[str]:
    """Yield one line each for answers, cost, last error and the last error of earlier versions."""
    current, earlier = stats.current, stats.earlier
    in_parentheses = f" (earlier versions: {earlier.replies})" if earlier is not None else ""
    yield f"answers     {current.replies if current is not None else 0}{in_parentheses}"
    in_parentheses = f" (earlier versions: {_cost(earlier)})" if earlier is not None else ""
    yield f"cost        {_cost(current)}{in_parentheses}"
    yield f"last error  {_error(current)}"
    if earlier is not None:
        yield f"            (earlier versions: {_error(earlier)})"


def format_feedback(prompt_id: str, feedback: Mapping[str, Mapping[str, FieldFeedback]]) -> Iterator[str]:
    """Yield one line for each field with labels: "corrected   priority: 6 of 40 labels, 15%"."""
    name = prompt_id.partition("@")[0]
    versions = [(version, fields) for version, fields in feedback.items() if version.partition("@")[0] == name]
    title = "corrected"
    for field in dict.fromkeys(field for _, fields in versions for field in fields):
        current = feedback.get(prompt_id, {}).get(field, FieldFeedback(0, 0))
        earlier_fields = [fields[field] for version, fields in versions if version != prompt_id and field in fields]
        earlier = FieldFeedback(sum(one.set for one in earlier_fields), sum(one.corrected for one in earlier_fields))
        in_parentheses = f" (earlier versions: {_share(earlier)})" if earlier_fields else ""
        yield f"{title:<12}{field}: {_share(current)}{in_parentheses}"
        title = ""


def _share(one: FieldFeedback) -> str:
    return f"{one.corrected} of {one.set} labels" + (f", {one.share:.0%}" if one.set else "")


def _add_up(rows: list[PromptStats]) -> PromptStats | None:
    if not rows:
        return None
    errors = {row.last_error_at: row.last_error for row in rows if row.last_error_at is not None}
    last_error_at = max(errors, default=None)
    return PromptStats(
        prompt_id="",
        replies=sum(row.replies for row in rows),
        cost_usd=sum(row.cost_usd for row in rows),
        calls_of_unknown_cost=sum(row.calls_of_unknown_cost for row in rows),
        last_error=None if last_error_at is None else errors[last_error_at],
        last_error_at=last_error_at,
    )


def _cost(row: PromptStats | None) -> str:
    if row is None:
        return "0.000000 USD"
    unknown = row.calls_of_unknown_cost
    if not unknown:
        return f"{row.cost_usd:.6f} USD"
    calls = f"{unknown} call{'s' * (unknown != 1)}"
    return f"{row.cost_usd:.6f} USD, and unknown for {calls}" if row.cost_usd else f"unknown for {calls}"


def _error(row: PromptStats | None) -> str:
    """Return the last error in one line, with line breaks replaced by spaces."""
    if row is None or row.last_error is None or row.last_error_at is None:
        return "none"
    return f"{row.last_error_at:%Y-%m-%d %H:%M:%S} UTC: {' '.join(row.last_error.split())}"
