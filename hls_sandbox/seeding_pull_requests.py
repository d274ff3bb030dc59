"""Adds the reviews and review comments of payloads to the stand-in GitHub, and generates changed
files.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

from hls_sandbox import derived
from hls_sandbox.objects import (
    Conversation,
    Document,
    Review,
    read_account,
    read_text,
    read_time,
)
from hls_sandbox.world import World

TEXT_KEYS = frozenset({"path", "diff_hunk", "body"})
# the API lists no more: https://docs.github.com/en/rest/pulls/pulls#list-pull-requests-files
MAX_FILES = 3000
MAX_PATCH_LINES = 3000  # of one file; GitHub omits the patch of a larger change

PATHS = (
    "README.md",
    "src/app.py",
    "src/store.py",
    "web/page.js",
    "docs/setup.md",
    "tests/test_app.py",
)

POSITION_KEYS: Mapping[str, type] = {"line": int, "original_line": int, "side": str}
"""{key: type of its value} for the position of a review comment. All keys are optional, as at
GitHub.
"""


def seed_review(
    world: World, key: str, event: str, payload: Mapping[str, Any], now: datetime
) -> World:
    """Store the payload's review or review comment in the pull request `key` ("owner/repo#7").

    For a comment of an unknown review, a review is created, too. Events other than
    `pull_request_review` and `pull_request_review_comment` change nothing.
    """
    conversation = world.threads[key.lower()]
    if event == "pull_request_review":
        shown = payload.get("review")
        if isinstance(shown, Mapping) and isinstance(shown.get("id"), int):
            return _with_review(world, conversation, shown, now)
    if event == "pull_request_review_comment":
        shown = payload.get("comment")
        if isinstance(shown, Mapping) and isinstance(shown.get("id"), int):
            return _with_line_comment(
                world, conversation, shown, payload.get("action") == "deleted", now
            )
    return world


def _with_review(
    world: World, conversation: Conversation, shown: Mapping[str, Any], now: datetime
) -> World:
    known = conversation.review(shown["id"])
    review = Review(
        id=shown["id"],
        author=read_account(shown.get("user")),
        state=read_text(shown.get("state")).lower() or "commented",
        body=read_text(shown.get("body")),
        commit_id=read_text(shown.get("commit_id")) or conversation.head_sha,
        submitted_at=read_time(shown.get("submitted_at"), known.submitted_at if known else now),
        # A payload of a review contains no comments.
        comments=(
            known.comments
            if known
            else tuple(map(_valid_comment, derived.review_comments_of(shown["id"])))
        ),
    )
    return _with_stored_review(world, conversation, review, now)


def _with_line_comment(
    world: World, conversation: Conversation, shown: Mapping[str, Any], deleted: bool, now: datetime
) -> World:
    review_id = shown.get("pull_request_review_id")
    review = conversation.review(review_id) if isinstance(review_id, int) else None
    if not isinstance(review_id, int) or (deleted and review is None):
        return world
    if review is None:
        at = read_time(shown.get("created_at"), now)
        commit_id = (
            read_text(shown.get("original_commit_id") or shown.get("commit_id"))
            or conversation.head_sha
        )
        review = Review(review_id, read_account(shown.get("user")), "commented", "", commit_id, at)
    comments = {comment["id"]: comment for comment in review.comments}
    if deleted:
        comments.pop(shown["id"], None)
    else:
        comments[shown["id"]] = _valid_comment({**comments.get(shown["id"], {}), **shown})
    return _with_stored_review(
        world, conversation, replace(review, comments=tuple(comments.values())), now
    )


def _with_stored_review(
    world: World, conversation: Conversation, review: Review, now: datetime
) -> World:
    world = world.with_account(review.author)
    if conversation.review(review.id) is None:
        added = replace(conversation, reviews=(*conversation.reviews, review))
        return world.with_event(added, now, review.author, "reviewed", str(review.id))
    reviews = tuple(review if known.id == review.id else known for known in conversation.reviews)
    return world.with_conversation(replace(conversation, reviews=reviews))


def _valid_comment(shown: Mapping[str, Any]) -> Document:
    valid = {
        key: value
        for key, value in shown.items()
        if isinstance(value, POSITION_KEYS.get(key, object))
    }
    return {**valid, **{key: read_text(shown.get(key)) for key in TEXT_KEYS}}


def generate_files(
    repository: str, head_sha: str, *, changed_files: int, additions: int, deletions: int
) -> tuple[Document, ...]:
    """Return REST objects of changed files. Each has an equal share of the totals. The first also
    has the remainder.
    """
    count = min(max(changed_files, 0), MAX_FILES)
    return tuple(
        _file(
            repository,
            head_sha,
            PATHS[index] if index < len(PATHS) else f"src/part_{index:04d}.py",
            added=_share(additions, count, index),
            removed=_share(deletions, count, index),
        )
        for index in range(count)
    )


def _share(total: int, count: int, index: int) -> int:
    return total // count + (total % count if index == 0 else 0)


def _file(repository: str, head_sha: str, path: str, *, added: int, removed: int) -> Document:
    quoted = path.replace("/", "%2F")
    document: Document = {
        "sha": hashlib.sha1(f"{head_sha} {path}".encode()).hexdigest(),
        "filename": path,
        "status": "modified",
        "additions": added,
        "deletions": removed,
        "contents_url": (
            f"https://api.github.com/repos/{repository}/contents/{quoted}?ref={head_sha}"
        ),
    }
    if 0 < added + removed <= MAX_PATCH_LINES:
        lines = [f"@@ -1,{removed + 2} +1,{added + 2} @@", f" {path} begins here"]
        lines += [f"-line {n} of {path}, as it was" for n in range(1, removed + 1)]
        lines += [f"+line {n} of {path}, as it is now" for n in range(1, added + 1)]
        document["patch"] = "\n".join([*lines, f" {path} goes on"])
    return document
