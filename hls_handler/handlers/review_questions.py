"""Asks about the parts of the changes, and for a second look at the findings."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial

from hls_handler.analysis import FindingVerdicts
from hls_handler.deliveries import FIRST_PART, VERIFICATION
from hls_handler.errors import BudgetExceeded, Permanent
from hls_handler.handlers.asking import VERIFY_PROMPT, Asking, describe_failure, join_replies
from hls_handler.handlers.job import Job
from hls_handler.handlers.look_up import look_up
from hls_handler.handlers.pull_request_facts import LookedUp, PullRequestFacts, list_parts
from hls_handler.handlers.pull_request_variables import prompt_variables, verification_variables
from hls_handler.handlers.read_lines import leave_out
from hls_handler.handlers.second_look import apply_second_look, list_names
from hls_handler.replies import Reply

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class AskedParts:
    """The joined reply about all parts of the changes, and the facts with the parts that were not
    answered or shown.
    """

    facts: PullRequestFacts
    reply: Reply
    missing: str  # a sentence about parts without a reply; "" if there are none


def ask_parts(asking: Asking, facts: PullRequestFacts) -> AskedParts:
    """Ask about each part of the changes. If a part gets no usable reply, the others count.

    Raises the last error if no part gets one.
    """
    parts = list_parts(facts)
    failed: Permanent | None = None
    replies: dict[int, Reply] = {}
    unanswered: dict[int, str] = {}
    for number, part in enumerate(parts):
        index = 0
        if number:
            index = FIRST_PART + number
        try:
            replies[number] = asking.ask(asking.first, prompt_variables(part), index)
        except BudgetExceeded as exc:
            failed = exc
            unanswered |= dict.fromkeys(range(number, len(parts)), describe_failure(exc))
            break
        except Permanent as exc:
            failed = exc
            unanswered[number] = describe_failure(exc)
    if not replies:
        assert failed is not None
        raise failed
    missing = ""
    if unanswered:
        missing = f"{len(unanswered)} of {len(parts)} parts of the changes: {failed}"
    facts = replace(_mark_unread(facts, replies), unanswered=unanswered)
    return AskedParts(facts, join_replies(list(replies.values())), missing)


def _mark_unread(facts: PullRequestFacts, replies: Mapping[int, Reply]) -> PullRequestFacts:
    """Return the facts with what prompts did not show, and the calls whose findings were lost."""
    selection = facts.selection
    unshown = {number: reply.unshown for number, reply in replies.items() if reply.unshown}
    if unshown:
        selection = leave_out(selection, unshown)
    lost = {
        number: reply.lost["findings"]
        for number, reply in replies.items()
        if "findings" in reply.lost
    }
    return replace(facts, selection=selection, lost=lost)


@dataclass(frozen=True, slots=True)
class SecondLookResult:
    """The facts with what the second look decided."""

    facts: PullRequestFacts
    unverified: str = ""  # why the findings were not verified; "" if they were


def look_again(job: Job, review: AskedParts) -> SecondLookResult:
    """Ask Claude to refute the findings of the reply, and earlier ones of which some lines changed.

    Without a usable reply, all are kept.
    """
    asking = job.asking
    if VERIFY_PROMPT not in asking.library.prompts:
        return SecondLookResult(review.facts)
    facts = _look_up(job, review.facts.with_reply(review.reply.fields))
    look_variables = verification_variables(facts, facts.reply)
    if look_variables is None:
        return SecondLookResult(facts)
    try:
        verdicts = asking.ask(VERIFY_PROMPT, look_variables, VERIFICATION)
    except Permanent as exc:
        log.warning("findings were not verified", extra={"reason": str(exc)})
        return SecondLookResult(replace(facts, unverified=describe_failure(exc)), str(exc))
    if not isinstance(verdicts.fields, FindingVerdicts):
        return SecondLookResult(facts)
    return SecondLookResult(apply_second_look(facts, verdicts.fields))


def _look_up(job: Job, facts: PullRequestFacts) -> PullRequestFacts:
    """Return the facts with the places of the names that the reply asks to see."""
    names = list_names(facts)
    if not (facts.is_review and names):
        return facts
    looked_up = job.look_up(LookedUp, partial(look_up, facts, names))
    return replace(facts, looked_up=looked_up or LookedUp())
