"""Reads the review threads that HLS opened, by GraphQL: REST does not show whether a thread is
resolved.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, Literal

from pydantic import AliasPath, BaseModel, BeforeValidator, Field

from hls_handler.events import GHOST, Account, Author, Text, null_to
from hls_handler.github.api import RepositoryApi
from hls_handler.github.comments import is_by
from hls_handler.github.review_writer import find_marker
from hls_handler.github.values import ReviewThread, ThreadReply

MAX_PAGES = 10  # of 50 threads
MAX_REPLY_CHARS = 4_000

# `fullDatabaseId`, because review comments have ids of more than 32 bits, for which `databaseId` is
# null. A field such as `up` costs one request of GitHub's limit for each thread, and would for each
# comment of a thread.
REVIEW_THREADS_QUERY = """\
query($owner: String!, $name: String!, $number: Int!, $after: String) {
  repository(owner: $owner, name: $name) {
    pullRequest(number: $number) {
      reviewThreads(first: 50, after: $after) {
        pageInfo { hasNextPage endCursor }
        nodes {
          isResolved
          line
          resolvedBy { login }
          first: comments(first: 1) {
            nodes {
              fullDatabaseId
              up: reactions(content: THUMBS_UP, first: 100) { nodes { user { login } } }
              down: reactions(content: THUMBS_DOWN, first: 100) { nodes { user { login } } }
            }
          }
          comments(first: 100) {
            nodes {
              author { __typename login ... on User { databaseId } ... on Bot { databaseId } }
              body
            }
          }
        }
      }
    }
  }
}
"""


_THREADS = ("repository", "pullRequest", "reviewThreads")


def _to_account(actor: Any) -> Any:
    """Return the JSON of the account. GraphQL shows the account "my-hls[bot]" of an App as the bot
    "my-hls", a login that a person may have, too.
    """
    if not isinstance(actor, dict):
        return actor
    account = {"login": actor.get("login"), "id": actor.get("databaseId") or 0}
    if actor.get("__typename") != "Bot":
        return account
    login = str(account["login"]).removesuffix("[bot]")
    return {**account, "login": f"{login}[bot]", "type": "Bot"}


Actor = Annotated[Author, BeforeValidator(_to_account)]
"""An account; "ghost" if it was deleted, which GitHub shows as null."""


class _Reaction(BaseModel):
    # None if the account was deleted
    login: str | None = Field(None, validation_alias=AliasPath("user", "login"))


class _Comment(BaseModel):
    author: Actor
    body: Text


class _Thread(BaseModel):
    is_resolved: bool = Field(validation_alias="isResolved")
    line: int | None = None
    resolved_by: str | None = Field(None, validation_alias=AliasPath("resolvedBy", "login"))
    # "7"
    first_id: int | None = Field(
        None, validation_alias=AliasPath("first", "nodes", 0, "fullDatabaseId")
    )
    up: tuple[_Reaction, ...] = Field(
        (), validation_alias=AliasPath("first", "nodes", 0, "up", "nodes")
    )
    down: tuple[_Reaction, ...] = Field(
        (), validation_alias=AliasPath("first", "nodes", 0, "down", "nodes")
    )
    comments: tuple[_Comment, ...] = Field(validation_alias=AliasPath("comments", "nodes"))


class WireData(BaseModel):
    """One page of threads: the `data` of the response to `REVIEW_THREADS_QUERY`."""

    threads: Annotated[
        tuple[_Thread, ...], null_to(()), Field(validation_alias=AliasPath(*_THREADS, "nodes"))
    ]
    has_next: Annotated[
        bool, Field(validation_alias=AliasPath(*_THREADS, "pageInfo", "hasNextPage"))
    ]
    end: Annotated[
        str | None, Field(validation_alias=AliasPath(*_THREADS, "pageInfo", "endCursor"))
    ]


def read_review_threads(api: RepositoryApi, number: int, *, bot: Account) -> Iterator[ReviewThread]:
    """Yield the threads that `bot` opened, in GitHub's order; one request for each 50 threads of
    anybody.
    """
    after: str | None = None
    for _ in range(MAX_PAGES):
        data = api.query(REVIEW_THREADS_QUERY, {"number": number, "after": after}, WireData)
        yield from filter(None, (_to_own_thread(thread, bot) for thread in data.threads))
        if not data.has_next or data.end is None:
            return
        after = data.end


def _to_own_thread(thread: _Thread, bot: Account) -> ReviewThread | None:
    if thread.first_id is None or not thread.comments:
        return None
    opening, *later = thread.comments
    key = _own_key(opening, bot, "finding")
    if key is None:
        return None
    resolved_by = None
    if thread.is_resolved:
        resolved_by = thread.resolved_by or ""
    replies: list[ThreadReply] = []
    own_replies: list[str] = []
    for comment in later:
        own_key = _own_key(comment, bot, "reply")
        if own_key is not None:
            own_replies.append(own_key)
        elif not (bot.is_bot and is_by(comment.author, bot)):
            replies.append(_to_reply(comment))
    return ReviewThread(
        comment_id=thread.first_id,
        key=key,
        is_resolved=thread.is_resolved,
        resolved_by=resolved_by,
        replies=tuple(replies),
        own_replies=tuple(own_replies),
        thumbs_up=_logins(thread.up, bot),
        thumbs_down=_logins(thread.down, bot),
        line=thread.line,
    )


def _to_reply(comment: _Comment) -> ThreadReply:
    author = comment.author.login
    if comment.author == GHOST:
        author = ""
    return ThreadReply(author, comment.body[:MAX_REPLY_CHARS])


def _own_key(comment: _Comment, bot: Account, kind: Literal["finding", "reply"]) -> str | None:
    # Other people can write a marker, and the account can write other comments (SECURITY.md rule
    # 16).
    if not is_by(comment.author, bot):
        return None
    return find_marker(comment.body, kind)


def _logins(reactions: tuple[_Reaction, ...], bot: Account) -> tuple[str, ...]:
    logins = (reaction.login for reaction in reactions if reaction.login is not None)
    return tuple(
        login for login in logins if not (bot.is_bot and login.lower() == bot.login.lower())
    )
