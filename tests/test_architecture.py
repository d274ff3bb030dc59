"""The code as ARCHITECTURE.md and the docstring of errors.py describe it: imports, catch-alls,
handlers, errors.
"""

from __future__ import annotations

import ast
import inspect
import re
import subprocess
import sys
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path

import pytest

from hls_handler import errors
from hls_handler.github.app_setup import APP_EVENTS
from hls_handler.handlers.issues import IssueHandler
from hls_handler.handlers.registry import HANDLERS

PACKAGE = Path("hls_handler")
PACKAGES = (PACKAGE, Path("hls_sandbox"))

LAYERS: Mapping[int, tuple[str, ...]] = {
    6: ("__main__", "cli", "app", "main", "hls_sandbox"),
    5: ("console", "reports", "web", "batches", "background", "engine"),
    4: ("store", "queue", "db"),
    3: ("routing", "handlers", "prompting", "review", "retrieval", "ci"),
    2: ("github", "claude", "git"),
    1: (
        "settings",
        "untrusted",
        "events",
        "deliveries",
        "analysis",
        "actions",
        "errors",
        "logs",
        "transport",
        "wording",
    ),
}
LAYER_OF = {package: layer for layer, packages in LAYERS.items() for package in packages}

ONLY_IN: Mapping[str, tuple[str, ...]] = {
    "anthropic": ("claude",),
    "github": ("github",),
    "pythonjsonlogger": ("logs",),
    "genai_prices": ("claude", "hls_sandbox"),
    "sqlalchemy": ("db", "store", "queue"),
    "snowballstemmer": ("retrieval",),
    "alembic": ("db",),
    "psycopg": ("db", "queue"),
    "sqlite3": ("db", "retrieval"),
    "starlette": ("app", "console", "hls_sandbox", "main", "web"),
    "uvicorn": ("app", "cli", "hls_sandbox", "web"),
    "jinja2": ("console", "hls_sandbox", "prompting"),
    "cachetools": ("console", "web"),
    "typer": ("cli",),
    "rich": ("cli",),
    "yaml": ("hls_sandbox", "prompting", "settings"),
    "prometheus_client": ("console",),
    "openai": ("claude", "retrieval"),
    "google": ("claude",),
    "qdrant_client": ("retrieval",),
    "hls_sandbox": ("cli", "hls_sandbox"),
    "hls_handler.app": ("app", "cli", "main"),
}


ARCHITECTURE = Path("ARCHITECTURE.md").read_text(encoding="utf-8")


def package_of(module: str) -> str:
    """Package of a module: "claude" for "hls_handler.claude.anthropic_api", "hls_sandbox" for
    each module of the sandbox, "" for "hls_handler" and for others' modules.
    """
    first, _, rest = module.partition(".")
    if first == "hls_handler":
        return rest.partition(".")[0]
    return first if first == "hls_sandbox" else ""


@cache
def modules() -> Mapping[Path, Sequence[ast.AST]]:
    """Return all nodes of each module. To parse them takes seconds, so it is done once."""
    return {
        path: tuple(ast.walk(ast.parse(path.read_text(encoding="utf-8"))))
        for package in PACKAGES
        for path in sorted(package.rglob("*.py"))
    }


def name_of(path: Path) -> str:
    return ".".join(path.with_suffix("").parts).removesuffix(".__init__")


def imports(path: Path) -> Iterator[str]:
    """Yield every name that a module imports, also within functions and for type checking."""
    package = ".".join(path.parent.parts)
    for node in modules()[path]:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            parent = package.rsplit(".", node.level - 1)[0] if node.level else ""
            base = ".".join(part for part in (parent, node.module) if part)
            yield from (f"{base}.{alias.name}" for alias in node.names)


@cache
def all_imports() -> list[tuple[str, str]]:
    return [(name_of(path), imported) for path in modules() for imported in imports(path)]


def is_inside(imported: str, package: str) -> bool:
    return imported == package or imported.startswith(f"{package}.")


def test_table_of_layers_lists_every_package() -> None:
    assert {package_of(name_of(path)) for path in modules()} - {""} == set(LAYER_OF)


def test_packages_import_no_higher_layer() -> None:
    upwards = [
        f"{module} imports {imported}"
        for module, imported in all_imports()
        if package_of(imported) in LAYER_OF
        and LAYER_OF[package_of(imported)] > LAYER_OF[package_of(module)]
    ]
    assert upwards == []


def test_serving_with_sqlite_loads_no_module_of_the_sandbox_and_no_large_library() -> None:
    unwanted = {
        "alembic",
        "cryptography",
        "psycopg",
        "rich",
        "prometheus_client",
        "openai",
        "boto3",
        "google.auth",
        "qdrant_client",
        "hls_sandbox",
        "hls_handler.batches.triage",
    }
    code = f"import sys, hls_handler.cli.serve; print({unwanted} & sys.modules.keys())"
    printed = subprocess.run(
        [sys.executable, "-c", code], check=True, stdout=subprocess.PIPE, text=True
    ).stdout
    assert printed == "set()\n"


def test_packages_have_no_import_cycles() -> None:
    def cycle_in(graph: Mapping[str, set[str]]) -> list[str]:
        """One import cycle, as ["a", "b", "a"]; [] if there is none."""

        def visit(package: str, path: list[str]) -> list[str]:
            if package in path:
                return [*path[path.index(package) :], package]
            return next(
                (
                    found
                    for other in sorted(graph.get(package, ()))
                    if (found := visit(other, [*path, package]))
                ),
                [],
            )

        return next((found for package in sorted(graph) if (found := visit(package, []))), [])

    graph: dict[str, set[str]] = {}
    for module, imported in all_imports():
        if package_of(imported) in LAYER_OF:
            graph.setdefault(package_of(module), set()).add(package_of(imported))
    assert cycle_in({package: others - {package} for package, others in graph.items()}) == []


@pytest.mark.parametrize(
    ("package", "name"),
    {
        "starlette": "starlette",
        "uvicorn": "uvicorn",
        "PyYAML": "yaml",
        "pydantic": "pydantic",
        "Jinja2": "jinja2",
        "anthropic": "anthropic",
        "PyGithub": "github",
        "python-json-logger": "pythonjsonlogger",
        "pytest": "pytest",
    }.items(),
)
def test_each_package_that_the_owner_named_is_required_and_used(package: str, name: str) -> None:
    """None of these packages may be dropped; `name` is what is imported."""
    required = Path(
        "requirements-dev.txt" if package == "pytest" else "requirements.txt"
    ).read_text(encoding="utf-8")
    assert re.search(rf"^{re.escape(package)}==", required, re.MULTILINE)
    if package != "pytest":  # which runs this test
        assert [module for module, imported in all_imports() if is_inside(imported, name)] != []


def test_libraries_are_imported_only_by_their_packages() -> None:
    violations = [
        f"{module} imports {imported}"
        for module, imported in all_imports()
        for library, packages in ONLY_IN.items()
        if is_inside(imported, library) and package_of(module) not in packages
    ]
    assert violations == []


def test_architecture_md_has_the_same_table_of_layers() -> None:
    rows = re.findall(r"^\| (\d) [^|]*\| ([^|]+) \|", ARCHITECTURE, flags=re.MULTILINE)
    shown: dict[int, tuple[str, ...]] = {}
    for layer, packages in rows:
        names = tuple(
            name.removesuffix(".py").rstrip("/") for name in re.findall(r"`([^`]+)`", packages)
        )
        shown[int(layer)] = shown.get(int(layer), ()) + names
    assert {layer: sorted(packages) for layer, packages in shown.items()} == {
        layer: sorted(packages) for layer, packages in LAYERS.items()
    }


def test_architecture_md_lists_every_catch_all() -> None:
    def find_catch_alls(path: Path) -> Iterator[str]:
        """Yield the innermost functions that catch `Exception`, `BaseException` or everything, and
        do not re-raise it.
        """
        functions = [
            node
            for node in modules()[path]
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        ]
        for handler in (node for node in modules()[path] if isinstance(node, ast.ExceptHandler)):
            caught = handler.type.elts if isinstance(handler.type, ast.Tuple) else [handler.type]
            names = {
                node.id if isinstance(node, ast.Name) else "" if node else "Exception"
                for node in caught
            }
            is_reraised = isinstance(handler.body[-1], ast.Raise) and handler.body[-1].exc is None
            if names & {"Exception", "BaseException"} and not is_reraised:
                enclosing = [
                    f for f in functions if f.lineno <= handler.lineno <= (f.end_lineno or 0)
                ]
                yield max(enclosing, key=lambda f: f.lineno).name if enclosing else "module"

    catch_alls = sorted(
        f"{path}: {function}" for path in modules() for function in find_catch_alls(path)
    )
    listed = re.findall(r"^- `([^`]+\.py)`, `([^`]+)`:", ARCHITECTURE, re.MULTILINE)
    assert sorted(f"{path}: {function}" for path, function in listed) == catch_alls


def test_the_manifest_of_the_app_has_the_event_of_every_handler() -> None:
    assert HANDLERS.keys() <= set(APP_EVENTS)


def test_guide_for_a_new_handler_names_every_module_that_names_all_events_with_a_handler() -> None:
    def find_strings(path: Path) -> set[str]:
        return {
            node.value
            for node in modules()[path]
            if isinstance(node, ast.Constant) and type(node.value) is str
        }

    guide = re.search(r"^### A new handler\n(.*?)^##", ARCHITECTURE, re.DOTALL | re.MULTILINE)
    assert guide is not None
    places = {
        path.relative_to(PACKAGE).as_posix()
        for path in modules()
        if HANDLERS.keys() <= find_strings(path)
    }
    assert {"handlers/registry.py", "events.py"} <= places
    # all events of GitHub
    assert places - set(re.findall(r"`([^`]+\.py)`", guide[1])) == {"settings/github_events.py"}


def test_architecture_md_is_short() -> None:
    assert len(ARCHITECTURE) <= 15_000


def test_architecture_md_begins_with_the_run_of_issues() -> None:
    listing = re.search(r"```python\n(.*?)```", ARCHITECTURE, re.DOTALL)
    assert listing is not None
    assert listing[1] == textwrap.dedent(inspect.getsource(IssueHandler.run))


def test_the_tree_of_errors_shows_every_error_below_its_base() -> None:
    def find_drawn_errors() -> dict[str, str]:
        """Map each error in the drawing of errors.py to its base by the indentation: four
        characters per level.
        """
        base_at: dict[int, str] = {}
        found: dict[str, str] = {}
        drawing = (errors.__doc__ or "").split("\n\n")[1]
        for branches, name in re.findall(r"^([│├└─ ]*)([A-Z]\w+)(?= |$)", drawing, re.MULTILINE):
            level = len(branches) // 4
            base_at[level] = name
            found[name] = base_at[level - 1] if level else "Exception"
        return found

    classes = (
        node
        for path, nodes in modules().items()
        if "hls_sandbox" not in path.parts
        for node in nodes
        if isinstance(node, ast.ClassDef) and len(node.bases) == 1
    )
    known = {node.name: ast.unparse(node.bases[0]) for node in classes}

    def is_hls_error(name: str) -> bool:
        return name == "HlsError" or (name in known and is_hls_error(known[name]))

    assert find_drawn_errors() == {name: base for name, base in known.items() if is_hls_error(name)}
