"""The pipeline: one claimed delivery, from its stored body to what GitHub shows.

    Event ─ route ─> Rule ─ gather ─> Facts ─ ask ─> Analysis ─ plan ─> [Action] ─ post ─> Outcome

What cost money or touched the world is remembered before Claude is asked or GitHub written to again; going through once
more goes on from there.
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
from hls_handler.handlers.handler import PromptLimits, SkipReason, Thread, check_conversation
from hls_handler.handlers.labels import add_prompt_ids
from hls_handler.queue.changes import Change
from hls_handler.queue.checkpoints import Posted
from hls_handler.routing import Ignored, LabelCorrection, find_label_correction, from_event, route
from hls_handler.settings.model import Settings
from hls_handler.work.asking import analyse, without_asking
from hls_handler.work.feedback import hear, told
from hls_handler.work.job import Job
from hls_handler.work.memory import OMITTED, RULE, facts_codec
from hls_handler.work.ports import WorkerContext
from hls_handler.work.posting import keep, post, posted_as
from hls_handler.work.repository_settings import with_own_settings
from hls_handler.work.shadow import came_to, run_shadow
from hls_handler.work.telling import tell_of_problems
from hls_handler.work.variables import template_variables

Steps = Mapping[tuple[str, int], Checkpoint]


@dataclass(frozen=True, slots=True)
class Ended:
    """How a delivery ended, when nothing failed."""

    state: Literal["done", "ignored"]
    reason: str  # a sentence
    kind: str | None = None  # of an ignored one: what it is counted under
    handler: str | None = None  # "IssueHandler"
    posting: Posted | None = None  # what became of it, where anything was to be posted
    kept: tuple[Change, ...] = ()  # what is to be kept with the end


def work_on(lease: Lease, tools: WorkerContext) -> Ended:
    """Process a delivery to its end. Raises `Postponed`, `Superseded`, `LeaseLost` or a `StepFailed`."""
    if not lease.body:
        raise Permanent("its stored body is gone or cannot be read: look after the database, then redeliver it")
    try:
        event = parse_event(lease.event, lease.guid, lease.body)
    except PayloadError as exc:
        raise Permanent(str(exc)) from exc
    job = _route(lease, event, tools)
    return job if isinstance(job, Ended) else go_through(job)


def go_through(job: Job) -> Ended:
    """All that follows once it is decided by which rule a delivery is worked on. Raises as `work_on` does."""
    ended = _go_through(job)
    return replace(ended, kept=job.take_pending())


def _go_through(job: Job) -> Ended:
    with job.recorded("analysis"):
        facts = _gather(job)
        _require_not_superseded(job, facts)
        skip_reason = job.handler.skip_reason(facts)
        placed = _at_its_thread(job, facts, skip_reason)
        if isinstance(placed, Ended):
            return placed
        job = placed
        analysis = _analysis(job, facts, skip_reason)
    actions = job.handler.plan(job.event, facts, analysis, job.rule)
    if job.thread is None or job.thread.is_fallback_issue:  # labels are for the thread that an event is about
        actions = tuple(action for action in actions if not isinstance(action, EnsureLabels))
    posting = None
    with job.recorded("posting"):
        if job.thread is None:
            outcomes = keep(job, actions)
        else:
            require_not_superseded = partial(_require_not_superseded, job, facts)
            outcomes = post(
                job, job.thread, add_prompt_ids(actions, analysis), require_not_superseded=require_not_superseded
            )
            tell_of_problems(job, job.thread)
            posting = posted_as(job)
    if analysis.answers:
        run_shadow(job, facts, came_to(analysis, actions), posting)
    reasons = [*([skip_reason.reason] if skip_reason else []), *(outcome.detail for outcome in outcomes)]
    reason = "; ".join(reasons) or "analysed; nothing to post"
    return Ended("done", reason, handler=job.handler.name, posting=posting)


def _at_its_thread(job: Job, facts: Any, skip_reason: SkipReason | None) -> Job | Ended:
    """The job at the thread where its answer is to be seen, or why nothing is to be asked or said."""
    if skip_reason is not None and skip_reason.reply is None:
        return Ended("done", skip_reason.reason, handler=job.handler.name)
    thread = job.handler.thread(job.event, facts, job.rule)
    if thread is None:
        no_target_reason = job.handler.no_target_reason
        return job if no_target_reason is None else Ended("done", no_target_reason, handler=job.handler.name)
    if job.lease.number is not None:
        return job.about(thread)
    job.tools.store.queue.set_posted_on(job.lease, thread.number)  # so that who asks about the thread is told of it
    job = job.about(thread)
    busy = _too_busy(job.lease, job.tools, job.now.settings, job.steps)
    if busy is None and thread.is_fallback_issue:
        _welcome_there(job, thread)
    return busy or job


def _analysis(job: Job, facts: Any, skip_reason: SkipReason | None) -> Analysis:
    """What Claude says, or what we say ourselves where there is nothing to ask."""
    holds = job.rule.effective
    variables = template_variables(
        job.event,
        job.handler,
        facts,
        prompt=job.rule.prompt,
        dry_run=holds.features.dry_run,
        comments=holds.comments,
    )

    def format_for_comment(reply: Reply) -> Mapping[str, object]:
        return job.handler.comment_variables(job.event, facts, reply)

    if skip_reason is not None and skip_reason.reply is not None:
        return without_asking(job, skip_reason.reply, variables, format_for_comment)
    omitted = job.handler.describe_omissions(facts)
    if omitted is not None:
        job.note(OMITTED, 0, omitted)
    return analyse(job, variables, format_for_comment)


def _route(lease: Lease, event: Event, tools: WorkerContext) -> Job | Ended:
    """Route again, with the settings and prompts of now, and with who we are known for certain."""
    now = tools.now()
    bot = tools.bot(tools.github)
    routing_input = from_event(event)
    rule = route(routing_input, settings=now.settings, table=now.table, catalogue=now.library, bot=bot)
    if isinstance(rule, Ignored):
        return Ended("ignored", rule.reason, kind=rule.kind)
    if isinstance(rule, LabelCorrection):
        noted = hear(tools.store, lease, event, bot, rule, now.library)
        why = told(noted, rule.field)
        return Ended("done", why) if noted.words else Ended("ignored", why, kind="no label of ours")
    feedback = find_label_correction(routing_input, rule.effective, now.library, settings=now.settings, bot=bot)
    if isinstance(feedback, LabelCorrection):  # beside being worked on by a prompt
        hear(tools.store, lease, event, bot, feedback, now.library)
    steps: Steps = tools.store.checkpoints.load(lease.guid) if lease.attempt > 1 else {}
    busy = _too_busy(lease, tools, now.settings, steps)
    if busy is not None:
        return busy
    job = with_own_settings(Job(lease, tools, now, event, bot, rule, handler_for(event.name), steps))
    if isinstance(job, Ignored):
        return Ended("ignored", job.reason, kind=job.kind)
    if (RULE.name, 0) not in steps:
        job.note(RULE, 0, job.rule.why(job.now.settings.sources))
    return job


def _require_not_superseded(job: Job, facts: Any) -> None:
    """Raises `Superseded` where our own record knows that what was found out is over, or something newer is queued."""
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


def _welcome_there(job: Job, thread: Thread) -> None:
    """Look at the issue that settings name before anything is paid for. Raises as `check_conversation` and reads do."""
    if ("ask", 0) in job.steps:
        return
    job.before_reads()
    try:
        reader = job.tools.github.reader(job.event.repository.full_name)
        check_conversation(job.event, reader.issue(thread.number))
    except (Superseded, Permanent) as exc:
        where = job.now.settings.sources.where(f"{job.rule.effective.key}.comments.post_to")
        raise type(exc)(f"{exc}; {where} names the issue {thread.number}") from exc


def _too_busy(lease: Lease, tools: WorkerContext, settings: Settings, steps: Steps) -> Ended | None:
    """The ceiling of a thread, which stops loops. What is paid for is posted all the same."""
    runs, most = tools.store.calls.count_conversation_runs(lease), settings.limits.thread_runs_per_hour
    if runs < most or ("ask", 0) in steps:
        return None
    where = settings.sources.where("limits.thread_runs_per_hour")
    reason = f"this thread was worked on {runs} times within the hour, and {where} allows {most}"
    return Ended("ignored", reason, kind="too many runs")


def _gather(job: Job) -> Any:
    handler, event = job.handler, job.event

    holds = job.rule.effective
    budget = PromptLimits(job.now.settings.claude.input_tokens, ignored_paths=holds.paths, shown=holds.findings)

    def read() -> Any:
        job.before_reads()
        reader = job.tools.github.reader(event.repository.full_name)
        record = job.tools.store.repositories.record(job.lease, job.bot.login)
        facts = handler.gather(event, reader, record, budget)
        job.tools.store.repositories.save(job.lease, handler.history_update(event, facts))
        job.tools.health.ok("github")
        return facts

    return job.once(facts_codec(handler), 0, read)
