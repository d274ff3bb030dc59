"""Objects of the stand-in GitHub as frozen values, and functions that read values from payloads."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal

Document = dict[str, Any]  # a REST object as GitHub sends it, with URLs of api.github.com

Permission = Literal["admin", "write", "read", "none"]


@dataclass(frozen=True, slots=True)
class Account:
    login: str
    id: int
    type: str  # "User", "Bot", "Organization"


@dataclass(frozen=True, slots=True)
class App:
    """A GitHub App. As at GitHub, its private key is not stored."""

    id: int
    slug: str  # "my-hls"
    name: str
    owner: Account
    public_key: str  # PEM
    webhook_secret: str
    webhook_url: str
    permissions: Mapping[str, str]  # {"issues": "write"}
    events: tuple[str, ...]

    @property
    def bot(self) -> Account:
        """The account that comments for the App."""
        return Account(f"{self.slug}[bot]", 200_000_000 + self.id, "Bot")


@dataclass(frozen=True, slots=True)
class Installation:
    """An App on one account: on all repositories of the account, or on some of them."""

    id: int
    app_id: int
    account: Account
    repositories: tuple[str, ...] | None  # ("owner/repo",); None: all of the account
    permissions: Mapping[str, str]
    suspended_at: datetime | None = None


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
"""Labels that GitHub creates in every new repository."""


@dataclass(frozen=True, slots=True)
class Repository:
    document: Document
    # by lower-case name
    labels: Mapping[str, Label] = field(default_factory=lambda: dict(DEFAULT_LABELS))

    @property
    def full_name(self) -> str:
        return str(self.document["full_name"])

    @property
    def default_branch(self) -> str:
        return str(self.document.get("default_branch") or "main")


@dataclass(frozen=True, slots=True)
class Edit:
    """An edit of an issue or a comment, with the text before the edit."""

    at: datetime  # time of the edit that replaced it, aware UTC
    body: str
    deleted_at: datetime | None = None  # when a person deleted this text from the history


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
    id: int
    author: Account
    # "approved", "changes_requested", "commented", "dismissed", in lower case as in webhooks
    state: str
    body: str
    commit_id: str  # the commit that was reviewed
    submitted_at: datetime
    comments: tuple[Document, ...] = ()  # review comments as REST objects, oldest first


@dataclass(frozen=True, slots=True)
class Reaction:
    """A reaction to a comment of a conversation or of a review."""

    comment: int
    login: str
    content: str  # "+1", "-1", "eyes", ...


ConversationEventKind = Literal[
    "labeled",
    "unlabeled",
    "renamed",
    "pushed",
    "closed",
    "reopened",
    "locked",
    "unlocked",
    "reviewed",
    "issue_type_added",
    "issue_type_removed",
]


@dataclass(frozen=True, slots=True)
class ConversationEvent:
    """An entry of the timeline of an issue or pull request."""

    id: int
    at: datetime
    actor: Account
    kind: ConversationEventKind
    detail: str  # label name, old title, new head commit, or the id of the review


@dataclass(frozen=True, slots=True)
class Conversation:
    """An issue or a pull request with its comments."""

    repository: str  # "owner/repo" in GitHub's spelling
    number: int
    kind: Literal["issue", "pull"]
    author: Account
    document: Document  # without labels and comments
    labels: tuple[str, ...] = ()
    comments: tuple[Comment, ...] = ()
    events: tuple[ConversationEvent, ...] = ()
    files: tuple[Document, ...] = ()
    reviews: tuple[Review, ...] = ()  # of a pull request, in the order of their events
    # first comments of resolved threads, to who resolved it
    resolved: Mapping[int, str] = field(default_factory=dict)
    reactions: tuple[Reaction, ...] = ()  # to its comments and review comments, oldest first
    edits: tuple[Edit, ...] = ()  # earlier texts of an issue, oldest first

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

    def review(self, review_id: int) -> Review | None:
        return next((review for review in self.reviews if review.id == review_id), None)

    def has_comment(self, full_name: str, comment: int) -> bool:
        """Return True if it is of the repository and has a comment or a review comment with this
        id.
        """
        ids = {
            *(one.id for one in self.comments),
            *(one["id"] for _, one in self.review_comments()),
        }
        return self.repository.lower() == full_name.lower() and comment in ids

    def review_comments(self) -> tuple[tuple[Review, Document], ...]:
        """Return the comments of all reviews, each with its review."""
        return tuple((review, comment) for review in self.reviews for comment in review.comments)

    @property
    def key(self) -> str:
        """Name such as "owner/repo#7"."""
        return f"{self.repository}#{self.number}"


@dataclass(frozen=True, slots=True)
class Job:
    """A job of one attempt of a workflow run."""

    document: Document  # REST object without URLs
    log: str | None  # None if it expired or was never written
    annotations: tuple[Document, ...] = ()  # of its check run, which has the id of the job

    @property
    def id(self) -> int:
        return int(self.document["id"])

    @property
    def name(self) -> str:
        return str(self.document["name"])

    @property
    def conclusion(self) -> str | None:
        return _optional_text(self.document.get("conclusion"))

    @property
    def state(self) -> str:
        return self.conclusion or "queued"


@dataclass(frozen=True, slots=True)
class Attempt:
    """One attempt of a workflow run. `document` is the REST object that GitHub returns for this
    attempt.
    """

    number: int  # from 1
    document: Document
    jobs: tuple[Job, ...] = ()

    @property
    def conclusion(self) -> str | None:
        return _optional_text(self.document.get("conclusion"))

    @property
    def state(self) -> str:
        return self.conclusion or read_text(self.document.get("status")) or "queued"


@dataclass(frozen=True, slots=True)
class Run:
    repository: str  # "owner/repo" in GitHub's spelling
    id: int
    attempts: tuple[Attempt, ...]  # in order, at least one

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
    def author(self) -> Account:
        return read_account(self.document.get("author"))

    @property
    def body(self) -> str:
        return read_text(self.document.get("body"))

    @property
    def day(self) -> str:
        return read_text(self.document.get("published_at"))[:10]

    @property
    def key(self) -> str:
        return f"{self.repository}/releases/{self.id}"


def read_account(shown: object) -> Account:
    """Return an account from a payload, or GitHub's account "ghost" if `shown` is not an
    account.
    """
    if not isinstance(shown, Mapping) or not isinstance(shown.get("login"), str):
        return GHOST
    return Account(
        login=shown["login"], id=read_count(shown.get("id")), type=str(shown.get("type") or "User")
    )


def read_count(value: object) -> int:
    """Return the value if it is a non-negative integer, else 0."""
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else 0


def read_time(value: object, default: datetime) -> datetime:
    """Return the value as a time in UTC, or `default` if it is not a time."""
    try:
        return datetime.fromisoformat(str(value)).astimezone(UTC)
    except ValueError:
        return default


def read_text(value: object) -> str:
    """Return the value as a string; "" for null."""
    return str(value or "")


def _optional_text(value: object) -> str | None:
    return None if value is None else str(value)
