"""The webhook endpoint: verifies, parses, routes and stores a request before it responds."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Literal

import msgspec
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from hls_handler import logs
from hls_handler.deliveries import Accepted, End, NewDelivery
from hls_handler.engine.health import Health
from hls_handler.errors import PayloadError, StoreUnavailable
from hls_handler.routing import (
    Command,
    Ignored,
    LabelCorrection,
    QueueCheck,
    RoutingResult,
    Rule,
    WebhookEnvelope,
    parse_envelope,
)
from hls_handler.routing.envelope import INSTALLATION_EVENTS
from hls_handler.settings.model import Settings
from hls_handler.web.callers import find_sign_of_others
from hls_handler.web.stats import StatsDocument
from hls_handler.web.webhook import (
    Rejected,
    WebhookHeaders,
    WebhookSecrets,
    check_payload,
    new_delivery,
    not_verified,
    parse_headers,
    payload_of_form,
)

logger = logging.getLogger(__name__)

BODY_TIMEOUT_S = 10.0
"""Time in which a body arrives. GitHub waits 10 s for the response."""

BODIES_AT_ONCE = 4
"""The memory budget is this many times server.max_body_bytes. Thousands of bodies of usual size fit
into it.
"""

EVICTED = "the body arrived too slowly while other requests needed the memory; send it again later"

LARGE_BODY_BYTES = 1_000_000
"""The signature of a larger body is computed in a thread, because the computation would block the
event loop.
"""

FINISHED = {"done": "processed", "dead": "failed"}
"""State of a delivery that has ended -> the status in the response; others are ignored."""

CLOSE = {"connection": "close"}
RETRY_AFTER = {"retry-after": "30"}
STORE_REMEDY = (
    "make the database that storage.url names writable, then redeliver from the webhook's page on"
    " GitHub"
)


class ReceivedLine(msgspec.Struct):
    """The fields of the log line about a webhook. A field that is not known when it is rejected
    stays None.
    """

    event: str | None = None
    action: str | None = None
    repository: str | None = None
    decision: Literal[
        "queued", "ignored", "duplicate", "replay", "pong", "rejected", "disconnected"
    ] = "disconnected"
    reason: str | None = None
    status: int = 0  # of the response


@dataclass(frozen=True, slots=True)
class Ports:
    """The functions that the web application calls; `hls_handler/app.py` passes them, and tests
    pass fakes.
    """

    route: Callable[[str, WebhookEnvelope], RoutingResult]
    # returns after the commit; raises StoreUnavailable
    accept: Callable[[NewDelivery], Awaitable[Accepted]]
    count_ping: Callable[[], None]  # never blocks
    # of a request to the webhook path, by the response's status; never blocks
    count_rejection: Callable[[int], None]
    # of a delivery by GUID; returns when it has ended
    wait_for_end: Callable[[str], Awaitable[End]]
    # of an uptime in seconds; blocks; raises StoreUnavailable
    stats: Callable[[float], StatsDocument]
    health: Health
    clock: Callable[[], float]  # monotonic seconds
    receives_webhooks: bool = True  # False: the webhook path responds 404
    body_timeout_s: float = BODY_TIMEOUT_S
    installation_changed: Callable[[WebhookEnvelope], None] = lambda _envelope: None  # never blocks


@dataclass(eq=False, slots=True)
class _Body:
    started_at: float
    deadline: asyncio.Timeout
    # a list of one-byte chunks would take far more
    received: bytearray = field(default_factory=bytearray)


@dataclass(slots=True)
class BodyBudget:
    """A memory limit that all request bodies share. A body counts from its first byte until its
    request is processed.

    Above the limit, the costliest unfinished body is evicted, and its request gets a 408. The cost
    is received bytes times seconds since the start. Only one event loop may use the object. `clock`
    returns monotonic seconds.
    """

    clock: Callable[[], float]
    used_bytes: int = 0
    _arriving: set[_Body] = field(default_factory=set)

    async def read(
        self, receive: Receive, *, declared: int | None, max_bytes: int, timeout_s: float
    ) -> bytes:
        """Return a whole body, which counts in the budget until its length is passed to `release`.

        `receive` is the function of ASGI, and `declared` the Content-Length. Raises
        `ClientDisconnect`, or `Rejected`: 413 above `max_bytes`, 408 after `timeout_s`, 408 if this
        body is dropped because all bodies exceed the budget.
        """
        if declared is not None and declared > max_bytes:
            raise _too_large(max_bytes)
        body = _Body(self.clock(), asyncio.timeout(timeout_s))
        self._arriving.add(body)
        returned = b""
        try:
            async with body.deadline:
                await self._collect(body, receive, max_bytes)
            returned = bytes(body.received)
            return returned
        except TimeoutError:
            if body not in self._arriving:
                raise Rejected(408, EVICTED) from None
            raise Rejected(408, f"the body did not arrive within {timeout_s:g} s") from None
        finally:
            self._arriving.discard(body)
            self.release(len(body.received) - len(returned))

    def release(self, number_of_bytes: int) -> None:
        self.used_bytes -= number_of_bytes

    async def _collect(self, body: _Body, receive: Receive, max_bytes: int) -> None:
        is_complete = False
        while not is_complete:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise ClientDisconnect
            chunk = message.get("body", b"")
            is_complete = not message.get("more_body", False)
            if len(body.received) + len(chunk) > max_bytes:
                raise _too_large(max_bytes)
            body.received += chunk
            self.used_bytes += len(chunk)
            while body in self._arriving and self.used_bytes > BODIES_AT_ONCE * max_bytes:
                self._evict_costliest()
            if body not in self._arriving:
                raise Rejected(408, EVICTED)

    def _evict_costliest(self) -> None:
        now = self.clock()
        costliest = max(
            self._arriving,
            key=lambda request: (
                len(request.received) * (now - request.started_at),
                len(request.received),
            ),
        )
        self._arriving.discard(costliest)
        self.release(len(costliest.received))
        costliest.received.clear()
        if not costliest.deadline.expired():
            costliest.deadline.reschedule(0)  # ends `receive`, so that the request gets its 408 now


def _too_large(max_bytes: int) -> Rejected:
    return Rejected(413, f"the body is over {max_bytes} bytes (server.max_body_bytes)")


def _check_unsigned(request: Request) -> None:
    """Raise `Rejected` (401) if another machine may have sent the request.

    Settings ensure that server.host is a loopback address, but another ASGI server does not use it.
    """
    sign = find_sign_of_others(request)
    if sign is not None:
        raise not_verified(f"unsigned webhooks are accepted from this machine only: {sign}")


class WebhookReceiver:
    """The endpoint at `server.webhook_path` for one version of the settings."""

    def __init__(
        self, settings: Settings, secrets: WebhookSecrets, budget: BodyBudget, ports: Ports
    ) -> None:
        self._settings = settings
        self._secrets = secrets
        self._budget = budget
        self._ports = ports

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Respond to one request, then log it. A rejection before the whole body was read closes
        the connection.
        """
        if scope["method"] != "POST":
            self._ports.count_rejection(405)
            raise HTTPException(405, "webhooks are sent with POST", {"allow": "POST"})
        line = ReceivedLine()
        is_signed = self._settings.features.signature_validation
        try:
            headers = parse_headers(scope["headers"], signed=is_signed)
            if not is_signed:
                _check_unsigned(Request(scope))
        except Rejected as rejected:
            response = self._reject(line, rejected, CLOSE)
            await response(scope, receive, send)
            self._log(line, response)
            return
        line.event = headers.event
        request_id = scope["state"]["request_id"]
        logs.set_log_ids(request_id=request_id, delivery=headers.delivery)
        response = await self._respond(headers, request_id, receive, line)
        await response(scope, receive, send)
        self._log(line, response)

    def _log(self, line: ReceivedLine, response: Response) -> None:
        if line.decision == "disconnected":
            return
        line.status = response.status_code
        logger.info("webhook received", extra=msgspec.structs.asdict(line))

    def _reject(
        self, line: ReceivedLine, rejected: Rejected, headers: dict[str, str] | None = None
    ) -> Response:
        line.decision = "rejected"
        line.reason = rejected.why
        self._ports.count_rejection(rejected.status)
        return _json(rejected.status, {"detail": rejected.detail}, headers)

    async def _respond(
        self, headers: WebhookHeaders, request_id: str, receive: Receive, line: ReceivedLine
    ) -> Response:
        try:
            body = await self._budget.read(
                receive,
                declared=headers.content_length,
                max_bytes=self._settings.server.max_body_bytes,
                timeout_s=self._ports.body_timeout_s,
            )
        except Rejected as rejected:
            return self._reject(line, rejected, CLOSE)
        except ClientDisconnect:
            return Response(status_code=400)  # not sent: the connection is closed
        try:
            return await self._process(headers, body, request_id, line)
        except Rejected as rejected:
            return self._reject(line, rejected)
        except PayloadError as exc:
            return self._reject(line, Rejected(400, str(exc)))
        except StoreUnavailable as exc:
            self._ports.health.report_problem("store", str(exc), STORE_REMEDY, severity="unhealthy")
            logger.error("webhook could not be stored", extra={"why": str(exc)})
            detail = "the delivery could not be stored; redeliver it later"
            return self._reject(line, Rejected(503, detail, why=str(exc)), RETRY_AFTER)
        finally:
            self._budget.release(len(body))

    async def _process(
        self, headers: WebhookHeaders, body: bytes, request_id: str, line: ReceivedLine
    ) -> Response:
        secret = await self._verify_signature(headers, body)
        payload = body
        if headers.is_form:
            payload = payload_of_form(body)
        envelope = parse_envelope(payload)
        check_payload(headers.event, envelope)
        if secret is not None:
            self._verify_repository(secret, envelope.repository_name)
        line.action = envelope.action
        line.repository = envelope.repository_name or None
        ids = {"request_id": request_id, "delivery": headers.delivery}
        if headers.event == "ping":
            self._ports.count_ping()
            line.decision = "pong"
            return _json(200, {"status": "pong", **ids})
        if headers.event in INSTALLATION_EVENTS:
            self._ports.installation_changed(envelope)
        routed = self._ports.route(headers.event, envelope)
        new = new_delivery(
            headers,
            envelope,
            routed,
            payload,
            self._settings,
            request_id=request_id,
        )
        accepted = await self._ports.accept(new)
        self._ports.health.ok("store")
        response = self._answer(accepted, routed, ids, line)
        if accepted.outcome == "queued" and not self._settings.features.async_processing:
            with suppress(TimeoutError):
                async with asyncio.timeout(self._settings.server.sync_timeout_s):
                    end = await self._ports.wait_for_end(new.guid)
                    return self._explain(FINISHED.get(end.state, "ignored"), end.reason, ids)
        return response

    async def _verify_signature(self, headers: WebhookHeaders, body: bytes) -> bytes | None:
        """Return the secret with which the body was signed; None if signatures are not checked."""
        if not self._settings.features.signature_validation:
            return None
        find = self._secrets.find_matching
        if len(body) > LARGE_BODY_BYTES:
            secret = await asyncio.to_thread(find, body, headers.signature)
        else:
            secret = find(body, headers.signature)
        if secret is None:
            raise not_verified("the signature matches none of the secrets")
        return secret

    def _verify_repository(self, secret: bytes, repository: str) -> None:
        if not self._secrets.is_allowed(secret, repository):
            whose = repository or "events without a repository"
            raise not_verified(f"the secret that matched is not valid for {whose}")

    def _answer(
        self, accepted: Accepted, routed: RoutingResult, ids: dict[str, str], line: ReceivedLine
    ) -> Response:
        line.decision = accepted.outcome
        line.reason = accepted.reason
        match accepted.outcome:
            case "queued":
                line.reason = _describe(routed)
                return _json(202, {"status": "queued", **ids})
            case "duplicate":
                line.reason = f"this delivery is already {accepted.state}"
                return _json(200, {"status": "duplicate", "state": accepted.state, **ids})
            case "replay":
                line.reason = f"replay of {accepted.guid}"
        return self._explain("ignored", line.reason, ids)

    def _explain(self, status: str, reason: str | None, ids: dict[str, str]) -> Response:
        if reason is not None:
            reason = self._settings.shorten_paths(reason)  # GitHub shows it to other people
        return _json(200, {"status": status, "reason": reason, **ids})


def _describe(routed: RoutingResult) -> str:
    """Return why a delivery is queued."""
    match routed:
        case Rule():
            return f"{routed.file} is for {routed.event_key}"
        case LabelCorrection():
            return f"a person changed a {routed.group} label"
        case QueueCheck():
            return "a merge queue waits for the check on its commit"
        case Command():
            return routed.description
        case Ignored():
            return f"the commit gets a check that says why; {routed.reason}"


def _json(
    status: int, content: dict[str, object], headers: dict[str, str] | None = None
) -> Response:
    return Response(msgspec.json.encode(content), status, headers, "application/json")
