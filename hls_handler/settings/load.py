"""From a YAML file and the environment to `Settings`, or to every reason why not, all at once."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path

from pydantic import ValidationError

from hls_handler.errors import SettingsError
from hls_handler.settings.cautions import find_cautions, with_successors
from hls_handler.settings.checks import find_problems
from hls_handler.settings.environment import read_environment
from hls_handler.settings.expand import Expansion, expand
from hls_handler.settings.explain import explain
from hls_handler.settings.masking import masked
from hls_handler.settings.model import Settings, Sources
from hls_handler.settings.reference import Reference
from hls_handler.settings.sources import leaves, read_tree


def load_settings(path: Path, environ: Mapping[str, str], *, dotenv: Path | None) -> Settings:
    """Read, fill in, validate and check a settings file.

    Variables come from `environ`, and from the file `dotenv` where `environ` has none. Raises `SettingsError` whose
    `problems` name everything that is wrong, by line: "config/settings.yaml:12: server.prot: unknown key; ...".
    """
    tree = read_tree(path)
    if not isinstance(tree.root, dict):
        raise SettingsError([f"{path}: expected sections such as github:, claude: and repositories:; see README.md"])
    expansion = expand(tree.root, read_environment(environ, dotenv))
    reference = Reference()
    problems: dict[str, str] = {}
    settings = None
    try:
        settings = Settings.model_validate(expansion.root)
    except ValidationError as error:
        problems = explain(error, expansion.root, expansion.variables, reference)
    for key, sentence in find_problems(expansion.root):
        problems.setdefault(key, sentence)
    problems |= tree.refused | expansion.problems  # there is no value to judge
    if problems or tree.problems:  # else `load_checked` says it: the commands that need no prompts work without
        problems = {**dict(_missing_folders(expansion.root)), **problems}
    lines = _in_order(tree.problems, problems, tree.sources)
    if lines or settings is None:
        secrets = _secrets(expansion, reference)
        raise SettingsError([masked(line, secrets) for line in lines])
    cautions = tuple(find_cautions(settings, tree.sources))
    settings = with_successors(settings)
    settings._sources, settings._warnings = tree.sources, cautions
    return settings


def _missing_folders(root: object) -> Iterator[tuple[str, str]]:
    """Prompt folders that were named and are not there: what a start would stumble over next."""
    prompts = root.get("prompts") if isinstance(root, dict) else None
    directory = prompts.get("directory") if isinstance(prompts, dict) else None
    named = {"prompts.directory": directory}
    if isinstance(directory, list):
        named = {f"prompts.directory[{index}]": folder for index, folder in enumerate(directory)}
    for path, folder in named.items():
        if isinstance(folder, str) and not os.path.isdir(folder):  # noqa: PTH112 (`Path.is_dir` may raise)
            yield path, f"there is no folder {folder}"


def _in_order(of_the_file: list[tuple[int, str]], of_keys: Mapping[str, str], sources: Sources) -> list[str]:
    """All problems as lines, in the order of the file; a key that is not written stands with its section."""
    placed = [(line, sentence) for line, sentence in of_the_file]
    placed += [(sources.line(key) or 0, f"{key}: {sentence}") for key, sentence in of_keys.items()]
    return [f"{sources.file}{f':{line}' if line else ''}: {sentence}" for line, sentence in sorted(placed)]


def _secrets(expansion: Expansion, reference: Reference) -> tuple[str, ...]:
    """What no message may hold, wherever else in the file it was written by mistake; longest first.

    That is the text of every secret key, and whatever came from a variable: nobody can tell what it is.
    """
    texts = (
        value
        for path, value in leaves(expansion.root)
        if isinstance(value, str) and (path in expansion.variables or ((key := reference.find(path)) and key.secret))
    )
    return tuple(sorted(set(texts), key=len, reverse=True))
