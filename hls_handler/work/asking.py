"""Renders prompts, sends them to Claude, and stores the replies. An invalid reply is requested once more.

`run_shadow` runs a shadow prompt with the same facts after posting. Its result is stored and not posted.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import TypeAdapter

from hls_handler.actions import Action, EnsureComment, EnsureLabels, RequestedLabel
from hls_handler.analysis import Analysis, Reply, UnusableReply, ValidReply
from hls_handler.clients.comment_body import MAX_COMMENT_CHARS, MAX_SECTION_CHARS
from hls_handler.deliveries import FIRST_SHADOW_STEP
from hls_handler.errors import (
    DependencyDown,
    LeaseLost,
    Permanent,
    Postponed,
    PromptError,
    Retryable,
    StepFailed,
    StoreUnavailable,
)
from hls_handler.handlers.handler import Handler, PromptLimits, template_variables
from hls_handler.handlers.labels import OfferLimits
from hls_handler.history.calls import CLAUDE_RATE_LIMIT, UNAVAILABLE
from hls_handler.prompting.prompt import Library
from hls_handler.prompting.render import RenderedPrompt, render, render_comment, render_footer
from hls_handler.prompting.reply_fields import complete_static_reply
from hls_handler.queue.changes import Posted
from hls_handler.routing import Shadow
from hls_handler.settings.effective import EffectiveSettings
from hls_handler.settings.model import Settings
from hls_handler.wording import count, was_or_were
from hls_handler.work.job import ASK, Codec, Job, decode_reply, encode_reply

log = logging.getLogger(__name__)

MARKER_CHARS = 100  # more than the marker below a comment has

PROMPT_SECRET = "prompt-delimiters"  # noqa: S105 (the name of a secret in the store, not a secret)

OMISSIONS = Codec("omissions", 1, TypeAdapter(str))
"""Sentences about text that Claude did not get: index 0 is from the handler, index n + 1 about cuts in prompt n."""
UNUSABLE = Codec("unusable", 4, TypeAdapter(UnusableReply))


@contextmanager
def _template_errors_as_retryable() -> Iterator[None]:
    try:
        yield
    except PromptError as exc:
        raise Retryable(str(exc)) from exc  # a retry succeeds after the template is corrected


@_template_errors_as_retryable()
def analyse(job: Job, facts: Any, *, shadow: str | None = None) -> Analysis:
    """Ask Claude `job.rule.prompt` and its follow-up prompts (`then`), and render the comment (see `render_chain`).

    `shadow` is the name of a shadow prompt to run instead. The checkpoints then have indexes from
    `FIRST_SHADOW_STEP`, and errors do not change `/health`. Raises `Postponed`, `LeaseLost` or a `StepFailed`.
    """
    library, first_index, is_recalled = job.config.library, FIRST_SHADOW_STEP if shadow else 0, False

    def ask(name: str, variables: Mapping[str, object], position: int) -> ValidReply:
        nonlocal is_recalled
        prompt, index = library.prompts[name], first_index + position
        recalled = decode_reply(job.steps.get((ASK, index)), reply_type=prompt.reply, model=prompt.reply_model)
        is_recalled = recalled is not None
        if recalled is None:
            return _ask(job, name, variables, index)
        job.store.calls.save_analysis(job.lease, index=index, reply=recalled)
        return recalled

    first = shadow or job.rule.prompt
    variables = template_variables(job.event, job.handler, facts, prompt=first, effective=job.rule.effective)
    answers, names = run_prompt_chain(library, first, variables, ask)
    if is_recalled:  # no call has set the status; an earlier attempt with other prompts may have left it unset
        job.store.queue.set_status(job.lease, analysis="done", analysis_error=None)
    key = job.store.database.secret(PROMPT_SECRET)
    return render_chain(library, names, job.handler, facts, answers, variables, key)


@_template_errors_as_retryable()
def analyse_static_reply(job: Job, facts: Any, reply: Reply) -> Analysis:
    """Return an analysis without a call to Claude. Its comment is rendered from `reply`, which the handler wrote."""
    job.store.queue.set_status(job.lease, analysis="done", analysis_error=None)
    name = job.rule.prompt
    reply = complete_static_reply(reply, job.config.library.prompts[name].reply_model)
    variables = template_variables(job.event, job.handler, facts, prompt=name, effective=job.rule.effective)
    key = job.store.database.secret(PROMPT_SECRET)
    comment, footer = _render_comment(job.config.library, name, job.handler, facts, reply, variables, key)
    return Analysis((), comment, footer)


def run_prompt_chain(
    library: Library,
    first: str,
    variables: Mapping[str, object],
    ask: Callable[[str, Mapping[str, object], int], ValidReply],
) -> tuple[tuple[ValidReply, ...], tuple[str, ...]]:
    """Run the prompt `first` and its follow-up prompts (`then`). Return all replies, and the names of their prompts.

    `ask` sends one prompt. Its arguments are the prompt's name, the variables and the prompt's position, from 0.
    """
    answers: list[ValidReply] = []
    names: list[str] = []
    name: str | None = first
    while name is not None:
        names.append(name)
        answers.append(ask(name, variables, len(answers)))
        reply = answers[-1].reply
        variables = {**variables, "analysis": reply}
        name = library.find_next_prompt(name, reply)
    return tuple(answers), tuple(names)


def render_chain(
    library: Library,
    names: tuple[str, ...],
    handler: Handler[Any],
    facts: Any,
    answers: tuple[ValidReply, ...],
    variables: Mapping[str, object],
    key: bytes,
) -> Analysis:
    """Render the comment for the replies `answers` of the prompts `names`. Raises `PromptError`.

    It is the comment of the last prompt that has one and whose reply is worth saying, so that a second reply without
    an answer does not hide the first one. If there is none, it is the comment of the last prompt.
    """
    worth_saying = [
        index
        for index, answer in enumerate(answers)
        if answer.reply.worth_saying and library.comments.get(names[index]) is not None
    ]
    index = worth_saying[-1] if worth_saying else len(answers) - 1
    comment, footer = _render_comment(library, names[index], handler, facts, answers[index].reply, variables, key)
    return Analysis(answers, comment, footer, comment_index=index)


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
        offer = OfferLimits(labels, taken=frozenset(library.label_groups(event_name)))
    return PromptLimits(
        settings.claude.input_tokens, effective.paths, effective.findings, effective.comments.summary, offer
    )


def _ask(job: Job, name: str, variables: Mapping[str, object], index: int) -> ValidReply:
    rendered = render(job.config.library, name, variables, key=job.store.database.secret(PROMPT_SECRET))
    if rendered.missing:
        job.note(OMISSIONS, index + 1, _describe_truncation(rendered))
    first = job.find_result(UNUSABLE, index) or _call(job, rendered, index, correction=None)
    if isinstance(first, ValidReply):
        return first
    if first.why != "invalid":
        raise _report_unusable(job, rendered, index, first)
    answer = _call(job, rendered, index, correction=first)
    if isinstance(answer, ValidReply):
        return answer
    job.store.checkpoints.delete(job.lease, UNUSABLE.name)  # so that a retry by an operator begins anew
    raise _report_unusable(job, rendered, index, answer)


def _describe_truncation(rendered: RenderedPrompt) -> str:
    texts, characters = len(rendered.missing), sum(rendered.missing)
    return f"{count(texts, 'text')} {was_or_were(texts)} cut by {characters:,} characters ({rendered.prompt.id})"


def _call(
    job: Job, rendered: RenderedPrompt, index: int, *, correction: UnusableReply | None
) -> ValidReply | UnusableReply:
    store, claude = job.store, job.config.settings.claude
    estimate = job.context.claude.upper_estimate(rendered, correction=correction)
    call = job.wait_in_place(
        lambda: store.calls.begin(
            job.lease,
            index=index,
            prompt_id=rendered.prompt.id,
            model=estimate.model,
            estimate=estimate,
            requests_per_second=claude.requests_per_second,
            calls_per_hour=claude.calls_per_hour,
            changes=job.pending.take(),
        )
    )
    try:
        job.context.leases.require(job.lease)  # do not pay for a reply that another worker would discard
    except LeaseLost as exc:
        store.calls.end(job.lease, call, outcome=UNAVAILABLE, usage=None, error=f"not sent: {exc}")
        raise
    started_at = job.context.health.clock()
    try:
        answer = job.context.claude.ask(rendered, correction=correction)
    except StepFailed as exc:
        outcome = UNAVAILABLE if isinstance(exc, DependencyDown) and not exc.may_have_succeeded else "failed"
        store.calls.end(
            job.lease,
            call,
            outcome=outcome,
            usage=None,
            error=str(exc),
            is_usage_unknown=isinstance(exc, DependencyDown) and exc.may_have_succeeded,
            request_id=exc.request_id,
        )
        if isinstance(exc, Permanent):
            _report_problem(job, index, str(exc), "do what the message says; the next valid reply clears this problem")
        raise
    if isinstance(answer, ValidReply):
        job.context.health.ok("claude", begun_at=started_at)
        checkpoint = encode_reply(answer, index=index)
        prompt = rendered.prompt
        recalled = decode_reply(checkpoint, reply_type=prompt.reply, model=prompt.reply_model)  # redacted
        assert recalled is not None
        store.calls.end(
            job.lease,
            call,
            outcome="ok",
            usage=answer.usage,
            error=None,
            request_id=answer.usage.request_id,
            changes=[*job.pending.take(), checkpoint],
            reply=recalled,
            is_last=_is_last(job, prompt.name, recalled.reply),
        )
        return recalled
    step = UNUSABLE.encode(answer, index=index, took_s=answer.usage.took_s)
    changes = [step] if correction is None and answer.why == "invalid" else []
    store.calls.end(
        job.lease,
        call,
        outcome=answer.why,
        usage=answer.usage,
        error=answer.problem,
        is_usage_unknown=answer.why in ("miscounted", "oversized"),
        request_id=answer.usage.request_id,
        changes=changes,
    )
    unusable = UNUSABLE.decode(step)  # redacted, because the correction shows it to Claude again
    assert unusable is not None
    return unusable


def _is_last(job: Job, prompt: str, reply: Reply) -> bool:
    try:
        return job.config.library.find_next_prompt(prompt, reply) is None
    except PromptError:
        return False


def _report_unusable(job: Job, rendered: RenderedPrompt, index: int, answer: UnusableReply) -> Permanent:
    file = job.config.library.file(rendered.prompt.name)
    advice = {
        "truncated": f"raise max_tokens in {file} or claude.max_tokens, then run it again",
        "refused": "nothing is posted; read the conversation yourself",
        "stopped": f"shorten what {file} sends, then run it again",
        "miscounted": "see whether claude.base_url is the address of Claude's API, then run it again",
        "oversized": f"see whether claude.base_url is the address of Claude's API, or raise max_tokens in {file}",
        "invalid": f"check what {file} asks for, then run it again",
    }[answer.why]
    said = "two replies" if answer.why == "invalid" else "reply"
    which = "; the second" if answer.why == "invalid" else ""
    problem = f"Claude's {said} to {rendered.prompt.id} cannot be used{which}: {answer.problem}"
    _report_problem(job, index, problem, advice)
    return Permanent(f"{problem}; {advice}")


def _report_problem(job: Job, index: int, problem: str, remedy: str) -> None:
    if index < FIRST_SHADOW_STEP:  # /health does not show problems of shadow prompts
        job.context.health.report_problem("claude", problem, remedy)


SHADOW_SHARE = 0.8
"""Shadow prompts are skipped once this share of `claude.calls_per_hour` is used. The rest is for other prompts."""


@dataclass(frozen=True, slots=True)
class PromptResult:
    """The result of one prompt for one delivery."""

    prompt_id: str  # "issues/strict@3f9c2a"; the first if `then` leads to others
    labels: tuple[RequestedLabel, ...]
    speaks: bool  # whether a new comment was planned


@dataclass(frozen=True, slots=True)
class ShadowResult:
    """The results of two prompts for one delivery: `ran` is from the shadow prompt, `posted` from the rule's prompt."""

    prompt: str  # "issues/strict"
    state: Literal["done", "failed", "skipped"]
    reason: str | None  # why it failed or was skipped
    ran: PromptResult | None  # the shadow's result; None unless done
    posted: PromptResult


SHADOW = Codec("shadow", 1, TypeAdapter(ShadowResult))


def prompt_result(analysis: Analysis, actions: tuple[Action, ...]) -> PromptResult:
    """Return the labels and the planned comment of an analysis, for comparisons. `analysis` must have a reply."""
    return PromptResult(
        prompt_id=analysis.answers[0].prompt_id,
        labels=tuple(label for action in actions if isinstance(action, EnsureLabels) for label in action.requested),
        speaks=any(isinstance(action, EnsureComment) and action.create for action in actions),
    )


def run_shadow(job: Job, facts: Any, posted: PromptResult, posting: Posted | None) -> None:
    """Run the rule's shadow prompt, if it has one, and store its result together with `posted`.

    The shadow prompt is skipped if the service stops, if Claude's rate limit is reached, or if the calls of the last
    hour reach the share `SHADOW_SHARE` of `claude.calls_per_hour`. A failed shadow prompt does not fail the delivery.
    Raises only `LeaseLost` and `StoreUnavailable`.
    """
    shadow = job.rule.shadow
    if shadow is None or job.find_result(SHADOW) is not None:
        return
    # Stores what was posted and releases the comment's lock before the call to Claude.
    job.store.checkpoints.save(job.lease, *job.pending.take(), posting=posting, unlock=True)
    result = _run_shadow(job, shadow, facts, posted)
    job.add(SHADOW, result)
    log.info("shadow prompt ended", extra={"prompt": shadow.prompt, "state": result.state, "reason": result.reason})


def _run_shadow(job: Job, shadow: Shadow, facts: Any, posted: PromptResult) -> ShadowResult:
    try:
        _check_shadow(job, shadow)
        analysis = analyse(job, facts, shadow=shadow.prompt)
        result = prompt_result(analysis, job.handler.plan(job.event, facts, analysis))
        return ShadowResult(shadow.prompt, "done", None, result, posted)
    except (LeaseLost, StoreUnavailable):
        raise
    except Postponed as exc:
        return ShadowResult(shadow.prompt, "skipped", str(exc), None, posted)
    except StepFailed as exc:
        if isinstance(exc, DependencyDown) and exc.applies_to_all_calls and exc.not_before is not None:
            job.store.rate_limiter.hold(CLAUDE_RATE_LIMIT, exc.not_before)  # until the time that Claude gave
        return ShadowResult(shadow.prompt, "failed", str(exc), None, posted)
    except Exception as exc:  # a defect here must not fail a delivery that is posted
        log.exception("defect in a shadow prompt")
        reason = f"defect in HLS, please report it: {type(exc).__name__} (the log has the trace)"
        return ShadowResult(shadow.prompt, "failed", reason, None, posted)


def _check_shadow(job: Job, shadow: Shadow) -> None:
    settings = job.config.settings
    if shadow.prompt not in job.config.library.prompts:
        raise Permanent(f"{settings.sources.where(shadow.chosen_by)} names {shadow.prompt}, but no such prompt exists")
    calls, most = job.store.calls.count_last_hour(), settings.claude.calls_per_hour
    if calls >= SHADOW_SHARE * most:
        raise Postponed(
            f"shadow prompts may not use the last {1 - SHADOW_SHARE:.0%} of claude.calls_per_hour: "
            f"{calls} of {count(most, 'call')} {was_or_were(calls)} made within the hour",
            at=job.store.now(),
        )
