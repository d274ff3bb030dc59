"""The lines about GitHub and Claude at the start."""

from __future__ import annotations

import logging

import pytest

from hls_handler.background.connections import ConnectionReport
from hls_handler.engine.health import Health
from tests.engine.world import NOON

MISSING = "labels and comments on issues: needs issues: write"


def make_health(**identity: object) -> Health:
    health = Health(lambda: NOON)
    health.probe_ok("github")
    health.set_metrics("github", {"identity": {"login": "hls-bot", **identity}})
    health.probe_ok("claude")
    health.set_metrics("claude", {"model": "claude-haiku-5-5", "model_lifecycle": "active"})
    return health


def report(health: Health, *, on_terminal: bool) -> list[str]:
    shown: list[str] = []
    connections = ConnectionReport(health)
    connections.show = shown.append if on_terminal else None
    connections.report()
    connections.report()  # reports nothing twice
    return shown


def test_account_and_model_are_shown_on_a_terminal(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    assert report(make_health(), on_terminal=True) == [
        "GitHub:    acts as hls-bot, no missing permission is known",
        "Claude:    claude-haiku-5-5, the key works",
    ]
    assert caplog.records == []


def test_account_and_model_are_logged_elsewhere(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    report(make_health(), on_terminal=False)
    github, claude = caplog.records
    assert (github.message, github.__dict__["account"]) == ("GitHub accepts the credentials", "hls-bot")
    assert (claude.message, claude.__dict__["model"]) == ("Claude accepts the key", "claude-haiku-5-5")


@pytest.mark.parametrize("on_terminal", [True, False])
def test_rejected_credential_is_a_warning(caplog: pytest.LogCaptureFixture, on_terminal: bool) -> None:
    health = make_health()
    health.report_problem("github", "GitHub rejected the token (401)", "create a new token", by_probe=True)
    shown = report(health, on_terminal=on_terminal)
    (warning,) = (record for record in caplog.records if record.levelname == "WARNING")
    assert (warning.message, warning.__dict__["why"], warning.__dict__["remedy"]) == (
        "GitHub cannot be used",
        "GitHub rejected the token (401)",
        "create a new token",
    )
    assert len(shown) == (1 if on_terminal else 0)


@pytest.mark.parametrize(
    ("identity", "missing"),
    [
        ({"missing_permissions": [MISSING]}, [MISSING]),
        (
            {"installations": [{"account": "octo-org", "missing_permissions": [MISSING]}]},
            [f"{MISSING} (installation on octo-org)"],
        ),
    ],
    ids=["token", "App"],
)
def test_missing_permissions_are_a_warning(
    caplog: pytest.LogCaptureFixture, identity: dict[str, object], missing: list[str]
) -> None:
    report(make_health(**identity), on_terminal=True)
    (warning,) = caplog.records
    assert (warning.message, warning.__dict__["missing"]) == ("permissions are missing on GitHub", missing)


def test_service_without_models_is_reported_as_not_checked() -> None:
    health = make_health()
    health.set_metrics("claude", {"model": "llama-9", "model_lifecycle": "unlisted"})
    assert report(health, on_terminal=True)[1] == (
        "Claude:    llama-9, key and model not checked: the service lists no models"
    )


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
