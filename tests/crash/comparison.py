"""The comparison of a run that was killed with an undisturbed one.

The kill permits two differences:

- Claude is asked once more if its reply was not stored yet. The row of the interrupted call has
  no end; the call is counted with the estimate in its row.
- An event without a response is redelivered; if it was stored already, it is counted as a
  duplicate.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from hls_handler.prompting import recorded
from tests.crash.kills import Run, StateAtKill
from tests.crash.scenarios import OWNER, Scenario

HOME = f"{OWNER}/Hello-World"


def find_differences(scenario: Scenario, undisturbed: Run, found: Run) -> list[str]:
    """Return a line for each difference that the kill does not permit."""
    expected = (
        undisturbed
        if found.at_kill is None
        else _with_permitted(scenario, undisturbed, found.at_kill)
    )
    finished = [call for call in found.database["calls"] if call["outcome"] is not None]
    unfinished = [call for call in found.database["calls"] if call["outcome"] is None]
    expected_counters = Counter(expected.counters) + _count_unfinished(unfinished)
    return [
        f"{found.kill}: {difference}"
        for difference in (
            *_diff(expected.github, found.github, "GitHub"),
            *_diff(expected.database, {**found.database, "calls": finished}, "database"),
            *_diff(_without_zeros(expected_counters), _without_zeros(found.counters), "counters"),
            *_diff(expected.claude_calls, found.claude_calls, "replies of Claude"),
            *_diff(
                found.at_kill.open_calls if found.at_kill else 0,
                len(unfinished),
                "calls without an end",
            ),
        )
    ]


def _count_unfinished(calls: list[Mapping[str, Any]]) -> Counter[str]:
    counts: Counter[str] = Counter()
    for call in calls:
        counts.update(
            {
                f"prompt_calls {call['prompt_id']} {HOME}": 1,
                f"claude_calls unfinished {HOME}": 1,
                f"reply_cache misses {HOME}": 1,
                f"cost_micro_usd {call['prompt_id']} {HOME}": call["cost_micro_usd"],
            }
        )
        for kind in ("cache_write", "output"):
            counts[f"tokens {kind} {HOME}"] += call[f"{kind}_tokens"]
    return counts


def _without_zeros(counters: Mapping[str, int]) -> dict[str, int]:
    return {name: number for name, number in counters.items() if number}


def kills_with_repeated_call(runs: list[Run]) -> Iterator[str]:
    """Return the kills after which Claude was asked once more."""
    return (
        str(run.kill) for run in runs if run.at_kill is not None and run.at_kill.unrecorded_replies
    )


def _with_permitted(scenario: Scenario, undisturbed: Run, at_kill: StateAtKill) -> Run:
    payload = recorded.load(scenario.event)
    counters = Counter(undisturbed.counters)
    if at_kill.accepted and not at_kill.answered:
        for name in ("webhooks", f"event {payload.key}", "outcome duplicate"):
            counters[f"{name} {HOME}"] += 1
    claude_calls = undisturbed.claude_calls + at_kill.unrecorded_replies
    return replace(undisturbed, counters=counters, claude_calls=claude_calls)


def _diff(expected: Any, found: Any, path: str) -> Iterator[str]:
    """Yield a line for each value that differs."""
    if isinstance(expected, Mapping) and isinstance(found, Mapping):
        for name in sorted({*expected, *found}):
            yield from _diff(expected.get(name), found.get(name), f"{path}/{name}")
    elif isinstance(expected, list) and isinstance(found, list) and len(expected) == len(found):
        for index, (one, other) in enumerate(zip(expected, found, strict=True)):
            yield from _diff(one, other, f"{path}/{index}")
    elif expected != found:
        yield f"{path}: expected {expected!r}, found {found!r}"
