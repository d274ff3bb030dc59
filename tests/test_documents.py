"""Documents match the settings, routes and commands of the code, and contain no paths of a
machine.
"""

from __future__ import annotations

import re
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator
from typer.core import TyperGroup

from hls_handler import __version__
from hls_handler.cli import COMMANDS as TOP_COMMANDS
from hls_handler.cli import load_command
from hls_handler.settings.reload import NEEDS_RESTART
from hls_handler.settings.repository import REPOSITORY_KEYS, parse_repository_file
from tests.settings.files import SMALLEST, app_key, problems
from tests.settings.make_reference import PAGE, render_page
from tests.settings.make_schemas import repository_schema

SETTINGS_PAGE = PAGE.read_text(encoding="utf-8")
REPOSITORY_PAGE = Path("docs/repository-file.md").read_text(encoding="utf-8")
COMMANDS_PAGE = Path("docs/cli.md").read_text(encoding="utf-8")
WRITTEN = [
    *Path().glob("*.md"),
    *Path("docs").rglob("*.md"),
    *Path("prompts").rglob("*.j2"),
    *Path("config").glob("*"),
]
DOCUMENTS = sorted(WRITTEN)


def test_settings_page_matches_the_model() -> None:
    # else: python -m tests.settings.make_reference
    assert render_page(SETTINGS_PAGE) == SETTINGS_PAGE


def test_example_of_repository_settings_is_valid_and_has_every_key() -> None:
    example = re.search(r"```yaml\n(.*?)```", REPOSITORY_PAGE, re.DOTALL)
    assert example is not None
    settings_file = parse_repository_file(example[1])
    assert settings_file.problems == ()
    assert {key.path for key in REPOSITORY_KEYS} <= set(settings_file.lines)
    Draft202012Validator(repository_schema()).validate(yaml.safe_load(example[1]))


def test_settings_of_each_provider_are_valid(tmp_path: Path) -> None:
    def with_value(key: str, value: object) -> str:
        """Return the smallest file with this value at "server.port" or
        "repositories[].features.drafts".
        """
        root = yaml.safe_load(SMALLEST)
        if key == "github.tokens" or key.startswith("github.app."):
            del root["github"]["token"]
        if key.startswith("github.app."):
            root["github"]["app"] = {"id": 1, "private_key": app_key()}
        if key.startswith(("retrieval.embeddings.", "retrieval.qdrant.")):
            qdrant = (
                {}
                if key in ("retrieval.qdrant.url", "retrieval.qdrant.path")
                else {"url": "http://127.0.0.1:6333"}
            )
            embeddings = {"base_url": "https://embeddings.example.com/v1", "model": "m"}
            root["retrieval"] = {"qdrant": qdrant, "embeddings": embeddings}
        if key == "server.viewers" or key.startswith("server.trusted_proxy."):
            root["server"] = {
                "trusted_proxy": {"networks": ["127.0.0.1/32"], "user_header": "X-User"}
            }
        if key.startswith("claude.fallbacks[]."):
            root["claude"]["fallbacks"] = [
                {"kind": "openai", "name": "second", "api_key": "k", "model": "m"}
            ]
        if key.startswith("budgets.repositories[]."):
            root["budgets"] = {"repositories": [{"name": "a/b"}]}
        *sections, name = key.split(".")
        place: Any = root
        for section in sections:
            entries = section.removesuffix("[]")
            place = place[entries][0] if section.endswith("[]") else place.setdefault(section, {})
            if section == "price":
                place |= {"input": 1, "output": 1}
        place[name] = value
        return yaml.safe_dump(root)

    page = Path("docs/providers.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| .+ \| `(\{kind: .+?\})`", page, re.MULTILINE)
    assert len(rows) == 10
    for row in rows:
        fallbacks = [yaml.safe_load(row) | {"api_key": "k"}]
        assert problems(tmp_path, with_value("claude.fallbacks", fallbacks)) == [], row


@pytest.mark.parametrize("path", ["docs/settings.md", "config/settings.example.yaml"])
def test_settings_that_need_a_restart_are_documented(path: str) -> None:
    text = re.sub(r"\n# | *\n", " ", Path(path).read_text(encoding="utf-8")).replace("`", "")
    *others, last = NEEDS_RESTART
    assert f"nly {', '.join(others)} and {last} need a restart" in text


def commands(command: Any, name: str) -> Iterator[tuple[str, Any]]:
    if isinstance(command, TyperGroup):
        for sub in command.commands.values():
            yield from commands(sub, f"{name} {sub.name}")
    else:
        yield name, command


COMMANDS = dict(one for top in TOP_COMMANDS for one in commands(load_command(top), f"hls {top}"))


def test_every_command_is_documented_and_each_of_its_options_has_help() -> None:
    for name, command in COMMANDS.items():
        assert re.search(rf"^\| `{name}[ `].*$", COMMANDS_PAGE, re.MULTILINE), name
        assert len(command.help or "") > 60, name
        for option in command.params:
            assert getattr(option, "help", None), name


def test_documented_commands_exist() -> None:
    assert set(re.findall(r"^\| `(hls(?: [a-z-]+)+)", COMMANDS_PAGE, re.MULTILINE)) == set(COMMANDS)


@pytest.mark.parametrize(
    "path",
    ["config/settings.yaml", "config/github-app.pem", ".env", "data/hls.db", "my-prompts/a.j2"],
)
def test_no_upgrade_touches_the_files_of_a_user(path: str) -> None:
    assert subprocess.run(["git", "check-ignore", "--quiet", path], check=False).returncode == 0
    assert subprocess.run(["git", "ls-files", path], check=True, capture_output=True).stdout == b""


def test_readme_is_short() -> None:
    assert len(Path("README.md").read_text(encoding="utf-8")) <= 10_000


@pytest.mark.parametrize(("folder", "words"), [("docs", 24_000), ("docs/adr", 3_500)])
def test_documentation_is_short(folder: str, words: int) -> None:
    pages = [path.read_text(encoding="utf-8") for path in Path(folder).glob("*.md")]
    assert sum(len(page.split()) for page in pages) <= words


@pytest.mark.parametrize("path", [*Path("docs").glob("*.md")], ids=lambda path: path.stem)
def test_page_begins_with_the_question_that_it_answers(path: Path) -> None:
    _title, first, *_ = path.read_text(encoding="utf-8").split("\n\n")
    assert "?" in first


def test_changelog_begins_with_the_version_of_the_program() -> None:
    changelog = Path("CHANGELOG.md").read_text(encoding="utf-8")
    assert re.findall(r"^## (\S+)$", changelog, re.MULTILINE)[0] == __version__


def test_license_is_named_where_people_and_programs_look() -> None:
    license_text = Path("LICENSE").read_text(encoding="utf-8")
    assert license_text.split("\n", 3)[1:3] == [
        f"{' ' * 33}Apache License",
        f"{' ' * 27}Version 2.0, January 2004",
    ]
    project = tomllib.loads(Path("pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert (project["license"], project["license-files"]) == ("Apache-2.0", ["LICENSE"])
    readme = Path("README.md").read_text(encoding="utf-8")
    assert "[LICENSE](LICENSE) | Apache License 2.0" in readme
    assert "(.github/workflows/test.yml)" in readme


def test_every_make_target_has_a_description() -> None:
    makefile = Path("Makefile").read_text(encoding="utf-8")
    declared = re.search(r"^\.PHONY: (.*)$", makefile, re.MULTILINE)
    assert declared is not None
    in_help = re.findall(r"^([a-z-]+):.*## .+$", makefile, re.MULTILINE)
    in_comments = re.findall(r"^# .+\n([a-z-]+):", makefile, re.MULTILINE)
    assert sorted(declared[1].split()) == sorted([*in_help, *in_comments])


def test_linked_files_and_named_modules_exist() -> None:
    missing: list[str] = []
    for path in (path for path in DOCUMENTS if path.suffix == ".md"):
        text = path.read_text(encoding="utf-8")
        targets = re.findall(r"\]\((?!https?:|#)([^)#\s]+)", text)
        missing += [
            f"{path}: {target}" for target in targets if not (path.parent / target).exists()
        ]
        named = re.findall(r"`((?:hls_handler|[a-z_]+)/[a-z_/]*\.py)`", text)
        found = (
            name
            for name in named
            if not any(Path(base, name).exists() for base in ("", "hls_handler"))
        )
        missing += [f"{path}: {name}" for name in found]
    assert missing == []


def test_documents_contain_no_path_of_a_machine() -> None:
    texts = {path: path.read_text(encoding="utf-8") for path in DOCUMENTS}
    found = {
        str(path): re.findall(r"(?<!\w)(?:/(?:home|root|Users|work|tmp)/|[A-Z]:\\)\S*", text)
        for path, text in texts.items()
    }
    assert {path: places for path, places in found.items() if places} == {}


def test_security_rules_have_existing_modules_and_tests() -> None:
    rows = re.findall(
        r"^\| (\d+) \| .* \| (.*) \|$",
        Path("SECURITY.md").read_text(encoding="utf-8"),
        re.MULTILINE,
    )
    sources = "\n".join(
        path.read_text(encoding="utf-8") for path in Path("tests").rglob("test_*.py")
    )
    tested = set(re.findall(r"def test_rule_(\d+)_", sources))
    assert {number for number, _ in rows} == tested
    missing = [
        place
        for _, where in rows
        for place in re.findall("`([^`]*)`", where)
        if not Path("hls_handler", place).exists()
    ]
    assert missing == []
