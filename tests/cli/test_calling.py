"""The command with which the user can run `hls`."""

from __future__ import annotations

from pathlib import Path

import pytest

from hls_handler.cli.calling import find_hls_command


@pytest.fixture
def python(tmp_path: Path) -> Path:
    folder = tmp_path / "checkout" / ".venv" / "bin"
    folder.mkdir(parents=True)
    (folder / "hls").touch()
    return folder / "python"


def not_on_path(_name: str) -> None:
    return None


def test_relative_path_inside_the_checkout(python: Path, tmp_path: Path) -> None:
    assert find_hls_command(python, tmp_path / "checkout", not_on_path) == ".venv/bin/hls"


def test_absolute_path_outside_the_checkout(python: Path, tmp_path: Path) -> None:
    assert find_hls_command(python, tmp_path / "checkout" / "docs", not_on_path) == f"{tmp_path}/checkout/.venv/bin/hls"


def test_name_alone_if_it_is_on_path(python: Path, tmp_path: Path) -> None:
    assert find_hls_command(python, tmp_path, lambda _: str(python.with_name("hls"))) == "hls"


def test_another_program_of_the_same_name_on_path_is_not_used(python: Path, tmp_path: Path) -> None:
    (tmp_path / "hls").touch()
    assert find_hls_command(python, tmp_path, lambda _: str(tmp_path / "hls")) == "checkout/.venv/bin/hls"


def test_module_if_the_script_is_missing(python: Path, tmp_path: Path) -> None:
    python.with_name("hls").unlink()
    assert find_hls_command(python, tmp_path, not_on_path) == "checkout/.venv/bin/python -m hls_handler"
