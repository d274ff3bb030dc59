"""Which credentials are there."""

from __future__ import annotations

from pathlib import Path

import pytest

from hls_handler.settings.credentials import CREDENTIALS, missing_credentials

ALL = {"GITHUB_TOKEN": "t", "GITHUB_WEBHOOK_SECRET": "s", "ANTHROPIC_API_KEY": "k"}


@pytest.mark.parametrize(
    ("environ", "missing"),
    [
        (ALL, ()),
        ({}, CREDENTIALS),
        ({"GITHUB_TOKEN": "t", "GITHUB_WEBHOOK_SECRET": " "}, ("GITHUB_WEBHOOK_SECRET", "ANTHROPIC_API_KEY")),
    ],
)
def test_what_is_set_to_nothing_is_missing(environ: dict[str, str], missing: tuple[str, ...]) -> None:
    assert missing_credentials(environ, None) == missing


def test_a_dotenv_file_counts(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("GITHUB_TOKEN=t\nANTHROPIC_API_KEY=\n", encoding="utf-8")
    assert missing_credentials({"GITHUB_WEBHOOK_SECRET": "s"}, tmp_path / ".env") == ("ANTHROPIC_API_KEY",)
    assert missing_credentials(ALL, tmp_path / "absent") == ()
