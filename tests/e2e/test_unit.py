"""The unit for systemd: what it promises, and the command in it, run as it stands there but for its places."""

from __future__ import annotations

import json
import shlex
import signal
import subprocess
import sys
from pathlib import Path

from hls_handler.queue.group_commit import _CLOSE_TIMEOUT_S
from hls_handler.settings.model import Limits
from hls_handler.storage import Storage
from tests.e2e.conftest import MakeService
from tests.e2e.service import ROOT

UNIT = ROOT / "deploy" / "hls.service"
CHECKOUT, SETTINGS = "/opt/hls", "/etc/hls/settings.yaml"
HLS = Path(sys.executable).with_name("hls")
OPERATING = ROOT / "docs" / "operating.md"


def unit() -> dict[str, list[str]]:
    """Each key with its values, in order; of all sections, since no key stands in two."""
    said: dict[str, list[str]] = {}
    for line in UNIT.read_text().splitlines():
        if line and line[0] not in "#[":
            key, _, value = line.partition("=")
            said.setdefault(key, []).append(value)
    return said


def test_settings_that_cannot_be_used_are_not_tried_again_and_everything_else_is() -> None:
    said = unit()
    assert (said["Restart"], said["RestartPreventExitStatus"], said["StartLimitIntervalSec"]) == (
        ["on-failure"],
        ["2"],
        ["0"],
    )


def test_the_service_is_given_the_time_that_it_takes_to_end() -> None:
    assert float(unit()["TimeoutStopSec"][0]) >= Limits().shutdown_s + _CLOSE_TIMEOUT_S + 10


def test_the_service_has_a_user_of_its_own_and_may_write_its_database_only() -> None:
    said = unit()
    assert {key: said[key] for key in ("User", "ProtectSystem", "ProtectHome", "NoNewPrivileges")} == {
        "User": ["hls"],
        "ProtectSystem": ["strict"],
        "ProtectHome": ["yes"],
        "NoNewPrivileges": ["yes"],
    }
    assert (said["StateDirectory"], said["UMask"]) == (["hls"], ["0077"])
    assert not {"ReadWritePaths", "BindPaths", "BindReadOnlyPaths"} & said.keys()


def test_secrets_are_in_a_file_that_the_unit_names_and_not_in_the_unit() -> None:
    said = unit()
    assert said["EnvironmentFile"] == ["/etc/hls/environment"]
    assert said["Environment"] == ["PYTHONDONTWRITEBYTECODE=1"]


def test_its_command_serves_and_ends_well_at_the_signal_of_systemd(make_service: MakeService) -> None:
    service = make_service()
    (said,) = unit()["ExecStart"]
    command = shlex.split(said)
    assert [command[0], command[-1]] == [f"{CHECKOUT}/.venv/bin/hls", SETTINGS]
    command[0], command[-1] = str(Path(sys.executable).parent / "hls"), str(service.settings)
    environ = {"PYTHONPATH": str(ROOT)}
    with subprocess.Popen(command, cwd=ROOT, env=environ, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        first = json.loads(process.stderr.readline())
        process.send_signal(signal.SIGTERM)  # however early it comes
        try:
            code = process.wait(timeout=30)
        finally:
            process.kill()
    assert (first["message"], code) == ("serving", 0)


def test_the_line_for_cron_makes_a_copy_with_the_variables_of_the_service(tmp_path: Path) -> None:
    """Run as it stands there but for its places and its user, in an environment as bare as cron's."""
    line = next(line for line in OPERATING.read_text().splitlines() if line.startswith("15 3 * * * root "))
    lib, etc = tmp_path / "lib", tmp_path / "etc"
    for folder in (lib / "backups", etc):
        folder.mkdir(parents=True)
    (etc / "environment").write_text("GITHUB_TOKEN=t\nGITHUB_WEBHOOK_SECRET=0123456789abcdef\nANTHROPIC_API_KEY=k\n")
    url = f"sqlite:///{lib}/hls.db"
    Storage.open(url).close()
    own = (ROOT / "config" / "settings.yaml").read_text()
    preset = '# url: "sqlite:///data/hls.db"'
    assert preset in own
    (etc / "settings.yaml").write_text(own.replace(preset, f'url: "{url}"'))
    command = line.removeprefix("15 3 * * * root ").replace("\\%", "%").replace("runuser -u hls -- ", "")
    for there, here in ((CHECKOUT, ROOT), ("/etc/hls", etc), ("/var/lib/hls", lib), (".venv/bin/hls", HLS)):
        assert there in command
        command = command.replace(there, str(here))
    ended = subprocess.run(["/bin/sh", "-c", command], env={"PATH": "/usr/bin:/bin"}, capture_output=True, text=True)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert len(list((lib / "backups").glob("hls-20*.db"))) == 1
