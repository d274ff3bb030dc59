"""The demo and the sandbox: reasons not to start, and links that lead to the sandbox."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import SecretStr
from typer.testing import CliRunner

from hls_handler import shipped
from hls_handler.cli import app
from hls_handler.cli.demo import require_claude_access
from hls_handler.cli.send import with_sandbox_links
from hls_handler.errors import DependencyDown
from hls_handler.prompting import recorded
from hls_handler.sandbox.server import Sandbox
from hls_handler.settings.model import Claude
from tests.sandbox.conftest import ask
from tests.settings.files import SMALLEST, load

KEY = "claude-key-marker-3"
REAL = Claude(api_key=SecretStr(KEY))


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Current directory without credentials and settings."""
    monkeypatch.chdir(tmp_path)
    for variable in ("HLS_CONFIG", "GITHUB_TOKEN", "GITHUB_WEBHOOK_SECRET", "ANTHROPIC_API_KEY"):
        monkeypatch.delenv(variable, raising=False)
    return tmp_path


@pytest.mark.parametrize("settings", [None, SMALLEST], ids=["no settings", "settings"])
def test_a_missing_key_is_reported_with_the_place_to_set_it(folder: Path, settings: str | None) -> None:
    if settings is not None:
        (folder / "config").mkdir()
        (folder / "config" / "settings.yaml").write_text(settings)
    result = CliRunner().invoke(app, ["demo", "--once", "--claude", "real"])
    where = f"{folder}/config/settings.yaml:5" if settings else f"{shipped.SETTINGS}:38"
    unset = f"ANTHROPIC_API_KEY is not set; set it in the environment or in {folder}/.env"
    assert (result.exit_code, result.stdout, result.stderr) == (
        2,
        "",
        f"{where} (claude.api_key): {unset}, or omit --claude real\n",
    )
    assert not (folder / "data").exists()


def test_a_rejected_key_is_reported_before_the_demo_starts() -> None:
    with Sandbox() as sandbox:
        access = {"api_key": SecretStr(sandbox.api_key), "base_url": sandbox.claude_url}
        require_claude_access(REAL.model_copy(update=access))
        require_claude_access(REAL.model_copy(update=access | {"model": "a-model-of-another-provider"}))
        with pytest.raises(DependencyDown, match="Claude answered 401"):
            require_claude_access(REAL.model_copy(update={"base_url": sandbox.claude_url}))


def test_links_of_a_sent_payload_lead_to_the_sandbox(tmp_path: Path) -> None:
    body = recorded.load("demo/lint-failed").body
    settings = load(tmp_path, SMALLEST)
    assert with_sandbox_links(settings, body) == body
    local = settings.model_copy(
        update={"github": settings.github.model_copy(update={"base_url": "http://127.0.0.1:9000/api/v3"})}
    )
    sent = json.loads(with_sandbox_links(local, body))
    assert sent["workflow_run"]["html_url"] == ("http://127.0.0.1:9000/Codertocat/Hello-World/actions/runs/19041222728")
    assert sent["repository"]["url"] == "http://127.0.0.1:9000/api/v3/repos/Codertocat/Hello-World"


def test_sandbox_begins_with_opened_issues_and_prints_commands_of_this_installation(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "hls_handler", "sandbox", "--port", "0"]
    environ = {"PATH": "/usr/bin:/bin", "PYTHONPATH": str(Path.cwd()), "PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(command, cwd=tmp_path, env=environ, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        lines = [process.stdout.readline() for _ in range(5)]
        page = ask(lines[0].split()[1], "GET", "/11").headers["location"]
        text = ask(lines[0].split()[1], "GET", page).text
        process.kill()
    program = Path(sys.executable).with_name("hls")
    assert lines[3].startswith(f"Try:    {program} init --github-url ")
    assert lines[4].endswith(f"(other names: {program} send --list)\n")
    assert "changed the title" not in text
    assert "issuecomment" not in text
