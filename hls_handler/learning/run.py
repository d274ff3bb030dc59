"""Asks Claude for rules, and then what they would have hidden. Nothing is stored or written."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from hls_handler.analysis import MAX_DRAFTED_RULES, DraftedRules, HiddenFindings, Severity
from hls_handler.engine.asking import PROMPT_SECRET
from hls_handler.engine.library import RuleMaterial, rule_variables
from hls_handler.engine.repository_settings import find_stored_settings
from hls_handler.errors import BudgetExceeded
from hls_handler.events import Repository
from hls_handler.handlers.handler import newest_within_budget
from hls_handler.handlers.pull_request_facts import find_least_failing
from hls_handler.learning.cases import CannotLearn, History, read_history
from hls_handler.prompting.prompt import Library
from hls_handler.prompting.render import render
from hls_handler.question import RenderedPrompt, estimate_tokens
from hls_handler.reports.estimate import Estimate, estimate
from hls_handler.review.rules import (
    Case,
    ComparedRules,
    DraftRule,
    ListedFinding,
    RaisedFinding,
    judge,
    keep_drafts,
    keep_uncompared,
)
from hls_handler.settings.effective import EffectiveSettings, RepositoryTable
from hls_handler.settings.model import Settings
from hls_handler.storage import Storage
from hls_handler.store.calls import ReviewBudget
from hls_handler.trials.sender import Sender
from hls_handler.wording import count, format_usd

DRAFT_PROMPT = "learning/draft"
CHECK_PROMPT = "learning/check"

MOST_CASES = 40
MOST_FINDINGS = 100
"""Newest stored findings that rules are compared with."""

BODY_CHARACTERS = 400
TOKENS_PER_ITEM = 40  # of a case or a finding: its number, its kind and the delimiters
LONG_RULE = DraftRule(1, ("some/folder/**",) * 3, "Some words of a rule. " * 20, (1,))
"""Stands for each drafted rule in the estimate of the second question."""


@dataclass(frozen=True, slots=True)
class RulePrompts:
    """The prompts about rules, for one repository."""

    library: Library
    key: bytes  # secret of the delimiters of untrusted text
    repository: Repository
    effective: EffectiveSettings

    def render_draft(self, cases: tuple[Case, ...]) -> RenderedPrompt:
        return self._render(DRAFT_PROMPT, RuleMaterial(cases=cases))

    def render_check(
        self, rules: tuple[DraftRule, ...], findings: Sequence[RaisedFinding]
    ) -> RenderedPrompt:
        listed = tuple(_to_listed(one, number) for number, one in enumerate(findings, start=1))
        return self._render(CHECK_PROMPT, RuleMaterial(rules=rules, stored_findings=listed))

    def _render(self, name: str, shown: RuleMaterial) -> RenderedPrompt:
        variables = rule_variables(name, self.repository, self.effective, shown)
        return render(self.library, name, variables, key=self.key)


@dataclass(frozen=True, slots=True)
class Plan:
    """The cases that Claude would be shown, and what asking costs."""

    history: History  # with the cases and findings that fit into the questions
    fail_on: Severity | None  # least severity that fails the check of the repository
    prompts: RulePrompts
    draft: RenderedPrompt  # the first question
    cost: Estimate  # of both questions


def plan_rules(
    store: Storage, settings: Settings, library: Library, repository: str, *, most: int
) -> Plan:
    """Read the cases and render the questions. Raises `CannotLearn` or `PromptError`."""
    for name in (DRAFT_PROMPT, CHECK_PROMPT):
        if name not in library.prompts:
            raise CannotLearn(
                f"no folder of prompts has {name}: copy the shipped {name}.j2 into one"
            )
    history = _limit(read_history(store, repository, most=most), settings.claude.input_tokens)
    if not history.cases:
        raise CannotLearn(_describe_missing(history, settings))
    effective = _find_settings(store, settings, history.repository)
    about = Repository(history.repository_id, history.repository, False, None, None, None)
    key = store.database.secret(PROMPT_SECRET)
    prompts = RulePrompts(library, key, about, effective)
    draft = prompts.render_draft(history.cases)
    questions = [draft]
    if history.findings:
        questions.append(prompts.render_check((LONG_RULE,) * MAX_DRAFTED_RULES, history.findings))
    fail_on = find_least_failing(effective.review)
    return Plan(history, fail_on, prompts, draft, estimate(settings.claude, *questions))


def ask_for_rules(plan: Plan, sender: Sender, *, max_usd: float, where: str) -> ComparedRules:
    """Return the rules that people may approve. `where` names the limit `max_usd`.

    Raises `BudgetExceeded`, `UnusableAnswer`, `PromptError`, and what Claude raises. Nothing is
    asked if the limit allows only the first question: its drafts would not be shown.
    """
    needed = plan.cost.max_usd or 0  # an unknown price counts as 0
    if needed > max_usd:
        raise BudgetExceeded(
            f"the questions may cost {format_usd(needed)}, and {where} allows"
            f" {format_usd(max_usd)}, so Claude was not asked"
        )
    sender.begin(ReviewBudget(max_usd, where, max_usd, where))
    drafted = sender.send(plan.draft).fields
    assert isinstance(drafted, DraftedRules)  # the family admits no other reply
    drafts = keep_drafts(drafted, plan.history.cases)
    findings = plan.history.findings
    if not drafts.rules or not findings:
        return keep_uncompared(drafts)
    hidden = sender.send(plan.prompts.render_check(drafts.rules, findings)).fields
    assert isinstance(hidden, HiddenFindings)
    return judge(drafts, hidden, findings, plan.fail_on)


def _limit(history: History, tokens: int) -> History:
    """Return the history with the newest cases and findings that fit into one question each."""
    cases = newest_within_budget(history.cases[::-1], tokens, _count_case)[::-1]
    newest = history.findings[:MOST_FINDINGS]
    findings = newest_within_budget(newest[::-1], tokens, _count_finding)[::-1]
    return replace(history, cases=cases, findings=findings)


def _count_case(case: Case) -> int:
    return TOKENS_PER_ITEM + sum(map(estimate_tokens, (case.path, case.about, case.text)))


def _count_finding(finding: RaisedFinding) -> int:
    entry = finding.entry
    texts = (entry.path, entry.title, entry.body[:BODY_CHARACTERS])
    return TOKENS_PER_ITEM + sum(map(estimate_tokens, texts))


def _to_listed(finding: RaisedFinding, number: int) -> ListedFinding:
    entry = finding.entry
    body = entry.body[:BODY_CHARACTERS]
    return ListedFinding(number, entry.path, entry.category, entry.title, body)


def _find_settings(store: Storage, settings: Settings, repository: str) -> EffectiveSettings:
    """Return the settings of a repository, with those of its file as it was read last."""
    table = RepositoryTable(settings)
    effective = find_stored_settings(store.repository_files, table, repository)
    if effective is None:
        where = settings.sources.where("repositories")
        raise CannotLearn(f"no entry of {where} matches {repository}; add `- name: {repository}`")
    return effective


def describe_issue_labels(number: int) -> str:
    """Return why corrected labels of issues are no cases; "" if there are none."""
    if not number:
        return ""
    labels = count(number, "corrected label")
    return f"{labels} of issues left out: only reviews of pull requests read .github/hls.md"


def _describe_missing(history: History, settings: Settings) -> str:
    days = count(settings.storage.body_days, "day")
    others = describe_issue_labels(history.issue_labels)
    missing = (
        f"no case of {history.repository} is stored: no finding that a person with write permission"
        f" dismissed with a reason within {days} (storage.body_days), no corrected label of a pull"
        " request, and no review comment of a person of the repository; dismiss findings with a"
        " reason (docs/comments.md), and run it again"
    )
    if not others:
        return missing
    return f"{missing}; {others}"
