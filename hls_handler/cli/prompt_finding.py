"""The prompts that a command was asked about; what cannot be found is said, and ends it."""

from __future__ import annotations

from collections.abc import Callable
from typing import NoReturn

from hls_handler.cli.options import refuse
from hls_handler.errors import PromptError
from hls_handler.prompting.library import Library, Prompt
from hls_handler.prompting.makeup import Makeup
from hls_handler.sandbox.samples import load_checked, load_shipped
from hls_handler.settings.model import Settings


def refuse_one(problem: str) -> NoReturn:
    refuse([problem])


def find_library(settings: Settings) -> Library:
    """The library that settings name; exits with 2 and all problems when it cannot be used."""
    try:
        return load_checked(settings)
    except PromptError as exc:
        refuse(exc.problems)


def find_sound_library(settings: Settings) -> Library | None:
    """The library that settings name; None when it cannot be used, which somebody else says."""
    try:
        return load_checked(settings)
    except PromptError:
        return None


def find_prompt(library: Library, given: str, *, other_version: Callable[[str], NoReturn] = refuse_one) -> Prompt:
    """The prompt of a name or an id; exits with 2 for none, and as `other_version` does for another version's id."""
    name, at, _ = given.partition("@")
    prompt = library.prompts.get(name)
    if prompt is None:
        refuse([f"there is no prompt {name}; there are {', '.join(library.prompts)}"])
    if at and given != prompt.id:
        other_version(f"{given} is another version; the one at hand is {prompt.id}")
    return prompt


def find_shipped(settings: Settings, name: str) -> Makeup:
    """What the shipped prompt of that name is made of; exits with 2 where there is none."""
    try:
        library = load_shipped(settings)
    except PromptError as exc:
        refuse(exc.problems)
    if name not in library.makeups:
        shipped = ", ".join(library.prompts)
        refuse([f"no shipped prompt is called {name}; there are {shipped}; name a second prompt of your own"])
    return library.makeups[name]
