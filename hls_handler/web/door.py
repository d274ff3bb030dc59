"""The door: one webhook request, verified, sipped, routed and committed before it is answered.

A raw ASGI endpoint, because most of a request's time is spent between the server and the store.
"""

from __future__ import annotations

import asyncio
import logging

from starlette.requests import ClientDisconnect
from starlette.types import Receive, Scope, Send

from hls_handler import logs
from hls_handler.deliveries import Accepted, Finished, NewDelivery
from hls_handler.errors import PayloadError, StoreUnavailable
from hls_handler.events import Sip, sip
from hls_handler.settings.model import Settings
from hls_handler.web.answers import CLOSE, DEFECT, Answer, detail
from hls_handler.web.arrival import check_payload, new_delivery
from hls_handler.web.body import WHOLE, payload_of_form, read_body, require_utf8
from hls_handler.web.head import Head, parse_head
from hls_handler.web.ports import Ports
from hls_handler.web.refusal import Refused, not_verified
from hls_handler.web.request_ids import given_or_fresh
from hls_handler.web.room import BODIES_AT_ONCE, Room
from hls_handler.web.signature import Secrets

logger = logging.getLogger(__name__)

LARGE_BODY_BYTES = 1_000_000
"""Hashing more than this, once for each secret, would hold up the event loop: a thread does it."""

RETRY_AFTER = (b"retry-after", b"30")
STORE_REMEDY = "make the database that storage.url names writable, then redeliver from the webhook's page on GitHub"


class Door:
    """The webhook endpoint, at `path`."""

    def __init__(self, settings: Settings, secrets: Secrets, ports: Ports, room: Room) -> None:
        self.path = settings.server.webhook_path
        self._secrets, self._ports, self._room = secrets, ports, room
        self._signed = settings.features.signature_validation
        self._asynchronous = settings.features.async_processing
        self._max_body_bytes = settings.server.max_body_bytes
        self._most_bytes = BODIES_AT_ONCE * settings.server.max_body_bytes
        self._body_timeout_s = settings.server.body_timeout_s
        self._sync_timeout_s = settings.server.sync_timeout_s
        self._settle_s = settings.limits.settle_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request_id = given_or_fresh(scope["headers"])
        with logs.bound(request_id=request_id):
            try:
                answer = await self._take(scope, receive, request_id)
            except ClientDisconnect:
                return
            except Exception:
                logger.exception("webhook not handled, over a defect")
                answer = detail(500, DEFECT, CLOSE)
            await answer.send(send, request_id)

    async def _take(self, scope: Scope, receive: Receive, request_id: str) -> Answer:
        """Read the request; as long as its body is not read to the end, a refusal closes the connection."""
        if scope["method"] != "POST":
            return detail(405, "webhooks are sent with POST", (b"allow", b"POST"))
        try:
            head = parse_head(scope["headers"], signed=self._signed)
        except Refused as refused:
            return _refusal(refused, CLOSE)
        with logs.bound(delivery=head.delivery), self._room.place(most_bytes=self._most_bytes) as place:
            try:
                body = await read_body(
                    receive,
                    declared=head.content_length,
                    max_bytes=self._max_body_bytes,
                    timeout_s=self._body_timeout_s,
                    place=place,
                    is_whole=WHOLE in scope,
                )
            except Refused as refused:
                return _refusal(refused, CLOSE)
            return await self._decide(head, body, request_id)

    async def _decide(self, head: Head, body: bytes, request_id: str) -> Answer:
        try:
            sipped, payload = await self._verified(head, body)
            return await self._accept(head, sipped, payload, request_id)
        except Refused as refused:
            return _refusal(refused)
        except PayloadError as exc:
            return _refusal(Refused(400, str(exc)))
        except StoreUnavailable as exc:
            self._ports.health.trouble("store", str(exc), STORE_REMEDY, severity="unhealthy")
            logger.error("webhook could not be stored", extra={"why": str(exc)})
            return detail(503, "the delivery could not be stored; redeliver it later", RETRY_AFTER)

    async def _verified(self, head: Head, body: bytes) -> tuple[Sip, bytes]:
        """The fields that the door needs and the JSON they were read from, known to come from a holder of a secret."""
        secret = None
        if self._signed:
            secret = await self._matching_secret(body, head.signature)
            if secret is None:
                raise not_verified("the signature matches none of the secrets")
        payload = payload_of_form(body) if head.is_form else body
        require_utf8(payload)
        sipped = sip(payload)
        check_payload(head.event, sipped)
        repository = sipped.repository.full_name if sipped.repository else None
        if secret is not None and not self._secrets.allowed(secret, repository):
            raise not_verified(f"the secret that matched is not one of {repository or 'all repositories'}")
        return sipped, payload

    async def _matching_secret(self, body: bytes, signature: bytes) -> bytes | None:
        matching = self._secrets.matching
        if len(body) > LARGE_BODY_BYTES:
            return await asyncio.to_thread(matching, body, signature)
        return matching(body, signature)

    async def _accept(self, head: Head, sipped: Sip, payload: bytes, request_id: str) -> Answer:
        ids = {"request_id": request_id, "delivery": head.delivery}
        if head.event == "ping":
            self._ports.count_pong()
            return Answer(200, {"status": "pong", **ids})
        routed = await self._ports.route(head.event, sipped)
        new = new_delivery(head, sipped, routed, payload, request_id=request_id, settle_s=self._settle_s)
        if self._asynchronous or new.state == "ignored":
            accepted = await self._ports.accept(new)
            self._ports.health.ok("store")
            return told(accepted, ids)
        return await self._accept_and_wait(new, ids)

    async def _accept_and_wait(self, new: NewDelivery, ids: dict[str, str]) -> Answer:
        """Register before accepting, so that a worker that is done at once is not missed."""
        outcome = self._ports.outcome(new.guid)
        try:
            accepted = await self._ports.accept(new)
            self._ports.health.ok("store")
            if accepted.outcome != "queued":
                return told(accepted, ids)
            await asyncio.wait((outcome,), timeout=self._sync_timeout_s)
            return ended(outcome.result(), ids) if outcome.done() else Answer(202, {"status": "queued", **ids})
        finally:
            outcome.cancel()


def _refusal(refused: Refused, *headers: tuple[bytes, bytes]) -> Answer:
    logger.info("webhook refused", extra={"status": refused.status, "why": refused.why})
    return detail(refused.status, refused.detail, *headers)


def told(accepted: Accepted, ids: dict[str, str]) -> Answer:
    """The answer to a delivery that was committed."""
    match accepted.outcome:
        case "queued":
            return Answer(202, {"status": "queued", **ids})
        case "ignored":
            return Answer(200, {"status": "ignored", "reason": accepted.reason, **ids})
        case "duplicate":
            return Answer(200, {"status": "duplicate", "state": accepted.state, **ids})
        case "replay":
            return Answer(200, {"status": "ignored", "reason": f"replay of {accepted.guid}", **ids})


def ended(finished: Finished, ids: dict[str, str]) -> Answer:
    """The answer to a delivery that was waited for."""
    match finished.state:
        case "done":
            return Answer(200, {"status": "processed", "reason": finished.reason, **ids})
        case "dead":
            return Answer(200, {"status": "failed", "reason": finished.reason, **ids})
        case "ignored" | "superseded":
            return Answer(200, {"status": "ignored", "reason": finished.reason, **ids})
        case "queued" | "running":
            return Answer(202, {"status": "queued", **ids})
