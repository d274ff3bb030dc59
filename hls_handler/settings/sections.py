"""Models of an entry of `repositories`, and of the sections that it can override."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from typing import Literal

from pydantic import Field

from hls_handler.analysis import Category, Severity
from hls_handler.events import DEFAULT_EVENTS
from hls_handler.settings.values import (
    Assessed,
    Bots,
    Confidence,
    EventKey,
    FallbackEventKey,
    Hours,
    Integer,
    IssueNumber,
    LabelGlob,
    Language,
    Layout,
    Length,
    PathGlob,
    PromptUse,
    RepositoryName,
    ReviewersMode,
    Section,
    SharedSecrets,
    Summary,
    TitleMode,
    TitleTypes,
    Tone,
    Usd,
    VariableName,
    VariableValue,
    When,
)


class LabelSettings(Section):
    create: bool = True
    """create HLS's labels in repositories that lack them"""
    allow: tuple[LabelGlob, ...] = ("*",)
    """globs of labels that may be set"""
    deny: tuple[LabelGlob, ...] = ()
    """globs of labels that are never set, whatever a prompt says"""
    suggest: bool = False
    """let Claude choose from the repository's own labels"""
    min_confidence: Confidence = 0.7
    """least confidence with which such a label is set"""
    issue_type: bool = False
    """set the type of issues that have none, by kind: Bug, Feature or Task"""
    assess: tuple[Assessed, ...] = ("issues",)
    """what gets labels for priority and difficulty: issues, pull_requests"""


class Comments(Section):
    language: Language | None = None
    """language that HLS writes in; unset: that of the conversation"""
    tone: Tone = "neutral"
    """neutral: to the point; friendly: patient and inviting; formal: reserved"""
    length: Length = "normal"
    """short: what is needed to act; normal: as prompts say; detailed: with reasons and steps"""
    summary: Summary = "on_findings"
    """on_findings: comments only if something was found or is missing; always: also with only a
    summary
    """
    layout: Layout = "list"
    """list: findings one below the other; table: a table for each file"""
    files: bool = False
    """ask for a sentence on each changed file, at most 30; up to 1,500 tokens more"""
    show_cost: bool = False
    """show what calls to Claude cost in comments and checks"""
    agent_prompt: bool = False
    """add to the summary of a review its open findings as a prompt for a coding agent"""


class RepositoryComments(Comments):
    """The `comments` settings of an entry of `repositories`, and those that apply to one
    repository.
    """

    post_to: Mapping[FallbackEventKey, IssueNumber] = {}
    """issue that receives comments about an event without a conversation, by event"""


class EffectiveLabels(LabelSettings):
    """The `labels` settings of one repository. HLS sets only labels that match all of its lists of
    allowed ones.
    """

    # `labels.allow` of files: ".github/hls.yaml:3 (labels.allow)" -> globs
    repository_allow: Mapping[str, tuple[str, ...]] = {}


class FindingSettings(Section):
    min_severity: Severity = "low"
    """least severe finding that a comment shows"""
    min_confidence: Confidence = 0.0
    """least certain finding that a comment shows"""


class ReviewSettings(Section):
    categories: tuple[Category, ...] = Field(("bugs", "security", "performance"), min_length=1)
    """what findings are about: bugs, security, performance, style; Claude is asked for these"""
    when: When = "push"
    """what is reviewed unasked: each push, what is opened, nothing, or a label's"""
    max_inline: Integer = Field(5, ge=0, le=50)
    """most comments of one review on lines; other findings are only in the summary"""
    verify: bool = True
    """take a second look at new findings that would fail the check or are unsure"""
    guidance: bool = True
    """show Claude .github/hls.md and AGENTS.md of the base branch, up to 1,800 tokens each"""
    merge_state: bool = False
    """say in the comment what prevents the merge, as GitHub says; one request more"""
    context_tokens: Integer = Field(6_000, ge=0, le=20_000)
    """most tokens of lines around hunks and other places in one call; 0: none; above 6000: 6000"""
    max_usd: Usd = 2.0
    """most that calls for one event of a pull request may cost"""
    max_usd_per_pull_request: Usd = 10.0
    """most that calls for all events of one pull request may cost"""
    check: bool = True
    """show a check on pull requests: a check run, or with a token a status"""
    incomplete: Literal["neutral", "failure"] = "neutral"
    """conclusion of the check if a file was not reviewed as a whole, or a finding not proved"""
    fail_on: Severity | None = None
    """least severe open finding that makes the check fail; unset: findings never do"""


class PullRequests(Section):
    title: TitleMode = False
    """check: set the check HLS title, which needs a conventional title; suggest: one in reviews"""
    title_types: TitleTypes = (
        "feat",
        "fix",
        "docs",
        "style",
        "refactor",
        "perf",
        "test",
        "build",
        "ci",
        "chore",
        "revert",
    )
    """types of conventional titles, at most 20"""
    reviewers: ReviewersMode = False
    """suggest: name reviewers; request: also request their reviews"""


class RepositoryRetrieval(Section):
    """The keys of `retrieval` that an entry of `repositories` can override."""

    enabled: bool = True
    """answer questions from the documents of the default branch"""


class Similar(Section):
    enabled: bool = False
    """name an older open issue that may be about the same as a new one; up to 1,500 tokens more"""


class RepositoryFeatures(Section):
    """The features that an entry of `repositories` can override: the others concern the whole
    process.
    """

    auto_labeling: bool = True
    """set labels"""
    auto_commenting: bool = True
    """write comments"""
    dry_run: bool = False
    """do everything except write to GitHub; what would be written is stored"""
    drafts: bool = False
    """process draft pull requests"""
    bots: Bots = False
    """process what other bots open: all, none, or those of a list of globs"""
    cherry_pick: bool = False
    """answer the command /cherry-pick BRANCH; it needs the mirror"""
    test_oracle: bool = False
    """answer the command /test-oracle"""
    repository_settings: bool = True
    """apply .github/hls.yaml of the repository and hls.yaml of ORG/.github"""

    def includes_bot(self, login: str) -> bool:
        """Return whether `bots` includes a bot; a glob matches its login with and without "[bot]",
        in any case.
        """
        if isinstance(self.bots, bool):
            return self.bots
        names = (login.lower(), login.lower().removesuffix("[bot]"))
        return any(_login_pattern(glob).fullmatch(name) for glob in self.bots for name in names)


@cache
def _login_pattern(glob: str) -> re.Pattern[str]:
    """Compile a glob in which the brackets of "[bot]" have no meaning."""
    return re.compile(re.escape(glob.lower()).replace(r"\*", ".*").replace(r"\?", "."))


class RepositoryPrompts(Section):
    use: Mapping[EventKey, PromptUse] = {}
    """overrides prompts.use, event by event"""


class RepositoryPaths(Section):
    ignore: tuple[PathGlob, ...] = ()
    """globs of files in pull requests that Claude is not shown"""


class RepositoryEntry(Section):
    """An entry of `repositories`. The keys that are set in one of its sections, such as `labels`,
    override those of the section with the same name.
    """

    name: RepositoryName
    """owner/repo, or a glob such as owner/*; the most specific entry wins"""
    enabled: bool = True
    """false: events of the repository are ignored, with that reason"""
    events: tuple[EventKey, ...] = Field(DEFAULT_EVENTS, min_length=1)
    """events to process, with or without action: issues, issues.opened"""
    expect_webhook_within_h: Hours | None = None
    """the same for webhooks of the repositories that this entry matches"""
    webhook_secret: SharedSecrets | None = None
    """secret of this repository's webhook; overrides github.webhook_secret"""
    labels: LabelSettings = LabelSettings()
    """overrides of labels"""
    comments: RepositoryComments = RepositoryComments()
    """overrides of comments"""
    features: RepositoryFeatures = RepositoryFeatures()
    """overrides of features"""
    prompts: RepositoryPrompts = RepositoryPrompts()
    """overrides of prompts.use"""
    paths: RepositoryPaths = RepositoryPaths()
    """files that are left out"""
    variables: Mapping[VariableName, VariableValue] = {}
    """values of this repository; override prompts.variables, name by name"""
    findings: FindingSettings = FindingSettings()
    """overrides of findings"""
    review: ReviewSettings = ReviewSettings()
    """overrides of review"""
    pull_requests: PullRequests = PullRequests()
    """overrides of pull_requests"""
    retrieval: RepositoryRetrieval = RepositoryRetrieval()
    """overrides of retrieval"""
    similar: Similar = Similar()
    """overrides of similar"""
