"""The prompts of one delivery: the first prompt, and the follow-up prompts that `then` names."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from hls_handler.analysis import PullRequestAnalysis, ValidReply, join_analyses, sum_usage
from hls_handler.errors import BudgetExceeded, Permanent
from hls_handler.prompting.prompt import Library

log = logging.getLogger(__name__)

VERIFY_PROMPT = "pull_requests/verify"
"""Name of the prompt that takes a second look at the findings of a review, if the library has
it.
"""

FIRST_PART = 50
VERIFICATION = 90
"""Indexes of checkpoints: n + `FIRST_PART` for the reply about part n > 0 of the facts, and the
verification.
"""

NO_BUDGET = "the budget for reviews is used up"
NO_REPLY = "Claude gave no usable reply"
"""Reasons, for people on GitHub, why a call was not made or has no result."""


@dataclass(frozen=True, slots=True)
class Answers:
    """The replies of Claude about one event, before a comment is rendered from them."""

    facts: Any  # with the calls that have no reply, and the refuted findings
    answers: tuple[ValidReply, ...]  # of the first prompt and its follow-up prompts
    names: tuple[str, ...]  # of their prompts
    variables: Mapping[str, object]  # of the comment
    inline: Mapping[str, Mapping[str, object]] = field(default_factory=dict)
    """More variables of each review comment, by the key of the finding that it shows."""
    unverified: str = ""  # why the findings were not verified; "" if they were
    left_out: str = ""  # a sentence about a follow-up prompt without a reply; "" if there is none
    left_out_shown: str = ""  # the same for people on GitHub
    unanswered: str = (
        ""  # parts of the facts without a reply, with the last reason; "" if there are none
    )


@dataclass(frozen=True, slots=True)
class Asking:
    """The prompts of a delivery, and how one of them is asked: Claude, or the replies that are
    stored.
    """

    library: Library
    first: str  # name of the prompt to begin with
    variables: Callable[[Any], Mapping[str, object]]  # of its template, by the facts
    # a prompt by name; the index of its checkpoint
    ask: Callable[[str, Mapping[str, object], int], ValidReply]
    is_verified: bool = True  # whether findings get a second look
    # whether the replies count if a follow-up prompt gets none, because they were paid for
    keeps_review: bool = False

    def follow_up(self, reply: ValidReply, facts: Any, variables: Mapping[str, object]) -> Answers:
        """Ask the prompts that follow the reply to the first one, and return all replies."""
        answers = [reply]
        names = [self.first]
        left_out = ""
        shown = ""
        variables = {**variables, "analysis": reply.reply}
        while (name := self.library.find_next_prompt(names[-1], answers[-1].reply)) is not None:
            try:
                answers.append(self.ask(name, variables, len(answers)))
            except Permanent as exc:
                if not self.keeps_review:
                    raise
                left_out = f"the follow-up prompt {name} was left out: {exc}"
                shown = f"{name}: {describe_failure(exc)}"
                log.warning("follow-up prompt left out", extra={"prompt": name, "reason": str(exc)})
                break
            names.append(name)
            variables = {**variables, "analysis": answers[-1].reply}
        return Answers(
            facts, tuple(answers), tuple(names), variables, left_out=left_out, left_out_shown=shown
        )


def join_replies(replies: Sequence[ValidReply]) -> ValidReply:
    """Join the replies about the parts of one event, at least one. The first one is about the most
    important files.
    """
    analyses = [one.reply for one in replies if isinstance(one.reply, PullRequestAnalysis)]
    reply = join_analyses(analyses) if len(analyses) > 1 else replies[0].reply
    return replace(replies[0], reply=reply, usage=sum_usage(one.usage for one in replies))


def describe_failure(error: Permanent) -> str:
    """Return the reason for people on GitHub, without the settings and amounts of the operator."""
    return NO_BUDGET if isinstance(error, BudgetExceeded) else NO_REPLY
