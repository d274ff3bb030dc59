"""What a prompt came to, in lines for people: of its version at hand, and in brackets of earlier ones."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Self

from hls_handler.store import FieldFeedback, PromptRow


@dataclass(frozen=True, slots=True)
class Figures:
    """The calls of the version at hand, and of all earlier versions together; None where there are none."""

    now: PromptRow | None
    earlier: PromptRow | None

    @classmethod
    def of(cls, prompt_id: str, rows: Iterable[PromptRow]) -> Self:
        name = prompt_id.partition("@")[0]
        alike = [row for row in rows if row.prompt_id.partition("@")[0] == name]
        now = next((row for row in alike if row.prompt_id == prompt_id), None)
        return cls(now, _together([row for row in alike if row.prompt_id != prompt_id]))


def shown_figures(figures: Figures) -> Iterator[str]:
    """A line each for answers, cost and last error, and one for an error of earlier versions."""
    now, earlier = figures.now, figures.earlier
    brackets = f" (earlier versions: {earlier.answers})" if earlier is not None else ""
    yield f"answers     {now.answers if now is not None else 0}{brackets}"
    brackets = f" (earlier versions: {_cost(earlier)})" if earlier is not None else ""
    yield f"cost        {_cost(now)}{brackets}"
    yield f"last error  {_error(now)}"
    if earlier is not None:
        yield f"            (earlier versions: {_error(earlier)})"


def shown_feedback(prompt_id: str, feedback: Mapping[str, Mapping[str, FieldFeedback]]) -> Iterator[str]:
    """A line for each field that any version had labels set of: "priority    6 of 40 labels corrected (15 %)"."""
    name = prompt_id.partition("@")[0]
    alike = [(version, fields) for version, fields in feedback.items() if version.partition("@")[0] == name]
    title = "corrected"
    for field in dict.fromkeys(field for _, fields in alike for field in fields):
        now = feedback.get(prompt_id, {}).get(field, FieldFeedback(0, 0))
        past = [fields[field] for version, fields in alike if version != prompt_id and field in fields]
        earlier = FieldFeedback(sum(one.set for one in past), sum(one.corrected for one in past))
        brackets = f" (earlier versions: {_share(earlier)})" if past else ""
        yield f"{title:<12}{field}: {_share(now)}{brackets}"
        title = ""


def _share(one: FieldFeedback) -> str:
    return f"{one.corrected} of {one.set} labels" + (f", {one.share:.0%}" if one.set else "")


def _together(rows: list[PromptRow]) -> PromptRow | None:
    if not rows:
        return None
    errors = {row.last_error_at: row.last_error for row in rows if row.last_error_at is not None}
    last_error_at = max(errors, default=None)
    return PromptRow(
        prompt_id="",
        answers=sum(row.answers for row in rows),
        cost_usd=sum(row.cost_usd for row in rows),
        calls_of_unknown_cost=sum(row.calls_of_unknown_cost for row in rows),
        last_error=None if last_error_at is None else errors[last_error_at],
        last_error_at=last_error_at,
    )


def _cost(row: PromptRow | None) -> str:
    if row is None:
        return "0.000000 USD"
    unknown = row.calls_of_unknown_cost
    if not unknown:
        return f"{row.cost_usd:.6f} USD"
    calls = f"{unknown} call{'s' * (unknown != 1)}"
    return f"{row.cost_usd:.6f} USD, and unknown for {calls}" if row.cost_usd else f"unknown for {calls}"


def _error(row: PromptRow | None) -> str:
    """One line, whoever wrote it."""
    if row is None or row.last_error is None or row.last_error_at is None:
        return "none"
    return f"{row.last_error_at:%Y-%m-%d %H:%M:%S} UTC: {' '.join(row.last_error.split())}"
