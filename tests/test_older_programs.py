"""Promises of the original descriptions: sample settings, the commands that start the service,
another webhook path and other variables.
"""

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
            f"warning: {file}:12 (claude.model): claude-3-5-sonnet-20241022 was retired on"
            " 2025-10-28; claude-sonnet-5-5 is used in its place [HLS013]"
        ),
        (
            f"warning: {file}:2 (server.host): anyone who reaches 0.0.0.0 can read /stats and"
            " /health, and the console is off; set server.api_key to require a key and to open the"
            " console [HLS014]"
        ),
    ]
    assert result.stdout.splitlines()[-1].startswith(f"{file}: settings and ")


def serve(folder: Path, module: str, *arguments: str, settings: str = SAMPLE) -> Service:
    """Run `python -m module ARGUMENTS --port N`, and return when the service answers."""
    port = free_port()
    file = folder / "settings.yaml"
    url = f"sqlite:///{folder}/hls.db"
    file.write_text(settings.replace("0.0.0.0", "127.0.0.1") + f'storage: {{url: "{url}"}}\n')
    environ = {**os.environ, **VARIABLES, "HLS_CONFIG": str(file)}
    log = folder / "log"
    process = start_module(module, [*arguments, "--port", str(port)], environ=environ, log=log)
    return Service(file, port, log, url, process=process).until_up()


@pytest.mark.parametrize(
    "command",
    [("uvicorn", "hls_handler.main:app"), ("hls_handler.main",)],
    ids=["main:app", "python -m"],
)
def test_original_commands_start_the_service_which_receives_webhooks_at_both_paths(
    tmp_path: Path, command: tuple[str, ...]
) -> None:
    service = serve(tmp_path, *command)
    try:
        assert (service.get("/health").status, service.get("/stats").status) == (200, 200)
        for path in ("/webhook", "/webhooks/github"):
            pong = service.deliver(
                "ping", b'{"zen": "."}', secret=VARIABLES["GITHUB_WEBHOOK_SECRET"], path=path
            )
            assert (pong.status, pong.body["status"]) == (200, "pong")
            assert (
                service.deliver("ping", b"{}", secret="the-secret-of-others", path=path).status
                == 401
            )
    finally:
        service.stop()


def test_rule_1_main_app_accepts_unsigned_webhooks_of_this_machine_only(tmp_path: Path) -> None:
    unsigned = SAMPLE.replace("signature_validation: true", "signature_validation: false")
    service = serve(tmp_path, "uvicorn", "hls_handler.main:app", settings=unsigned)
    sent = {"Content-Type": "application/json", "X-GitHub-Event": "ping", "X-GitHub-Delivery": "1"}
    try:
        assert service.request("POST", "/webhook", b"{}", sent).status == 200
        forwarded = {**sent, "X-Forwarded-For": "127.0.0.1"}
        assert service.request("POST", "/webhook", b"{}", forwarded).status == 401
    finally:
        service.stop()


def test_importing_main_does_not_start_the_service() -> None:
    assert "app" not in vars(importlib.import_module("hls_handler.main"))


def test_every_setting_in_the_table_of_older_variables_exists() -> None:
    def variable_rows() -> list[tuple[str, str]]:
        text = Path("docs/settings.md").read_text(encoding="utf-8")
        table = text.partition("## Environment variables of older programs")[2].partition("\n## ")[
            0
        ]
        return re.findall(r"^\| (`.+`) \| (.+) \|$", table, re.MULTILINE)

    keys = [
        key
        for _, ours in variable_rows()
        for key in re.findall(r"`([a-z_]+(?:\.[a-z_]+)+)(?:: false)?`", ours)
    ]
    assert len(keys) == 17
    assert [key for key in keys if Reference().find(key) is None] == []


def test_readme_names_the_keys_that_add_what_older_programs_showed(tmp_path: Path) -> None:
    text = Path("README.md").read_text(encoding="utf-8").partition("## Make it yours")[2]
    lines = re.findall(
        r"^  - `([a-z]+)\.([a-z]+): (.+?)`: ", text.partition("\n## ")[0], re.MULTILINE
    )
    assert [f"{section}.{key}" for section, key, _ in lines] == [
        "review.categories",
        "comments.layout",
        "comments.files",
        "comments.summary",
        "labels.assess",
    ]
    sections: dict[str, list[str]] = {}
    for section, key, value in lines:
        sections.setdefault(section, []).append(f"{key}: {value}")
    given = "".join(f"{name}: {{{', '.join(keys)}}}\n" for name, keys in sections.items())
    file = tmp_path / "settings.yaml"
    file.write_text(SAMPLE + given)
    settings = load_settings(file, VARIABLES, dotenv=None)
    assert settings.review.categories == ("bugs", "security", "performance", "style")
    assert (settings.comments.layout, settings.comments.files) == ("table", True)
    assert settings.comments.summary == "always"
    assert settings.labels.assess == ("issues", "pull_requests")


def test_an_older_variable_can_give_a_setting_its_value(tmp_path: Path) -> None:
    file = tmp_path / "settings.yaml"
    text = SAMPLE.replace("port: 8000", "port: ${HSL_PORT:-8000}").replace(
        '"/webhook"', '"${HSL_WEBHOOK_PATH}"'
    )
    file.write_text(text.replace("${ANTHROPIC_API_KEY}", "${CLAUDE_API_KEY}"))
    variables = {
        **VARIABLES,
        "HSL_PORT": "9000",
        "HSL_WEBHOOK_PATH": "/webhooks/github",
        "CLAUDE_API_KEY": "sk-ant-x",
    }
    settings = load_settings(file, variables, dotenv=None)
    assert (settings.server.port, settings.server.webhook_path) == (9000, "/webhooks/github")
    assert settings.server.webhook_paths == ("/webhooks/github", "/webhooks/github/")
    assert settings.claude.api_key.get_secret_value() == "sk-ant-x"
