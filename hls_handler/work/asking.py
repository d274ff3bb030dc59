"""Renders prompts, sends them to Claude, and stores the replies. An invalid reply is requested once more.

`run_shadow` runs a shadow prompt with the same facts after posting. Its result is stored and not posted.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal

from pydantic import TypeAdapter, ValidationError

from hls_handler.actions import Action, EnsureComment, EnsureLabels, RequestedLabel
from hls_handler.analysis import Analysis, Reply, UnusableReply, Usage, ValidReply, sum_usage
from hls_handler.clients.comment_body import MAX_COMMENT_CHARS, MAX_SECTION_CHARS
from hls_handler.deliveries import FIRST_SHADOW_STEP
from hls_handler.errors import (
    BudgetExceeded,
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
from hls_handler.history.calls import CLAUDE_RATE_LIMIT, UNAVAILABLE, ReviewBudget
from hls_handler.history.reply_cache import CacheKey
from hls_handler.prompting.prompt import Library
from hls_handler.prompting.render import (
    RenderedPrompt,
    render,
    render_comment,
    render_footer,
    render_review_comment,
)
from hls_handler.prompting.reply_fields import complete_static_reply
from hls_handler.queue.changes import Posted
from hls_handler.routing import Shadow
from hls_handler.settings.effective import EffectiveSettings
from hls_handler.settings.model import Settings
from hls_handler.wording import count, was_or_were
from hls_handler.work.job import ASK, Codec, Job, decode_reply, encode_reply

log = logging.getLogger(__name__)

MARKER_CHARS = 100  # more than the marker below a comment has

FIRST_PART, VERIFICATION = 50, 90
"""Indexes of checkpoints: n + `FIRST_PART` for the reply about part n > 0 of the facts, and the verification."""

NO_BUDGET = "the budget for reviews is used up"
NO_REPLY = "Claude gave no usable reply"
"""Reasons, for people on GitHub, why a call was not made or has no result."""
CONTEXT_VARIABLES = ("guidance", "linked_issues")
"""Template variables that a setting of `review` with this name switches off."""

PROMPT_SECRET = "prompt-delimiters"  # noqa: S105 (the name of a secret in the store, not a secret)

OMISSIONS = Codec("omissions", 1, TypeAdapter(str))
"""Sentences about text that Claude did not get: index 0 is from the handler, index n + 1 about cuts in prompt n."""
CONTEXT = Codec("context", 1, TypeAdapter(str))
"""A sentence part about what Claude gets besides the event: "AGENTS.md (about 120 tokens)"."""
UNANSWERED = Codec("unanswered", 1, TypeAdapter(str))
"""Checkpoint of a call of several that got no usable reply: the reason."""
UNVERIFIED = Codec("unverified", 1, TypeAdapter(str))
"""Why the findings were not verified; "" if a later attempt verified them."""
UNUSABLE = Codec("unusable", 4, TypeAdapter(UnusableReply))


@contextmanager
def _template_errors_as_retryable() -> Iterator[None]:
    try:
        yield
    except PromptError as exc:
        raise Retryable(str(exc)) from exc  # a retry succeeds after the template is corrected


@dataclass(frozen=True, slots=True)
class Answers:
    """The replies of Claude about one event, before a comment is rendered from them."""

    facts: Any  # with the calls that have no reply, and the refuted findings
    answers: tuple[ValidReply, ...]  # of the first prompt and its follow-up prompts
    names: tuple[str, ...]  # of their prompts
    variables: Mapping[str, object]  # of the comment
    unverified: str = ""  # why the findings were not verified; "" if they were


@_template_errors_as_retryable()
def ask(job: Job, facts: Any, *, shadow: str | None = None) -> Answers:
    """Ask Claude `job.rule.prompt` and its follow-up prompts (see `run_prompts`).

    `shadow` is the name of a shadow prompt to run instead. The checkpoints then have indexes from
    `FIRST_SHADOW_STEP`, and errors do not change `/health`. Raises `Postponed`, `LeaseLost` or a `StepFailed`.
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
            job.store.calls.save_analysis(job.lease, index=index, reply=recalled)
            return recalled
        try:
            return _ask(job, name, variables, index)
        except BudgetExceeded:  # nothing was sent
            raise
        except Permanent as exc:
            failed[index] = str(exc)
            raise

    first = shadow or job.rule.prompt
    make_variables = partial(template_variables, job.event, job.handler, prompt=first, effective=job.rule.effective)
    try:
        answers = run_prompts(library, first, job.handler, facts, make_variables, ask_one, is_verified=shadow is None)
    except Permanent:
        failed.clear()
        job.store.checkpoints.delete(job.lease, UNANSWERED.name)  # so that a retry by an operator begins anew
        raise
    finally:
        for index, reason in failed.items():  # other calls may get a reply, so a retry does not repeat these
            job.add(UNANSWERED, reason, index)
    if shadow is None and answers.unverified != (job.find_result(UNVERIFIED) or ""):
        job.add(UNVERIFIED, answers.unverified)
    if is_recalled:  # no call has set the status; an earlier attempt with other prompts may have left it unset
        job.store.queue.set_status(job.lease, analysis="done", analysis_error=None)
    return answers


@_template_errors_as_retryable()
def analyse(job: Job, answered: Answers, facts: Any) -> Analysis:
    """Render the comments for the replies (see `render_chain`). `facts` may be newer than those of `answered`."""
    key = job.store.database.secret(PROMPT_SECRET)
    variables = {**answered.variables, **job.handler.variables(facts)}
    return render_chain(job.config.library, answered.names, job.handler, facts, answered.answers, variables, key)


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


def run_prompts(
    library: Library,
    first: str,
    handler: Handler[Any],
    facts: Any,
    make_variables: Callable[[Any], Mapping[str, object]],
    ask_one: Callable[[str, Mapping[str, object], int], ValidReply],
    *,
    is_verified: bool = True,
) -> Answers:
    """Run the prompt `first` for each part of the facts, the verification, and the follow-up prompts (`then`).

    `ask_one` sends one prompt. Its arguments are the prompt's name, the variables and an index below
    `FIRST_SHADOW_STEP`. If one of several parts gets no usable reply, the others count; the facts name the reason.
    """
    parts = handler.split(facts)
    replies: list[ValidReply] = []
    unanswered: dict[int, str] = {}
    failed: StepFailed | None = None
    for number, part in enumerate(parts):
        try:
            replies.append(ask_one(first, make_variables(part), number and FIRST_PART + number))
        except BudgetExceeded as exc:
            failed = exc
            unanswered |= dict.fromkeys(range(number, len(parts)), NO_BUDGET)
            break
        except Permanent as exc:
            failed = exc
            unanswered[number] = NO_REPLY
    if not replies:
        assert failed is not None
        raise failed
    facts = handler.with_unanswered(facts, unanswered)
    answers, names = [join_replies(handler, replies)], [first]
    variables = make_variables(facts)
    unverified = ""
    if is_verified:
        facts, unverified = _verify(library, handler, facts, answers[0].reply, variables, ask_one)
    variables = {**variables, **handler.variables(facts), "analysis": answers[0].reply}
    while (name := library.find_next_prompt(names[-1], answers[-1].reply)) is not None:
        answers.append(ask_one(name, variables, len(answers)))
        names.append(name)
        variables = {**variables, "analysis": answers[-1].reply}
    return Answers(facts, tuple(answers), tuple(names), variables, unverified)


def join_replies(handler: Handler[Any], replies: Sequence[ValidReply]) -> ValidReply:
    """Join the replies about the parts of the facts, at least one."""
    merged = handler.merge([reply.reply for reply in replies])
    return replace(replies[0], reply=merged, usage=sum_usage(reply.usage for reply in replies))


def _verify(
    library: Library,
    handler: Handler[Any],
    facts: Any,
    reply: Reply,
    variables: Mapping[str, object],
    ask_one: Callable[[str, Mapping[str, object], int], ValidReply],
) -> tuple[Any, str]:
    """Ask Claude to refute the findings of a reply. If it gives no usable reply, all findings are kept.

    Return the facts, and the reason why the findings were not verified, or "".
    """
    name = handler.verification
    asked = handler.verification_variables(facts, reply) if name in library.prompts else None
    if name is None or asked is None:
        return facts, ""
    try:
        verdicts = ask_one(name, {**variables, **asked}, VERIFICATION)
    except Permanent as exc:
        log.warning("findings were not verified", extra={"reason": str(exc)})
        reason = NO_BUDGET if isinstance(exc, BudgetExceeded) else NO_REPLY
        return handler.with_unverified(facts, reason), str(exc)
    return handler.apply_verification(facts, reply, verdicts.reply), ""


def render_chain(
    library: Library,
    names: tuple[str, ...],
    handler: Handler[Any],
    facts: Any,
    answers: tuple[ValidReply, ...],
    variables: Mapping[str, object],
    key: bytes,
) -> Analysis:
    """Render the comments for the replies `answers` of the prompts `names`. Raises `PromptError`.

    The comment is that of the last prompt that has one and whose reply is worth saying, so that a second reply without
    an answer does not hide the first one. If there is none, it is the comment of the last prompt.
    """
    worth_saying = [
        index
        for index, answer in enumerate(answers)
        if answer.reply.worth_saying and library.comments.get(names[index]) is not None
    ]
    index = worth_saying[-1] if worth_saying else len(answers) - 1
    reply = answers[index].reply
    comment, footer = _render_comment(library, names[index], handler, facts, reply, variables, key)
    inline = {
        finding: render_review_comment(library, names[index], {**variables, **extra}, key=key)
        for finding, extra in handler.inline_findings(facts, reply).items()
    }
    return Analysis(answers, comment, footer, comment_index=index, inline=inline)


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
    shown = {name: getattr(effective.review, name) and library.uses(prompt, name) for name in CONTEXT_VARIABLES}
    shown["functions"] = effective.review.functions and library.uses_attribute(prompt, "above")
    return PromptLimits(
        settings.claude.input_tokens,
        effective.paths,
        effective.findings,
        effective.comments.summary,
        offer,
        is_review=library.prompts[prompt].reply == "pull_request_analysis",
        review=effective.review.model_copy(update=shown),
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
    if index < FIRST_SHADOW_STEP:
        job.require_not_stopped()
    estimate = job.context.claude.upper_estimate(rendered, correction=correction)
    cache_key = _cache_key(job, rendered, estimate.model) if correction is None and index < FIRST_SHADOW_STEP else None
    cached = None if cache_key is None else _find_cached(job, rendered, index, cache_key)
    if cached is not None:
        return cached
    call = job.wait_in_place(
        lambda: store.calls.begin(
            job.lease,
            index=index,
            prompt_id=rendered.prompt.id,
            model=estimate.model,
            estimate=estimate,
            requests_per_second=claude.requests_per_second,
            calls_per_hour=claude.calls_per_hour,
            review=_review_budget(job) if index < FIRST_SHADOW_STEP else None,
            is_cache_miss=cache_key is not None,
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
            cache_key=cache_key,
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


def _cache_key(job: Job, rendered: RenderedPrompt, model: str) -> CacheKey | None:
    """Return the key of a question in the cache of replies; None if it is off or a person asked for a new review."""
    claude, prompt = job.config.settings.claude, rendered.prompt
    if not claude.cache_ttl_h or job.lease.repository_id is None or job.event.is_full_review_requested:
        return None
    options = [claude.base_url, model, prompt.max_tokens or claude.max_tokens, prompt.effort]
    question = json.dumps([rendered.system, rendered.task, prompt.reply, rendered.schema, *options])
    return CacheKey(job.lease.repository_id, hashlib.sha256(question.encode()).digest())


def _find_cached(job: Job, rendered: RenderedPrompt, index: int, key: CacheKey) -> ValidReply | None:
    """Return the reply to the same question, if the cache has a valid one, and store it as if Claude had replied."""
    prompt, cached = rendered.prompt, job.store.reply_cache.find(key, ttl_h=job.config.settings.claude.cache_ttl_h)
    if cached is None:
        return None
    try:
        reply = prompt.reply_model.model_validate_json(cached.reply)
    except ValidationError:  # a check that the schema does not show has changed
        return None
    usage = Usage(cached.model, cost_usd=0.0)
    answer = ValidReply(prompt.id, prompt.reply, reply, usage, cached_at=cached.stored_at)
    job.store.calls.save_cached(
        job.lease,
        cached,
        index=index,
        reply=answer,
        changes=[*job.pending.take(), encode_reply(answer, index=index)],
        is_last=_is_last(job, prompt.name, reply),
    )
    log.info("reply taken from the cache", extra={"prompt": prompt.id, "stored_at": cached.stored_at.isoformat()})
    return answer


def _review_budget(job: Job) -> ReviewBudget | None:
    """Return the limits on the cost of the calls for a pull request; None if the event is another one."""
    if job.event.name != "pull_request":
        return None
    settings, effective = job.config.settings, job.rule.effective

    def where(name: str) -> str:
        return settings.sources.where(effective.find_review_key(name, settings))

    return ReviewBudget(
        max_usd=effective.review.max_usd,
        where=where("max_usd"),
        max_usd_per_pull_request=effective.review.max_usd_per_pull_request,
        where_per_pull_request=where("max_usd_per_pull_request"),
    )


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


def run_shadow(job: Job, facts: Any, posted: PromptResult, posting: Posted | None, *, is_cached: bool) -> None:
    """Run the rule's shadow prompt, if it has one, and store its result together with `posted`.

    The shadow prompt is skipped if the service stops, if Claude's rate limit is reached, or if the calls of the last
    hour reach the share `SHADOW_SHARE` of `claude.calls_per_hour`. It is also skipped if a posted reply came from the
    cache (`is_cached`): the same question was compared before, and a reply without a call has no cost to compare. The
    shadow prompt itself does not use the cache. A failed shadow prompt does not fail the delivery.
    Raises only `LeaseLost` and `StoreUnavailable`.
    """
    shadow = job.rule.shadow
    if shadow is None or job.find_result(SHADOW) is not None:
        return
    # Stores what was posted and releases the comment's lock before the call to Claude.
    job.store.checkpoints.save(job.lease, *job.pending.take(), posting=posting, unlock=True)
    result = _run_shadow(job, shadow, facts, posted, is_cached=is_cached)
    job.add(SHADOW, result)
    log.info("shadow prompt ended", extra={"prompt": shadow.prompt, "state": result.state, "reason": result.reason})


def _run_shadow(job: Job, shadow: Shadow, facts: Any, posted: PromptResult, *, is_cached: bool) -> ShadowResult:
    try:
        _check_shadow(job, shadow, is_cached=is_cached)
        answered = ask(job, facts, shadow=shadow.prompt)
        analysis = analyse(job, answered, answered.facts)
        result = prompt_result(analysis, job.handler.plan(job.event, answered.facts, analysis))
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


def _check_shadow(job: Job, shadow: Shadow, *, is_cached: bool) -> None:
    settings = job.config.settings
    if shadow.prompt not in job.config.library.prompts:
        raise Permanent(f"{settings.sources.where(shadow.chosen_by)} names {shadow.prompt}, but no such prompt exists")
    if is_cached:
        raise Postponed("the posted reply came from the cache of replies (claude.cache_ttl_h)", at=job.store.now())
    calls, most = job.store.calls.count_last_hour(), settings.claude.calls_per_hour
    if calls >= SHADOW_SHARE * most:
        raise Postponed(
            f"shadow prompts may not use the last {1 - SHADOW_SHARE:.0%} of claude.calls_per_hour: "
            f"{calls} of {count(most, 'call')} {was_or_were(calls)} made within the hour",
            at=job.store.now(),
        )
