"""Asks Claude the prompts of a delivery, as its handler chooses them, and renders comments from the replies."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any

from pydantic import TypeAdapter

from hls_handler.analysis import (
    Analysis,
    PartialCost,
    Reply,
    ValidReply,
    file_summaries_of,
    find_review,
    is_worth_saying,
)
from hls_handler.clients.claude import cost_of_output
from hls_handler.clients.comment_body import MAX_COMMENT_CHARS, MAX_SECTION_CHARS
from hls_handler.deliveries import FIRST_SHADOW_STEP
from hls_handler.engine.calls import OMISSIONS, UNSHOWN, ask_claude
from hls_handler.engine.job import ASK, Codec, Job, decode_reply
from hls_handler.errors import BudgetExceeded, Permanent
from hls_handler.events import Event
from hls_handler.handlers.asking import VERIFY_PROMPT, Answers, Asking
from hls_handler.handlers.handler import Handler, PromptLimits, template_variables
from hls_handler.handlers.labels import OfferLimits
from hls_handler.prompting.prompt import Library
from hls_handler.prompting.render import (
    estimate_tokens,
    render_comment,
    render_footer,
    render_review_comment,
)
from hls_handler.prompting.reply_fields import complete_static_reply
from hls_handler.queue.checkpoints import ANALYSED
from hls_handler.routing import Rule
from hls_handler.settings.effective import EffectiveSettings
from hls_handler.settings.model import Settings

log = logging.getLogger(__name__)

MARKER_CHARS = 100  # more than the marker below a comment has

CONTEXT_VARIABLES = ("guidance", "linked_issues")
"""Template variables that a setting of `review` with this name switches off."""

UNANSWERED = Codec("unanswered", 1, TypeAdapter(str))
"""Checkpoint of a call of several that got no usable reply: the reason."""
UNVERIFIED = Codec("unverified", 1, TypeAdapter(str))
"""Why the findings were not verified; "" if a later attempt verified them."""


def ask(job: Job, facts: Any, *, shadow: str | None = None) -> Answers:
    """Ask Claude `job.rule.prompt` and its follow-up prompts (see `Handler.consult`).

    `shadow` is the name of a shadow prompt to run instead. The checkpoints then have indexes from
    `FIRST_SHADOW_STEP`, and errors do not change `/health`. Raises `Postponed`, `LeaseLost`,
    `PromptError` or a `StepFailed`.
    """
    library, first_index, is_recalled = job.config.library, FIRST_SHADOW_STEP if shadow else 0, False

    failed: dict[int, str] = {}

    def ask_one(name: str, variables: Mapping[str, object], position: int) -> ValidReply:
        nonlocal is_recalled
        prompt, index = library.prompts[name], first_index + position
        reason = job.find_result(UNANSWERED, index)
        if reason is not None:
            raise Permanent(reason)
        recalled = decode_reply(job.steps.get((ASK, index)), reply_type=prompt.reply, model=prompt.reply_model)
        is_recalled = recalled is not None
        if recalled is not None:
            return replace(recalled, unshown=job.find_result(UNSHOWN, index) or ())
        try:
            return ask_claude(job, name, variables, index)
        except BudgetExceeded:  # nothing was sent
            raise
        except Permanent as exc:
            failed[index] = str(exc)
            raise

    first = shadow or job.rule.prompt
    make_variables = partial(template_variables, job.event, job.handler, prompt=first, effective=job.rule.effective)
    is_posted = shadow is None
    keeps_review = is_posted and job.event.name == "pull_request"
    asking = Asking(library, first, make_variables, ask_one, is_verified=is_posted, keeps_review=keeps_review)
    try:
        answers = job.handler.consult(asking, facts)
    except Permanent:
        failed.clear()
        job.store.checkpoints.delete(job.lease, UNANSWERED.name)  # so that a retry by an operator begins anew
        raise
    finally:
        for index, reason in failed.items():  # other calls may get a reply, so a retry does not repeat these
            job.add(UNANSWERED, reason, index)
    if shadow is None and answers.unverified != (job.find_result(UNVERIFIED) or ""):
        job.add(UNVERIFIED, answers.unverified)
    if shadow is None and answers.unanswered:
        job.note(OMISSIONS, FIRST_SHADOW_STEP, answers.unanswered)
    if is_recalled or answers.left_out:
        # No call has set the status; an earlier attempt with other prompts may have left it unset.
        job.pending.add(ANALYSED)
    return answers


def render_static(
    library: Library, rule: Rule, event: Event, handler: Handler[Any], facts: Any, reply: Reply, key: bytes
) -> Analysis:
    """Render the comment for a reply that the handler wrote. Raises `PromptError`."""
    reply = complete_static_reply(reply, library.prompts[rule.prompt].reply_model)
    variables = template_variables(event, handler, facts, prompt=rule.prompt, effective=rule.effective)
    comment, footer = _render_comment(library, rule.prompt, handler, facts, reply, variables, key)
    return Analysis((), comment, footer)


def render_replies(library: Library, handler: Handler[Any], answered: Answers, key: bytes) -> Analysis:
    """Render the comments for the replies. Raises `PromptError`.

    The comment is that of the last prompt that has one and whose reply is worth saying, so that a second reply without
    an answer does not hide the first one. If there is none, it is the comment of the last prompt.
    """
    names, answers, facts = answered.names, answered.answers, answered.facts
    worth_saying = [
        index
        for index, answer in enumerate(answers)
        if is_worth_saying(answer.reply) and library.comments.get(names[index]) is not None
    ]
    index = worth_saying[-1] if worth_saying else len(answers) - 1
    reply = answers[index].reply
    variables = {**answered.variables, **handler.variables(facts), "files_cost": _estimate_files_cost(answers[0])}
    comment, footer = _render_comment(library, names[index], handler, facts, reply, variables, key)
    review = find_review(answers) or answers[0]
    name, shown = names[answers.index(review)], {**variables, "analysis": review.reply}
    inline = {
        finding: render_review_comment(library, name, {**shown, **extra}, key=key)
        for finding, extra in answered.inline.items()
    }
    left_out = answered.left_out_shown
    return Analysis(answers, comment, footer, comment_index=index, inline=inline, left_out=left_out)


def _estimate_files_cost(answer: ValidReply) -> PartialCost | None:
    """Return the estimated cost of the sentences about files, which are a part of the reply."""
    sentences = [one.model_dump() for one in file_summaries_of(answer.reply)]
    return (
        cost_of_output(answer.usage, estimate_tokens(json.dumps(sentences, ensure_ascii=False))) if sentences else None
    )


def _render_comment(
    library: Library,
    prompt: str,
    handler: Handler[Any],
    facts: Any,
    reply: Reply,
    variables: Mapping[str, object],
    key: bytes,
) -> tuple[str | None, str]:
    variables = {**variables, "analysis": reply, **handler.comment_variables(facts, reply)}
    longest = MAX_SECTION_CHARS if handler.has_sections else MAX_COMMENT_CHARS - MARKER_CHARS
    comment = render_comment(library, prompt, variables, key=key, max_characters=longest)
    return comment, render_footer(library, prompt, variables, key=key) if handler.has_sections else ""


def prompt_limits(
    settings: Settings, library: Library, event_name: str, effective: EffectiveSettings, prompt: str
) -> PromptLimits:
    """Return the limits on what a prompt gets: tokens, files and findings, and whether it lists labels."""
    offer, labels = None, effective.labels
    if labels.suggest and effective.features.auto_labeling and library.uses(prompt, "repository_labels"):
        offer = OfferLimits(labels, taken=frozenset(library.label_groups(event_name, labels.assess)))
    shown = {name: getattr(effective.review, name) and library.uses(prompt, name) for name in CONTEXT_VARIABLES}
    shown["verify"] = effective.review.verify and VERIFY_PROMPT in library.prompts
    shown["functions"] = effective.review.functions and library.uses(prompt, ".above")
    is_review = library.prompts[prompt].reply == "pull_request_analysis"
    sums_up_files = effective.comments.files and is_review and library.uses(prompt, "file_summaries")
    return PromptLimits(
        settings.claude.input_tokens,
        effective.paths,
        effective.findings,
        "always" if sums_up_files else effective.comments.summary,  # else the sentences would be paid and not shown
        sums_up_files=sums_up_files,
        labels=labels,
        offer=offer,
        is_review=is_review,
        review=effective.review.model_copy(update=shown),
        features=effective.features,
    )
