"""Checks of a webhook request (headers, signature, payload), and `new_delivery`, which turns it
into a delivery.

https://docs.github.com/en/webhooks/webhook-events-and-payloads#delivery-headers
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Callable, Iterable, Mapping
from urllib.parse import unquote_to_bytes

import msgspec
from msgspec.structs import replace

from hls_handler.deliveries import (
    BATCHED,
    CAUGHT_UP,
    PRIORITY_BOT_REQUEST,
    PRIORITY_OTHER,
    PRIORITY_PULL_REQUEST,
    DeliveryAttempt,
    NewDelivery,
)
from hls_handler.errors import HlsError, PayloadError
from hls_handler.events import PULL_REQUEST_EVENTS, REPOSITORY_NAME, find_required_objects
from hls_handler.handlers.merge_groups import find_queued
from hls_handler.routing import (
    Command,
    Ignored,
    RoutingResult,
    Rule,
    WebhookEnvelope,
    parse_envelope,
)
from hls_handler.routing.envelope import INSTALLATION_EVENTS
from hls_handler.settings.effective import RepositoryTable
from hls_handler.settings.model import Settings
from hls_handler.settings.values import webhook_secrets
from hls_handler.untrusted.cleaning import clean_title
from hls_handler.wording import count

CONTENT_TYPE = b"content-type"
CONTENT_LENGTH = b"content-length"
EVENT = b"x-github-event"
DELIVERY = b"x-github-delivery"
SIGNATURE = b"x-hub-signature-256"
KNOWN_HEADERS = frozenset({CONTENT_TYPE, CONTENT_LENGTH, EVENT, DELIVERY, SIGNATURE})

_EVENT = re.compile(rb"[a-z][a-z0-9_]{0,63}")
_DELIVERY = re.compile(rb"[0-9A-Za-z-]{1,64}")
_SIGNATURE = re.compile(rb"sha256=[0-9a-f]{64}")
_LENGTH = re.compile(rb"[0-9]{1,18}")
_MAX_CONTENT_TYPE_LENGTH = 256

JSON = b"application/json"
FORM = b"application/x-www-form-urlencoded"


class Rejected(HlsError):
    """The request gets a 4xx with the sentence `detail`. The exact reason `why` is only logged."""

    def __init__(self, status: int, detail: str, *, why: str | None = None) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.why = why or detail


def not_verified(why: str) -> Rejected:
    """Return a 401. Its `detail` is always the same: it must not show an attacker which check
    failed.
    """
    return Rejected(401, "the request could not be verified: check the webhook's secret", why=why)


class WebhookHeaders(msgspec.Struct, frozen=True):
    event: str  # "issues"
    delivery: str  # GUID
    signature: bytes  # "sha256=" and 64 hexadecimal digits; b"" when signatures are not checked
    is_form: bool  # True: the body is a form with the field `payload`; False: the body is JSON
    content_length: int | None  # as declared; None for a chunked body


def parse_headers(headers: Iterable[tuple[bytes, bytes]], *, signed: bool) -> WebhookHeaders:
    """Return the headers that HLS uses. Raises `Rejected` (4xx) if one is malformed or occurs
    twice.

    `headers` is the ASGI list, with names in lower case. `signed` requires a signature.
    """
    values: dict[bytes, bytes] = {}
    for name, value in headers:
        if name in KNOWN_HEADERS:
            if name in values:
                raise _duplicate(name)
            values[name] = value
    is_form = _is_form(values.get(CONTENT_TYPE, b""))
    content_length = None
    if CONTENT_LENGTH in values:
        if not _LENGTH.fullmatch(values[CONTENT_LENGTH]):
            raise Rejected(400, "Content-Length must be a number of bytes")
        content_length = int(values[CONTENT_LENGTH])
    event = _matched(
        values, EVENT, _EVENT, "X-GitHub-Event must be the name of an event, such as issues"
    )
    delivery = _matched(
        values,
        DELIVERY,
        _DELIVERY,
        "X-GitHub-Delivery must be an id of at most 64 letters, digits and hyphens",
    )
    if delivery.startswith(BATCHED):  # it is not signed, and could take the place of one
        raise Rejected(400, "X-GitHub-Delivery must not be the id of a delivery of a batch")
    signature = b""
    if signed:
        signature = values.get(SIGNATURE, b"")
        if not _SIGNATURE.fullmatch(signature):
            raise not_verified("X-Hub-Signature-256 is missing or malformed")
    return WebhookHeaders(event, delivery, signature, is_form, content_length)


def _duplicate(name: bytes) -> Rejected:
    if name == SIGNATURE:
        return not_verified("X-Hub-Signature-256 occurs twice")
    return Rejected(400, f"the header {name.decode('ascii')} occurs twice")


def _matched(
    values: Mapping[bytes, bytes], name: bytes, shape: re.Pattern[bytes], sentence: str
) -> str:
    value = values.get(name, b"")
    if not shape.fullmatch(value):
        raise Rejected(400, sentence)
    return value.decode("ascii")


def _is_form(content_type: bytes) -> bool:
    if content_type == JSON:
        return False
    if len(content_type) > _MAX_CONTENT_TYPE_LENGTH or not content_type.isascii():
        raise Rejected(
            400, f"Content-Type must be ASCII of at most {_MAX_CONTENT_TYPE_LENGTH} characters"
        )
    media_type = content_type.partition(b";")[0].strip().lower()
    if media_type not in (JSON, FORM):
        raise Rejected(
            415, "Content-Type must be application/json or application/x-www-form-urlencoded"
        )
    return media_type == FORM


def payload_of_form(body: bytes) -> bytes:
    """Return the decoded field `payload` of a form. Raises `Rejected` (400) unless it occurs
    exactly once.
    """
    values = [
        field[len(b"payload=") :] for field in body.split(b"&") if field.startswith(b"payload=")
    ]
    if len(values) != 1:
        raise Rejected(
            400, 'a form must have exactly one field named "payload", which contains the JSON'
        )
    return unquote_to_bytes(values[0].replace(b"+", b" "))


def sign(secret: bytes, body: bytes) -> bytes:
    """Return the body's signature, as in X-Hub-Signature-256: "sha256=" and 64 lower-case
    hexadecimal digits.

    https://docs.github.com/en/webhooks/using-webhooks/validating-webhook-deliveries
    """
    return b"sha256=" + hmac.digest(secret, body, "sha256").hex().encode("ascii")


def body_digest(body: bytes, *, repository_id: int | None, number: int | None) -> bytes:
    """Return the repository's id, the number (8 bytes each, 0 for None) and the body's SHA-256.

    The database has an index of digests. The ids come first, so that digests of a conversation are
    neighbours in it. With hashes alone, each delivery would change another page of the index.
    """
    ids = b"".join((value or 0).to_bytes(8, "big") for value in (repository_id, number))
    return ids + hashlib.sha256(body).digest()


class WebhookSecrets:
    """The webhook secrets in the settings: those in `github`, and those in entries of
    `repositories`.
    """

    def __init__(self, settings: Settings, table: RepositoryTable) -> None:
        self._table = table
        self._global = webhook_secrets(settings.github.webhook_secret)
        repository_secrets = (
            secret
            for entry in settings.repositories
            for secret in webhook_secrets(entry.webhook_secret)
        )
        self._all = tuple(dict.fromkeys((*self._global, *repository_secrets)))

    def find_matching(self, body: bytes, signature: bytes) -> bytes | None:
        """Return the secret with which `body` was signed, or None. Signatures are compared in
        constant time.
        """
        for secret in self._all:
            if hmac.compare_digest(sign(secret, body), signature):
                return secret
        return None

    def is_allowed(self, secret: bytes, repository: str) -> bool:
        """Return True if `secret` is valid for "owner/repo", or for an event without a repository
        ("").

        If the repository's entry in the settings has secrets, only these are valid. All other
        repositories, and events without a repository, use the secrets in `github`.
        """
        settings = self._table.find(repository)
        if settings is None:
            return secret in self._global
        return secret in settings.webhook_secrets


CLOSING_EVENTS = frozenset(
    {
        ("issues", "closed"),
        ("issues", "deleted"),
        ("issues", "transferred"),
        ("pull_request", "closed"),
    }
)
PUSH = ("pull_request", "synchronize")


def check_payload(event: str, envelope: WebhookEnvelope) -> None:
    """Raise `PayloadError` if the payload belongs to another event, or a name in the payload is not
    printable.

    GitHub signs the payload, but not the header with the event's name.
    """
    required = find_required_objects(event)
    if event in INSTALLATION_EVENTS:
        required = ("installation",)
    for named_by in required:
        if getattr(envelope, named_by) is None:
            raise PayloadError(f"the payload does not fit the event {event}: it has no {named_by}")
    full_name = envelope.repository_name
    if full_name and not REPOSITORY_NAME.fullmatch(full_name):
        raise PayloadError("invalid payload: repository.full_name must have the form owner/repo")
    names = {"action": envelope.action or "", "sender.login": envelope.sender_login}
    if envelope.pull_request is not None and envelope.pull_request.head is not None:
        names["pull_request.head.sha"] = envelope.pull_request.head.sha
    for key in ("workflow_run", "merge_group", "check_run"):
        commit = getattr(envelope, key)
        if commit is not None:
            names[f"{key}.head_sha"] = commit.head_sha
    for where, name in names.items():
        if not name.isprintable():
            raise PayloadError(f"invalid payload: {where} has invisible characters")


def new_delivery(
    headers: WebhookHeaders,
    envelope: WebhookEnvelope,
    routed: RoutingResult,
    payload: bytes,
    settings: Settings,
    *,
    request_id: str,
) -> NewDelivery:
    """Return the delivery to store. If `routed` is `Ignored`, it has no body and no digest, unless
    a worker needs it.

    A push to a pull request waits `limits.settle_s` seconds for a newer push, which would supersede
    it. With `metrics.authors`, the author of the issue or pull request is stored.
    """
    new = _from_envelope(headers, envelope, settings, request_id)
    new = replace(
        new,
        priority=_priority(new.event, new.action, routed),
        is_command=isinstance(routed, Command),
    )
    event_action = (new.event, new.action)
    if event_action in CLOSING_EVENTS:
        # even if it is ignored, because the conversation needs no more work
        new = replace(new, supersedes="all")
    if isinstance(routed, Ignored) and not routed.is_for_worker:
        return replace(new, state="ignored", reason=routed.reason, reason_kind=routed.kind)
    if event_action == PUSH:
        new = replace(new, supersedes="older_commits", settle_s=settings.limits.settle_s)
    digest = body_digest(payload, repository_id=new.repository_id, number=new.number)
    return replace(new, digest=digest, body=payload)


def _from_envelope(
    headers: WebhookHeaders, envelope: WebhookEnvelope, settings: Settings, request_id: str
) -> NewDelivery:
    repository_id: int | None = None
    if envelope.repository is not None:
        repository_id = envelope.repository.id
    former_name = ""
    if headers.event == "repository":
        former_name = envelope.former_name
    author: str | None = None
    conversation = envelope.conversation
    if conversation is not None and conversation.user is not None and settings.metrics.authors:
        author = conversation.user.login
    return NewDelivery(
        guid=headers.delivery,
        event=headers.event,
        action=envelope.action,
        request_id=request_id,
        state="queued",
        repository_id=repository_id,
        repository=envelope.repository_name or None,
        number=_find_number(headers.event, envelope),
        head_sha=_find_commit(envelope) or None,
        author=author,
        sender=envelope.sender_login or None,
        title=clean_title(_find_title(headers.event, envelope)) or None,
        former_name=former_name,
    )


def _find_title(event: str, envelope: WebhookEnvelope) -> str:
    """Return the title of the issue or pull request; of a run its workflow and branch, of a push
    its branch and number of commits, of a release its tag; "" of other events.
    """
    run = envelope.workflow_run or envelope.check_run
    if envelope.conversation is not None:
        return envelope.conversation.title or ""
    if run is not None and run.name and run.head_branch:
        return f"{run.name} on {run.head_branch}"
    if run is not None:
        return run.name or ""
    if envelope.release is not None:
        return envelope.release.tag_name or ""
    if event == "push" and envelope.ref is not None:
        branch = envelope.ref.removeprefix("refs/heads/").removeprefix("refs/")
        return f"{branch}: {count(len(envelope.commits or ()), 'commit')}"
    return ""


def _find_number(event: str, envelope: WebhookEnvelope) -> int | None:
    if event == "merge_group" and envelope.merge_group is not None:
        # it waits for the review of this pull request
        return find_queued(envelope.merge_group.head_ref or "")
    if envelope.conversation is None:
        return None
    return envelope.conversation.number


def _find_commit(envelope: WebhookEnvelope) -> str:
    pull_request = envelope.pull_request
    if pull_request is not None and pull_request.head is not None:
        return pull_request.head.sha
    commit = envelope.workflow_run or envelope.check_run or envelope.merge_group
    if commit is None:
        return ""
    return commit.head_sha


def caught_up_delivery(
    attempt: DeliveryAttempt,
    body: bytes,
    *,
    repository: str | None,
    route: Callable[[str, WebhookEnvelope], RoutingResult],
    settings: Settings,
) -> NewDelivery:
    """Return the delivery for a payload that catch-up read from GitHub. Raises `PayloadError`.

    `repository` is that of the hook: "owner/repo"; None for an organisation or an App. The delivery
    has no digest, because GitHub returns the parsed payload, not the bytes that it signed. It was
    read over the verified connection to `github.base_url` with our own credentials, which replaces
    the signature.
    """
    if len(body) > settings.server.max_body_bytes:
        raise PayloadError(f"the payload has {len(body)} bytes, more than server.max_body_bytes")
    new = unsigned_delivery(
        attempt.event, attempt.guid, body, route, settings, request_id=f"{CAUGHT_UP}{attempt.id}"
    )
    _check_repository(new, attempt.repository_id, repository)
    return replace(new, digest=None)


def unsigned_delivery(
    event: str,
    guid: str,
    body: bytes,
    route: Callable[[str, WebhookEnvelope], RoutingResult],
    settings: Settings,
    *,
    request_id: str,
) -> NewDelivery:
    """Return the delivery for a payload that no webhook brought. Raises `PayloadError`."""
    envelope = parse_envelope(body)
    check_payload(event, envelope)
    headers = WebhookHeaders(event, guid, b"", False, None)
    routed = route(event, envelope)
    return new_delivery(headers, envelope, routed, body, settings, request_id=request_id)


def _check_repository(new: NewDelivery, repository_id: int | None, name: str | None) -> None:
    if repository_id is not None and new.repository_id != repository_id:
        raise PayloadError(
            f"the payload does not belong to the repository with the id {repository_id}"
        )
    if name is not None and (new.repository or "").lower() != name.lower():
        raise PayloadError(f"the payload does not belong to {name}, whose webhook it is")


def _priority(event: str, action: str | None, routed: RoutingResult) -> int:
    if isinstance(routed, Command) or (isinstance(routed, Rule) and routed.thread is not None):
        return PRIORITY_BOT_REQUEST
    # Every issue_comment is a request to the bot, because the router ignores comments that ask the
    # bot nothing.
    if action == "review_requested" or event == "issue_comment":
        return PRIORITY_BOT_REQUEST
    if event in PULL_REQUEST_EVENTS:
        return PRIORITY_PULL_REQUEST
    return PRIORITY_OTHER
