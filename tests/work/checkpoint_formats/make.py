"""Stores an example of every kind of remembered step, as the code at hand keeps it, beside those of earlier versions.

    python -m tests.work.checkpoint_formats.make             # by the code that is checked out
    python -m tests.work.checkpoint_formats.make 777ce09     # by the code of commits, the oldest first

A kind whose shape changed must have another version first: steps of both shapes would be told apart by nothing else.
Answers may have new shapes under one version, since a reply that does not fit its prompt is asked for again.
"""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import tarfile
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.work.checkpoint_formats.shapes import Shape, shapes

HERE = Path(__file__).parent
ROOT = HERE.parent.parent.parent
FILE = HERE / "steps.json"


def stored() -> list[Shape]:
    """Every shape that ever landed, the oldest first."""
    return [Shape(*one) for one in json.loads(FILE.read_text())] if FILE.exists() else []


def main(commits: list[str]) -> None:
    for commit in commits:
        keep(of_commit(commit), frozen=False)
    if not commits:
        keep(list(shapes()), frozen=True)


def of_commit(commit: str) -> list[Shape]:
    with TemporaryDirectory() as folder:
        archive = subprocess.run(
            ["git", "archive", commit, "hls_handler"], cwd=ROOT, check=True, stdout=subprocess.PIPE
        )
        with tarfile.open(fileobj=io.BytesIO(archive.stdout)) as packed:
            packed.extractall(folder, filter="data")
        environ = {**os.environ, "PYTHONPATH": folder}
        script = [sys.executable, str(HERE / "shapes.py")]
        said = subprocess.run(script, cwd=folder, check=True, stdout=subprocess.PIPE, env=environ).stdout
    return [Shape(*one) for one in json.loads(said)]


def keep(found: list[Shape], *, frozen: bool) -> None:
    known = stored()
    for shape in found:
        if any((one.kind, one.digest) == (shape.kind, shape.digest) for one in known):
            continue
        same = [one for one in known if (one.kind, one.version) == (shape.kind, shape.version)]
        if frozen and same and not shape.kind.startswith("ask for "):
            sys.exit(f"{shape.kind}: the shape changed and the version is still {shape.version}: raise it")
        known.append(shape)
    lines = ",\n".join(
        f" {json.dumps([one.kind, one.version, one.digest, one.value], ensure_ascii=False)}" for one in known
    )
    FILE.write_text(f"[\n{lines}\n]\n")


if __name__ == "__main__":
    main(sys.argv[1:])
