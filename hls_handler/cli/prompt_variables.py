"""The variables of a family, and the labels that come of its replies, in lines for people."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from hls_handler.analysis import REPLY_TYPES, Reply
from hls_handler.cli.prompt_fields import own_fields, shown_labels
from hls_handler.handlers.handler import Budget
from hls_handler.prompting.family import Family
from hls_handler.prompting.offers import Offer, offers
from hls_handler.prompting.prompt import Prompt
from hls_handler.prompting.variables import COMMENT, COMMON
from hls_handler.sandbox.examples import comment_examples

LONGEST_EXAMPLE = 60
NAME, WHOSE, KIND = 34, 10, 13
"""Widths of the columns; what is longer moves the rest of its line."""


def shown_variables(event: str, family: Family, prompts: Iterable[Prompt], budget: Budget) -> Iterator[str]:
    """What prompts see, then what only comments see, then Claude's reply; last what is other with some of `prompts`."""
    prompts_see = {**COMMON, **family.variables}
    examples = (variables for _, variables in family.samples())
    yield from _section(f"Prompts and comments about {event} see", offers(prompts_see, examples))
    kinds = sorted(family.replies)
    comments = {kind: list(comment_examples(event, REPLY_TYPES[kind], budget)) for kind in kinds}
    only_comments = {**COMMENT, **family.comment_variables}
    yield ""
    yield from _section("Only comments see", offers(only_comments, comments[kinds[0]]))
    for kind in kinds:
        yield ""
        title = f"Comments see, and prompts that a `then` leads to, where the reply is {kind}"
        yield from _section(title, offers({"analysis": REPLY_TYPES[kind]}, comments[kind]))
        yield from _labels(f"Labels that come of {kind}", REPLY_TYPES[kind])
    for prompt in prompts:
        if prompt.reply in family.replies and prompt.reply_model is not REPLY_TYPES[prompt.reply]:
            yield from _differences(prompt, comment_examples(event, prompt.reply_model, budget))


def _differences(prompt: Prompt, examples: Iterable[Mapping[str, object]]) -> Iterator[str]:
    own = own_fields(prompt)
    told = offers({"analysis": prompt.reply_model}, examples)
    if own:
        yield ""
        fields = (offer for offer in told if offer.name.removeprefix("analysis.").removesuffix("[]") in own)
        yield from _section(f"They see besides, or with other values, where {prompt.name} was asked", fields)
    if prompt.reply_model.label_rules != REPLY_TYPES[prompt.reply].label_rules or own:
        yield from _labels(f"Labels that come of {prompt.name}", prompt.reply_model)


def _labels(title: str, model: type[Reply]) -> Iterator[str]:
    labels = dict(shown_labels(model))
    if labels:
        yield ""
        yield f"{title}:"
        yield from (f"  {field:<{NAME}}  {names}" for field, names in labels.items())


def _section(title: str, shown: Iterable[Offer]) -> Iterator[str]:
    yield f"{title}:"
    for offer in shown:
        example = "" if offer.example is None else _cut(offer.example)
        yield f"  {offer.name:<{NAME}}  {offer.whose or '-':<{WHOSE}}  {offer.kind:<{KIND}}  {example}".rstrip()


def _cut(text: str) -> str:
    """One line of at most `LONGEST_EXAMPLE` characters, in quotes if it is empty."""
    line = " ".join(text.split()) or '""'
    return line if len(line) <= LONGEST_EXAMPLE else f"{line[: LONGEST_EXAMPLE - 3]}..."
