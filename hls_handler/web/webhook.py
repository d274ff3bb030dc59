"""Checks of a webhook request (headers, signature, payload), and `new_delivery`, which turns it
into a delivery.

https://docs.github.com/en/webhooks/webhook-events-and-payloads#delivery-headers
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Literal
from urllib.parse import unquote_to_bytes

import msgspec

from hls_handler.deliveries import (
    CAUGHT_UP,
    PRIORITY_BOT_REQUEST,
    PRIORITY_OTHER,
    PRIORITY_PULL_REQUEST,
    DeliveryAttempt,
    NewDelivery,
)
from hls_handler.errors import HlsError, PayloadError
from hls_handler.events import PULL_REQUEST_EVENTS, REPOSITORY_NAME, REQUIRED_OBJECTS
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
    found: dict[bytes, bytes] = {}
    for name, value in headers:
        if name in KNOWN_HEADERS:
            if name in found:
                raise _duplicate(name)
            found[name] = value
    is_form = _is_form(found.get(CONTENT_TYPE, b""))
    length = found.get(CONTENT_LENGTH)
    if length is not None and not _LENGTH.fullmatch(length):
        raise Rejected(400, "Content-Length must be a number of bytes")
    event = _matched(
        found, EVENT, _EVENT, "X-GitHub-Event must be the name of an event, such as issues"
    )
    delivery = _matched(
        found,
        DELIVERY,
        _DELIVERY,
        "X-GitHub-Delivery must be an id of at most 64 letters, digits and hyphens",
    )
    signature = b""
    if signed:
        signature = found.get(SIGNATURE, b"")
        if not _SIGNATURE.fullmatch(signature):
            raise not_verified("X-Hub-Signature-256 is missing or malformed")
    return WebhookHeaders(
        event, delivery, signature, is_form, int(length) if length is not None else None
    )


def _duplicate(name: bytes) -> Rejected:
    if name == SIGNATURE:
        return not_verified("X-Hub-Signature-256 occurs twice")
    return Rejected(400, f"the header {name.decode('ascii')} occurs twice")


def _matched(
    found: Mapping[bytes, bytes], name: bytes, shape: re.Pattern[bytes], sentence: str
) -> str:
    value = found.get(name, b"")
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
        own = (
            secret
            for entry in settings.repositories
            for secret in webhook_secrets(entry.webhook_secret)
        )
        self._all = tuple(dict.fromkeys((*self._global, *own)))

    def find_matching(self, body: bytes, signature: bytes) -> bytes | None:
        """Return the secret with which `body` was signed, or None. Signatures are compared in
        constant time.
        """
        return next(
            (secret for secret in self._all if hmac.compare_digest(sign(secret, body), signature)),
            None,
        )

    def is_allowed(self, secret: bytes, repository: str | None) -> bool:
        """Return True if `secret` is valid for "owner/repo", or for an event without a repository
        (None).

        If the repository's entry in the settings has secrets, only these are valid. All other
        repositories, and events without a repository, use the secrets in `github`.
        """
        found = self._table.find(repository) if repository else None
        return secret in (found.webhook_secrets if found else self._global)


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
    for named_by in (
        ("installation",) if event in INSTALLATION_EVENTS else REQUIRED_OBJECTS.get(event, ())
    ):
        if getattr(envelope, named_by) is None:
            raise PayloadError(f"the payload does not fit the event {event}: it has no {named_by}")
    full_name = envelope.repository.full_name if envelope.repository else ""
    if full_name and not REPOSITORY_NAME.fullmatch(full_name):
        raise PayloadError("invalid payload: repository.full_name must have the form owner/repo")
    head = envelope.pull_request.head if envelope.pull_request else None
    for where, name in (
        ("action", envelope.action or ""),
        ("sender.login", envelope.sender.login if envelope.sender else ""),
        ("pull_request.head.sha", head.sha if head else ""),
        ("workflow_run.head_sha", envelope.workflow_run.head_sha if envelope.workflow_run else ""),
        ("merge_group.head_sha", envelope.merge_group.head_sha if envelope.merge_group else ""),
        ("check_run.head_sha", envelope.check_run.head_sha if envelope.check_run else ""),
    ):
        if not name.isprintable():
            raise PayloadError(f"invalid payload: {where} has invisible characters")


def new_delivery(
    headers: WebhookHeaders,
    envelope: WebhookEnvelope,
    routed: RoutingResult,
    payload: bytes,
    *,
    request_id: str,
    settle_s: float,
    has_author: bool = False,
) -> NewDelivery:
    """Return the delivery to store. If `routed` is `Ignored`, it has no body and no digest, unless
    a worker needs it.

    A push to a pull request waits `settle_s` seconds for a newer push, which would supersede it.
    With `has_author`, the author of the issue or pull request is stored.
    """
    ignored = routed if isinstance(routed, Ignored) and not routed.is_for_worker else None
    is_command = isinstance(routed, Command)
    is_request = is_command or (isinstance(routed, Rule) and routed.thread is not None)
    pushed = envelope.pull_request.head if envelope.pull_request else None
    repository_id = envelope.repository.id if envelope.repository else None
    number = envelope.conversation.number if envelope.conversation else None
    author = envelope.conversation.user if envelope.conversation and has_author else None
    title = envelope.conversation.title if envelope.conversation else None
    run = envelope.workflow_run or envelope.check_run or envelope.merge_group
    if headers.event == "merge_group" and envelope.merge_group is not None:
        # it waits for the review of this pull request
        number = find_queued(envelope.merge_group.head_ref or "")
    head_sha = pushed.sha if pushed else run.head_sha if run else ""
    return NewDelivery(
        guid=headers.delivery,
        event=headers.event,
        action=envelope.action,
        request_id=request_id,
        state="ignored" if ignored else "queued",
        reason=ignored.reason if ignored else None,
        reason_kind=ignored.kind if ignored else None,
        repository_id=repository_id,
        repository=(envelope.repository.full_name or None) if envelope.repository else None,
        number=number,
        head_sha=head_sha or None,
        author=author.login if author else None,
        sender=(envelope.sender.login or None) if envelope.sender else None,
        title=clean_title(title) if title else None,
        priority=PRIORITY_BOT_REQUEST if is_request else _priority(headers.event, envelope.action),
        settle_s=settle_s if (headers.event, envelope.action) == PUSH else 0.0,
        digest=(
            None if ignored else body_digest(payload, repository_id=repository_id, number=number)
        ),
        body=b"" if ignored else payload,
        supersedes=_supersedes(headers.event, envelope.action, is_ignored=ignored is not None),
        is_command=is_command,
        former_name=envelope.former_name if headers.event == "repository" else "",
    )


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
    envelope = parse_envelope(body)
    check_payload(attempt.event, envelope)
    _check_repository(envelope, attempt.repository_id, repository)
    headers = WebhookHeaders(attempt.event, attempt.guid, b"", False, None)
    routed = route(attempt.event, envelope)
    new = new_delivery(
        headers,
        envelope,
        routed,
        body,
        request_id=f"{CAUGHT_UP}{attempt.id}",
        settle_s=settings.limits.settle_s,
        has_author=settings.metrics.authors,
    )
    return msgspec.structs.replace(new, digest=None)


def _check_repository(
    envelope: WebhookEnvelope, repository_id: int | None, name: str | None
) -> None:
    found = envelope.repository
    if repository_id is not None and (found is None or found.id != repository_id):
        raise PayloadError(
            f"the payload does not belong to the repository with the id {repository_id}"
        )
    if name is not None and (found is None or found.full_name.lower() != name.lower()):
        raise PayloadError(f"the payload does not belong to {name}, whose webhook it is")


def _priority(event: str, action: str | None) -> int:
    # Every issue_comment is a request to the bot, because the router ignores comments that ask the
    # bot nothing.
    if action == "review_requested" or event == "issue_comment":
        return PRIORITY_BOT_REQUEST
    return PRIORITY_PULL_REQUEST if event in PULL_REQUEST_EVENTS else PRIORITY_OTHER


def _supersedes(
    event: str, action: str | None, *, is_ignored: bool
) -> Literal["nothing", "older_commits", "all"]:
    if (event, action) in CLOSING_EVENTS:
        return "all"  # even if the event is ignored, because the conversation needs no more work
    return "older_commits" if (event, action) == PUSH and not is_ignored else "nothing"
