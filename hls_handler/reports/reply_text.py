"""Describes Claude's replies in one sentence each, for `hls why` and `hls deliveries show`."""

from __future__ import annotations

from collections.abc import Mapping

from hls_handler.analysis import (
    CommentingReply,
    CommentReply,
    FindingVerdicts,
    GenericAnalysis,
    IssueAnalysis,
    IssueResponse,
    PullRequestAnalysis,
    ReleaseAnalysis,
    Reply,
    ReviewAnalysis,
    SuggestedLabel,
    ValidReply,
    WorkflowAnalysis,
)
from hls_handler.wording import count

MAX_CHARACTERS = 300  # of one text of a reply; `hls deliveries show` has the whole comment


def describe_reply(answered: ValidReply) -> str:
    """Return a sentence with the fields of the reply type, and then those that the prompt file defines."""
    reply = answered.reply
    parts = [
        *_describe(reply),
        *(["not worth a comment"] if isinstance(reply, CommentingReply) and not reply.worth_saying else []),
    ]
    parts += [f"{name}: {describe_text(_format_value(value))}" for name, value in _list_own_fields(reply)]
    parts += map(describe_text, answered.lost.values())
    sentence = "; ".join(part.rstrip(".") for part in parts)
    return sentence if sentence.endswith(("?", "!", "…")) else f"{sentence}."


def _list_own_fields(reply: Reply) -> list[tuple[str, object]]:
    """Return the fields that the prompt file defines. Earlier versions stored `worth_saying` of every reply."""
    return [(name, value) for name, value in (reply.model_extra or {}).items() if name != "worth_saying"]


def _describe(reply: Reply) -> list[str]:
    match reply:
        case IssueAnalysis():
            fields = [reply.kind, f"priority {reply.priority}", reply.difficulty, f"component {reply.component}"]
            parts = [f"{', '.join(fields)}: {describe_text(reply.summary) or 'no summary'}"]
            parts += [f"asks the author for: {_list(reply.missing)}"] if reply.missing else []
            answer = describe_text(reply.recommended_response)
            parts += [f"tells the author: {answer}"] if answer else []
            return [*parts, *_suggestions(reply.suggested_labels)]
        case PullRequestAnalysis():
            findings = count(len(reply.findings), "finding")
            parts = [f"{reply.type}, {findings}: {describe_text(reply.summary) or 'no summary'}"]
            said = [f"finding {one.number} {one.verdict}" for one in reply.earlier]
            parts += [f"of earlier ones: {_list(said)}"] if said else []
            return [*parts, *_suggestions(reply.suggested_labels)]
        case FindingVerdicts():
            agreed = sum(verdict.agrees for verdict in reply.verdicts)
            verdicts = count(len(reply.verdicts), "verdict")
            return [f"{verdicts}, {agreed} of them: proved" if reply.verdicts else "no verdicts"]
        case ReviewAnalysis():
            blocking = sum(request.blocking for request in reply.requests)
            requests = count(len(reply.requests), "request")
            return [f"{requests}, {blocking} of them blocking: {describe_text(reply.summary) or 'no summary'}"]
        case WorkflowAnalysis():
            places = [f"{place.path}:{place.line}" if place.line else place.path for place in reply.where]
            parts = [describe_text(reply.cause) or "the cause is unclear"]
            parts += [f'shown by "{describe_text(reply.quote)}"'] if reply.quote else []
            return [*parts, f"places to look at: {_list(places)}"]
        case ReleaseAnalysis():
            headline = f"{count(len(reply.highlights), 'highlight')}: {describe_text(reply.headline) or 'no headline'}"
            return [headline, f"announcement: {describe_text(reply.announcement) or 'none'}"]
        case IssueResponse() | CommentReply():
            return [f"{'certain' if reply.certain else 'a guess'}: {describe_text(reply.answer) or 'no answer'}"]
        case GenericAnalysis():
            parts = [describe_text(reply.summary) or "no summary"]
            return [*parts, f"details: {describe_text(reply.details)}"] if reply.details else parts
        case _:
            return [f"{name}: {_format_value(value)}" for name, value in dict(reply).items() if name != "worth_saying"]


def _suggestions(labels: list[SuggestedLabel]) -> list[str]:
    texts = [f"{label.name} (confidence {label.confidence:g})" for label in labels]
    return [f"suggests the labels {_list(texts)}"] if texts else []


def _list(texts: list[str]) -> str:
    return ", ".join(map(describe_text, texts)) or "none"


def _format_value(value: object) -> str:
    match value:
        case bool():
            return "true" if value else "false"
        case {"dimension": str(dimension), "score": int(score)}:
            return f"{dimension} {score}"
        case Mapping():
            return _list([f"{name} {_format_value(part)}" for name, part in value.items()])
        case list() | tuple():
            return _list([_format_value(part) for part in value])
        case _:
            return "none" if value in (None, "") else describe_text(str(value))


def describe_text(text: str) -> str:
    """Return the text as one line of at most `MAX_CHARACTERS`."""
    line = " ".join(text.split())
    return line if len(line) <= MAX_CHARACTERS else f"{line[: MAX_CHARACTERS - 1]}…"
