"""If Claude obeys every attack, the result is still only shipped labels and harmless comments."""

from __future__ import annotations

import io
import logging
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from hls_handler import logs
from hls_handler.prompting.prompt import Library
from hls_handler.sandbox.server import Sandbox
from tests.redteam.adversarial_claude import AdversarialClaude
from tests.redteam.attack_run import API_KEY, SECRETS, TOKEN, run_attacks
from tests.redteam.attacks import REPLY, attacks
from tests.redteam.rules import find_violations
from tests.redteam.scenarios import SCENARIOS, Scenario


@pytest.fixture
def log() -> Iterator[io.StringIO]:
    """Everything that is logged with the default settings."""
    root = logging.getLogger()
    handlers, level, excepthook = list(root.handlers), root.level, threading.excepthook
    stream = io.StringIO()
    logs.configure("INFO", "json", stream, SECRETS)
    yield stream
    threading.excepthook = excepthook
    logging.captureWarnings(capture=False)
    root.handlers[:] = handlers
    root.setLevel(level)


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.name)
def test_rule_22_no_attack_violates_a_security_rule(
    scenario: Scenario, library: Library, tmp_path: Path, log: io.StringIO
) -> None:
    with Sandbox(token=TOKEN, api_key=API_KEY, answer=AdversarialClaude((TOKEN, API_KEY))) as sandbox:
        run = run_attacks(scenario, sandbox=sandbox, library=library, url=f"sqlite:///{tmp_path}/hls.db", log=log)
        assert find_violations(run) == {}


def test_there_are_at_least_150_attacks_and_each_place_has_a_scenario() -> None:
    table = attacks()
    assert sum(map(len, table.values())) >= 150
    assert set(table) - {REPLY} == {place for scenario in SCENARIOS for place in scenario.places}
    every = [attack for attacks in table.values() for attack in attacks]
    assert len({(attack.place, attack.text) for attack in every}) == len(every)
