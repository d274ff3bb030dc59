"""Load the prompt library, and format the fields, labels and variables of prompts for output."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from hls_handler.analysis import REPLY_TYPES, Reply
from hls_handler.cli.options import abort
from hls_handler.engine.library import load_checked
from hls_handler.errors import PromptError
from hls_handler.handlers.handler import PromptLimits
from hls_handler.prompting.prompt import Family, Library, Prompt
from hls_handler.prompting.render import COMMENT, COMMON
from hls_handler.prompting.variables import VariableDoc, document_variables
from hls_handler.reports.prompt_library import custom_field_names, list_labels
from hls_handler.settings.model import Settings


def load_library(settings: Settings) -> Library:
    """Load the prompt library of the settings. If it cannot be used, print all problems and exit with 2."""
    try:
        return load_checked(settings)
    except PromptError as exc:
        abort(*exc.problems)


def get_prompt(library: Library, name_or_id: str) -> Prompt:
    """Return the prompt with this name ("issues/analyze") or id ("issues/analyze@3f9c2a"). Exits with 2 for others."""
    name, at, _ = name_or_id.partition("@")
    prompt = library.prompts.get(name)
    if prompt is None:
        abort(f"there is no prompt {name}; there are {', '.join(library.prompts)}")
    if at and name_or_id != prompt.id:
        abort(f"{name_or_id} is another version; the current one is {prompt.id}")
    return prompt


MAX_EXAMPLE_CHARS = 60
NAME_WIDTH, TRUST_WIDTH, TYPE_WIDTH = 34, 10, 13
"""Widths of three columns of `hls prompts vars`. A longer value shifts the rest of its line to the right."""

Section = dict[str, Any]
"""A part of the output of `hls prompts vars`: a title, variables, and labels by the field that sets them."""


def list_variables(event: str, family: Family, prompts: Iterable[Prompt], budget: PromptLimits) -> Iterator[Section]:
    """Yield the sections of `hls prompts vars`. The fields and labels that `prompts` define come last."""
    prompts_see = {**COMMON, **family.variables}
    examples = (variables for _, variables in family.samples())
    title = f"Variables of prompts and comments about {event}"
    yield _section(title, document_variables(prompts_see, examples))
    others = ("finding_verdicts", "generic_analysis")  # after the types of which comments show something
    kinds = sorted(family.replies, key=lambda kind: (kind in others, kind))
    from hls_handler.sandbox.samples import comment_examples  # here: `hls serve` does not need it

    comments = {kind: list(comment_examples(event, REPLY_TYPES[kind], budget)) for kind in kinds}
    only_comments = document_variables({**COMMENT, **family.comment_variables}, comments[kinds[0]])
    yield _section("Variables of comments only", only_comments)
    for kind in kinds:
        title = f"Variables of comments, and of prompts that follow with `then`, if the reply is {kind}"
        yield _section(title, document_variables({"analysis": REPLY_TYPES[kind]}, comments[kind]))
        yield from _list_label_section(f"Labels set by {kind}", REPLY_TYPES[kind])
    for prompt in prompts:
        if prompt.reply in family.replies and prompt.reply_model is not REPLY_TYPES[prompt.reply]:
            yield from _list_differences(prompt, comment_examples(event, prompt.reply_model, budget))


def _list_differences(prompt: Prompt, examples: Iterable[Mapping[str, object]]) -> Iterator[Section]:
    custom = custom_field_names(prompt)
    if custom:
        variables = document_variables({"analysis": prompt.reply_model}, examples)
        fields = (one for one in variables if one.name.removeprefix("analysis.").removesuffix("[]") in custom)
        yield _section(f"Additional or changed variables after {prompt.name}", fields)
    if custom or prompt.reply_model.label_rules != REPLY_TYPES[prompt.reply].label_rules:
        yield from _list_label_section(f"Labels set by {prompt.name}", prompt.reply_model)


def _list_label_section(title: str, model: type[Reply]) -> Iterator[Section]:
    labels = dict(list_labels(model))
    if labels:
        yield {**_section(title, ()), "labels": labels}


def _section(title: str, variables: Iterable[VariableDoc]) -> Section:
    listed = [{"name": one.name, "trust": one.trust, "type": one.kind, "example": one.example} for one in variables]
    return {"title": title, "variables": listed, "labels": {}}


def format_sections(sections: Iterable[Section]) -> Iterator[str]:
    for position, section in enumerate(sections):
        if position:
            yield ""
        yield f"{section['title']}:"
        for one in section["variables"]:
            trust, example = one["trust"] or "-", "" if one["example"] is None else _shorten(one["example"])
            line = f"  {one['name']:<{NAME_WIDTH}}  {trust:<{TRUST_WIDTH}}  {one['type']:<{TYPE_WIDTH}}  {example}"
            yield line.rstrip()
        yield from (f"  {name:<{NAME_WIDTH}}  {names}" for name, names in section["labels"].items())


def _shorten(text: str) -> str:
    line = " ".join(text.split()) or '""'
    return line if len(line) <= MAX_EXAMPLE_CHARS else f"{line[: MAX_EXAMPLE_CHARS - 3]}..."
