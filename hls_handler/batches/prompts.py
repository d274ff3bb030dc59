"""The prompts that a batch asks: the one in use, and a draft of it."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from hls_handler.analysis import RenderedPrompt
from hls_handler.batches.preview import CannotPlan, Target
from hls_handler.batches.recorded import BatchPrompt, find_index, make_source
from hls_handler.batches.recording_job import read_facts
from hls_handler.deliveries import NewDelivery
from hls_handler.engine.library import load_checked
from hls_handler.errors import StepFailed, with_remedy
from hls_handler.events import parse_event
from hls_handler.handlers.handler import common_variables
from hls_handler.handlers.job import VERIFY_PROMPT
from hls_handler.handlers.registry import handler_for
from hls_handler.prompting.prompt import Library
from hls_handler.prompting.render import render
from hls_handler.prompting.source_files import make_folder
from hls_handler.reports.estimate import name_model
from hls_handler.settings.effective import EffectiveSettings
from hls_handler.settings.model import Settings

OPENED = "pull_request.opened"


@dataclass(frozen=True, slots=True)
class PromptChange:
    """The template or model to try in place of those in use."""

    file: Path | None  # in place of its template
    model: str | None  # in place of its model


def choose_prompts(
    settings: Settings,
    library: Library,
    name: str,
    change: PromptChange,
    lookup_model: Callable[[str], object],
) -> tuple[BatchPrompt, ...]:
    """Return the prompt in use, and the draft if there is one.

    Raises `CannotPlan` for a draft that is equal to it, and for a model that the provider does not
    have, and `PromptError` for a faulty one.
    """
    prompt = library.prompts[name]
    current = BatchPrompt(name, prompt.id, library.sources[name])
    if change.file is None and change.model is None:
        return (current,)
    draft = current
    if change.file is not None:
        text = change.file.read_text(encoding="utf-8")
        edited = load_checked(settings, make_folder({current.sources.template.name: text}))
        prompt = edited.prompts[name]
        draft = BatchPrompt(name, prompt.id, edited.sources[name])
    model = name_model(settings.claude, prompt)
    if draft.title == current.title and change.model in (None, model, prompt.model):
        raise CannotPlan(f"the draft is equal to {current.title}, which is in use")
    if change.model is not None:
        draft = with_model(draft, change.model, lookup_model)
    return (current, draft)


def choose_review(library: Library, effective: EffectiveSettings) -> BatchPrompt:
    """Return the prompt that the service uses for a new pull request, with that of the second look.

    Raises `CannotPlan` if none reviews it.
    """
    choice = effective.find_prompt(OPENED)
    names: Sequence[object] = library.on(OPENED)
    where = "no prompt reviews new pull requests"
    if choice is not None:
        names = [choice.prompt]
        where = f"{choice.key} chooses no prompt that reviews pull requests: {choice.prompt}"
    chosen = [prompt for name, prompt in library.prompts.items() if name in names]
    reviewing = (prompt for prompt in chosen if prompt.reply == "pull_request_analysis")
    prompt = next(reviewing, None)
    if prompt is None:
        raise CannotPlan(where)
    second_look = None
    if effective.review.verify:
        second_look = library.sources.get(VERIFY_PROMPT)
    sources = library.sources[prompt.name]
    return BatchPrompt(prompt.name, prompt.id, sources, second_look=second_look)


def with_model(
    prompt: BatchPrompt, model: str, lookup_model: Callable[[str], object]
) -> BatchPrompt:
    """Raises `CannotPlan` for a model that the provider does not have."""
    try:
        lookup_model(model)
    except StepFailed as exc:
        raise CannotPlan(f"--model {model}: {with_remedy(exc)}") from exc
    return replace(prompt, title=f"{prompt.title} with {model}", model=model)


def render_question(
    target: Target, subject: NewDelivery, prompts: Sequence[BatchPrompt]
) -> RenderedPrompt:
    """Return the first question about a subject, as the engine asks it."""
    prompt = prompts[find_index(subject.request_id)]
    library = prompt.restore()
    event = parse_event(subject.event, "batch", subject.body)
    effective = target.effective
    source = make_source(event, target.reader, target.settings, library, effective, prompt.name)
    handler = handler_for(event.name)
    variables = {
        **common_variables(event, prompt.name, effective),
        **handler.variables(read_facts(handler, source)),
    }
    return render(library, prompt.name, variables, key=secrets.token_bytes(16))
