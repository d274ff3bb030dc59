"""Re-run: runs a prompt with the stored facts of a finished delivery; nothing is stored or posted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from hls_handler.analysis import Analysis, ValidReply
from hls_handler.deliveries import FIRST_SHADOW_STEP, Checkpoint
from hls_handler.errors import PayloadError, Permanent
from hls_handler.events import Event, parse_event
from hls_handler.handlers import handler_for
from hls_handler.handlers.handler import Handler
from hls_handler.history.statistics import DeliveryRow
from hls_handler.prompting.prompt import Library, Prompt
from hls_handler.prompting.render import RenderedPrompt, render, render_comment, render_footer
from hls_handler.routing import Rule
from hls_handler.settings.effective import RepositoryTable
from hls_handler.storage import Storage
from hls_handler.work.comparison import Side, side
from hls_handler.work.library import template_variables
from hls_handler.work.memory import OUTCOME, decode_reply, decode_reply_for_display, facts_codec
from hls_handler.work.ports import Claude
from hls_handler.work.shadow import came_to


@dataclass(frozen=True, slots=True)
class Stored:
    """A finished delivery with its stored facts and its posted result."""

    row: DeliveryRow
    event: Event
    handler: Handler[Any]
    facts: Any
    rule: Rule
    posted: Side


def stored_for(
    store: Storage, row: DeliveryRow, prompt: Prompt, library: Library, table: RepositoryTable
) -> Stored | None:
    """Return the delivery with its facts; None if it is not done, has lost data, or the prompt is for other events."""
    handler = handler_for(row.event)
    body = store.deliveries.body(row.guid)
    effective = table.find(row.repository or "")
    if row.state != "done" or not body or effective is None:
        return None
    try:
        event = parse_event(row.event, row.guid, body)
    except PayloadError:
        return None
    if event.key not in prompt.on and event.name not in prompt.on:
        return None
    steps = store.checkpoints.load(row.guid)
    facts = facts_codec(handler).decode(steps.get(("gather", 0)))
    numbers = sorted(index for name, index in steps if name == "ask" and index < FIRST_SHADOW_STEP)
    answers = [answer for index in numbers if (answer := _decode(steps["ask", index], library)) is not None]
    if facts is None or not answers:
        return None
    outcomes = [OUTCOME.decode(step) for (name, _), step in steps.items() if name == OUTCOME.name]
    commented = any(outcome is not None and outcome.action == "comment" for outcome in outcomes)
    rule = Rule(event.key, prompt.name, effective, prompt.path)
    analysis = Analysis(tuple(answers), comment="a comment" if commented else None)
    ran = came_to(analysis, handler.plan(event, facts, analysis))
    calls = (call for call in store.calls.calls_of(row.guid) if not call.of_shadow)
    return Stored(row, event, handler, facts, rule, side(ran, calls))


def _decode(step: Checkpoint, library: Library) -> ValidReply | None:
    """Return the stored reply with its prompt's fields; if that prompt is gone or has changed, with any fields."""
    displayed = decode_reply_for_display(step)
    prompt = library.prompts.get(displayed.prompt_id.partition("@")[0]) if displayed is not None else None
    reply = decode_reply(step, reply_type=prompt.reply, model=prompt.reply_model) if prompt is not None else None
    return reply or displayed


def rendered(stored: Stored, library: Library, key: bytes) -> RenderedPrompt:
    """Return the first request to Claude. Raises `PromptError`."""
    return render(library, stored.rule.prompt, _variables(stored), key=key)


def run_again(stored: Stored, library: Library, claude: Claude, key: bytes) -> Side:
    """Run the prompt and the prompts its `then` leads to. Raises `PromptError` and the errors of `Claude.ask`."""
    variables = _variables(stored)
    answers: list[ValidReply] = []
    name: str | None = stored.rule.prompt
    while name is not None:
        answer = claude.ask(render(library, name, variables, key=key))
        if not isinstance(answer, ValidReply):
            raise Permanent(f"Claude's reply to {answer.prompt_id} cannot be used: {answer.problem}")
        answers.append(answer)
        variables = {**variables, "analysis": answer.reply}
        last, name = name, library.find_next_prompt(name, answer.reply)
    made = stored.handler.comment_variables(stored.facts, answers[-1].reply)
    comment = render_comment(library, last, {**variables, **made}, key=key)
    footer = render_footer(library, last, {**variables, **made}, key=key) if stored.handler.has_sections else ""
    analysis = Analysis(tuple(answers), comment, footer)
    ran = came_to(analysis, stored.handler.plan(stored.event, stored.facts, analysis))
    return side(ran, [answer.usage for answer in answers])


def _variables(stored: Stored) -> Mapping[str, object]:
    effective = stored.rule.effective
    return template_variables(
        stored.event,
        stored.handler,
        stored.facts,
        prompt=stored.rule.prompt,
        dry_run=effective.features.dry_run,
        comments=effective.comments,
    )
