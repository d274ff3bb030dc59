"""The command with which the user can run `hls` from the current directory."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from pathlib import Path


def find_hls_command(
    python: Path = Path(sys.executable),
    folder: Path | None = None,
    which: Callable[[str], str | None] = shutil.which,
) -> str:
    """Return the command to paste into the shell: "hls" if it is on PATH and belongs to this installation.

    Otherwise ".venv/bin/hls" or "/opt/venv/bin/python -m hls_handler". `folder` defaults to the current directory.
    """
    script = python.with_name("hls")
    found = which("hls")
    if found is not None and script.is_file() and script.samefile(found):
        return "hls"
    program = script if script.is_file() else python
    here = folder or Path.cwd()
    shown = program.relative_to(here) if program.is_relative_to(here) else program
    return str(shown) if program is script else f"{shown} -m hls_handler"
