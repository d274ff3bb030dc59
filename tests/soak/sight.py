"""What is to be seen of a thread at the end, whatever the order in which it came to be."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from hls_handler.sandbox.objects import Thread
from hls_handler.sandbox.state import State
from tests.crash.picture import alike
from tests.crash.stories import Stage

_FAMILY = re.compile(r"<!-- hls:([\w-]+) -->\s*\Z")
_SECTION = re.compile(r"(?=<!-- hls:sections? )")
_END = "<!-- hls:sections end"


@dataclass(frozen=True, slots=True)
class Sight:
    """One thread. Comments are by family; of a comment with sections, these are in the order of their names."""

    labels: frozenset[str]
    comments: Mapping[str, str]
    ever_labels: frozenset[str]  # that we ever set
    ever_comments: Mapping[str, frozenset[str]]  # all that they ever said
    flaws: tuple[str, ...]  # what must not be, whatever happened


def sights(state: State, stage: Stage) -> dict[int, Sight]:
    """By number."""
    here = [thread for thread in state.threads() if thread.repository == stage.repository]
    return {thread.number: _sight(state, thread, stage) for thread in here}


def _sight(state: State, thread: Thread, stage: Stage) -> Sight:
    ours = [comment for comment in thread.comments if comment.author == state.me]
    families = [_family(comment.body) for comment in ours]
    set_by_us = [event.detail for event in thread.events if event.happening == "labeled" and event.actor == state.me]
    return Sight(
        labels=frozenset(thread.labels),
        comments={family: _sorted(comment.body, stage) for family, comment in zip(families, ours, strict=True)},
        ever_labels=frozenset(set_by_us),
        ever_comments={
            family: frozenset(_sorted(said, stage) for said in (comment.body, *(edit.body for edit in comment.edits)))
            for family, comment in zip(families, ours, strict=True)
        },
        flaws=(
            *(f"{count} comments of the family {name}" for name, count in Counter(families).items() if count > 1),
            *_labels_set_twice(thread),
            *([f"{len(thread.reviews)} reviews by us"] if any(r.author == state.me for r in thread.reviews) else []),
        ),
    )


def _family(body: str) -> str:
    found = _FAMILY.search(body)
    return found[1] if found is not None else "none"


def _sorted(body: str, stage: Stage) -> str:
    """Without what differs between stages, and with the sections in an order of their own, that of their names."""
    head, *sections = _SECTION.split(alike(body, stage))
    return "".join((head, *sorted(sections, key=lambda section: (section.startswith(_END), section))))


def _labels_set_twice(thread: Thread) -> Iterator[str]:
    """A label that is set is not set again before it was taken off."""
    on = set[str]()
    for event in thread.events:
        if event.happening == "labeled":
            if event.detail in on:
                yield f"the label {event.detail} was set twice"
            on.add(event.detail)
        elif event.happening == "unlabeled":
            on.discard(event.detail)


def unlike(expected: Sight, found: Sight, *, closed: bool) -> Iterator[str]:
    """In what a thread is not as it has to be.

    On a thread that was closed, work that was not done by then is left away: any part of what would have been said
    before may stand there, and nothing else. Of an answer to a question only its first line is compared, which quotes
    it: the rest is about what stood above the question, and that is as much as was posted by the time it was asked.
    """
    yield from found.flaws
    if closed:
        if not found.labels <= expected.ever_labels | expected.labels:
            yield f"labels {sorted(found.labels)} on a closed thread, of which only {sorted(expected.ever_labels)} fit"
        for family, said in found.comments.items():
            if said not in expected.ever_comments.get(family, ()):
                yield f"the comment {family} on a closed thread says what was never to be said: {said!r}"
        return
    if found.labels != expected.labels:
        yield f"labels {sorted(found.labels)}, expected {sorted(expected.labels)}"
    for family in sorted({*expected.comments, *found.comments}):
        if _compared(family, found) != _compared(family, expected):
            yield f"the comment {family} says {found.comments.get(family)!r}, not {expected.comments.get(family)!r}"


def _compared(family: str, sight: Sight) -> str | None:
    said = sight.comments.get(family)
    return said.split("\n")[0] if said is not None and family.startswith("comments-") else said
