"""Checks of the probe with the active settings, expected webhooks that do not arrive, and the lines
at the start.
"""

from __future__ import annotations

import logging
import re
import threading
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from hls_handler.analysis import Usage
from hls_handler.background.health_checks import ConnectionReport, HealthChecks, find_overdue
from hls_handler.background.threads import Check, ProblemFound, run_checks
from hls_handler.engine.active_config import ActiveConfig, BotAccount
from hls_handler.engine.health import REVIEW, Component, ComponentHealth, Health
from hls_handler.errors import BudgetUsedUp, DependencyDown, ModelNotFound
from hls_handler.git.mirror import MirrorDisk
from hls_handler.github.client import Github
from hls_handler.github.identity import Identity
from hls_handler.prompting.library import ReloadingLibrary
from hls_handler.prompting.prompt import Library
from hls_handler.queue.rate_limiter import SlotRequest
from hls_handler.settings.effective import RepositoryTable
from hls_handler.settings.model import BudgetsSettings, MirrorSettings
from hls_handler.settings.providers import ClaudeSettings
from hls_handler.settings.reload import SettingsFile
from hls_handler.store.limits import list_budgets
from tests.engine.claude import CLAUDE_DOWN
from tests.engine.world import NOON, MakeWorld, World, make_github
from tests.handlers.world import HLS
from tests.prompting.samples import write
from tests.queue.builders import ignored, start_call
from tests.settings.files import SMALLEST, VARIABLES, load


@dataclass
class FakeIdentityClient(Github):
    """The client of one token."""

    expiring: tuple[str, ...] = ()

    def accounts(self) -> tuple[Github]:
        github = make_github()
        github.token = None  # that of an installation cannot read the account
        return (github,)

    def fetch_identity(self, *, unneeded: Collection[str] = ()) -> Identity:
        details = {"kind": "classic token", "login": "hls-bot"}
        return Identity(details, (), (), expiring=self.expiring)


def make_config(folder: Path, world: World, text: str = SMALLEST) -> ActiveConfig:
    path = folder / "settings.yaml"
    path.write_text(text, encoding="utf-8")
    file = SettingsFile(path, VARIABLES, dotenv=None)
    bot = BotAccount(file.initial.github, world.store.bot_accounts, world.store.database)
    prompts = ReloadingLibrary(lambda: world.prompts)
    return ActiveConfig(file.initial, RepositoryTable(file.initial), prompts, (bot,))


@pytest.fixture
def world(make_world: MakeWorld) -> World:
    return make_world()


def checks_of(
    world: World,
    folder: Path,
    *,
    text: str = SMALLEST,
    github: Callable[[ActiveConfig], Github] = lambda _: FakeIdentityClient(),
    lookup_model: Callable[[str, ClaudeSettings], object] = lambda *_: "active",
    health: Health | None = None,
    mirror_disk: MirrorDisk | None = None,
    config: ActiveConfig | None = None,
) -> dict[Component, Check]:
    active = config or make_config(folder, world, text)
    checks = HealthChecks(
        world.store,
        lambda: active,
        github=github,
        lookup_model=lookup_model,
        health=health or world.health,
        mirror_disk=mirror_disk,
    )
    return {check.component: check for check in checks.make()}


def test_checks_fetch_the_bot_account_and_the_model(world: World, tmp_path: Path) -> None:
    configs: list[ActiveConfig] = []
    models: list[str] = []

    def lookup_model(model: str, _claude: ClaudeSettings) -> str:
        models.append(model)
        return "active"

    def github(config: ActiveConfig) -> Github:
        configs.append(config)
        return FakeIdentityClient()

    results = {
        name: check.run()
        for name, check in checks_of(
            world, tmp_path, github=github, lookup_model=lookup_model
        ).items()
    }
    assert results.pop("store") is not None
    assert results == {
        "queue": None,
        "prompts": None,
        "github": {"identity": {"kind": "classic token", "login": "hls-bot"}},
        "claude": {"model": "claude-haiku-5-5", "model_lifecycle": "active"},
        "webhooks": {"last_received_at": None, "is_expected": False},
    }
    assert [config.bot.cached for config in configs] == [HLS]
    assert models == ["claude-haiku-5-5"]


def test_reload_of_prompts_that_does_not_end_is_reported(world: World, tmp_path: Path) -> None:
    is_loading, may_end = threading.Event(), threading.Event()

    def load() -> Library:
        if (tmp_path / "changed.j2").exists():
            is_loading.set()
            assert may_end.wait(10)
        return world.prompts

    prompts = ReloadingLibrary(load, tmp_path)
    config = replace(make_config(tmp_path, world), prompts=prompts)
    check = checks_of(world, tmp_path, config=config)["prompts"]
    write(tmp_path, {"changed.j2": "Other words"})
    reloading = threading.Thread(target=prompts.reload)
    reloading.start()
    assert is_loading.wait(10)
    run_checks([check], world.health)
    problem = world.health.snapshot().components["prompts"]
    may_end.set()
    reloading.join()
    run_checks([check], world.health)
    assert problem.state == "degraded"
    assert (problem.message or "").startswith("the changed prompts are being read")
    assert world.health.snapshot().components["prompts"].state == "healthy"


def test_token_that_expires_soon_degrades_github_with_its_identity(
    world: World, tmp_path: Path
) -> None:
    client = FakeIdentityClient(("github.token expires at 2026-12-04 09:30 UTC",))
    run_checks([checks_of(world, tmp_path, github=lambda _: client)["github"]], world.health)
    world.health.ok("github")  # a use does not end it
    found = world.health.snapshot().components["github"]
    assert (found.state, found.message, found.remedy) == (
        "degraded",
        "github.token expires at 2026-12-04 09:30 UTC",
        "create another token on GitHub, and write it to the settings before",
    )
    assert found.metrics == {"identity": {"kind": "classic token", "login": "hls-bot"}}


def test_disk_of_the_mirrors_with_too_little_room_is_a_problem_and_mirrors_are_deleted(
    world: World, tmp_path: Path
) -> None:
    settings = MirrorSettings(directory=tmp_path / "mirror")
    unused = tmp_path / "mirror/unused-1"
    (unused / "git").mkdir(parents=True)
    (unused / "git/pack").write_bytes(b"x" * 1_000)
    (unused / "lock").touch()
    free = [12_000_000]
    disk = MirrorDisk(lambda: settings, clock=lambda: 0.0, free_bytes=lambda _: free[0])
    check = checks_of(world, tmp_path, mirror_disk=disk)["mirror"]
    run_checks([check], world.health)
    found = world.health.snapshot().components["mirror"]
    assert (found.state, found.message, found.remedy) == (
        "degraded",
        (
            "less than mirror.min_free_mb (1000) is free on the disk of mirror.directory: reviews"
            " go on without a mirror"
        ),
        "make room on the disk; or lower mirror.min_free_mb if it is a disk of its own",
    )
    assert not (unused / "git").exists()
    free[0] = 1_000_000_000
    run_checks([check], world.health)
    found = world.health.snapshot().components["mirror"]
    assert (found.state, found.metrics) == ("healthy", {"disk_free_bytes": 1_000_000_000})


def test_disk_is_no_problem_without_mirrors(world: World, tmp_path: Path) -> None:
    disk = MirrorDisk(
        lambda: MirrorSettings(directory=tmp_path), clock=lambda: 0.0, free_bytes=lambda _: 0
    )
    text = f"{SMALLEST}mirror: {{enabled: false}}\n"
    assert checks_of(world, tmp_path, text=text, mirror_disk=disk)["mirror"].run() is None
    assert "mirror" not in checks_of(world, tmp_path)


def test_held_dependency_is_not_called(world: World, tmp_path: Path) -> None:
    world.store.rate_limiter.hold(
        "github", world.store.now().replace(hour=12, minute=0, second=0) + timedelta(days=1)
    )

    def unused(_config: object) -> Any:
        raise AssertionError("it was asked")

    with pytest.raises(DependencyDown, match="no requests until 12:00:00 UTC"):
        checks_of(world, tmp_path, github=unused)["github"].run()


@pytest.mark.parametrize(
    ("component", "remedy"),
    [
        ("github", "wait, or lower github.min_seconds_between_writes"),
        ("claude", "wait, or raise claude.requests_per_second"),
    ],
)
def test_wait_for_a_rate_limit_is_a_problem_that_names_its_end(
    world: World, tmp_path: Path, component: Component, remedy: str
) -> None:
    world.accept()
    lease = world.claim()
    world.store.rate_limiter.take_slot(lease, SlotRequest(component, 120))
    expected = (
        r"^the next request waits until \d\d:\d\d:\d\d UTC for a slot of the rate limit"
        rf" {component}$"
    )
    with pytest.raises(ProblemFound, match=expected) as problem:
        checks_of(world, tmp_path)[component].run()
    assert problem.value.remedy == remedy


def test_budgets_are_shown_and_a_call_of_today_that_did_not_fit_is_a_problem(
    world: World, tmp_path: Path
) -> None:
    text = (
        f"{SMALLEST}budgets: {{total: {{day_usd: 0.06}}, repositories: [{{name: a/b, month_usd:"
        " 9}]}\n"
    )
    check = checks_of(world, tmp_path, text=text)["claude"]
    assert (check.run() or {})["budgets"] == [
        {"name": "all repositories", "period": "day", "limit_usd": 0.06, "left_usd": 0.06},
        {"name": "a/b", "period": "month", "limit_usd": 9.0, "left_usd": 9.0},
    ]
    world.accept()
    lease = world.claim()
    budgets = list_budgets(load(tmp_path, text), "a/b")
    estimate = Usage("claude-haiku-5-5", cost_usd=0.05)
    call = start_call(world.store, lease, estimate=estimate, budgets=budgets)
    world.store.calls.end(lease, call, outcome="ok", usage=estimate, error=None)
    with pytest.raises(BudgetUsedUp):
        start_call(world.store, lease, estimate=estimate, budgets=budgets)
    run_checks([check], world.health)
    world.health.ok("claude")  # another call did fit
    found = world.health.snapshot().components["claude"]
    assert (found.state, found.remedy) == (
        "degraded",
        "wait, or raise the setting that the message names",
    )
    assert re.search(
        r"0\.0600 USD a day for all repositories .* 0\.0100 are left", found.message or ""
    )
    assert found.metrics["budgets"] == [
        {"name": "all repositories", "period": "day", "limit_usd": 0.06, "left_usd": 0.01},
        {"name": "a/b", "period": "month", "limit_usd": 9.0, "left_usd": 9.0},
    ]


def test_events_that_a_budget_ignored_today_are_counted(
    make_world: MakeWorld, tmp_path: Path
) -> None:
    world = make_world(is_clock_fixed=True)
    world.settings = world.settings.model_copy(
        update={
            "budgets": BudgetsSettings.model_validate(
                {"total": {"day_usd": 0.01}, "exceeded": "ignore"}
            )
        }
    )
    text = f"{SMALLEST}budgets: {{total: {{day_usd: 0.01}}, exceeded: ignore}}\n"
    check = checks_of(world, tmp_path, text=text)["claude"]
    assert (check.run() or {})["over_budget_today"] == 0
    for number in (1, 2):
        world.accept(guid=f"g{number}", number=number)
        assert world.finish().state == "ignored"
    budgets = list_budgets(load(tmp_path, text), "a/b")
    world.accept(guid="g3", number=3)
    with pytest.raises(BudgetUsedUp):
        start_call(world.store, world.claim(), estimate=Usage("m", cost_usd=0.05), budgets=budgets)
    with pytest.raises(
        ProblemFound,
        match=r"are left until .*\. 2 events of today were ignored \(budgets\.exceeded\)$",
    ) as caught:
        check.run()
    assert (caught.value.metrics or {})["over_budget_today"] == 2
    world.advance(24 * 3600)
    assert (check.run() or {})["over_budget_today"] == 0


def test_service_without_models_stays_healthy_after_an_answered_call(
    world: World, tmp_path: Path
) -> None:
    health = world.health

    def lookup_model(_model: str, _claude: ClaudeSettings) -> object:
        raise ModelNotFound("404: model", dependency="claude", remedy="set claude.model")

    claude = checks_of(world, tmp_path, lookup_model=lookup_model)["claude"]
    states = []
    for use in (None, "answered", "answered", None, "failed", None):
        if use == "answered":
            health.ok("claude")
        elif use == "failed":
            health.report_problem("claude", str(CLAUDE_DOWN), CLAUDE_DOWN.remedy)
        run_checks([claude], health)
        states.append(health.snapshot().components["claude"].state)
    assert states == ["degraded", "healthy", "healthy", "healthy", "degraded", "degraded"]
    health.forget("claude")  # other settings: the answered calls prove nothing about them
    run_checks([claude], health)
    assert health.snapshot().components["claude"].message == "404: model"


def test_unknown_review_model_is_reported_until_a_review_was_answered(
    world: World, tmp_path: Path
) -> None:
    text = SMALLEST.replace("claude:\n", "claude:\n  review_model: claude-sonet-5-5\n")

    def lookup_model(model: str, _claude: ClaudeSettings) -> object:
        if model == "claude-haiku-5-5":
            return "active"
        raise ModelNotFound(f"404: {model}", dependency="claude", remedy="set claude.review_model")

    claude = checks_of(world, tmp_path, text=text, lookup_model=lookup_model)["claude"]
    messages = []
    for use in ("", REVIEW):
        world.health.ok("claude", use)
        run_checks([claude], world.health)
        messages.append(world.health.snapshot().components["claude"].message)
    assert messages == ["404: claude-sonet-5-5", None]


EXPECTING = (
    "server: {expect_webhook_within_h: 24}\n" + SMALLEST + "    expect_webhook_within_h: 72\n"
)


def check(component: Component, world: World, folder: Path) -> ComponentHealth:
    """Health of a component after one check."""
    health = Health(lambda: NOON)
    run_checks([checks_of(world, folder, health=health)[component]], health)
    return health.snapshot().components[component]


def test_missing_expected_webhooks_are_reported(world: World, tmp_path: Path) -> None:
    health = Health(lambda: NOON)
    webhooks = checks_of(world, tmp_path, text=EXPECTING, health=health)["webhooks"]

    def run() -> ComponentHealth:
        run_checks([webhooks], health)
        return health.snapshot().components["webhooks"]

    assert run().state == "healthy"
    world.skew.append(timedelta(hours=25))
    overdue = run()
    assert overdue.state == "degraded"
    assert overdue.message is not None
    assert overdue.message.startswith("no webhook for 25.0 h: none came since ")
    assert overdue.message.endswith(
        "settings.yaml:1 (server.expect_webhook_within_h) expects one within 24 h"
    )
    assert overdue.remedy is not None
    assert "Recent Deliveries" in overdue.remedy
    world.store.queue.accept([ignored("g")], finds_replays=False)
    assert run().state == "healthy"


def renamed(action: str = "renamed", **changes: object) -> dict[str, object]:
    changes = changes or {"repository": {"name": {"from": "old"}}}
    repository = {"id": 7, "full_name": "octo/new"}
    return {"action": action, "repository": repository, "sender": None, "changes": changes}


@pytest.mark.parametrize(
    ("payload", "former"),
    [
        (renamed(), "octo/old"),
        (renamed("transferred", owner={"from": {"user": {"login": "mona"}}}), "mona/new"),
        (renamed("transferred", owner={"from": {"organization": {"login": "Acme"}}}), "acme/new"),
    ],
)
def test_former_name_of_a_repository_in_the_settings_is_a_problem_until_it_is_changed(
    world: World, tmp_path: Path, payload: dict[str, object], former: str
) -> None:
    text = SMALLEST.replace("owner/repo", former)
    assert former in text
    assert world.receive("repository", payload, guid="g1") == "ignored"
    run_checks([checks_of(world, tmp_path, text=text)["webhooks"]], world.health)
    found = world.health.snapshot().components["webhooks"]
    assert found.state == "degraded"
    assert re.fullmatch(
        rf"{former} is octo/new since .* UTC, but .*settings.yaml:\d+ \(repositories\[0\]\.name\) "
        "has the former name",
        found.message or "",
        re.IGNORECASE,
    )
    assert (
        found.remedy
        == "write the new name there: the entry has no effect on webhooks of the new name"
    )
    for fixed in (text.replace(former, "octo/new"), text.replace(former, "octo/*")):
        run_checks([checks_of(world, tmp_path, text=fixed)["webhooks"]], world.health)
        assert world.health.snapshot().components["webhooks"].state == "healthy"


def test_another_repository_with_the_former_name_is_no_problem(
    world: World, tmp_path: Path
) -> None:
    text = SMALLEST.replace("owner/repo", "octo/old")
    world.receive("repository", renamed(), guid="g1")
    world.advance(60)
    world.store.queue.accept([ignored("g2", repository="octo/old")], finds_replays=False)
    assert checks_of(world, tmp_path, text=text)["webhooks"].run() is not None


@pytest.mark.parametrize(
    "changes", [{}, {"repository": None}, {"repository": {"name": {"from": "a b"}}}]
)
def test_renaming_without_a_valid_former_name_is_ignored(
    world: World, tmp_path: Path, changes: dict[str, object]
) -> None:
    assert world.receive("repository", {**renamed(), "changes": changes}, guid="g1") == "ignored"
    assert world.store.statistics.renames() == []


def test_pauses_and_late_deliveries_are_reported(make_world: MakeWorld, tmp_path: Path) -> None:
    world = make_world(is_clock_fixed=True)
    world.skew.append(timedelta(seconds=30))
    world.accept()
    world.store.pauses.pause("codertocat/hello-world", reason="a migration", by="mona")
    world.store.pauses.pause(None, reason=None, by="mona")
    world.skew.append(timedelta(hours=1))  # longer than the limit for due deliveries
    assert check("queue", world, tmp_path) == ComponentHealth(
        "degraded",
        NOON,
        "everything is paused since 2026-11-20 12:00 UTC; codertocat/hello-world is paused since"
        " 2026-11-20 12:00 UTC: a migration; 1 of 1 queued delivery is paused",
        "to end the pause: `hls resume`, `hls resume codertocat/hello-world`",
    )
    world.store.pauses.resume(None, by="mona")
    world.store.pauses.resume("Codertocat/Hello-World", by="mona")
    stuck = check("queue", world, tmp_path)
    assert stuck.message is not None
    assert stuck.message.startswith(
        "1 delivery is due, the oldest for 3600 s, and no worker is busy: start `hls serve`"
    )
    world.accept(guid="other", number=9)
    world.skew.append(timedelta(hours=1))
    world.claim()
    busy = check("queue", world, tmp_path)
    assert busy.message is not None
    assert "raise limits.concurrency" in busy.message


FILE = (
    "server: {expect_webhook_within_h: 24}\n"
    + SMALLEST
    + """
    expect_webhook_within_h: 0.5
  - name: owner/*
    expect_webhook_within_h: 72
  - name: other/*
"""
)
NEVER = "for 100.0 h: none came since 2026-11-16 08:00 UTC"


@pytest.mark.parametrize(
    ("received_h", "overdue"),
    [
        (
            {"": 24.1, "owner/repo": 0.4, "Owner/Tools": 30},
            [
                (
                    "no webhook for 24.1 h: the last came at 2026-11-19 11:54 UTC; LINE 1 (server)"
                    " expects one within 24 h"
                )
            ],
        ),
        (
            {"": 1, "other/x": 1, "unlisted/x": 1},
            [
                (
                    f"no webhook of owner/repo {NEVER}; LINE 10 (repositories[0]) expects one"
                    " within 0.5 h"
                ),
                f"no webhook of owner/* {NEVER}; LINE 12 (repositories[1]) expects one within 72 h",
            ],
        ),
    ],
    ids=["overdue", "never"],
)
def test_expected_webhooks_of_the_server_and_of_each_entry_are_overdue(
    tmp_path: Path, received_h: dict[str, float], overdue: list[str]
) -> None:
    settings = load(tmp_path, FILE)
    received_at = {name: NOON - timedelta(hours=hours) for name, hours in received_h.items()}
    since = NOON - timedelta(hours=100)
    messages = find_overdue(settings, RepositoryTable(settings), received_at, since=since, now=NOON)
    shown = [
        one.replace(f"{tmp_path}/settings.yaml:", "LINE ").replace(".expect_webhook_within_h)", ")")
        for one in messages
    ]
    assert shown == overdue


# The lines about GitHub and Claude at the start


MISSING = "labels and comments on issues: needs issues: write"


def make_health(**identity: object) -> Health:
    health = Health(lambda: NOON)
    health.probe_ok("github")
    health.set_metrics("github", {"identity": {"login": "hls-bot", **identity}})
    health.probe_ok("claude")
    health.set_metrics("claude", {"model": "claude-haiku-5-5", "model_lifecycle": "active"})
    return health


def report(health: Health, *, on_terminal: bool = True) -> list[str]:
    shown: list[str] = []
    connections = ConnectionReport(health)
    connections.show = shown.append if on_terminal else None
    connections.report()
    connections.report()  # reports nothing twice
    return shown


def test_account_and_model_are_shown_on_a_terminal_and_logged_elsewhere(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    assert report(make_health()) == [
        "GitHub:    acts as hls-bot, no missing permission is known",
        "Claude:    claude-haiku-5-5, the key works",
    ]
    assert caplog.records == []
    report(make_health(), on_terminal=False)
    github, claude = caplog.records
    assert (github.message, github.__dict__["account"]) == (
        "GitHub accepts the credentials",
        "hls-bot",
    )
    assert (claude.message, claude.__dict__["model"]) == (
        "Claude accepts the key",
        "claude-haiku-5-5",
    )


def test_rejected_credential_and_missing_permissions_are_warnings(
    caplog: pytest.LogCaptureFixture,
) -> None:
    health = make_health()
    health.report_problem(
        "github", "GitHub rejected the token (401)", "create a new token", by_probe=True
    )
    assert len(report(health)) == 1
    report(make_health(missing_permissions=[MISSING]))
    report(make_health(installations=[{"account": "octo-org", "missing_permissions": [MISSING]}]))
    rejected, *missing = [
        record.__dict__ for record in caplog.records if record.levelname == "WARNING"
    ]
    assert (rejected["message"], rejected["why"], rejected["remedy"]) == (
        "degraded",
        "GitHub rejected the token (401)",
        "create a new token",
    )
    assert [(one["message"], one["missing"]) for one in missing] == [
        ("permissions are missing on GitHub", [MISSING]),
        ("permissions are missing on GitHub", [f"{MISSING} (installation on octo-org)"]),
    ]


def test_changed_credential_is_reported_again_when_its_state_is_known() -> None:
    health, shown = make_health(), list[str]()
    connections = ConnectionReport(health)
    connections.show = shown.append
    connections.report()
    health.forget("github")
    connections.forget("github")
    connections.report()
    assert len(shown) == 2
    health.probe_ok("github")
    connections.report()
    assert shown[2:] == ["GitHub:    acts as hls-bot, no missing permission is known"]
