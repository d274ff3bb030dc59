"""Prompts of a review in several calls, its verification, its budget, and what a retry asks
again.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from hls_handler.analysis import (
    FindingVerdict,
    FindingVerdicts,
    NeededFact,
    PullRequestAnalysis,
    Reply,
    ReplyFields,
    UnusableReply,
    Usage,
)
from hls_handler.claude.provider import request_schema
from hls_handler.deliveries import FIRST_PART, VERIFICATION
from hls_handler.engine.handler_job import HandlerJob
from hls_handler.engine.job import DeliveryJob
from hls_handler.errors import BudgetExceeded, DependencyDown, Permanent, StepFailed, Superseded
from hls_handler.handlers import pull_requests
from hls_handler.handlers.job import FactSource, PromptLimits
from hls_handler.handlers.pull_requests import AskedReview, PullRequestHandler, ask_review
from hls_handler.handlers.reader import EMPTY_HISTORY
from hls_handler.prompting.prompt import Library
from hls_handler.reports.delivery_report import format_report
from hls_handler.review.facts import PullRequestFacts
from hls_handler.review.variables import list_comment_variables
from hls_handler.routing import Rule
from hls_handler.settings import shipped
from hls_handler.settings.sections import ReviewSettings
from tests.engine.claude import CLAUDE_DOWN, INVALID
from tests.engine.libraries import load_cached
from tests.engine.world import GUID, MakeWorld, World, library, settings
from tests.handlers.world import (
    RecordedJob,
    event,
    file,
    finding,
    open_github,
    pull_request,
    pull_request_analysis,
    review_rule,
)
from tests.prompting.samples import write

HANDLER = PullRequestHandler()
ANALYZE, VERIFY = "pull_requests/analyze", "pull_requests/verify"
LONG = "@@ -0,0 +1 @@\n" + "\n".join(["+" + "x" * 25] * 60)
TOKEN = "16C7e42F292c6912E7710c838347Ae178B4a"
SHA = pull_request().head_sha
REFUSED = Permanent("Claude gave no usable reply")


def facts_of(*paths: str) -> PullRequestFacts:
    """Facts of files that need one call each."""
    files = tuple(file(path, LONG, additions=60, deletions=0) for path in paths)
    reader = open_github(pull_request(changed_files=len(files)), files).reader("octo/hello")
    limits = PromptLimits(800, is_review=True, review=ReviewSettings(fail_on="high"))
    return pull_requests.gather(FactSource(event(pull_request()), reader, EMPTY_HISTORY, limits))


class Calls:
    """Replies by index; records the prompts and indexes that were asked."""

    def __init__(self, replies: Mapping[int, ReplyFields | Exception]) -> None:
        self._replies, self.asked = replies, list[tuple[str, int]]()
        self.variables: dict[int, Mapping[str, object]] = {}

    def __call__(self, name: str, variables: Mapping[str, object], index: int) -> Reply:
        self.asked.append((name, index))
        self.variables[index] = variables
        reply = self._replies[index]
        if isinstance(reply, Exception):
            raise reply
        return Reply(
            f"{name}@1",
            "t",
            reply,
            Usage("claude-haiku-5-5", input_tokens=10, cost_usd=0.5, took_s=1.0),
        )


@dataclass
class CallsJob(RecordedJob):
    rule: Rule = field(default_factory=review_rule)
    calls: Calls | None = None
    unverified: str | None = None

    def ask_one(self, prompt: str, variables: Mapping[str, object], index: int) -> Reply:
        assert self.calls is not None
        return self.calls(prompt, variables, index)

    def note(
        self,
        *,
        omitted: str = "",
        sent: str = "",
        unanswered: str = "",
        unverified: str | None = None,
    ) -> None:
        self.unverified = unverified


def run(facts: PullRequestFacts, calls: Calls) -> AskedReview:
    return ask_review(CallsJob(event(pull_request()), facts, calls=calls), facts)


LIBRARY: Library = library()


def found(path: str) -> PullRequestAnalysis:
    return pull_request_analysis(
        summary=path, findings=[finding(path=path, line=1, quote="x" * 25, confidence=0.6)]
    )


def verdicts(*refuted: int) -> FindingVerdicts:
    fact = NeededFact(fact="it is so", state="not shown", quote="", is_decisive=True)
    given = [
        FindingVerdict(number=number, facts=[fact, fact], unseen="", agrees=False)
        for number in refuted
    ]
    return FindingVerdicts(verdicts=given)


def shown(answered: AskedReview) -> list[str]:
    """Return the paths of the findings in the comment."""
    reply = answered.replies.all[0].fields
    findings = list_comment_variables(answered.facts, reply)["findings"]
    assert isinstance(findings, tuple)
    return [one.path for one in findings]


def test_every_part_is_asked_and_the_replies_are_joined() -> None:
    calls = Calls({0: found("a.py"), 51: found("b.py"), 52: found("c.py"), 90: verdicts()})
    answered = run(facts_of("a.py", "b.py", "c.py"), calls)
    assert calls.asked == [(ANALYZE, 0), (ANALYZE, 51), (ANALYZE, 52), (VERIFY, 90)]
    assert [calls.variables[index]["part"] for index in (0, 51, 52)] == [1, 2, 3]
    (answer,) = answered.replies.all
    assert (answer.usage.input_tokens, answer.usage.cost_usd, answer.usage.took_s) == (30, 1.5, 3.0)
    assert shown(answered) == ["a.py", "b.py", "c.py"]
    assert answered.facts.coverage.is_complete
    assert answered.replies.names == (ANALYZE,)


def test_findings_that_were_left_out_make_the_part_incomplete_and_keep_the_others(
    make_world: MakeWorld,
) -> None:
    reply = pull_request_analysis(findings=[finding(path="a.py", line=1, quote="b")])
    lost = {"findings": "1 of 2 entries of findings in Claude's reply could be used"}
    world = make_world(
        Reply("", "pull_request_analysis", reply, Usage("claude-haiku-5-5"), lost=lost)
    )
    world.review(file("a.py", "@@ -1 +1 @@\n-a\n+b"))
    assert world.github.checks_of(SHA) == ["neutral"]
    assert len(world.github.conversation(2).review_comments()) == 1
    summary = world.github.check_output(SHA)["summary"]
    assert "- `a.py`: 1 of 2 entries of findings in Claude's reply could be used" in summary
    assert "1 of 2 entries of findings in Claude's reply could be used." in "\n".join(
        format_report(world.report())
    )


@pytest.mark.parametrize(
    ("last", "unverified", "shown_as"),
    [
        (verdicts(), "", ""),
        (REFUSED, str(REFUSED), "Claude gave no usable reply"),
        (
            BudgetExceeded("0.1 USD are left"),
            "0.1 USD are left",
            "the budget for reviews is used up",
        ),
    ],
    ids=["verified", "refused", "budget"],
)
def test_findings_are_kept_with_the_reason_why_they_were_not_verified(
    last: ReplyFields | Exception, unverified: str, shown_as: str
) -> None:
    facts = facts_of("a.py")
    job = CallsJob(event(pull_request()), facts, calls=Calls({0: found("a.py"), 90: last}))
    answered = ask_review(job, facts)
    assert shown(answered) == ["a.py"]
    assert (job.unverified, answered.facts.unverified) == (unverified, shown_as)


def test_outage_during_the_verification_is_raised() -> None:
    with pytest.raises(DependencyDown):
        run(facts_of("a.py"), Calls({0: found("a.py"), 90: CLAUDE_DOWN}))


# Retries


REFUSED_REPLY = UnusableReply("", "refused", "Claude refused", "", Usage("claude-haiku-5-5"))


def ask(job: DeliveryJob, facts: PullRequestFacts) -> AskedReview:
    work = HandlerJob(job)
    try:
        return ask_review(work, facts)
    except StepFailed as exc:
        work.end_failed_analysis(exc)
        raise


def asked_in(world: World, facts: PullRequestFacts) -> AskedReview | None:
    """Ask Claude in one attempt at the delivery, as the pipeline does; None if the attempt ends
    with an error.
    """
    job = world.job()
    try:
        with job.record_failure("analysis"):
            return ask(job, facts)
    except StepFailed as exc:
        at = world.store.now()
        world.store.queue.reschedule(
            job.lease, at=at, reason=str(exc), failed=True, counts=True, github_requests=0
        )
        return None


def test_retry_repeats_no_call_that_was_paid_for(make_world: MakeWorld) -> None:
    world = make_world(REFUSED_REPLY, found("b.py"), CLAUDE_DOWN, found("c.py"), verdicts(1))
    world.accept("pull_request.opened")
    facts = facts_of("a.py", "b.py", "c.py")
    assert asked_in(world, facts) is None
    assert len(world.claude.asked) == 3
    answered = asked_in(world, facts)
    assert answered is not None
    assert len(world.claude.asked) == 5
    assert shown(answered) == ["c.py"]
    assert [one.reviewed for one in answered.facts.coverage.files] == [0, 60, 60]


@pytest.mark.parametrize("paths", [("a.py",), ("a.py", "b.py")], ids=["verification", "next part"])
def test_nothing_more_is_asked_after_a_newer_push(
    make_world: MakeWorld, paths: tuple[str, ...]
) -> None:
    world = make_world(found("a.py"))
    world.accept("pull_request.opened", head_sha="0ld")
    world.claude.on_call = lambda _: world.accept(
        "pull_request.opened", guid="n", head_sha="c0ffee"
    )
    with pytest.raises(Superseded, match="a newer push came meanwhile: c0ffee"):
        ask(world.job(), facts_of(*paths))
    assert len(world.claude.asked) == 1


def test_retry_after_all_calls_were_refused_begins_anew(make_world: MakeWorld) -> None:
    world = make_world(REFUSED_REPLY, REFUSED_REPLY, found("a.py"), found("b.py"), verdicts())
    world.accept("pull_request.opened")
    facts = facts_of("a.py", "b.py")
    assert asked_in(world, facts) is None
    answered = asked_in(world, facts)
    assert answered is not None
    assert shown(answered) == ["a.py", "b.py"]
    assert len(world.claude.asked) == 5


def test_refused_verification_is_not_repeated(make_world: MakeWorld) -> None:
    world = make_world(found("a.py"), REFUSED_REPLY)
    world.accept("pull_request.opened")
    facts = facts_of("a.py")
    job = world.job()
    assert shown(ask(job, facts)) == ["a.py"]
    world.store.checkpoints.save(job.lease, *job.pending.take())
    world.store.queue.reschedule(
        job.lease, at=world.store.now(), reason="", failed=False, counts=False, github_requests=0
    )
    again = asked_in(world, facts)
    assert again is not None
    assert shown(again) == ["a.py"]
    assert len(world.claude.asked) == 2
    problem = "Claude's reply to pull_requests/verify@"
    (line,) = [line for line in format_report(world.report()) if "not verified" in line]
    assert line.startswith(f"  The findings were not verified: {problem}")


def test_names_are_looked_up_once_and_shown_to_the_second_look(make_world: MakeWorld) -> None:
    facts = facts_of("a.py")
    raised = finding(path="a.py", line=1, quote="x" * 25, look_up=["close", "Session.absent"])
    refuting = NeededFact(fact="f", state="refuted", quote="def close(session):", is_decisive=True)
    refuted = FindingVerdict(number=1, facts=[refuting], unseen="", agrees=False)
    reply = pull_request_analysis(findings=[raised])
    world = make_world(reply, CLAUDE_DOWN, FindingVerdicts(verdicts=[refuted]))
    other = {"session.py": f"def close(session):\n    session.token = 'ghp_{TOKEN}'\n"}
    world.github.mirrors.commit(world.github.repository, other, SHA)
    world.accept("pull_request.opened")
    assert asked_in(world, facts) is None
    world.github.mirrors.is_enabled = False
    answered = asked_in(world, facts)
    assert answered is not None
    assert shown(answered) == []
    *_, task = [rendered.task for rendered in world.claude.asked]
    assert "R    1   def close(session):" in task
    assert "Session.absent" in task
    assert task.count("not found in the repository") == 1
    assert TOKEN not in task


def test_each_question_of_a_review_is_stored_as_sent(make_world: MakeWorld) -> None:
    world = make_world(found("a.py"), REFUSED_REPLY, found("c.py"), verdicts(1))
    world.accept("pull_request.opened")
    job = world.job()
    ask(job, facts_of("a.py", "b.py", "c.py"))
    calls = world.store.calls.calls_of(GUID)
    assert [call.index for call in calls] == [0, FIRST_PART + 1, FIRST_PART + 2, VERIFICATION]
    for call, sent in zip(calls, world.claude.asked, strict=True):
        assert call.request_digest is not None
        stored = world.store.questions.find(GUID, call.request_digest)
        assert stored is not None
        assert (stored.system, stored.message) == (sent.system, sent.task)
        assert json.loads(stored.schema) == request_schema(sent.schema)


# The next call does not fit the budget


def make_review_world(make_world: MakeWorld, *replies: object, **review: float) -> World:
    """A world with an opened pull request; the fake's estimate of each call is 0.05 USD."""
    given = settings(review=review)
    world = make_world(*(replies or (pull_request_analysis(),)), given=given)
    world.open_pull_request(file("a.py", "@@ -1 +1 @@\n-a\n+b"))
    return world


def test_delivery_whose_first_call_does_not_fit_asks_nothing_and_is_no_success(
    make_world: MakeWorld,
) -> None:
    world = make_review_world(make_world, max_usd=0.04)
    finished = world.finish()
    assert finished.state == "done"
    assert finished.reason.startswith(
        "the budget of the review allows no further call: 0.0000 USD spent, 0.0000 USD reserved by"
        " calls in progress, this call needs up to 0.0500 USD, limit 0.0400 USD (settings"
        " (review.max_usd)); raise that limit, then push or comment /review; "
    )
    assert finished.reason.endswith("neutral: 0 of 1 file reviewed")
    assert world.claude.asked == []
    assert world.component("claude").state == "unknown"


@pytest.mark.parametrize(
    ("after", "limit", "why", "shown"),
    [
        ([REFUSED_REPLY], 1.0, "Claude refused", "Claude gave no usable reply"),
        (
            [INVALID, INVALID],
            1.0,
            "Claude's reply to pull_requests/extra@",
            "Claude gave no usable reply",
        ),
        ([], 0.0501, "this call needs up to 0.0500 USD", "the budget for reviews is used up"),
    ],
    ids=["refused", "unusable", "budget"],
)
def test_review_is_posted_if_its_follow_up_prompt_has_no_reply(
    make_world: MakeWorld,
    shared_folder: Path,
    after: list[UnusableReply],
    limit: float,
    why: str,
    shown: str,
) -> None:
    def with_follow_up(folder: Path) -> Library:
        """The shipped prompts, with a follow-up prompt of the review."""
        text = (shipped.PROMPTS / "pull_requests/analyze.j2").read_text(encoding="utf-8")
        then = 'then: {prompt: pull_requests/extra, when: "analysis.worth_saying"}'
        extra = "{% extends 'base.j2' %}{% block task %}Say more.{% endblock %}"
        front = "description: more\nreply: generic_analysis"
        files = {
            "analyze.j2": text.replace("\n---\n", f"\n{then}\n---\n", 1),
            "extra.j2": f"---\n{front}\n---\n{extra}",
        }
        write(folder, {f"pull_requests/{name}": content for name, content in files.items()})
        return load_cached(settings(prompts={"directory": [folder, shipped.PROMPTS]}))

    reply = pull_request_analysis(findings=[finding(path="a.py", line=1, quote="b")])
    world = make_review_world(make_world, reply, *after, max_usd=limit, verify=False)
    world.prompts = with_follow_up(shared_folder / "follow-up")
    finished = world.finish()
    assert finished.state == "done"
    assert "the follow-up prompt pull_requests/extra was left out: " in finished.reason
    assert why in finished.reason
    assert world.row().analysis_status == "done"
    assert world.github.checks_of(SHA) == ["success"]
    assert len(world.github.conversation(2).review_comments()) == 1
    summary = world.github.check_output(SHA)["summary"]
    assert f"\nA follow-up prompt was left out: pull_requests/extra: {shown}." in summary
