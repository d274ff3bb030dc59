"""The filters behind an enabled event: who sent it, what changed, and whether people asked to be left alone."""

from __future__ import annotations

from collections.abc import Iterable

from hls_handler.events import Account
from hls_handler.routing.asked import asks_account, asks_how_to_start
from hls_handler.routing.candidate import MARKER, REVIEW_REQUESTED, Candidate
from hls_handler.routing.verdict import Ignored
from hls_handler.settings.effective import Effective
from hls_handler.settings.model import Settings

SKIP_LABEL = "skip-hls"
SKIP_IN_TITLE = "[skip hls]"

FAILED = ("failure", "timed_out", "startup_failure")
"""Conclusions of a workflow's run that are looked into."""

PASSED = "success"
"""The conclusion by which what we said of a failure may be over."""

READ_BY_CLAUDE = frozenset({"title", "body"})
"""What an edit must have changed to be worth another analysis."""


def refuse(
    candidate: Candidate, *, prompt_file: str, effective: Effective, settings: Settings, we: Account | None
) -> Ignored | None:
    """The first reason to leave an enabled event alone; None if there is none.

    `we` is None as long as it is not known who we are: then nobody is taken for us.
    """
    if candidate.action == "edited" and not candidate.changed & READ_BY_CLAUDE:
        changed = ", ".join(sorted(candidate.changed)) or "nothing"
        return Ignored(
            "nothing relevant changed",
            f"{candidate.key} changed {changed}, and {prompt_file} is asked again only when title or body change",
        )
    if candidate.event == "workflow_run" and candidate.conclusion not in (*FAILED, PASSED):
        ended = f"ended with {candidate.conclusion}" if candidate.conclusion else "has not ended"
        reason = f"the workflow {ended}; {prompt_file} is for those that fail: {', '.join(FAILED)}"
        return Ignored("nothing failed", reason)
    asked_for = candidate.action == REVIEW_REQUESTED
    if asked_for and we is not None and not same_login(candidate.reviewer, we.login):
        whom = candidate.reviewer or "a team"
        return Ignored(
            "another's review",
            f"the review of {whom} was asked for; request one of {we.login}, which is HLS, to have it worked on",
        )
    if we is not None and _is_ours(candidate, we):
        return own_doing(settings, we)
    if candidate.event == "issue_comment" and not _asks_something(candidate, we):
        whom = f"@{we.login}" if we is not None else "HLS's account"
        return Ignored("nothing asked", f"the comment neither asks how to start nor asks {whom} anything")
    if (candidate.sender_is_bot or candidate.author_is_bot) and not effective.features.bots:
        bot = candidate.sender if candidate.sender_is_bot else candidate.author
        change = settings.sources.change(effective.feature_key("bots", settings), "true")
        return Ignored("other bot", f"{bot} is a bot; {change} to work on what bots do")
    if candidate.draft and not asked_for and not effective.features.drafts:
        change = settings.sources.change(effective.feature_key("drafts", settings), "true")
        return Ignored("draft", f"the pull request is a draft; mark it ready for review, or {change}")
    asked = asked_to_skip(candidate.title, candidate.labels)
    return Ignored("asked to skip", asked) if asked else None


def own_doing(settings: Settings, we: Account) -> Ignored:
    where = settings.sources.where("github.token")
    return Ignored("own account", f"{we.login} is HLS's own account, whose token stands at {where}; {_LOOPS}")


def asked_to_skip(title: str, labels: Iterable[str]) -> str | None:
    """A sentence if the people of a thread asked HLS to leave it alone; None if they did not."""
    if any(label.lower() == SKIP_LABEL for label in labels):
        # taking a label away is no event that is worked on
        again = "remove the label, then edit title or text, or close and reopen it, to have it worked on"
        return f"the label {SKIP_LABEL} asks HLS to leave this thread alone; {again}"
    if SKIP_IN_TITLE in title.lower():
        return f"{SKIP_IN_TITLE} in the title asks HLS to leave this thread alone; take it out to have it worked on"
    return None


_LOOPS = "what it does there itself is not worked on, or HLS would answer itself"


def _is_ours(candidate: Candidate, we: Account) -> bool:
    """Whether HLS itself may have caused the event.

    A bot account is HLS alone, so all of its own is ours. A person's account is also used by its owner, who opens
    issues and gives commands: ours are its labels, its statuses, and comments that carry our marker besides.
    """
    if we.is_bot:
        return any(
            same_login(login, we.login) for login in (candidate.sender, candidate.author, candidate.comment_author)
        )
    if MARKER in candidate.comment_body and same_login(candidate.comment_author, we.login):
        return True
    sets_something = candidate.action in ("labeled", "unlabeled") or candidate.event == "status"
    return sets_something and same_login(candidate.sender, we.login)


def _asks_something(candidate: Candidate, we: Account | None) -> bool:
    """As long as it is not known who we are, whoever is mentioned may be us."""
    text = candidate.comment_body
    return asks_how_to_start(text) or (asks_account(text, we.login) if we is not None else "@" in text)


def same_login(login: str | None, other: str) -> bool:
    return login is not None and login.lower() == other.lower()
