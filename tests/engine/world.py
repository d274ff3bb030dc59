"""A worker for tests: real storage on SQLite, the shipped prompts, the sandbox's GitHub, and a fake
of Claude.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

from hls_handler.analysis import IssueAnalysis
from hls_handler.batches.recorded import RUNS
from hls_handler.db.values import from_ms
from hls_handler.deliveries import Lease, NewDelivery
from hls_handler.engine.active_config import ChosenAccount, DeliveryConfig
from hls_handler.engine.health import Component, ComponentHealth, Health
from hls_handler.engine.job import DeliveryJob, WorkerContext
from hls_handler.engine.library import load_checked
from hls_handler.engine.pipeline import run_delivery
from hls_handler.engine.shown_check import CheckEnder
from hls_handler.events import parse_event
from hls_handler.github.values import ChangedFile
from hls_handler.handlers.registry import HANDLERS
from hls_handler.prompting import recorded
from hls_handler.prompting.prompt import Library
from hls_handler.queue.leases import HeldLeases
from hls_handler.reports.delivery_report import DeliveryReport, load_report
from hls_handler.retrieval.vectors import Vectors
from hls_handler.routing import Router, Rule, from_envelope, from_event, parse_envelope
from hls_handler.settings.effective import RepositoryTable
from hls_handler.settings.model import Settings
from hls_handler.store.deliveries import DeliveryRow
from hls_handler.store.storage import Storage
from hls_handler.web.webhook import WebhookHeaders, new_delivery
from hls_sandbox.objects import Account
from hls_sandbox.state import State
from tests.engine.claude import FakeClaude
from tests.engine.stand_in import StandIn
from tests.handlers.world import HLS, ISSUE, file, pull_request
from tests.queue.builders import ClockedDatabase
from tests.sqlite import create_database

MakeWorld = Callable[..., "World"]

GUID = "72d3162e-cc78-11e3-81ab-4c9367dc0958"
NOON = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
TIMEOUT_S = 30.0
"""Limit for waiting in tests; reached only if a test fails."""

FOREVER_S = 3600.0


class Ended(NamedTuple):
    """A delivery that has ended."""

    guid: str
    state: str
    reason: str


BUG = IssueAnalysis(
    worth_saying=True,
    kind="bug",
    priority="low",
    difficulty="easy",
    component="none",
    field_confidence=None,
    summary="The README says committ.",
    missing=[],
    recommended_response="Thanks to whoever fixes it.",
    suggested_labels=[],
    sources=[],
    same_as=None,
)
QUESTION = BUG.model_copy(update={"kind": "question"})


REPOSITORY = {
    "name": "Codertocat/Hello-World",
    "events": ["issues", "pull_request", "pull_request_review"],
}
SECTIONS: Mapping[str, Mapping[str, object]] = {
    "github": {
        "token": "t" * 40,
        "webhook_secret": "s" * 40,
        "min_seconds_between_writes": 0.0,
    },
    "claude": {"api_key": "k" * 40, "requests_per_second": 1000.0},
    "limits": {"retry_backoff_s": 10},
    "features": {"repository_settings": False},
}


def settings(
    *,
    repository: Mapping[str, object] | None = None,
    retrieval: bool = False,
    **sections: Mapping[str, object],
) -> Settings:
    """Settings of one repository, without repository settings unless `features` switches them on;
    other keys are as given: `review={"verify": False}`.
    """
    sections["retrieval"] = {"enabled": retrieval}
    names = {**SECTIONS, **sections}
    merged = {name: {**SECTIONS.get(name, {}), **sections.get(name, {})} for name in names}
    entry = {**REPOSITORY, **(repository or {})}
    return Settings.model_validate({**merged, "repositories": [entry]})


@cache
def library() -> Library:
    return load_checked(settings())


class ExclusiveLease(HeldLeases):
    """Leases that never expire."""

    def __init__(self) -> None:
        super().__init__(lambda _lease, _seconds: None)

    def require(self, lease: Lease, *, least: float = 0.0) -> None:
        pass

    def secure(self, lease: Lease) -> None:
        pass


@dataclass
class World:
    """A worker whose deliveries a test accepts and runs one by one; its GitHub has issue 1."""

    store: Storage
    github: StandIn
    claude: FakeClaude
    settings: Settings
    prompts: Library = field(default_factory=lambda: library())
    health: Health = field(default_factory=lambda: Health(lambda: NOON))
    skew: list[timedelta] = field(default_factory=list)
    vectors: Vectors | None = None
    stopping: bool = False
    paused_s: list[float] = field(default_factory=list)
    on_pause: Callable[[], None] = lambda: None

    def accept(
        self,
        name: str = "issues.opened",
        *,
        guid: str = GUID,
        head_sha: str | None = None,
        number: int | None = None,
        action: str | None = None,
        body: bytes | None = None,
        repository_id: int = 186853002,
    ) -> None:
        """Accept a recorded payload, or `body` in its place; `number` and `action` change only the
        queue's fields.
        """
        payload = recorded.load(name)
        number = number or (1 if payload.event == "issues" else 2)
        self.store.queue.accept(
            [
                NewDelivery(
                    guid=guid,
                    event=payload.event,
                    action=action or payload.action,
                    request_id="req-1",
                    state="queued",
                    repository_id=repository_id,
                    repository="Codertocat/Hello-World",
                    number=number,
                    head_sha=head_sha,
                    digest=guid.encode(),
                    body=payload.body if body is None else body,
                )
            ],
        )

    def receive(
        self, event: str, payload: Mapping[str, Any], *, guid: str, settle_s: float = 0
    ) -> str:
        """Route and store a webhook, as the receiver does; return the outcome."""
        body, given = json.dumps(payload).encode(), self.settings
        self.github.seed_event(event, payload)
        envelope = parse_envelope(body)
        router = Router(given, RepositoryTable(given), self.prompts, (HLS,))
        routed = router.route(from_envelope(event, envelope))
        headers = WebhookHeaders(event, guid, b"", is_form=False, content_length=None)
        limits = given.limits.model_copy(update={"settle_s": settle_s})
        waiting = given.model_copy(update={"limits": limits})
        new = new_delivery(headers, envelope, routed, body, waiting, request_id=guid)
        return self.store.queue.accept([new])[0].outcome

    def open_pull_request(self, *files: ChangedFile, guid: str = GUID, **known: Any) -> None:
        """Accept the opening of pull request 2, which GitHub returns with `known` and the changed
        `files`.
        """
        shown = pull_request(**{"number": 2, **known})
        payload = json.loads(recorded.load("pull_request.opened").body)
        payload["number"] = payload["pull_request"]["number"] = number = shown.number
        if "head_sha" in known:
            payload["pull_request"]["head"]["sha"] = shown.head_sha
        self.github.put_pull_request(shown, *(files or (file(),)))
        body, sha = json.dumps(payload).encode(), known.get("head_sha")
        self.accept("pull_request.opened", guid=guid, number=number, head_sha=sha, body=body)

    def review(self, *files: ChangedFile, guid: str = GUID, **known: Any) -> Ended:
        """Review pull request 2 with the changed `files` in one attempt, which must succeed."""
        self.open_pull_request(*files, guid=guid, **known)
        finished = self.finish()
        assert finished.state == "done", finished
        return finished

    def find_due(self) -> Lease | None:
        return self.store.queue.claim(worker="w")

    def claim(self) -> Lease:
        """Claim the next delivery that is due."""
        lease = self.find_due()
        assert lease is not None, "nothing is due"
        return lease

    def run(self) -> Ended | None:
        """Run one attempt at the next delivery that is due."""
        lease = self.claim()
        end = run_delivery(lease, self.tools())
        if end is None:
            return None
        return Ended(lease.guid, end.state, end.reason)

    def run_all(self) -> None:
        """Run attempts while a delivery is due."""
        while (lease := self.find_due()) is not None:
            run_delivery(lease, self.tools())

    def finish(self) -> Ended:
        """Run one attempt, which must finish the delivery."""
        finished = self.run()
        assert finished is not None, "the delivery is not finished"
        return finished

    def process(self, name: str = "issues.opened", **known: Any) -> Ended:
        """Accept a delivery, and run one attempt, which must finish it."""
        self.accept(name, **known)
        return self.finish()

    def job(self) -> DeliveryJob:
        """Claim the next delivery that is due; returns the job that the pipeline would run."""
        lease, context = self.claim(), self.tools()
        config, event = context.config, parse_event(lease.event, lease.guid, lease.body)
        rule = Router(config.settings, config.table, config.library, (HLS,)).route(
            from_event(event)
        )
        assert isinstance(rule, Rule)
        return DeliveryJob(
            lease,
            context,
            config,
            event,
            HLS,
            rule,
            HANDLERS[event.name],
            self.store.checkpoints.load(lease.guid),
        )

    def end_checks(self) -> None:
        """End the checks of finished deliveries that have none, as the service does."""

        def wait(seconds: float) -> bool:
            self.advance(seconds)
            return False

        CheckEnder(self.store, lambda: self.github, settings=lambda: self.settings, wait=wait).run()

    def pause(self, seconds: float) -> None:
        self.paused_s.append(seconds)
        self.on_pause()
        self.advance(seconds)

    def advance(self, seconds: float) -> None:
        # one, because every statement adds them up
        self.skew[:] = [sum(self.skew, timedelta(seconds=seconds))]

    def row(self, guid: str = GUID) -> DeliveryRow:
        found = self.store.deliveries.find(guid)
        assert found is not None
        return found

    def report(self, guid: str = GUID) -> DeliveryReport:
        return load_report(self.store, self.row(guid))

    def component(self, name: Component) -> ComponentHealth:
        return self.health.snapshot().components[name]

    def tools(self) -> WorkerContext:
        return WorkerContext(
            store=self.store,
            leases=ExclusiveLease(),
            github=self.github,
            claude=self.claude,
            health=self.health,
            runs=RUNS,
            config=DeliveryConfig(self.settings, RepositoryTable(self.settings), self.prompts),
            choose_account=lambda _repository_id, _number: ChosenAccount(self.github, HLS),
            stopping=lambda: self.stopping,
            pause=self.pause,
            jitter=lambda: 0.0,
            clock=lambda: 0.0,
            vectors=self.vectors,
        )


def machine_now() -> datetime:
    """Return the time in whole milliseconds, as databases store it."""
    return from_ms(time.time_ns() // 1_000_000)


class SharedDatabase:
    """One SQLite database for many tests: SQLAlchemy compiles each statement once for each
    `Database`.
    """

    def __init__(self) -> None:
        self.folder = TemporaryDirectory()
        self.now = machine_now
        self.database = ClockedDatabase(
            create_database(Path(self.folder.name) / "hls.db"), lambda: self.now()
        )


@cache
def shared_database() -> SharedDatabase:
    return SharedDatabase()


def empty_storage(now: Callable[[], datetime]) -> Storage:
    """Delete all rows of this process's database, whose clock becomes `now`."""
    shared = shared_database()
    shared.now = now
    shared.database.empty()
    return Storage(shared.database)


def make_github(repository: str = "Codertocat/Hello-World") -> StandIn:
    return StandIn(State(me=Account(HLS.login, HLS.id, HLS.type)), repository)


@contextmanager
def open_world(
    folder: Path | None = None,
    *,
    replies: FakeClaude | None = None,
    given: Settings | None = None,
    is_clock_fixed: bool = False,
) -> Iterator[World]:
    """Open a world with a database in the folder, or with that of this process, which is emptied.

    With `is_clock_fixed`, the database's clock is at noon, and only `World.advance` changes it.
    """
    with open_store(folder, is_clock_fixed=is_clock_fixed) as (store, skew):
        github = make_github()
        github.put_issue(ISSUE)
        claude = replies or FakeClaude([BUG])
        yield World(store, github, claude, given or settings(), skew=skew)


@contextmanager
def open_store(
    folder: Path | None, *, is_clock_fixed: bool
) -> Iterator[tuple[Storage, list[timedelta]]]:
    """Open a database with the list by which its clock is ahead."""
    skew: list[timedelta] = []

    def now() -> datetime:
        return (NOON if is_clock_fixed else machine_now()) + sum(skew, timedelta())

    if folder is None:
        yield empty_storage(now), skew
        return
    store = Storage(ClockedDatabase(create_database(folder / "hls.db"), now))
    try:
        yield store, skew
    finally:
        store.close()
