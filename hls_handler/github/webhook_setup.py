"""Writes of `hls init` that connect a webhook: create or change it, and ask GitHub to send a
delivery to it.

https://docs.github.com/en/rest/repos/webhooks
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from typing import Literal

from hls_handler.deliveries import DeliveryAttempt
from hls_handler.errors import Permanent
from hls_handler.github.api import GithubApi, WriteGuard, parse, rest
from hls_handler.github.errors import Refused
from hls_handler.github.hooks import GithubHooks, Hook, find_owner

WAIT_S = 1.0
POLLS = 12
"""GitHub waits ten seconds for the response to a webhook, and lists the delivery then."""

UNSERVED_URL = "https://hls.invalid/webhook"
"""Webhook URL without a public address. GitHub rejects `localhost`, and a host of somebody else
would receive the payloads; names below `.invalid` never exist (RFC 2606). The webhook is active
nevertheless, because GitHub lists only deliveries that it tried to send.
"""

# there is no service yet whose writes could compete
UNGUARDED = WriteGuard(lambda: None, lambda: None)
PING = "ping"


@dataclass(frozen=True, slots=True)
class EnsuredHook:
    id: int
    change: Literal["created", "updated"]


class WebhookSetup:
    """The webhooks at `path`: "/repos/owner/repo" or "/orgs/owner"; "/app" for the only webhook of
    an App.
    """

    def __init__(self, api: GithubApi, path: str) -> None:
        self._api = api.with_guard(UNGUARDED)
        self._hooks = GithubHooks(api)
        self._path = path

    def ensure(self, url: str, secret: str, events: Iterable[str]) -> EnsuredHook:
        """Create the webhook with this URL, or set address, secret and events of the present one.

        A webhook that was created without an address is the present one, too. Raises a
        `StepFailed`.
        """
        hooks = {hook.url: hook for hook in self._hooks.hooks(self._path)}
        present = hooks.get(url) or hooks.get(UNSERVED_URL)
        required = set(events)
        if present is not None:
            required |= present.events
        if "*" in required:
            required = {"*"}
        names = sorted(required)
        config = {"url": url, "content_type": "json", "insecure_ssl": "0", "secret": secret}
        if present is None:
            created = self._api.write(
                lambda it: parse(
                    Hook, find_owner(it, self._path).create_hook("web", config, names, active=True)
                )
            )
            return EnsuredHook(created.id, "created")
        # PyGithub's `edit` sends a name, which GitHub does not document for repositories
        body = {"active": True, "events": names, "config": config}
        change = rest("PATCH", f"{self._path}/hooks/{present.id}", Hook, body=body)
        self._api.write(change)
        return EnsuredHook(present.id, "updated")

    def ping(self, hook_id: int, *, sleep: Callable[[float], None]) -> DeliveryAttempt | None:
        """Let GitHub ping the webhook, and return the attempt; None if GitHub lists none in
        time.
        """
        path = f"{self._path}/hooks/{hook_id}"
        attempts = self._hooks.page(path).attempts
        self._api.write(lambda it: find_owner(it, self._path).get_hook(hook_id).ping())
        return self._wait_for_ping(path, attempts, sleep)

    def redeliver_ping(self, *, sleep: Callable[[float], None]) -> DeliveryAttempt | None:
        """Let GitHub send the ping of the App's creation again, and return the attempt; None if
        GitHub lists none.

        GitHub has no request that pings the webhook of an App, and keeps deliveries for three days.
        """
        path = f"{self._path}/hook"
        attempts = self._hooks.page(path).attempts
        ping = next((attempt for attempt in attempts if attempt.event == PING), None)
        if ping is None:
            raise Permanent("GitHub lists no ping of the App's webhook any more")
        # PyGithub has no method for this
        redeliver = rest("POST", f"{path}/deliveries/{ping.id}/attempts", object)
        with suppress(Refused):
            self._api.write(redeliver, expected=(202,))
        return self._wait_for_ping(path, attempts, sleep)

    def _wait_for_ping(
        self, path: str, earlier: Iterable[DeliveryAttempt], sleep: Callable[[float], None]
    ) -> DeliveryAttempt | None:
        ids = {attempt.id for attempt in earlier}
        for _attempt in range(POLLS):
            for attempt in self._hooks.page(path).attempts:
                if attempt.event == PING and attempt.id not in ids:
                    return attempt
            sleep(WAIT_S)
        return None
