"""Fakes of the pipeline's ports: GitHub and Claude in memory, with errors that a test sets."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import cast

from hls_handler.actions import (
    COMMENT_CREATED,
    COMMENT_EDITED,
    COMMENT_UP_TO_DATE,
    REPLY_CREATED,
    REPLY_EXISTS,
    CommitCheck,
    EnsureCheck,
    EnsureComment,
    EnsureIssueType,
    EnsureLabels,
    EnsureReply,
    EnsureReview,
    Outcome,
    Reaction,
    RequestReviewers,
    StoredComment,
    WrittenCheck,
)
from hls_handler.analysis import Reply, ReplyFields, UnusableReply, Usage
from hls_handler.claude.provider import Provider
from hls_handler.claude.providers import Providers, T
from hls_handler.deliveries import Lease
from hls_handler.errors import DependencyDown, HlsError
from hls_handler.events import Account, Comment, Issue, PullRequest, Release, Review
from hls_handler.git.mirror import Hit, Pick
from hls_handler.github.checks import GithubChecks
from hls_handler.github.client import Github
from hls_handler.github.comments import History
from hls_handler.github.labels import LabelState
from hls_handler.github.reader import GithubReader
from hls_handler.github.source import CommitFiles
from hls_handler.github.values import (
    Blob,
    ChangedFile,
    CheckAnnotation,
    Comparison,
    FileAtRef,
    MergeState,
    NoLog,
    OpenPullRequest,
    RepositoryLabel,
    RepositoryPermission,
    ReviewComment,
    ReviewContext,
    ReviewThread,
    TimelineEvent,
    WorkflowJob,
)
from hls_handler.github.writer import GithubWriter, label_origins
from hls_handler.question import RenderedPrompt
from hls_handler.queue.leases import HeldLeases
from hls_handler.settings.sections import Labels
from hls_handler.untrusted.cleaning import CodeText, clean_and_redact

HLS = Account(login="hls[bot]", id=99, type="Bot")
OCTOCAT = Account(login="octocat", id=1, type="User")

ISSUE = Issue(
    number=1,
    title="Spelling error in the README file",
    body="It looks like you accidently spelled 'commit' with two 't's.",
    user=OCTOCAT,
    state="open",
    locked=False,
    labels=(),
    author_association="NONE",
    html_url="https://github.com/Codertocat/Hello-World/issues/1",
)


CLAUDE_DOWN = DependencyDown("Claude answered 529", dependency="claude", remedy="wait")
GITHUB_DOWN = DependencyDown("GitHub answered 502", dependency="github", remedy="wait")
INVALID = UnusableReply(
    "", "invalid", "kind: 'bugg' is not one of ...", '{"kind": "bugg"}', Usage("claude-haiku-5-5")
)


def _do_nothing(what: str) -> None:
    pass


@dataclass
class FakeGithub(Github):
    """A GitHub with one repository. Each call raises the next error in `failing`, before it has an
    effect.
    """

    account: Account = HLS
    shows_repository: bool = True
    issues: dict[int, Issue] = field(default_factory=lambda: {1: ISSUE})
    pull_requests: dict[int, PullRequest] = field(default_factory=dict)
    # pull requests as GitHub sends them
    documents: dict[int, dict[str, object]] = field(default_factory=dict)
    # by the bot: id of the comment, content
    reactions: list[tuple[int, str]] = field(default_factory=list)
    reacted_in: list[str] = field(default_factory=list)
    inline_bodies: dict[str, str] = field(default_factory=dict)  # of the comments on lines, by key
    changed: dict[int, tuple[ChangedFile, ...]] = field(default_factory=dict)
    reviews_of: dict[int, tuple[Review, ...]] = field(default_factory=dict)
    # by pull request
    review_threads_of: dict[int, tuple[ReviewThread, ...]] = field(default_factory=dict)
    thread_comments_of: dict[int, tuple[Comment, ...]] = field(default_factory=dict)  # by thread
    # by review
    review_comments_of: dict[int, tuple[ReviewComment, ...]] = field(default_factory=dict)
    # by check run
    annotations_of: dict[int, tuple[CheckAnnotation, ...]] = field(default_factory=dict)
    merge_state: MergeState | HlsError = field(
        default_factory=lambda: MergeState(False, (), "", False, False)
    )
    # by base branch; an error is raised
    contexts: dict[str, ReviewContext | HlsError] = field(default_factory=dict)
    head_files: dict[str, str] = field(default_factory=dict)  # text by "commit:path"
    # by "refs/heads/branch:path" or "commit:path"
    blobs: dict[str, Blob] = field(default_factory=dict)
    heads: dict[str, str] = field(default_factory=dict)  # commits by branch
    no_mirror: str = ""  # why no words are found
    parents_of: dict[str, tuple[str, ...]] = field(default_factory=dict)  # by commit
    # by commit, base and the branch's commit
    picks: dict[tuple[str, str, str], Pick] = field(default_factory=dict)
    # by login; "read" for others
    permissions: dict[str, RepositoryPermission] = field(default_factory=dict)
    comments_of: dict[int, tuple[Comment, ...]] = field(default_factory=dict)  # by others
    jobs_of: dict[int, tuple[WorkflowJob, ...]] = field(default_factory=dict)  # by attempt
    logs: dict[int, str] = field(default_factory=dict)  # by job; a missing log has expired
    # by "owner:branch"
    pulls_from: dict[str, tuple[PullRequest, ...]] = field(default_factory=dict)
    released: tuple[Release, ...] = ()
    comparison: Comparison | None = None
    # by head; `comparison` for others
    comparisons: dict[str, Comparison] = field(default_factory=dict)
    files_at: dict[str, FileAtRef] = field(default_factory=dict)  # by "branch:path"
    labels: dict[int, tuple[str, ...]] = field(default_factory=dict)
    repository_labels: tuple[RepositoryLabel, ...] = ()
    types: dict[int, str] = field(default_factory=dict)
    open_pull_requests: tuple[OpenPullRequest, ...] = ()
    # by "commit:path", newest first
    authors: dict[str, tuple[Account, ...]] = field(default_factory=dict)
    requested_reviewers: dict[int, tuple[str, ...]] = field(default_factory=dict)  # by the bot
    comments: dict[int, str] = field(default_factory=dict)  # by the bot
    # ids of the bot's, by `InlineComment.key`
    inline_comments: dict[str, int] = field(default_factory=dict)
    # by comment and `EnsureReply.key`
    replies: dict[tuple[int, str], str] = field(default_factory=dict)
    failing: list[HlsError] = field(default_factory=list)
    failing_writes: list[HlsError] = field(default_factory=list)
    # raised after a comment was written
    lost_responses: list[BaseException] = field(default_factory=list)
    # by commit and external id: the state
    checks_on: dict[str, dict[str, str]] = field(default_factory=dict)
    check_actions: list[EnsureCheck] = field(default_factory=list)
    failing_checks: list[HlsError] = field(default_factory=list)
    lost_check_responses: list[BaseException] = field(default_factory=list)
    may_exist: list[bool] = field(default_factory=list)  # argument of each `ensure_comment`
    installations: dict[str, int] = field(default_factory=dict)  # remembered ids by repository
    calls: list[str] = field(default_factory=list)  # every call, in order
    on_call: Callable[[str], None] = _do_nothing  # runs during every call, before it has an effect

    def put_pull_request(self, pull: PullRequest, *files: ChangedFile) -> None:
        self.pull_requests[pull.number], self.changed[pull.number] = pull, files

    def seed_event(self, event: str, payload: Mapping[str, object]) -> None:
        """Nothing is stored of an event."""

    @property
    def requests_sent(self) -> int:
        return len(self.calls)

    def fetch_bot_account(self) -> Account:
        self._call("who_am_i")
        return self.account

    def rate_limit(self, repository: str) -> str:
        return "github"

    def remember_installation(self, repository: str, installation_id: int) -> None:
        self.installations[repository] = installation_id

    def has_repository(self, repository: str) -> bool:
        self._call("repository")
        return self.shows_repository

    def reader(self, repository: str, *, bot: Account | None = None) -> FakeReader:
        return FakeReader(self)

    def writer(
        self,
        repository: str,
        *,
        bot: Account,
        history: History,
        begin_write: Callable[[], None],
        check_lease: Callable[[], None],
        dry_run: bool,
    ) -> FakeWriter:
        def before_write() -> None:
            begin_write()
            check_lease()

        return self.make_writer(history, before_write, dry_run)

    def checks(
        self,
        repository: str,
        *,
        begin_write: Callable[[], None],
        check_lease: Callable[[], None],
        name: str = "HLS review",
    ) -> FakeChecks:
        def before_write() -> None:
            begin_write()
            check_lease()

        made = self.make_checks(before_write)
        made.states_on = self.checks_on
        return made

    def make_writer(
        self, history: History, before_write: Callable[[], None], dry_run: bool
    ) -> FakeWriter:
        return FakeWriter(self, history, before_write, dry_run)

    def make_checks(self, before_write: Callable[[], None]) -> FakeChecks:
        return FakeChecks(self, before_write)

    def _call(self, what: str) -> None:
        self.calls.append(what)
        self.on_call(what)
        if self.failing:
            raise self.failing.pop(0)


def _is_similar(old: list[str], new: list[str]) -> bool:
    """Return True if git would take one file for the other, renamed."""
    return difflib.SequenceMatcher(None, old, new).ratio() >= 0.5


@dataclass
class FakeRepositoryFiles(CommitFiles):
    """The `head_files` of a commit."""

    github: FakeGithub
    sha: str

    def list_files(self, extensions: Collection[str]) -> Mapping[str, str]:
        self.github._call(f"list_files {self.sha}")
        names = (name.partition(":")[::2] for name in self.github.head_files)
        found = (
            path for sha, path in names if sha == self.sha and path.endswith(tuple(extensions))
        )
        return {path: f"{hash(self.github.head_files[f'{self.sha}:{path}']):x}" for path in found}

    def texts(self, paths: Collection[str]) -> Mapping[str, str]:
        self.github._call(f"head_files {' '.join(paths)}")
        found = {path: self.github.head_files.get(f"{self.sha}:{path}") for path in paths}
        return {
            path: clean_and_redact(CodeText(text))
            for path, text in found.items()
            if text is not None
        }

    def blobs(self, ids: Sequence[str], contents: Sequence[str]) -> Mapping[str, Blob]:
        self.github._call(f"blobs {len(ids)} {len(contents)}")
        return {
            name: self.github.blobs[name] for name in (*ids, *contents) if name in self.github.blobs
        }

    @property
    def no_mirror(self) -> str:
        return self.github.no_mirror

    def patches_since(self, commit: str, paths: Collection[str]) -> Mapping[str, str] | None:
        self.github._call(f"patches_since {commit} {self.sha}")
        if self.github.no_mirror or not self._has(commit):
            return None
        before, after = self._list_lines(commit, paths), self._list_lines(self.sha, paths)
        patches: dict[str, str] = {}
        for path in after:
            gone = [one for one in before if one not in after and path not in before]
            was = next((one for one in gone if _is_similar(before[one], after[path])), path)
            diff = difflib.unified_diff(before.pop(was, []), after[path], n=3, lineterm="")
            patches[path] = "\n".join([*diff][2:])
        for path in before.keys() - after.keys():
            diff = difflib.unified_diff(before[path], [], n=3, lineterm="")
            patches[path] = "\n".join([*diff][2:])
        return patches

    def _list_lines(self, commit: str, paths: Collection[str]) -> dict[str, list[str]]:
        files = {path: self.github.head_files.get(f"{commit}:{path}") for path in paths}
        return {path: text.split("\n") for path, text in files.items() if text is not None}

    def _has(self, commit: str) -> bool:
        return any(name.startswith(f"{commit}:") for name in self.github.head_files)

    def parents(self) -> tuple[str, ...]:
        self.github._call(f"parents {self.sha}")
        return self.github.parents_of.get(self.sha, ())

    def cherry_pick(self, base: str, onto: str) -> Pick | None:
        self.github._call(f"cherry_pick {self.sha}")
        return self.github.picks.get((self.sha, base, onto))

    def find_words(self, words: Collection[str]) -> Sequence[Hit]:
        pattern = re.compile(rf"(?<!\w)({'|'.join(map(re.escape, words))})(?!\w)")
        return [
            Hit(name.partition(":")[2], number, line)
            for name, text in self.github.head_files.items()
            if name.startswith(f"{self.sha}:")
            for number, line in enumerate(text.split("\n"), 1)
            if pattern.search(line)
        ]


@dataclass
class FakeReader(GithubReader):
    github: FakeGithub

    def issue(self, number: int) -> Issue:
        self.github._call(f"issue {number}")
        return self.github.issues[number]

    def pull_request(self, number: int) -> PullRequest:
        self.github._call(f"pull_request {number}")
        return self.github.pull_requests[number]

    def pull_request_document(self, number: int) -> dict[str, object]:
        self.github._call(f"pull_request_document {number}")
        return self.github.documents[number]

    def timeline(self, number: int) -> tuple[TimelineEvent, ...]:
        self.github._call(f"timeline {number}")
        return ()

    def labels(self) -> tuple[RepositoryLabel, ...]:
        self.github._call("labels")
        return self.github.repository_labels

    def open_pull_requests(self) -> tuple[OpenPullRequest, ...]:
        self.github._call("open_pull_requests")
        return self.github.open_pull_requests

    def last_authors(self, path: str, *, ref: str) -> tuple[Account, ...]:
        self.github._call(f"last_authors {ref}:{path}")
        return self.github.authors.get(f"{ref}:{path}", ())

    def files(self, number: int) -> tuple[ChangedFile, ...]:
        self.github._call(f"files {number}")
        pull_request = self.github.pull_requests.get(number)
        head = pull_request.head_sha if pull_request is not None else None
        return tuple(
            replace(file, commit=file.commit or head) for file in self.github.changed[number]
        )

    def reviews(self, number: int) -> tuple[Review, ...]:
        self.github._call(f"reviews {number}")
        return self.github.reviews_of[number]

    def review_comments(self, number: int, review_id: int) -> tuple[ReviewComment, ...]:
        self.github._call(f"review_comments {number} {review_id}")
        return self.github.review_comments_of.get(review_id, ())

    def review_threads(self, number: int) -> tuple[ReviewThread, ...]:
        self.github._call(f"review_threads {number}")
        return self.github.review_threads_of.get(number, ())

    def thread_comments(self, number: int, thread: int) -> tuple[Comment, ...]:
        self.github._call(f"thread_comments {number} {thread}")
        return self.github.thread_comments_of.get(thread, ())

    def merge_state(self, number: int) -> MergeState:
        self.github._call(f"merge_state {number}")
        if isinstance(self.github.merge_state, HlsError):
            raise self.github.merge_state
        return self.github.merge_state

    def review_context(
        self, number: int, base_ref: str, *, guidance: Sequence[str]
    ) -> ReviewContext:
        self.github._call(f"review_context {number} {base_ref}")
        found = self.github.contexts.get(base_ref, ReviewContext())
        if isinstance(found, HlsError):
            raise found
        files = tuple(file for file in found.guidance if file.path in guidance)
        return replace(found, guidance=files)

    def files_at(self, sha: str) -> CommitFiles:
        return FakeRepositoryFiles(self.github, sha)

    def head_commit(self, branch: str) -> str | None:
        self.github._call(f"head_commit {branch}")
        return self.github.heads.get(branch)

    def permission(self, login: str) -> RepositoryPermission:
        self.github._call(f"permission {login}")
        return self.github.permissions.get(login, "read")

    def comments(self, number: int, *, most: int) -> tuple[Comment, ...]:
        self.github._call(f"comments {number}")
        return self.github.comments_of.get(number, ())[-most:]

    def jobs(self, run_id: int, attempt: int) -> tuple[WorkflowJob, ...]:
        self.github._call(f"jobs {run_id} {attempt}")
        return self.github.jobs_of.get(attempt, ())

    def annotations(self, check_run: int) -> tuple[CheckAnnotation, ...]:
        self.github._call(f"annotations {check_run}")
        return self.github.annotations_of.get(check_run, ())

    def job_log(self, job_id: int) -> Iterator[str] | NoLog:
        self.github._call(f"job_log {job_id}")
        log = self.github.logs.get(job_id)
        return iter(log.split("\n")) if log else NoLog("expired" if log is None else "empty")

    def pull_requests_from(self, head: str) -> tuple[PullRequest, ...]:
        self.github._call(f"pull_requests_from {head}")
        return self.github.pulls_from.get(head, ())

    def releases(self) -> tuple[Release, ...]:
        self.github._call("releases")
        return self.github.released

    def commits_between(self, base: str, head: str) -> Comparison | None:
        self.github._call(f"commits_between {base} {head}")
        return self.github.comparisons.get(head, self.github.comparison)

    def find_file(self, path: str, *, ref: str | None) -> FileAtRef | None:
        self.github._call(f"find_file {path} {ref}")
        return self.github.files_at.get(f"{ref}:{path}")


@dataclass
class FakeWriter(GithubWriter):
    github: FakeGithub
    history: History
    before_write: Callable[[], None]
    dry_run: bool

    def ensure_labels(
        self,
        number: int,
        action: EnsureLabels,
        *,
        labels: Labels,
        before: Mapping[str, LabelState],
        present: frozenset[str] | None = None,
    ) -> Outcome:
        names = tuple(label.name for label in action.requested)
        if self.dry_run:
            return Outcome("labels", "dry_run", f"would add {', '.join(names)}", added=names)
        self.history.change_labels(names, "intended", label_origins(action))
        self._write("labels")
        self.history.change_labels(names, "set")
        self.github.labels[number] = names
        return Outcome("labels", "changed", f"added {', '.join(names)}", added=names)

    def ensure_issue_type(self, number: int, action: EnsureIssueType) -> Outcome:
        if self.dry_run:
            return Outcome("type", "dry_run", f"would have set the type {action.name}")
        self._write("type")
        assert action.name is not None  # no undo of a batch
        self.github.types[number] = action.name
        return Outcome("type", "changed", f"set the type {action.name}")

    def request_reviewers(self, number: int, action: RequestReviewers) -> Outcome:
        names = ", ".join(action.logins)
        if self.dry_run:
            return Outcome("reviewers", "dry_run", f"would have requested reviews from {names}")
        self._write("reviewers")
        self.github.requested_reviewers[number] = action.logins
        return Outcome("reviewers", "changed", f"requested reviews from {names}")

    def ensure_comment(
        self, number: int, action: EnsureComment, *, may_exist: bool = True
    ) -> Outcome:
        self.github.may_exist.append(may_exist)
        if self.dry_run:
            return Outcome("comment", "dry_run", "would comment", body=action.body)
        if self.github.comments.get(number) == action.body:
            return Outcome("comment", "unchanged", COMMENT_UP_TO_DATE, body=action.body)
        self._write("comment")
        edits = number in self.github.comments
        self.github.comments[number] = action.body
        self._lose_response()
        self.history.store_comment(action.family, StoredComment(number, "digest", action.state))
        return Outcome(
            "comment",
            "edited" if edits else "created",
            COMMENT_EDITED if edits else COMMENT_CREATED,
            body=action.body,
        )

    def ensure_review(
        self, number: int, action: EnsureReview, *, is_retry: bool = False
    ) -> Outcome:
        """Post all comments, or on a retry the missing ones. A comment that is posted twice gets a
        second id.
        """
        posted = self.github.inline_comments
        missing = [
            comment.key for comment in action.comments if not (is_retry and comment.key in posted)
        ]
        if self.dry_run:
            return Outcome(
                "review", "dry_run", f"would have posted {len(missing)} comments on lines"
            )
        if missing:
            self._write("review")
            self.github.inline_bodies.update(
                {comment.key: comment.body for comment in action.comments}
            )
            posted.update(
                {key: 900 + len(posted) + position for position, key in enumerate(missing)}
            )
            self._lose_response()
        ids = {comment.key: posted[comment.key] for comment in action.comments}
        return Outcome("review", "created", f"posted {len(ids)} comments on lines", comment_ids=ids)

    def ensure_reply(self, number: int, action: EnsureReply, *, is_retry: bool = False) -> Outcome:
        if self.dry_run:
            return Outcome(
                "reply", "dry_run", "would have replied in a review thread", body=action.body
            )
        if is_retry and (action.comment_id, action.key) in self.github.replies:
            return Outcome("reply", "unchanged", REPLY_EXISTS, body=action.body)
        self._write("reply")
        self.github.replies[action.comment_id, action.key] = action.body
        self._lose_response()
        return Outcome("reply", "created", REPLY_CREATED, body=action.body)

    def _lose_response(self) -> None:
        if self.github.lost_responses:
            raise self.github.lost_responses.pop(0)

    def ensure_reaction(
        self, comment_id: int, content: Reaction, *, is_review_comment: bool = False
    ) -> str:
        self.github.reacted_in.append("thread" if is_review_comment else "conversation")
        if self.dry_run:
            return f"would have reacted with {content}"
        self._write(f"reaction {content}")
        if (comment_id, content) not in self.github.reactions:
            self.github.reactions.append((comment_id, content))
        return f"reacted with {content}"

    def _write(self, what: str) -> None:
        self.before_write()
        self.github.calls.append(f"write {what}")
        self.github.on_call(f"write {what}")
        if self.github.failing_writes:
            raise self.github.failing_writes.pop(0)


@dataclass
class FakeChecks(GithubChecks):
    """Check runs of an App, found by external id; the first on a commit has the id 1."""

    github: FakeGithub
    before_write: Callable[[], None]
    states_on: dict[str, dict[str, str]] = field(default_factory=dict)  # by commit and external id

    def begin(
        self,
        check: CommitCheck,
        *,
        waits_until: datetime | None = None,
        is_claude_down: bool = False,
    ) -> WrittenCheck:
        if waits_until is None:
            return self._write(check, "in_progress")
        if is_claude_down:
            return self._write(check, f"Claude is down, next try by {waits_until:%H:%M}")
        return self._write(check, f"waits until {waits_until:%Y-%m-%d}")

    def end(self, check: CommitCheck, action: EnsureCheck) -> WrittenCheck:
        self.github.check_actions.append(action)
        return self._write(check, action.conclusion)

    def _write(self, check: CommitCheck, state: str) -> WrittenCheck:
        self.before_write()
        self.github.calls.append(f"write check {state}")
        self.github.on_call(f"write check {state}")
        if self.github.failing_checks:
            raise self.github.failing_checks.pop(0)
        states = self.states_on.setdefault(check.commit, {})
        states[check.external_id] = state
        if self.github.lost_check_responses:
            raise self.github.lost_check_responses.pop(0)
        return WrittenCheck([*states].index(check.external_id) + 1)


@dataclass
class FakeClaude(Providers):
    """Returns the next of `replies`, and then the last one repeatedly; raises an error among
    them.
    """

    replies: list[ReplyFields | Reply | UnusableReply | HlsError]
    asked: list[RenderedPrompt] = field(default_factory=list)
    corrections: list[UnusableReply | None] = field(default_factory=list)
    on_call: Callable[[str], None] = _do_nothing  # runs during every call
    model: str = "claude-haiku-5-5"

    def answer(self, model: str | None, ask: Callable[[Provider], T], *, delivery: str = "") -> T:
        return ask(cast(Provider, self))

    def find_outage(self) -> DependencyDown | None:
        return None

    def upper_estimate(
        self, rendered: RenderedPrompt, *, correction: UnusableReply | None = None
    ) -> Usage:
        return Usage(self.model, cache_write_tokens=9000, output_tokens=4000, cost_usd=0.05)

    def ask(
        self, rendered: RenderedPrompt, *, correction: UnusableReply | None = None
    ) -> Reply | UnusableReply:
        self.asked.append(rendered)
        self.corrections.append(correction)
        self.on_call("ask")
        reply = self.replies.pop(0) if len(self.replies) > 1 else self.replies[0]
        if isinstance(reply, HlsError):
            raise reply
        if isinstance(reply, Reply | UnusableReply):
            return replace(reply, prompt_id=rendered.prompt.id)
        usage = Usage(
            self.model,
            input_tokens=900,
            output_tokens=100,
            cost_usd=0.00014,
            output_usd=0.00005,
            took_s=1.5,
        )
        return Reply(rendered.prompt.id, rendered.prompt.reply, reply, usage)

    def close(self) -> None:
        """Nothing is open."""


class ExclusiveLease(HeldLeases):
    """Leases that never expire."""

    def __init__(self) -> None:
        super().__init__(lambda _lease, _seconds: None)

    def require(self, lease: Lease, *, least: float = 0.0) -> None:
        pass

    def secure(self, lease: Lease) -> None:
        pass
