"""GitHub's events as typed, frozen values: the few fields the door sips, and the whole that a worker parses.

Two parsers for one body, on purpose: `sip` reads only what routing needs and costs microseconds (msgspec);
`parse_event` checks the whole shape in the worker (pydantic).
Payloads: https://docs.github.com/en/webhooks/webhook-events-and-payloads
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any, Literal, get_args

import msgspec
from pydantic import AfterValidator, AwareDatetime, BaseModel, BeforeValidator, ConfigDict, ValidationError

from hls_handler.errors import PayloadError

REPOSITORY_NAME = re.compile(r"(?!\.\.?/)[A-Za-z0-9_.-]+/(?!\.\.?\Z)[A-Za-z0-9_.-]+")
"""A whole "owner/repo", for fullmatch. It goes into addresses as it is: no second slash, no `..`, nothing to quote."""

# --- the sip at the door ---------------------------------------------------------------------------------------------


class SippedAccount(msgspec.Struct, frozen=True):
    login: str = ""
    type: str = "User"


class SippedRepository(msgspec.Struct, frozen=True):
    id: int
    full_name: str = ""


class SippedInstallation(msgspec.Struct, frozen=True):
    id: int


class SippedLabel(msgspec.Struct, frozen=True):
    name: str = ""


class SippedHead(msgspec.Struct, frozen=True):
    sha: str = ""


class SippedAuthor(SippedAccount, frozen=True, kw_only=True):
    id: int


class SippedThread(msgspec.Struct, frozen=True):
    """An issue or a pull request. The door needs few of these; the others must fit the worker, too."""

    number: int
    title: str | None = None
    draft: bool | None = None
    labels: tuple[SippedLabel, ...] | None = None
    head: SippedHead | None = None
    user: SippedAuthor | None = None
    body: str | None = None
    state: Literal["open", "closed"] = "open"
    locked: bool = False
    author_association: str = "NONE"
    html_url: str = ""
    pull_request: dict[str, msgspec.Raw] | None = None


class SippedReview(msgspec.Struct, frozen=True):
    user: SippedAccount | None = None
    body: str | None = None


class SippedComment(msgspec.Struct, frozen=True):
    id: int
    user: SippedAuthor | None = None
    body: str | None = None
    author_association: str = "NONE"
    html_url: str | None = None
    created_at: datetime | None = None


class SippedRun(msgspec.Struct, frozen=True):
    id: int
    workflow_id: int
    head_sha: str
    conclusion: str | None = None
    name: str | None = None
    path: str | None = None
    run_number: int = 0
    run_attempt: int | None = None
    event: str | None = None
    status: str | None = None
    head_branch: str | None = None
    actor: SippedAuthor | None = None
    triggering_actor: SippedAuthor | None = None
    html_url: str | None = None


class SippedRelease(msgspec.Struct, frozen=True):
    id: int
    tag_name: str
    name: str | None = None
    body: str | None = None
    draft: bool = False
    prerelease: bool = False
    author: SippedAuthor | None = None
    html_url: str | None = None
    published_at: datetime | None = None
    target_commitish: str | None = None


class Sip(msgspec.Struct, frozen=True):
    """The few fields of a body that the door needs. All are optional: GitHub leaves each away somewhere."""

    action: str | None = None
    repository: SippedRepository | None = None
    sender: SippedAccount | None = None
    installation: SippedInstallation | None = None
    issue: SippedThread | None = None
    pull_request: SippedThread | None = None
    review: SippedReview | None = None
    comment: SippedComment | None = None
    workflow_run: SippedRun | None = None
    release: SippedRelease | None = None
    requested_reviewer: SippedAccount | None = None
    label: SippedLabel | None = None
    changes: dict[str, msgspec.Raw] | None = None

    @property
    def thread(self) -> SippedThread | None:
        return self.pull_request or self.issue


_SIPPER = msgspec.json.Decoder(Sip)


def sip(body: bytes) -> Sip:
    """Read the fields that the door needs. Raises `PayloadError` for what is not JSON, not an object, or misshapen."""
    try:
        return _SIPPER.decode(body)
    except msgspec.ValidationError as exc:
        raise PayloadError(f"the payload does not have GitHub's shape: {exc}") from exc
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as exc:
        raise PayloadError("the body is not valid JSON") from exc


NAMED_BY: Mapping[str, tuple[str, ...]] = {
    "issues": ("issue",),
    "pull_request": ("pull_request",),
    "pull_request_review": ("review", "pull_request"),
    "workflow_run": ("workflow_run",),
    "issue_comment": ("comment", "issue"),
    "release": ("release",),
}
"""The objects that the payload of an event with a handler of its own has: unsigned headers are held against them."""


# --- the whole in the worker -----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Account:
    login: str
    id: int
    type: str  # "User", "Bot", "Organization"

    @property
    def is_bot(self) -> bool:
        return is_bot(self.login, self.type)


@dataclass(frozen=True, slots=True)
class Repository:
    id: int
    full_name: str  # "owner/repo"
    private: bool
    description: str | None
    default_branch: str | None
    language: str | None

    @property
    def owner(self) -> str:
        return self.full_name.partition("/")[0]

    @property
    def name(self) -> str:
        return self.full_name.partition("/")[2]


@dataclass(frozen=True, slots=True)
class Label:
    name: str


@dataclass(frozen=True, slots=True)
class Issue:
    """An issue as GitHub shows it. Also the conversation of a pull request is one."""

    number: int
    title: str
    body: str  # "" where GitHub has null
    user: Account
    state: Literal["open", "closed"]
    locked: bool
    labels: tuple[Label, ...]
    author_association: str  # "NONE", "CONTRIBUTOR", ...; not a permission
    html_url: str
    is_pull_request: bool = False  # told as an issue


@dataclass(frozen=True, slots=True)
class PullRequest:
    number: int
    title: str
    body: str
    user: Account
    state: Literal["open", "closed"]
    locked: bool
    draft: bool
    labels: tuple[Label, ...]
    author_association: str
    html_url: str
    head_sha: str
    head_ref: str
    base_ref: str
    additions: int
    deletions: int
    changed_files: int
    commits: int


ReviewState = Literal["approved", "changes_requested", "commented", "dismissed", "pending"]


@dataclass(frozen=True, slots=True)
class Review:
    """What one person handed in about a pull request; its comments on lines are read for themselves."""

    id: int
    user: Account
    state: ReviewState
    body: str
    commit_id: str  # the commit that was reviewed
    html_url: str


@dataclass(frozen=True, slots=True)
class WorkflowRun:
    """One attempt of one run of a workflow of GitHub Actions."""

    id: int  # the same for all attempts
    name: str  # the workflow's, "" where it has none
    workflow_id: int
    path: str  # ".github/workflows/test.yml"; "" where GitHub does not say
    run_number: int  # counts the workflow's runs
    run_attempt: int  # 1, or more once it was run again
    event: str  # that set it off: "pull_request", "push", "schedule"
    status: str  # "completed", "in_progress", "queued", ...
    conclusion: str | None  # "success", "failure", "timed_out", "cancelled", ...; None until it is completed
    head_sha: str
    head_branch: str  # "" where GitHub does not say
    head_owner: str | None  # login of whose repository the branch is in; None when that fork was deleted
    head_repository: str | None  # its "owner/repo"
    actor: Account  # who set off the first attempt
    triggering_actor: Account  # who set off this one
    html_url: str
    pull_request_numbers: tuple[int, ...]  # those into this repository that GitHub names: none for a fork's branch


@dataclass(frozen=True, slots=True)
class Release:
    id: int
    tag: str
    name: str  # "" where it has none
    body: str
    draft: bool
    prerelease: bool
    author: Account
    html_url: str
    published_at: datetime | None  # aware UTC; None for a draft
    target_commitish: str  # the branch or the commit that the tag is made at, if there is no such tag yet


@dataclass(frozen=True, slots=True)
class Comment:
    """What somebody wrote under an issue or a pull request; comments on lines belong to reviews."""

    id: int
    user: Account
    body: str
    author_association: str  # "NONE", "CONTRIBUTOR", ...; not a permission
    html_url: str
    created_at: datetime | None  # aware UTC


@dataclass(frozen=True, slots=True)
class Event:
    """One verified delivery, parsed."""

    delivery: str  # GUID
    name: str  # "issues"
    action: str | None  # "opened"
    repository: Repository
    sender: Account
    installation: int | None
    issue: Issue | None
    pull_request: PullRequest | None
    review: Review | None
    comment: Comment | None
    workflow_run: WorkflowRun | None
    release: Release | None
    changed: frozenset[str]  # keys of `changes`, for `edited`: {"title", "body"}
    payload: Mapping[str, object]  # as received

    @property
    def key(self) -> str:
        """ "issues.opened", or "push" where there is no action."""
        return event_key(self.name, self.action)

    @property
    def thread(self) -> Issue | PullRequest | None:
        return self.pull_request or self.issue


def is_bot(login: str, kind: str) -> bool:
    """Whether an account is a program's, by its `type` or by how Apps are named: "dependabot[bot]"."""
    return kind == "Bot" or login.endswith("[bot]")


def event_key(name: str, action: str | None) -> str:
    return f"{name}.{action}" if action else name


def _empty_for_null(value: object) -> object:
    return "" if value is None else value


def _first_for_null(value: object) -> object:
    return 1 if value is None else value


def _utc(value: datetime) -> datetime:
    return value.astimezone(UTC)


def _repository_name(value: str) -> str:
    if not REPOSITORY_NAME.fullmatch(value):
        raise ValueError("it is not owner/repo")
    return value


def _review_state(value: object) -> object:
    """Webhooks write it in lower case, the API in upper case; one that we do not know is no verdict."""
    state = str(value).lower()
    return state if state in get_args(ReviewState) else "commented"


RepositoryName = Annotated[str, AfterValidator(_repository_name)]
Text = Annotated[str, BeforeValidator(_empty_for_null)]
UtcTime = Annotated[AwareDatetime, AfterValidator(_utc)]


class _Wire(BaseModel):
    """GitHub adds fields whenever it likes: unknown ones are ignored here, and here alone."""

    model_config = ConfigDict(extra="ignore", frozen=True)


class WireAccount(_Wire):
    login: str
    id: int
    type: str = "User"

    def value(self) -> Account:
        return Account(login=self.login, id=self.id, type=self.type)


GHOST = WireAccount(login="ghost", id=10137, type="User")
"""What GitHub shows in place of a deleted account; the API has null there."""


class WireLabel(_Wire):
    name: str


class WireRepository(_Wire):
    id: int
    full_name: RepositoryName
    private: bool = False
    description: str | None = None
    default_branch: str | None = None
    language: str | None = None

    def value(self) -> Repository:
        return Repository(
            id=self.id,
            full_name=self.full_name,
            private=self.private,
            description=self.description,
            default_branch=self.default_branch,
            language=self.language,
        )


class WireIssue(_Wire):
    number: int
    title: Text
    body: Text = ""
    user: WireAccount | None = None
    state: Literal["open", "closed"] = "open"
    locked: bool = False
    labels: tuple[WireLabel, ...] | None = None
    author_association: str = "NONE"
    html_url: str = ""
    pull_request: dict[str, Any] | None = None  # where a pull request is told as an issue

    def value(self) -> Issue:
        return Issue(
            number=self.number,
            title=self.title,
            body=self.body,
            user=(self.user or GHOST).value(),
            state=self.state,
            locked=self.locked,
            labels=tuple(Label(label.name) for label in self.labels or ()),
            author_association=self.author_association,
            html_url=self.html_url,
            is_pull_request=self.pull_request is not None,
        )


class WireBranch(_Wire):
    sha: str
    ref: Text = ""


class WirePullRequest(WireIssue):
    draft: bool | None = None
    head: WireBranch
    base: WireBranch
    additions: int = 0
    deletions: int = 0
    changed_files: int = 0
    commits: int = 0

    def as_pull_request(self) -> PullRequest:
        return PullRequest(
            number=self.number,
            title=self.title,
            body=self.body,
            user=(self.user or GHOST).value(),
            state=self.state,
            locked=self.locked,
            draft=bool(self.draft),
            labels=tuple(Label(label.name) for label in self.labels or ()),
            author_association=self.author_association,
            html_url=self.html_url,
            head_sha=self.head.sha,
            head_ref=self.head.ref,
            base_ref=self.base.ref,
            additions=self.additions,
            deletions=self.deletions,
            changed_files=self.changed_files,
            commits=self.commits,
        )


class WireReview(_Wire):
    id: int
    user: WireAccount | None = None
    state: Annotated[ReviewState, BeforeValidator(_review_state)]
    body: Text = ""
    commit_id: Text = ""
    html_url: Text = ""

    def value(self) -> Review:
        return Review(
            id=self.id,
            user=(self.user or GHOST).value(),
            state=self.state,
            body=self.body,
            commit_id=self.commit_id,
            html_url=self.html_url,
        )


class _WireOwner(_Wire):
    login: str


class _WireHome(_Wire):
    """A repository as payloads mention it."""

    id: int | None = None
    full_name: str | None = None
    owner: _WireOwner | None = None


class _WireRunBase(_Wire):
    repo: _WireHome | None = None


class _WireRunPull(_Wire):
    """A pull request as a run mentions it."""

    number: int
    base: _WireRunBase | None = None


class WireWorkflowRun(_Wire):
    id: int
    name: Text = ""
    workflow_id: int
    path: Text = ""
    run_number: int = 0
    run_attempt: Annotated[int, BeforeValidator(_first_for_null)] = 1
    event: Text = ""
    status: Text = ""
    conclusion: str | None = None
    head_sha: str
    head_branch: Text = ""
    head_repository: _WireHome | None = None
    actor: WireAccount | None = None
    triggering_actor: WireAccount | None = None
    html_url: Text = ""
    pull_requests: tuple[_WireRunPull, ...] | None = None

    def value(self, repository_id: int) -> WorkflowRun:
        """`repository_id` is that of the repository whose event it is: GitHub names pull requests into forks, too."""
        home = self.head_repository or _WireHome()
        actor = (self.actor or GHOST).value()
        return WorkflowRun(
            id=self.id,
            name=self.name,
            workflow_id=self.workflow_id,
            path=self.path,
            run_number=self.run_number,
            run_attempt=self.run_attempt,
            event=self.event,
            status=self.status,
            conclusion=self.conclusion,
            head_sha=self.head_sha,
            head_branch=self.head_branch,
            head_owner=home.owner.login if home.owner else None,
            head_repository=home.full_name,
            actor=actor,
            triggering_actor=self.triggering_actor.value() if self.triggering_actor else actor,
            html_url=self.html_url,
            pull_request_numbers=tuple(
                pull.number
                for pull in self.pull_requests or ()
                if pull.base and pull.base.repo and pull.base.repo.id == repository_id
            ),
        )


class WireRelease(_Wire):
    id: int
    tag_name: str
    name: Text = ""
    body: Text = ""
    draft: bool = False
    prerelease: bool = False
    author: WireAccount | None = None
    html_url: Text = ""
    published_at: UtcTime | None = None
    target_commitish: Text = ""

    def value(self) -> Release:
        return Release(
            id=self.id,
            tag=self.tag_name,
            name=self.name,
            body=self.body,
            draft=self.draft,
            prerelease=self.prerelease,
            author=(self.author or GHOST).value(),
            html_url=self.html_url,
            published_at=self.published_at,
            target_commitish=self.target_commitish,
        )


class WireComment(_Wire):
    id: int
    user: WireAccount | None = None
    body: Text = ""
    author_association: str = "NONE"
    html_url: Text = ""
    created_at: UtcTime | None = None

    def value(self) -> Comment:
        return Comment(
            id=self.id,
            user=(self.user or GHOST).value(),
            body=self.body,
            author_association=self.author_association,
            html_url=self.html_url,
            created_at=self.created_at,
        )


class _WireEvent(_Wire):
    action: str | None = None
    repository: WireRepository
    sender: WireAccount | None = None
    installation: dict[str, Any] | None = None
    issue: WireIssue | None = None
    pull_request: WirePullRequest | None = None
    review: WireReview | None = None
    comment: WireComment | None = None
    workflow_run: WireWorkflowRun | None = None
    release: WireRelease | None = None
    changes: dict[str, Any] | None = None


def parse_event(name: str, delivery: str, body: bytes) -> Event:
    """Parse a stored body as the event `name`. Raises `PayloadError` naming the first field that does not fit."""
    try:
        payload = msgspec.json.decode(body, type=dict[str, Any])
        wire = _WireEvent.model_validate(payload)
    except (msgspec.DecodeError, UnicodeDecodeError) as exc:
        raise PayloadError(f"the body of {name} is not a JSON object") from exc
    except ValidationError as exc:
        first = exc.errors(include_input=False, include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise PayloadError(f"the payload does not fit {name}: {where}: {first['msg']}") from exc
    for named_by in NAMED_BY.get(name, ()):
        if getattr(wire, named_by) is None:
            raise PayloadError(f"the payload does not fit {name}: it has no {named_by}")
    installation = (wire.installation or {}).get("id")
    return Event(
        delivery=delivery,
        name=name,
        action=wire.action,
        repository=wire.repository.value(),
        sender=(wire.sender or GHOST).value(),
        installation=installation if isinstance(installation, int) else None,
        issue=wire.issue.value() if wire.issue else None,
        pull_request=wire.pull_request.as_pull_request() if wire.pull_request else None,
        review=wire.review.value() if wire.review else None,
        comment=wire.comment.value() if wire.comment else None,
        workflow_run=wire.workflow_run.value(wire.repository.id) if wire.workflow_run else None,
        release=wire.release.value() if wire.release else None,
        changed=frozenset(wire.changes or ()),
        payload=payload,
    )
