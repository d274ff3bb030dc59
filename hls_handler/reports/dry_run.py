"""Runs the prompts of a stored delivery again with their present versions, and compares both results.

The facts are those that the delivery was analysed from. Nothing is read from GitHub, written to it, or stored.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import unified_diff
from functools import cached_property
from itertools import zip_longest
from typing import Any, Literal

from hls_handler.actions import EnsureComment, Outcome, RequestedLabel
from hls_handler.analysis import Analysis, Finding, PullRequestAnalysis, Usage, ValidReply
from hls_handler.clients.comment_body import marker, parse_sections
from hls_handler.engine.active_config import Claude, DeliveryConfig
from hls_handler.engine.calls import PROMPT_SECRET
from hls_handler.engine.shadow import prompt_result
from hls_handler.errors import BudgetExceeded, PromptError, StepFailed
from hls_handler.events import Event
from hls_handler.handlers.asking import Answers
from hls_handler.handlers.pull_request_facts import PullRequestFacts
from hls_handler.handlers.pull_request_findings import find_findings
from hls_handler.prompting.prompt import Library, Prompt
from hls_handler.reports.delivery_report import load_report
from hls_handler.reports.estimate import CostEstimate, add_estimates, estimate
from hls_handler.reports.sent_prompt import make_restore
from hls_handler.routing import Rule
from hls_handler.settings.model import Settings
from hls_handler.storage import Storage
from hls_handler.store.calls import CallRow
from hls_handler.store.statistics import DeliveryRow
from hls_handler.trials.comparison import decode_answers, is_for, make_rule, render_requests, run_again
from hls_handler.trials.replay import NotRepeatable, StoredFacts, load_stored_facts, replay
from hls_handler.wording import add_usd

FINDINGS = "findings"
"""Field of a reply that is compared finding by finding."""

PULL_REQUEST = "pull_request"
"""Event whose calls `review.max_usd` limits."""

_MARKS = re.compile(r"^<!-- hls:.*-->$\n?", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Run:
    """The result of one run of a delivery's prompts."""

    end: str  # a sentence part: "done: added bug; commented"
    replies: tuple[tuple[str, Mapping[str, Any]], ...]  # prompt id, and Claude's reply as JSON
    labels: tuple[RequestedLabel, ...]
    comment: str | None  # Markdown; None: no comment
    findings: tuple[Finding, ...] | None  # that the review raised; None: it is no review, or they are unknown
    calls: int
    tokens: int  # input (including cached) and output
    cost_usd: float | None  # None if a price is unknown


@dataclass(frozen=True, slots=True)
class DryRunPlan:
    """A dry run that was not started. Rendering it has cost nothing."""

    source: StoredFacts
    rule: Rule
    settings: Settings
    library: Library
    key: bytes
    old: Run
    prompts: tuple[str, ...]  # names of the prompts that are for the event
    estimate: CostEstimate
    max_usd: float | None  # review.max_usd; None if the event is not one of a pull request
    max_usd_source: str  # "/srv/hls/settings.yaml:14 (review.max_usd)"

    @property
    def prompt(self) -> Prompt:
        return self.library.prompts[self.rule.prompt]

    def check_cost(self, spent: Iterable[Usage], estimate: Usage) -> None:
        """Raise `BudgetExceeded` if the next call does not fit `max_usd`. An unknown price counts as 0."""
        spent_usd, next_usd = sum(usage.cost_usd or 0 for usage in spent), estimate.cost_usd or 0
        if self.max_usd is not None and round((spent_usd + next_usd) * 1_000_000) > round(self.max_usd * 1_000_000):
            raise BudgetExceeded(
                f"the next call to Claude may cost {next_usd:.6f} USD, the calls of this dry run have cost "
                f"{spent_usd:.6f} USD, and {self.max_usd_source} allows {self.max_usd:.6f} USD"
            )


def plan_dry_run(store: Storage, row: DeliveryRow, config: DeliveryConfig, prompt: str | None = None) -> DryRunPlan:
    """Prepare a run of `prompt`; by default, of the prompt that was used. Raises `NotRepeatable` or `PromptError`."""
    source = load_stored_facts(store, row, config.table)
    skipped = source.handler.skip_reason(source.facts)
    if skipped is not None:
        raise NotRepeatable(skipped.reason)
    library, key = config.library, store.database.secret(PROMPT_SECRET)
    fitting = tuple(name for name, one in library.prompts.items() if is_for(one, source.event))
    answers = decode_answers(source.steps, library)
    used = answers[0].prompt_id.partition("@")[0] if answers else None
    chosen = prompt or (used if used in fitting else next(iter(_preferred(library, source.event)), None))
    if chosen is None or chosen not in fitting:
        known = f"; there is {', '.join(fitting)}" if fitting else ""
        raise NotRepeatable(f"the library has no prompt {chosen} for {source.event.key}{known}")
    rule = make_rule(source, library.prompts[chosen])
    requests = render_requests(source, rule, library, key)
    followers = (*library.followers(chosen), *_verification(source, library))
    return DryRunPlan(
        source,
        rule,
        config.settings,
        library,
        key,
        _load_old_run(store, source, answers),
        fitting,
        add_estimates([estimate(config.settings.claude, request) for request in requests], followers),
        max_usd=rule.effective.review.max_usd if source.event.name == PULL_REQUEST else None,
        max_usd_source=config.settings.sources.where(rule.effective.find_review_key("max_usd", config.settings)),
    )


def _preferred(library: Library, event: Event) -> tuple[str, ...]:
    return library.on(event.key) or library.on(event.name)


def _verification(source: StoredFacts, library: Library) -> Iterator[str]:
    name = source.handler.verification
    if name is not None and name in library.prompts:
        yield name


def _load_old_run(store: Storage, source: StoredFacts, answers: Sequence[ValidReply]) -> Run:
    row, report = source.row, load_report(store, source.row)
    labels: tuple[RequestedLabel, ...] = ()
    if answers:
        analysis = Analysis(tuple(answers), comment=None)
        labels = prompt_result(analysis, source.handler.plan(source.event, source.facts, analysis)).labels
    calls = [call for call in report.calls if not call.of_shadow]
    return Run(
        end=f"{row.state}: {row.reason}" if row.reason else row.state,
        replies=to_json(answers),
        labels=labels,
        comment=_find_comment(report.outcomes),
        findings=_find_old_findings(store, source),
        **sum_calls(calls),
    )


def _find_old_findings(store: Storage, source: StoredFacts) -> tuple[Finding, ...] | None:
    try:
        answered = replay(source, make_restore(store))
    except (NotRepeatable, StepFailed, PromptError):
        return None
    return find_raised_findings(answered.facts, answered.answers)


def find_raised_findings(facts: object, answers: Iterable[ValidReply]) -> tuple[Finding, ...] | None:
    reviews = [answer.reply for answer in answers if isinstance(answer.reply, PullRequestAnalysis)]
    if not reviews or not isinstance(facts, PullRequestFacts) or not facts.is_review:
        return None
    result = find_findings(facts, reviews[-1])
    return (*(located.finding for _, located in result.raised), *result.unlocated)


def _find_comment(outcomes: Iterable[Outcome]) -> str | None:
    bodies = [outcome.body for outcome in outcomes if outcome.action == "comment" and outcome.body]
    return bodies[-1] if bodies else None


def to_json(answers: Iterable[ValidReply]) -> tuple[tuple[str, Mapping[str, Any]], ...]:
    return tuple((answer.prompt_id, answer.reply.model_dump(mode="json")) for answer in answers)


def sum_calls(spent: Sequence[CallRow | Usage]) -> dict[str, Any]:
    counts = ("input_tokens", "output_tokens", "cache_write_tokens", "cache_read_tokens")
    return {
        "calls": len(spent),
        "tokens": sum(getattr(call, name) or 0 for call in spent for name in counts),
        "cost_usd": add_usd(call.cost_usd for call in spent),
    }


def run_dry(plan: DryRunPlan, claude: Claude, usages: Sequence[Usage]) -> DryRun:
    """Ask Claude, and return both results. `usages` has those of the calls that `claude` has made.

    Raises `PromptError`, `StepFailed`, and what `claude` raises. If it raises `BudgetExceeded` in a review, the earlier
    replies count.
    """
    is_review = plan.source.event.name == PULL_REQUEST
    ran = run_again(plan.source, plan.rule, plan.library, claude, plan.key, keeps_review=is_review)
    comment = next((action for action in ran.actions if isinstance(action, EnsureComment)), None)
    old, text = plan.old.comment, None
    if comment is not None and (comment.create or old is not None):
        text = _without_marks(comment.body)
    new = Run(
        end="; ".join(["not posted", *_describe_gaps(ran.answered)]),
        replies=to_json(ran.answered.answers),
        labels=ran.side.result.labels,
        comment=text,
        findings=find_raised_findings(ran.answered.facts, ran.answered.answers),
        **sum_calls(usages),
    )
    return DryRun(plan.old, new, comparable_part(old, comment))


def _describe_gaps(answered: Answers) -> Iterator[str]:
    """Yield for each kind of missing reply a sentence part with its reason."""
    facts = answered.facts
    if isinstance(facts, PullRequestFacts) and facts.unanswered:
        reasons = ", ".join(dict.fromkeys(facts.unanswered.values()))
        yield f"{len(facts.unanswered)} of {len(facts.selection.calls)} parts without a reply: {reasons}"
    if answered.unverified:
        yield f"findings not verified: {answered.unverified}"
    if answered.left_out:
        yield answered.left_out


def comparable_part(old: str | None, comment: EnsureComment | None) -> str | None:
    """Return the part of the comment that the new one would replace, without invisible lines."""
    if old is None or comment is None or comment.section is None:
        return None if old is None else _without_marks(old)
    section = parse_sections(old, marker=marker(comment.family)).find(comment.section)
    return _without_marks(old if section is None else section.text)


def _without_marks(text: str) -> str:
    return _MARKS.sub("", text).strip()


@dataclass(frozen=True, slots=True)
class Field:
    """A field of a reply in both runs; None: the reply has no such field."""

    prompt: str  # name of the prompt
    name: str
    old: str | None
    new: str | None

    @property
    def is_same(self) -> bool:
        return self.old == self.new


@dataclass(frozen=True, slots=True)
class DiffLine:
    kind: Literal["added", "removed", "same", "skipped"]
    text: str


Change = Literal["added", "removed", "same"]


@dataclass(frozen=True)
class DryRun:
    """Both results, and their differences."""

    old: Run
    new: Run
    old_comment: str | None  # the part of `old.comment` that the new one would replace

    @cached_property
    def fields(self) -> tuple[Field, ...]:
        """The fields of the replies, without findings."""
        fields: list[Field] = []
        for one, other in zip_longest(self.old.replies, self.new.replies):
            prompt = (other or one)[0].partition("@")[0]
            before, after = one[1] if one else {}, other[1] if other else {}
            names = [name for name in dict.fromkeys([*before, *after]) if name != FINDINGS]
            fields += [Field(prompt, name, _show(before, name), _show(after, name)) for name in names]
        return tuple(fields)

    @cached_property
    def labels(self) -> tuple[tuple[str, Change], ...]:
        """Each requested label, and whether only the new run has it ("added"), only the old one, or both."""
        before, after = ({label.name for label in run.labels} for run in (self.old, self.new))
        return tuple((name, _compare(name, before, after)) for name in sorted(before | after))

    @cached_property
    def findings(self) -> tuple[tuple[Finding, Change], ...] | None:
        """The findings of both reviews, new ones first. Two are the same if file, category and quoted line are.

        None if one of the runs has no review.
        """
        if self.old.findings is None or self.new.findings is None:
            return None
        unmatched = Counter(map(_identity, self.old.findings))
        shown: list[tuple[Finding, Change]] = []
        for finding in self.new.findings:
            is_old = unmatched[_identity(finding)] > 0
            unmatched[_identity(finding)] -= is_old
            shown.append((finding, "same" if is_old else "added"))
        for finding in reversed(self.old.findings):
            if unmatched[_identity(finding)] > 0:
                unmatched[_identity(finding)] -= 1
                shown.append((finding, "removed"))
        order: tuple[Change, ...] = ("added", "removed", "same")
        return tuple(sorted(shown, key=lambda one: order.index(one[1])))

    @cached_property
    def comment_diff(self) -> tuple[DiffLine, ...]:
        """The comments as lines; () if they are equal."""
        before, after = ((text or "").split("\n") for text in (self.old_comment, self.new.comment))
        lines = list(unified_diff(before, after, lineterm="", n=3))[2:]  # without the names of the files
        kinds: Mapping[str, Literal["added", "removed", "same", "skipped"]]
        kinds = {"+": "added", "-": "removed", "@": "skipped"}
        return tuple(DiffLine(kinds.get(line[:1], "same"), line) for line in lines)


def _compare(name: str, before: set[str], after: set[str]) -> Change:
    return "same" if name in before and name in after else "added" if name in after else "removed"


def _identity(finding: Finding) -> tuple[str, str, str]:
    return finding.path, finding.category, " ".join(finding.quote.split())


def _show(reply: Mapping[str, Any], name: str) -> str | None:
    value = reply.get(name)
    if name not in reply or isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False, indent=1)
