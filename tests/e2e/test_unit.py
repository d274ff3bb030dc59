"""The systemd unit: its settings, and its command with other paths."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from pathlib import Path

from hls_handler.queue.group_commit import _CLOSE_TIMEOUT_S
from hls_handler.settings.model import Limits
from hls_handler.store.storage import Storage
from tests.e2e.conftest import MakeService
from tests.e2e.fork_server import start_module
from tests.e2e.service import ROOT, wait_until

UNIT = ROOT / "deploy" / "hls.service"
CHECKOUT, SETTINGS = "/opt/hls", "/etc/hls/settings.yaml"
HLS = Path(sys.executable).with_name("hls")
RUNNING = ROOT / "docs" / "running.md"


def unit() -> dict[str, list[str]]:
    """Return the values of each key of all sections; no key is in two sections."""
    said: dict[str, list[str]] = {}
    for line in UNIT.read_text().splitlines():
        if line and line[0] not in "#[":
            key, _, value = line.partition("=")
            said.setdefault(key, []).append(value)
    return said


def test_unit_restarts_the_service_except_after_a_settings_error_and_restricts_it() -> None:
    said = unit()
    expected = {
        "Restart": "on-failure",
        "RestartPreventExitStatus": "2",
        "StartLimitIntervalSec": "0",
        "User": "hls",
        "ProtectSystem": "strict",
        "ProtectHome": "yes",
        "NoNewPrivileges": "yes",
        "LimitCORE": "0",
        "StateDirectory": "hls",
        "UMask": "0077",
        "EnvironmentFile": "/etc/hls/environment",  # and no secret in the unit
        "Environment": "PYTHONDONTWRITEBYTECODE=1",
    }
    assert {key: said[key] for key in expected} == {key: [value] for key, value in expected.items()}
    assert not {"ReadWritePaths", "BindPaths", "BindReadOnlyPaths"} & said.keys()
    assert float(said["TimeoutStopSec"][0]) >= Limits().shutdown_s + _CLOSE_TIMEOUT_S + 10


def test_the_command_of_the_unit_serves_and_stops_at_sigterm(
    make_service: MakeService, tmp_path: Path
) -> None:
    (said,) = unit()["ExecStart"]
    command, *arguments = shlex.split(said)
    assert [command, arguments[-1]] == [f"{CHECKOUT}/.venv/bin/hls", SETTINGS]
    arguments[-1] = str(make_service().settings)
    log = tmp_path / "unit.log"
    process = start_module("hls_handler", arguments, environ={}, log=log)
    wait_until(lambda: log.exists() and "\n" in log.read_text())
    process.terminate()  # however early it comes
    code = process.wait()
    first, *_, last = map(json.loads, log.read_text().splitlines())
    assert (first["message"], last["message"], code) == ("serving", "stopped", 0)
    assert first["console"] == first["health"].removesuffix("health")


def test_the_cron_line_makes_a_backup_with_the_variables_of_the_service(tmp_path: Path) -> None:
    """Run the line with other paths and without its user, with the few variables that cron sets."""
    line = next(
        line for line in RUNNING.read_text().splitlines() if line.startswith("15 3 * * * root ")
    )
    lib, etc = tmp_path / "lib", tmp_path / "etc"
    for folder in (lib / "backups", etc):
        folder.mkdir(parents=True)
    (etc / "environment").write_text(
        "GITHUB_TOKEN=t\nGITHUB_WEBHOOK_SECRET=0123456789abcdef\nANTHROPIC_API_KEY=k\n"
    )
    url = f"sqlite:///{lib}/hls.db"
    Storage.open(url).close()
    own = (ROOT / "config" / "settings.example.yaml").read_text()
    preset = '# url: "sqlite:///data/hls.db"'
    assert preset in own
    (etc / "settings.yaml").write_text(own.replace(preset, f'url: "{url}"'))
    command = (
        line.removeprefix("15 3 * * * root ").replace("\\%", "%").replace("runuser -u hls -- ", "")
    )
    for there, here in (
        (CHECKOUT, ROOT),
        ("/etc/hls", etc),
        ("/var/lib/hls", lib),
        (".venv/bin/hls", HLS),
    ):
        assert there in command
        command = command.replace(there, str(here))
    ended = subprocess.run(
        ["/bin/sh", "-c", command], env={"PATH": "/usr/bin:/bin"}, capture_output=True, text=True
    )
    assert (ended.returncode, ended.stderr) == (0, "")
    assert len(list((lib / "backups").glob("hls-20*.db"))) == 1
