"""PostgreSQL and Chromium, which the tests need: find them, or install them with apt-get.

`make test` runs this file before there is a .venv, so it imports the standard library only.
"""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

ROOT = Path("/")
POSTGRESQL_FOLDERS = (
    "usr/lib/postgresql/*/bin",
    "opt/homebrew/opt/postgresql*/bin",
    "usr/local/opt/postgresql*/bin",
)
CHROMIUM_NAMES = ("chromium", "chromium-browser", "google-chrome")
CHROMIUM_APPLICATIONS = (
    "Chromium.app/Contents/MacOS/Chromium",
    "Google Chrome.app/Contents/MacOS/Google Chrome",
)


class MissingPrograms(Exception):
    """The tests need programs that are not installed; the message has the commands that install
    them.
    """


def find_postgresql(environ: Mapping[str, str] = os.environ, *, root: Path = ROOT) -> Path:
    """Return the folder of initdb, pg_ctl and postgres: of the system, otherwise of the PyPI
    package pgserver.
    """
    initdb = shutil.which("initdb", path=environ.get("PATH"))
    folders = [Path(initdb).resolve().parent] if initdb else []
    folders += sorted(
        (path for glob in POSTGRESQL_FOLDERS for path in root.glob(glob)),
        key=_version,
        reverse=True,
    )
    package = importlib.util.find_spec("pgserver")
    if package is not None and package.origin is not None:
        folders.append(Path(package.origin).parent / "pginstall" / "bin")
    for folder in folders:
        if all((folder / name).exists() for name in ("initdb", "pg_ctl", "postgres")):
            return folder
    raise MissingPrograms(
        "there is no PostgreSQL; `make programs` installs it, or prints the command that does"
    )


def find_chromium(environ: Mapping[str, str] = os.environ, *, root: Path = ROOT) -> Path:
    """Return the path of Chromium or Chrome: of HLS_CHROMIUM, of PATH, or of the applications of
    macOS.
    """
    if "HLS_CHROMIUM" in environ:
        return Path(environ["HLS_CHROMIUM"])
    found = (shutil.which(name, path=environ.get("PATH")) for name in CHROMIUM_NAMES)
    for path in (*found, *(root / "Applications" / name for name in CHROMIUM_APPLICATIONS)):
        if path is not None and Path(path).exists():
            return Path(path)
    raise MissingPrograms(
        "there is no Chromium; `make programs` installs it, or prints the command that does"
    )


def ensure_programs(environ: Mapping[str, str] = os.environ, *, root: Path = ROOT) -> None:
    """Install what is missing with apt-get. Raises `MissingPrograms` if that is impossible."""
    packages = _find_missing_packages(environ, root)
    if not packages:
        return
    as_root = [] if os.geteuid() == 0 else ["sudo"]
    if all(shutil.which(name, path=environ.get("PATH")) for name in (*as_root, "apt-get")):
        named = ", ".join(packages)
        print(f"Installing {named} with apt-get, because the tests need them ...", flush=True)  # noqa: T201
        apt_get = [*as_root, "env", "DEBIAN_FRONTEND=noninteractive", "apt-get"]
        for arguments in (
            ["update", "-qq"],
            ["install", "-y", "-qq", "--no-install-recommends", *packages],
        ):
            subprocess.run(
                [*apt_get, *arguments], env=environ, stdout=subprocess.DEVNULL, check=False
            )
        packages = _find_missing_packages(environ, root)
    if packages:
        raise MissingPrograms(
            "the tests need programs that this machine lacks. Install them, then run `make test`"
            f" again:\n  Debian, Ubuntu: sudo apt-get install {' '.join(packages)}\n  Fedora: sudo"
            " dnf install postgresql-server chromium\n  macOS: brew install postgresql@17 && brew"
            " install --cask google-chrome"
        )


def _find_missing_packages(environ: Mapping[str, str], root: Path) -> list[str]:
    """Return the names of the missing programs' packages on Debian and Ubuntu."""
    packages = []
    # Debian's python3 cannot create a .venv without it
    if importlib.util.find_spec("ensurepip") is None:
        packages.append(f"python3.{sys.version_info.minor}-venv")
    release = root / "etc" / "os-release"
    is_ubuntu = release.exists() and "\nID=ubuntu\n" in release.read_text(encoding="utf-8")
    chromium = "chromium-browser" if is_ubuntu else "chromium"
    for find, package in ((find_postgresql, "postgresql"), (find_chromium, chromium)):
        try:
            find(environ, root=root)
        except MissingPrograms:
            packages.append(package)
    return packages


def _version(folder: Path) -> float:
    return float((re.findall(r"[\d.]+", folder.parent.name) or [0])[0])


if __name__ == "__main__":
    try:
        ensure_programs()
    except MissingPrograms as exc:
        sys.exit(f"error: {exc}")
