"""Detection of changes to the settings file and `.env`."""

from __future__ import annotations

import os
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest

from hls_handler.errors import SettingsError
from hls_handler.settings.file import SettingsFile
from tests.settings.files import API_KEY, SECRET, SMALLEST, TOKEN, VARIABLES

LATER: Iterator[int] = count(2_000_000_000)
DOTENV = f"GITHUB_TOKEN={TOKEN}\nGITHUB_WEBHOOK_SECRET={SECRET}\nANTHROPIC_API_KEY={API_KEY}\n"


def write(path: Path, text: str) -> Path:
    """Write a file with a new modification time."""
    path.write_text(text, encoding="utf-8")
    os.utime(path, (next(LATER),) * 2)
    return path


@pytest.fixture
def file(tmp_path: Path) -> SettingsFile:
    dotenv = write(tmp_path / ".env", DOTENV)
    return SettingsFile(write(tmp_path / "settings.yaml", SMALLEST), {}, dotenv=dotenv)


def test_an_unchanged_file_has_not_changed(file: SettingsFile) -> None:
    assert not file.has_changed()
    file.read()
    assert not file.has_changed()


def test_a_changed_file_is_read_anew(file: SettingsFile, tmp_path: Path) -> None:
    write(tmp_path / "settings.yaml", SMALLEST + "features: {dry_run: true}\n")
    assert file.has_changed()
    assert file.read().features.dry_run
    assert not file.has_changed()
    assert not file.first.features.dry_run


def test_a_changed_variable_is_taken_from_dotenv(file: SettingsFile, tmp_path: Path) -> None:
    write(tmp_path / ".env", DOTENV.replace(TOKEN, "github-token-marker-2"))
    assert file.has_changed()
    assert file.read().github.token.get_secret_value() == "github-token-marker-2"


def test_a_variable_of_the_process_is_fixed(tmp_path: Path) -> None:
    path, dotenv = write(tmp_path / "settings.yaml", SMALLEST), write(tmp_path / ".env", DOTENV)
    file = SettingsFile(path, {"GITHUB_TOKEN": "of-the-process"}, dotenv=dotenv)
    write(dotenv, DOTENV.replace(TOKEN, "github-token-marker-2"))
    assert file.read().github.token.get_secret_value() == "of-the-process"


def test_replacement_by_a_file_of_the_same_time_and_length_is_detected(file: SettingsFile, tmp_path: Path) -> None:
    before = (tmp_path / "settings.yaml").stat()
    other = write(tmp_path / "other.yaml", SMALLEST.replace("owner/repo", "owner/repu"))
    os.utime(other, ns=(before.st_atime_ns, before.st_mtime_ns))
    other.replace(tmp_path / "settings.yaml")
    assert file.has_changed()


def test_a_deleted_file_is_one_change_and_one_error(file: SettingsFile, tmp_path: Path) -> None:
    (tmp_path / "settings.yaml").unlink()
    assert file.has_changed()
    with pytest.raises(SettingsError, match="there is no such file"):
        file.read()
    assert not file.has_changed()


def test_a_file_that_is_being_written_has_not_changed_yet(tmp_path: Path) -> None:
    now_ns = [10**18]
    path = write(tmp_path / "settings.yaml", SMALLEST)
    file = SettingsFile(path, VARIABLES, dotenv=None, clock_ns=lambda: now_ns[0])
    path.write_text("", encoding="utf-8")
    os.utime(path, ns=(10**18, 10**18))
    assert not file.has_changed()
    now_ns[0] += 250_000_000
    assert file.has_changed()


def test_forget_marks_the_file_as_changed(file: SettingsFile) -> None:
    file.forget()
    assert file.has_changed()


def test_a_change_of_permissions_is_detected(file: SettingsFile, tmp_path: Path) -> None:
    """Modification time and length stay the same; only the change time differs."""
    (tmp_path / "settings.yaml").chmod(0o640)
    assert file.has_changed()
