"""`make test` finds or installs PostgreSQL and Chromium before anything else, and `.ci/run` only
calls it.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.system_programs import MissingPrograms, ensure_programs, find_chromium, find_postgresql

COMMANDS = """the tests need programs that this machine lacks. Install them, then run `make test` again:
  Debian, Ubuntu: sudo apt-get install postgresql chromium
  Fedora: sudo dnf install postgresql-server chromium
  macOS: brew install postgresql@17 && brew install --cask google-chrome"""


def write_program(path: Path, script: str = "") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\nPATH=/usr/bin:/bin\n{script}\n")
    path.chmod(0o755)


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    """The environment of a machine whose root folder is `tmp_path`."""
    return {"PATH": str(tmp_path / "bin")}


def write_apt_get(root: Path, install: str) -> None:
    """Write an apt-get that records its arguments."""
    write_program(
        root / "bin/apt-get",
        f'echo "$DEBIAN_FRONTEND $*" >> {root}/requests\n[ $1 = update ] || {{ {install}; }}',
    )
    write_program(root / "bin/sudo", 'PATH="${0%/*}:$PATH" exec "$@"')
    (root / "bin/env").symlink_to("/usr/bin/env")


def test_missing_programs_are_installed_with_one_line_before(
    tmp_path: Path, environ: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    made = tmp_path / "made"
    for name in ("initdb", "pg_ctl", "postgres"):
        write_program(made / "usr/lib/postgresql/15/bin" / name)
    write_program(made / "bin/chromium")
    write_apt_get(tmp_path, f"cp -r {made}/* {tmp_path}")
    ensure_programs(environ, root=tmp_path)
    assert (
        capsys.readouterr().out
        == "Installing postgresql, chromium with apt-get, because the tests need them ...\n"
    )
    assert (tmp_path / "requests").read_text().splitlines() == [
        "noninteractive update -qq",
        "noninteractive install -y -qq --no-install-recommends postgresql chromium",
    ]
    ensure_programs(environ, root=tmp_path)  # installs and prints nothing more
    assert capsys.readouterr().out == ""
    assert find_postgresql(environ, root=tmp_path) == tmp_path / "usr/lib/postgresql/15/bin"
    assert find_chromium(environ, root=tmp_path) == tmp_path / "bin/chromium"


@pytest.mark.parametrize("fails", [False, True], ids=["no apt-get", "apt-get fails"])
def test_programs_that_cannot_be_installed_are_one_error_with_the_commands(
    tmp_path: Path, environ: dict[str, str], fails: bool
) -> None:
    if fails:
        write_apt_get(tmp_path, "exit 100")
    with pytest.raises(MissingPrograms) as caught:
        ensure_programs(environ, root=tmp_path)
    assert str(caught.value) == COMMANDS


@pytest.mark.parametrize("target", ["test", "test-all"])
def test_make_test_looks_for_the_programs_before_all_else(target: str) -> None:
    command = ["make", "--no-print-directory", "--dry-run", target]
    planned = subprocess.check_output(command, text=True).splitlines()
    assert planned[0].endswith(" tests/system_programs.py")
    assert Path(".ci/run").read_text().splitlines()[-1] == "exec make --no-print-directory test-all"
