"""The objects of the stand-in GitHub: a frozen `World` that each change replaces under a lock."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from hls_handler.errors import HlsError
from hls_sandbox import seeding
from hls_sandbox.hooks import Hooks
from hls_sandbox.objects import (
    Account,
    Attempt,
    Comment,
    Conversation,
    Document,
    Edit,
    Job,
    Permission,
    Reaction,
    Release,
    Repository,
    Review,
    Run,
)
from hls_sandbox.world import World

BOT = Account(login="hls-bot", id=99_000_001, type="User")
"""The default account of the stand-in's token."""


class StateError(HlsError):
    """The state file cannot be read, or another version of HLS wrote the file in another format."""


def now_utc() -> datetime:
    return datetime.now(UTC)


class State:
    """The objects of the stand-in GitHub, and methods that read and change them. Thread-safe.

    With a state file, each method writes its change to the file before it returns.
    """

    def __init__(
        self,
        path: Path | None = None,
        *,
        me: Account = BOT,
        clock: Callable[[], datetime] = now_utc,
        begin: World = World(),
    ) -> None:
        """Load the file `path`, or use `begin` if there is no such file. `me` is the bot
        account.
        """
        self._path = path
        self._clock = clock
        self._lock = threading.Lock()
        self.me = me
        self.hooks = Hooks(clock)  # not in the state file
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
        self._world = _load(path) if path is not None and path.exists() else begin
        self._world = self._world.with_account(me)

    # --- reads
    # -------------------------------------------------------------------------

    @property
    def world(self) -> World:
        return self._world

    def repository(self, full_name: str) -> Repository | None:
        return self._world.repository(full_name)

    def conversation(self, full_name: str, number: int) -> Conversation | None:
        return self._world.conversation(full_name, number)

    def conversations(self) -> tuple[Conversation, ...]:
        """Return all issues and pull requests, most recently changed first."""
        return tuple(reversed(list(self._world.threads.values())))

    def run(self, full_name: str, run_id: int) -> Run | None:
        return self._world.run(full_name, run_id)

    def runs(self) -> tuple[Run, ...]:
        """Return the runs of all workflows, most recently changed first."""
        return tuple(reversed(list(self._world.runs.values())))

    def find_job(self, full_name: str, job_id: int) -> tuple[Run, Attempt, Job] | None:
        here = (
            run for run in self._world.runs.values() if run.repository.lower() == full_name.lower()
        )
        jobs = (
            (run, attempt, job) for run in here for attempt in run.attempts for job in attempt.jobs
        )
        return next((found for found in jobs if found[2].id == job_id), None)

    def releases(self, full_name: str) -> tuple[Release, ...]:
        """Return the releases, newest first as at GitHub. Drafts have no date and come before all
        other releases.
        """
        here = [
            one
            for one in self._world.releases.values()
            if one.repository.lower() == full_name.lower()
        ]
        return tuple(
            sorted(here, key=lambda one: str(one.document.get("published_at") or "~"), reverse=True)
        )

    def find_comment(self, full_name: str, comment_id: int) -> tuple[Conversation, Comment] | None:
        here = (
            one
            for one in self._world.threads.values()
            if one.repository.lower() == full_name.lower()
        )
        comments = (
            (conversation, comment) for conversation in here for comment in conversation.comments
        )
        return next((found for found in comments if found[1].id == comment_id), None)

    def permission(self, full_name: str, login: str) -> Permission | None:
        """Return the account's permission on the repository; None for an unknown account."""
        permission = self._world.permissions.get(f"{full_name}@{login}".lower())
        if permission is not None:
            return permission
        if login.lower() == full_name.partition("/")[0].lower():
            return "admin"
        if login.lower() == self.me.login.lower():
            return "write"
        return "read" if login.lower() in self._world.accounts else None

    # --- changes
    # -------------------------------------------------------------------------

    def seed(
        self, event: str, payload: Mapping[str, Any], *, files: seeding.Files | None = None
    ) -> Conversation | None:
        """Store the objects of a webhook's payload, and return the event's issue or pull request,
        if any.
        """
        # A deep copy, without lone surrogates.
        copied = json.loads(json.dumps(payload, ensure_ascii=False).encode("utf-8", "replace"))
        with self._lock:
            world, conversation = seeding.seed(
                self._world, event, copied, now=self._clock(), files=files
            )
            self._store(world)
            return conversation

    def add_person(self, login: str) -> Account:
        """Return the account with this login; a new one of a person if there is none."""
        with self._lock:
            known = self._world.accounts.get(login.lower())
            if known is not None:
                return known
            person = Account(login, self._world.next_id, "User")
            self._store(replace(self._world.with_account(person), next_id=self._world.next_id + 1))
            return person

    def create_comment(
        self, conversation: Conversation, body: str, *, by: Account | None = None
    ) -> Comment:
        with self._lock:
            at = self._clock()
            author = by or self.me
            comment = Comment(self._world.next_id, author, body, created_at=at, updated_at=at)
            world = replace(self._world.with_account(author), next_id=self._world.next_id + 1)
            current = world.threads[conversation.key.lower()]
            self._store(
                world.with_conversation(replace(current, comments=(*current.comments, comment)))
            )
            return comment

    def edit_comment(self, conversation: Conversation, comment: Comment, body: str) -> Comment:
        """Replace the text of a comment. If the new text differs, the old text is added to
        `edits`.
        """
        with self._lock:
            at = self._clock()
            edits = (
                comment.edits if body == comment.body else (*comment.edits, Edit(at, comment.body))
            )
            edited = replace(comment, body=body, updated_at=at, edits=edits)
            current = self._world.threads[conversation.key.lower()]
            comments = tuple(
                edited if known.id == edited.id else known for known in current.comments
            )
            self._store(self._world.with_conversation(replace(current, comments=comments)))
            return edited

    def create_review(
        self,
        conversation: Conversation,
        body: str,
        commit_id: str,
        comments: Sequence[Document],
        *,
        by: Account,
    ) -> tuple[Conversation, Review]:
        """Add a review with the state "commented". The comments get ids. Return the changed pull
        request, too.
        """
        with self._lock:
            at = self._clock()
            world = self._world.with_account(by)
            numbered = tuple(
                {**one, "id": world.next_id + 1 + place} for place, one in enumerate(comments)
            )
            review = Review(world.next_id, by, "commented", body, commit_id, at, numbered)
            world = replace(world, next_id=review.id + 1 + len(numbered))
            current = world.threads[conversation.key.lower()]
            changed = replace(current, reviews=(*current.reviews, review))
            self._store(world.with_event(changed, at, by, "reviewed", str(review.id)))
            return self._world.threads[conversation.key.lower()], review

    def edit_review_comment(self, conversation: Conversation, edited: Document) -> None:
        """Replace the review comment that has the id of `edited`."""
        with self._lock:
            current = self._world.threads[conversation.key.lower()]
            reviews: list[Review] = []
            for review in current.reviews:
                comments = [edited if one["id"] == edited["id"] else one for one in review.comments]
                reviews.append(replace(review, comments=tuple(comments)))
            changed = replace(current, reviews=tuple(reviews))
            self._store(self._world.with_conversation(changed))

    def set_resolved(self, full_name: str, number: int, comment: int, by: str | None) -> bool:
        """Resolve the review thread that begins with `comment`, or reopen it (None). Return False
        if it is unknown.
        """
        with self._lock:
            pull = self._world.conversation(full_name, number)
            if pull is None or comment not in {one["id"] for _, one in pull.review_comments()}:
                return False
            others = {first: login for first, login in pull.resolved.items() if first != comment}
            resolved = others if by is None else {**others, comment: by}
            self._store(self._world.with_conversation(replace(pull, resolved=resolved)))
            return True

    def react(self, full_name: str, comment: int, login: str, content: str) -> bool | None:
        """Add a reaction to a comment, and return True if it is new; None for an unknown
        comment.
        """
        with self._lock:
            found = next(
                (one for one in self.conversations() if one.has_comment(full_name, comment)), None
            )
            if found is None:
                return None
            reaction = Reaction(comment, login, content)
            if reaction not in found.reactions:
                changed = replace(found, reactions=(*found.reactions, reaction))
                self._store(self._world.with_conversation(changed))
            return reaction not in found.reactions

    def create_label(self, full_name: str, name: str, color: str, description: str | None) -> None:
        self.change(lambda world: world.with_label(full_name, name, color, description))

    def add_labels(
        self, conversation: Conversation, names: tuple[str, ...], *, by: Account | None = None
    ) -> Conversation:
        """Add labels. As at GitHub, labels that the repository lacks are created."""
        with self._lock:
            world = self._world
            at = self._clock()
            for name in names:
                world = world.with_label(conversation.repository, name)
                world = world.with_conversation_label(conversation.key, name, by or self.me, at)
            self._store(world)
            return world.threads[conversation.key.lower()]

    def remove_label(
        self, conversation: Conversation, name: str, *, by: Account | None = None
    ) -> Conversation:
        key = conversation.key
        at = self._clock()
        self.change(lambda world: world.without_conversation_label(key, name, by or self.me, at))
        return self._world.threads[key.lower()]

    def set_permission(self, full_name: str, login: str, permission: Permission) -> None:
        self.add_person(login)
        key = f"{full_name}@{login}".lower()
        self.change(
            lambda world: replace(world, permissions={**world.permissions, key: permission})
        )

    def change(self, change: Callable[[World], World]) -> None:
        """Store the world that `change` returns for the present one."""
        with self._lock:
            self._store(change(self._world))

    def _store(self, world: World) -> None:
        if self._path is not None:
            temporary = self._path.with_name(f"{self._path.name}.new")
            temporary.write_bytes(msgspec.json.encode(world))
            temporary.replace(self._path)  # atomic: a killed process leaves no partial state file
        self._world = world


def _load(path: Path) -> World:
    try:
        return msgspec.json.decode(path.read_bytes(), type=World)
    except (OSError, msgspec.MsgspecError) as exc:
        raise StateError(
            f"{path} is not a state file of the sandbox: delete it to start with an empty sandbox"
            f" ({exc})"
        ) from exc
