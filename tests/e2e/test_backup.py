"""A restored backup of the running service: later work is repeated without duplicates."""

from __future__ import annotations

import shutil
import signal
from pathlib import Path

from typer.testing import CliRunner

from hls_handler.cli import app
from tests.e2e.service import Service, Waiting
from tests.e2e.test_life import assert_each_done_once, deliver_issues
from tests.github_fake.faults import Fault
from tests.github_fake.server import Sandbox


def test_work_after_a_restored_backup_is_repeated_without_duplicates(
    service: Service, sandbox: Sandbox, tmp_path: Path
) -> None:
    def asked(sandbox: Sandbox) -> int:
        """Return the number of calls to Claude."""
        return sum(request.writes for request in sandbox.requests.all("claude"))

    sandbox.faults.add(
        Fault(effect="status", status=529, stand_in="claude", method="POST", times=None)
    )
    deliver_issues(service, sandbox, range(701, 705))
    waiting = Waiting(60)
    while not asked(sandbox) and waiting.more():
        pass
    made = CliRunner().invoke(
        app, ["backup", str(tmp_path / "copy.db"), "--config", str(service.settings)]
    )
    assert made.exit_code == 0, made.output
    sandbox.faults.clear()
    service.until_idle()
    assert_each_done_once(sandbox, range(701, 705))
    before = asked(sandbox)
    service.stop(signal.SIGKILL)
    for left in ("hls.db", "hls.db-wal", "hls.db-shm"):
        (tmp_path / left).unlink()
    shutil.copy(tmp_path / "copy.db", tmp_path / "hls.db")
    service.start()
    service.until_idle()
    assert_each_done_once(sandbox, range(701, 705))
    # the answers that came after the backup are forgotten, and paid for again
    assert asked(sandbox) == before + 4
    assert service.get("/stats").body["successful_processing"] == 4
    refused = CliRunner().invoke(
        app, ["backup", str(tmp_path / "copy.db"), "--config", str(service.settings)]
    )
    assert (refused.exit_code, "name another file" in refused.output) == (1, True)
