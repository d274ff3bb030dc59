"""GitHub and Claude in virtual time: requests take time, fail, lose their response, or have a late
effect.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from hls_handler.actions import (
    COMMENT_CREATED,
    COMMENT_EDITED,
    COMMENT_UP_TO_DATE,
    CommitCheck,
    EnsureComment,
    EnsureLabels,
    EnsureReview,
    Outcome,
    StoredComment,
    WrittenCheck,
)
from hls_handler.analysis import Reply, ReplyFields, UnusableReply
from hls_handler.errors import Dependency, DependencyDown
from hls_handler.github.comments import History
from hls_handler.question import RenderedPrompt
from hls_handler.queue.leases import EXPIRY
from hls_handler.settings.sections import Labels
from tests.engine.fakes import FakeChecks, FakeClaude, FakeGithub, FakeWriter
from tests.simulation.scheduler import Machine, Scheduler

REQUEST_TIMEOUT_S = 15.0
LATEST_EFFECT_S = EXPIRY.slowest_write_s - REQUEST_TIMEOUT_S
"""Seconds after its sending until a write has an effect, at the latest; ADR 7 says what a later one
does.
"""


def _down(
    message: str, dependency: Dependency, *, may_have_succeeded: bool = False
) -> DependencyDown:
    return DependencyDown(
        message, dependency=dependency, remedy="wait", may_have_succeeded=may_have_succeeded
    )


@dataclass
class Faults:
    """How many requests of a hundred fail. `interruptions` counts what may cost a second call of
    Claude.
    """

    scheduler: Scheduler
    github_percent: float = 0.0
    claude_percent: float = 0.0
    interruptions: int = 0

    def draw(self, percent: float, *kinds: str) -> str | None:
        return (
            self.scheduler.random.choice(kinds)
            if self.scheduler.random.random() * 100 < percent
            else None
        )


@dataclass
class Written:
    """What HLS wrote on GitHub."""

    labels: dict[int, list[str]] = field(default_factory=dict)
    # by id: number, family, body
    comments: dict[int, tuple[int, str, str]] = field(default_factory=dict)
    # number, key of an inline comment
    findings: list[tuple[int, str]] = field(default_factory=list)
    # by commit and external id: the state
    checks: dict[tuple[str, str], str] = field(default_factory=dict)


class SimulatedGithub(FakeGithub):
    """The reading of `FakeGithub` takes time and may fail; writes are in `written`."""

    def __init__(self, scheduler: Scheduler, faults: Faults) -> None:
        super().__init__(on_call=self.receive)
        self.scheduler, self.faults, self.written = scheduler, faults, Written()
        self._server = Machine("GitHub")

    def receive(self, what: str) -> None:
        self.scheduler.sleep(self.scheduler.random.uniform(0.05, 1.0))
        if self.faults.draw(self.faults.github_percent, "fail"):
            raise _down("GitHub answered 502", "github")

    def write(self, effect: Callable[[], Any]) -> Any:
        """Send a write. GitHub executes it even if the sender was killed, and perhaps late."""
        random, result = self.scheduler.random, list[Any]()
        fault = self.faults.draw(self.faults.github_percent, "fail", "lost", "late")
        if fault == "fail":
            self.scheduler.sleep(random.uniform(0.05, 1.0))
            raise _down("GitHub answered 503", "github")
        effect_s = (
            random.uniform(REQUEST_TIMEOUT_S, LATEST_EFFECT_S)
            if fault == "late"
            else random.uniform(0.05, 2.0)
        )
        self.scheduler.start(self._server, lambda: result.append(effect()), after_s=effect_s)
        self.scheduler.sleep(REQUEST_TIMEOUT_S if fault else effect_s + random.uniform(0.01, 0.5))
        if fault:
            raise _down("GitHub gave no answer", "github", may_have_succeeded=True)
        return result[0]

    def make_writer(
        self, history: History, before_write: Callable[[], None], dry_run: bool
    ) -> FakeWriter:
        return SimulatedWriter(self, history, before_write, dry_run)

    def make_checks(self, before_write: Callable[[], None]) -> FakeChecks:
        return SimulatedChecks(self, before_write)


def _add(labels: list[str], name: str) -> None:
    if name not in labels:
        labels.append(name)


def _remove(labels: list[str], name: str) -> None:
    if name in labels:
        labels.remove(name)


@dataclass
class SimulatedWriter(FakeWriter):
    """Writes as `github.writer` does: it reads first, and then writes the difference."""

    github: SimulatedGithub

    def ensure_labels(
        self,
        number: int,
        action: EnsureLabels,
        *,
        labels: Labels,
        before: Any,
        present: frozenset[str] | None = None,
    ) -> Outcome:
        names = tuple(label.name for label in action.requested)
        self.github.receive("labels")
        of_issue = self.github.written.labels.setdefault(number, [])
        missing = [name for name in names if name not in of_issue]
        stale = [name for name in of_issue if name not in names]
        self.history.change_labels(missing, "intended")
        for name in missing:
            self.before_write()
            self.github.write(partial(_add, of_issue, name))
        for name in stale:
            self.before_write()
            self.github.write(partial(_remove, of_issue, name))
        self.history.change_labels(missing, "set")
        return Outcome("labels", "changed", f"added {', '.join(missing)}", added=names)

    def ensure_comment(
        self, number: int, action: EnsureComment, *, may_exist: bool = True
    ) -> Outcome:
        comments, known = self.github.written.comments, self.history.comment(action.family)
        found = known.comment_id if known is not None else None
        if found is None and may_exist:
            self.github.receive("comments")
            found = min(
                (i for i, one in comments.items() if one[:2] == (number, action.family)),
                default=None,
            )
        if found is not None and comments[found][2] == action.body:
            self.history.store_comment(action.family, StoredComment(found, "digest", action.state))
            return Outcome(
                "comment", "unchanged", COMMENT_UP_TO_DATE, comment_id=found, body=action.body
            )

        def effect() -> int:
            written_id = found if found is not None else len(comments) + 1
            comments[written_id] = (number, action.family, action.body)
            return written_id

        self.before_write()
        written_id = self.github.write(effect)
        self.history.store_comment(action.family, StoredComment(written_id, "digest", action.state))
        detail = COMMENT_CREATED if found is None else COMMENT_EDITED
        kind: Any = "created" if found is None else "edited"
        return Outcome("comment", kind, detail, comment_id=written_id, body=action.body)

    def ensure_review(
        self, number: int, action: EnsureReview, *, is_retry: bool = False
    ) -> Outcome:
        posted, keys = self.github.written.findings, [comment.key for comment in action.comments]
        if is_retry:
            self.github.receive("review comments")
            keys = [key for key in keys if (number, key) not in posted]
        if keys:
            self.before_write()
            self.github.write(lambda: posted.extend((number, key) for key in keys))
        ids = {one.key: 900 + position for position, one in enumerate(action.comments)}
        return Outcome(
            "review", "created", f"posted {len(keys)} comments on lines", comment_ids=ids
        )


@dataclass
class SimulatedChecks(FakeChecks):
    github: SimulatedGithub

    def _write(self, check: CommitCheck, state: str) -> WrittenCheck:
        checks = self.github.written.checks

        def effect() -> int:
            checks[check.commit, check.external_id] = state
            return [*checks].index((check.commit, check.external_id)) + 1

        self.before_write()
        return WrittenCheck(self.github.write(effect))


class SimulatedClaude(FakeClaude):
    """Replies each question; a call that is sent is paid, even if its reply is lost."""

    def __init__(
        self, scheduler: Scheduler, faults: Faults, answer: Callable[[RenderedPrompt], ReplyFields]
    ) -> None:
        super().__init__([])
        self.scheduler, self.faults, self.reply_to = scheduler, faults, answer
        self.paid: Counter[str] = Counter()  # by question

    def ask(
        self, rendered: RenderedPrompt, *, correction: UnusableReply | None = None
    ) -> Reply | UnusableReply:
        fault = self.faults.draw(self.faults.claude_percent, "fail", "lost", "slow")
        if fault == "fail":
            self.scheduler.sleep(0.5)
            raise _down("Claude answered 529", "claude")
        self.paid[rendered.system + rendered.task] += 1
        self.scheduler.sleep(
            self.scheduler.random.uniform(40, 90) if fault else self.scheduler.random.uniform(1, 15)
        )
        if fault == "lost":
            self.faults.interruptions += 1
            raise _down("Claude gave no answer", "claude")
        self.replies = [self.reply_to(rendered)]
        return super().ask(rendered, correction=correction)
