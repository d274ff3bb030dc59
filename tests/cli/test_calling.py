"""How `hls` is called from where the user is."""

from __future__ import annotations

from pathlib import Path

import pytest

from hls_handler.cli.calling import how_to_call


@pytest.fixture
def python(tmp_path: Path) -> Path:
    folder = tmp_path / "checkout" / ".venv" / "bin"
    folder.mkdir(parents=True)
    (folder / "hls").touch()
    return folder / "python"


def nowhere(_name: str) -> None:
    return None


def test_from_a_fresh_clone_it_is_called_by_its_path(python: Path, tmp_path: Path) -> None:
    assert how_to_call(python, tmp_path / "checkout", nowhere) == ".venv/bin/hls"


def test_from_elsewhere_it_is_called_by_its_whole_path(python: Path, tmp_path: Path) -> None:
    assert how_to_call(python, tmp_path / "checkout" / "docs", nowhere) == f"{tmp_path}/checkout/.venv/bin/hls"


def test_where_the_shell_finds_it_the_name_is_enough(python: Path, tmp_path: Path) -> None:
    assert how_to_call(python, tmp_path, lambda _: str(python.with_name("hls"))) == "hls"


def test_a_program_of_the_same_name_elsewhere_is_not_it(python: Path, tmp_path: Path) -> None:
    (tmp_path / "hls").touch()
    assert how_to_call(python, tmp_path, lambda _: str(tmp_path / "hls")) == "checkout/.venv/bin/hls"


def test_without_its_script_it_is_called_as_a_module(python: Path, tmp_path: Path) -> None:
    python.with_name("hls").unlink()
    assert how_to_call(python, tmp_path, nowhere) == "checkout/.venv/bin/python -m hls_handler"
