"""Find the prompt library and the prompts that a command line names, or exit with an error."""

from __future__ import annotations

from collections.abc import Callable
from typing import NoReturn

from hls_handler.cli.options import abort
from hls_handler.errors import PromptError
from hls_handler.prompting.library import Library, Prompt
from hls_handler.prompting.makeup import PromptSources
from hls_handler.settings.model import Settings
from hls_handler.work.library import load_checked, load_shipped


def _abort_with(problem: str) -> NoReturn:
    abort([problem])


def load_library(settings: Settings) -> Library:
    """Load the prompt library that the settings name; if it cannot be used, print all problems and exit with 2."""
    try:
        return load_checked(settings)
    except PromptError as exc:
        abort(exc.problems)


def find_valid_library(settings: Settings) -> Library | None:
    """Load the prompt library that the settings name; None if it cannot be used. Prints nothing."""
    try:
        return load_checked(settings)
    except PromptError:
        return None


def get_prompt(library: Library, name_or_id: str, *, other_version: Callable[[str], NoReturn] = _abort_with) -> Prompt:
    """Return the prompt with this name or id; exits with 2 if there is none.

    `other_version` is called with a message if the id is that of another version; by default it exits with 2.
    """
    name, at, _ = name_or_id.partition("@")
    prompt = library.prompts.get(name)
    if prompt is None:
        abort([f"there is no prompt {name}; there are {', '.join(library.prompts)}"])
    if at and name_or_id != prompt.id:
        other_version(f"{name_or_id} is another version; the current one is {prompt.id}")
    return prompt


def get_shipped_prompt(settings: Settings, name: str) -> PromptSources:
    """Return the source files of the shipped prompt of this name; exits with 2 if there is none."""
    try:
        library = load_shipped(settings)
    except PromptError as exc:
        abort(exc.problems)
    if name not in library.makeups:
        shipped = ", ".join(library.prompts)
        abort([f"there is no shipped prompt {name}; there are {shipped}; name the other prompt as second argument"])
    return library.makeups[name]
