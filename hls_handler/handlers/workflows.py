"""Handler for workflow runs: reports the failed steps with their cause on the pull request or the
fallback issue.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from hashlib import sha256

from pydantic import TypeAdapter

from hls_handler.actions import Action
from hls_handler.analysis import Analysis, Place, ReplyFields, WorkflowAnalysis
from hls_handler.deliveries import End
from hls_handler.errors import Permanent
from hls_handler.events import CheckRun, Event, WorkflowRun
from hls_handler.github.reader import GithubReader
from hls_handler.github.values import CheckAnnotation, NoLog, WorkflowJob, permalink
from hls_handler.handlers.handler import (
    Handler,
    SkipReason,
    answer,
    field_types,
    find_fallback_issue,
    parse_comment_state,
    plan_comment,
)
from hls_handler.handlers.job import Conversation, FactSource, Guard, Job
from hls_handler.handlers.labels import plan_labels
from hls_handler.handlers.reader import Failure, HistoryUpdate, RepositoryHistory, RunResult
from hls_handler.handlers.workflow_facts import (
    FailedStep,
    JobSource,
    Quoted,
    WorkflowFacts,
    branch_of,
    find_quoted_line,
    gather,
    gather_run,
    is_comparable,
    is_path_in_logs,
    order_of,
)
from hls_handler.routing import Rule
from hls_handler.wording import count, inflect


@dataclass(frozen=True, slots=True)
class LinkedPlace:
    """A place of the reply, as the comment shows it."""

    path: str
    line: int | None
    why: str
    # permanent address at the run's commit; "" if only a log has the path, as it may be elsewhere
    url: str


@dataclass(frozen=True, slots=True)
class ExplainedRun:
    """A failed run that the comment explains. The comment's stored state is a list of them."""

    workflow_id: int
    event: str
    head_sha: str
    run_number: int
    # digest of the failed steps and their marked lines; "" as for `_digest_failure`
    failure: str
    cause: str  # as Claude explained it
    quote: str  # as `cause`
    name: str  # of the workflow

    def is_section_of(self, run: WorkflowRun) -> bool:
        return (self.workflow_id, self.event) == (run.workflow_id, run.event)


EXPLAINED = TypeAdapter(tuple[ExplainedRun, ...])


class WorkflowHandler(Handler):
    family = "workflows"
    replies = frozenset({"workflow_analysis"})
    facts_type = WorkflowFacts
    variable_types = field_types(
        WorkflowFacts, "run", "pull_request", "steps", "omitted", "changed"
    )
    comment_variable_types: Mapping[str, object] = {
        "commit": str,
        "passed": bool,
        "flaky": bool,
        "earlier_cause": str,
        "shown_by": Quoted | None,
        "also_in": tuple[FailedStep, ...],
        "places": tuple[LinkedPlace, ...],
    }
    has_sections = True
    superseded_by_push = True

    def run(self, job: Job) -> End:
        return explain(job, self, gather)


def explain(
    job: Job, handler: WorkflowHandler, gather: Callable[[FactSource], WorkflowFacts]
) -> End:
    """Explain why a run failed, whose facts `gather` reads."""
    facts = job.record(WorkflowFacts, gather)
    job.remember(list_results(job.event, facts))
    guard = Guard(find_reason=partial(find_superseded_reason, job.event, facts))
    job.require(guard)
    skipped = find_skip_reason(facts)
    if skipped is not None and skipped.reply is None:
        return End("done", skipped.reason)
    conversation = _find_conversation(facts, job.rule)
    if conversation is None:
        return End("done", NO_CONVERSATION)
    job.choose(conversation)
    commit_runs = _read_explained(job, facts)
    explained = tuple(
        explanation for explanation in commit_runs if not explanation.is_section_of(facts.run)
    )
    same = _find_same_failure(facts, explained)
    skipped = skipped or same
    if skipped is None:
        job.note(omitted=describe_omissions(facts))
    variables = handler.variables(facts)
    list_variables = partial(
        list_comment_variables, facts, earlier_cause=_find_earlier_cause(facts.run, commit_runs)
    )
    answered = answer(job, variables, list_variables, skipped)
    state = _dump_explained(facts, answered.analysis, explained)
    actions = plan(facts, answered.analysis, state=state, is_same=same is not None)
    return job.post(*actions, reason=answered.reason, unless=guard)


def _read_explained(job: Job, facts: WorkflowFacts) -> tuple[ExplainedRun, ...]:
    """Return the explained runs of the commit.

    Another run at this commit, for another event or of another workflow, often ends within the same
    seconds: it waits until this one is explained.
    """
    run = facts.run
    if _digest_failure(facts) is not None:
        job.lock(f"workflows of {run.head_sha}")
    stored = parse_comment_state(EXPLAINED, job.comment_state(WorkflowHandler.family))
    return tuple(explanation for explanation in stored if explanation.head_sha == run.head_sha)


def _find_earlier_cause(run: WorkflowRun, explained: Sequence[ExplainedRun]) -> str:
    """Return the explained cause of an earlier attempt of a run; "" if there is none."""
    for explanation in explained:
        if explanation.is_section_of(run) and explanation.run_number == run.run_number:
            return explanation.cause
    return ""


def list_results(event: Event, facts: WorkflowFacts) -> HistoryUpdate:
    # nothing was posted, so the next run that passes must resolve the failure
    if facts.passed and facts.stale:
        return HistoryUpdate()
    run = facts.run
    branch = branch_of(run, event)
    failures = tuple(
        Failure(run.workflow_id, run.id, run.run_attempt, job, step, branch, run.head_sha)
        for job, step in dict.fromkeys(facts.failed)
    )
    end = RunResult(
        workflow_id=run.workflow_id,
        event=run.event,
        branch=branch,
        run_id=run.id,
        run_number=run.run_number,
        attempt=run.run_attempt,
        passed=facts.passed,
        head_sha=run.head_sha,
    )
    return HistoryUpdate(failures, (end,))


def find_superseded_reason(
    event: Event, facts: WorkflowFacts, history: RepositoryHistory
) -> str | None:
    """Return a sentence if a later run or attempt is already stored: events may arrive out of
    order.
    """
    run = facts.run
    branch = branch_of(facts.run, event)
    for end in history.ends(run.workflow_id):
        if is_comparable(end, run, branch) and end.order > order_of(run):
            ended = "passed" if end.passed else "failed"
            return f"a later run or attempt of the same name {ended}"
    return None


def find_skip_reason(facts: WorkflowFacts) -> SkipReason | None:
    if facts.stale:
        return SkipReason(
            "the pull request has newer commits than the run: failures are recorded, but not posted"
        )
    if facts.passed and not facts.failed_before:
        return SkipReason("the run passed, and no earlier failure on this branch is recorded")
    if facts.passed:
        return SkipReason("the run passed, so Claude was not asked", reply=NOTHING_FAILED)
    if facts.run.conclusion == "startup_failure":
        return SkipReason(
            "GitHub could not start the workflow, so there is no log", reply=NOT_STARTED
        )
    if not any(step.log == "text" or step.annotations for step in facts.steps):
        return SkipReason("nothing readable says what failed, so Claude was not asked")
    return None


def describe_omissions(facts: WorkflowFacts) -> str:
    """Return what was not shown: "the logs of 2 more failed jobs; 340 of 900 lines of the
    failed steps' logs".
    """
    parts: list[str] = []
    if facts.omitted:
        parts.append(f"the logs of {count(facts.omitted, 'more failed job')}")
    shown_lines = sum(step.shown_lines for step in facts.steps)
    total = sum(step.lines for step in facts.steps)
    if shown_lines < total:
        lines = f"{total - shown_lines:,} of {total:,} {inflect(total, 'line')}"
        parts.append(f"{lines} of the failed steps' logs")
    unread = [step.log for step in facts.steps if step.log not in ("text", "elsewhere")]
    if unread:
        parts.append(f"{count(len(unread), 'log')} ({', '.join(dict.fromkeys(unread))})")
    return "; ".join(parts)


def list_comment_variables(
    facts: WorkflowFacts, reply: ReplyFields, *, earlier_cause: str = ""
) -> Mapping[str, object]:
    """Return variables for the comment template.

    `shown_by` is the log line that the reply quotes, or None; `also_in` are steps with its
    error.
    """
    assert isinstance(reply, WorkflowAnalysis)
    quoted = find_quoted_line(facts.steps, reply.quote)
    also_in: tuple[FailedStep, ...] = ()
    if quoted is not None:
        also_in = tuple(step for step in facts.steps if step.same_as == quoted.number)
    places = [place for place in reply.where if _is_known_path(facts, place.path)]
    return {
        "commit": facts.run.head_sha[:10],
        "passed": facts.passed,
        "flaky": facts.passed and facts.failed_itself,
        "earlier_cause": earlier_cause,
        "shown_by": quoted,
        "also_in": also_in,
        "places": tuple(_to_linked(facts, place) for place in places),
    }


def plan(
    facts: WorkflowFacts, analysis: Analysis, *, state: str | None = None, is_same: bool = False
) -> tuple[Action, ...]:
    """Plan labels and the workflow's section of the comment. `is_same`: another run has the
    failure, too.
    """
    is_worth_saying = analysis.worth_saying or facts.run.conclusion == "startup_failure"
    create = is_same or (is_worth_saying and not facts.passed)
    section = f"workflow-{facts.run.workflow_id}-{facts.run.event}".replace("_", "-")
    family = WorkflowHandler.family
    comment = plan_comment(analysis, family, create=create, section=section, state=state)
    return (*plan_labels(analysis), *comment)


NOTHING_FAILED = WorkflowAnalysis(worth_saying=False, cause="", quote="", where=[], advice="")
NOT_STARTED = WorkflowAnalysis(
    worth_saying=True,
    cause=(
        "GitHub could not start this workflow. Usually its file is invalid, or refers to something"
        " missing."
    ),
    quote="",
    where=[],
    advice="",
)


def _digest_failure(facts: WorkflowFacts) -> str | None:
    """Return None if the failure cannot be compared, because no line of a step is marked.

    Jobs are not compared: another workflow may have other names for them.
    """
    if not facts.steps or not all(step.error_digest for step in facts.steps):
        return None
    errors = sorted({(step.step, step.error_digest) for step in facts.steps})
    parts = json.dumps([sorted({step for _, step in facts.failed}), errors])
    return sha256(parts.encode()).hexdigest()[:16]


def _find_same_failure(
    facts: WorkflowFacts,
    explained: Sequence[ExplainedRun],
) -> SkipReason | None:
    """Return the reason not to ask about a failure that another run of the commit has, too."""
    digest = _digest_failure(facts)
    same = next((run for run in explained if run.failure == digest), None)
    if same is None:
        return None
    where = f"also in run {same.run_number} of the same commit"
    if same.workflow_id != facts.run.workflow_id:
        where = f"also in run {same.run_number} of {same.name or 'another workflow'}"
    failed = f"Failed {where}, at the same step with the same error."
    reply = WorkflowAnalysis(
        worth_saying=True,
        cause=f"{failed} Its explanation is in this comment.",
        quote=same.quote or next((step.error for step in facts.steps if step.error), ""),
        where=[],
        advice="",
    )
    return SkipReason(f"failed {where}, so Claude was not asked", reply=reply)


def _dump_explained(
    facts: WorkflowFacts,
    analysis: Analysis,
    explained: tuple[ExplainedRun, ...],
) -> str | None:
    """Return the state of the comment with the run, if Claude explained it."""
    run = facts.run
    if analysis.worth_saying:
        failure = _digest_failure(facts) or ""
        reply = analysis.replies[analysis.comment_index].fields
        cause = ""
        quote = ""
        if isinstance(reply, WorkflowAnalysis):
            cause = reply.cause
            quote = reply.quote
        explained_run = ExplainedRun(
            run.workflow_id,
            run.event,
            run.head_sha,
            run.run_number,
            failure,
            cause,
            quote,
            run.name,
        )
        explained = (*explained, explained_run)
    if not explained:
        return None
    return EXPLAINED.dump_json(explained).decode()


NO_CONVERSATION = (
    "the failed steps are recorded, and Claude was not asked, because there is no conversation to"
    " comment on: no open pull request has the run's commit as its head, and either the run is not"
    " on the default branch, or comments.post_to in the settings names no issue for the event"
)


def _find_conversation(facts: WorkflowFacts, rule: Rule) -> Conversation | None:
    """Return the run's pull request. Without one, return the fallback issue if the run is on the
    default branch.
    """
    if facts.pull_request is not None:
        return Conversation(facts.pull_request.number, is_pull_request=True)
    if facts.on_default_branch and not facts.stale:
        return find_fallback_issue(rule)
    return None


def _is_known_path(facts: WorkflowFacts, path: str) -> bool:
    return _is_in_repository(facts, path) or is_path_in_logs(facts.steps, path)


def _is_in_repository(facts: WorkflowFacts, path: str) -> bool:
    return bool(path) and path in (facts.run.path, *facts.changed)


def _to_linked(facts: WorkflowFacts, place: Place) -> LinkedPlace:
    run = facts.run
    url = ""
    if _is_in_repository(facts, place.path):
        url = permalink(run.html_url, run.head_sha, place.path, place.line)
    return LinkedPlace(place.path, place.line, place.why, url)


class CheckRunHandler(WorkflowHandler):
    def run(self, job: Job) -> End:
        return explain(job, self, gather_check)


def gather_check(source: FactSource) -> WorkflowFacts:
    event = source.event
    check = event.check_run
    assert check is not None  # parse_event rejects a check_run event without one
    # GitHub lists none of a fork
    stored = source.history.find_pull_request(event.repository.full_name, check.head_sha)
    number = next(iter(check.pull_request_numbers), stored)
    job = WorkflowJob(check.id, check.app, check.conclusion, check.html_url, ())

    def read_output(_: int) -> Iterator[str] | NoLog:
        lines = list(_list_lines(check, source.reader))
        if not lines:
            return NoLog("empty")
        return iter(lines)

    jobs = JobSource(
        jobs=lambda _id, _attempt: (job,),
        log=read_output,
        annotations=lambda _: (),  # `read_output` has them
    )
    return gather_run(_to_run(check, event, number), source, jobs)


def _to_run(check: CheckRun, event: Event, number: int | None) -> WorkflowRun:
    """Return an end of the check as a run of a workflow: an App may end the same check again, with
    another conclusion.

    Its ids are negative, because results of runs are stored by them.
    """
    ended_at = check.completed_at
    run_number = 0
    if ended_at is not None:
        run_number = int(ended_at.timestamp() * 1000)
    branch = check.branch
    numbers: tuple[int, ...] = ()
    if number is not None:
        # GitHub names no branch of a fork, and results of two pull requests must not be compared.
        branch = f"pull request {number}"
        numbers = (number,)
    return WorkflowRun(
        id=_make_id(f"{check.id}:{ended_at}"),
        name=check.name,
        workflow_id=_make_id(f"{check.app_id}:{check.name}"),
        path="",
        run_number=run_number,
        run_attempt=1,
        event="check_run",
        status="completed",
        conclusion=check.conclusion,
        head_sha=check.head_sha,
        head_branch=branch,
        head_owner=None,
        head_repository=event.repository.full_name,
        actor=event.sender,
        triggering_actor=event.sender,
        html_url=check.html_url,
        pull_request_numbers=numbers,
    )


def _make_id(key: str) -> int:
    return -int.from_bytes(sha256(key.encode()).digest()[:7])


def _list_lines(check: CheckRun, reader: GithubReader) -> Iterator[str]:
    for text in (check.title, check.summary, check.text):
        yield from text.splitlines()
    if not check.annotations_count:
        return
    annotations: tuple[CheckAnnotation, ...] = ()
    with suppress(Permanent):  # a fine-grained token may not read those of a private repository
        annotations = reader.annotations(check.id)
    for note in annotations:
        text = f"{note.path}:{note.line}: {note.level}: {note.title} {note.message}"
        yield from text.splitlines()
