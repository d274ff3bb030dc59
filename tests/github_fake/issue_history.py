"""Closed issues and merged pull requests with their edits, titles and labels over time."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Literal

from hls_sandbox import shapes
from hls_sandbox.objects import Conversation, ConversationEvent, Document, read_time
from hls_sandbox.state import State

MAX_CHANGES = 100
NEVER = datetime.min.replace(tzinfo=UTC)


def list_closed_issues(state: State, full_name: str, variables: Mapping[str, Any]) -> Document:
    """Return the response's `repository` for a page of closed issues, newest first."""
    return {"items": _list(state, full_name, "issue", variables)}


def list_merged_pull_requests(
    state: State, full_name: str, variables: Mapping[str, Any]
) -> Document:
    return {"items": _list(state, full_name, "pull", variables)}


def _list(
    state: State, full_name: str, kind: Literal["issue", "pull"], variables: Mapping[str, Any]
) -> Document:
    first: int = variables["first"]
    after = int(variables["after"] or 0)
    closed = [
        one
        for one in state.conversations()
        if one.repository == full_name
        and one.kind == kind
        and one.state == "closed"
        and (kind == "issue" or one.document.get("merged"))
    ]
    closed.sort(key=lambda one: (_created_at(one), one.number), reverse=True)
    shown = closed[after : after + first]
    end = after + len(shown)
    page = {"hasNextPage": end < len(closed), "endCursor": str(end) if shown else None}
    return {"pageInfo": page, "nodes": [_issue(one) for one in shown]}


def _issue(issue: Conversation) -> Document:
    revisions = _list_revisions(issue)
    changes = [_change(one) for one in issue.events if one.kind in CHANGES]
    return {
        "number": issue.number,
        "title": issue.title,
        "body": issue.body,
        "createdAt": shapes.stamp(_created_at(issue)),
        "closedAt": issue.document["closed_at"],
        "lastEditedAt": revisions[0]["editedAt"] if revisions else None,
        "includesCreatedEdit": bool(revisions),
        "author": shapes.actor(issue.author),
        "labels": {"nodes": [{"name": name} for name in issue.labels]},
        "newest": {"nodes": revisions[:1]},
        "oldest": {"nodes": revisions[-1:]},
        "timelineItems": {
            "pageInfo": {"hasNextPage": len(changes) > MAX_CHANGES},
            "nodes": changes[:MAX_CHANGES],
        },
    }


def _list_revisions(issue: Conversation) -> list[Document]:
    """Return all texts of the issue, newest first; [] if it was never edited."""
    if not issue.edits:
        return []
    began = [_created_at(issue), *(edit.at for edit in issue.edits)]
    texts = [edit.body for edit in issue.edits]
    deleted = [edit.deleted_at for edit in issue.edits]
    revisions = [
        {
            "editedAt": shapes.stamp(at),
            "deletedAt": None if deleted_at is None else shapes.stamp(deleted_at),
            "diff": text if deleted_at is None else None,
        }
        for at, text, deleted_at in zip(began, [*texts, issue.body], [*deleted, None], strict=True)
    ]
    return revisions[::-1]


CHANGES = {
    "labeled": "LabeledEvent",
    "renamed": "RenamedTitleEvent",
    "unlabeled": "UnlabeledEvent",
}


def _change(event: ConversationEvent) -> Document:
    kind = CHANGES[event.kind]
    if event.kind == "renamed":
        return {"__typename": kind, "previousTitle": event.detail}
    return {
        "__typename": kind,
        "createdAt": shapes.stamp(event.at),
        "actor": shapes.actor(event.actor),
        "label": {"name": event.detail},
    }


def _created_at(issue: Conversation) -> datetime:
    return read_time(issue.document.get("created_at"), NEVER)
