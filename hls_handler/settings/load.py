"""Loading of the settings file: returns `Settings`, or raises one error with all problems."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path

from pydantic import ValidationError

from hls_handler.errors import SettingsError
from hls_handler.settings.cautions import find_warnings, replace_retired_model
from hls_handler.settings.checks import find_problems
from hls_handler.settings.environment import read_environment
from hls_handler.settings.expand import Expansion, expand
from hls_handler.settings.explain import explain
from hls_handler.settings.masking import masked
from hls_handler.settings.model import Settings, Sources
from hls_handler.settings.reference import Reference
from hls_handler.settings.sources import iter_leaves, read_tree


def load_settings(path: Path, environ: Mapping[str, str], *, dotenv: Path | None) -> Settings:
    """Read a settings file, expand its variables, validate and check it.

    Variables come from `environ`, else from the file `dotenv`. Raises `SettingsError` whose `problems` list every
    mistake with its line: "config/settings.yaml:12: server.prot: unknown key; ...".
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
    problems |= tree.rejected | expansion.problems  # replace sentences about values that could not be determined
    if problems or tree.problems:  # else only `load_checked` reports folders: some commands need no prompts
        problems = {**dict(_find_missing_folders(expansion.root)), **problems}
    lines = _format_problems(tree.problems, problems, tree.sources)
    if lines or settings is None:
        secrets = _collect_secrets(expansion, reference)
        raise SettingsError([masked(line, secrets) for line in lines])
    warnings = tuple(find_warnings(settings, tree.sources))
    settings = replace_retired_model(settings)
    settings._sources, settings._warnings = tree.sources, warnings
    return settings


def _find_missing_folders(root: object) -> Iterator[tuple[str, str]]:
    """Yield the key path of each prompt folder that does not exist, so that one run reports all problems."""
    prompts = root.get("prompts") if isinstance(root, dict) else None
    directory = prompts.get("directory") if isinstance(prompts, dict) else None
    folders = {"prompts.directory": directory}
    if isinstance(directory, list):
        folders = {f"prompts.directory[{index}]": folder for index, folder in enumerate(directory)}
    for path, folder in folders.items():
        if isinstance(folder, str) and not os.path.isdir(folder):  # noqa: PTH112 (`Path.is_dir` may raise)
            yield path, f"there is no folder {folder}"


def _format_problems(by_line: list[tuple[int, str]], by_key: Mapping[str, str], sources: Sources) -> list[str]:
    """All problems with their location, sorted by line; a missing key gets the line of its section."""
    located = [(line, sentence) for line, sentence in by_line]
    located += [(sources.find_line(key) or 0, f"{key}: {sentence}") for key, sentence in by_key.items()]
    return [f"{sources.file}{f':{line}' if line else ''}: {sentence}" for line, sentence in sorted(located)]


def _collect_secrets(expansion: Expansion, reference: Reference) -> tuple[str, ...]:
    """Texts that no message may contain, even if they were also written elsewhere in the file; longest first.

    These are the values of all secret keys and all values from variables, since any of those may be a secret.
    """
    texts = (
        value
        for path, value in iter_leaves(expansion.root)
        if isinstance(value, str) and (path in expansion.variables or ((key := reference.find(path)) and key.secret))
    )
    return tuple(sorted(set(texts), key=len, reverse=True))
