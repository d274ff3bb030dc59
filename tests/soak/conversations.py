"""The final state of a conversation on GitHub, and its comparison with that of an undisturbed run."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from hls_handler.sandbox.objects import Conversation
from hls_handler.sandbox.state import State
from tests.crash.scenarios import FreshRepository
from tests.crash.snapshot import normalize

_FAMILY = re.compile(r"<!-- hls:([\w-]+) -->\s*\Z")
_SECTION = re.compile(r"(?=<!-- hls:sections? )")
_END = "<!-- hls:sections end"


@dataclass(frozen=True, slots=True)
class FinalState:
    """One conversation. The sections of a comment are sorted by name, because their order depends on the schedule."""

    labels: frozenset[str]
    comments: Mapping[str, str]  # bodies by family
    all_labels: frozenset[str]  # that the bot ever set
    all_comments: Mapping[str, frozenset[str]]  # every version of each body
    violations: tuple[str, ...]  # of invariants that hold for every schedule


def final_states(state: State, repository: FreshRepository) -> dict[int, FinalState]:
    """Return the state of each conversation by number."""
    conversations = [
        conversation for conversation in state.conversations() if conversation.repository == repository.full_name
    ]
    return {conversation.number: _final_state(state, conversation, repository) for conversation in conversations}


def _final_state(state: State, conversation: Conversation, repository: FreshRepository) -> FinalState:
    comments = [(_family(comment.body), comment) for comment in conversation.comments if comment.author == state.me]
    families = Counter(family for family, _ in comments)
    labeled = [event.detail for event in conversation.events if event.kind == "labeled" and event.actor == state.me]
    inline = [comment for review in conversation.reviews if review.author == state.me for comment in review.comments]
    keys = Counter(_FINDING.findall("\n".join(comment["body"] for comment in inline)))
    return FinalState(
        labels=frozenset(conversation.labels),
        comments={family: _normalize(comment.body, repository, family) for family, comment in comments},
        all_labels=frozenset(labeled),
        all_comments={
            family: frozenset(
                _normalize(body, repository, family) for body in (comment.body, *(edit.body for edit in comment.edits))
            )
            for family, comment in comments
        },
        violations=(
            *(f"{count} comments of the family {family}" for family, count in families.items() if count > 1),
            *_labels_set_twice(conversation),
            *(f"{count} review comments about the finding {key}" for key, count in keys.items() if count > 1),
        ),
    )


_FINDING = re.compile(r"<!-- hls:finding (\S+) -->")


def _family(body: str) -> str:
    found = _FAMILY.search(body)
    return found[1] if found is not None else "none"


def _normalize(body: str, repository: FreshRepository, family: str) -> str:
    if family == "pull_requests":  # a push that a newer one superseded was not reviewed, so other findings are new
        return family
    head, *sections = _SECTION.split(normalize(body, repository))
    return "".join((head, *sorted(sections, key=lambda section: (section.startswith(_END), section))))


def _labels_set_twice(conversation: Conversation) -> Iterator[str]:
    """A label must not be set again before it was removed."""
    present = set[str]()
    for event in conversation.events:
        if event.kind == "labeled":
            if event.detail in present:
                yield f"the label {event.detail} was set twice"
            present.add(event.detail)
        elif event.kind == "unlabeled":
            present.discard(event.detail)


def find_differences(expected: FinalState, found: FinalState, *, closed: bool) -> Iterator[str]:
    """Yield a line for each difference that the schedule does not permit.

    Work on a conversation stops when it is closed; it may show any earlier state. Of an answer to a question only the
    first line, which quotes the question, is compared: the rest refers to the comments that existed at that moment.
    """
    yield from found.violations
    if closed:
        if not found.labels <= expected.all_labels | expected.labels:
            yield f"labels {sorted(found.labels)} on a closed conversation, expected of {sorted(expected.all_labels)}"
        for family, body in found.comments.items():
            if body not in expected.all_comments.get(family, ()):
                yield f"unexpected comment {family} on a closed conversation: {body!r}"
        return
    if found.labels != expected.labels:
        yield f"labels {sorted(found.labels)}, expected {sorted(expected.labels)}"
    for family in sorted({*expected.comments, *found.comments}):
        if _compared_part(family, found) != _compared_part(family, expected):
            yield f"comment {family} is {found.comments.get(family)!r}, expected {expected.comments.get(family)!r}"


def _compared_part(family: str, state: FinalState) -> str | None:
    body = state.comments.get(family)
    return body.split("\n")[0] if body is not None and family.startswith("comments-") else body
