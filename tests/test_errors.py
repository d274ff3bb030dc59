"""The tree of errors as it is drawn in errors.py."""

from __future__ import annotations

import ast
import re
from pathlib import Path

from hls_handler import errors

PACKAGE = Path("hls_handler")


def bases() -> dict[str, str]:
    """Class to base, for every class outside of the sandbox that has just one."""
    return {
        node.name: ast.unparse(node.bases[0])
        for path in PACKAGE.rglob("*.py")
        if "sandbox" not in path.parts
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.ClassDef) and len(node.bases) == 1
    }


def drawn(tree: str) -> dict[str, str]:
    """Error to base, as the lines of a drawing are indented: four characters a level."""
    base_at: dict[int, str] = {}
    found: dict[str, str] = {}
    for branches, name in re.findall(r"^([│├└─ ]*)([A-Z]\w+)(?= |$)", tree, re.MULTILINE):
        level = len(branches) // 4
        base_at[level] = name
        found[name] = base_at[level - 1] if level else "Exception"
    return found


def test_the_drawing_shows_every_error_of_ours_below_its_base() -> None:
    known = bases()

    def is_ours(name: str) -> bool:
        return name == "HlsError" or (name in known and is_ours(known[name]))

    drawing = (errors.__doc__ or "").split("\n\n")[1]
    assert drawn(drawing) == {name: base for name, base in known.items() if is_ours(name)}
