"""`make .venv/ready` builds the environment beside the present one, which a running service uses.

A script takes the place of Python: it creates no environment, and pip in it installs nothing.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.e2e.service import ROOT

PYTHON = """#!/bin/sh
case "$*" in
    "-m venv --clear "*)
        mkdir -p "$4/bin"
        cp "$0" "$4/bin/python"
        echo "#!$PWD/$4/bin/python" > "$4/bin/hls"
        chmod +x "$4/bin/hls" ;;
    "-m pip install "*)
        ls .venv/bin/hls >> during
        echo "$0 $*" >> installed
        exit $PIP_ENDS_WITH ;;
esac
"""


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A checkout that was upgraded: its environment, with Qdrant, is older than the
    requirements.
    """
    python = tmp_path / "python"
    python.write_text(PYTHON)
    python.chmod(0o755)
    checkout = tmp_path / "hls"
    (checkout / ".venv/bin").mkdir(parents=True)
    (checkout / ".venv/bin/hls").write_text("earlier")
    for name in (".venv/ready", ".venv/ready-qdrant", ".venv/ready-dev"):
        (checkout / name).touch()
        os.utime(checkout / name, (0, 0))
    for file in (ROOT / "Makefile", ROOT / "pyproject.toml", *ROOT.glob("requirements*.txt")):
        shutil.copy(file, checkout)
    return checkout


def make(checkout: Path, target: str, *, pip_ends_with: int = 0) -> int:
    command = ["make", "--no-print-directory", f"PYTHON={checkout.parent}/python", target]
    environ = {"PATH": os.environ["PATH"], "PIP_ENDS_WITH": str(pip_ends_with)}
    return subprocess.run(command, cwd=checkout, env=environ, check=False).returncode


def test_a_new_environment_replaces_the_present_one_when_it_is_complete(checkout: Path) -> None:
    assert make(checkout, ".venv/ready") == 0
    assert (checkout / "during").read_text() == ".venv/bin/hls\n.venv/bin/hls\n"
    assert (checkout / ".venv/bin/hls").read_text() == f"#!{checkout}/.venv/bin/python\n"
    assert os.access(checkout / ".venv/bin/hls", os.X_OK)
    assert sorted(path.name for path in checkout.glob(".venv*")) == [".venv"]


def test_a_new_environment_gets_the_optional_packages_of_the_present_one(checkout: Path) -> None:
    assert make(checkout, ".venv/ready") == 0
    first, _ = (checkout / "installed").read_text().splitlines()
    assert first.endswith(" -r requirements.txt -r requirements-qdrant.txt")
    names = sorted(path.name for path in (checkout / ".venv").iterdir())
    assert names == ["bin", "ready", "ready-qdrant"]


def test_a_failed_build_leaves_the_present_environment_as_it_is(checkout: Path) -> None:
    assert make(checkout, ".venv/ready", pip_ends_with=1) == 2
    assert (checkout / ".venv/bin/hls").read_text() == "earlier"
    assert make(checkout, ".venv/ready") == 0


@pytest.mark.parametrize("name", ["qdrant", "providers"])
def test_optional_packages_are_installed_into_the_environment(checkout: Path, name: str) -> None:
    assert make(checkout, f".venv/ready-{name}") == 0
    last = (checkout / "installed").read_text().splitlines()[-1]
    assert last.startswith(".venv/bin/python -m pip install ")
    assert last.endswith(f" -r requirements-{name}.txt")
    assert (checkout / f".venv/ready-{name}").exists()
