"""Store an example of every kind of checkpoint, as the current code encodes it, beside those of earlier versions.

    python -m tests.work.checkpoint_formats.make             # with the code that is checked out
    python -m tests.work.checkpoint_formats.make 777ce09     # with the code of commits, the oldest first

A kind whose shape changed needs a new version first: only the version distinguishes checkpoints of both shapes.
Replies may have several shapes with one version, because Claude is called again if a reply does not fit its prompt.
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


def load_stored() -> list[Shape]:
    """Every stored shape, the oldest first."""
    return [Shape(*one) for one in json.loads(FILE.read_text())] if FILE.exists() else []


def main(commits: list[str]) -> None:
    for commit in commits:
        add_shapes(shapes_of_commit(commit), must_match=False)
    if not commits:
        add_shapes(list(shapes()), must_match=True)


def shapes_of_commit(commit: str) -> list[Shape]:
    with TemporaryDirectory() as folder:
        archive = subprocess.run(
            ["git", "archive", commit, "hls_handler"], cwd=ROOT, check=True, stdout=subprocess.PIPE
        )
        with tarfile.open(fileobj=io.BytesIO(archive.stdout)) as packed:
            packed.extractall(folder, filter="data")
        environ = {**os.environ, "PYTHONPATH": folder}
        script = [sys.executable, str(HERE / "shapes.py")]
        output = subprocess.run(script, cwd=folder, check=True, stdout=subprocess.PIPE, env=environ).stdout
    return [Shape(*one) for one in json.loads(output)]


def add_shapes(new_shapes: list[Shape], *, must_match: bool) -> None:
    all_shapes = load_stored()
    for shape in new_shapes:
        if any((one.kind, one.digest) == (shape.kind, shape.digest) for one in all_shapes):
            continue
        same_version = [one for one in all_shapes if (one.kind, one.version) == (shape.kind, shape.version)]
        if must_match and same_version and not shape.kind.startswith("ask for "):
            sys.exit(f"{shape.kind}: the shape changed and the version is still {shape.version}: raise it")
        all_shapes.append(shape)
    lines = ",\n".join(
        f" {json.dumps([one.kind, one.version, one.digest, one.value], ensure_ascii=False)}" for one in all_shapes
    )
    FILE.write_text(f"[\n{lines}\n]\n")


if __name__ == "__main__":
    main(sys.argv[1:])
