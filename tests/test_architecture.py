"""Imports point down the table of rooms, without cycles, and each foreign library has one room that knows it."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

PACKAGE = Path("hls_handler")

LAYERS: Mapping[int, tuple[str, ...]] = {
    5: ("__main__", "cli", "app", "sandbox"),
    4: ("web", "work"),
    3: ("clients", "storage", "history", "queue", "db"),
    2: ("routing", "handlers", "prompting", "review", "ci"),
    1: ("settings", "events", "deliveries", "analysis", "actions", "untrusted", "errors", "logs"),
}
LAYER_OF = {room: layer for layer, rooms in LAYERS.items() for room in rooms}

ONLY_IN: Mapping[str, tuple[str, ...]] = {
    "github": ("clients",),
    "anthropic": ("clients",),
    "genai_prices": ("clients", "sandbox"),
    "sqlalchemy": ("db", "history", "queue"),
    "alembic": ("db",),
    "psycopg": ("db", "queue"),
    "sqlite3": ("db",),
    "starlette": ("app", "sandbox", "web"),
    "uvicorn": ("app", "cli", "sandbox", "web"),
    "jinja2": ("prompting", "sandbox"),
    "typer": ("cli",),
    "rich": ("cli",),
    "yaml": ("prompting", "settings"),
    "pythonjsonlogger": ("logs",),
    "hls_handler.sandbox": ("cli", "sandbox"),
    "hls_handler.app": ("app", "cli", "sandbox"),
}


def room_of(module: str) -> str:
    """ "hls_handler.clients.claude" is in the room "clients"; the package itself is in none: ""."""
    return module.split(".")[1] if "." in module else ""


def modules() -> Iterator[tuple[str, Path]]:
    for path in sorted(PACKAGE.rglob("*.py")):
        yield ".".join(path.with_suffix("").parts).removesuffix(".__init__"), path


def imports(source: str, module: str, *, is_package: bool = False) -> Iterator[str]:
    """Every name that a module imports, wherever in the file, also for type checking only."""
    package = module if is_package else module.rpartition(".")[0]
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package.rsplit(".", node.level - 1)[0] if node.level else ""
            base = ".".join(part for part in (above, node.module) if part)
            yield from (f"{base}.{alias.name}" for alias in node.names)


ALL_IMPORTS = [
    (module, imported)
    for module, path in modules()
    for imported in imports(path.read_text(encoding="utf-8"), module, is_package=path.name == "__init__.py")
]


def is_inside(imported: str, package: str) -> bool:
    return imported == package or imported.startswith(f"{package}.")


def cycle_in(graph: Mapping[str, set[str]]) -> list[str]:
    """One cycle of rooms, as ["a", "b", "a"]; [] where there is none."""

    def visit(room: str, trail: list[str]) -> list[str]:
        if room in trail:
            return [*trail[trail.index(room) :], room]
        return next((found for other in sorted(graph.get(room, ())) if (found := visit(other, [*trail, room]))), [])

    return next((found for room in sorted(graph) if (found := visit(room, []))), [])


def test_every_room_stands_in_the_table_and_every_row_exists() -> None:
    rooms = {room_of(module) for module, _ in modules()} - {""}
    assert rooms == set(LAYER_OF)


def test_imports_point_down_the_table_or_sideways() -> None:
    upwards = [
        f"{module} imports {imported}"
        for module, imported in ALL_IMPORTS
        if is_inside(imported, "hls_handler")
        and room_of(imported) in LAYER_OF
        and LAYER_OF[room_of(imported)] > LAYER_OF[room_of(module)]
    ]
    assert upwards == []


def test_serving_loads_no_module_of_the_sandbox() -> None:
    code = "import sys, hls_handler.app, hls_handler.cli; print([m for m in sys.modules if 'hls_handler.sandbox' in m])"
    printed = subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.PIPE, text=True).stdout
    assert printed == "[]\n"


def test_no_two_rooms_import_each_other() -> None:
    graph: dict[str, set[str]] = {}
    for module, imported in ALL_IMPORTS:
        if is_inside(imported, "hls_handler") and room_of(imported) in LAYER_OF:
            graph.setdefault(room_of(module), set()).add(room_of(imported))
    assert cycle_in({room: others - {room} for room, others in graph.items()}) == []


@pytest.mark.parametrize("library", ONLY_IN)
def test_each_foreign_library_is_known_to_its_rooms_only(library: str) -> None:
    strangers = [
        f"{module} imports {imported}"
        for module, imported in ALL_IMPORTS
        if is_inside(imported, library) and room_of(module) not in ONLY_IN[library]
    ]
    assert strangers == []


def test_architecture_md_shows_the_same_table() -> None:
    text = Path("ARCHITECTURE.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (\d) [^|]*\| ([^|]+) \|", text, flags=re.MULTILINE)
    shown: dict[int, tuple[str, ...]] = {}
    for layer, rooms in rows:
        names = tuple(name.removesuffix(".py").rstrip("/") for name in re.findall(r"`([^`]+)`", rooms))
        shown[int(layer)] = shown.get(int(layer), ()) + names
    assert {layer: sorted(rooms) for layer, rooms in shown.items()} == {
        layer: sorted(rooms) for layer, rooms in LAYERS.items()
    }


def test_architecture_md_lists_every_catch_all() -> None:
    catch_alls = sorted(
        f"{path}: {function}"
        for _, path in modules()
        for function in catching_everything(path.read_text(encoding="utf-8"))
    )
    listed = re.findall(
        r"^- `([^`]+\.py)`, `([^`]+)`:", Path("ARCHITECTURE.md").read_text(encoding="utf-8"), re.MULTILINE
    )
    assert sorted(f"{path}: {function}" for path, function in listed) == catch_alls


def catching_everything(source: str) -> Iterator[str]:
    """The innermost functions that catch `Exception`, `BaseException` or anything at all, and keep it.

    One that ends with `raise` only tidies up.
    """
    functions = [
        node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    ]
    for handler in (node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.ExceptHandler)):
        caught = handler.type.elts if isinstance(handler.type, ast.Tuple) else [handler.type]
        names = {node.id if isinstance(node, ast.Name) else "" if node else "Exception" for node in caught}
        passed_on = isinstance(handler.body[-1], ast.Raise) and handler.body[-1].exc is None
        if names & {"Exception", "BaseException"} and not passed_on:
            around = [f for f in functions if f.lineno <= handler.lineno <= (f.end_lineno or 0)]
            yield max(around, key=lambda f: f.lineno).name if around else "module"


def test_the_walk_sees_every_kind_of_import() -> None:
    source = (
        "import a.b\nfrom c import d\ndef f():\n    from . import e\n    from ..g import h\nif 1:\n    import i as j"
    )
    assert sorted(imports(source, "hls_handler.room.module")) == [
        "a.b",
        "c.d",
        "hls_handler.g.h",
        "hls_handler.room.e",
        "i",
    ]


def test_the_walk_sees_cycles_and_catch_alls() -> None:
    assert cycle_in({"a": {"b"}, "b": {"c"}, "c": {"b"}}) == ["b", "c", "b"]
    assert cycle_in({"a": {"b", "c"}, "b": {"c"}}) == []
    source = (
        "def f():\n    try: pass\n    except (ValueError, Exception): pass\ndef g():\n    try: pass\n    except: pass\n"
    )
    assert sorted(catching_everything(source)) == ["f", "g"]
