"""Load the prompt library, and format the fields, labels and variables of prompts for output."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

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
NAME_WIDTH = 34  # of a column of `hls prompts vars`; a longer value shifts the rest of its line to the right


def describe_variables(event: str, family: Family, prompts: Iterable[Prompt], budget: PromptLimits) -> Iterator[str]:
    """Yield the lines of `hls prompts vars`. The fields and labels that `prompts` define come last."""
    examples = (variables for _, variables in family.samples())
    documented = document_variables({**COMMON, **family.variables}, examples)
    yield from _list_variables(f"Variables of prompts and comments about {event}", documented)
    others = ("finding_verdicts", "generic_analysis")  # after the types of which comments show something
    kinds = sorted(family.replies, key=lambda kind: (kind in others, kind))
    from hls_handler.sandbox.samples import comment_examples  # here: `hls serve` does not need it

    comments = {kind: list(comment_examples(event, REPLY_TYPES[kind], budget)) for kind in kinds}
    documented = document_variables({**COMMENT, **family.comment_variables}, comments[kinds[0]])
    yield from _list_variables("Variables of comments only", documented)
    for kind in kinds:
        title = f"Variables of comments, and of prompts that follow with `then`, if the reply is {kind}"
        yield from _list_variables(title, document_variables({"analysis": REPLY_TYPES[kind]}, comments[kind]))
        yield from _list_labels(kind, REPLY_TYPES[kind])
    for prompt in prompts:
        shipped = REPLY_TYPES[prompt.reply]
        if prompt.reply in family.replies and prompt.reply_model is not shipped:
            documented = document_variables(
                {"analysis": prompt.reply_model}, comment_examples(event, prompt.reply_model, budget)
            )
            custom = custom_field_names(prompt)
            fields = [one for one in documented if one.name.removeprefix("analysis.").removesuffix("[]") in custom]
            if fields:
                yield from _list_variables(f"Additional or changed variables after {prompt.name}", fields)
            yield from _list_labels(prompt.name, prompt.reply_model)


def _list_variables(title: str, variables: Iterable[VariableDoc]) -> Iterator[str]:
    yield f"{title}:"
    for one in variables:
        example = "" if one.example is None else _shorten(one.example)
        yield f"  {one.name:<{NAME_WIDTH}}  {one.trust or '-':<10}  {one.kind:<13}  {example}".rstrip()
    yield ""


def _list_labels(name: str, model: type[Reply]) -> Iterator[str]:
    labels = list(list_labels(model))
    if labels:
        yield f"Labels set by {name}:"
        yield from (f"  {field:<{NAME_WIDTH}}  {names}" for field, names in labels)
        yield ""


def _shorten(text: str) -> str:
    line = " ".join(text.split()) or '""'
    return line if len(line) <= MAX_EXAMPLE_CHARS else f"{line[: MAX_EXAMPLE_CHARS - 3]}..."
