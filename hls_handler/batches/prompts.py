"""The prompts that a batch asks: the one in use, and a draft of it."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from hls_handler.batches.preview import CannotPlan
from hls_handler.engine.batches import AskedPrompt, make_source
from hls_handler.engine.library import load_checked
from hls_handler.engine.recording_job import read_facts
from hls_handler.errors import StepFailed, with_remedy
from hls_handler.events import Event
from hls_handler.github.reader import GithubReader
from hls_handler.handlers.asking import VERIFY_PROMPT
from hls_handler.handlers.handler import common_variables
from hls_handler.handlers.registry import handler_for
from hls_handler.prompting.prompt import Library
from hls_handler.prompting.render import render
from hls_handler.prompting.source_files import make_folder
from hls_handler.question import RenderedPrompt
from hls_handler.reports.estimate import name_model
from hls_handler.settings.effective import EffectiveSettings
from hls_handler.settings.model import Settings


@dataclass(frozen=True, slots=True)
class Draft:
    """The template or model to try in place of those in use."""

    file: Path | None  # in place of its template
    model: str | None  # in place of its model


def choose_prompts(
    settings: Settings,
    library: Library,
    name: str,
    draft: Draft,
    lookup_model: Callable[[str], object],
) -> tuple[AskedPrompt, ...]:
    """Return the prompt in use, and the draft if there is one.

    Raises `CannotPlan` for a draft that is equal to it, and for a model that the provider does not
    have, and `PromptError` for a faulty one.
    """
    prompt = library.prompts[name]
    current = AskedPrompt(name, prompt.id, library.sources[name])
    if draft.file is None and draft.model is None:
        return (current,)
    asked = current
    if draft.file is not None:
        text = draft.file.read_text(encoding="utf-8")
        edited = load_checked(settings, make_folder({current.sources.template.name: text}))
        asked = AskedPrompt(name, edited.prompts[name].id, edited.sources[name])
        prompt = edited.prompts[name]
    model = name_model(settings.claude, prompt)
    if asked.title == current.title and draft.model in (None, model, prompt.model):
        raise CannotPlan(f"the draft is equal to {current.title}, which is in use")
    if draft.model is not None:
        asked = with_model(asked, draft.model, lookup_model)
    return (current, asked)


def choose_review(library: Library, effective: EffectiveSettings) -> AskedPrompt:
    """Return the prompt that reviews a new pull request, with that of the second look."""
    opened = map(library.prompts.__getitem__, library.on("pull_request.opened"))
    prompt = next((one for one in opened if one.reply == "pull_request_analysis"), None)
    if prompt is None:
        raise CannotPlan("no prompt reviews new pull requests")
    second_look = None
    if effective.review.verify:
        second_look = library.sources.get(VERIFY_PROMPT)
    sources = library.sources[prompt.name]
    return AskedPrompt(prompt.name, prompt.id, sources, second_look=second_look)


def with_model(
    asked: AskedPrompt, model: str, lookup_model: Callable[[str], object]
) -> AskedPrompt:
    """Raises `CannotPlan` for a model that the provider does not have."""
    try:
        lookup_model(model)
    except StepFailed as exc:
        raise CannotPlan(f"--model {model}: {with_remedy(exc)}") from exc
    return replace(asked, title=f"{asked.title} with {model}", model=model)


def render_question(
    event: Event,
    asked: AskedPrompt,
    reader: GithubReader,
    settings: Settings,
    effective: EffectiveSettings,
) -> RenderedPrompt:
    """Return the question of a batch about an event, as the engine asks it."""
    library = asked.restore()
    source = make_source(event, reader, settings, library, effective, asked.name)
    facts = read_facts(handler_for(event.name), source)
    variables = {
        **common_variables(event, asked.name, effective),
        **handler_for(event.name).variables(facts),
    }
    return render(library, asked.name, variables, key=secrets.token_bytes(16))
