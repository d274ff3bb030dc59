"""Any event without a handler of its own: the payload is all that its prompt sees, and one comment may come of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from hls_handler.actions import Action, KeepComment
from hls_handler.analysis import Analysis
from hls_handler.events import Event
from hls_handler.handlers.handler import Budget, Handler, Thread, appointed, still_welcome, thread_of
from hls_handler.handlers.reader import Reader
from hls_handler.handlers.record import Record
from hls_handler.handlers.wishes import keep_labels
from hls_handler.routing import Rule


@dataclass(frozen=True, slots=True)
class GenericFacts:
    """Nothing is read: what happened stands in the payload."""


class GenericHandler(Handler[GenericFacts]):
    name = "GenericHandler"
    replies = frozenset({"generic_analysis"})
    facts_type = GenericFacts
    facts_version = 1
    variable_types: Mapping[str, object] = {}

    def __init__(self, event_name: str) -> None:
        """`event_name` is GitHub's, "deployment_status": the folder of its prompts has the same name."""
        self.family = event_name

    def gather(self, event: Event, reader: Reader, record: Record, budget: Budget) -> GenericFacts:
        """Looks only whether the thread, if the payload shows one, still wants us."""
        if event.pull_request is not None:
            still_welcome(event, reader.pull_request(event.pull_request.number))
        elif event.issue is not None:
            still_welcome(event, reader.issue(event.issue.number))
        return GenericFacts()

    def variables(self, event: Event, facts: GenericFacts) -> Mapping[str, object]:
        return {}

    def thread(self, event: Event, facts: GenericFacts, rule: Rule) -> Thread | None:
        """The one that the payload shows, else the issue that settings name for the event."""
        return thread_of(event) or appointed(rule)

    def plan(self, event: Event, facts: GenericFacts, analysis: Analysis, rule: Rule) -> tuple[Action, ...]:
        labels = keep_labels(analysis)
        if not analysis.comment:
            return labels
        return (
            *labels,
            KeepComment(_family(event), analysis.comment, create=analysis.worth_saying),
        )


def _family(event: Event) -> str:
    """ "discussion-801": one comment for each thing that events tell of; "push" where they tell of none with an id.

    A status or a comment belongs to what it is about: "deployment_status-801" for all of one deployment.
    """
    for name in (event.name.rpartition("_")[0], event.name):
        thing = event.payload.get(name)
        thing_id = thing.get("id") if isinstance(thing, Mapping) else None
        if isinstance(thing_id, int):
            return f"{event.name}-{thing_id}"
    return event.name
