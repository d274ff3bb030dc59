"""Concurrent demos, and demos whose service was killed."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from hls_handler.cli.service_process import ServiceProcess
from hls_handler.db.files import hold_exclusively
from hls_handler.errors import StoreUnavailable
from hls_handler.settings.load import load_settings
from tests.e2e.conftest import MakeService
from tests.e2e.service import ROOT, Waiting

COMMAND = [sys.executable, "-m", "hls_handler", "demo"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder in which a demo can run."""
    (tmp_path / "prompts").symlink_to(ROOT / "prompts")
    (tmp_path / "data" / "demo").mkdir(parents=True)
    return tmp_path


def narrow() -> dict[str, str]:
    """Return an environment without the width of the terminal."""
    known = {name: value for name, value in os.environ.items() if name != "COLUMNS"}
    return known | {"PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}


@pytest.mark.parametrize("option", [[], ["--fresh"]], ids=["as it is", "fresh"])
def test_a_second_demo_does_not_change_files_of_the_running_one(folder: Path, option: list[str]) -> None:
    settings = folder / "data" / "demo" / "settings.yaml"
    settings.write_text("those of the running demo")
    with hold_exclusively(f"sqlite:///{folder}/data/demo/hls.db"):
        ended = subprocess.run([*COMMAND, *option], cwd=folder, env=narrow(), capture_output=True, text=True)
    assert ended.returncode == 2
    assert f"the demo cannot run: the database sqlite:///{folder}/data/demo/hls.db is locked" in ended.stdout
    assert f"(process {os.getpid()})" in ended.stdout
    assert settings.read_text() == "those of the running demo"


@pytest.fixture
def demo(folder: Path) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(COMMAND, cwd=folder, env=narrow(), stdout=subprocess.PIPE, text=True) as process:
        yield process
        process.kill()


def test_the_demo_does_not_wrap_commands_and_its_service_stops_with_it(
    demo: subprocess.Popen[str], folder: Path
) -> None:
    assert demo.stdout is not None
    said = []
    for line in demo.stdout:
        said.append(line)
        if "Ctrl-C ends the demo" in line:
            break
    bin_ = Path(sys.executable).parent
    (sends,) = [line for line in said if line.startswith("Send ")]
    assert re.search(rf" (hls|{bin_}/hls) send demo/question -c data/demo/settings.yaml$", sends.rstrip())
    demo.kill()
    assert is_free(f"sqlite:///{folder}/data/demo/hls.db")


def is_free(url: str) -> bool:
    """Return whether the database is unlocked within 20 s."""
    waiting = Waiting(20)
    while waiting.more():
        try:
            with hold_exclusively(url):
                return True
        except StoreUnavailable:
            continue
    return False


def test_last_words_contain_only_output_of_the_current_run(make_service: MakeService, tmp_path: Path) -> None:
    made = make_service()
    settings = load_settings(made.settings, {}, dotenv=None)
    log = tmp_path / "service.log"
    log.write_text("the words of an earlier run\n")
    with closing(ServiceProcess(tmp_path / "gone.yaml", settings, log=log)) as service:
        assert not service.wait_until_up()
        assert (
            service.last_log_lines()
            == f"{tmp_path}/gone.yaml: there is no such file; name another with --config or HLS_CONFIG"
        )


def test_two_concurrent_demos_use_different_ports(tmp_path: Path) -> None:
    folders = [tmp_path / "one", tmp_path / "two"]
    with ExitStack() as stack:
        demos = []
        for folder in folders:
            folder.mkdir()
            (folder / "prompts").symlink_to(ROOT / "prompts")
            demo = subprocess.Popen(COMMAND, cwd=folder, env=narrow(), stdout=subprocess.PIPE, text=True)
            demos.append(stack.enter_context(demo))
            stack.callback(demo.kill)
        for demo in demos:
            assert demo.stdout is not None
            assert any(line.startswith(" 1 ") for line in demo.stdout), "the demo ended before its first event"
        assert [demo.poll() for demo in demos] == [None, None]
    ports = [(folder / "data" / "demo" / "settings.yaml").read_text().partition("port: ")[2][:5] for folder in folders]
    assert ports[0] != ports[1]


def test_a_killed_service_of_the_demo_is_restarted(folder: Path) -> None:
    output = ""
    with subprocess.Popen([*COMMAND, "--once"], cwd=folder, env=narrow(), stdout=subprocess.PIPE, text=True) as demo:
        assert demo.stdout is not None
        for line in demo.stdout:
            output += line
            if line.startswith(" 2 "):
                service = int(Path(f"/proc/{demo.pid}/task/{demo.pid}/children").read_text().split()[0])
                os.kill(service, signal.SIGKILL)
    assert demo.returncode == 0, output
    assert "the service was killed by signal 9; it was started again" in output
