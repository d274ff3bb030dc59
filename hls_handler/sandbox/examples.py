"""What templates see in recorded events, comments included: with canned replies, since no payload has one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from hls_handler.analysis import Reply
from hls_handler.clients.claude import request_schema
from hls_handler.errors import HlsError
from hls_handler.handlers import handler_for
from hls_handler.handlers.handler import PromptLimits, template_variables
from hls_handler.prompting import recorded
from hls_handler.review import parse_numbered
from hls_handler.sandbox.canned import canned_reply
from hls_handler.sandbox.reading import Note, PatchOfFile, Reading, log_lines
from hls_handler.sandbox.samples import facts_of
from hls_handler.untrusted.placeholders import Trusted


def comment_examples(event_name: str, kind: type[Reply], budget: PromptLimits) -> Iterator[Mapping[str, object]]:
    """All variables of a comment about each recorded event that Claude would be asked about, the demo's story first.

    `kind` is the type of the replies, as a prompt has it or as it is shipped.
    """
    handler = handler_for(event_name)
    schema = request_schema(kind.model_json_schema())
    for sample in sorted(recorded.for_event(event_name), key=lambda sample: not sample.name.startswith("demo/")):
        try:
            event, facts = facts_of(sample, handler, budget)
        except HlsError:  # closed, locked, gone
            continue
        if handler.skip_reason(facts) is not None:
            continue
        name = f"{handler.family}/analyze"
        variables = template_variables(event, handler, facts, prompt=name, dry_run=False)
        reply = kind.model_validate(canned_reply(schema, _reading(variables)))
        made = handler.comment_variables(facts, reply)
        yield {**variables, **made, "analysis": reply, "prompt_id": Trusted(f"{name}@3f9c2a")}


def _reading(variables: Mapping[str, Any]) -> Reading:
    """What the stand-in Claude would make of a prompt that shows everything."""
    thread = variables.get("issue") or variables.get("pull_request")
    review, release, comment = (variables.get(name) for name in ("review", "release", "comment"))
    notes = [Note(None, review.body)] if review else []
    return Reading(
        title=thread.title if thread else "",
        body=release.body if release else thread.body if thread else "",
        patches=tuple(
            PatchOfFile(file.path, tuple(line for hunk in parse_numbered(file.numbered).hunks for line in hunk.lines))
            for file in variables.get("files", ())
        ),
        notes=(*notes, *(Note(comment.number, comment.body) for comment in variables.get("comments", ()))),
        log=log_lines("\n".join(step.text for step in variables["steps"])) if "steps" in variables else None,
        changed=variables.get("changed", ()),
        commits=tuple(commit.message for commit in variables["commits"]) if release else None,
        comment=comment.body if comment else "",
        wants_to_start=variables.get("asked") == "how to start",
        before=tuple(earlier.body for earlier in variables.get("before", ())),
        event="" if thread or release or "steps" in variables else str(variables["rule"].event),
    )
