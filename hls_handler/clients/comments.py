"""Our one comment of a family on a thread: found by author and marker, edited in place, never made twice."""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import TypeAdapter

from hls_handler.actions import COMMENTED, EDITED, SAID, KeepComment, Outcome
from hls_handler.clients.api import Api, repository_path
from hls_handler.clients.drafts import draft, marker
from hls_handler.clients.memory import Memory
from hls_handler.clients.writes import COMMENT, WireComment, Writes
from hls_handler.events import Account

MOST_PAGES = 100
"""A conversation of more than 10,000 comments is not looked through to the end."""

_COMMENTS = TypeAdapter(tuple[WireComment, ...])


@dataclass(frozen=True, slots=True)
class Create:
    body: str  # with the marker
    digest: str  # for the memory


@dataclass(frozen=True, slots=True)
class Edit:
    comment_id: int
    body: str
    digest: str


@dataclass(frozen=True, slots=True)
class Leave:
    """Nothing to write; `seen` is the outcome's comment with its digest, where our memory does not have it so."""

    outcome: Outcome
    seen: tuple[int, str] | None = None


def look_at_comment(
    api: Api, repository: str, number: int, action: KeepComment, *, we: Account, memory: Memory
) -> Create | Edit | Leave:
    """What is to be done: one request where we remember our comment, else one for every 100 comments of the thread."""
    mark = marker(action.family)
    known = memory.comment(action.family)
    found: WireComment | None = None
    if known is not None:
        found = api.find(f"{repository_path(repository)}/issues/comments/{known.comment_id}", COMMENT)
        if found is None:
            return _declined("a person deleted our comment: it does not come back", known.comment_id)
        if _is_by(found, we) and not _ends_with(found, mark):
            return _declined("a person rewrote our comment and took our mark away: it is theirs now", found.id)
        if not _is_by(found, we):
            found = None  # written as another account, which we were then
    if found is None:
        found = _first_of_ours(api, repository, number, we=we, mark=mark)
    return _plan(action, found, written=known.body_digest if known and found and known.comment_id == found.id else None)


def _plan(action: KeepComment, found: WireComment | None, *, written: str | None) -> Create | Edit | Leave:
    """`written` is the digest that the memory has of this comment."""
    wanted = draft(action, None if found is None else found.body, written=written)
    if found is None:
        if wanted is None:
            return Leave(Outcome("comment", "withheld", "nothing worth saying, and no comment of ours to correct"))
        return Create(wanted.body, wanted.digest)
    if wanted is None:
        detail = "nothing worth saying, and no part of our comment to correct"
        return Leave(Outcome("comment", "withheld", detail, comment_id=found.id, url=found.html_url))
    if wanted.news == "new":
        return Edit(found.id, wanted.body, wanted.digest)
    detail = SAID
    if wanted.news == "edited":
        detail = "a person edited our comment, and we have nothing new to say"
    same = Outcome("comment", "unchanged", detail, comment_id=found.id, url=found.html_url, body=wanted.body)
    is_known = written is not None if action.section else written == wanted.digest
    return Leave(same, seen=None if is_known else (found.id, wanted.digest))


def carry_out_comment(
    plan: Create | Edit | Leave, number: int, family: str, *, writes: Writes, memory: Memory
) -> Outcome:
    """Do what was decided, and remember the comment."""
    match plan:
        case Leave():
            if plan.seen is not None:
                memory.remember_comment(family, *plan.seen)
            return plan.outcome
        case Create():
            made = writes.create_comment(number, plan.body)
            memory.remember_comment(family, made.id, plan.digest)
            return Outcome("comment", "created", COMMENTED, comment_id=made.id, url=made.html_url, body=plan.body)
        case Edit():
            edited = writes.edit_comment(plan.comment_id, plan.body)
            if edited is None:
                return _declined(
                    "a person has just deleted our comment: it does not come back", plan.comment_id
                ).outcome
            memory.remember_comment(family, edited.id, plan.digest)
            return Outcome("comment", "edited", EDITED, comment_id=edited.id, url=edited.html_url, body=plan.body)


def dry_comment(plan: Create | Edit | Leave) -> Outcome:
    """What would become of it. Nothing was written."""
    match plan:
        case Leave():
            return plan.outcome
        case Create():
            return Outcome("comment", "dry_run", "would have commented", body=plan.body)
        case Edit():
            detail = "would have edited our comment"
            return Outcome("comment", "dry_run", detail, comment_id=plan.comment_id, body=plan.body)


def _first_of_ours(api: Api, repository: str, number: int, *, we: Account, mark: str) -> WireComment | None:
    """The oldest comment by us that carries the mark. A stranger's copy of the mark, or our own account's other
    comments, do not count (SECURITY.md rule 16)."""
    pages = api.pages(f"{repository_path(repository)}/issues/{number}/comments", _COMMENTS, most=MOST_PAGES)
    return next((c for page in pages for c in page if _is_by(c, we) and _ends_with(c, mark)), None)


def _declined(detail: str, comment_id: int) -> Leave:
    return Leave(Outcome("comment", "declined", detail, comment_id=comment_id))


def _is_by(comment: WireComment, we: Account) -> bool:
    """An account keeps its id when it is renamed."""
    return comment.user is not None and comment.user.id == we.id


def _ends_with(comment: WireComment, mark: str) -> bool:
    return comment.body.rstrip().endswith(mark)
