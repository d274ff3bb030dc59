"""Stores the repository, issue or pull request, labels and comments of a payload in the stand-in's
`World`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any, Literal
from urllib.parse import quote

from hls_handler.prompting import recorded
from hls_sandbox import derived
from hls_sandbox.objects import (
    Account,
    Comment,
    Conversation,
    ConversationEventKind,
    Document,
    Edit,
    Repository,
    read_account,
    read_count,
    read_text,
    read_time,
)
from hls_sandbox.seeding_pull_requests import generate_files, seed_review
from hls_sandbox.seeding_repository import seed_push, seed_release, seed_run
from hls_sandbox.world import World

Files = Sequence[Mapping[str, object]]

COUNTS = ("changed_files", "additions", "deletions")  # numbers of a pull request

KEYS_OF_BOTH = frozenset(
    {"number", "title", "body", "user", "state", "locked", "draft", "closed_at"}
)
"""Keys with the same meaning in the issue object and the pull request object of one pull
request.
"""


def seed(
    world: World,
    event: str,
    payload: Mapping[str, Any],
    *,
    now: datetime,
    files: Files | None = None,
) -> tuple[World, Conversation | None]:
    """Return `world` with the objects of a webhook's payload, and the event's issue or pull
    request, if any.

    Missing values are generated. A payload without a repository changes nothing. An existing issue
    or pull request keeps its comments and labels, and gets the payload's text, state and head
    commit. `files` are the changed files of a pull request; if None, stored, recorded or generated
    files are used.
    """
    repository = payload.get("repository")
    if not isinstance(repository, Mapping) or "/" not in str(repository.get("full_name") or ""):
        return world, None
    world = _with_repository(world, dict(repository))
    full_name = str(repository["full_name"])
    actor = read_account(payload.get("sender"))
    world = world.with_account(actor)
    world = seed_run(world, full_name, event, payload, now)
    world = seed_release(world, full_name, event, payload)
    world = seed_push(world, full_name, event, payload)
    shown, kind = _shown_conversation(payload)
    if shown is None:
        return (
            _with_tested(
                world, full_name, payload.get("workflow_run") or payload.get("check_run") or {}
            ),
            None,
        )
    before = world.conversation(full_name, shown["number"])
    world = _with_shown(world, full_name, shown, kind, before, files)
    if before is not None:
        world = _with_edit(world, before, now)
        world = _with_change_events(world, before, actor, now)
    world = _with_labels(
        world, full_name, shown, payload, fresh=before is None, actor=actor, now=now
    )
    world = _with_comment(world, full_name, shown["number"], event, payload, now)
    world = seed_review(world, f"{full_name}#{shown['number']}", event, payload, now)
    return world, world.conversation(full_name, shown["number"])


def _with_repository(world: World, document: Document) -> World:
    known = world.repository(document["full_name"])
    owner = read_account(document.get("owner"))
    whole = {**_template("repository"), **(known.document if known else {}), **document}
    return world.with_account(owner).with_repository(
        replace(known or Repository(whole), document=whole)
    )


def _shown_conversation(
    payload: Mapping[str, Any],
) -> tuple[Document | None, Literal["issue", "pull"]]:
    for name in ("pull_request", "issue"):
        shown = payload.get(name)
        if isinstance(shown, Mapping) and isinstance(shown.get("number"), int):
            is_pull = name == "pull_request" or isinstance(shown.get("pull_request"), Mapping)
            return dict(shown), "pull" if is_pull else "issue"
    return None, "issue"


def _with_tested(world: World, full_name: str, run: Mapping[str, Any]) -> World:
    """Store the pull requests that a run lists, with its commit as their head, unless they are
    stored.
    """
    for number in [one["number"] for one in run.get("pull_requests") or ()]:
        if world.conversation(full_name, number) is None:
            head = {**_template("pull_request")["head"], "sha": run["head_sha"]}
            world = _with_shown(
                world, full_name, {"number": number, "head": head}, "pull", None, None
            )
    return world


def _with_shown(
    world: World,
    full_name: str,
    shown: Document,
    kind: Literal["issue", "pull"],
    before: Conversation | None,
    files: Files | None,
) -> World:
    number: int = shown["number"]
    author = read_account(shown.get("user"))
    becomes_pull = kind == "pull" or (before is not None and before.kind == "pull")
    changes = {key: value for key, value in shown.items() if key not in {"labels", "comments"}}
    # an issue object: its URLs and ids differ from the pull request's
    if becomes_pull and "head" not in shown:
        changes = {key: value for key, value in changes.items() if key in KEYS_OF_BOTH}
    if before is None or (becomes_pull and before.kind == "issue"):
        base = _renumbered(
            _template("pull_request" if becomes_pull else "issue"), full_name, number
        )
        document = {**base, "id": number, "number": number, **changes}
        conversation = before or Conversation(full_name, number, kind, author, document)
        conversation = replace(conversation, kind=kind, document=document)
    else:
        conversation = replace(before, document={**before.document, **changes})
    if conversation.kind == "pull":
        listed = _files(conversation, before, files)
        counts: Document = {}
        if before is not None and before.files and listed == before.files:
            counts = {name: before.document[name] for name in COUNTS if name in before.document}
        elif files is not None or "changed_files" not in shown:  # a review's payload
            counts = _counts(listed)
        conversation = replace(
            conversation, document={**conversation.document, **counts}, files=listed
        )
    return world.with_account(author).with_conversation(conversation)


def _files(
    conversation: Conversation, before: Conversation | None, files: Files | None
) -> tuple[Document, ...]:
    if files is not None:
        urls = f"https://api.github.com/repos/{conversation.repository}/contents"
        given = ((file, quote(str(file.get("filename")), safe="")) for file in files)
        return tuple(
            {"contents_url": f"{urls}/{path}?ref={conversation.head_sha}", **file}
            for file, path in given
        )
    if before is not None and before.kind == "pull" and before.head_sha == conversation.head_sha:
        return before.files
    known = derived.files_at(conversation.head_sha)
    if known is not None:
        return tuple(dict(file) for file in known)
    counts = {name: read_count(conversation.document.get(name)) for name in COUNTS}
    return generate_files(conversation.repository, conversation.head_sha, **counts)


def _counts(listed: tuple[Document, ...]) -> dict[str, int]:
    sums = {
        name: sum(read_count(file.get(name)) for file in listed)
        for name in ("additions", "deletions")
    }
    return {"changed_files": len(listed), **sums}


def _with_edit(world: World, before: Conversation, now: datetime) -> World:
    after = world.threads[before.key.lower()]
    if after.kind != "issue" or before.body == after.body:
        return world
    return world.with_conversation(replace(after, edits=(*after.edits, Edit(now, before.body))))


def _with_change_events(world: World, before: Conversation, actor: Account, now: datetime) -> World:
    after = world.threads[before.key.lower()]
    changes: list[tuple[ConversationEventKind, str]] = []
    if before.title != after.title:
        changes.append(("renamed", before.title))
    if before.head_sha != after.head_sha and before.head_sha:
        changes.append(("pushed", after.head_sha))
    if before.state != after.state:
        changes.append(("closed" if after.state == "closed" else "reopened", ""))
    if before.locked != after.locked:
        changes.append(("locked" if after.locked else "unlocked", ""))
    for kind, detail in changes:
        world = world.with_event(world.threads[before.key.lower()], now, actor, kind, detail)
    return world


def _with_labels(
    world: World,
    full_name: str,
    shown: Document,
    payload: Mapping[str, Any],
    *,
    fresh: bool,
    actor: Account,
    now: datetime,
) -> World:
    action = payload.get("action")
    subject = payload.get("label")
    shown_labels = [
        label
        for label in shown.get("labels") or ()
        if isinstance(label, Mapping) and label.get("name")
    ]
    if action in {"labeled", "unlabeled"} and isinstance(subject, Mapping) and subject.get("name"):
        shown_labels = [label for label in shown_labels if label["name"] != subject["name"]]
    else:
        subject = None
    for label in [*shown_labels, *([subject] if subject else [])]:
        world = world.with_label(
            full_name, label["name"], str(label.get("color") or "ededed"), label.get("description")
        )
    conversation = world.threads[f"{full_name}#{shown['number']}".lower()]
    # Only a `labeled` event adds a label again that was removed in the stand-in.
    had = {name.lower() for name in conversation.labels}
    had |= {
        event.detail.lower()
        for event in conversation.events
        if event.kind in {"labeled", "unlabeled"}
    }
    new = tuple(label["name"] for label in shown_labels if label["name"].lower() not in had)
    if fresh:
        world = world.with_conversation(replace(conversation, labels=new))
    else:
        for name in new:
            world = world.with_conversation_label(conversation.key, name, actor, now)
    if subject and action == "labeled":
        return world.with_conversation_label(conversation.key, subject["name"], actor, now)
    if subject and action == "unlabeled":
        return world.without_conversation_label(conversation.key, subject["name"], actor, now)
    return world


def _with_comment(
    world: World, full_name: str, number: int, event: str, payload: Mapping[str, Any], now: datetime
) -> World:
    shown = payload.get("comment")
    if (
        event != "issue_comment"
        or not isinstance(shown, Mapping)
        or not isinstance(shown.get("id"), int)
    ):
        return world
    conversation = world.threads[f"{full_name}#{number}".lower()]
    others = tuple(comment for comment in conversation.comments if comment.id != shown["id"])
    if payload.get("action") == "deleted":
        return world.with_conversation(replace(conversation, comments=others))
    body = read_text(shown.get("body"))
    known = next((comment for comment in conversation.comments if comment.id == shown["id"]), None)
    if known is None:
        at = read_time(shown.get("created_at"), now)
        author = read_account(shown.get("user"))
        comment = Comment(shown["id"], author, body, at, read_time(shown.get("updated_at"), at))
        return world.with_account(author).with_conversation(
            replace(conversation, comments=(*others, comment))
        )
    if known.body == body:
        return world
    edited = replace(known, body=body, updated_at=now, edits=(*known.edits, Edit(now, known.body)))
    comments = tuple(
        edited if comment.id == edited.id else comment for comment in conversation.comments
    )
    return world.with_conversation(replace(conversation, comments=comments))


def _template(part: Literal["issue", "pull_request", "repository"]) -> Document:
    name = "pull_request.opened" if part == "pull_request" else "issues.opened"
    whole: Any = recorded.load(name).payload[part]
    document: Document = {
        key: value for key, value in whole.items() if key not in {"labels", "comments"}
    }
    if part != "repository":
        document |= {
            "title": "",
            "body": None,
            "assignee": None,
            "assignees": [],
            "milestone": None,
            "user": None,
        }
    return document


def _renumbered(value: Any, full_name: str, number: int) -> Any:
    if isinstance(value, dict):
        return {key: _renumbered(part, full_name, number) for key, part in value.items()}
    if isinstance(value, str) and value.startswith("https://"):
        return re.sub(
            r"/(issues|pulls?)/\d+",
            rf"/\1/{number}",
            value.replace("Codertocat/Hello-World", full_name),
        )
    return value
