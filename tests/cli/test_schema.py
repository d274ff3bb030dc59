"""`hls settings schema` prints the schema and reads no settings."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from hls_handler.cli import app

SHIPPED = Path("config/settings.schema.json").resolve()


def test_the_printed_schema_is_the_shipped_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # a folder without settings
    monkeypatch.setenv("HLS_CONFIG", "missing.yaml")
    printed = CliRunner().invoke(app, ["settings", "schema"])
    assert (printed.exit_code, printed.stderr) == (0, "")
    assert printed.stdout == SHIPPED.read_text(encoding="utf-8")
    assert json.loads(printed.stdout)["title"] == "Settings of HLS"
