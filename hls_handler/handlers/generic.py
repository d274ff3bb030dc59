"""Handler for all events without a handler of their own. Their prompts use only the payload."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from hls_handler.actions import Action
from hls_handler.analysis import Analysis
from hls_handler.deliveries import End
from hls_handler.events import Event
from hls_handler.handlers.handler import (
    Handler,
    check_conversation,
    find_fallback_issue,
    find_own_conversation,
    plan_comment,
)
from hls_handler.handlers.job import FactSource, Job, ask_all
from hls_handler.handlers.labels import plan_labels


@dataclass(frozen=True, slots=True)
class GenericFacts:
    """Empty facts, because the prompts of a `GenericHandler` use only the webhook's payload."""


class GenericHandler(Handler):
    replies = frozenset({"generic_analysis"})
    facts_type = GenericFacts
    variable_types: Mapping[str, object] = {}

    def __init__(self, event_name: str) -> None:
        """`event_name` is GitHub's name, such as "deployment_status", and the name of the prompts'
        folder.
        """
        self.family = event_name

    def run(self, job: Job) -> End:
        job.record(GenericFacts, gather)
        job.choose(find_own_conversation(job.event) or find_fallback_issue(job.rule))
        replies = ask_all(job, {})
        analysis = job.render(replies, {})
        return job.post(*plan(job.event, analysis), reason=replies.left_out)


def gather(source: FactSource) -> GenericFacts:
    """Return empty facts. Raises the errors of `check_conversation` for the event's issue or pull
    request.
    """
    event = source.event
    if event.pull_request is not None:
        check_conversation(event, source.reader.pull_request(event.pull_request.number))
    elif event.issue is not None:
        check_conversation(event, source.reader.issue(event.issue.number))
    return GenericFacts()


def plan(event: Event, analysis: Analysis) -> tuple[Action, ...]:
    comment = plan_comment(analysis, _comment_family(event), create=analysis.worth_saying)
    return (*plan_labels(analysis), *comment)


def _comment_family(event: Event) -> str:
    # The subject of a "deployment_status" event is the deployment, so that all its statuses share
    # one comment.
    for name in (event.name.rpartition("_")[0], event.name):
        subject = event.payload.get(name)
        if isinstance(subject, Mapping) and isinstance(subject.get("id"), int):
            return f"{event.name}-{subject['id']}"  # "discussion-801"
    return event.name
