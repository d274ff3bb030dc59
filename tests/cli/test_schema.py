"""`hls settings schema`: prints the schema, and reads no settings."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from hls_handler.cli import app

SHIPPED = Path("config/settings.schema.json").resolve()


def test_the_schema_that_editors_read_is_what_is_printed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # where there are no settings
    monkeypatch.setenv("HLS_CONFIG", "nowhere.yaml")
    printed = CliRunner().invoke(app, ["settings", "schema"])
    assert (printed.exit_code, printed.stderr) == (0, "")
    assert printed.stdout == SHIPPED.read_text(encoding="utf-8")
    assert json.loads(printed.stdout)["title"] == "Settings of HLS"
