"""The watcher of a service: what it does with changed files in one round."""

from __future__ import annotations

import os
import threading
from datetime import timedelta
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from hls_handler.app import Service
from hls_handler.logs import LogRing
from hls_handler.prompting.prompt import Library
from hls_handler.settings.model import Settings
from hls_handler.settings.reload import SettingsFile
from tests.engine.world import library
from tests.prompting.samples import write
from tests.queue.builders import begin, row_of
from tests.settings.files import SMALLEST, VARIABLES

TIMEOUT_S = 30.0
UNREACHABLE = SMALLEST.replace("github:\n", "github:\n  base_url: http://127.0.0.1:9\n").replace(
    "claude:\n", "claude:\n  base_url: http://127.0.0.1:9\n"
)


@pytest.mark.usefixtures("logging_as_before")
def test_slow_prompts_do_not_delay_what_changed_settings_make_due(tmp_path: Path) -> None:
    """The settings and a prompt change before the first round."""
    reads: list[bool] = []
    is_read = threading.Event()

    def load(_: Settings) -> Library:
        if (prompts / "changed.j2").exists():
            reads.append(row_of(service.store, "waiting").due_at < in_an_hour)
            is_read.set()
        return library()

    prompts = write(tmp_path / "prompts", {"base.j2": ""})
    more = f"prompts: {{directory: {prompts}}}\nstorage: {{url: 'sqlite:///{tmp_path}/hls.db'}}\n"
    path = tmp_path / "settings.yaml"
    path.write_text(UNREACHABLE + more)
    service = Service(SettingsFile(path, VARIABLES, dotenv=None), LogRing(), load=load)
    in_an_hour = service.store.now() + timedelta(hours=1)
    lease = begin(service.store, "waiting")
    service.store.queue.postpone(lease, at=in_an_hour, reason="waits for a slot")
    write(prompts, {"changed.j2": "Other words"})
    path.write_text(UNREACHABLE + more + "features: {drafts: true}\n")
    os.utime(path, (1_700_000_000,) * 2)  # a file that may still be written is not read
    with TestClient(service.web):
        assert is_read.wait(TIMEOUT_S)
    assert reads == [True]
