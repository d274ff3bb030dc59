"""pydantic models of GitHub's JSON, for webhooks and API responses, and the parser that builds our values from them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any, Literal, get_args

import msgspec
from pydantic import AfterValidator, AwareDatetime, BaseModel, BeforeValidator, ConfigDict, ValidationError

from hls_handler.errors import PayloadError
from hls_handler.events.values import (
    REPOSITORY_NAME,
    REQUIRED_OBJECTS,
    Account,
    Comment,
    Event,
    Issue,
    Label,
    PullRequest,
    Release,
    Repository,
    Review,
    ReviewState,
    WorkflowRun,
)


def _null_to_empty(value: object) -> object:
    return "" if value is None else value


def _null_to_one(value: object) -> object:
    return 1 if value is None else value


def _utc(value: datetime) -> datetime:
    return value.astimezone(UTC)


def _repository_name(value: str) -> str:
    if not REPOSITORY_NAME.fullmatch(value):
        raise ValueError("it is not owner/repo")
    return value


def _review_state(value: object) -> object:
    """Normalize the state: webhooks use lower case, the API upper case; an unknown state becomes "commented"."""
    state = str(value).lower()
    return state if state in get_args(ReviewState) else "commented"


RepositoryName = Annotated[str, AfterValidator(_repository_name)]
Text = Annotated[str, BeforeValidator(_null_to_empty)]
UtcTime = Annotated[AwareDatetime, AfterValidator(_utc)]


class Wire(BaseModel):
    """Base of the models. Ignores unknown fields, because GitHub may add fields at any time."""

    model_config = ConfigDict(extra="ignore", frozen=True)


class WireAccount(Wire):
    login: str
    id: int
    type: str = "User"

    def value(self) -> Account:
        return Account(login=self.login, id=self.id, type=self.type)


GHOST = WireAccount(login="ghost", id=10137, type="User")
"""The account that GitHub shows in place of a deleted one; the API returns null."""


class WireLabel(Wire):
    name: str


class WireRepository(Wire):
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


class WireIssue(Wire):
    number: int
    title: Text
    body: Text = ""
    user: WireAccount | None = None
    state: Literal["open", "closed"] = "open"
    locked: bool = False
    labels: tuple[WireLabel, ...] | None = None
    author_association: str = "NONE"
    html_url: str = ""
    pull_request: dict[str, Any] | None = None  # set if a pull request has the form of an issue

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


class WireBranch(Wire):
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


class WireReview(Wire):
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


class _WireOwner(Wire):
    login: str


class _WireRepositoryReference(Wire):
    """A repository as workflow runs and pull requests refer to it."""

    id: int | None = None
    full_name: str | None = None
    owner: _WireOwner | None = None


class _WireRunBase(Wire):
    repo: _WireRepositoryReference | None = None


class _WireRunPullRequest(Wire):
    """A pull request as a workflow run refers to it."""

    number: int
    base: _WireRunBase | None = None


class WireWorkflowRun(Wire):
    id: int
    name: Text = ""
    workflow_id: int
    path: Text = ""
    run_number: int = 0
    run_attempt: Annotated[int, BeforeValidator(_null_to_one)] = 1
    event: Text = ""
    status: Text = ""
    conclusion: str | None = None
    head_sha: str
    head_branch: Text = ""
    head_repository: _WireRepositoryReference | None = None
    actor: WireAccount | None = None
    triggering_actor: WireAccount | None = None
    html_url: Text = ""
    pull_requests: tuple[_WireRunPullRequest, ...] | None = None

    def value(self, repository_id: int) -> WorkflowRun:
        """`repository_id` is that of the event; pull requests into forks, which GitHub also lists, are left out."""
        head = self.head_repository or _WireRepositoryReference()
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
            head_owner=head.owner.login if head.owner else None,
            head_repository=head.full_name,
            actor=actor,
            triggering_actor=self.triggering_actor.value() if self.triggering_actor else actor,
            html_url=self.html_url,
            pull_request_numbers=tuple(
                pull.number
                for pull in self.pull_requests or ()
                if pull.base and pull.base.repo and pull.base.repo.id == repository_id
            ),
        )


class WireRelease(Wire):
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


class WireComment(Wire):
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


class _WireEvent(Wire):
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
    """Parse a stored body as the event `name`. Raises `PayloadError` that names the first invalid field."""
    try:
        payload = msgspec.json.decode(body, type=dict[str, Any])
        wire = _WireEvent.model_validate(payload)
    except (msgspec.DecodeError, UnicodeDecodeError) as exc:
        raise PayloadError(f"the body of {name} is not a JSON object") from exc
    except ValidationError as exc:
        first = exc.errors(include_input=False, include_url=False)[0]
        field = ".".join(str(part) for part in first["loc"])
        raise PayloadError(f"the payload does not fit {name}: {field}: {first['msg']}") from exc
    for required in REQUIRED_OBJECTS.get(name, ()):
        if getattr(wire, required) is None:
            raise PayloadError(f"the payload does not fit {name}: it has no {required}")
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
