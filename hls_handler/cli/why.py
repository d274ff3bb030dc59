"""`hls why`: in plain sentences, what happened on a thread and why."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Annotated

import typer

from hls_handler.analysis import Answered, IssueAnalysis, IssueResponse, PullRequestAnalysis, Reply, ReviewAnalysis
from hls_handler.cli.options import Config, fail, load, open_store
from hls_handler.cli.say import say
from hls_handler.cli.story import Story, tell
from hls_handler.events import event_key
from hls_handler.work.pauses import resuming, told
from hls_handler.work.shadow import Shadowed

SHADOW_STATES = {"failed": "failed", "skipped": "was not asked"}
THREAD = re.compile(r"(?P<repository>[^/\s]+/[^/\s#]+)#(?P<number>[0-9]+)")


def why(
    thread: Annotated[str, typer.Argument(metavar="OWNER/REPO#N", help="The issue or pull request.")],
    config: Config = None,
) -> None:
    """Tell what HLS did on one thread, or why it did nothing.

    A thread is an issue or a pull request. Works while the service runs. For each delivery of the thread, the
    oldest first: which rule and line let it in or kept it out, which prompt, what Claude said, what was posted or
    why not, what it cost.

    Exit codes: 0 told; 1 nothing was received for that thread; 2 called wrongly, or the settings or the database
    cannot be used.
    """
    match = THREAD.fullmatch(thread)
    if match is None:
        raise typer.BadParameter("write it as owner/repo#7", param_hint="OWNER/REPO#N")
    settings = load(config)
    forgotten = settings.sources.where("storage.keep_days")
    with open_store(settings) as store:
        stories = [tell(store, row) for row in store.thread(match["repository"], int(match["number"]))]
    if not stories:
        fail(
            f"nothing was received for {thread}, or it is forgotten ({forgotten}): see on GitHub, under the webhook's "
            "recent deliveries, whether it was sent, and here, in `hls deliveries list`, what else came"
        )
    for number, story in enumerate(stories):
        if number:
            say("")
        for sentence in sentences(story):
            say(sentence)


def sentences(story: Story) -> Iterator[str]:
    """One delivery, in plain sentences: a line each, in which no text can make a line that looks like ours."""
    first, *others = (" ".join(sentence.split()) for sentence in _sentences(story))
    yield first
    yield from (f"  {sentence}" for sentence in others)


def _sentences(story: Story) -> Iterator[str]:
    row = story.delivery
    yield f"{row.received_at:%Y-%m-%d %H:%M:%S} UTC: {event_key(row.event, row.action)} (delivery {row.guid})"
    if story.rule is not None:
        yield f"Let in: {story.rule}."
    if story.own_settings is not None:
        yield f"Of the repository's own: {story.own_settings}."
    if story.not_shown:
        yield f"Not shown to Claude: {'; '.join(story.not_shown)}."
    for answered in story.answers:
        yield f"{answered.prompt_id} was asked, and Claude said: {said(answered)}"
    if row.analysis_status == "failed":
        yield f"The analysis failed: {row.analysis_error}"
    for outcome in story.outcomes:
        yield f"{outcome.action.capitalize()}: {outcome.detail}." + (f" {outcome.url}" if outcome.url else "")
    if story.told is not None and story.told.kind != "withheld":
        yield f"Told of problems in the repository's own settings: {story.told.detail}." + (
            f" {story.told.url}" if story.told.url else ""
        )
    if row.posting_status == "failed":
        yield f"Posting failed: {row.posting_error}"
    if story.shadow is not None:
        yield shadow_told(story.shadow)
    yield _ending(story)
    if story.calls:
        yield _cost(story)


def said(answered: Answered) -> str:
    """The reply in one line, with what its prompt's author asked for besides."""
    own = "".join(f"; {name}: {_plain(value)}" for name, value in (answered.reply.model_extra or {}).items())
    return f"{_said(answered.reply)}{own}"


def _plain(value: object) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def _said(reply: Reply) -> str:
    aside = "" if reply.worth_saying else " (not worth a comment)"
    match reply:
        case IssueAnalysis():
            fields = [reply.kind, f"priority {reply.priority}", reply.difficulty, f"component {reply.component}"]
            return f"{', '.join(fields)}: {reply.summary}{aside}"
        case PullRequestAnalysis():
            return f"{reply.type}, {len(reply.findings)} findings: {reply.summary}{aside}"
        case ReviewAnalysis():
            blocking = sum(request.blocking for request in reply.requests)
            return f"{len(reply.requests)} requests, {blocking} of them blocking: {reply.summary or 'nothing'}{aside}"
        case IssueResponse():
            return f"{'certain' if reply.certain else 'a guess'}: {reply.answer}{aside}"
        case _:
            return f"{reply.model_dump_json(exclude=set(reply.model_extra or ()))}{aside}"


def shadow_told(shadow: Shadowed) -> str:
    """What a shadow would have done, in one line."""
    if shadow.ran is None:
        return f"In its shadow {shadow.prompt} {SHADOW_STATES[shadow.state]}: {shadow.reason}"
    labels = ", ".join(wish.name for wish in shadow.ran.labels) or "no labels"
    spoken = "with a comment" if shadow.ran.speaks else "without a comment"
    return f"In its shadow {shadow.ran.prompt_id} would have set {labels}, {spoken}; nothing of it was posted."


def _ending(story: Story) -> str:
    row, held_by = story.delivery, story.held_by
    reason = row.reason or "no reason was kept"
    match row.state:
        case "queued" if held_by is not None:
            return f"It waits: {told(held_by)}; {resuming(held_by)} ends that."
        case "queued":
            return f"It waits until {row.due_at:%H:%M:%S} UTC: {row.reason or 'its turn'}."
        case "running":
            return "It is being worked on."
        case "done":
            return f"Done: {reason}."
        case "ignored":
            return f"Ignored: {reason}."
        case "superseded":
            return f"Superseded: {reason}."
        case "dead":
            return f"Dead: {reason}. `hls deliveries retry {row.guid[:8]}` runs it again."


def _cost(story: Story) -> str:
    costs = [call.cost_usd for call in story.calls if call.cost_usd is not None]
    calls = f"{len(story.calls)} call{'s' * (len(story.calls) != 1)}"
    tokens_in = sum(
        tokens or 0
        for call in story.calls
        for tokens in (call.input_tokens, call.cache_write_tokens, call.cache_read_tokens)
    )
    tokens_out = sum(call.output_tokens or 0 for call in story.calls)
    beside = sum(call.of_shadow for call in story.calls)
    aside = f" (of these {beside} by the shadow)" if beside else ""
    return f"{calls} to Claude{aside}, {tokens_in} tokens in, {tokens_out} out, {sum(costs):.6f} USD."
