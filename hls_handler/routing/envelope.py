"""The webhook envelope: the few fields of a body that the receiver parses. Also the input of
routing.

The worker checks the types of the other fields with `parse_event`.
"""

from __future__ import annotations

from typing import Annotated

import msgspec

from hls_handler.errors import PayloadError
from hls_handler.events import REPOSITORY_NAME, Event, RequestedReview, event_key, is_bot

DELETED_COMMENT = "pull_request_review_comment.deleted"

REVIEW_REQUESTED = (  # the action of `pull_request` when somebody requests a review
    "review_requested"
)

LABEL_ACTIONS = ("labeled", "unlabeled")
"""The actions that change the labels of an issue or pull request."""


INSTALLATION_EVENTS = ("installation", "installation_repositories")
"""Events about the GitHub App itself: an account installed it, or changed the repositories of the
installation.
"""


OWNER_KINDS = ("user", "organization")
"""Keys of the former owner in `repository.transferred`."""


Id = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
Name = Annotated[str, msgspec.Meta(max_length=255)]


class EnvelopeAccount(msgspec.Struct, frozen=True):
    login: Name = ""
    type: str = "User"


class EnvelopeRepository(msgspec.Struct, frozen=True):
    id: Id
    full_name: Name = ""


class EnvelopeLabel(msgspec.Struct, frozen=True):
    name: str = ""


class EnvelopeHead(msgspec.Struct, frozen=True):
    sha: Name = ""


class EnvelopeConversation(msgspec.Struct, frozen=True):
    """An issue or a pull request."""

    number: Annotated[int, msgspec.Meta(ge=1, le=2**31 - 1)]
    title: str | None = None
    draft: bool | None = None
    labels: tuple[EnvelopeLabel, ...] | None = None
    head: EnvelopeHead | None = None
    user: EnvelopeAccount | None = None
    pull_request: dict[str, object] | None = None


class EnvelopeComment(msgspec.Struct, frozen=True):
    """A comment or a review."""

    id: int
    user: EnvelopeAccount | None = None
    body: str | None = None
    # id of the first comment of the review thread; None if this is the first one
    in_reply_to_id: int | None = None


class EnvelopeThread(msgspec.Struct, frozen=True):
    comments: tuple[EnvelopeComment, ...] = ()


class EnvelopeApp(msgspec.Struct, frozen=True):
    id: Id
    slug: str = ""


class EnvelopeCommit(msgspec.Struct, frozen=True):
    """A workflow run, a check run or a merge group."""

    head_sha: Name
    conclusion: str | None = None
    name: str | None = None
    app: EnvelopeApp | None = None
    head_branch: str | None = None
    head_ref: str | None = None


class EnvelopePushedCommit(msgspec.Struct, frozen=True):
    """One of the commits of a push, which are only counted."""


class EnvelopeRelease(msgspec.Struct, frozen=True):
    author: EnvelopeAccount | None = None
    tag_name: str | None = None


class EnvelopeInstallation(msgspec.Struct, frozen=True):
    account: EnvelopeAccount | None = None  # only in `INSTALLATION_EVENTS`


class EnvelopeRepositoryName(msgspec.Struct, frozen=True):
    full_name: Name


class EnvelopeRequest(msgspec.Struct, frozen=True):
    """The value of `events.REQUEST_KEY`."""

    review: RequestedReview


class WebhookEnvelope(msgspec.Struct, frozen=True):
    """The fields of a webhook's body that the receiver parses. All are optional, because no field
    is in every event.
    """

    action: Name | None = None
    repository: EnvelopeRepository | None = None
    sender: EnvelopeAccount | None = None
    issue: EnvelopeConversation | None = None
    pull_request: EnvelopeConversation | None = None
    review: EnvelopeComment | None = None
    comment: EnvelopeComment | None = None
    thread: EnvelopeThread | None = None
    ref: str | None = None  # of a push: "refs/heads/main"
    commits: tuple[EnvelopePushedCommit, ...] | None = None
    workflow_run: EnvelopeCommit | None = None
    release: EnvelopeRelease | None = None
    check_run: EnvelopeCommit | None = None
    merge_group: EnvelopeCommit | None = None
    hls: EnvelopeRequest | None = None
    requested_reviewer: EnvelopeAccount | None = None
    label: EnvelopeLabel | None = None
    changes: dict[str, object] | None = None
    installation: EnvelopeInstallation | None = None
    repositories_added: tuple[EnvelopeRepositoryName, ...] = ()
    repositories_removed: tuple[EnvelopeRepositoryName, ...] = ()

    @property
    def conversation(self) -> EnvelopeConversation | None:
        return self.pull_request or self.issue

    @property
    def repository_name(self) -> str:
        """The name, "owner/repo"; "" for an event without a repository."""
        return self.repository.full_name if self.repository else ""

    @property
    def sender_login(self) -> str:
        """The login of the account that caused the event; "" if the payload does not name it."""
        return self.sender.login if self.sender else ""

    @property
    def former_name(self) -> str:
        """The name, "owner/repo", that a repository had before it was renamed or transferred; ""
        for other events.
        """
        if self.repository is None:
            return ""
        owner, _, name = self.repository.full_name.partition("/")
        changes = self.changes or {}
        if self.action == "renamed":
            name = _find_text(changes, "repository", "name", "from")
        elif self.action == "transferred":
            owners = [_find_text(changes, "owner", "from", kind, "login") for kind in OWNER_KINDS]
            owner = next(filter(None, owners), "")
        else:
            return ""
        former = f"{owner}/{name}"
        return former if REPOSITORY_NAME.fullmatch(former) else ""

    @property
    def installation_owner(self) -> str:
        """The login of the account that installed the App; "" if the payload does not name it."""
        if self.installation is None or self.installation.account is None:
            return ""
        return self.installation.account.login

    @property
    def installation_repositories(self) -> tuple[str, ...]:
        """The added and removed repositories; () if the change concerns the whole installation."""
        return tuple(
            repository.full_name
            for repository in (*self.repositories_added, *self.repositories_removed)
        )


def _find_text(value: object, *keys: str) -> str:
    """Return the text at a path of keys in JSON; "" if there is none."""
    for key in keys:
        if not isinstance(value, dict):
            return ""
        value = value.get(key)
    return value if isinstance(value, str) else ""


# msgspec describes a type at its first use and is not thread-safe then: two workers at once would
# crash the process.
_DECODER = msgspec.json.Decoder(WebhookEnvelope)


def parse_envelope(body: bytes) -> WebhookEnvelope:
    """Parse the envelope. Raises `PayloadError` if the body is not a JSON object, or a field has a
    wrong type.

    Values that are no fields are skipped: a worker rejects those that have the form of JSON but are
    out of range.
    """
    try:
        return _DECODER.decode(body.decode())
    except msgspec.ValidationError as exc:
        raise PayloadError(f"invalid payload: {exc}") from exc
    except UnicodeDecodeError as exc:
        raise PayloadError("the body is not valid JSON: it is not UTF-8") from exc
    except (msgspec.DecodeError, RecursionError) as exc:
        raise PayloadError("the body is not valid JSON") from exc


class RoutingInput(msgspec.Struct, frozen=True):
    event: str  # "issues"
    action: str | None  # "opened"
    repository: str | None  # "owner/repo"; None if the event has none
    sender: str  # login; "" if GitHub names none
    sender_is_bot: bool
    author: str | None = None  # login of the author of the issue, pull request or release
    author_is_bot: bool = False
    title: str = ""
    labels: tuple[str, ...] = ()
    draft: bool = False
    changed: frozenset[str] = frozenset()  # keys of `changes`: {"title", "body"}
    label: str | None = None  # the label that this event added or removed
    reviewer: str | None = None  # login of the reviewer that this event requested; None for a team
    comment_author: str | None = None  # author of the comment or review that the event is about
    comment_author_is_bot: bool = False
    comment_body: str = ""  # text of that comment or review
    # id of the first comment of the review thread that the event is about
    thread: int | None = None
    # of a workflow run or a check run: "success", "failure", "timed_out"
    conclusion: str | None = None
    is_pull_request: bool = False  # the conversation is a pull request, also in a comment event
    # the GitHub App that created the check run that the event is about
    check_app_id: int | None = None
    check_app: str = ""  # slug of that App; "" if the event is about no check run
    check_name: str | None = None  # of that check run
    is_requested: bool = False  # True: HLS made the event, because a person requested a review

    @property
    def key(self) -> str:
        """The event key: "issues.opened"; "push" for an event without an action."""
        return event_key(self.event, self.action)


def from_envelope(name: str, envelope: WebhookEnvelope) -> RoutingInput:
    """Build the routing input of the event `name` (the X-GitHub-Event header) from its envelope."""
    conversation = envelope.conversation or NO_CONVERSATION
    comment = envelope.comment or envelope.review or NO_COMMENT
    check_run = envelope.check_run or NO_COMMIT
    run = envelope.workflow_run or check_run
    app_id = None
    app_slug = ""
    if check_run.app is not None:
        app_id = check_run.app.id
        app_slug = check_run.app.slug
    author = envelope.release.author if envelope.release else conversation.user
    repository = None
    if envelope.repository:
        repository = envelope.repository.full_name or None
    label = None
    if envelope.label and envelope.action in LABEL_ACTIONS:
        label = envelope.label.name
    reviewer = None
    if envelope.action == REVIEW_REQUESTED:
        reviewer = envelope.requested_reviewer
    return RoutingInput(
        event=name,
        action=envelope.action,
        repository=repository,
        sender=_find_login(envelope.sender) or "",
        sender_is_bot=_is_bot(envelope.sender),
        author=_find_login(author),
        author_is_bot=_is_bot(author),
        title=conversation.title or "",
        labels=tuple([label.name for label in conversation.labels or ()]),
        draft=bool(conversation.draft),
        changed=frozenset(envelope.changes or ()),
        label=label,
        reviewer=_find_login(reviewer),
        comment_author=_find_login(comment.user),
        comment_author_is_bot=_is_bot(comment.user),
        comment_body=comment.body or "",
        thread=_find_thread(name, envelope),
        conclusion=run.conclusion,
        is_pull_request=envelope.pull_request is not None or conversation.pull_request is not None,
        check_app_id=app_id,
        check_app=app_slug,
        check_name=check_run.name,
        is_requested=envelope.hls is not None,
    )


NO_CONVERSATION = EnvelopeConversation(number=1)
NO_COMMENT = EnvelopeComment(id=0)
NO_COMMIT = EnvelopeCommit(head_sha="")


def _find_login(account: EnvelopeAccount | None) -> str | None:
    return account.login if account else None


def _is_bot(account: EnvelopeAccount | None) -> bool:
    return account is not None and is_bot(account.login, account.type)


def _find_thread(name: str, envelope: WebhookEnvelope) -> int | None:
    if envelope.thread is not None:
        return next((comment.id for comment in envelope.thread.comments), None)
    comment = envelope.comment
    if comment is None:
        return None
    if f"{name}.{envelope.action}" != DELETED_COMMENT:
        return comment.in_reply_to_id
    if comment.in_reply_to_id is None:  # the first comment of a thread
        return comment.id
    return None


def from_event(event: Event) -> RoutingInput:
    """Build the routing input from a parsed event. Raises `PayloadError` if a field has a wrong
    type.
    """
    try:
        return from_envelope(event.name, msgspec.convert(event.payload, WebhookEnvelope))
    except msgspec.ValidationError as exc:
        raise PayloadError(f"invalid payload: {exc}") from exc
