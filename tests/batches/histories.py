"""Closed issues in the sandbox whose texts and labels changed, and their reader."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Literal

from hls_handler.prompting import recorded
from hls_sandbox.objects import Account, Comment, Conversation, ConversationEvent, Edit
from hls_sandbox.shapes import account, stamp
from hls_sandbox.state import State
from tests.github_fake.reader import SandboxReader

REPOSITORY = "Codertocat/Hello-World"
MONDAY = datetime(2026, 11, 2, 9, 0, tzinfo=UTC)
MONA = Account("mona", 11, "User")
ZOE = Account("zoe", 12, "User")
TRIAGE_BOT = Account("triage[bot]", 13, "Bot")

StepKind = Literal["edit", "rename", "comment", "labeled", "unlabeled", "delete first text"]


@dataclass(frozen=True)
class Step:
    """A change of an issue. `text` is the new text or title, a comment, or the name of a label."""

    kind: StepKind
    text: str = ""
    by: Account = ZOE
    after_s: int = 60  # after the issue was opened


@dataclass(frozen=True)
class Past:
    """A closed issue: how it was opened, and what was changed later."""

    number: int = 7
    title: str = "Crash at start"
    body: str = "It crashes."
    author: Account = MONA
    labels: tuple[str, ...] = ()  # that the author sets when opening it
    steps: Sequence[Step] = ()
    closed_after_s: int = 3_600

    @property
    def opened_at(self) -> datetime:
        return MONDAY + timedelta(hours=self.number)


def make_state(*pasts: Past) -> State:
    """Return a sandbox with a repository that has these issues, and an open one."""
    state = State()
    state.seed("issues", recorded.load("issues.opened").payload)
    for past in pasts:
        add_issue(state, past)
    return state


def add_issue(state: State, past: Past) -> None:
    """Store the issue. A step on the labels does not check that the labels exist."""
    document = {
        "number": past.number,
        "title": past.title,
        "body": past.body,
        "user": account(past.author),
        "state": "closed",
        "created_at": stamp(past.opened_at),
        "closed_at": stamp(past.opened_at + timedelta(seconds=past.closed_after_s)),
    }
    issue = Conversation(REPOSITORY, past.number, "issue", past.author, document)
    for name in past.labels:
        issue = _apply(issue, Step("labeled", name, past.author, after_s=0), past.opened_at)
    for step in past.steps:
        issue = _apply(issue, step, past.opened_at)
    state.change(lambda world: world.with_conversation(issue))


def _apply(issue: Conversation, step: Step, opened_at: datetime) -> Conversation:
    at = opened_at + timedelta(seconds=step.after_s)
    match step.kind:
        case "edit":
            edits = (*issue.edits, Edit(at, issue.body))
            return replace(issue, document={**issue.document, "body": step.text}, edits=edits)
        case "rename":
            event = ConversationEvent(1, at, step.by, "renamed", issue.title)
            document = {**issue.document, "title": step.text}
            return replace(issue, document=document, events=(*issue.events, event))
        case "comment":
            comment = Comment(1, step.by, step.text, at, at)
            return replace(issue, comments=(*issue.comments, comment))
        case "delete first text":
            first, *later = issue.edits
            return replace(issue, edits=(replace(first, deleted_at=at), *later))
        case "labeled":
            labels = (*issue.labels, step.text)
        case "unlabeled":
            labels = tuple(name for name in issue.labels if name != step.text)
    event = ConversationEvent(1, at, step.by, step.kind, step.text)
    return replace(issue, labels=labels, events=(*issue.events, event))


def read(*pasts: Past) -> SandboxReader:
    return SandboxReader(make_state(*pasts), REPOSITORY)
