"""What templates see in recorded events, comments included: with canned replies, since no payload has one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from hls_handler.analysis import REPLY_TYPES
from hls_handler.clients.claude import request_schema
from hls_handler.errors import HlsError
from hls_handler.handlers import handler_for
from hls_handler.handlers.handler import Budget
from hls_handler.review.patch import parse_numbered
from hls_handler.sandbox import recorded
from hls_handler.sandbox.canned import canned_reply
from hls_handler.sandbox.reading import Note, PatchOfFile, Reading
from hls_handler.sandbox.samples import facts_of
from hls_handler.untrusted.exchange import Own
from hls_handler.work.variables import template_variables


def comment_examples(event_name: str, reply_type: str, budget: Budget) -> Iterator[Mapping[str, object]]:
    """All variables of a comment about each recorded event that Claude would be asked about, the demo's story first."""
    handler = handler_for(event_name)
    kind = REPLY_TYPES[reply_type]
    schema = request_schema(kind.model_json_schema())
    for sample in sorted(recorded.for_event(event_name), key=lambda sample: not sample.name.startswith("demo/")):
        try:
            event, facts = facts_of(sample, handler, budget)
        except HlsError:  # closed, locked, gone
            continue
        if handler.unasked(facts) is not None:
            continue
        name = f"{handler.family}/analyze"
        variables = template_variables(event, handler, facts, prompt=name, dry_run=False)
        reply = kind.model_validate(canned_reply(schema, _reading(variables)))
        made = handler.comment_variables(event, facts, reply)
        yield {**variables, **made, "analysis": reply, "prompt_id": Own(f"{name}@3f9c2a")}


def _reading(variables: Mapping[str, Any]) -> Reading:
    """What the stand-in Claude would make of a prompt that shows everything."""
    thread = variables.get("issue") or variables.get("pull_request")
    review = variables.get("review")
    notes = [Note(None, review.body)] if review else []
    return Reading(
        title=thread.title if thread else "",
        body=thread.body if thread else "",
        patches=tuple(
            PatchOfFile(file.path, tuple(line for hunk in parse_numbered(file.numbered).hunks for line in hunk.lines))
            for file in variables.get("files", ())
        ),
        notes=(*notes, *(Note(comment.number, comment.body) for comment in variables.get("comments", ()))),
    )
