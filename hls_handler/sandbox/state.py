"""The stand-in GitHub's state: one `World` at a time, changed under a lock and kept in a file if there is one."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from hls_handler.errors import HlsError
from hls_handler.sandbox import planting
from hls_handler.sandbox.effects import effects_of
from hls_handler.sandbox.runs import concluded
from hls_handler.sandbox.world import (
    Account,
    Attempt,
    Comment,
    CommentEffects,
    Edit,
    Job,
    Permission,
    Release,
    Repository,
    Run,
    Thread,
    World,
)

BOT = Account(login="hls-bot", id=99_000_001, type="User")
"""Who the stand-in's token belongs to, unless told otherwise: an account of its own, with a personal token."""


class StateError(HlsError):
    """The sandbox's file is not one that it wrote."""


def now_utc() -> datetime:
    return datetime.now(UTC)


class State:
    """Reads need no lock: they see the last whole world. A change is on disk before the call returns.

    What people do (delete a comment, take a label away) is here beside what the API offers, for tests and the demo.
    """

    def __init__(
        self,
        path: Path | None = None,
        *,
        me: Account = BOT,
        clock: Callable[[], datetime] = now_utc,
        begin: World = World(),
    ) -> None:
        """`begin` is the world where there is no file yet."""
        self._path = path
        self._clock = clock
        self._lock = threading.Lock()
        self.me = me
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
        self._world = _load(path) if path is not None and path.exists() else begin
        self._world = self._world.with_account(me)

    # --- reading -----------------------------------------------------------------------------------------------------

    @property
    def world(self) -> World:
        return self._world

    @property
    def effects(self) -> tuple[CommentEffects, ...]:
        """What the comments written through the API would have set off, in order."""
        return self._world.effects

    def repository(self, full_name: str) -> Repository | None:
        return self._world.repository(full_name)

    def thread(self, full_name: str, number: int) -> Thread | None:
        return self._world.thread(full_name, number)

    def threads(self) -> tuple[Thread, ...]:
        """All issues and pull requests, those that something happened to last first."""
        return tuple(reversed(list(self._world.threads.values())))

    def run(self, full_name: str, run_id: int) -> Run | None:
        return self._world.run(full_name, run_id)

    def runs(self) -> tuple[Run, ...]:
        """The runs of all workflows, those told of last first."""
        return tuple(reversed(list(self._world.runs.values())))

    def find_job(self, full_name: str, job_id: int) -> tuple[Run, Attempt, Job] | None:
        for run in self._world.runs.values():
            if run.repository.lower() == full_name.lower():
                for attempt in run.attempts:
                    for job in attempt.jobs:
                        if job.id == job_id:
                            return run, attempt, job
        return None

    def releases(self, full_name: str) -> tuple[Release, ...]:
        """The newest first, as GitHub lists them; drafts, which have no date, before all."""
        here = [one for one in self._world.releases.values() if one.repository.lower() == full_name.lower()]
        return tuple(sorted(here, key=lambda one: str(one.document.get("published_at") or "~"), reverse=True))

    def find_comment(self, full_name: str, comment_id: int) -> tuple[Thread, Comment] | None:
        for thread in self._world.threads.values():
            if thread.repository.lower() == full_name.lower():
                for comment in thread.comments:
                    if comment.id == comment_id:
                        return thread, comment
        return None

    def permission(self, full_name: str, login: str) -> Permission | None:
        """What an account may do; None for an account that nobody has heard of."""
        by_hand = self._world.permissions.get(f"{full_name}@{login}".lower())
        if by_hand is not None:
            return by_hand
        if login.lower() == full_name.partition("/")[0].lower():
            return "admin"
        if login.lower() == self.me.login.lower():
            return "write"
        return "read" if login.lower() in self._world.accounts else None

    def association(self, full_name: str, login: str) -> str:
        """What GitHub says of an author's standing (`author_association`)."""
        if login == full_name.partition("/")[0]:
            return "OWNER"
        return "COLLABORATOR" if self.permission(full_name, login) in {"admin", "write"} else "NONE"

    # --- changing ----------------------------------------------------------------------------------------------------

    def plant(self, event: str, payload: Mapping[str, Any], *, files: planting.Files | None = None) -> Thread | None:
        """Make the thread of a webhook exist, as `planting.plant` says."""
        whole = json.loads(
            json.dumps(payload, ensure_ascii=False).encode("utf-8", "replace")
        )  # ours alone, and sound text
        with self._lock:
            world, thread = planting.plant(self._world, event, whole, now=self._clock(), files=files)
            self._keep(world)
            return thread

    def create_comment(self, thread: Thread, body: str, *, by: Account | None = None) -> Comment:
        with self._lock:
            at, author = self._clock(), by or self.me
            comment = Comment(self._world.next_id, author, body, created_at=at, updated_at=at)
            world = replace(self._world.with_account(author), next_id=self._world.next_id + 1)
            self._keep(_with_comments(world, thread, lambda comments: (*comments, comment), comment, at))
            return comment

    def edit_comment(self, thread: Thread, comment: Comment, body: str) -> Comment:
        """Replace the text; GitHub counts no edit where nothing changed."""
        with self._lock:
            at = self._clock()
            edits = comment.edits if body == comment.body else (*comment.edits, Edit(at, comment.body))
            edited = replace(comment, body=body, updated_at=at, edits=edits)

            def swap(comments: tuple[Comment, ...]) -> tuple[Comment, ...]:
                return tuple(edited if known.id == comment.id else known for known in comments)

            self._keep(_with_comments(self._world, thread, swap, edited, at))
            return edited

    def delete_comment(self, thread: Thread, comment_id: int, *, by: Account) -> None:
        """A person deletes a comment."""
        with self._lock:
            current = self._world.threads[thread.key.lower()]
            left = tuple(comment for comment in current.comments if comment.id != comment_id)
            fewer = replace(current, comments=left)
            self._keep(self._world.with_event(fewer, self._clock(), by, "uncommented", str(comment_id)))

    def create_label(self, full_name: str, name: str, color: str, description: str | None) -> Repository:
        with self._lock:
            self._keep(self._world.with_label(full_name, name, color, description))
            return self._world.repositories[full_name.lower()]

    def add_labels(self, thread: Thread, names: tuple[str, ...], *, by: Account | None = None) -> Thread:
        """Put labels on a thread; those that the repository lacks are created, as GitHub does."""
        with self._lock:
            world, at = self._world, self._clock()
            for name in names:
                world = world.with_label(thread.repository, name)
                world = world.with_thread_label(thread.key, name, by or self.me, at)
            self._keep(world)
            return world.threads[thread.key.lower()]

    def remove_label(self, thread: Thread, name: str, *, by: Account | None = None) -> Thread:
        with self._lock:
            self._keep(self._world.without_thread_label(thread.key, name, by or self.me, self._clock()))
            return self._world.threads[thread.key.lower()]

    def set_permission(self, full_name: str, login: str, permission: Permission) -> None:
        with self._lock:
            key = f"{full_name}@{login}".lower()
            self._keep(replace(self._world, permissions={**self._world.permissions, key: permission}))

    def set_file(self, full_name: str, path: str, text: str | None, *, branch: str | None = None) -> bool:
        """Let a branch, if not told the default one, have a file or have it no more. False for no such repository."""
        with self._lock:
            home = self._world.repository(full_name)
            if home is None:
                return False
            self._keep(self._world.with_file(home.full_name, branch or home.default_branch, path, text))
            return True

    def set_log(self, full_name: str, job_id: int, log: str | None) -> bool:
        """Put another text in place of a job's log; None lets it expire. False where there is no such job."""
        with self._lock:
            found = self.find_job(full_name, job_id)
            if found is None:
                return False
            run, attempt, job = found
            jobs = tuple(replace(job, log=log) if one is job else one for one in attempt.jobs)
            self._keep(self._world.with_run(_with_attempt(run, replace(attempt, jobs=jobs))))
            return True

    def set_jobs(self, full_name: str, run_id: int, attempt: int, jobs: tuple[Job, ...]) -> bool:
        """Put other jobs, with their logs, in place of an attempt's. False where there is no such attempt."""
        with self._lock:
            run = self._world.run(full_name, run_id)
            found = run.attempt(attempt) if run else None
            if run is None or found is None:
                return False
            self._keep(self._world.with_run(_with_attempt(run, replace(found, jobs=jobs))))
            return True

    def conclude(self, full_name: str, run_id: int, attempt: int, conclusion: str) -> bool:
        """Let an attempt have come to another end, with jobs to fit. False where there is no such attempt."""
        with self._lock:
            run = self._world.run(full_name, run_id)
            found = run.attempt(attempt) if run else None
            if run is None or found is None:
                return False
            self._keep(self._world.with_run(_with_attempt(run, concluded(found, conclusion, self._clock()))))
            return True

    def _keep(self, world: World) -> None:
        """Write first, then show: what was answered is on disk. The file is whole at any moment."""
        if self._path is not None:
            fresh = self._path.with_name(f"{self._path.name}.new")
            fresh.write_bytes(msgspec.json.encode(world))
            fresh.replace(self._path)
        self._world = world


def _with_attempt(run: Run, attempt: Attempt) -> Run:
    return replace(run, attempts=tuple(attempt if one.number == attempt.number else one for one in run.attempts))


def _with_comments(
    world: World,
    thread: Thread,
    change: Callable[[tuple[Comment, ...]], tuple[Comment, ...]],
    written: Comment,
    at: datetime,
) -> World:
    """The thread's comments are changed, and what the written one would set off is noted."""
    current = world.threads[thread.key.lower()]
    noted = CommentEffects(thread=thread.key, comment=written.id, at=at, effects=effects_of(written.body))
    world = replace(world, effects=(*world.effects, noted))
    return world.with_thread(replace(current, comments=change(current.comments)))


def _load(path: Path) -> World:
    try:
        return msgspec.json.decode(path.read_bytes(), type=World)
    except (OSError, msgspec.MsgspecError) as exc:
        raise StateError(f"{path} is not a state of the sandbox: delete it to begin afresh ({exc})") from exc
