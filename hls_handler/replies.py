"""Replies of Claude: what a call returned and cost, and what a delivery shows of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Literal

from hls_handler.analysis import (
    CommentingReply,
    CommentReply,
    IssueResponse,
    PullRequestAnalysis,
    ReplyFields,
)
from hls_handler.wording import add_usd

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
