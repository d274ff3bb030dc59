"""What comes of it when Claude does all that attackers say: nothing but labels of ours and harmless comments."""

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
from tests.redteam.attacks import REPLY, attacks
from tests.redteam.obedient import Obedient
from tests.redteam.rules import broken_rules
from tests.redteam.scenes import SCENES, Scene
from tests.redteam.siege import API_KEY, SECRETS, TOKEN, lay_siege


@pytest.fixture
def log() -> Iterator[io.StringIO]:
    """All that is logged, as settings are by themselves."""
    root = logging.getLogger()
    handlers, level, end_of_a_thread = list(root.handlers), root.level, threading.excepthook
    stream = io.StringIO()
    logs.configure("INFO", "json", stream, SECRETS)
    yield stream
    threading.excepthook = end_of_a_thread
    logging.captureWarnings(capture=False)
    root.handlers[:] = handlers
    root.setLevel(level)


@pytest.mark.parametrize("scene", SCENES, ids=lambda scene: scene.name)
def test_rule_22_nothing_outside_of_the_rules_comes_out(
    scene: Scene, library: Library, tmp_path: Path, log: io.StringIO
) -> None:
    with Sandbox(token=TOKEN, api_key=API_KEY, answer=Obedient((TOKEN, API_KEY))) as sandbox:
        run = lay_siege(scene, sandbox=sandbox, library=library, url=f"sqlite:///{tmp_path}/hls.db", log=log)
        assert broken_rules(run) == {}


def test_there_are_enough_attacks_and_each_is_made_somewhere() -> None:
    table = attacks()
    assert sum(map(len, table.values())) >= 150
    assert set(table) - {REPLY} == {place for scene in SCENES for place in scene.places}
    every = [attack for attacks in table.values() for attack in attacks]
    assert len({(attack.place, attack.text) for attack in every}) == len(every)
