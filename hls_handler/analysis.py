"""The types of replies that a prompt's `reply:` can name, and their parts.

Reply types have no defaults, no free-form objects, no tuples of fixed length and no `Any`: the
API's JSON Schema dialect drops or rejects them (docs/facts.md). The API does not enforce bounds:
`claude.reply_parsing` makes values fit. Copied lines (`quote`) have none, because they are
compared as a whole. Docstrings and descriptions of reply types are part of the JSON schema that
Claude receives.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from hls_handler.label_rules import LabelRule

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
