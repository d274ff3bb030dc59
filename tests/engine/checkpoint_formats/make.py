"""Store an example of every kind of checkpoint, as the current code encodes it, beside those of
earlier versions.

    python -m tests.engine.checkpoint_formats.make

A kind whose shape changed needs a new version first: only the version distinguishes checkpoints of
both shapes. Replies may have several shapes with one version, because Claude is called again if a
reply does not fit its prompt.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from tests.engine.checkpoint_formats.shapes import Shape, shapes

HERE = Path(__file__).parent
FILE = HERE / "steps.json"


def load_stored() -> list[Shape]:
    """Every stored shape, the oldest first."""
    return [Shape(*one) for one in json.loads(FILE.read_text())] if FILE.exists() else []


def main() -> None:
    all_shapes = load_stored()
    for shape in shapes():
        if any((one.kind, one.digest) == (shape.kind, shape.digest) for one in all_shapes):
            continue
        same_version = [
            one for one in all_shapes if (one.kind, one.version) == (shape.kind, shape.version)
        ]
        if same_version and not shape.kind.startswith("ask for "):
            sys.exit(
                f"{shape.kind}: the shape changed and the version is still {shape.version}:"
                " raise it"
            )
        all_shapes.append(shape)
    lines = ",\n".join(
        f" {json.dumps([one.kind, one.version, one.digest, one.value], ensure_ascii=False)}"
        for one in all_shapes
    )
    FILE.write_text(f"[\n{lines}\n]\n")


if __name__ == "__main__":
    main()
