"""A candidate: the few facts that routing decides from, the same whether sipped at the door or parsed in a worker."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from hls_handler.events import Event, PullRequest, Sip, event_key, is_bot

REVIEW_REQUESTED = "review_requested"
"""The action of `pull_request` by which people ask for a review."""

RELABELS = ("labeled", "unlabeled")
"""The actions by which a thread's labels change."""

MARKER = "<!-- hls:"
"""How the invisible last line of our comments begins."""


@dataclass(frozen=True, slots=True)
class Candidate:
    event: str  # "issues"
    action: str | None  # "opened"
    repository: str | None  # "owner/repo"; None where the event has none
    sender: str  # login; "" where GitHub names none
    sender_is_bot: bool
    author: str | None = None  # login of who opened the thread
    author_is_bot: bool = False
    title: str = ""
    labels: tuple[str, ...] = ()
    draft: bool = False
    changed: frozenset[str] = frozenset()  # keys of `changes`: {"title", "body"}
    label: str | None = None  # that was put on the thread, or taken off it, by this very event
    reviewer: str | None = None  # login of whose review was asked for by this very event; None for a team
    comment_author: str | None = None  # of the comment or review that the event is about
    comment_body: str = ""  # its text
    conclusion: str | None = None  # of a workflow's run: "success", "failure", "timed_out"

    @property
    def key(self) -> str:
        """ "issues.opened", or "push" where there is no action."""
        return event_key(self.event, self.action)


def from_sip(name: str, sip: Sip) -> Candidate:
    """What the door knows of the event `name` (the X-GitHub-Event header)."""
    sender, thread = sip.sender, sip.thread
    author, written = thread.user if thread else None, sip.comment or sip.review
    return Candidate(
        event=name,
        action=sip.action,
        repository=(sip.repository.full_name or None) if sip.repository else None,
        sender=sender.login if sender else "",
        sender_is_bot=is_bot(sender.login, sender.type) if sender else False,
        author=author.login if author else None,
        author_is_bot=is_bot(author.login, author.type) if author else False,
        title=(thread.title or "") if thread else "",
        labels=tuple([label.name for label in thread.labels]) if thread and thread.labels else (),
        draft=bool(thread.draft) if thread else False,
        changed=frozenset(sip.changes or ()),
        label=sip.label.name if sip.label and sip.action in RELABELS else None,
        reviewer=_asked(sip.action, sip.requested_reviewer.login if sip.requested_reviewer else None),
        comment_author=written.user.login if written and written.user else None,
        comment_body=(written.body or "") if written else "",
        conclusion=sip.workflow_run.conclusion if sip.workflow_run else None,
    )


def from_event(event: Event) -> Candidate:
    """The same of a whole event, and in addition who wrote the comment or review that it is about."""
    thread = event.thread
    comment_author, comment_body = _comment(event.payload)
    return Candidate(
        event=event.name,
        action=event.action,
        repository=event.repository.full_name,
        sender=event.sender.login,
        sender_is_bot=event.sender.is_bot,
        author=thread.user.login if thread else None,
        author_is_bot=thread.user.is_bot if thread else False,
        title=thread.title if thread else "",
        labels=tuple(label.name for label in thread.labels) if thread else (),
        draft=thread.draft if isinstance(thread, PullRequest) else False,
        changed=event.changed,
        label=_name(event.payload.get("label")) if event.action in RELABELS else None,
        reviewer=_asked(event.action, _login(event.payload.get("requested_reviewer"))),
        comment_author=comment_author,
        comment_body=comment_body,
        conclusion=event.workflow_run.conclusion if event.workflow_run else None,
    )


def _comment(payload: Mapping[str, object]) -> tuple[str | None, str]:
    """Author and text of the comment or review in a payload; (None, "") where there is none."""
    comment = payload.get("comment") or payload.get("review")
    if not isinstance(comment, Mapping):
        return None, ""
    body = comment.get("body")
    return _login(comment.get("user")), (body if isinstance(body, str) else "")


def _login(account: object) -> str | None:
    login = account.get("login") if isinstance(account, Mapping) else None
    return login if isinstance(login, str) else None


def _name(label: object) -> str | None:
    name = label.get("name") if isinstance(label, Mapping) else None
    return name if isinstance(name, str) else None


def _asked(action: str | None, login: str | None) -> str | None:
    return login if action == REVIEW_REQUESTED else None
