"""Makes what a webhook tells of exist: the thread, the run or the release that GitHub must have stored to send it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any, Literal

from hls_handler.prompting import recorded
from hls_handler.sandbox import releases, reviews, runs, told
from hls_handler.sandbox.patches import made_up_files
from hls_handler.sandbox.world import Account, Comment, Document, Edit, Happening, Repository, Thread, World

Files = Sequence[Mapping[str, object]]

TOLD_OF_BOTH = frozenset(
    {
        "number",
        "title",
        "body",
        "user",
        "state",
        "locked",
        "draft",
        "assignee",
        "assignees",
        "milestone",
        "author_association",
        "created_at",
        "updated_at",
        "closed_at",
    }
)
"""What an issue object says of a pull request, too."""


def plant(
    world: World, event: str, payload: Mapping[str, Any], *, now: datetime, files: Files | None = None
) -> tuple[World, Thread | None]:
    """The world after GitHub stored what the event tells, and the thread it is about (None if about none).

    Never raises for a JSON object: what is missing is made up, an event without repository changes nothing. A thread
    that exists keeps its comments and labels; its text, state and head become those of the payload. `files` are the
    pull request's changed files in REST shape, in place of those known or made up.
    """
    repository = payload.get("repository")
    if not isinstance(repository, Mapping) or "/" not in str(repository.get("full_name") or ""):
        return world, None
    world = _with_repository(world, event, payload, dict(repository))
    full_name = str(repository["full_name"])
    actor = told.account(payload.get("sender"))
    world = world.with_account(actor)
    world = runs.with_told_run(world, full_name, event, payload, now)
    world = releases.with_told_release(world, full_name, event, payload, now)
    world = releases.with_told_push(world, full_name, event, payload, now)
    shown, kind = _shown_thread(payload)
    if shown is None:
        return world, None
    before = world.thread(full_name, shown["number"])
    world = _with_shown(world, full_name, shown, kind, before, files)
    if before is not None:
        world = _with_changes(world, before, actor, now)
    world = _with_labels(world, full_name, shown, payload, fresh=before is None, actor=actor, now=now)
    world = _with_comment(world, full_name, shown["number"], event, payload, now)
    world = reviews.with_told_review(world, f"{full_name}#{shown['number']}", event, payload, now)
    thread = _with_fate(world.threads[f"{full_name}#{shown['number']}".lower()], event, payload)
    return world.with_thread(thread), thread


def _with_repository(world: World, event: str, payload: Mapping[str, Any], document: Document) -> World:
    known = world.repository(document["full_name"])
    owner = told.account(document.get("owner"))
    whole = {**_template("repository"), **(known.document if known else {}), **document}
    world = world.with_account(owner).with_repository(
        replace(known, document=whole) if known else Repository(document=whole)
    )
    renamed = ((payload.get("changes") or {}).get("repository") or {}).get("name") or {}
    if event == "repository" and payload.get("action") == "renamed" and isinstance(renamed.get("from"), str):
        old = f"{document['full_name'].partition('/')[0]}/{renamed['from']}"
        world = replace(world, moved={**world.moved, old.lower(): document["full_name"]})
    return world


def _shown_thread(payload: Mapping[str, Any]) -> tuple[Document | None, Literal["issue", "pull"]]:
    """The issue or pull request that the payload shows, with a number."""
    for name in ("pull_request", "issue"):
        shown = payload.get(name)
        if isinstance(shown, Mapping) and isinstance(shown.get("number"), int):
            is_pull = name == "pull_request" or isinstance(shown.get("pull_request"), Mapping)
            return dict(shown), "pull" if is_pull else "issue"
    return None, "issue"


def _with_shown(
    world: World,
    full_name: str,
    shown: Document,
    kind: Literal["issue", "pull"],
    before: Thread | None,
    files: Files | None,
) -> World:
    """The thread has the payload's text, state and head."""
    number: int = shown["number"]
    author = told.account(shown.get("user"))
    becomes_pull = kind == "pull" or (before is not None and before.kind == "pull")
    news = {key: value for key, value in shown.items() if key not in {"labels", "comments"}}
    if becomes_pull and "head" not in shown:  # told as an issue: its addresses and ids are not the pull request's
        news = {key: value for key, value in news.items() if key in TOLD_OF_BOTH}
    if before is None or (becomes_pull and before.kind == "issue"):
        base = _renumbered(_template("pull_request" if becomes_pull else "issue"), full_name, number)
        document = {**base, "id": number, "number": number, **news}
        thread = before or Thread(full_name, number, kind, author, document)
        thread = replace(thread, kind=kind, document=document)
    else:
        thread = replace(before, document={**before.document, **news}, gone=None, moved_to=None)
    if thread.kind == "pull":
        listed = _files(thread, before, files)
        if "changed_files" not in shown and (before is None or listed != before.files):  # a review's payload
            thread = replace(thread, document={**thread.document, **_counts(listed)})
        thread = replace(thread, files=listed)
    return world.with_account(author).with_thread(thread)


def _files(thread: Thread, before: Thread | None, files: Files | None) -> tuple[Document, ...]:
    """Those given, else those kept for the same head, else those that the story knows, else made up by the numbers."""
    if files is not None:
        return tuple(dict(file) for file in files)
    if before is not None and before.files and before.head_sha == thread.head_sha:
        return before.files
    known = recorded.files_at(thread.head_sha)
    if known is not None:
        return tuple(dict(file) for file in known)
    counts = {name: told.count(thread.document.get(name)) for name in ("changed_files", "additions", "deletions")}
    return made_up_files(thread.repository, thread.head_sha, **counts)


def _counts(listed: tuple[Document, ...]) -> dict[str, int]:
    sums = {name: sum(told.count(file.get(name)) for file in listed) for name in ("additions", "deletions")}
    return {"changed_files": len(listed), **sums}


def _with_changes(world: World, before: Thread, actor: Account, now: datetime) -> World:
    """The timeline tells what became different."""
    after = world.threads[before.key.lower()]
    history_update: list[tuple[Happening, str]] = []
    if before.title != after.title:
        history_update.append(("renamed", before.title))
    if before.head_sha != after.head_sha and before.head_sha:
        history_update.append(("pushed", after.head_sha))
    if before.state != after.state:
        history_update.append(("closed" if after.state == "closed" else "reopened", ""))
    if before.locked != after.locked:
        history_update.append(("locked" if after.locked else "unlocked", ""))
    for happening, detail in history_update:
        world = world.with_event(world.threads[before.key.lower()], now, actor, happening, detail)
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
    """Labels of the payload that the thread never had are on it; `labeled` and `unlabeled` do what they say.

    A recorded payload shows labels as they were then: one that was taken off here does not come back by it.
    """
    action, subject = payload.get("action"), payload.get("label")
    shown_labels = [label for label in shown.get("labels") or () if isinstance(label, Mapping) and label.get("name")]
    if action in {"labeled", "unlabeled"} and isinstance(subject, Mapping) and subject.get("name"):
        shown_labels = [label for label in shown_labels if label["name"] != subject["name"]]
    else:
        subject = None
    for label in [*shown_labels, *([subject] if subject else [])]:
        world = world.with_label(
            full_name, label["name"], str(label.get("color") or "ededed"), label.get("description")
        )
    thread = world.threads[f"{full_name}#{shown['number']}".lower()]
    new = tuple(label["name"] for label in shown_labels if label["name"].lower() not in _ever_had(thread))
    if fresh:
        world = world.with_thread(replace(thread, labels=new))
    else:
        for name in new:
            world = world.with_thread_label(thread.key, name, actor, now)
    if subject and action == "labeled":
        return world.with_thread_label(thread.key, subject["name"], actor, now)
    if subject and action == "unlabeled":
        return world.without_thread_label(thread.key, subject["name"], actor, now)
    return world


def _ever_had(thread: Thread) -> frozenset[str]:
    """Lower-case names of all labels that the thread has or had."""
    had = {event.detail.lower() for event in thread.events if event.happening in {"labeled", "unlabeled"}}
    return frozenset({name.lower() for name in thread.labels} | had)


def _with_comment(
    world: World, full_name: str, number: int, event: str, payload: Mapping[str, Any], now: datetime
) -> World:
    """The comment of an `issue_comment` event is there, changed, or gone."""
    shown = payload.get("comment")
    if event != "issue_comment" or not isinstance(shown, Mapping) or not isinstance(shown.get("id"), int):
        return world
    thread = world.threads[f"{full_name}#{number}".lower()]
    others = tuple(comment for comment in thread.comments if comment.id != shown["id"])
    if payload.get("action") == "deleted":
        return world.with_thread(replace(thread, comments=others))
    body = str(shown.get("body") or "")
    known = next((comment for comment in thread.comments if comment.id == shown["id"]), None)
    if known is None:
        at = told.time(shown.get("created_at"), now)
        author = told.account(shown.get("user"))
        comment = Comment(shown["id"], author, body, at, told.time(shown.get("updated_at"), at))
        return world.with_account(author).with_thread(replace(thread, comments=(*others, comment)))
    if known.body == body:
        return world
    edited = replace(known, body=body, updated_at=now, edits=(*known.edits, Edit(now, known.body)))
    kept = tuple(edited if comment.id == edited.id else comment for comment in thread.comments)
    return world.with_thread(replace(thread, comments=kept))


def _with_fate(thread: Thread, event: str, payload: Mapping[str, Any]) -> Thread:
    """Deleted and transferred issues are gone."""
    if event == "issues" and payload.get("action") == "deleted":
        return replace(thread, gone="deleted")
    if event == "issues" and payload.get("action") == "transferred":
        moved_to = ((payload.get("changes") or {}).get("new_issue") or {}).get("url")
        return replace(thread, gone="transferred", moved_to=moved_to if isinstance(moved_to, str) else None)
    return thread


def _template(part: Literal["issue", "pull_request", "repository"]) -> Document:
    """A recorded one, to fill up what a payload leaves away; without what is somebody's own."""
    name = "pull_request.opened" if part == "pull_request" else "issues.opened"
    whole: Any = recorded.load(name).payload[part]
    document: Document = {key: value for key, value in whole.items() if key not in {"labels", "comments"}}
    if part != "repository":
        document |= {"title": "", "body": None, "assignee": None, "assignees": [], "milestone": None, "user": None}
    return document


def _renumbered(value: Any, full_name: str, number: int) -> Any:
    """The template with its addresses and identifiers made those of another thread."""
    if isinstance(value, dict):
        return {key: _renumbered(part, full_name, number) for key, part in value.items()}
    if isinstance(value, str) and value.startswith("https://"):
        return re.sub(r"/(issues|pulls?)/\d+", rf"/\1/{number}", value.replace("Codertocat/Hello-World", full_name))
    return value
