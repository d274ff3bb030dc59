"""Format the template variables of an event family and the labels that its replies set."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from hls_handler.analysis import REPLY_TYPES, Reply
from hls_handler.cli.prompt_fields import custom_field_names, list_labels
from hls_handler.handlers.handler import PromptLimits
from hls_handler.prompting.family import Family
from hls_handler.prompting.prompt import Prompt
from hls_handler.prompting.variable_docs import VariableDoc, document_variables
from hls_handler.prompting.variables import COMMENT, COMMON

MAX_EXAMPLE_CHARS = 60
NAME_WIDTH, OWNER_WIDTH, TYPE_WIDTH = 34, 10, 13
"""Widths of the columns; a longer value shifts the rest of its line."""


def format_variables(event: str, family: Family, prompts: Iterable[Prompt], budget: PromptLimits) -> Iterator[str]:
    """Yield the variables of prompts, comments and replies, then the differences of each prompt in `prompts`."""
    prompts_see = {**COMMON, **family.variables}
    examples = (variables for _, variables in family.samples())
    yield from _format_section(
        f"Variables of prompts and comments about {event}", document_variables(prompts_see, examples)
    )
    kinds = sorted(family.replies)
    from hls_handler.sandbox.examples import comment_examples  # here: `hls serve` does not need it

    comments = {kind: list(comment_examples(event, REPLY_TYPES[kind], budget)) for kind in kinds}
    only_comments = {**COMMENT, **family.comment_variables}
    yield ""
    yield from _format_section("Variables of comments only", document_variables(only_comments, comments[kinds[0]]))
    for kind in kinds:
        yield ""
        title = f"Variables of comments, and of prompts that follow with `then`, if the reply is {kind}"
        yield from _format_section(title, document_variables({"analysis": REPLY_TYPES[kind]}, comments[kind]))
        yield from _format_labels(f"Labels set by {kind}", REPLY_TYPES[kind])
    for prompt in prompts:
        if prompt.reply in family.replies and prompt.reply_model is not REPLY_TYPES[prompt.reply]:
            yield from _format_differences(prompt, comment_examples(event, prompt.reply_model, budget))


def _format_differences(prompt: Prompt, examples: Iterable[Mapping[str, object]]) -> Iterator[str]:
    custom = custom_field_names(prompt)
    variables = document_variables({"analysis": prompt.reply_model}, examples)
    if custom:
        yield ""
        fields = (offer for offer in variables if offer.name.removeprefix("analysis.").removesuffix("[]") in custom)
        yield from _format_section(f"Additional or changed variables after {prompt.name}", fields)
    if prompt.reply_model.label_rules != REPLY_TYPES[prompt.reply].label_rules or custom:
        yield from _format_labels(f"Labels set by {prompt.name}", prompt.reply_model)


def _format_labels(title: str, model: type[Reply]) -> Iterator[str]:
    labels = dict(list_labels(model))
    if labels:
        yield ""
        yield f"{title}:"
        yield from (f"  {field:<{NAME_WIDTH}}  {names}" for field, names in labels.items())


def _format_section(title: str, shown: Iterable[VariableDoc]) -> Iterator[str]:
    yield f"{title}:"
    for offer in shown:
        example = "" if offer.example is None else _shorten(offer.example)
        owner = offer.whose or "-"
        line = f"  {offer.name:<{NAME_WIDTH}}  {owner:<{OWNER_WIDTH}}  {offer.kind:<{TYPE_WIDTH}}  {example}"
        yield line.rstrip()


def _shorten(text: str) -> str:
    """Return the text in one line of at most `MAX_EXAMPLE_CHARS` characters, and '""' for an empty one."""
    line = " ".join(text.split()) or '""'
    return line if len(line) <= MAX_EXAMPLE_CHARS else f"{line[: MAX_EXAMPLE_CHARS - 3]}..."
