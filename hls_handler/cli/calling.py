"""How `hls` is called from where the user is: as it can be pasted into the same shell."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from pathlib import Path


def how_to_call(
    python: Path = Path(sys.executable),
    folder: Path | None = None,
    which: Callable[[str], str | None] = shutil.which,
) -> str:
    """ "hls" if the shell finds this installation's, else ".venv/bin/hls" or "/opt/venv/bin/python -m hls_handler".

    `python` is the interpreter that runs, `folder` where the user is.
    """
    script = python.with_name("hls")
    found = which("hls")
    if found is not None and script.is_file() and script.samefile(found):
        return "hls"
    program = script if script.is_file() else python
    here = folder or Path.cwd()
    shown = program.relative_to(here) if program.is_relative_to(here) else program
    return str(shown) if program is script else f"{shown} -m hls_handler"
