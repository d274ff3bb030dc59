"""Webhooks of the stand-in GitHub: hooks, signed requests to them, and the record of every attempt.

https://docs.github.com/en/rest/repos/webhooks
"""

from __future__ import annotations

import hashlib
import hmac
import http.client
import json
import threading
import uuid
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from datetime import datetime
from urllib.parse import urlsplit

from hls_sandbox.objects import Document

TIMEOUT_S = 10.0  # as at GitHub
FAILED_TO_CONNECT = 502
MAX_RESPONSE_BYTES = 65_536
ZEN = "Keep it logically awesome."
LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})


@dataclass(frozen=True, slots=True)
class Hook:
    id: int
    owner: str  # "owner/repo" or "organisation"; "" for the hook of an App, whose id is the App's
    url: str
    secret: str
    active: bool = True
    events: tuple[str, ...] = ("*",)

    def document(self) -> Document:
        """Return the hook as GitHub's API and the event `ping` show it."""
        config = {"url": self.url, "content_type": "json"}
        return {"id": self.id, "active": self.active, "events": list(self.events), "config": config}


@dataclass(frozen=True, slots=True)
class Attempt:
    """One attempt to deliver a webhook."""

    id: int
    hook: int
    guid: str
    delivered_at: datetime
    redelivery: bool
    status_code: int
    event: str
    payload: Document = field(repr=False)
    response: str = field(default="", repr=False)  # body, at most `MAX_RESPONSE_BYTES` of it

    def document(self) -> Document:
        """Return the entry of the list of deliveries."""
        return {
            "id": self.id,
            "guid": self.guid,
            "delivered_at": self.delivered_at.isoformat().replace("+00:00", "Z"),
            "redelivery": self.redelivery,
            "status_code": self.status_code,
            "event": self.event,
            "action": self.payload.get("action"),
            "installation_id": (self.payload.get("installation") or {}).get("id"),
            "repository_id": (self.payload.get("repository") or {}).get("id"),
        }


class Hooks:
    """All hooks and attempts, in memory. Thread-safe."""

    def __init__(self, clock: Callable[[], datetime]) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        # URL of a hook -> address on this machine, as behind a proxy
        self.addresses: dict[str, str] = {}
        self._hooks: dict[int, Hook] = {}
        self._attempts: list[Attempt] = []
        self._next_id = 1

    def add(
        self,
        owner: str,
        url: str,
        secret: str,
        *,
        active: bool = True,
        events: tuple[str, ...] = ("*",),
        repository: Document | None = None,
    ) -> Hook:
        """Create a hook and send its `ping`, with the document of the hook's `repository`.
        Blocks.
        """
        with self._lock:
            hook = Hook(self._take_id(), owner, url, secret, active, events)
            self._hooks[hook.id] = hook
        self.ping(hook, {"repository": repository} if repository else {})
        return hook

    def ping(self, hook: Hook, about: Document) -> None:
        """Send the first webhook of a new hook; `about` has further keys of the payload. Blocks.

        https://docs.github.com/en/webhooks/webhook-events-and-payloads#ping
        """
        self.send_to(
            hook, "ping", {"zen": ZEN, "hook_id": hook.id, "hook": hook.document(), **about}
        )

    def of(self, owner: str) -> list[Hook]:
        """Return the hooks of "owner/repo" or of an organisation."""
        return [hook for hook in list(self._hooks.values()) if hook.owner.lower() == owner.lower()]

    def change(self, hook: Hook) -> Hook:
        """Replace the hook with the same id."""
        with self._lock:
            self._hooks[hook.id] = hook
        return hook

    def redeliver(self, hook: Hook, attempt: Attempt) -> Attempt:
        """Send the payload of an attempt again, with its GUID. Blocks."""
        return self._send(hook, attempt.event, attempt.payload, attempt.guid)

    def attempts(self, hook: Hook) -> list[Attempt]:
        """Return the hook's attempts, newest first."""
        return [attempt for attempt in reversed(self._attempts) if attempt.hook == hook.id]

    def find_attempt(self, guid: str) -> Attempt | None:
        """Return the first attempt to deliver the webhook with this GUID."""
        return next((one for one in list(self._attempts) if one.guid == guid), None)

    def send(
        self, event: str, payload: Document, *, of_apps: Sequence[tuple[Hook, int]] = ()
    ) -> list[Attempt]:
        """Send a webhook to all hooks of the payload's repository, and record each attempt. Blocks.

        `of_apps` are hooks of Apps with the id of the installation. All requests have the same
        GUID, as at GitHub.
        """
        full_name = str((payload.get("repository") or {}).get("full_name") or "")
        owners = (full_name, full_name.partition("/")[0])
        of_owners = (hook for owner in owners for hook in self.of(owner) if hook.active)
        own = [(hook, payload) for hook in of_owners if not {"*", event}.isdisjoint(hook.events)]
        installed = [
            (hook, {**payload, "installation": {"id": number}}) for hook, number in of_apps
        ]
        guid = str(uuid.uuid4())
        return [self._send(hook, event, sent, guid) for hook, sent in (*own, *installed)]

    def send_to(self, hook: Hook, event: str, payload: Document) -> Attempt:
        """Send a webhook to one hook, and record the attempt. Blocks."""
        return self._send(hook, event, payload, str(uuid.uuid4()))

    def _send(self, hook: Hook, event: str, payload: Document, guid: str) -> Attempt:
        body = json.dumps(payload).encode()
        headers = {
            "Content-Type": "application/json",
            "User-Agent": "GitHub-Hookshot/sandbox",
            "X-GitHub-Event": event,
            "X-GitHub-Delivery": guid,
            "X-GitHub-Hook-ID": str(hook.id),
            "X-Hub-Signature-256": (
                "sha256=" + hmac.new(hook.secret.encode(), body, hashlib.sha256).hexdigest()
            ),
        }
        answer = post(self.addresses.get(hook.url, hook.url), body, headers)
        with self._lock:
            again = any(
                attempt.guid == guid and attempt.hook == hook.id for attempt in self._attempts
            )
            attempt = Attempt(
                self._take_id(),
                hook.id,
                guid,
                self._clock(),
                again,
                answer.status,
                event,
                payload,
                answer.body,
            )
            self._attempts.append(attempt)
        return attempt

    def _take_id(self) -> int:
        self._next_id += 1
        return self._next_id


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    body: str = ""


def post(url: str, body: bytes, headers: Mapping[str, str]) -> Answer:
    """Send a request, which never leaves this machine: other hosts fail to connect."""
    parts = urlsplit(url)
    if parts.scheme != "http" or parts.hostname not in LOOPBACK:
        return Answer(FAILED_TO_CONNECT)
    try:
        with closing(
            http.client.HTTPConnection(parts.hostname, parts.port or 80, timeout=TIMEOUT_S)
        ) as connection:
            connection.request("POST", parts.path or "/", body=body, headers=dict(headers))
            response = connection.getresponse()
            text = response.read(MAX_RESPONSE_BYTES).decode("utf-8", "replace")
            return Answer(response.status, text)
    except (OSError, http.client.HTTPException):
        return Answer(FAILED_TO_CONNECT)
