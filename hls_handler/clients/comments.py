"""Finds the bot's comments on a conversation by author and marker. Creates and edits them: one for each `family`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Protocol

from hls_handler.actions import (
    COMMENT_CREATED,
    COMMENT_EDITED,
    COMMENT_UP_TO_DATE,
    EnsureComment,
    Outcome,
    StoredComment,
)
from hls_handler.clients.api import GithubApi, WriteGuard, repository_path, validate
from hls_handler.clients.comment_body import decide_body, is_last_written, marker, requested_body
from hls_handler.events import Account, Comment
from hls_handler.handlers.labels import NO_ORIGINS, LabelOrigin, LabelState

MAX_PAGES = 100  # only the first 10,000 comments of a conversation are searched


class History(Protocol):
    """The bot's stored labels and comments on one conversation; `store.conversations` implements it."""

    def labels(self) -> Mapping[str, LabelState]: ...

    def change_labels(
        self, names: Iterable[str], state: LabelState | None, origins: Mapping[str, LabelOrigin] = NO_ORIGINS
    ) -> None: ...

    def comment(self, family: str) -> StoredComment | None: ...

    def store_comment(self, family: str, comment: StoredComment) -> None: ...


@dataclass(frozen=True, slots=True)
class CommentWrite:
    """The decision to edit the comment `comment_id`, or to create a comment if `comment_id` is None."""

    body: str  # with the marker
    digest: str  # stored together with the id of the comment
    comment_id: int | None = None
    state: str | None = None  # `EnsureComment.state`


@dataclass(frozen=True, slots=True)
class NoWrite:
    """The decision to write nothing on GitHub."""

    outcome: Outcome
    seen: StoredComment | None = None  # the found comment, to be stored; None to store nothing


class ConversationComments:
    """Writes the bot's comments on one conversation. Without a `guard`, it only reports what it would write."""

    def __init__(
        self,
        api: GithubApi,
        repository: str,
        number: int,
        *,
        bot: Account,
        history: History,
        guard: WriteGuard | None,
    ) -> None:
        self._api, self._base, self._number = api, repository_path(repository), number
        self._bot, self._history, self._guard = bot, history, guard

    def ensure_comment(self, action: EnsureComment, *, may_exist: bool) -> Outcome:
        """Write the comment if needed, store its id and digest in the history, and return the outcome.

        Sends no request if the text is that of the last write. Reads one comment if its id is stored and the bot wrote
        it. Otherwise, and if `may_exist`, the conversation's comments are listed, 100 with each request.
        """
        change = self._compare(action, may_exist=may_exist)
        if isinstance(change, NoWrite):
            if change.seen is not None and self._guard is not None:
                self._history.store_comment(action.family, change.seen)
            return change.outcome
        if self._guard is None:
            detail = "would have commented" if change.comment_id is None else "would have edited our comment"
            return Outcome("comment", "dry_run", detail, comment_id=change.comment_id, body=change.body)
        return self._write(change, action.family, self._guard)

    def _compare(self, action: EnsureComment, *, may_exist: bool) -> CommentWrite | NoWrite:
        mark = marker(action.family)
        known = self._history.comment(action.family)
        found: Comment | None = None
        if known is not None:
            if is_last_written(action, known.body_digest):  # nothing is written even if a person edited or deleted it
                body = requested_body(action)
                outcome = Outcome("comment", "unchanged", COMMENT_UP_TO_DATE, comment_id=known.comment_id, body=body)
                is_stored = known.state == action.state
                return NoWrite(outcome, seen=None if is_stored else replace(known, state=action.state))
            found = self._api.find(f"{self._base}/issues/comments/{known.comment_id}", Comment)
            if found is None:
                return _declined("a person deleted our comment: it is not posted again", known.comment_id)
            if is_by(found.user, self._bot) and not _ends_with(found, mark):
                return _declined("a person removed our marker from our comment: it is not edited any more", found.id)
            if not is_by(found.user, self._bot):
                found = None  # another account wrote it, when HLS had that account's token
        if found is None and (may_exist or known is not None):
            found = self._find_oldest(mark)
        last_digest = known.body_digest if known and found and known.comment_id == found.id else None
        decision = decide_body(action, None if found is None else found.body, last_digest=last_digest)
        if found is None:
            if decision is None:
                detail = "nothing worth saying, and no existing comment to update"
                return NoWrite(Outcome("comment", "withheld", detail))
            return CommentWrite(decision.body, decision.digest, state=action.state)
        if decision is None:
            detail = "nothing worth saying, and no existing section to update"
            return NoWrite(Outcome("comment", "withheld", detail, comment_id=found.id, url=found.html_url))
        if decision.change == "changed":
            return CommentWrite(decision.body, decision.digest, found.id, action.state)
        detail = COMMENT_UP_TO_DATE
        if decision.change == "edited by a person":
            detail = "a person edited our comment, and there is nothing new to write"
        outcome = Outcome("comment", "unchanged", detail, comment_id=found.id, url=found.html_url, body=decision.body)
        is_known = last_digest is not None if action.section else last_digest == decision.digest
        if known is not None and known.state != action.state:
            is_known = False
        return NoWrite(outcome, seen=None if is_known else StoredComment(found.id, decision.digest, action.state))

    def _find_oldest(self, mark: str) -> Comment | None:
        path = f"{self._base}/issues/{self._number}/comments"
        comments = self._api.items(path, tuple[Comment, ...], max_pages=MAX_PAGES)
        # Other people can write `mark`, and the account can write other comments (SECURITY.md rule 16).
        return next((one for one in comments if is_by(one.user, self._bot) and _ends_with(one, mark)), None)

    def _write(self, change: CommentWrite, family: str, guard: WriteGuard) -> Outcome:
        body = {"body": change.body}
        if change.comment_id is None:
            response = self._api.write("POST", f"{self._base}/issues/{self._number}/comments", body, guard=guard)
            outcome = Outcome("comment", "created", COMMENT_CREATED)
        else:
            path = f"{self._base}/issues/comments/{change.comment_id}"
            response = self._api.write("PATCH", path, body, guard=guard, expected=(404, 410))
            if response.status in (404, 410):
                detail = "a person has just deleted our comment: it is not posted again"
                return _declined(detail, change.comment_id).outcome
            outcome = Outcome("comment", "edited", COMMENT_EDITED)
        written = validate("writing a comment", Comment, response.data)
        self._history.store_comment(family, StoredComment(written.id, change.digest, change.state))
        return replace(outcome, comment_id=written.id, url=written.html_url, body=change.body)


def _declined(detail: str, comment_id: int) -> NoWrite:
    return NoWrite(Outcome("comment", "declined", detail, comment_id=comment_id))


def is_by(author: Account, bot: Account) -> bool:
    if bot.id == 0:  # a GitHub App, whose account's id is not known
        return author.login.lower() == bot.login.lower()
    return author.id == bot.id  # a renamed account keeps its id


def _ends_with(comment: Comment, mark: str) -> bool:
    return comment.body.rstrip().endswith(mark)
