"""Finds the bot's comments on a conversation by author and marker. Creates and edits them: one for
each `family`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol

from hls_handler.actions import (
    COMMENT_CREATED,
    COMMENT_EDITED,
    COMMENT_UP_TO_DATE,
    EnsureComment,
    Outcome,
    StoredComment,
)
from hls_handler.events import Account, Comment, Text
from hls_handler.github.api import RepositoryApi, parse, validate
from hls_handler.github.comment_body import (
    BodyDecision,
    decide_body,
    is_as_written,
    is_last_written,
    marker,
    requested_body,
)
from hls_handler.github.errors import Refused
from hls_handler.github.labels import NO_ORIGINS, LabelOrigin, LabelState

if TYPE_CHECKING:
    from github.Repository import Repository

MAX_PAGES = 100  # only the first 10,000 comments of a conversation are searched


class History(Protocol):
    """The bot's stored labels and comments on one conversation; `store.conversations` implements
    it.
    """

    def labels(self) -> Mapping[str, LabelState]: ...

    def change_labels(
        self,
        names: Iterable[str],
        state: LabelState | None,
        origins: Mapping[str, LabelOrigin] = NO_ORIGINS,
    ) -> None: ...

    def was_done_once(self) -> bool: ...

    def record_done_once(self) -> None: ...

    def forget_done_once(self) -> None: ...

    def comment(self, family: str) -> StoredComment | None: ...

    def store_comment(self, family: str, comment: StoredComment) -> None: ...


@dataclass(frozen=True, slots=True)
class Written:
    """A comment or a check run that HLS has written."""

    id: int
    html_url: Text
    external_id: str | None = None  # of a check run


class BotComments:
    """Writes the bot's comments in one repository. Without a `guard`, it only reports what it would
    write.
    """

    def __init__(
        self,
        api: RepositoryApi,
        *,
        bot: Account,
        history: History,
    ) -> None:
        self._api = api
        self._bot = bot
        self._history = history

    def ensure_comment(
        self, number: int, action: EnsureComment, *, may_exist: bool = True
    ) -> Outcome:
        """Write the comment if needed, store its id and digest in the history, and return the
        outcome.

        Sends no request if the text is that of the last write. Reads one comment if its id is
        stored and the bot wrote it. Otherwise, and if `may_exist`, the conversation's comments are
        listed, 100 with each request.
        """
        stored = self._history.comment(action.family)
        if stored is not None and is_last_written(action, stored.body_digest):
            # Nothing is written even if a person edited or deleted it.
            self._store(action, stored, replace(stored, state=action.state))
            body = requested_body(action)
            return Outcome(
                "comment", "unchanged", COMMENT_UP_TO_DATE, comment_id=stored.comment_id, body=body
            )
        mark = marker(action.family)
        comment = None
        if stored is not None:
            comment_id = stored.comment_id
            comment = self._api.find(
                lambda it: parse(Comment, it.get_issue(number).get_comment(comment_id).complete())
            )
            if comment is None:
                return _declined(
                    "a person deleted our comment: it is not posted again", stored.comment_id
                )
            if is_by(comment.user, self._bot) and not _ends_with(comment, mark):
                return _declined(
                    "a person removed our marker from our comment: it is not edited any more",
                    comment.id,
                )
            if not is_by(comment.user, self._bot):
                comment = None  # another account wrote it, when HLS had that account's token
        if comment is None and (may_exist or stored is not None):
            comment = self._find_oldest(number, mark)
        if comment is None:
            decision = decide_body(action, None, last_digest=None)
            if decision is None:
                nothing = "nothing worth saying, and no existing comment to update"
                return Outcome("comment", "withheld", nothing)
            return self._write(number, action, decision, None)
        last_digest = None
        if stored is not None and stored.comment_id == comment.id:
            last_digest = stored.body_digest
        decision = decide_body(action, comment.body, last_digest=last_digest)
        if decision is None:
            nothing = "nothing worth saying, and no existing section to update"
            return Outcome(
                "comment", "withheld", nothing, comment_id=comment.id, url=comment.html_url
            )
        is_edited = last_digest is None or not is_as_written(comment.body, last_digest)
        if action.is_withdrawal and decision.change == "changed" and is_edited:
            return _declined("a person edited our comment: it stays", comment.id)
        if decision.change == "changed":
            return self._write(number, action, decision, comment.id)
        digest = decision.digest
        if action.section is not None and last_digest is not None:
            digest = last_digest
        self._store(action, stored, StoredComment(comment.id, digest, action.state))
        detail = COMMENT_UP_TO_DATE
        if decision.change == "edited by a person":
            detail = "a person edited our comment, and there is nothing new to write"
        return Outcome(
            "comment",
            "unchanged",
            detail,
            comment_id=comment.id,
            url=comment.html_url,
            body=decision.body,
        )

    def _find_oldest(self, number: int, mark: str) -> Comment | None:
        comments = self._api.items(
            lambda it: it.get_issue(number).get_comments(), Comment, max_pages=MAX_PAGES
        )
        # Other people can write `mark`, and the account can write other comments (SECURITY.md rule
        # 16).
        return next(
            (
                comment
                for comment in comments
                if is_by(comment.user, self._bot) and _ends_with(comment, mark)
            ),
            None,
        )

    def _write(
        self, number: int, action: EnsureComment, decision: BodyDecision, comment_id: int | None
    ) -> Outcome:
        """Create the comment, or edit that with the id."""
        if self._api.guard is None:
            detail = "would have edited our comment"
            if comment_id is None:
                detail = "would have commented"
            return Outcome("comment", "dry_run", detail, comment_id=comment_id, body=decision.body)
        outcome = Outcome("comment", "created", COMMENT_CREATED)
        expected: tuple[int, ...] = ()
        if comment_id is not None:
            outcome = Outcome("comment", "edited", COMMENT_EDITED)
            expected = (404, 410)

        def write(repository: Repository) -> Written:
            issue = repository.get_issue(number)
            if comment_id is None:
                return parse(Written, issue.create_comment(decision.body))
            comment = issue.get_comment(comment_id)
            comment.edit(decision.body)
            return validate(Written, {"id": comment_id, "html_url": comment.html_url})

        try:
            written = self._api.write(write, expected=expected)
        except Refused:
            assert comment_id is not None
            return _declined(
                "a person has just deleted our comment: it is not posted again", comment_id
            )
        self._history.store_comment(
            action.family, StoredComment(written.id, decision.digest, action.state)
        )
        return replace(outcome, comment_id=written.id, url=written.html_url, body=decision.body)

    def _store(
        self, action: EnsureComment, before: StoredComment | None, comment: StoredComment
    ) -> None:
        if comment != before and self._api.guard is not None:
            self._history.store_comment(action.family, comment)


def _declined(detail: str, comment_id: int) -> Outcome:
    return Outcome("comment", "declined", detail, comment_id=comment_id)


def is_by(author: Account, bot: Account) -> bool:
    if bot.id == 0:  # a GitHub App, whose account's id is not known
        return author.login.lower() == bot.login.lower()
    return author.id == bot.id  # a renamed account keeps its id


def _ends_with(comment: Comment, mark: str) -> bool:
    return comment.body.rstrip().endswith(mark)
