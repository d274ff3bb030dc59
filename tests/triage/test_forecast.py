"""The forecast of a run, compared with what the sandbox's Claude charges."""

from __future__ import annotations

import time
from contextlib import closing
from datetime import UTC, datetime
from typing import Any

import pytest
from pydantic import SecretStr

from hls_handler.claude.providers import Providers
from hls_handler.sandbox.server import Sandbox
from hls_handler.triage.plan import Forecast
from tests.triage.backlog import Backlog

TEXTS = (
    "The importer crashes with a traceback every night, after an hour of work. ",
    "A typo in the README. ",
    "Please add a dark mode to the settings page, as the browser has one. ",
)


@pytest.mark.parametrize("issues", [5, pytest.param(30, marks=pytest.mark.full)])
def test_forecast_is_within_a_fifth_of_what_is_paid(backlog: Backlog, issues: int) -> None:
    world: Any = backlog.home.world
    for number in range(100, 100 + issues):
        text = TEXTS[number % 3] * (1 + number % 7)
        backlog.add_issue(number, title=text[:60], body=text)
    with Sandbox() as sandbox:
        access = {"api_key": SecretStr(sandbox.api_key), "base_url": sandbox.claude_url}
        claude = world.settings.claude.model_copy(update=access)
        world.settings = world.settings.model_copy(update={"claude": claude})
        connected = Providers(claude, clock=time.monotonic, now=lambda: datetime.now(UTC))
        with closing(connected):
            world.claude = connected
            forecast = backlog.plan(limit=issues).forecast
            paid = backlog.run(limit=issues)
    assert forecast.calls == issues
    assert forecast.typical_usd == pytest.approx(paid.cost_usd, rel=0.2)
    assert forecast.max_usd > paid.cost_usd


def test_nothing_to_process_costs_nothing(backlog: Backlog) -> None:
    backlog.run()
    assert backlog.plan().forecast == Forecast(0, 0, 0, None, 0.0, 0.0)
