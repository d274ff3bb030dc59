"""Promises of the original descriptions: sample settings, `main:app`, another webhook path and other variables."""

from __future__ import annotations

import importlib
import os
import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from hls_handler.cli import app
from hls_handler.settings.load import load_settings
from hls_handler.settings.reference import Reference
from tests.e2e.fork_server import start_module
from tests.e2e.service import Service, free_port
from tests.settings.files import SAMPLE

VARIABLES = {
    "GITHUB_TOKEN": "ghp_xxxxxxxxxxxxxxxxxxxx",
    "GITHUB_WEBHOOK_SECRET": "your_webhook_secret",
    "ANTHROPIC_API_KEY": "sk-ant-xxxxxxxxxxxxxxxxxxxx",
}


def test_check_accepts_the_sample_settings_and_warns_of_the_retired_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "settings.yaml"
    file.write_text(SAMPLE)
    for name, value in VARIABLES.items():
        monkeypatch.setenv(name, value)
    result = CliRunner().invoke(app, ["check", "--offline", "--config", str(file)])
    assert result.exit_code == 0
    warnings = [line for line in result.stdout.splitlines() if "warning: " in line]
    assert warnings == [
        (
            f"warning: {file}:12 (claude.model): claude-3-5-sonnet-20241022 was retired on 2025-10-28; "
            "claude-sonnet-5-5 is used in its place"
        ),
        (
            f"warning: {file}:2 (server.host): anyone who reaches 0.0.0.0 can read /stats and /health, and the console "
            "is off; set server.api_key to require a key and to open the console"
        ),
    ]
    assert result.stdout.splitlines()[-1].startswith(f"{file}: settings and ")


def test_uvicorn_runs_main_app_and_receives_webhooks_at_both_paths(tmp_path: Path) -> None:
    port, file, log = free_port(), tmp_path / "settings.yaml", tmp_path / "log"
    file.write_text(SAMPLE + f'storage: {{url: "sqlite:///{tmp_path}/hls.db"}}\n')
    environ = {**os.environ, **VARIABLES, "HLS_CONFIG": str(file)}
    process = start_module("uvicorn", ["hls_handler.main:app", "--port", str(port)], environ=environ, log=log)
    service = Service(file, port, log, f"sqlite:///{tmp_path}/hls.db", process=process)
    try:
        service.until_up()
        assert (service.get("/health").status, service.get("/stats").status) == (200, 200)
        for path in ("/webhook", "/webhooks/github"):
            pong = service.deliver("ping", b'{"zen": "."}', secret=VARIABLES["GITHUB_WEBHOOK_SECRET"], path=path)
            assert (pong.status, pong.body["status"]) == (200, "pong")
            assert service.deliver("ping", b"{}", secret="the-secret-of-others", path=path).status == 401
    finally:
        process.terminate()
        process.wait(timeout=40)


def test_importing_main_does_not_start_the_service() -> None:
    assert "app" not in vars(importlib.import_module("hls_handler.main"))


def variable_rows() -> list[tuple[str, str]]:
    text = Path("docs/settings.md").read_text(encoding="utf-8")
    table = text.partition("## Environment variables of older programs")[2].partition("\n## ")[0]
    return re.findall(r"^\| (`.+`) \| (.+) \|$", table, re.MULTILINE)


def test_every_setting_in_the_table_of_older_variables_exists() -> None:
    keys = [key for _, ours in variable_rows() for key in re.findall(r"`([a-z_]+(?:\.[a-z_]+)+)(?:: false)?`", ours)]
    assert len(keys) == 16
    assert [key for key in keys if Reference().find(key) is None] == []


def test_an_older_variable_can_give_a_setting_its_value(tmp_path: Path) -> None:
    file = tmp_path / "settings.yaml"
    text = SAMPLE.replace("port: 8000", "port: ${HSL_PORT:-8000}").replace('"/webhook"', '"${HSL_WEBHOOK_PATH}"')
    file.write_text(text.replace("${ANTHROPIC_API_KEY}", "${CLAUDE_API_KEY}"))
    variables = {**VARIABLES, "HSL_PORT": "9000", "HSL_WEBHOOK_PATH": "/webhooks/github", "CLAUDE_API_KEY": "sk-ant-x"}
    settings = load_settings(file, variables, dotenv=None)
    assert (settings.server.port, settings.server.webhook_path) == (9000, "/webhooks/github")
    assert settings.server.webhook_paths == ("/webhooks/github",)
    assert settings.claude.api_key.get_secret_value() == "sk-ant-x"
