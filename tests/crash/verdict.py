"""The verdict on a run that was cut off: what of it is not as in an undisturbed one, and should be.

Two things follow from the moment of the kill, and are asked for exactly:

- Claude is asked once more where its reply was not remembered yet, and never otherwise. The call that was cut off stays
  in the ledger without an end.
- An event whose 202 never came is told again by hand; where it had been stored, that is counted as a duplicate.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from hls_handler.prompting import recorded
from tests.crash.picture import diff_prompts
from tests.crash.stories import OWNER, DeliveryReport
from tests.crash.sweep import AtDeath, Run


def wrong(story: DeliveryReport, undisturbed: Run, found: Run) -> list[str]:
    """A line for each difference that the kill does not account for."""
    expected = undisturbed if found.died is None else _with_what_follows(story, undisturbed, found.died)
    calls, cut_off = _split(found.store["calls"])
    return [
        f"{found.kill}: {difference}"
        for difference in (
            *diff_prompts(expected.github, found.github, "GitHub"),
            *diff_prompts(expected.store, {**found.store, "calls": calls}, "store"),
            *diff_prompts(expected.counters, found.counters, "counters"),
            *diff_prompts(expected.claude_calls, found.claude_calls, "Claude's replies"),
            *diff_prompts(found.died.open_calls if found.died else 0, cut_off, "calls without an end"),
        )
    ]


def asked_again(runs: list[Run]) -> Iterator[str]:
    """The kills after which Claude had to be asked once more."""
    return (str(run.kill) for run in runs if run.died is not None and run.died.unrecorded_replies)


def _with_what_follows(story: DeliveryReport, undisturbed: Run, died: AtDeath) -> Run:
    payload = recorded.load(story.event)
    counters = Counter(undisturbed.counters)
    if died.accepted and not died.answered:
        for name in ("webhooks", f"event {payload.key}", f"repository {OWNER}/Hello-World", "outcome duplicate"):
            counters[name] += 1
    claude_calls = undisturbed.claude_calls + died.unrecorded_replies
    return replace(undisturbed, counters=counters, claude_calls=claude_calls)


def _split(calls: list[Any]) -> tuple[list[Any], int]:
    """Calls that came to an end, and how many did not."""
    ended = [call for call in calls if call["outcome"] is not None]
    return ended, len(calls) - len(ended)
