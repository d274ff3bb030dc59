"""Catch-up: which missed webhooks are read, tried again, lost or rejected, and that each becomes
one delivery.
"""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import pytest

from hls_handler.background.catch_up import CatchUp, CatchUpLoop, find_reserved, select_missed
from hls_handler.deliveries import Accepted, DeliveryAttempt, End, NewDelivery
from hls_handler.engine.active_config import ActiveConfig, load_bot_accounts
from hls_handler.engine.health import ComponentHealth, Health
from hls_handler.errors import DependencyDown, PayloadError, Permanent, StoreUnavailable
from hls_handler.github.api import RateLimit, RateLimitMonitor
from hls_handler.github.client import make_credentials
from hls_handler.github.hooks import AttemptPage, GithubHooks, Hook
from hls_handler.prompting.library import ReloadingLibrary
from hls_handler.settings.effective import RepositoryTable
from hls_handler.settings.model import Settings
from hls_handler.store.storage import Storage
from tests.engine.world import empty_storage, library, machine_now

REPOSITORY = "octo/widgets"
REPOSITORY_ID = 7
OTHER = "octo/gadgets"
OTHER_ID = 8


def hook(number: int, url: str = "https://hls.example/webhook", *, active: bool = True) -> Hook:
    return Hook.model_validate({"id": number, "active": active, "config": {"url": url}})


@dataclass
class FakeHooks(GithubHooks):
    """GitHub's lists of hooks and attempts, in memory. `hook_lists` has a list or an error for each
    path.
    """

    base_url: str = "https://api.github.com"
    hook_lists: dict[str, list[Hook] | Exception] = field(
        default_factory=lambda: {f"/repos/{REPOSITORY}": [hook(1)]}
    )
    attempts: list[DeliveryAttempt] = field(default_factory=list)  # oldest first
    payloads: dict[str, bytes] = field(default_factory=dict)  # by GUID
    # by GUID: of the request for the payload
    errors: dict[str, Exception] = field(default_factory=dict)
    # by path: of the request for the attempts
    list_errors: dict[str, Exception] = field(default_factory=dict)
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

    def page(self, path: str, cursor: str | None = None) -> AttemptPage:
        self._request(f"page {cursor}")
        path = path.partition("/hooks/")[0]
        if path in self.list_errors:
            raise self.list_errors[path]
        begin = int(cursor or 0)
        ids = {f"/repos/{REPOSITORY}": REPOSITORY_ID, f"/repos/{OTHER}": OTHER_ID}
        listed = [
            one for one in self.attempts[::-1] if path not in ids or one.repository_id == ids[path]
        ]
        end = begin + 100
        if end < len(listed):
            return AttemptPage(tuple(listed[begin:end]), str(end))
        return AttemptPage(tuple(listed[begin:]))

    def payload(self, path: str, attempt_id: int) -> bytes:
        del path
        self._request(f"payload {attempt_id}")
        guid = next(attempt.guid for attempt in self.attempts if attempt.id == attempt_id)
        if guid in self.errors:
            raise self.errors[guid]
        return self.payloads[guid]

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
            DeliveryAttempt(
                len(self.attempts) + 1,
                guid,
                datetime.now(UTC) - age,
                status,
                event,
                action,
                repository_id,
            )
        )
        payload = {
            "action": action,
            "repository": {
                "id": repository_id,
                "full_name": OTHER if repository_id == OTHER_ID else REPOSITORY,
            },
            "sender": {"login": "ann"},
            "issue": {
                "number": number,
                "title": f"Widget {number} is broken",
                "user": {"login": "ann", "id": 3},
            },
        }
        self.payloads[guid] = json.dumps(payload | objects).encode()


def make_settings(*names: str, **catch_up: object) -> Settings:
    return Settings.model_validate(
        {
            "github": {"token": "t" * 40, "webhook_secret": "s" * 40},
            "claude": {"api_key": "k" * 40},
            "repositories": [
                {"name": name, "events": ["issues"]} for name in names or (REPOSITORY,)
            ],
            "catch_up": catch_up,
        }
    )


@dataclass
class World:
    store: Storage
    github: FakeHooks = field(default_factory=FakeHooks)
    settings: Settings = field(default_factory=make_settings)
    committed: list[Accepted] = field(default_factory=list)
    requests_before_stop: int = 1_000_000
    ahead: list[timedelta] = field(default_factory=list)  # added to the database's clock

    def catch_up(self) -> CatchUp:
        bots = load_bot_accounts(self.settings.github, self.store)
        active = ActiveConfig(
            self.settings, RepositoryTable(self.settings), ReloadingLibrary(library), bots
        )
        credentials = make_credentials(self.settings.github, now=lambda: datetime.now(UTC))

        def wait(_: float) -> bool:
            return len(self.github.requests) >= self.requests_before_stop

        return CatchUp(
            self.store,
            lambda: active,
            lambda _: credentials,
            wait=wait,
            on_commit=self.committed.extend,
            rates=RateLimitMonitor(),
            connect=lambda credentials, rates: self.github,
        )

    def process_all(self) -> list[str]:
        """Claim and finish every queued delivery; return the GUIDs in this order."""
        done = []
        while (lease := self.store.queue.claim(worker="w")) is not None:
            self.store.queue.finish(
                lease, End("done", "processed", kind=None, handler=None), took_s=0.0
            )
            done.append(lease.guid)
        return done


def make_loop(world: World) -> tuple[CatchUpLoop, Health]:
    health = Health(lambda: datetime.now(UTC))
    catch_up, store = world.catch_up(), world.store.catch_up
    return CatchUpLoop(catch_up, store, lambda: world.settings.catch_up, health), health


def run(world: World, loop: CatchUpLoop) -> None:
    """Run at the end of the pause between two runs."""
    world.ahead.append(timedelta(minutes=10))
    loop.run()


def component(health: Health) -> ComponentHealth:
    return health.snapshot().components["catch_up"]


@pytest.fixture
def world() -> World:
    ahead: list[timedelta] = []
    return World(empty_storage(lambda: machine_now() + sum(ahead, timedelta())), ahead=ahead)


def test_27_of_700_missed_deliveries_are_each_processed_once(world: World) -> None:
    github, wanted = world.github, list[str]()
    for number in range(1, 701):
        guid = f"guid-{number}"
        if number % 25 == 0 and len(wanted) < 27:
            wanted.append(guid)
            github.send(guid, number=number)
        else:
            github.send(
                guid, event="check_run" if number % 3 else "issues", action="pinned", number=number
            )
    world.requests_before_stop = 7 + 10  # the process ends in the middle
    interrupted = world.catch_up().run()
    assert (interrupted.accepted, interrupted.remaining) == (9, 18)

    world.requests_before_stop = 1_000_000
    report = world.catch_up().run()
    assert (report.looked_at, report.fetched, report.accepted, report.remaining) == (700, 18, 18, 0)
    assert github.read == 27
    assert world.process_all() == wanted
    again = world.catch_up().run()
    assert (again.looked_at, again.fetched) == (0, 0)
    assert world.store.statistics.counters()["caught_up", ""] == 27


def attempt(number: int, guid: str, status: int) -> DeliveryAttempt:
    return DeliveryAttempt(
        number, guid, datetime.now(UTC), status, "issues", "opened", REPOSITORY_ID
    )


@pytest.mark.parametrize(
    ("attempts", "missed"),
    [
        ([attempt(1, "a", 502)], [1]),
        ([attempt(2, "a", 202), attempt(1, "a", 502)], []),  # redelivered with success
        ([attempt(2, "a", 502), attempt(1, "a", 202)], []),  # redelivered without need
        ([attempt(3, "b", 401), attempt(2, "c", 204), attempt(1, "a", 503)], [1, 3]),
    ],
)
def test_only_deliveries_without_any_success_are_missed(
    attempts: list[DeliveryAttempt], missed: list[int]
) -> None:
    assert [one.id for one in select_missed(attempts, lambda _: True)] == missed


def test_ignored_events_and_repositories_are_skipped_without_reading_the_payload(
    world: World,
) -> None:
    world.github.send("ignored-event", event="push", action=None)
    world.github.send("ignored-action", action="transferred")
    world.github.send("label", action="labeled")  # may be a correction of a label
    world.github.send("wanted")
    assert [one.guid for one, _ in world.catch_up().run().missed] == ["label", "wanted"]


def test_unknown_repository_of_an_organisation_is_read_once(world: World) -> None:
    world.settings = make_settings("octo/gadgets")
    world.github.hook_lists = {"/repos/octo/gadgets": [], "/orgs/octo": [hook(1)]}
    for number in range(3):
        world.github.send(f"guid-{number}", number=number + 1)  # of octo/widgets
    assert world.catch_up().run().fetched == 1
    assert [accepted.outcome for accepted in world.committed] == ["ignored"]


def test_rule_5_delivery_that_arrives_by_webhook_meanwhile_is_processed_once(world: World) -> None:
    world.github.send("guid", number=4)
    received = NewDelivery(
        "guid", "issues", "opened", "request", "queued", repository_id=REPOSITORY_ID, number=4
    )
    payload = world.github.payload

    def receive_first(path: str, attempt_id: int) -> bytes:
        world.store.queue.accept([received])
        return payload(path, attempt_id)

    world.github.payload = receive_first  # type: ignore[method-assign]
    assert world.catch_up().run().accepted == 0
    assert world.process_all() == ["guid"]
    assert world.catch_up().run().fetched == 0


def test_caught_up_delivery_is_marked_and_counts_as_no_webhook(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    world.github.send("guid", number=4)
    with caplog.at_level(logging.INFO):
        world.catch_up().run()
    (line,) = (record.__dict__ for record in caplog.records if record.message == "webhook received")
    assert (line["delivery"], line["decision"], line["caught_up"]) == ("guid", "queued", True)
    row = world.store.deliveries.find("guid")
    assert row is not None
    assert (row.is_caught_up, row.request_id, row.state) == (True, "caught-up:1", "queued")
    counters = world.store.statistics.counters()
    assert (counters["caught_up", ""], counters["event", "issues.opened"]) == (1, 1)
    assert ("webhooks", "") not in counters
    assert world.store.statistics.last_webhooks() == {}


def test_expired_payload_is_reported_once(world: World, caplog: pytest.LogCaptureFixture) -> None:
    world.github.send("guid", age=timedelta(minutes=1))
    world.github.errors["guid"] = PayloadError("GitHub no longer keeps the payload")
    catch_up = world.catch_up()
    with caplog.at_level(logging.WARNING):
        assert (catch_up.run().lost, catch_up.run().lost) == (1, 0)
    assert [record.message for record in caplog.records] == ["missed webhook is lost"]


def test_complete_run_is_not_repeated_but_attempts_listed_late_are_found(world: World) -> None:
    world.github.send("first", age=timedelta(hours=2))
    world.github.send("second", age=timedelta(minutes=10), number=2)
    late = world.github.attempts.pop()
    world.github.send("third", age=timedelta(minutes=1), number=3)
    world.catch_up().run()
    world.github.attempts.insert(1, late)
    assert [one.guid for one, _ in world.catch_up().run().missed] == ["second"]


def test_one_of_two_processes_reads_at_each_interval(world: World) -> None:
    (first, _), (second, health) = make_loop(world), make_loop(world)

    def requests(loop: CatchUpLoop) -> int:
        before = len(world.github.requests)
        loop.run()
        return len(world.github.requests) - before

    assert [requests(loop) for loop in (first, second, first)] == [2, 2, 0]  # both at the start
    world.ahead.append(timedelta(minutes=10))
    assert [requests(loop) for loop in (second, first)] == [1, 0]
    assert component(health).state == "healthy"
    world.settings = make_settings(hook_id=1)
    assert requests(first) == 1  # changed settings are used at once
    world.ahead.append(-timedelta(hours=5))  # the clock is set back
    assert requests(first) == 1


def test_missing_permission_is_one_state_with_the_remedy(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    world.github.hook_lists = {f"/repos/{REPOSITORY}": Permanent("GET ...: 403 Forbidden")}
    loop, health = make_loop(world)
    with caplog.at_level(logging.INFO):
        loop.run()
        run(world, loop)
    found = component(health)
    assert (found.state, found.message) == (
        "degraded",
        f"the webhooks of {REPOSITORY} cannot be listed: GET ...: 403 Forbidden",
    )
    assert found.remedy is not None
    assert "Webhooks: read" in found.remedy
    assert "catch_up.enabled: false" in found.remedy
    assert [record.message for record in caplog.records] == ["catch-up is incomplete"]


def test_problem_stays_in_the_health_of_both_processes_until_it_ends(world: World) -> None:
    world.github.hook_lists = {f"/repos/{REPOSITORY}": Permanent("GET ...: 403 Forbidden")}
    (first, health), (second, _) = make_loop(world), make_loop(world)
    for loop in (first, second, first):  # the second one began within the interval
        loop.run()
    assert component(health).state == "degraded"


def test_switched_off_sends_no_request(world: World) -> None:
    world.settings = make_settings(enabled=False)
    loop, health = make_loop(world)
    loop.run()
    assert (component(health).state, world.github.requests) == ("healthy", [])


def test_run_while_github_is_down_is_repeated_by_the_next_one(world: World) -> None:
    world.github.send("guid")
    loop, health = make_loop(world)
    in_an_hour = datetime.now(UTC) + timedelta(hours=1)
    world.github.down = DependencyDown("502 Bad Gateway", dependency="github", remedy="wait")
    loop.run()
    assert (component(health).state, component(health).message) == ("degraded", "502 Bad Gateway")
    world.github.down = DependencyDown(
        "429", dependency="github", remedy="wait", not_before=in_an_hour
    )
    run(world, loop)
    world.github.down = None
    run(world, loop)  # sends nothing, because GitHub asked to wait
    assert "no requests until" in str(component(health).message)
    assert len(world.github.requests) == 2
    world.store.queue.reschedule_waiting(forget_servers=True)
    run(world, loop)
    assert (component(health).state, world.process_all()) == ("healthy", ["guid"])


RESET = datetime(2026, 11, 20, 13, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("rate_limit", "minutes_before_reset", "waits"),
    [
        (RateLimit(5000, 1250, RESET), 30, False),
        (RateLimit(5000, 1249, RESET), 30, True),
        (RateLimit(5000, 0, RESET), 0, False),
    ],
)
def test_a_quarter_of_the_hourly_limit_is_reserved_for_deliveries(
    rate_limit: RateLimit, minutes_before_reset: int, waits: bool
) -> None:
    assert (
        find_reserved(rate_limit, RESET - timedelta(minutes=minutes_before_reset)) is not None
    ) == waits


def problems(world: World) -> list[str]:
    return [problem.message for problem in world.catch_up().run().problems]


def test_several_hooks_with_our_path_are_reported_and_none_is_read(world: World) -> None:
    others = [hook(3, "https://other.example/ci"), hook(4, active=False)]
    world.github.hook_lists = {f"/repos/{REPOSITORY}": [hook(1), hook(2), *others]}
    world.github.send("guid")
    assert problems(world) == [f"{REPOSITORY} has several webhooks that end with /webhook: 1, 2"]
    world.settings = make_settings(hook_id=2)
    assert problems(world) == []


def test_repository_without_a_hook_is_reported_unless_its_organisation_has_one(
    world: World,
) -> None:
    world.github.hook_lists = {f"/repos/{REPOSITORY}": []}
    assert problems(world) == [f"{REPOSITORY} has no active webhook whose URL ends with /webhook"]
    world.github.hook_lists["/orgs/octo"] = [hook(5)]
    assert problems(world) == []


def test_pattern_covers_repositories_whose_webhooks_were_received(world: World) -> None:
    world.settings = make_settings("octo/*")
    assert world.catch_up().run().hooks == 0
    for guid, name in (("guid-0", REPOSITORY), ("guid-1", "mallory/widgets")):
        new = NewDelivery(
            guid, "issues", "opened", "request", "ignored", repository=name, reason="x"
        )
        world.store.queue.accept([new])
    world.github.requests.clear()
    assert world.catch_up().run().hooks == 1
    assert world.github.requests == [f"/repos/{REPOSITORY}", "/orgs/octo", "page None"]


SERVER_ERROR = "GET /repos/octo/widgets/hooks/1/deliveries/1: 502 Server Error"


def server_error(message: str = SERVER_ERROR) -> DependencyDown:
    return DependencyDown(message, dependency="github", remedy="wait", applies_to_all_calls=False)


def two_repositories(world: World) -> None:
    world.settings = make_settings(REPOSITORY, OTHER)
    world.github.hook_lists = {f"/repos/{REPOSITORY}": [hook(1)], f"/repos/{OTHER}": [hook(2)]}


def test_unread_payload_delays_neither_later_deliveries_nor_other_hooks(world: World) -> None:
    two_repositories(world)
    world.github.send("bad", number=1)
    world.github.send("good", number=2)
    world.github.send("other", number=3, repository_id=OTHER_ID)
    world.github.errors["bad"] = server_error()
    loop, health = make_loop(world)
    loop.run()
    assert world.process_all() == ["good", "other"]
    found = component(health)
    assert (found.state, found.metrics["unread"], found.metrics["remaining"]) == ("degraded", 1, 1)
    assert found.message == f"a payload cannot be read: {SERVER_ERROR}"
    assert found.remedy == "wait"

    world.github.errors.clear()
    run(world, loop)
    assert world.process_all() == ["bad"]
    assert (component(health).state, component(health).metrics["unread"]) == ("healthy", 0)
    world.github.requests.clear()
    run(world, loop)
    assert world.github.read == 0


def test_delivery_that_could_not_be_read_for_an_hour_is_lost_with_one_warning(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    world.github.send("bad")
    world.github.errors["bad"] = server_error()
    loop, health = make_loop(world)
    with caplog.at_level(logging.WARNING):
        loop.run()
        world.ahead.append(timedelta(minutes=49))
        run(world, loop)
        assert component(health).metrics["lost"] == 0
        run(world, loop)
        run(world, loop)
    assert world.github.read == 3
    (lost,) = (
        record for record in caplog.records if record.message.startswith("missed webhook is lost")
    )
    assert (lost.__dict__["delivery"], lost.__dict__["why"]) == ("bad", SERVER_ERROR)
    assert (component(health).state, component(health).metrics["lost"]) == ("healthy", 1)
    assert world.catch_up().run().looked_at == 0


def test_outage_in_the_middle_of_a_run_ends_it_after_a_few_requests(world: World) -> None:
    for number in range(1, 41):
        world.github.send(f"guid-{number}", number=number)
        if number > 10:
            world.github.errors[f"guid-{number}"] = server_error()
    report = world.catch_up().run()
    assert (report.accepted, report.unread, world.github.read) == (10, 2, 13)


def test_payload_that_could_not_be_read_is_requested_after_the_others(world: World) -> None:
    world.github.send("failing", number=1)
    world.github.errors["failing"] = server_error()
    catch_up = world.catch_up()
    catch_up.run()
    world.github.send("new", number=2)
    world.github.requests.clear()
    catch_up.run()
    payloads = [request for request in world.github.requests if request.startswith("payload")]
    assert payloads == ["payload 2", "payload 1"]


def test_list_that_cannot_be_read_does_not_stop_other_hooks(world: World) -> None:
    two_repositories(world)
    world.github.send("here", number=1)
    world.github.send("other", number=2, repository_id=OTHER_ID)
    world.github.list_errors[f"/repos/{REPOSITORY}"] = server_error("502")
    catch_up = world.catch_up()
    assert [problem.message for problem in catch_up.run().problems] == ["502"]
    assert world.process_all() == ["other"]
    world.github.list_errors.clear()
    assert catch_up.run().accepted == 1


def test_rule_5_payload_that_the_receiver_would_reject_is_read_once(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    world.settings = make_settings("octo/*", REPOSITORY)
    age = timedelta(minutes=1)  # listed again by the next run
    world.github.send("bad", age=age, repository={"id": OTHER_ID, "full_name": REPOSITORY})
    world.github.send("good", number=2, age=age)
    loop, health = make_loop(world)
    with caplog.at_level(logging.INFO):
        loop.run()
        run(world, loop)
    assert (world.github.read, world.process_all()) == (2, ["good"])
    assert [record.message for record in caplog.records if record.levelno >= logging.WARNING] == [
        "missed webhook is lost"
    ]
    assert component(health).state == "healthy"


def test_run_that_a_busy_database_ended_is_repeated_within_a_minute(world: World) -> None:
    world.github.send("guid")
    world.github.errors["guid"] = StoreUnavailable("the database is locked")
    loop, _ = make_loop(world)
    assert loop.pause_s() == 600
    loop.run()
    assert loop.pause_s() == 60
    world.github.errors.clear()
    loop.run()
    assert (world.process_all(), loop.pause_s()) == (["guid"], 600)


def test_defect_is_shown_in_health_and_the_next_run_recovers(world: World) -> None:
    world.github.send("guid")
    world.github.errors["guid"] = ZeroDivisionError("defect")
    loop, health = make_loop(world)
    with pytest.raises(ZeroDivisionError):  # the thread logs it
        loop.run()
    found = component(health)
    assert (found.state, found.message) == ("degraded", "catch-up failed: ZeroDivisionError")
    assert found.remedy == "see the log"
    world.github.errors.clear()
    run(world, loop)
    assert (component(health).state, world.process_all()) == ("healthy", ["guid"])
