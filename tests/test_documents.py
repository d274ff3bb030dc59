"""The documents say of settings, routes and commands what the code says, and nothing of somebody's machine."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator
from starlette.routing import Route
from typer.core import TyperGroup
from typer.main import get_command

from hls_handler.cli import app
from hls_handler.clients.api import RateLimit
from hls_handler.settings.effective import RepositoryTable
from hls_handler.settings.load import NEEDS_RESTART, load_settings
from hls_handler.settings.reference import Key, Reference
from hls_handler.settings.repository import list_repository_keys, parse_repository_file
from hls_handler.settings.schema import repository_schema, settings_schema
from hls_handler.web.app import Ports, WebApplication
from hls_handler.work.health import Health
from tests.settings.files import VARIABLES, problems, with_value

README = Path("README.md").read_text(encoding="utf-8")
WRITTEN = [*Path().glob("*.md"), *Path("docs").rglob("*.md"), *Path("prompts").rglob("*.j2"), *Path("config").glob("*")]
DOCUMENTS = sorted(WRITTEN)
MARKDOWN = [path for path in DOCUMENTS if path.suffix == ".md"]
EXAMPLES = dict.fromkeys(("HLS_API_KEY", "NEW_WEBHOOK_SECRET", "DB_PASSWORD"), "a-value-of-32-bytes-for-examples")


def settings_rows() -> dict[str, list[str]]:
    """Key to the other cells of its row: meaning, takes, default, example, when it is wrong."""
    table = README.split("| key | meaning |")[1].split("\n\n")[0]
    rows = (line.strip("| ").split(" | ") for line in table.splitlines()[2:])
    return {cells[0].strip("`"): cells[1:] for cells in rows}


def test_the_settings_table_has_a_row_for_every_key_and_no_other() -> None:
    assert list(settings_rows()) == [key.path for key in Reference().keys]


@pytest.mark.parametrize("key", Reference().keys, ids=lambda key: key.path)
def test_the_settings_table_says_what_the_model_says(key: Key) -> None:
    meaning, takes, default, _, when_wrong = settings_rows()[key.path]
    assert (meaning, takes, default) == (key.meaning, key.expected, f"`{key.default}`")
    assert len(when_wrong) > 10


@pytest.mark.parametrize("key", Reference().keys, ids=lambda key: key.path)
def test_every_example_in_the_settings_table_loads(key: Key, tmp_path: Path) -> None:
    assert problems(tmp_path, example(key), VARIABLES | EXAMPLES) == []


@pytest.mark.parametrize("key", Reference().keys, ids=lambda key: key.path)
def test_no_example_in_the_settings_table_is_marked_by_an_editor(key: Key) -> None:
    flaws = Draft202012Validator(settings_schema()).iter_errors(yaml.safe_load(example(key)))
    assert [flaw.message for flaw in flaws] == []


def example(key: Key) -> str:
    """A settings file with the example of a key's row."""
    return with_value(key.path, yaml.safe_load(settings_rows()[key.path][3].strip("`")))


def test_the_example_of_a_repositorys_own_settings_has_every_key_and_no_mistake() -> None:
    example = re.search(r"```yaml\n(.*?)```", README.split("## Settings in the repository")[1], re.DOTALL)
    assert example is not None
    own = parse_repository_file(example[1])
    assert own.problems == ()
    assert set(list_repository_keys()) <= set(own.lines)
    Draft202012Validator(repository_schema()).validate(yaml.safe_load(example[1]))


@pytest.mark.parametrize("path", ["README.md", "config/settings.yaml"])
def test_what_needs_a_restart_is_documented(path: str) -> None:
    text = re.sub(r"\n# | *\n", " ", Path(path).read_text(encoding="utf-8")).replace("`", "")
    *most, last = NEEDS_RESTART
    assert f"nly {', '.join(most)} and {last} need a restart" in text


def commands(command: Any, name: str) -> Iterator[tuple[str, Any]]:
    if isinstance(command, TyperGroup):
        for sub in command.commands.values():
            yield from commands(sub, f"{name} {sub.name}")
    else:
        yield name, command


COMMANDS = dict(commands(get_command(app), "hls"))


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_and_option_is_documented(name: str) -> None:
    row = re.search(rf"^\| `{name}[ `].*$", README, re.MULTILINE)
    assert row is not None
    for option in COMMANDS[name].params:
        flag = next((opt for opt in option.opts if opt.startswith("--")), None)
        is_hidden = getattr(option, "hidden", False)
        assert is_hidden or flag in (None, "--config", "--help") or f"`{flag}`" in row[0]


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help_worth_reading(name: str) -> None:
    assert len(COMMANDS[name].help or "") > 60
    assert all(getattr(option, "help", None) for option in COMMANDS[name].params)


def test_no_command_is_documented_that_does_not_exist() -> None:
    assert set(re.findall(r"^\| `(hls(?: [a-z-]+)+)", README, re.MULTILINE)) == set(COMMANDS)


def test_every_route_is_documented() -> None:
    settings = load_settings(Path("config/settings.yaml"), VARIABLES, dotenv=None)
    app = WebApplication(settings, table=RepositoryTable(settings), ports=_no_ports()).app
    paths = {route.path for route in app.routes if isinstance(route, Route)}
    assert set(re.findall(r"^\| `(?:GET|POST) (/[a-z]+)`", README, re.MULTILINE)) == paths


def _no_ports() -> Ports:
    """Ports that nobody calls while routes are counted."""

    def unused(*_: object) -> Any:
        raise AssertionError("only the routes are looked at")

    return Ports(
        route=unused,
        accept=unused,
        count_ping=unused,
        outcome=unused,
        counters=unused,
        queue=unused,
        rate_limit=lambda: RateLimit(None, None, None),
        health=Health(lambda: datetime(2026, 11, 20, tzinfo=UTC)),
        clock=lambda: 0.0,
    )


def test_every_make_target_is_documented_in_the_makefile_itself() -> None:
    makefile = Path("Makefile").read_text(encoding="utf-8")
    declared = re.search(r"^\.PHONY: (.*)$", makefile, re.MULTILINE)
    assert declared is not None
    described = re.findall(r"^([a-z]+):.*## .+$", makefile, re.MULTILINE)
    assert sorted(declared[1].split()) == sorted(described)


@pytest.mark.parametrize("path", MARKDOWN, ids=str)
def test_links_lead_to_files_that_exist(path: Path) -> None:
    targets = re.findall(r"\]\((?!https?:|#)([^)#\s]+)", path.read_text(encoding="utf-8"))
    assert [target for target in targets if not (path.parent / target).exists()] == []


@pytest.mark.parametrize("path", MARKDOWN, ids=str)
def test_paths_of_the_package_in_documents_exist(path: Path) -> None:
    named = re.findall(r"`((?:hls_handler|[a-z_]+)/[a-z_/]*\.py)`", path.read_text(encoding="utf-8"))
    missing = [name for name in named if not any(Path(base, name).exists() for base in ("", "hls_handler"))]
    assert missing == []


@pytest.mark.parametrize("path", DOCUMENTS, ids=str)
def test_documents_hold_no_path_of_a_machine(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert re.findall(r"(?<!\w)(?:/(?:home|root|Users|work|tmp)/|[A-Z]:\\)\S*", text) == []


def test_every_security_rule_is_held_where_it_says_and_has_its_tests() -> None:
    rows = re.findall(r"^\| (\d+) \| .* \| (.*) \|$", Path("SECURITY.md").read_text(encoding="utf-8"), re.MULTILINE)
    sources = "\n".join(path.read_text(encoding="utf-8") for path in Path("tests").rglob("test_*.py"))
    tested = set(re.findall(r"def test_rule_(\d+)_", sources))
    assert {number for number, _ in rows} == tested
    missing = [
        place
        for _, where in rows
        for place in re.findall("`([^`]*)`", where)
        if not Path("hls_handler", place).exists()
    ]
    assert missing == []
