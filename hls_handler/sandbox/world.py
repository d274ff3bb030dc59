"""What exists on the stand-in GitHub: frozen values; a change makes a new `World`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Literal

from hls_handler.sandbox.effects import Effects

Document = dict[str, Any]  # a REST object as GitHub sends it, with addresses under api.github.com

Permission = Literal["admin", "write", "read", "none"]


@dataclass(frozen=True, slots=True)
class Account:
    login: str
    id: int
    type: str  # "User", "Bot", "Organization"


GHOST = Account("ghost", 10137, "User")


@dataclass(frozen=True, slots=True)
class Label:
    id: int
    name: str
    color: str  # six hex digits
    description: str | None = None


DEFAULT_LABELS: Mapping[str, Label] = {
    name: Label(id=2_000_000_001 + index, name=name, color=color, description=description)
    for index, (name, color, description) in enumerate(
        (
            ("bug", "d73a4a", "Something isn't working"),
            ("documentation", "0075ca", "Improvements or additions to documentation"),
            ("duplicate", "cfd3d7", "This issue or pull request already exists"),
            ("enhancement", "a2eeef", "New feature or request"),
            ("good first issue", "7057ff", "Good for newcomers"),
            ("help wanted", "008672", "Extra attention is needed"),
            ("invalid", "e4e669", "This doesn't seem right"),
            ("question", "d876e3", "Further information is requested"),
            ("wontfix", "ffffff", "This will not be worked on"),
        )
    )
}
"""What GitHub gives every new repository."""


@dataclass(frozen=True, slots=True)
class Repository:
    document: Document
    labels: Mapping[str, Label] = field(default_factory=lambda: dict(DEFAULT_LABELS))  # by lower-case name

    @property
    def full_name(self) -> str:
        return str(self.document["full_name"])

    @property
    def default_branch(self) -> str:
        return str(self.document.get("default_branch") or "main")

    @property
    def archived(self) -> bool:
        return bool(self.document.get("archived"))


@dataclass(frozen=True, slots=True)
class Edit:
    """A version of a comment that was replaced."""

    at: datetime  # when it was replaced, aware UTC
    body: str


@dataclass(frozen=True, slots=True)
class Comment:
    id: int
    author: Account
    body: str
    created_at: datetime
    updated_at: datetime
    edits: tuple[Edit, ...] = ()  # earlier versions, oldest first


@dataclass(frozen=True, slots=True)
class Review:
    """A review of a pull request."""

    id: int
    author: Account
    state: str  # "approved", "changes_requested", "commented", "dismissed": as webhooks spell it
    body: str
    commit_id: str  # the commit that was reviewed
    submitted_at: datetime
    comments: tuple[Document, ...] = ()  # on lines, as REST objects, the oldest first


Happening = Literal[
    "labeled",
    "unlabeled",
    "renamed",
    "pushed",
    "closed",
    "reopened",
    "locked",
    "unlocked",
    "uncommented",
    "reviewed",
    "review_dismissed",
]


@dataclass(frozen=True, slots=True)
class ThreadEvent:
    """One line of a thread's timeline."""

    id: int
    at: datetime
    actor: Account
    happening: Happening
    detail: str  # the label's name, the old title, the new head, the id of the deleted comment or of the review


@dataclass(frozen=True, slots=True)
class Thread:
    """An issue or a pull request with its conversation."""

    repository: str  # "owner/repo", as GitHub spells it
    number: int
    kind: Literal["issue", "pull"]
    author: Account
    document: Document  # without labels and comments, which follow
    labels: tuple[str, ...] = ()
    comments: tuple[Comment, ...] = ()
    events: tuple[ThreadEvent, ...] = ()
    files: tuple[Document, ...] = ()
    reviews: tuple[Review, ...] = ()  # of a pull request, in the order in which they were told
    gone: Literal["deleted", "transferred"] | None = None
    moved_to: str | None = None  # API address, of a transferred one

    @property
    def title(self) -> str:
        return str(self.document.get("title") or "")

    @property
    def body(self) -> str:
        return str(self.document.get("body") or "")

    @property
    def state(self) -> str:
        return str(self.document.get("state") or "open")

    @property
    def locked(self) -> bool:
        return bool(self.document.get("locked"))

    @property
    def head_sha(self) -> str:
        return str((self.document.get("head") or {}).get("sha") or "")

    def is_open_from(self, head: str) -> bool:
        """Whether it is an open pull request from this branch, "octocat:fix/checkout"."""
        label = (self.document.get("head") or {}).get("label")
        return self.kind == "pull" and not self.gone and self.state == "open" and label == head

    def review(self, review_id: int) -> Review | None:
        return next((review for review in self.reviews if review.id == review_id), None)

    @property
    def key(self) -> str:
        """ "owner/repo#7" """
        return f"{self.repository}#{self.number}"


@dataclass(frozen=True, slots=True)
class Job:
    """A job of one attempt of a run."""

    document: Document  # as REST shows it, without addresses
    log: str | None  # None of one that expired, or was never written

    @property
    def id(self) -> int:
        return int(self.document["id"])

    @property
    def name(self) -> str:
        return str(self.document["name"])

    @property
    def conclusion(self) -> str | None:
        conclusion = self.document.get("conclusion")
        return None if conclusion is None else str(conclusion)


@dataclass(frozen=True, slots=True)
class Attempt:
    """One attempt of a run, with the run as it was told then."""

    number: int  # from 1
    document: Document
    jobs: tuple[Job, ...] = ()

    @property
    def conclusion(self) -> str | None:
        conclusion = self.document.get("conclusion")
        return None if conclusion is None else str(conclusion)


@dataclass(frozen=True, slots=True)
class Run:
    """A run of a workflow."""

    repository: str  # "owner/repo", as GitHub spells it
    id: int
    attempts: tuple[Attempt, ...]  # the first one first; there is always one

    @property
    def last(self) -> Attempt:
        return self.attempts[-1]

    @property
    def key(self) -> str:
        return f"{self.repository}/runs/{self.id}"

    def attempt(self, number: int) -> Attempt | None:
        return next((attempt for attempt in self.attempts if attempt.number == number), None)


@dataclass(frozen=True, slots=True)
class Release:
    repository: str
    id: int
    document: Document

    @property
    def tag(self) -> str:
        return str(self.document["tag_name"])

    @property
    def key(self) -> str:
        return f"{self.repository}/releases/{self.id}"


@dataclass(frozen=True, slots=True)
class Compared:
    """Two points of a history that is one line."""

    base: Document
    merge_base: Document
    commits: tuple[Document, ...]  # that the second has and the first lacks, the oldest first
    behind: int  # how many the first has and the second lacks


@dataclass(frozen=True, slots=True)
class CommentEffects:
    """What a comment written through the API would have set off, once for each version of it."""

    thread: str  # "owner/repo#7"
    comment: int
    at: datetime
    effects: Effects


@dataclass(frozen=True, slots=True)
class World:
    """Everything. Repositories and threads are found whatever the case of their names."""

    accounts: Mapping[str, Account] = field(default_factory=dict)
    repositories: Mapping[str, Repository] = field(default_factory=dict)
    threads: Mapping[str, Thread] = field(default_factory=dict)
    runs: Mapping[str, Run] = field(default_factory=dict)
    releases: Mapping[str, Release] = field(default_factory=dict)
    history: Mapping[str, tuple[Document, ...]] = field(default_factory=dict)  # commits, the oldest first, in one line
    refs: Mapping[str, str] = field(default_factory=dict)  # "owner/repo@v1.2.0", tags and branches, to a commit's SHA
    files: Mapping[str, str] = field(
        default_factory=dict
    )  # "owner/repo@branch:path", by lower-case repository, to text
    moved: Mapping[str, str] = field(default_factory=dict)  # old name of a renamed repository to its new one
    permissions: Mapping[str, Permission] = field(default_factory=dict)  # "owner/repo@login", where set by hand
    effects: tuple[CommentEffects, ...] = ()
    next_id: int = 3_000_000_001

    def repository(self, full_name: str) -> Repository | None:
        return self.repositories.get(full_name.lower())

    def thread(self, full_name: str, number: int) -> Thread | None:
        return self.threads.get(f"{full_name}#{number}".lower())

    def run(self, full_name: str, run_id: int) -> Run | None:
        return self.runs.get(f"{full_name}/runs/{run_id}".lower())

    def commit_at(self, full_name: str, ref: str) -> str | None:
        """The SHA that a tag, a branch or a whole SHA names."""
        named = self.refs.get(f"{full_name.lower()}@{ref}")
        known = {str(commit["sha"]) for commit in self.history.get(full_name.lower(), ())}
        return named or (ref if ref in known else None)

    def compared(self, full_name: str, base: str, head: str) -> Compared | None:
        """None where one of the two is not known."""
        line = self.history.get(full_name.lower(), ())
        places = {str(commit["sha"]): place for place, commit in enumerate(line)}
        first, last = (places.get(self.commit_at(full_name, ref) or "") for ref in (base, head))
        if first is None or last is None:
            return None
        return Compared(line[first], line[min(first, last)], line[first + 1 : last + 1], max(first - last, 0))

    def with_run(self, run: Run) -> World:
        """The run is the last one."""
        key = run.key.lower()
        return replace(self, runs={**{k: r for k, r in self.runs.items() if k != key}, key: run})

    def with_release(self, release: Release) -> World:
        return replace(self, releases={**self.releases, release.key.lower(): release})

    def without_release(self, release: Release) -> World:
        return replace(self, releases={k: r for k, r in self.releases.items() if k != release.key.lower()})

    def with_commits(self, full_name: str, commits: Iterable[Document]) -> World:
        """The repository's history goes on with those that it lacks."""
        before = self.history.get(full_name.lower(), ())
        known = {commit["sha"] for commit in before}
        new = tuple(commit for commit in commits if commit["sha"] not in known)
        return replace(self, history={**self.history, full_name.lower(): (*before, *new)})

    def with_ref(self, full_name: str, ref: str, sha: str) -> World:
        return replace(self, refs={**self.refs, f"{full_name.lower()}@{ref}": sha})

    def file_at(self, full_name: str, branch: str, path: str) -> str | None:
        return self.files.get(f"{full_name.lower()}@{branch}:{path}")

    def with_file(self, full_name: str, branch: str, path: str, text: str | None) -> World:
        """The branch has the file with this text, or has it no more."""
        key = f"{full_name.lower()}@{branch}:{path}"
        left = {known: old for known, old in self.files.items() if known != key}
        return replace(self, files=left if text is None else {**left, key: text})

    def with_account(self, account: Account) -> World:
        return replace(self, accounts={**self.accounts, account.login.lower(): account})

    def with_repository(self, repository: Repository) -> World:
        return replace(self, repositories={**self.repositories, repository.full_name.lower(): repository})

    def with_thread(self, thread: Thread) -> World:
        """The thread is the last one: it is what something happened to."""
        key = thread.key.lower()
        return replace(self, threads={**{k: t for k, t in self.threads.items() if k != key}, key: thread})

    def with_label(self, full_name: str, name: str, color: str = "ededed", description: str | None = None) -> World:
        """The repository has the label, as it was if it had it already."""
        repository = self.repositories[full_name.lower()]
        if name.lower() in repository.labels:
            return self
        label = Label(id=self.next_id, name=name, color=color.lower(), description=description)
        labelled = replace(repository, labels={**repository.labels, name.lower(): label})
        return replace(self.with_repository(labelled), next_id=self.next_id + 1)

    def with_event(self, thread: Thread, at: datetime, actor: Account, happening: Happening, detail: str) -> World:
        """The thread has one more line in its timeline."""
        event = ThreadEvent(id=self.next_id, at=at, actor=actor, happening=happening, detail=detail)
        told = self.with_thread(replace(thread, events=(*thread.events, event)))
        return replace(told, next_id=self.next_id + 1)

    def with_thread_label(self, key: str, name: str, actor: Account, at: datetime) -> World:
        """The thread carries a label that its repository has; nothing happens if it did before."""
        thread = self.threads[key.lower()]
        if name.lower() in {known.lower() for known in thread.labels}:
            return self
        spelled = self.repositories[thread.repository.lower()].labels[name.lower()].name
        return self.with_event(replace(thread, labels=(*thread.labels, spelled)), at, actor, "labeled", spelled)

    def without_thread_label(self, key: str, name: str, actor: Account, at: datetime) -> World:
        """The thread does not carry the label; nothing happens if it did not before."""
        thread = self.threads[key.lower()]
        left = tuple(known for known in thread.labels if known.lower() != name.lower())
        if left == thread.labels:
            return self
        return self.with_event(replace(thread, labels=left), at, actor, "unlabeled", name)
