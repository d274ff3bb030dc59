"""Packs the store of a commit, with all that it imports, for tests that run it beside the store of now.

    python -m tests.store.old.make 38310e4

Done with the commit before a new migration: its code is what runs when that migration is put in force.
"""

from __future__ import annotations

import io
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path
from tempfile import TemporaryDirectory

HERE = Path(__file__).parent
ROOT = HERE.parent.parent.parent
PACKED = HERE / "store.zip"
LONG_AGO = (2026, 1, 1, 0, 0, 0)
"""The same code makes the same file."""

IMPORTED = """
import sys
import hls_handler.store
print(*(m.__file__ for n, m in sys.modules.items() if n.startswith("hls_handler") and m.__file__), sep="\\n")
"""


def main(commit: str) -> None:
    with TemporaryDirectory() as folder:
        code = Path(folder).resolve()
        archive = subprocess.run(
            ["git", "archive", commit, "hls_handler"], cwd=ROOT, check=True, stdout=subprocess.PIPE
        )
        with tarfile.open(fileobj=io.BytesIO(archive.stdout)) as packed:
            packed.extractall(code, filter="data")
        said = subprocess.run(
            [sys.executable, "-c", IMPORTED],
            cwd=code,
            check=True,
            stdout=subprocess.PIPE,
            text=True,
            env={"PYTHONPATH": folder, "PYTHONDONTWRITEBYTECODE": "1"},
        ).stdout
        files = {Path(line) for line in said.split()} | set((code / "hls_handler/store/migrations").rglob("*.py"))
        with zipfile.ZipFile(PACKED, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as store:
            for file in sorted(files):
                entry = zipfile.ZipInfo(str(file.relative_to(code)), LONG_AGO)
                entry.compress_type = zipfile.ZIP_DEFLATED
                store.writestr(entry, file.read_bytes())


if __name__ == "__main__":
    main(sys.argv[1])
