"""GitHub's webhook events, and the issues, pull requests, comments, ... in them, as frozen values.

pydantic's `TypeAdapter(Issue)` reads an issue from a webhook, a response of GitHub's API, or a
checkpoint. Checkpoints have the field names of this module, not GitHub's. Unknown fields are
ignored. The webhook receiver reads a few fields with the faster `routing.parse_envelope`.

Payloads: https://docs.github.com/en/webhooks/webhook-events-and-payloads
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC
from functools import cache
from typing import Annotated, Any, Literal, TypeVar, get_args

import msgspec
from pydantic import (
    AfterValidator,
    AliasChoices,
    AliasPath,
    AwareDatetime,
    BeforeValidator,
    Field,
    SkipValidation,
    TypeAdapter,
    ValidationError,
    ValidationInfo,
)

from hls_handler.errors import PayloadError
from hls_handler.wording import describe_invalid

EventKind = Literal["issue", "pull_request", "review", "workflow", "comment", "release", "generic"]
"""The family of an event; "generic" stands for all events without a handler of their own."""


@dataclass(frozen=True, slots=True)
class HandledEvent:
    """An event with a handler of its own, as the other parts of the service need it."""

    kind: EventKind  # by which the analyses of its deliveries are searched
    objects: tuple[str, ...]
    """What its payload must have, because the signature does not cover the header with the event's
    name.
    """
    permission: str  # that a GitHub App needs for its webhook to have the event
    is_default: bool = False  # repositories have it whose settings name no events


HANDLED_EVENTS: Mapping[str, HandledEvent] = {
    "issues": HandledEvent("issue", ("issue",), "issues", is_default=True),
    "pull_request": HandledEvent(
        "pull_request", ("pull_request",), "pull_requests", is_default=True
    ),
    "pull_request_review": HandledEvent(
        "review", ("review", "pull_request"), "pull_requests", is_default=True
    ),
    "workflow_run": HandledEvent("workflow", ("workflow_run",), "actions", is_default=True),
    "check_run": HandledEvent("workflow", ("check_run",), "checks"),
    "issue_comment": HandledEvent("comment", ("comment", "issue"), "issues"),
    "release": HandledEvent("release", ("release",), "contents"),
}
"""GitHub's event name -> the event, for those in `handlers.registry.HANDLERS`."""

DEFAULT_EVENTS = tuple(name for name, event in HANDLED_EVENTS.items() if event.is_default)


def find_required_objects(event_name: str) -> tuple[str, ...]:
    """Return the objects that an event's payload must have; () without a handler of its own."""
    event = HANDLED_EVENTS.get(event_name)
    return event.objects if event else ()


PULL_REQUEST_EVENTS = frozenset(
    {"pull_request", "pull_request_review", "pull_request_review_comment"}
)


_NAME = r"([A-Za-z0-9_-]|\.[A-Za-z0-9_-]|\.\.[A-Za-z0-9_.-])[A-Za-z0-9_.-]*"  # not "." or ".."
REPOSITORY_NAME = re.compile(f"{_NAME}/{_NAME}")
"""Pattern of a whole repository name: "owner/repo". It has no look-ahead, which pydantic does not
know.

HLS inserts the name into URLs without quoting, so it must not contain a second slash, `..` or a
special character.
"""


def event_key(name: str, action: str | None) -> str:
    return f"{name}.{action}" if action else name


def is_bot(login: str, kind: str) -> bool:
    """Return True for a bot. GitHub sends `kind` as the field `type`."""
    return kind == "Bot" or login.endswith("[bot]")


def _check_repository_name(value: str) -> str:
    if not REPOSITORY_NAME.fullmatch(value):
        raise ValueError("it must have the form owner/repo")
    return value


def null_to(default: object) -> BeforeValidator:
    return BeforeValidator(lambda value: default if value is None else value)


Text = Annotated[str, null_to(""), Field(default="")]
"""A string; "" if GitHub omits it or sends null."""

UtcTime = Annotated[AwareDatetime, AfterValidator(lambda time: time.astimezone(UTC))]
_Value = TypeVar("_Value")
Nullable = Annotated[_Value | None, Field(default=None)]
"""A value; None if GitHub omits it or sends null."""

OptionalTime = Nullable[UtcTime]
Count = Annotated[int, Field(default=0)]
Flag = Annotated[bool, null_to(False), Field(default=False)]
Association = Annotated[str, Field(default="NONE")]


@dataclass(frozen=True, slots=True)
class Account:
    login: str
    id: int
    type: Annotated[str, Field(default="User")]  # "User", "Bot", "Organization"

    @property
    def is_bot(self) -> bool:
        return is_bot(self.login, self.type)


GHOST = Account(login="ghost", id=10137, type="User")
"""Replaces null, which GitHub sends for a deleted account. GitHub's pages show the same account."""

Author = Annotated[Account, null_to(GHOST), Field(default=GHOST)]


@dataclass(frozen=True, slots=True)
class Repository:
    id: int
    full_name: Annotated[str, AfterValidator(_check_repository_name)]  # "owner/repo"
    private: Annotated[bool, Field(default=False)]
    description: Nullable[str]
    default_branch: Nullable[str]
    language: Nullable[str]

    @property
    def owner(self) -> str:
        return self.full_name.partition("/")[0]

    @property
    def name(self) -> str:
        return self.full_name.partition("/")[2]


@dataclass(frozen=True, slots=True)
class Label:
    name: str


Labels = Annotated[tuple[Label, ...], null_to(()), Field(default=())]
OpenOrClosed = Annotated[Literal["open", "closed"], Field(default="open")]


def is_present(value: object) -> object:
    """Return False for null and True for an object. A boolean, as in a checkpoint, is returned
    unchanged.
    """
    if isinstance(value, bool):
        return value
    return value is not None


@dataclass(frozen=True, slots=True)
class Issue:
    """An issue. In `issue_comment` events, GitHub also sends a pull request in this form."""

    number: int
    title: Annotated[str, null_to("")]
    body: Text
    user: Author
    state: OpenOrClosed
    locked: Annotated[bool, Field(default=False)]
    labels: Labels
    author_association: Association  # "NONE", "CONTRIBUTOR", ...; not a permission
    html_url: Annotated[str, Field(default="")]
    is_pull_request: Annotated[
        bool,
        Field(validation_alias=AliasChoices("pull_request", "is_pull_request")),
        BeforeValidator(is_present),
    ] = False  # True for a pull request that GitHub sends as an issue
    comments: int | None = None  # number of comments; None if GitHub omits it


@dataclass(frozen=True, slots=True)
class PullRequest:
    number: int
    title: Annotated[str, null_to("")]
    body: Text
    user: Author
    state: OpenOrClosed
    locked: Annotated[bool, Field(default=False)]
    draft: Flag
    labels: Labels
    author_association: Association
    html_url: Annotated[str, Field(default="")]
    head_sha: Annotated[
        str, Field(validation_alias=AliasChoices(AliasPath("head", "sha"), "head_sha"))
    ]
    head_ref: Annotated[
        Text, Field(validation_alias=AliasChoices(AliasPath("head", "ref"), "head_ref"))
    ]
    base_ref: Annotated[
        Text, Field(validation_alias=AliasChoices(AliasPath("base", "ref"), "base_ref"))
    ]
    additions: Count
    deletions: Count
    changed_files: Count
    commits: Count
    merged: Flag
    # number of comments of the conversation; None if GitHub omits it, as in lists
    comments: int | None = None
    review_comments: int = 0  # number of comments on its lines
    base_sha: Annotated[
        str, null_to(""), Field(validation_alias=AliasChoices(AliasPath("base", "sha"), "base_sha"))
    ] = ""
    """The commit of the base branch; "" if GitHub omits it."""


ReviewState = Literal["approved", "changes_requested", "commented", "dismissed", "pending"]


def _review_state(value: object) -> object:
    state = str(value).lower()  # GitHub's API sends "APPROVED"
    return state if state in get_args(ReviewState) else "commented"


@dataclass(frozen=True, slots=True)
class Review:
    """A review of a pull request, without its comments on lines of the patch: GitHub sends them
    separately.
    """

    id: int
    user: Author
    state: Annotated[ReviewState, BeforeValidator(_review_state)]
    body: Text
    commit_id: Text  # the commit that was reviewed
    html_url: Text


def _full_name(value: object) -> object:
    if isinstance(value, Mapping):
        return value.get("full_name")
    return value


def _actor_if_null(value: object, info: ValidationInfo) -> object:
    if value is None:
        return info.data.get("actor", GHOST)
    return value


@dataclass(frozen=True, slots=True)
class WorkflowRun:
    """One attempt of a workflow run of GitHub Actions."""

    id: int  # the same for all attempts
    name: Text  # name of the workflow; "" if the workflow has none
    workflow_id: int
    path: Text  # ".github/workflows/test.yml"; "" if GitHub omits it
    run_number: Count  # number of the run among the workflow's runs
    run_attempt: Annotated[int, null_to(1), Field(default=1)]  # from 1; incremented by each re-run
    event: Text  # the triggering event: "pull_request", "push", "schedule"
    status: Text  # "completed", "in_progress", "queued", ...
    conclusion: Nullable[str]
    """ "success", "failure", "timed_out", "cancelled", ...; None until the run is completed."""
    head_sha: str
    head_branch: Text  # "" if GitHub omits it
    # owner of the repository that has the branch; None if that fork was deleted
    head_owner: Annotated[
        str | None,
        Field(
            default=None,
            validation_alias=AliasChoices(
                AliasPath("head_repository", "owner", "login"), "head_owner"
            ),
        ),
    ]
    # "owner/repo", which has the branch and may be a fork; None if it was deleted
    head_repository: Annotated[str | None, BeforeValidator(_full_name), Field(default=None)]
    actor: Author  # the account that triggered the first attempt
    # that triggered this attempt, such as a re-run; `actor` if GitHub sends null
    triggering_actor: Annotated[
        Account, BeforeValidator(_actor_if_null), Field(default=None, validate_default=True)
    ]
    html_url: Text
    # from the branch into this repository; GitHub lists none if the branch is in a fork
    pull_request_numbers: Annotated[tuple[int, ...], Field(default=())]


@dataclass(frozen=True, slots=True)
class Release:
    id: int
    tag: Annotated[str, Field(validation_alias=AliasChoices("tag_name", "tag"))]
    name: Text  # "" if it has none
    body: Text
    draft: Annotated[bool, Field(default=False)]
    prerelease: Annotated[bool, Field(default=False)]
    author: Author
    html_url: Text
    published_at: OptionalTime  # aware UTC; None for a draft
    # the branch or commit from which the tag is created if it does not exist
    target_commitish: Text


@dataclass(frozen=True, slots=True)
class MergeGroup:
    """A commit of a merge queue, which merges pull requests into the commit before it."""

    head_sha: str
    base_sha: Text
    head_ref: Text  # "refs/heads/gh-readonly-queue/main/pr-12-0123abc..."


@dataclass(frozen=True, slots=True)
class CheckRun:
    id: int
    head_sha: str
    name: Text
    conclusion: Nullable[str]  # as that of a workflow run
    completed_at: OptionalTime
    html_url: Text
    app_id: Annotated[int | None, Field(default=None, validation_alias=AliasPath("app", "id"))]
    app: Annotated[Text, Field(default="", validation_alias=AliasPath("app", "name"))]  # its name
    branch: Annotated[
        Text, Field(default="", validation_alias=AliasPath("check_suite", "head_branch"))
    ]
    title: Annotated[Text, Field(default="", validation_alias=AliasPath("output", "title"))]
    summary: Annotated[Text, Field(default="", validation_alias=AliasPath("output", "summary"))]
    text: Annotated[Text, Field(default="", validation_alias=AliasPath("output", "text"))]
    annotations_count: Annotated[
        Count, Field(default=0, validation_alias=AliasPath("output", "annotations_count"))
    ]
    # as those of a workflow run
    pull_request_numbers: Annotated[tuple[int, ...], Field(default=())]


@dataclass(frozen=True, slots=True)
class Comment:
    """A comment on an issue or pull request or, in `pull_request_review_comment` events, on lines
    of a patch.
    """

    id: int
    user: Author
    body: Text
    author_association: Association  # "NONE", "CONTRIBUTOR", ...; not a permission
    html_url: Text
    created_at: OptionalTime  # aware UTC


RequestedReview = Literal["new", "full", "conclude"]
"""A review of the changes that are new since the last review, or of all changes. "conclude" is like
"new", because a person dismissed a finding or took that back: the check is concluded again.
"""

REQUEST_KEY = "hls"
"""Key of the payload of a requested review, which HLS itself makes: {"hls": {"review": "full"}}.
GitHub sends no such key.
"""


def find_requested_review(payload: Mapping[str, object]) -> RequestedReview | None:
    request = payload.get(REQUEST_KEY)
    if not isinstance(request, Mapping):
        return None
    review = request.get("review")
    return next((kind for kind in get_args(RequestedReview) if kind == review), None)


def _find_id(value: object) -> int | None:
    if not isinstance(value, Mapping):
        return None
    number = value.get("id")
    return number if type(number) is int else None


@dataclass(frozen=True, slots=True)
class Event:
    """One verified webhook event. An object that the payload does not have, such as `review`, is
    None.
    """

    delivery: str  # GUID
    name: str  # "issues"
    action: Nullable[str]  # "opened"
    repository: Repository
    sender: Author
    issue: Nullable[Issue]
    pull_request: Nullable[PullRequest]
    review: Nullable[Review]
    comment: Nullable[Comment]
    workflow_run: Nullable[WorkflowRun]
    release: Nullable[Release]
    payload: SkipValidation[Mapping[str, object]]  # the parsed JSON, as GitHub sent it
    # GitHub has just sent it: its issue or pull request need not be read before the analysis
    is_recent: bool = False
    check_run: CheckRun | None = None
    merge_group: MergeGroup | None = None

    @property
    def key(self) -> str:
        """The event key: "issues.opened"; "push" for an event without an action."""
        return event_key(self.name, self.action)

    @property
    def conversation(self) -> Issue | PullRequest | None:
        return self.pull_request or self.issue

    @property
    def installation_id(self) -> int | None:
        """The id of the GitHub App's installation; None for a webhook that does not belong to an
        App.
        """
        return _find_id(self.payload.get("installation"))

    @property
    def organization_id(self) -> int | None:
        """The id of the organisation that owns the repository; None if a person owns it."""
        repository = self.payload.get("repository")
        owner = repository.get("owner") if isinstance(repository, Mapping) else None
        if not isinstance(owner, Mapping) or owner.get("type") != "Organization":
            return None
        return _find_id(owner)

    @property
    def requested_review(self) -> RequestedReview | None:
        """The review that a person requested by a command, or by running a check again."""
        return find_requested_review(self.payload)

    @property
    def is_full_review_requested(self) -> bool:
        return self.requested_review == "full"

    @property
    def is_closing(self) -> bool:
        return self.name in ("issues", "pull_request") and self.action == "closed"


@dataclass(frozen=True, slots=True)
class _ListedPullRequest:
    number: int
    base_repository_id: Annotated[
        int | None, Field(default=None, validation_alias=AliasPath("base", "repo", "id"))
    ]


_LISTED = TypeAdapter(Annotated[tuple[_ListedPullRequest, ...], null_to(())])


@cache  # it takes 15 ms, and most commands read no event
def _build_adapter() -> TypeAdapter[Event]:
    return TypeAdapter(Event)


def parse_event(name: str, delivery: str, body: bytes) -> Event:
    """Parse the body of the event `name` ("issues"). Raises `PayloadError`, which names the first
    invalid field.
    """
    try:
        payload = msgspec.json.decode(body, type=dict[str, Any])
        ours = {"delivery": delivery, "name": name, "payload": payload, "is_recent": False}
        event = _build_adapter().validate_python(payload | ours)
        for key, run in (("workflow_run", event.workflow_run), ("check_run", event.check_run)):
            if run is not None:  # drop pull requests into forks, which GitHub also lists
                pulls = _LISTED.validate_python(payload[key].get("pull_requests"))
                numbers = tuple(
                    pull.number for pull in pulls if pull.base_repository_id == event.repository.id
                )
                changed: dict[str, Any] = {key: replace(run, pull_request_numbers=numbers)}
                event = replace(event, **changed)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as exc:
        raise PayloadError(f"the body of the event {name} cannot be read: {exc}") from exc
    except ValidationError as exc:
        first = exc.errors(include_input=False, include_url=False)[0]
        problem = describe_invalid(first, whole="the body")
        raise PayloadError(f"the payload does not fit the event {name}: {problem}") from exc
    for required in find_required_objects(name):
        if getattr(event, required) is None:
            raise PayloadError(f"the payload does not fit the event {name}: it has no {required}")
    return event
