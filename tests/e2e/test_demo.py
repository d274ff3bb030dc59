"""The demo as a process: its output, a demo beside another, and a demo whose service was killed."""

from __future__ import annotations

import json
import os
import re
import signal
import stat
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from hls_handler.db.files import hold_exclusively
from tests.e2e.conftest import violations
from tests.e2e.fork_server import run_command
from tests.e2e.service import ROOT, free_port
from tests.github_fake.server import Sandbox


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder in which a demo can run."""
    (tmp_path / "prompts").symlink_to(ROOT / "prompts")
    (tmp_path / "data" / "demo").mkdir(parents=True)
    return tmp_path


def test_the_demo_restarts_a_killed_service_processes_its_events_and_exits_with_0(
    folder: Path,
) -> None:
    port = free_port()
    command = [sys.executable, "-m", "tests.github_fake", "demo", "--port", str(port)]
    narrow = {name: value for name, value in os.environ.items() if name != "COLUMNS"}
    environ = narrow | {"PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}
    said: list[str] = []
    with subprocess.Popen(
        command, cwd=folder, env=environ, stdout=subprocess.PIPE, text=True
    ) as demo:
        try:
            assert demo.stdout is not None
            for line in demo.stdout:
                said.append(line.rstrip("\n"))
                if line.startswith(" 2 "):
                    service = int(
                        Path(f"/proc/{demo.pid}/task/{demo.pid}/children").read_text().split()[0]
                    )
                    os.kill(service, signal.SIGKILL)
                if line.endswith("Ctrl-C ends the demo.\n"):
                    break
            assert said[-1].endswith("Ctrl-C ends the demo."), said
            page_url = said[-1].split()[1]
            assert page_url == f"http://127.0.0.1:{port}/"
            with urllib.request.urlopen(f"{page_url}_sandbox/requests", timeout=30) as answer:
                requests = json.load(answer)
            issue = {
                "repository": "Codertocat/Hello-World",
                "author": "octocat",
                "title": "A crash",
            }
            write = urllib.request.Request(
                f"{page_url}_sandbox/issues",
                json.dumps({**issue, "body": "It fails."}).encode(),
                {"Content-Type": "application/json"},
            )
            urllib.request.urlopen(write, timeout=30).close()
            assert demo.stdout.readline().startswith("17 issues.opened ")
            demo.send_signal(signal.SIGINT)
            said += demo.stdout.read().splitlines()
            assert demo.wait(timeout=60) == 0, said
        finally:
            demo.kill()
    settings = (folder / "data" / "demo" / "settings.yaml").read_text()
    assert f"port: {port + 1}" in settings
    (restarted,) = [
        line for line in said if "the service was killed by signal 9; it was started again" in line
    ]
    lines = [line for line in said if line != restarted]
    hint = "hls init` connects it with GitHub and Claude, and writes settings."
    assert lines.pop(0).endswith(hint)
    assert lines[0] == f"Demo (stand-ins for GitHub and Claude, canned replies): {page_url}"
    assert lines[4] == f" 4 issues.edited                 +1 -1 labels         {page_url}11"
    assert lines[6] == f" 6 pull_request.edited           Claude not asked     {page_url}13"
    (opened,) = [line for line in lines if " pull_request.opened " in line]
    assert " labels, review " in opened
    assert [line[:2] for line in lines[1:17]] == [f"{number:>2}" for number in range(1, 17)]
    assert lines[17].startswith("16 done: ")
    # not wrapped, so that it can be copied
    (sends,) = [line for line in lines if line.startswith("Send ")]
    assert re.search(
        r" (hls|/\S+/bin/hls) send demo/question -c data/demo/settings.yaml$", sends.rstrip()
    )
    # the others have the path of this environment
    assert all(len(line) <= 80 for line in (*lines[:18], lines[21]))
    assert len(lines) == 24  # the last one is about Ctrl-C
    assert "\x1b" not in "".join(said)
    assert {request["stand_in"] for request in requests} == {"github", "claude"}
    assert violations(requests) == []
    statuses = [request["body"] for request in requests if "/statuses/" in request["path"]]
    of_critical = ("failure", "7 open findings, 2 critical; 6 of 6 files reviewed")
    assert of_critical in [(status["state"], status["description"]) for status in statuses]


def run_real_demo(
    folder: Path, api: Sandbox, key: str, *options: str
) -> subprocess.CompletedProcess[str]:
    port = ["--port", f"{free_port()}"]
    command = [
        "demo",
        "--once",
        "--claude",
        "real",
        "--claude-url",
        api.claude_url,
        *port,
        *options,
    ]
    environ = {**os.environ, "COLUMNS": "200", "ANTHROPIC_API_KEY": key}
    return run_command(command, environ=environ, folder=folder)


def test_the_demo_asks_the_real_api_within_its_limit_and_stores_no_key(folder: Path) -> None:
    with Sandbox(api_key="a-key-of-the-api") as api:
        ended = run_real_demo(folder, api, "a-key-of-the-api", "--max-usd", "0.003")
        asked = [one.path for one in api.requests.all("claude")]
    lines = ended.stdout.splitlines()
    assert lines[1].startswith("Demo (stand-in for GitHub, the real Claude for at most $0.0030)")
    assert "a budget allows no further call: 0.0030 USD a month" in ended.stdout
    total = re.search(r", (\d+) calls to Claude, \$(\S+) at list price", lines[-1])
    assert total is not None
    assert asked.count("/v1/messages") == int(total[1])
    assert float(total[2]) <= 0.003
    settings = (folder / "data" / "demo" / "settings.yaml").read_text()
    assert '"api_key": "${ANTHROPIC_API_KEY}"' in settings


def test_the_demo_ends_before_its_first_event_if_the_key_is_wrong(folder: Path) -> None:
    with Sandbox(api_key="a-key-of-the-api") as api:
        ended = run_real_demo(folder, api, "another-key")
    assert ended.returncode == 2
    assert "set claude.api_key to a valid key" in ended.stdout
    assert "issues.opened" not in ended.stdout


def test_only_this_account_can_read_the_settings_of_the_demo(folder: Path) -> None:
    settings = folder / "data" / "demo" / "settings.yaml"
    settings.touch(0o644)
    with Sandbox(api_key="a-key-of-the-api") as api:
        run_real_demo(folder, api, "another-key")
    assert "webhook_secret: " in settings.read_text()
    assert stat.S_IMODE(settings.stat().st_mode) == 0o600


def test_a_limit_of_the_demo_without_the_real_claude_is_an_error(folder: Path) -> None:
    ended = run_command(["demo", "--max-usd", "1"], environ={**os.environ}, folder=folder)
    assert ended.returncode == 2
    assert "add --claude real" in ended.stderr


def test_a_second_demo_does_not_change_files_of_the_running_one(folder: Path) -> None:
    settings = folder / "data" / "demo" / "settings.yaml"
    settings.write_text("those of the running demo")
    with hold_exclusively(f"sqlite:///{folder}/data/demo/hls.db"):
        ended = run_command(["demo"], environ={**os.environ, "COLUMNS": "200"}, folder=folder)
    assert ended.returncode == 2
    assert (
        f"the demo cannot run: the database sqlite:///{folder}/data/demo/hls.db is locked"
        in ended.stdout
    )
    assert f"(process {os.getpid()})" in ended.stdout
    assert settings.read_text() == "those of the running demo"
