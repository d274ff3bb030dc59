"""Posts a review with comments on lines of a pull request, and replies in the review threads that
HLS opened.

Each comment ends with a hidden marker that contains its key. The bot's review comments are listed
first and found by author and marker, so that only the missing ones are posted, also if the database
was lost.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Literal

from hls_handler.actions import (
    REPLY_CREATED,
    REPLY_EXISTS,
    EnsureReply,
    EnsureReview,
    InlineComment,
    Outcome,
)
from hls_handler.errors import DependencyDown, Retryable, Superseded
from hls_handler.events import Account, PullRequest
from hls_handler.github.api import RepositoryApi, parse
from hls_handler.github.comments import MAX_COMMENT_CHARS, Written, is_by, marker, truncate_comment
from hls_handler.github.errors import Refused
from hls_handler.github.values import ThreadComment
from hls_handler.wording import count, shorten

if TYPE_CHECKING:
    from github.PullRequest import ReviewComment
    from github.PullRequestComment import PullRequestComment
    from github.Repository import Repository

MAX_PAGES = 30  # only the newest 3,000 review comments of a pull request are searched
MAX_LEFT_OUT = 10  # a rejected review with more comments is halved at once: each attempt is a write

_KEY = re.compile(r"[A-Za-z0-9]+(?:[-_.:][A-Za-z0-9]+)*")
_MARKER = re.compile(rf"<!-- hls:(?P<kind>finding|reply) (?P<key>{_KEY.pattern}) -->\s*\Z")

_FOOTER = re.compile(r"\n+\*[^\n]*\bdismiss it\b[^\n]*\*(?=\s*<!-- hls:finding )")
"""Matches the last paragraph of a finding's comment, which says how to dismiss it."""

_POSITION = re.compile(r"(?<![a-z])(?:lines?|path|side|position|hunk)(?![a-z])", re.IGNORECASE)
"""Matches GitHub's sentences about an invalid position: "Line could not be resolved", "Pull request
review thread path is invalid and Pull request review thread diff hunk can't be blank". They do not
name the comment.
"""

_COMMIT = re.compile(r"commit", re.IGNORECASE)
"""Matches GitHub's sentences about a commit: "The commitOID is not part of the pull request"."""


def find_marker(body: str, kind: Literal["finding", "reply"]) -> str | None:
    """Return the key in the marker at the end of the body; None if the body does not end with a
    marker of this kind.
    """
    match = _MARKER.search(body)
    if match is None or match["kind"] != kind:
        return None
    return match["key"]


class BotReviews:
    """Writes reviews and replies in one repository. Without a `guard`, it only reports what it
    would write.
    """

    def __init__(self, api: RepositoryApi, *, bot: Account) -> None:
        self._api = api
        self._bot = bot

    def ensure_review(
        self, number: int, action: EnsureReview, *, is_retry: bool = False
    ) -> Outcome:
        """Post the comments of the action as one review, and return the outcome with the ids of
        all.

        Only the missing ones are posted. If GitHub rejects positions, the other comments are
        posted. If GitHub rejects the review for another reason, a retry (`is_retry`) posts nothing,
        and a first attempt raises `Retryable`. Raises `Superseded` if GitHub
        rejects the review for another reason and the pull request has a newer commit. The
        `may_have_succeeded` of a `DependencyDown` is also True if a review was posted and a later
        request failed.
        """
        if not action.comments:
            return Outcome("review", "unchanged", "no comments on lines")
        posted = self._find_posted(number, action)
        missing = [comment for comment in action.comments if comment.key not in posted]
        if self._api.guard is None:
            detail = f"would have posted {_describe(len(missing))}"
            return Outcome(
                "review",
                "dry_run",
                detail,
                comment_ids={key: comment.id for key, comment in posted.items()},
            )
        post = partial(self._try_post, number, action.commit)
        is_posted = False
        rejected = list[str]()
        reason = ""
        try:
            rejection = None
            if missing:
                rejection = post(missing)
                is_posted = rejection is None
            if rejection is not None and _is_position(rejection):
                for key in _post_valid(post, missing):
                    if key is None:
                        is_posted = True
                    else:
                        rejected.append(key)
            elif rejection is not None:
                reason = f"GitHub rejected the review (422): {shorten(rejection)}"
                if not is_retry:
                    raise Retryable(reason)
                rejected = [comment.key for comment in missing]
            if is_posted:
                posted = self._find_posted(number, action)
        except DependencyDown as exc:
            exc.may_have_succeeded = exc.may_have_succeeded or is_posted
            raise
        added = len(action.comments) - len(rejected)
        details = []
        kind: Literal["created", "declined"] = "declined"
        if added:
            details.append(f"posted {_describe(added)}")
            kind = "created"
        if rejected:
            details.append(reason or f"GitHub rejected {count(len(rejected), 'position')}")
        return Outcome(
            "review",
            kind,
            "; ".join(details),
            url=next(map(_review_url, posted.values()), None),
            comment_ids={key: comment.id for key, comment in posted.items()},
            rejected=tuple(rejected),
        )

    def _try_post(self, number: int, commit: str, comments: Sequence[InlineComment]) -> str | None:
        """Return why GitHub rejected the review (422); None if it was posted."""
        # GitHub's description requires a text. Its marker lets routing ignore the review of a
        # person's account.
        text = (
            f"{_describe(len(comments)).capitalize()} of commit {commit[:10]}.\n{marker('review')}"
        )
        documents = [_to_document(comment) for comment in comments]

        try:
            self._api.write(
                lambda it: it.get_pull(number).create_review(
                    it.get_commit(commit), text, "COMMENT", documents
                ),
                expected=(422,),
            )
        except Refused as refused:
            rejection = refused.reasons
        else:
            return None
        if not _is_position(rejection):
            present_commit = self._api.get(lambda it: it.get_pull(number), PullRequest).head_sha
            if present_commit != commit:
                raise Superseded(f"a newer push came meanwhile: {present_commit[:10]}")
        return rejection

    def _find_posted(self, number: int, action: EnsureReview) -> Mapping[str, ThreadComment]:
        """Return the bot's comments, by the keys in their markers, in the order of the action."""
        keys = {comment.key for comment in action.comments}
        posted = dict[str, ThreadComment]()
        for comment in self._own_comments(number):
            key = find_marker(comment.body, "finding")
            if key in keys and comment.thread_id is None:
                posted[key] = comment  # the oldest one
            if len(posted) == len(keys):
                break
        return {
            comment.key: posted[comment.key] for comment in action.comments if comment.key in posted
        }

    def _own_comments(self, number: int) -> Iterator[ThreadComment]:
        """Return the bot's review comments, newest first."""
        comments = self._api.items(
            lambda it: it.get_pull(number).get_review_comments(sort="created", direction="desc"),
            ThreadComment,
            max_pages=MAX_PAGES,
        )
        return (comment for comment in comments if is_by(comment.user, self._bot))

    def ensure_reply(self, number: int, action: EnsureReply, *, is_retry: bool = False) -> Outcome:
        """Reply in the review thread.

        `is_retry` means that the bot's reply with this key may exist already; then it is not
        written again.
        """
        if is_retry:
            reply = self._find_reply(number, action)
            if reply is not None:
                return Outcome(
                    "reply", "unchanged", REPLY_EXISTS, comment_id=reply.id, url=reply.html_url
                )
        body = _with_marker(action.body, "reply", action.key)
        if self._api.guard is None:
            return Outcome("reply", "dry_run", "would have replied in a review thread", body=body)
        if action.ends_footer:
            self._remove_footer(number, action.comment_id)
        try:
            written = self._api.write(
                lambda it: parse(
                    Written,
                    it.get_pull(number).create_review_comment_reply(action.comment_id, body),
                ),
                expected=(404, 410),
            )
        except Refused:
            return Outcome(
                "reply",
                "declined",
                "our comment in the review thread was deleted: no reply is posted",
            )
        return Outcome(
            "reply",
            "created",
            REPLY_CREATED,
            comment_id=written.id,
            url=written.html_url,
            body=body,
        )

    def _remove_footer(self, number: int, comment_id: int) -> None:
        def get(repository: Repository) -> PullRequestComment:
            return repository.get_pull(number).get_review_comment(comment_id)

        comment = self._api.find(lambda it: parse(ThreadComment, get(it).complete()))
        if comment is None or not is_by(comment.user, self._bot):
            return
        body = _FOOTER.sub("", comment.body)
        if body != comment.body:
            with suppress(Refused):
                self._api.write(lambda it: get(it).edit(body), expected=(404, 410))

    def _find_reply(self, number: int, action: EnsureReply) -> ThreadComment | None:
        for comment in self._own_comments(number):
            is_reply = comment.thread_id == action.comment_id
            if is_reply and find_marker(comment.body, "reply") == action.key:
                return comment
        return None


def _is_position(rejection: str) -> bool:
    """Return True if a comment is not on a line of the patch."""
    return _POSITION.search(rejection) is not None and _COMMIT.search(rejection) is None


def _describe(comments: int) -> str:
    return f"{count(comments, 'comment')} on lines"


def _post_valid(
    post: Callable[[Sequence[InlineComment]], str | None], comments: Sequence[InlineComment]
) -> Iterator[str | None]:
    """Post the comments of a rejected review without the invalid ones. Yield None for each review,
    and rejected keys.

    GitHub rejects a review as a whole and does not name the invalid comment. A rejected attempt
    shows nothing to people, so each comment is left out once: if only one is invalid, the others
    are posted as one review. If several are, the list is halved, and the halves are posted in the
    same way.
    """
    if len(comments) == 1:
        yield comments[0].key
        return
    if 2 < len(comments) <= MAX_LEFT_OUT:  # of two comments, each half leaves one out
        for index, left_out in enumerate(comments):
            if post((*comments[:index], *comments[index + 1 :])) is None:
                yield from (None, left_out.key)
                return
    middle = len(comments) // 2
    for half in (comments[:middle], comments[middle:]):
        if post(half) is None:
            yield None
        else:
            yield from _post_valid(post, half)


def _to_document(comment: InlineComment) -> ReviewComment:
    document: ReviewComment = {
        "path": comment.path,
        "side": comment.side,
        "line": comment.line,
        "body": _with_marker(comment.body, "finding", comment.key),
    }
    # GitHub rejects equal ones
    if comment.start_line is None or comment.start_line == comment.line:
        return document
    document["start_line"] = comment.start_line
    document["start_side"] = comment.side
    return document


def _with_marker(body: str, kind: Literal["finding", "reply"], key: str) -> str:
    if _KEY.fullmatch(key) is None:
        raise ValueError(
            f"invalid key {key!r} of a {kind}: expected letters, digits and single - _ . : between"
            " them"
        )
    mark = f"\n{marker(f'{kind} {key}')}"
    return truncate_comment(body, MAX_COMMENT_CHARS - len(mark)) + mark


def _review_url(comment: ThreadComment) -> str:
    # The response to a posted review has it, too, but not after a retry that finds the review
    # posted.
    if comment.review_id is None:
        return comment.html_url
    page = comment.html_url.partition("#")[0]
    return f"{page}#pullrequestreview-{comment.review_id}"
