"""Makes the reviews that webhooks tell of, and their comments on lines, exist on their pull request."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

from hls_handler.prompting import recorded
from hls_handler.sandbox import told
from hls_handler.sandbox.world import Document, Review, Thread, World

TEXTS = frozenset({"path", "diff_hunk", "body"})
PLACES: Mapping[str, type] = {"line": int, "original_line": int, "side": str}
"""What says where a comment stands. GitHub leaves each away at times, and so does a planted comment."""


def with_told_review(world: World, key: str, event: str, payload: Mapping[str, Any], now: datetime) -> World:
    """The review of a `pull_request_review` event is there or changed; the comment of a `..._comment` event also gone.

    `key` is that of the thread ("owner/repo#7"). A comment whose review nobody told of makes it. Events without a
    review, and comments that belong to none, change nothing.
    """
    thread = world.threads[key.lower()]
    if event == "pull_request_review":
        shown = payload.get("review")
        if isinstance(shown, Mapping) and isinstance(shown.get("id"), int):
            return _with_review(world, thread, shown, payload, now)
    if event == "pull_request_review_comment":
        shown = payload.get("comment")
        if isinstance(shown, Mapping) and isinstance(shown.get("id"), int):
            return _with_line_comment(world, thread, shown, payload.get("action") == "deleted", now)
    return world


def _with_review(
    world: World, thread: Thread, shown: Mapping[str, Any], payload: Mapping[str, Any], now: datetime
) -> World:
    """A review of the story comes with its comments, which GitHub tells in events of their own."""
    known = thread.review(shown["id"])
    review = Review(
        id=shown["id"],
        author=told.account(shown.get("user")),
        state=told.text(shown.get("state")).lower() or "commented",
        body=told.text(shown.get("body")),
        commit_id=told.text(shown.get("commit_id")) or thread.head_sha,
        submitted_at=told.time(shown.get("submitted_at"), known.submitted_at if known else now),
        comments=known.comments if known else _sound_comments(recorded.review_comments_of(shown["id"])),
    )
    world = _with(world, thread, review, now)
    if known is not None and known.state != review.state == "dismissed":
        actor = told.account(payload.get("sender"))
        return world.with_event(world.threads[thread.key.lower()], now, actor, "review_dismissed", str(review.id))
    return world


def _with_line_comment(world: World, thread: Thread, shown: Mapping[str, Any], deleted: bool, now: datetime) -> World:
    review_id = shown.get("pull_request_review_id")
    review = thread.review(review_id) if isinstance(review_id, int) else None
    if not isinstance(review_id, int) or (deleted and review is None):
        return world
    if review is None:
        at = told.time(shown.get("created_at"), now)
        commit_id = told.text(shown.get("original_commit_id") or shown.get("commit_id")) or thread.head_sha
        review = Review(review_id, told.account(shown.get("user")), "commented", "", commit_id, at)
    comments = {comment["id"]: comment for comment in review.comments}
    if deleted:
        comments.pop(shown["id"], None)
    else:
        comments[shown["id"]] = _sound({**comments.get(shown["id"], {}), **shown})
    return _with(world, thread, replace(review, comments=tuple(comments.values())), now)


def _with(world: World, thread: Thread, review: Review, now: datetime) -> World:
    """The thread has this review in its place; a new one is told in the timeline."""
    world = world.with_account(review.author)
    if thread.review(review.id) is None:
        added = replace(thread, reviews=(*thread.reviews, review))
        return world.with_event(added, now, review.author, "reviewed", str(review.id))
    kept = tuple(review if known.id == review.id else known for known in thread.reviews)
    return world.with_thread(replace(thread, reviews=kept))


def _sound_comments(shown: tuple[Mapping[str, object], ...]) -> tuple[Document, ...]:
    return tuple(_sound(comment) for comment in shown)


def _sound(shown: Mapping[str, Any]) -> Document:
    """The comment with its texts as text, and without a place that is none."""
    kept = {key: value for key, value in shown.items() if isinstance(value, PLACES.get(key, object))}
    return {**kept, **{key: told.text(shown.get(key)) for key in TEXTS}}
