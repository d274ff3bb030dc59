"""Catch-up for tests: real storage on SQLite and the real router; GitHub's lists of hooks and attempts in memory."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from hls_handler.background.catch_up import CatchUp, CatchUpLoop
from hls_handler.clients.github import make_credentials
from hls_handler.clients.hooks import GithubHooks, Hook
from hls_handler.deliveries import Accepted, DeliveryAttempt, NewDelivery
from hls_handler.engine.active_config import ActiveConfig, load_bot_accounts
from hls_handler.engine.health import ComponentHealth, Health
from hls_handler.errors import DependencyDown, Permanent
from hls_handler.prompting.library import ReloadingLibrary
from hls_handler.settings.effective import RepositoryTable
from hls_handler.settings.model import Settings
from hls_handler.storage import Storage
from tests.engine.world import library

REPOSITORY = "octo/widgets"
REPOSITORY_ID = 7
OTHER = "octo/gadgets"
OTHER_ID = 8


def hook(number: int, url: str = "https://hls.example/webhook", *, active: bool = True) -> Hook:
    return Hook.model_validate({"id": number, "active": active, "config": {"url": url}})


@dataclass
class FakeHooks(GithubHooks):
    """GitHub's lists of hooks and attempts, in memory. `hook_lists` has a list or an error for each path."""

    base_url: str = "https://api.github.com"
    hook_lists: dict[str, list[Hook] | Exception] = field(default_factory=lambda: {f"/repos/{REPOSITORY}": [hook(1)]})
    attempts: list[DeliveryAttempt] = field(default_factory=list)  # oldest first
    payloads: dict[str, bytes] = field(default_factory=dict)  # by GUID
    errors: dict[str, Exception] = field(default_factory=dict)  # by GUID: of the request for the payload
    list_errors: dict[str, Exception] = field(default_factory=dict)  # by path: of the request for the attempts
    down: DependencyDown | None = None
    requests: list[str] = field(default_factory=list)

    def close(self) -> None:
        pass

    def hooks(self, path: str) -> tuple[Hook, ...]:
        self._request(path)
        found = self.hook_lists.get(path, Permanent("404 Not Found"))
        if isinstance(found, Exception):
            raise found
        return tuple(found)

    def page(self, path: str, cursor: str | None) -> tuple[tuple[DeliveryAttempt, ...], str | None]:
        self._request(f"page {cursor}")
        path = path.partition("/hooks/")[0]
        if path in self.list_errors:
            raise self.list_errors[path]
        begin = int(cursor or 0)
        ids = {f"/repos/{REPOSITORY}": REPOSITORY_ID, f"/repos/{OTHER}": OTHER_ID}
        listed = [one for one in self.attempts[::-1] if path not in ids or one.repository_id == ids[path]]
        return tuple(listed[begin : begin + 100]), str(begin + 100) if begin + 100 < len(listed) else None

    def find_payload(self, path: str, attempt_id: int) -> bytes | None:
        del path
        self._request(f"payload {attempt_id}")
        guid = next(attempt.guid for attempt in self.attempts if attempt.id == attempt_id)
        if guid in self.errors:
            raise self.errors[guid]
        return self.payloads.get(guid)

    @property
    def read(self) -> int:
        """Number of payloads that were requested."""
        return sum(request.startswith("payload") for request in self.requests)

    def _request(self, what: str) -> None:
        self.requests.append(what)
        if self.down is not None:
            raise self.down

    def send(
        self,
        guid: str,
        *,
        event: str = "issues",
        action: str | None = "opened",
        status: int = 502,
        number: int = 1,
        age: timedelta = timedelta(hours=1),
        repository_id: int = REPOSITORY_ID,
        **objects: object,
    ) -> None:
        """Record one attempt to deliver a webhook."""
        self.attempts.append(
            DeliveryAttempt(len(self.attempts) + 1, guid, datetime.now(UTC) - age, status, event, action, repository_id)
        )
        payload = {
            "action": action,
            "repository": {"id": repository_id, "full_name": OTHER if repository_id == OTHER_ID else REPOSITORY},
            "sender": {"login": "ann"},
            "issue": {"number": number, "title": f"Widget {number} is broken", "user": {"login": "ann", "id": 3}},
        }
        self.payloads[guid] = json.dumps(payload | objects).encode()


def make_settings(*names: str, **catch_up: object) -> Settings:
    return Settings.model_validate(
        {
            "github": {"token": "t" * 40, "webhook_secret": "s" * 40},
            "claude": {"api_key": "k" * 40},
            "repositories": [{"name": name, "events": ["issues"]} for name in names or (REPOSITORY,)],
            "catch_up": catch_up,
        }
    )


@dataclass
class World:
    store: Storage
    github: FakeHooks = field(default_factory=FakeHooks)
    settings: Settings = field(default_factory=make_settings)
    committed: list[tuple[NewDelivery, Accepted]] = field(default_factory=list)
    requests_before_stop: int = 1_000_000
    ahead: list[timedelta] = field(default_factory=list)  # added to the database's clock

    def catch_up(self, **options: Any) -> CatchUp:
        bots = load_bot_accounts(self.settings.github, self.store)
        active = ActiveConfig(self.settings, RepositoryTable(self.settings), ReloadingLibrary(library), bots)
        credentials = make_credentials(self.settings.github, observe=lambda _: None, now=lambda: datetime.now(UTC))

        def wait(_: float) -> bool:
            return len(self.github.requests) >= self.requests_before_stop

        return CatchUp(
            self.store,
            lambda: active,
            lambda _: credentials,
            wait=wait,
            on_commit=lambda new, accepted: self.committed.append((new, accepted)),
            connect=lambda credentials, observe: self.github,
            **options,
        )

    def process_all(self) -> list[str]:
        """Claim and finish every queued delivery; return the GUIDs in this order."""
        done = []
        while (lease := self.store.queue.claim(worker="w", lease_s=30, max_crashes=3)) is not None:
            self.store.queue.finish(lease, "done", reason="processed", kind=None, handler=None, took_s=0.0)
            done.append(lease.guid)
        return done


def make_loop(world: World, every_s: float | None = None, **options: Any) -> tuple[CatchUpLoop, Health]:
    health = Health(lambda: datetime.now(UTC))
    return CatchUpLoop(world.catch_up(**options), lambda: world.settings.catch_up, health, every_s=every_s), health


def component(health: Health) -> ComponentHealth:
    return health.snapshot().components["catch_up"]
