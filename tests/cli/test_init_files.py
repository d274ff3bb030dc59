"""The files of `hls init`: lines of `.env`, modes, and the text of the settings."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from hls_handler.cli.init.command import settings_text
from hls_handler.cli.init.session import Session, add_variables, parse_github_url, write_file
from hls_handler.errors import SettingsError
from hls_handler.settings.environment import read_environment
from tests.settings.files import SMALLEST, VARIABLES, load


@pytest.mark.parametrize(
    ("before", "after"),
    [("# comment\n\nB=1", "# comment\n\nB=1\nA=new\n"), ("A=\nB=1\n", "A=\nB=1\nA=new\n")],
)
def test_a_variable_is_added_and_nothing_is_lost(tmp_path: Path, before: str, after: str) -> None:
    path = tmp_path / ".env"
    path.write_text(before)
    add_variables(path, {"A": "new"})
    assert path.read_text() == after
    assert read_environment({}, path) == {"A": "new", "B": "1"}
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.parametrize(
    "value", ["plain-Value_1.2/3:4+5=6", "it's", 'a"b', "a b # c", "back\\slash", "${A}"]
)
def test_a_value_is_read_back_as_it_was(tmp_path: Path, value: str) -> None:
    add_variables(tmp_path / ".env", {"A": value})
    assert read_environment({}, tmp_path / ".env") == {"A": value}


def test_a_failed_write_leaves_the_file_and_no_other(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "present").touch()
    with pytest.raises(SettingsError, match="cannot be written"):
        write_file(tmp_path / "folder", "text")
    assert os.listdir(tmp_path) == ["folder"]  # noqa: PTH208 (hidden files, too)


@pytest.mark.parametrize(
    ("written", "address"),
    [
        ("https://github.com/", "https://api.github.com"),
        ("https://www.GitHub.com/api/v3", "https://api.github.com"),
        ("https://ghe.example.com", "https://ghe.example.com"),
    ],
)
def test_github_com_means_the_public_api(tmp_path: Path, written: str, address: str) -> None:
    text = SMALLEST.replace("github:\n", f"github:\n  base_url: {written}\n")
    assert load(tmp_path, text).github.base_url == address
    assert parse_github_url(written) == address


def test_the_settings_are_valid_and_contain_every_choice(tmp_path: Path) -> None:
    session = Session(
        {},
        None,
        lambda _: None,
        repositories=("owner/repo", "*/*"),
        github_url="https://ghe.example.com/api/v3",
        claude_url="https://claude.example.com",
        webhook_url="https://hls.example.com/hooks/webhook",
    )
    text = settings_text(session, uses_app=False)
    settings = load(tmp_path, text, {**VARIABLES, "HLS_API_KEY": "a key of the console"})
    assert settings.github.base_url == "https://ghe.example.com/api/v3"
    assert settings.claude.base_url == "https://claude.example.com"
    assert settings.server.webhook_path == "/hooks/webhook"
    assert [one.name for one in settings.repositories] == ["owner/repo", "*/*"]
    assert settings.review.fail_on == "high"
    assert all(len(line) <= 120 for line in text.splitlines())
