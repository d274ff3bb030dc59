"""Print the section of CHANGELOG.md about a release: `python -m tests.release_notes v1.0.0`. Exits
with 1 if the tag is not the version of the program, or has no section.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

from hls_handler import __version__

CHANGELOG = Path(__file__).parent.parent / "CHANGELOG.md"


def read_notes(tag: str) -> str:
    if tag != f"v{__version__}":
        sys.exit(
            f"the tag is {tag}, and hls_handler.__version__ is {__version__}: tag v{__version__}"
        )
    _, *sections = re.split(r"^## ", CHANGELOG.read_text(encoding="utf-8"), flags=re.MULTILINE)
    for section in sections:
        version, _, notes = section.partition("\n")
        if version == __version__:
            return notes.strip()
    sys.exit(f"CHANGELOG.md has no section {__version__}: add one")


if __name__ == "__main__":
    sys.stdout.write(f"{read_notes(sys.argv[1])}\n")
