"""Install packages in a virtual environment, and show on a terminal how many are done, their rate
and the time left: `python install_progress.py PYTHON -r requirements.txt`.

Runs before anything is installed, so it uses the standard library only. pip first downloads all
packages, then installs them: each counts twice.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

POLL_S = 0.2
PIN = re.compile(r"^[\w.-]+==", re.MULTILINE)
COLLECTED = re.compile(r"^(?:Collecting|Requirement already satisfied)", re.MULTILINE)


def count_done(python: Path, log: Path) -> int:
    installed = python.parent.parent.glob("lib/python*/site-packages/*.dist-info")
    return len(COLLECTED.findall(log.read_text(errors="replace"))) + len(list(installed))


def describe(done: int, total: int, took_s: float) -> str:
    """Return "40 of 120 steps, 8.0/s, 10 s left"."""
    rate = done / took_s
    left = ""
    if done:
        left = f", {max(total - done, 0) / rate:.0f} s left"
    return f"{done} of {total} steps, {rate:.1f}/s{left}"


def main(python: Path, arguments: list[str]) -> int:
    files = [Path(name) for name in arguments if name != "-r"]
    total = 2 * sum(len(PIN.findall(file.read_text())) for file in files)
    pip = [str(python), "-m", "pip", "install", "--disable-pip-version-check", "--progress-bar=off"]
    began = time.monotonic()
    with tempfile.NamedTemporaryFile() as log, tempfile.TemporaryFile("w+") as errors:
        process = subprocess.Popen([*pip, *arguments], stdout=log, stderr=errors)
        while process.poll() is None:
            time.sleep(POLL_S)
            done = count_done(python, Path(log.name))
            line = describe(done, total, time.monotonic() - began)
            sys.stdout.write(f"\r\x1b[K{line}")
            sys.stdout.flush()
        sys.stdout.write("\r\x1b[K")
        if process.returncode:  # pip's warnings are about the machine's configuration
            errors.seek(0)
            sys.stderr.write(errors.read())
    return process.returncode


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), sys.argv[2:]))
