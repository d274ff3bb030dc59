"""Keys that earlier versions read: they are left out with a warning."""

from __future__ import annotations

import re
from pathlib import Path

import yaml

from hls_handler.settings.removed import REMOVED_KEYS, RemovedKey, take_removed_keys
from hls_handler.settings.repository import RepositorySettingsFile, parse_repository_file
from hls_handler.settings.yaml_parser import parse_tree
from tests.settings.files import SMALLEST, load


def test_file_with_a_removed_key_loads_with_a_warning(tmp_path: Path) -> None:
    settings = load(tmp_path, SMALLEST.replace("claude:\n", "claude:\n  temperature: 0.2\n"))
    (warning,) = settings.warnings
    assert warning == (
        f"{tmp_path}/settings.yaml:5 (claude.temperature): 0.2 has no effect, because the key was"
        " removed: models accept no temperature; remove the key"
    )


def test_file_with_every_removed_key_loads(tmp_path: Path) -> None:
    root = yaml.safe_load(SMALLEST)
    keys = [key.path for key in REMOVED_KEYS if "." in key.path]
    for key in keys:
        section, name = key.split(".")
        root.setdefault(section, {})[name] = 1
    settings = load(tmp_path, yaml.safe_dump(root))
    found = [re.findall(r"settings.yaml:\d+ \((.*?)\): ", one) for one in settings.warnings]
    assert found == [[key] for key in keys]


def test_file_of_a_repository_with_removed_keys_applies_with_warnings() -> None:
    text = "review: {functions: false, verify: false}\ncomments: {about_url: 'https://a.test'}\n"
    parsed = parse_repository_file(text, "acme/.github: hls.yaml")
    assert parsed.problems == ()
    assert parsed.values == {"review": {"verify": False}, "comments": {}}
    about_url, functions = parsed.warnings
    assert about_url == (
        'acme/.github: hls.yaml:2 (comments.about_url): "https://a.test" has no effect, because the'
        " key was removed: the footer of comments has no link; remove the key"
    )
    assert functions.startswith("acme/.github: hls.yaml:1 (review.functions): false has no effect,")
    described = RepositorySettingsFile(parsed, "3f9c2a1b0d5e").describe()
    applies = "acme/.github: hls.yaml (3f9c2a1b0d) applies on top of the settings"
    assert described == ". ".join((applies, about_url, functions))


def test_removed_section_whose_keys_are_comments_causes_no_warning(tmp_path: Path) -> None:
    settings = load(tmp_path, f"{SMALLEST}tracing:  # see docs/running.md\n  # endpoint: a\n")
    assert settings.warnings == ()


def test_variable_of_a_removed_key_need_not_be_set(tmp_path: Path) -> None:
    unset = 'claude:\n  temperature: "${TEMPERATURE}"\n'
    (warning,) = load(tmp_path, SMALLEST.replace("claude:\n", unset)).warnings
    assert '(claude.temperature): "${TEMPERATURE}" has no effect, ' in warning


SHADOWS = """\
    prompts:
      use:
        issues.opened: {prompt: issues/strict, shadow: true}
        issues.edited: issues/other
prompts:
  use:
    issues: {prompt: issues/short, shadow: true}
    push: false
"""


def test_entry_with_a_shadow_prompt_is_left_out_as_a_whole_with_a_warning(tmp_path: Path) -> None:
    settings = load(tmp_path, SMALLEST + SHADOWS)
    assert settings.prompts.use == {"push": False}
    assert settings.repositories[0].prompts.use == {"issues.edited": "issues/other"}
    assert settings.former_shadows == {"issues/short", "issues/strict"}
    end = (
        "does not run any more, and its `on:` has no effect; `hls prompts try` tries it:"
        " write `on: []` in the prompt, then remove the entry"
    )
    assert settings.warnings == (
        (f"{tmp_path}/settings.yaml:14 (prompts.use.issues): the shadow prompt issues/short {end}"),
        (
            f"{tmp_path}/settings.yaml:10 (repositories[0].prompts.use.issues.opened): the shadow"
            f" prompt issues/strict {end}"
        ),
    )


KEYS = (
    RemovedKey("comments.emoji", "comments have none"),
    RemovedKey("export.headers", "nothing is exported", is_secret=True),
    RemovedKey("export", "nothing is exported"),
)


def test_removed_key_is_left_out_of_entries_of_repositories() -> None:
    text = (
        "comments: {emoji: 1}\nrepositories:\n  - name: o/r\n    comments: {emoji: no, tone: t}\n"
        "  - {name: o/s, comments: {emoji: 2}}\n"
    )
    tree = parse_tree(text, "s.yaml")
    end = "has no effect, because the key was removed: comments have none; remove the key"
    assert take_removed_keys(tree, KEYS) == (
        f"s.yaml:1 (comments.emoji): 1 {end}",
        f"s.yaml:4 (repositories[0].comments.emoji): false {end}",
        f"s.yaml:5 (repositories[1].comments.emoji): 2 {end}",
    )
    assert tree.root == {
        "comments": {},
        "repositories": [
            {"name": "o/r", "comments": {"tone": "t"}},
            {"name": "o/s", "comments": {}},
        ],
    }


def test_rule_19_secret_of_a_removed_section_is_not_quoted() -> None:
    text = (
        "export:\n  url: https://mona:marker-1@example.com\n  file: a.json\n"
        "  headers: {key: marker-2}\n"
    )
    tree = parse_tree(text, "s.yaml")
    end = "has no effect, because the key was removed: nothing is exported; remove the key"
    assert take_removed_keys(tree, KEYS) == (
        f"s.yaml:4 (export.headers.key): the value {end}",
        f"s.yaml:2 (export.url): text with credentials {end}",
        f's.yaml:3 (export.file): "a.json" {end}',
    )
    assert tree.root == {}
