"""Compares the drawn tree in the docstring of errors.py with the defined exceptions."""

from __future__ import annotations

import ast
import re
from pathlib import Path

from hls_handler import errors

PACKAGE = Path("hls_handler")


def bases() -> dict[str, str]:
    """Map each class with a single base, outside of the sandbox, to that base."""
    return {
        node.name: ast.unparse(node.bases[0])
        for path in PACKAGE.rglob("*.py")
        if "sandbox" not in path.parts
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.ClassDef) and len(node.bases) == 1
    }


def drawn(tree: str) -> dict[str, str]:
    """Map each error to its base by the indentation of the drawing: four characters per level."""
    base_at: dict[int, str] = {}
    found: dict[str, str] = {}
    for branches, name in re.findall(r"^([│├└─ ]*)([A-Z]\w+)(?= |$)", tree, re.MULTILINE):
        level = len(branches) // 4
        base_at[level] = name
        found[name] = base_at[level - 1] if level else "Exception"
    return found


def test_the_tree_shows_every_error_below_its_base() -> None:
    known = bases()

    def is_hls_error(name: str) -> bool:
        return name == "HlsError" or (name in known and is_hls_error(known[name]))

    drawing = (errors.__doc__ or "").split("\n\n")[1]
    assert drawn(drawing) == {name: base for name, base in known.items() if is_hls_error(name)}
