"""`hls check`: everything that can be known to be wrong before an event comes."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from typing import Annotated

import typer

from hls_handler.analysis import REPLY_TYPES
from hls_handler.cli.options import DOTENV, Config, config_path
from hls_handler.cli.prompt_fields import shown_fields, shown_labels
from hls_handler.cli.say import say
from hls_handler.clients.claude import Claude
from hls_handler.clients.claude_refusals import MODEL_REMEDY, PERMISSION_REMEDY
from hls_handler.clients.github import connect
from hls_handler.clients.rate import RateMeter
from hls_handler.errors import DependencyDown, HlsError, PromptError, SettingsError
from hls_handler.prompting.library import Library
from hls_handler.prompting.problems import nearest
from hls_handler.sandbox.samples import load_checked
from hls_handler.settings.load import load_settings
from hls_handler.settings.model import Settings
from hls_handler.settings.retired import find_retired
from hls_handler.settings.uses import all_uses


def check(
    config: Config = None,
    offline: Annotated[bool, typer.Option("--offline", help="Do not ask GitHub and Claude.")] = False,
) -> None:
    """Name every problem of settings, prompts and credentials.

    Every prompt is rendered over every recorded payload of its events. If GitHub and Claude answer, the token, its
    permissions in each repository that settings name in full, the key and the model are checked too. One line for each
    finding, with file and line; and one for each prompt with fields or labels of its own, which says what they are.

    Exit codes: 0 nothing found; 1 something was found; 2 the settings file itself cannot be used.
    """
    path = config_path(config)
    try:
        settings = load_settings(path, os.environ, dotenv=DOTENV)
    except SettingsError as exc:
        for problem in exc.problems:
            say(problem)
        raise typer.Exit(2) from None
    library, findings = _prompts(settings)
    findings += settings.warnings
    findings += [*_retired(library), *_misnamed(settings, library)]
    if not offline:
        # The way to both is said by the same variables: what is wrong with it is told once.
        findings += dict.fromkeys([*_github(settings), *_claude(settings, library)])
    for line in _own_fields(library):
        say(line)
    for finding in findings:
        say(finding)
    if findings:
        raise typer.Exit(1)
    prompts = len(library.prompts) if library else 0
    say(f"{path}: settings and {prompts} prompts are fine" + ("" if offline else "; GitHub and Claude answer"))


def _prompts(settings: Settings) -> tuple[Library | None, list[str]]:
    try:
        return load_checked(settings), []
    except PromptError as exc:
        return None, list(exc.problems)


def _own_fields(library: Library | None) -> Iterator[str]:
    """What front matters make of reply types and labels, so that one can see whether it is what was meant."""
    for prompt in library.prompts.values() if library else ():
        if prompt.reply_model is not REPLY_TYPES[prompt.reply]:
            fields = "; ".join(shown_fields(prompt)) or "those of the reply type"
            labels = "; ".join(f"{field}: {names}" for field, names in shown_labels(prompt.reply_model)) or "none"
            yield f"{prompt.path}: fields {fields}. Labels {labels}"


def _retired(library: Library | None) -> Iterator[str]:
    """Prompts that ask a model which is gone. (Settings' own model is warned about, and replaced.)"""
    for prompt in library.prompts.values() if library else ():
        retired = find_retired(prompt.model) if prompt.model else None
        if retired is not None:
            yield f"{prompt.path}: model: {retired.sentence}"


def _misnamed(settings: Settings, library: Library | None) -> Iterator[str]:
    """Prompts that settings choose and nobody wrote: their events would be ignored, or run without their shadow."""
    if library is None:
        return
    for use in all_uses(settings):
        if use.prompt is not False and use.prompt not in library.prompts:
            where = settings.sources.where(use.key)
            yield f"{where}: there is no prompt {use.prompt!r}; {nearest(use.prompt, library.prompts)}"


def _github(settings: Settings) -> Iterator[str]:
    try:
        github = connect(settings.github, observe=RateMeter().observe, now=lambda: datetime.now(UTC))
    except SettingsError as exc:
        yield from exc.problems
        return
    where = settings.sources.where("github.token")
    try:
        we = github.who_am_i()
        say(f"GitHub: the token is that of {we.login} ({we.type})")
        for index, repository in enumerate(settings.repositories):
            if repository.enabled and not any(sign in repository.name for sign in "*?["):
                at = settings.sources.where(f"repositories[{index}].name")
                yield from (f"{at}: {sentence}" for sentence in github.access(repository.name).missing)
    except DependencyDown as exc:
        yield f"{where}: {exc}; {exc.remedy}"
    except HlsError as exc:
        yield f"{where}: {exc}"
    finally:
        github.close()


def _claude(settings: Settings, library: Library | None) -> Iterator[str]:
    try:
        claude = Claude(settings.claude, clock=time.monotonic, now=lambda: datetime.now(UTC))
    except SettingsError as exc:
        yield from exc.problems
        return
    models = {settings.claude.model: settings.sources.where("claude.model")}
    for prompt in library.prompts.values() if library else ():
        if prompt.model is not None and find_retired(prompt.model) is None:  # those `_retired` names
            models.setdefault(prompt.model, prompt.path)
    with closing(claude):
        for model, where in models.items():
            try:
                status = claude.lookup_model(model)
            except DependencyDown as exc:
                if exc.remedy not in (MODEL_REMEDY, PERMISSION_REMEDY):  # the same for every model
                    yield f"{settings.sources.where('claude.api_key')}: {exc}; {exc.remedy}"
                    return
                yield f"{where}: {exc}; {exc.remedy}"
            except HlsError as exc:
                yield f"{where}: {exc}"
            else:
                if status.lifecycle != "active":
                    yield f"{where}: the model {model} is {status.lifecycle}"
