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

from hls_handler.actions import KeepLabels
from hls_handler.analysis import Analysis, Reply
from hls_handler.deliveries import Lease, Remembered
from hls_handler.errors import Overtaken, PayloadError, Permanent
from hls_handler.events import Event, parse_event
from hls_handler.handlers import handler_for
from hls_handler.handlers.corrections import attributed
from hls_handler.handlers.handler import Budget, Thread, Unasked, still_welcome
from hls_handler.queue.changes import Change
from hls_handler.queue.checkpoints import Posted
from hls_handler.routing import Feedback, Ignored, as_feedback, from_event, route
from hls_handler.settings.model import Settings
from hls_handler.work.asking import analyse, without_asking
from hls_handler.work.feedback import hear, told
from hls_handler.work.job import Job
from hls_handler.work.memory import NOT_SHOWN, RULE, facts_codec
from hls_handler.work.ports import Tools
from hls_handler.work.posting import keep, post, posted_as
from hls_handler.work.repository_settings import with_own_settings
from hls_handler.work.shadow import came_to, run_shadow
from hls_handler.work.telling import tell_of_problems
from hls_handler.work.variables import template_variables

Steps = Mapping[tuple[str, int], Remembered]


@dataclass(frozen=True, slots=True)
class Ended:
    """How a delivery ended, when nothing failed."""

    state: Literal["done", "ignored"]
    reason: str  # a sentence
    kind: str | None = None  # of an ignored one: what it is counted under
    handler: str | None = None  # "IssueHandler"
    posting: Posted | None = None  # what became of it, where anything was to be posted
    kept: tuple[Change, ...] = ()  # what is to be kept with the end


def work_on(lease: Lease, tools: Tools) -> Ended:
    """Do all that is left to do for a delivery. Raises what `errors` draws: `Wait`, `Overtaken`, `StepFailed`, ..."""
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
        _not_overtaken(job, facts)
        unasked = job.handler.unasked(facts)
        placed = _at_its_thread(job, facts, unasked)
        if isinstance(placed, Ended):
            return placed
        job = placed
        analysis = _analysis(job, facts, unasked)
    actions = job.handler.plan(job.event, facts, analysis, job.rule)
    if job.thread is None or job.thread.is_appointed:  # labels are for the thread that an event is about
        actions = tuple(action for action in actions if not isinstance(action, KeepLabels))
    posting = None
    with job.recorded("posting"):
        if job.thread is None:
            outcomes = keep(job, actions)
        else:
            not_overtaken = partial(_not_overtaken, job, facts)
            outcomes = post(job, job.thread, attributed(actions, analysis), not_overtaken=not_overtaken)
            tell_of_problems(job, job.thread)
            posting = posted_as(job)
    if analysis.answers:
        run_shadow(job, facts, came_to(analysis, actions), posting)
    reasons = [*([unasked.reason] if unasked else []), *(outcome.detail for outcome in outcomes)]
    reason = "; ".join(reasons) or "analysed; nothing to post"
    return Ended("done", reason, handler=job.handler.name, posting=posting)


def _at_its_thread(job: Job, facts: Any, unasked: Unasked | None) -> Job | Ended:
    """The job at the thread where its answer is to be seen, or why nothing is to be asked or said."""
    if unasked is not None and unasked.reply is None:
        return Ended("done", unasked.reason, handler=job.handler.name)
    thread = job.handler.thread(job.event, facts, job.rule)
    if thread is None:
        nowhere = job.handler.nowhere
        return job if nowhere is None else Ended("done", nowhere, handler=job.handler.name)
    if job.lease.number is not None:
        return job.about(thread)
    job.tools.store.queue.set_posted_on(job.lease, thread.number)  # so that who asks about the thread is told of it
    job = job.about(thread)
    busy = _too_busy(job.lease, job.tools, job.now.settings, job.steps)
    if busy is None and thread.is_appointed:
        _welcome_there(job, thread)
    return busy or job


def _analysis(job: Job, facts: Any, unasked: Unasked | None) -> Analysis:
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

    def for_comment(reply: Reply) -> Mapping[str, object]:
        return job.handler.comment_variables(job.event, facts, reply)

    if unasked is not None and unasked.reply is not None:
        return without_asking(job, unasked.reply, variables, for_comment)
    not_shown = job.handler.not_shown(facts)
    if not_shown is not None:
        job.note(NOT_SHOWN, 0, not_shown)
    return analyse(job, variables, for_comment)


def _route(lease: Lease, event: Event, tools: Tools) -> Job | Ended:
    """Route again, with the settings and prompts of now, and with who we are known for certain."""
    now = tools.now()
    we = tools.we(tools.github)
    candidate = from_event(event)
    rule = route(candidate, settings=now.settings, table=now.table, catalogue=now.library, we=we)
    if isinstance(rule, Ignored):
        return Ended("ignored", rule.reason, kind=rule.kind)
    if isinstance(rule, Feedback):
        noted = hear(tools.store, lease, event, we, rule, now.library)
        why = told(noted, rule.field)
        return Ended("done", why) if noted.words else Ended("ignored", why, kind="no label of ours")
    feedback = as_feedback(candidate, rule.effective, now.library, settings=now.settings, we=we)
    if isinstance(feedback, Feedback):  # beside being worked on by a prompt
        hear(tools.store, lease, event, we, feedback, now.library)
    steps: Steps = tools.store.checkpoints.load(lease.guid) if lease.attempt > 1 else {}
    busy = _too_busy(lease, tools, now.settings, steps)
    if busy is not None:
        return busy
    job = with_own_settings(Job(lease, tools, now, event, we, rule, handler_for(event.name), steps))
    if isinstance(job, Ignored):
        return Ended("ignored", job.reason, kind=job.kind)
    if (RULE.name, 0) not in steps:
        job.note(RULE, 0, job.rule.why(job.now.settings.sources))
    return job


def _not_overtaken(job: Job, facts: Any) -> None:
    """Raises `Overtaken` where our own record knows that what was found out is over, or something newer is queued."""
    later = job.tools.store.queue.find_newer(job.lease, job.rule.prompt)
    if later.head_sha is not None and job.handler.outdated_by_a_push:
        raise Overtaken(f"a newer push came meanwhile: {later.head_sha[:10]}")
    if later.is_closed:
        raise Overtaken("the thread was closed meanwhile")
    if later.is_answered and job.handler.outdated_by_an_answer:
        raise Overtaken("a newer event of this thread was answered meanwhile")
    record = job.tools.store.repositories.record(job.lease, job.we.login)
    why = job.handler.outdated(job.event, facts, record)
    if why is not None:
        raise Overtaken(why)


def _welcome_there(job: Job, thread: Thread) -> None:
    """Look at the issue that settings name before anything is paid for. Raises as `still_welcome` and reads do."""
    if ("ask", 0) in job.steps:
        return
    job.before_reads()
    try:
        reader = job.tools.github.reader(job.event.repository.full_name)
        still_welcome(job.event, reader.issue(thread.number))
    except (Overtaken, Permanent) as exc:
        where = job.now.settings.sources.where(f"{job.rule.effective.key}.comments.post_to")
        raise type(exc)(f"{exc}; {where} names the issue {thread.number}") from exc


def _too_busy(lease: Lease, tools: Tools, settings: Settings, steps: Steps) -> Ended | None:
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
    budget = Budget(job.now.settings.claude.input_tokens, left_out=holds.paths, shown=holds.findings)

    def read() -> Any:
        job.before_reads()
        reader = job.tools.github.reader(event.repository.full_name)
        record = job.tools.store.repositories.record(job.lease, job.we.login)
        facts = handler.gather(event, reader, record, budget)
        job.tools.store.repositories.save(job.lease, handler.happened(event, facts))
        job.tools.health.ok("github")
        return facts

    return job.once(facts_codec(handler), 0, read)
