"""The pipeline: processes one claimed delivery, from its stored body to labels and a comment on GitHub.

    Event ─ route ─> Rule ─ gather ─> Facts ─ ask ─> Analysis ─ plan ─> [Action] ─ post ─> Outcome

Each step's result is stored as a checkpoint before the next call to Claude and the next write to GitHub. A retry starts
after the last stored step.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal

from hls_handler.actions import EnsureLabels
from hls_handler.analysis import Analysis, Reply
from hls_handler.deliveries import Checkpoint, Lease
from hls_handler.errors import PayloadError, Permanent, Superseded
from hls_handler.events import Event, parse_event
from hls_handler.handlers import handler_for
from hls_handler.handlers.handler import Conversation, PromptLimits, SkipReason, check_conversation
from hls_handler.queue.changes import Change
from hls_handler.queue.checkpoints import Posted
from hls_handler.routing import Ignored, LabelCorrection, find_label_correction, from_event, route
from hls_handler.work.asking import analyse, analyse_static_reply
from hls_handler.work.feedback import describe_change, record_change
from hls_handler.work.job import Job
from hls_handler.work.library import template_variables
from hls_handler.work.memory import OMITTED, RULE, facts_codec
from hls_handler.work.ports import WorkerContext
from hls_handler.work.posting import post, posting_state, store_unposted
from hls_handler.work.repository_settings import (
    load_repository_settings,
    report_settings_problems,
    route_by_repository_settings,
)
from hls_handler.work.shadow import came_to, run_shadow

Steps = Mapping[tuple[str, int], Checkpoint]


@dataclass(frozen=True, slots=True)
class Ended:
    """The result of a delivery in which no step failed."""

    state: Literal["done", "ignored"]
    reason: str  # a sentence
    kind: str | None = None  # the counter of an ignored delivery: "too many runs"
    handler: str | None = None  # "IssueHandler"
    posting: Posted | None = None  # None if there was nothing to post
    changes: tuple[Change, ...] = ()  # to store in the transaction that finishes the delivery


def work_on(lease: Lease, tools: WorkerContext) -> Ended:
    """Process a delivery to its end. Raises `Postponed`, `Superseded`, `LeaseLost` or a `StepFailed`.

    Routes the event again, because settings, prompts and the bot account may have changed since it was received.
    """
    event = _parse(lease)
    now, bot, store = tools.now(), tools.bot(tools.github), tools.store
    routing_input = from_event(event)
    rule = route(routing_input, settings=now.settings, table=now.table, catalogue=now.library, bot=bot)
    if isinstance(rule, Ignored):
        return Ended("ignored", rule.reason, kind=rule.kind)
    if isinstance(rule, LabelCorrection):
        result = record_change(store, lease, event, bot, rule, now.library)
        reason = describe_change(result, rule.field)
        return Ended("done", reason) if result.words else Ended("ignored", reason, kind="no label of ours")
    correction = find_label_correction(routing_input, rule.effective, now.library, settings=now.settings, bot=bot)
    if isinstance(correction, LabelCorrection):  # an event can be a correction and have a prompt
        record_change(store, lease, event, bot, correction, now.library)
    steps: Steps = store.checkpoints.load(lease.guid) if lease.attempt > 1 else {}
    job = Job(lease, tools, now, event, bot, rule, handler_for(event.name), steps)
    limit_reason = _find_run_limit_reason(job)
    if limit_reason is not None:
        return Ended("ignored", limit_reason, kind="too many runs")
    job = load_repository_settings(job)
    repository_rule = route_by_repository_settings(job)
    if isinstance(repository_rule, Ignored):
        return Ended("ignored", repository_rule.reason, kind=repository_rule.kind)
    job = replace(job, rule=repository_rule)
    if (RULE.name, 0) not in steps:
        job.note(RULE, 0, job.rule.why(job.now.settings.sources))
    return run_job(job)


def run_job(job: Job) -> Ended:
    """Run all steps after routing. Raises as `work_on` does."""
    ended = _run_steps(job)
    return replace(ended, changes=job.take_pending())


def _run_steps(job: Job) -> Ended:
    """Gather facts, ask Claude, plan, post, and run the shadow prompt."""
    handler = job.handler
    with job.recorded("analysis"):
        facts = _gather(job)
        _require_not_superseded(job, facts)
        skip_reason = handler.skip_reason(facts)
        if skip_reason is not None and skip_reason.reply is None:
            return Ended("done", skip_reason.reason, handler=handler.name)
        thread = handler.conversation(job.event, facts, job.rule)
        if thread is None and handler.no_target_reason is not None:
            return Ended("done", handler.no_target_reason, handler=handler.name)
        if thread is not None and job.lease.number is None:  # the facts name the conversation, the event does not
            job.tools.store.queue.set_posted_on(job.lease, thread.number)
            job = job.about(thread)
            limit_reason = _find_run_limit_reason(job)
            if limit_reason is not None:
                return Ended("ignored", limit_reason, kind="too many runs")
            if thread.is_fallback_issue:
                _check_fallback_issue(job, thread)
        job = job.about(thread)
        analysis = _analysis(job, facts, skip_reason)
    actions = handler.plan(job.event, facts, analysis)
    if thread is None or thread.is_fallback_issue:  # labels belong to the conversation of the event only
        actions = tuple(action for action in actions if not isinstance(action, EnsureLabels))
    posting = None
    with job.recorded("posting"):
        if thread is None:
            outcomes = store_unposted(job, actions)
        else:
            require_not_superseded = partial(_require_not_superseded, job, facts)
            outcomes = post(job, thread, actions, require_not_superseded=require_not_superseded)
            report_settings_problems(job, thread)
            posting = posting_state(job)
    if analysis.answers:
        run_shadow(job, facts, came_to(analysis, actions), posting)
    reasons = [*([skip_reason.reason] if skip_reason else []), *(outcome.detail for outcome in outcomes)]
    reason = "; ".join(reasons) or "analysed; nothing to post"
    return Ended("done", reason, handler=handler.name, posting=posting)


def _parse(lease: Lease) -> Event:
    """Return the stored event. Raises `Permanent` if it is missing or invalid."""
    if not lease.body:
        raise Permanent("its stored body is gone or cannot be read: look after the database, then redeliver it")
    try:
        return parse_event(lease.event, lease.guid, lease.body)
    except PayloadError as exc:
        raise Permanent(str(exc)) from exc


def _analysis(job: Job, facts: Any, skip_reason: SkipReason | None) -> Analysis:
    """Return Claude's analysis, or one made from the handler's static reply without a call."""
    effective = job.rule.effective
    variables = template_variables(
        job.event,
        job.handler,
        facts,
        prompt=job.rule.prompt,
        dry_run=effective.features.dry_run,
        comments=effective.comments,
    )

    def format_for_comment(reply: Reply) -> Mapping[str, object]:
        return job.handler.comment_variables(facts, reply)

    if skip_reason is not None and skip_reason.reply is not None:
        return analyse_static_reply(job, skip_reason.reply, variables, format_for_comment)
    omitted = job.handler.describe_omissions(facts)
    if omitted is not None:
        job.note(OMITTED, 0, omitted)
    return analyse(job, variables, format_for_comment)


def _require_not_superseded(job: Job, facts: Any) -> None:
    """Raise `Superseded` if a newer event is queued or stored that makes this delivery's facts outdated."""
    later = job.tools.store.queue.find_newer(job.lease, job.rule.prompt)
    if later.head_sha is not None and job.handler.superseded_by_push:
        raise Superseded(f"a newer push came meanwhile: {later.head_sha[:10]}")
    if later.is_closed:
        raise Superseded("the thread was closed meanwhile")
    if later.is_answered and job.handler.superseded_by_newer_answer:
        raise Superseded("a newer event of this thread was answered meanwhile")
    record = job.tools.store.repositories.record(job.lease, job.bot.login)
    why = job.handler.find_superseded_reason(job.event, facts, record)
    if why is not None:
        raise Superseded(why)


def _check_fallback_issue(job: Job, thread: Conversation) -> None:
    """Check the fallback issue before Claude is called. Raises as `check_conversation` and `Reader.issue` do."""
    if ("ask", 0) in job.steps:
        return
    job.before_reads()
    try:
        reader = job.tools.github.reader(job.event.repository.full_name)
        check_conversation(job.event, reader.issue(thread.number))
    except (Superseded, Permanent) as exc:
        where = job.now.settings.sources.where(f"{job.rule.effective.key}.comments.post_to")
        raise type(exc)(f"{exc}; {where} names the issue {thread.number}") from exc


def _find_run_limit_reason(job: Job) -> str | None:
    """Return why the hourly limit of runs of one conversation is reached; None if it is not.

    The limit stops loops. It does not apply once a reply of Claude is stored, because that reply is already paid for.
    """
    settings = job.now.settings
    runs, most = job.tools.store.calls.count_conversation_runs(job.lease), settings.limits.thread_runs_per_hour
    if runs < most or ("ask", 0) in job.steps:
        return None
    where = settings.sources.where("limits.thread_runs_per_hour")
    return f"this thread was worked on {runs} times within the hour, and {where} allows {most}"


def _gather(job: Job) -> Any:
    """Return the handler's facts, from GitHub or from the checkpoint of an earlier attempt."""
    handler, event = job.handler, job.event

    effective = job.rule.effective
    budget = PromptLimits(job.now.settings.claude.input_tokens, ignored_paths=effective.paths, shown=effective.findings)

    def read() -> Any:
        job.before_reads()
        reader = job.tools.github.reader(event.repository.full_name)
        record = job.tools.store.repositories.record(job.lease, job.bot.login)
        facts = handler.gather(event, reader, record, budget)
        job.tools.store.repositories.save(job.lease, handler.history_update(event, facts))
        job.tools.health.ok("github")
        return facts

    return job.once(facts_codec(handler), 0, read)
