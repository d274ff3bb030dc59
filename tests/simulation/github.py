"""GitHub and Claude in virtual time: requests take time, fail, lose their response, or have a late
effect.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import Any

from hls_handler.actions import (
    COMMENT_CREATED,
    COMMENT_EDITED,
    COMMENT_UP_TO_DATE,
    CommitCheck,
    EnsureCheck,
    EnsureComment,
    EnsureLabels,
    EnsureReview,
    Outcome,
    StoredComment,
    WrittenCheck,
)
from hls_handler.analysis import RenderedPrompt, Reply, ReplyFields, UnusableReply
from hls_handler.errors import Dependency, DependencyDown
from hls_handler.events import Account, Comment, Issue, PullRequest
from hls_handler.github.api import WriteGuard
from hls_handler.github.check_writer import CHECK_NAME, GithubChecks
from hls_handler.github.client import Github
from hls_handler.github.comments import History
from hls_handler.github.reader import GithubReader
from hls_handler.github.source import CommitFiles
from hls_handler.github.values import NO_CONTEXT, ChangedFile, ReviewContext, ReviewThread
from hls_handler.github.writer import GithubWriter
from hls_handler.queue.leases import EXPIRY
from hls_handler.settings.sections import LabelSettings
from tests.engine.claude import FakeClaude
from tests.handlers.world import file
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


class SimulatedGithub(Github):
    """One repository. Requests take time and may fail; writes are in `written`."""

    def __init__(self, scheduler: Scheduler, faults: Faults) -> None:
        self.scheduler, self.faults, self.written = scheduler, faults, Written()
        self.issues: dict[int, Issue] = {}
        self.pull_requests: dict[int, PullRequest] = {}  # each changes one file
        self._server = Machine("GitHub")

    def receive(self) -> None:
        """Wait for the response to a read."""
        self.scheduler.sleep(self.scheduler.random.uniform(0.05, 1.0))
        if self.faults.draw(self.faults.github_percent, "fail"):
            raise _down("GitHub answered 502", "github")

    def write(self, guard: WriteGuard, effect: Callable[[], Any]) -> Any:
        """Send a write. GitHub executes it even if the sender was killed, and perhaps late."""
        guard.begin_write()
        guard.check_lease()
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

    @property
    def requests_sent(self) -> int:
        return 0  # they are not counted

    def rate_limit(self, repository: str) -> str:
        return "github"

    def reader(self, repository: str, *, bot: Account | None = None) -> SimulatedReader:
        return SimulatedReader(self)

    def writer(
        self,
        repository: str,
        *,
        bot: Account,
        history: History,
        guard: WriteGuard | None,
    ) -> SimulatedWriter:
        assert guard is not None
        return SimulatedWriter(self, guard, history)

    def checks(
        self, repository: str, guard: WriteGuard, *, name: str = CHECK_NAME
    ) -> SimulatedChecks:
        return SimulatedChecks(self, guard)


@dataclass
class SimulatedReader(GithubReader):
    github: SimulatedGithub

    def issue(self, number: int) -> Issue:
        self.github.receive()
        return self.github.issues[number]

    def pull_request(self, number: int) -> PullRequest:
        self.github.receive()
        return self.github.pull_requests[number]

    def files(self, number: int) -> tuple[ChangedFile, ...]:
        self.github.receive()
        return (file(commit=self.github.pull_requests[number].head_sha),)

    def review_context(
        self, number: int, base_ref: str, *, guidance: Sequence[str]
    ) -> ReviewContext:
        self.github.receive()
        return NO_CONTEXT

    def review_threads(self, number: int) -> tuple[ReviewThread, ...]:
        self.github.receive()
        return ()

    def comments(self, number: int, *, limit: int) -> tuple[Comment, ...]:
        self.github.receive()
        return ()

    def files_at(self, sha: str) -> CommitFiles:
        return SimulatedFiles(self.github, sha)


class SimulatedFiles(CommitFiles):
    """A commit whose files cannot be read, though each read takes time."""

    def __init__(self, github: SimulatedGithub, commit: str) -> None:
        super().__init__(None, None, commit)
        self._github = github

    def list_files(self, extensions: Collection[str]) -> Mapping[str, str]:
        self._github.receive()
        return {}

    def texts(self, paths: Collection[str]) -> Mapping[str, str]:
        self._github.receive()
        return {}


def _add(labels: list[str], name: str) -> None:
    if name not in labels:
        labels.append(name)


def _remove(labels: list[str], name: str) -> None:
    if name in labels:
        labels.remove(name)


@dataclass
class SimulatedWriter(GithubWriter):
    """Writes as `github.writer` does: it reads first, and then writes the difference."""

    github: SimulatedGithub
    guard: WriteGuard
    history: History

    def ensure_labels(
        self,
        number: int,
        action: EnsureLabels,
        *,
        labels: LabelSettings,
        before: Any,
        present: frozenset[str] | None = None,
    ) -> Outcome:
        names = tuple(label.name for label in action.requested)
        self.github.receive()
        of_issue = self.github.written.labels.setdefault(number, [])
        missing = [name for name in names if name not in of_issue]
        stale = [name for name in of_issue if name not in names]
        self.history.change_labels(missing, "intended")
        for name in missing:
            self.github.write(self.guard, partial(_add, of_issue, name))
        for name in stale:
            self.github.write(self.guard, partial(_remove, of_issue, name))
        self.history.change_labels(missing, "set")
        return Outcome("labels", "changed", f"added {', '.join(missing)}", added=names)

    def ensure_comment(
        self, number: int, action: EnsureComment, *, may_exist: bool = True
    ) -> Outcome:
        comments, known = self.github.written.comments, self.history.comment(action.family)
        found = known.comment_id if known is not None else None
        if found is None and may_exist:
            self.github.receive()
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

        written_id = self.github.write(self.guard, effect)
        self.history.store_comment(action.family, StoredComment(written_id, "digest", action.state))
        detail = COMMENT_CREATED if found is None else COMMENT_EDITED
        kind: Any = "created" if found is None else "edited"
        return Outcome("comment", kind, detail, comment_id=written_id, body=action.body)

    def ensure_review(
        self, number: int, action: EnsureReview, *, is_retry: bool = False
    ) -> Outcome:
        posted, keys = self.github.written.findings, [comment.key for comment in action.comments]
        self.github.receive()
        keys = [key for key in keys if (number, key) not in posted]
        if keys:
            self.github.write(self.guard, lambda: posted.extend((number, key) for key in keys))
        ids = {one.key: 900 + position for position, one in enumerate(action.comments)}
        return Outcome(
            "review", "created", f"posted {len(keys)} comments on lines", comment_ids=ids
        )


@dataclass
class SimulatedChecks(GithubChecks):
    github: SimulatedGithub
    guard: WriteGuard

    def begin(
        self,
        check: CommitCheck,
        *,
        waits_until: datetime | None = None,
        is_claude_down: bool = False,
    ) -> WrittenCheck:
        return self._set_state(check, "in_progress" if waits_until is None else "waits")

    def end(self, check: CommitCheck, action: EnsureCheck) -> WrittenCheck:
        return self._set_state(check, action.conclusion)

    def _set_state(self, check: CommitCheck, state: str) -> WrittenCheck:
        checks = self.github.written.checks

        def effect() -> int:
            checks[check.commit, check.external_id] = state
            return [*checks].index((check.commit, check.external_id)) + 1

        return WrittenCheck(self.github.write(self.guard, effect))


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
