"""Questions to Claude and its replies: the types that a prompt's `reply:` can name, the labels of
their fields, a prompt and its text for one event, what a call returned and cost.

Reply types have no defaults, no free-form objects, no tuples of fixed length and no `Any`: the
API's JSON Schema dialect drops or rejects them (docs/facts.md). The API does not enforce bounds:
`claude.reply_parsing` makes values fit. Copied lines (`quote`) have none, because they are
compared as a whole. Docstrings and descriptions of reply types are part of the JSON schema that
Claude receives.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, get_args, get_origin

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, field_validator

from hls_handler.wording import add_usd

LabelRule = str | Mapping[str, str]
"""Label for a field's value: a pattern with {value}, a table of the values that have a label, or
the label for true.
"""

MAX_LABEL_CHARACTERS = 50
"""GitHub's limit for the name of a label, in characters."""

VALUE = "{value}"

VALUES_WITHOUT_LABEL = frozenset({"none", "", "false"})
"""Field values for which a label rule of the form "type: {value}" gives no label."""


def enum_values(hint: object) -> tuple[str, ...]:
    """Return the values of a `Literal`, or of a list of a `Literal`; () for all other types."""
    if get_origin(hint) is list:
        return enum_values(get_args(hint)[0])
    return get_args(hint) if get_origin(hint) is Literal else ()


def possible_values(hint: object) -> tuple[str, ...]:
    """Return all values that a field of type `hint` can have, as strings; () if it is not a boolean
    or an enum.
    """
    return ("true", "false") if hint is bool else enum_values(hint)


def to_rule_values(value: object) -> tuple[str, ...]:
    """Convert a field's value in a reply to the strings that label rules use: True -> ("true",)."""
    if isinstance(value, list):
        return tuple(value)
    if isinstance(value, bool):
        return (str(value).lower(),)
    return (str(value),)


def find_label(rule: LabelRule, value: str) -> str | None:
    """Return the label of a value: "type: bug" for ("type: {value}", "bug"). None if the rule gives
    no label.
    """
    if not isinstance(rule, str):
        return rule.get(value)
    if value in VALUES_WITHOUT_LABEL:
        return None
    return rule.replace(VALUE, value)


def group_of(field: str, hint: object, label: str) -> str:
    """Return the name of a label's group. A conversation has at most one label of a group.

    All labels of a field form one group: "kind". If the field is a list, each label is its own
    group: "areas docs".
    """
    return f"{field} {label}" if get_origin(hint) is list else field


def list_possible_labels(rule: LabelRule, hint: object) -> tuple[str, ...]:
    labels = (find_label(rule, value) for value in possible_values(hint))
    return tuple(dict.fromkeys(label for label in labels if label is not None))


Severity = Literal["critical", "high", "medium", "low"]
Category = Literal["bugs", "security", "performance", "style"]
Priority = Literal["high", "medium", "low"]
Difficulty = Literal["easy", "moderate", "complex"]

ASSESSMENT = ("priority", "difficulty")
"""Fields of the reply about an issue; of that about a pull request if settings ask for them."""

MAX_SUMMARY_CHARACTERS = 4_000

ScoreValue = Literal[1, 2, 3, 4, 5]

SCORES = "scores"
"""Name of the reply field with scores, in all prompts that ask for some."""

OPTIONAL = "optional"
"""Marks a text that may be empty: `claude.reply_parsing` reads a reply without it as one with an
empty text.
"""
STATED = "stated"
"""Marks a list that a reply must have, even if it is empty, because its absence may be an error."""

OptionalText = Annotated[str, OPTIONAL]
Probability = Annotated[float, Field(ge=0, le=1)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)


class ReplyFields(_Part):
    """Base class of all reply types.

    The front matter of a prompt can add fields, and can replace the values of an enum field
    (`prompting.reply_fields`). Code that compares an enum field must therefore accept any text as
    its value.
    """

    label_rules: ClassVar[Mapping[str, LabelRule]] = {}  # by field


class CommentingReply(ReplyFields):
    """Base class of the replies that say whether a comment would help. A review with findings
    always does.
    """

    worth_saying: bool = Field(
        description=(
            "Whether a comment would help the people on this thread. False is a good answer: labels"
            " only."
        )
    )


class SuggestedLabel(_Part):
    """One of the repository's own labels that fits."""

    name: str = Field(max_length=200, description="The label's name, copied exactly from the list.")
    confidence: float = Field(
        ge=0, le=1, description="How sure you are that a maintainer would set it, from 0 to 1."
    )


SuggestedLabels = Annotated[
    list[SuggestedLabel],
    Field(
        max_length=20,
        description="Labels from the repository's list that fit.",
    ),
]


class FieldConfidence(_Part):
    """The confidence in each field, from 0 to 1."""

    kind: Probability
    priority: Probability
    difficulty: Probability
    component: Probability


class Source(_Part):
    """A shown section of the documentation that an answer rests on."""

    number: int = Field(description="The number of the section.")
    quote: str = Field(description="The whole sentence that proves the answer, copied exactly.")


class AnsweringReply(CommentingReply):
    """Base class of the replies that answer a question."""

    answer_field: ClassVar[str] = "answer"

    sources: list[Source] = Field(
        max_length=3, description="Empty if the answer rests on no section."
    )


class SameIssue(_Part):
    """An older issue that may be about the same matter."""

    number: int
    quote: str = Field(description="What this issue says of the matter, copied exactly.")
    quote_there: str = Field(description="What the older issue says of it, copied exactly.")


class IssueAnalysis(AnsweringReply):
    """The analysis of an issue, for its maintainers."""

    answer_field: ClassVar[str] = "recommended_response"
    label_rules: ClassVar[Mapping[str, LabelRule]] = {
        "kind": "{value}",
        "priority": "priority-{value}",
        "difficulty": "difficulty-{value}",
        "component": "component-{value}",
    }

    kind: Literal["bug", "enhancement", "question", "documentation", "maintenance"]
    priority: Priority
    difficulty: Difficulty
    component: Literal["frontend", "backend", "database", "none"]
    field_confidence: FieldConfidence | None
    summary: str = Field(
        max_length=2000, description="The problem or wish in one or two sentences."
    )
    missing: list[str] = Field(
        max_length=10,
        description=(
            "What the author must add before the work can begin, each as one short request; empty"
            " if nothing."
        ),
    )
    recommended_response: OptionalText = Field(
        max_length=6000,
        description=(
            "What helps the author now, addressed to them, as Markdown: the answer to their"
            " question, a workaround or a next step. Empty if there is nothing to say."
        ),
    )
    suggested_labels: SuggestedLabels
    same_as: SameIssue | None


class IssueResponse(AnsweringReply):
    """An answer to a question asked in an issue."""

    answer: OptionalText = Field(max_length=12000, description="The answer, as Markdown.")
    certain: bool = Field(
        description="Whether the answer follows from the text shown, rather than from a guess."
    )


class Finding(_Part):
    """A fault that the author should correct or explain."""

    path: str
    side: Literal["LEFT", "RIGHT"] = Field(description="LEFT for removed lines.")
    start_line: int | None = Field(description="The first line of a range.")
    line: int = Field(description="The (last) line.")
    quote: str = Field(description="The exact text of that line.")
    body: str = Field(max_length=4000, description="The failure, and what to do, as Markdown.")
    suggestion: str | None = Field(max_length=4000, description="Replacement for the lines.")
    category: Category
    severity: Severity
    confidence: Probability
    continues: int | None = Field(description="Number of the earlier finding that this one is.")
    rests_on: list[str] = Field(
        max_length=10, description="Other shown lines that prove it, each copied exactly."
    )
    look_up: list[Annotated[str, Field(max_length=200)]] = Field(
        max_length=3,
        description="Names of code that is not shown and would decide it.",
    )
    title: str = Field(max_length=200)

    @field_validator("look_up")
    @classmethod
    def _drop_blank(cls, names: list[str]) -> list[str]:
        return [name for name in names if name.strip()]


Verdict = Literal["present", "fixed", "gone"]


class EarlierVerdict(_Part):
    """The state of a listed finding, and the line that shows it. Without such a line: null, null
    and an empty quote.
    """

    number: int
    path: str | None
    line: int | None
    quote: OptionalText
    verdict: Verdict
    severity: Severity | None


class PullRequestAnalysis(ReplyFields):
    """The review of a pull request."""

    label_rules: ClassVar[Mapping[str, LabelRule]] = {"type": "type/{value}"}

    type: Literal["bug-fix", "feature", "refactor", "docs"]
    summary: str = Field(
        max_length=MAX_SUMMARY_CHARACTERS,
        description="What the change does and why, in a few sentences.",
    )
    earlier: list[EarlierVerdict] = Field(max_length=60, description="One for each listed finding.")
    findings: Annotated[list[Finding], STATED] = Field(
        max_length=50, json_schema_extra={"maxItems": 10}
    )
    suggested_labels: SuggestedLabels

    @property
    def worth_saying(self) -> bool:
        return bool(self.findings)


class FileSummary(_Part):
    """A summary of the changes in one file."""

    path: str = Field(description="The file, exactly as shown.")
    summary: str = Field(max_length=300, description="One sentence.")


MAX_FILE_SUMMARIES = 30


class Score(_Part):
    """The score of one dimension of a change. It is advisory: no label, finding or check depends on
    it.
    """

    dimension: str
    score: ScoreValue = Field(description="From 1 (poor) to 5 (good).")


class NeededFact(_Part):
    """A fact about the code without which a finding or a claim would be wrong."""

    fact: str = Field(max_length=500, description="The fact, in one sentence.")
    state: Literal["proved", "refuted", "not shown"] = Field(
        description="What the shown lines say of it."
    )
    quote: OptionalText = Field(
        description="The line that proves or refutes it, copied exactly. Empty if not shown."
    )
    is_decisive: bool = Field(description="Whether there is no failure without it.")


class FindingVerdict(_Part):
    number: int = Field(description="The number of the finding.")
    facts: list[NeededFact] = Field(max_length=8)
    unseen: OptionalText = Field(
        max_length=300,
        description="The one fact that is not shown and on which the finding hangs. Empty if none.",
    )
    agrees: bool = Field(description="Whether the lines shown prove what is said.")


class FindingVerdicts(ReplyFields):
    """A second look at findings, and at claims about earlier ones."""

    verdicts: Annotated[list[FindingVerdict], STATED] = Field(
        max_length=100, description="One for each, in their order."
    )


class ReviewRequest(_Part):
    """One request of a reviewer to the author."""

    comment: int | None = Field(
        description="The number of the comment it stands in, or null for the review's text."
    )
    quote: str = Field(description="The reviewer's own words that ask for it, copied exactly.")
    todo: str = Field(max_length=500, description="What the author is to do, as one short request.")
    blocking: bool = Field(description="Whether the pull request cannot be merged without it.")


class ReviewAnalysis(CommentingReply):
    """The requests of a reviewer to the author of a pull request."""

    summary: OptionalText = Field(
        max_length=1000, description="The review in one sentence. Empty if it asks for nothing."
    )
    requests: list[ReviewRequest] = Field(max_length=50)


class Place(_Part):
    """A place in the repository."""

    path: str = Field(
        description="A file of the repository, exactly as the log or the diff names it."
    )
    line: int | None = Field(description="The line, where the log or the diff tells it, or null.")
    why: str = Field(max_length=500, description="What is to be seen there, in one sentence.")


class WorkflowAnalysis(CommentingReply):
    """The cause of a failed workflow run."""

    cause: OptionalText = Field(
        max_length=2000,
        description="Why it failed, in one or two sentences. Empty if it is unclear.",
    )
    quote: OptionalText = Field(
        description=(
            "The one log line that shows the cause best, copied exactly, without its number. Empty"
            " if none."
        ),
    )
    where: list[Place] = Field(
        max_length=10, description="Where the cause is, the likeliest place first."
    )
    advice: OptionalText = Field(
        max_length=4000, description="What to do about it, as Markdown. Empty if there is nothing."
    )


class ReleaseAnalysis(CommentingReply):
    """The announcement of a release, for its users."""

    headline: str = Field(
        max_length=200, description="The release in one short line, without the version."
    )
    announcement: str = Field(
        max_length=12000, description="The announcement, as Markdown, without a headline."
    )
    highlights: list[str] = Field(
        max_length=10,
        description="What matters most to users, each in one short line, the most important first.",
    )


class CommentReply(AnsweringReply):
    """An answer to a comment."""

    answer: OptionalText = Field(
        max_length=12000,
        description="The answer, as Markdown. Empty if there is nothing to answer.",
    )
    certain: bool = Field(
        description="Whether the answer follows from the text shown, rather than from a guess."
    )


class GenericAnalysis(CommentingReply):
    """The analysis of any event."""

    summary: str = Field(max_length=2000, description="What happened, in one or two sentences.")
    details: OptionalText = Field(
        max_length=12000,
        description="What else is worth knowing, as Markdown. Empty if nothing.",
    )


class ConflictResolution(_Part):
    """The resolution of one conflict."""

    number: int = Field(description="The number of the conflict.")
    code: str = Field(
        description="The lines that replace the conflict and its marks, and no others."
    )
    why: str = Field(max_length=300, description="What was kept of each side, in one sentence.")


class ConflictResolutions(ReplyFields):
    """Resolutions of the conflicts of a cherry-pick."""

    resolutions: list[ConflictResolution] = Field(
        max_length=50, description="Without those that the lines leave open."
    )


class ChosenTest(_Part):
    """A test file to run."""

    path: str = Field(description="Its path, copied exactly from the list.")
    why: str = Field(max_length=300, description="What of the change it covers, in one sentence.")


class ChosenTests(ReplyFields):
    """The tests to run for a change."""

    tests: list[ChosenTest] = Field(
        max_length=20, description="The most important first; empty if none is affected."
    )


REPLY_TYPES: Mapping[str, type[ReplyFields]] = {
    "issue_analysis": IssueAnalysis,
    "issue_response": IssueResponse,
    "pull_request_analysis": PullRequestAnalysis,
    "finding_verdicts": FindingVerdicts,
    "review_analysis": ReviewAnalysis,
    "workflow_analysis": WorkflowAnalysis,
    "release_analysis": ReleaseAnalysis,
    "comment_reply": CommentReply,
    "conflict_resolutions": ConflictResolutions,
    "chosen_tests": ChosenTests,
    "generic_analysis": GenericAnalysis,
}


def file_summaries_of(reply: ReplyFields | None) -> Sequence[FileSummary]:
    """Return the optional field `file_summaries` of a reply; nothing if the reply lacks it."""
    return [
        summary
        for summary in getattr(reply, "file_summaries", ())
        if isinstance(summary, FileSummary)
    ]


def lowest_scores(replies: Iterable[ReplyFields | None]) -> tuple[Score, ...]:
    """Return the lowest score of each dimension in the field `scores`, which the front matter of a
    prompt can add.
    """
    lowest: dict[str, ScoreValue] = {}
    for reply in replies:
        for rating in getattr(reply, SCORES, ()):
            if isinstance(rating, Score):
                lowest[rating.dimension] = min(
                    rating.score, lowest.get(rating.dimension, rating.score)
                )
    return tuple(Score(dimension=dimension, score=score) for dimension, score in lowest.items())


SUFFIX = ".j2"


Effort = Literal["low", "medium", "high", "xhigh", "max"]


class StrictModel(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)


class Then(StrictModel):
    prompt: Annotated[
        str, Field(min_length=1), AfterValidator(lambda name: name.removesuffix(SUFFIX))
    ]
    when: Annotated[str, Field(min_length=1)]  # "analysis.kind == 'question'"


REVIEW_REPLIES = frozenset({"pull_request_analysis", "finding_verdicts"})


@dataclass(frozen=True, slots=True)
class Prompt:
    name: str  # "issues/analyze"
    # "issues/analyze@3f9c2a": the name, and a hash of the front matter and all templates, comment
    # included
    id: str
    path: str  # relative, if its folder is relative in the settings: "prompts/issues/analyze.j2"
    on: tuple[str, ...]  # event keys: "issues.opened"
    reply: str  # a key of analysis.REPLY_TYPES
    # the type of `reply`, extended by the fields and label rules of the front matter
    reply_model: type[ReplyFields]
    model: str | None = None  # None: the model of the settings; the same for `max_tokens`
    max_tokens: int | None = None
    effort: Effort | None = None
    then: Then | None = None

    @property
    def absolute_path(self) -> str:
        return str(Path(self.path).absolute())

    @property
    def is_review(self) -> bool:
        """True if it reviews a pull request, or is the second look: `claude.review_model` is for
        these.
        """
        return self.reply in REVIEW_REPLIES


CHARACTERS_PER_TOKEN = 3.5
"""Estimated ASCII characters per token: dense code has about 3, English prose about 4."""


def estimate_tokens(text: str) -> int:
    """Estimate the number of tokens of a text, rounded up.

    Two bytes of a non-ASCII character in UTF-8 count as a token: an accented letter is 1, a Chinese
    character 1.5, an emoji 2. Base64 and other text without words has more tokens than this.
    """
    if text.isascii():
        return math.ceil(len(text) / CHARACTERS_PER_TOKEN)
    wide = [character for character in text if character > "\x7f"]
    wide_bytes = len("".join(wide).encode("utf-8", "replace"))
    return math.ceil(wide_bytes / 2 + (len(text) - len(wide)) / CHARACTERS_PER_TOKEN)


@dataclass(frozen=True, slots=True)
class RenderedPrompt:
    prompt: Prompt  # its `reply_model` has the optional fields that are asked for
    system: str  # the same for all events, so that the API can cache it
    task: str
    schema: dict[str, object]  # JSON schema of the reply, as generated by pydantic
    missing: tuple[int, ...] = ()  # for each truncated text: the number of characters that were cut
    code: tuple[str, ...] = ()  # the texts that it shows as code, neither cleaned nor redacted


AT_LIMIT = "the pull request has reached its limit on cost"


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens, cost and duration of one call to Claude. The input is the sum of the three kinds of
    input tokens.
    """

    model: str  # "NAME/MODEL" if there are fallbacks (claude.fallbacks), else the model
    input_tokens: int = 0  # uncached
    output_tokens: int = 0
    cache_write_tokens: int = 0
    cache_read_tokens: int = 0
    cost_usd: float | None = None  # None when the model has no known price
    took_s: float = 0.0
    request_id: str | None = None  # Claude's id of the request
    is_estimate: bool = (
        False  # tokens and cost are an upper estimate, because the response has no usable numbers
    )
    output_usd: float | None = None  # the part of the cost for output tokens

    @property
    def all_input_tokens(self) -> int:
        return self.input_tokens + self.cache_write_tokens + self.cache_read_tokens


TOKENS = ("input_tokens", "output_tokens", "cache_write_tokens", "cache_read_tokens")
"""Names of fields of `Usage`, and of columns of calls."""


def sum_usage(usages: Iterable[Usage]) -> Usage:
    """Return the sum of the usage of several calls, at least one. Its cost is None if that of a
    call is unknown.
    """
    counts = list(usages)
    tokens: dict[str, Any] = {
        name: sum(getattr(usage, name) for usage in counts) for name in TOKENS
    }
    return replace(
        counts[0],
        **tokens,
        cost_usd=add_usd(usage.cost_usd for usage in counts),
        took_s=sum(usage.took_s for usage in counts),
        is_estimate=any(usage.is_estimate for usage in counts),
        output_usd=add_usd(usage.output_usd for usage in counts),
    )


@dataclass(frozen=True, slots=True)
class PartialCost:
    tokens: int
    of_tokens: int  # output tokens of the whole reply
    usd: float | None  # None if the model has no known price


def cost_of_output(usage: Usage, tokens: int) -> PartialCost | None:
    """Return what about `tokens` output tokens of a call cost; None if Claude was not called."""
    if not usage.output_tokens:
        return None
    tokens = min(tokens, usage.output_tokens)
    usd = usage.output_usd
    if usd is not None:
        usd = usd * tokens / usage.output_tokens
    return PartialCost(tokens, usage.output_tokens, usd)


@dataclass(frozen=True, slots=True)
class Reply:
    """A valid response of Claude to one prompt."""

    prompt_id: str  # "issues/analyze@3f9c2a"
    reply_type: str  # "issue_analysis", a key of REPLY_TYPES
    fields: ReplyFields
    usage: Usage
    # if it came from the cache of replies: when Claude gave it (aware UTC)
    cached_at: datetime | None = None
    # indexes of `files` that the rendered prompt did not show as a whole
    unshown: tuple[int, ...] = ()
    # why entries of a list were left out, by field of the reply
    lost: Mapping[str, str] = field(default_factory=dict)

    @property
    def prompt_name(self) -> str:
        return self.prompt_id.partition("@")[0]


def find_review(replies: Sequence[Reply]) -> Reply | None:
    """Return the last reply that reviews the pull request. A follow-up prompt may have another type
    of reply.
    """
    return next(
        (reply for reply in reversed(replies) if isinstance(reply.fields, PullRequestAnalysis)),
        None,
    )


Unusable = Literal["invalid", "truncated", "refused", "stopped", "oversized"]
"""Why a reply cannot be used. "oversized": the response is too large for `max_tokens`."""


@dataclass(frozen=True, slots=True)
class UnusableReply:
    """A response of Claude that cannot be used. It was billed, unless a filter blocked it."""

    prompt_id: str
    why: Unusable
    # one sentence; for an invalid reply the validation error (Claude sees it in the second attempt)
    problem: str
    text: str  # what Claude wrote
    usage: Usage


@dataclass(frozen=True, slots=True)
class Receipt:
    """The use of Claude by one delivery, failed calls and earlier attempts included."""

    calls: int = 0  # that Claude accepted
    input_tokens: int = 0
    output_tokens: int = 0
    # None if a model has no known price, or if it is not shown
    cost_usd: float | None = 0.0
    is_estimate: bool = False  # tokens and cost of a call are an upper estimate
    prompt_ids: tuple[str, ...] = ()  # ("pull_requests/review@3f9c2a",), each once
    models: tuple[str, ...] = ()  # ("openai/gpt-5-mini",), each once; () if there are no fallbacks
    guidance: tuple[str, ...] = ()  # (".github/hls.md (api/**)", "api/AGENTS.md"), of all calls


NO_CALLS = Receipt()


@dataclass(frozen=True, slots=True)
class Analysis:
    """All replies of Claude about one event, in order, and the comment rendered from them."""

    replies: tuple[Reply, ...]  # empty if Claude was not asked
    # Markdown, scrubbed, with footer; None when the last prompt has no comment template
    comment: str | None
    footer: str = ""  # the footer alone, for comments with sections; scrubbed
    comment_index: int = -1  # index in `replies` of the reply that the comment shows
    # Markdown of review comments by key of the finding
    inline: Mapping[str, str] = field(default_factory=dict)
    receipt: Receipt = NO_CALLS
    left_out: str = (
        ""  # for people on GitHub: a follow-up prompt without a reply, and why; "" if there is none
    )

    @property
    def worth_saying(self) -> bool:
        """True if a comment would help, according to the reply that it shows. False if Claude was
        not asked.
        """
        return bool(self.replies) and is_worth_saying(self.replies[self.comment_index].fields)


def is_worth_saying(reply: ReplyFields) -> bool:
    if isinstance(reply, IssueResponse | CommentReply) and not reply.answer.strip():
        return False
    return isinstance(reply, CommentingReply | PullRequestAnalysis) and reply.worth_saying
