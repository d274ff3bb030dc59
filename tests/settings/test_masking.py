"""SECURITY rule 19: secrets of the settings are never shown."""

from __future__ import annotations

import pickle
import traceback
from pathlib import Path

import pytest

from hls_handler.errors import SettingsError
from hls_handler.settings.masking import collect_secrets, masked
from tests.settings.files import SMALLEST, VARIABLES, load

EVERY_SECRET = """\
server:
  api_key: api-key-marker-0000
github:
  token: token-marker-0000
  webhook_secret: [webhook-marker-0001, webhook-marker-0002]
claude:
  api_key: claude-marker-0000
storage:
  url: postgresql+psycopg://hls:data%20base-marker@db.example/hls
repositories:
  - name: owner/repo
    webhook_secret: repository-marker-0000
"""


def test_no_secret_is_in_a_repr(tmp_path: Path) -> None:
    settings = load(tmp_path, EVERY_SECRET)
    for shown in (repr(settings), str(settings), f"{settings.storage}", settings.model_dump_json(exclude={"storage"})):
        assert "marker" not in shown


def test_secret_values_are_all_secrets_longest_first(tmp_path: Path) -> None:
    assert collect_secrets(load(tmp_path, EVERY_SECRET)) == (
        "repository-marker-0000",
        "api-key-marker-0000",
        "webhook-marker-0001",
        "webhook-marker-0002",
        "claude-marker-0000",
        "data%20base-marker",
        "token-marker-0000",
        "data base-marker",
    )


def test_a_short_database_password_is_masked_only_in_its_position(tmp_path: Path) -> None:
    settings = load(tmp_path, SMALLEST + "storage: {url: 'postgresql+psycopg://hls:hls@db/hls'}\n")
    assert ":hls@" in collect_secrets(settings)
    assert "hls" not in collect_secrets(settings)


def test_a_password_in_the_options_of_the_database_url_is_a_secret(tmp_path: Path) -> None:
    settings = load(tmp_path, SMALLEST + "storage: {url: 'postgresql+psycopg://h/n?password=option-marker&a=b'}\n")
    assert "option-marker" in collect_secrets(settings)


def test_a_database_without_a_password_has_no_secret(tmp_path: Path) -> None:
    settings = load(tmp_path, SMALLEST)
    assert set(collect_secrets(settings)) == set(VARIABLES.values())


def test_a_secret_is_masked_everywhere_unless_it_is_too_short() -> None:
    secrets = ("token-marker-0000-and-more", "token-marker-0000", "bug")
    assert masked("a bug: token-marker-0000-and-more, token-marker-0000", secrets) == "a bug: ***, ***"


@pytest.mark.parametrize(
    "broken",
    [
        EVERY_SECRET.replace("token: token-marker-0000", "token: [token-marker-0000]"),
        EVERY_SECRET.replace("  token:", "  tokne:"),
        EVERY_SECRET.replace("github:", "github: token-marker-0000\nother:"),
        EVERY_SECRET.replace("- name: owner/repo", "- token-marker-0000\n  - name: owner/repo"),
        EVERY_SECRET.replace("token: token-marker-0000", "token token-marker-0000"),
        EVERY_SECRET.replace("token: token-marker-0000", 'token: "token-marker-0000'),
        EVERY_SECRET.replace("token: token-marker-0000", "token: *token-marker-0000"),
        EVERY_SECRET.replace("webhook-marker-0001", "5"),
        EVERY_SECRET.replace("token-marker-0000", "${token-marker-0000}"),
        EVERY_SECRET.replace("postgresql+psycopg", "postgresql"),
    ],
)
def test_no_problem_shows_a_secret_nor_does_the_traceback(tmp_path: Path, broken: str) -> None:
    with pytest.raises(SettingsError) as raised:
        load(tmp_path, broken)
    error = raised.value
    shown = "".join(traceback.format_exception(error)) + repr(error) + repr(error.__cause__) + repr(error.__context__)
    assert "marker" not in shown.replace("secret-marker", "")
    assert b"-marker-" not in pickle.dumps(str(error))
