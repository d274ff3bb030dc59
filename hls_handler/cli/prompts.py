"""`hls prompts list`, `vars`, `show` and `diff`; `try` and `compare` have their own modules."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Annotated

import typer

from hls_handler.cli.options import Config, abort, fail, load, open_existing_store
from hls_handler.cli.prompt_compare import compare
from hls_handler.cli.prompt_fields import format_custom_fields, list_labels
from hls_handler.cli.prompt_figures import VersionStats, format_feedback, format_stats
from hls_handler.cli.prompt_finding import find_valid_library, get_prompt, get_shipped_prompt, load_library
from hls_handler.cli.prompt_try import try_
from hls_handler.cli.prompt_variables import format_variables
from hls_handler.cli.say import print_line, print_lines
from hls_handler.handlers import HANDLERS
from hls_handler.handlers.handler import PromptLimits
from hls_handler.history.corrections import feedback_in
from hls_handler.prompting.library import Library, Prompt
from hls_handler.prompting.makeup import PromptSources, diff_prompts, origin
from hls_handler.work.library import SHIPPED, families

prompts = typer.Typer(
    help="List, show, compare and try prompts.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

prompts.command(name="try")(try_)

NAME_HELP = "The prompt's name (issues/analyze), or its id (issues/analyze@3f9c2a)."


@prompts.command(name="list")
def list_(config: Config = None) -> None:
    """List the prompts with their statistics.

    For each prompt of the library: its id, the events that it handles or the prompt that it follows, its files, and,
    from the database, the number of answers, their cost, the last error, and how many of its labels people changed
    within a month. The statistics of earlier versions are in parentheses. Works while the service runs.

    Exit codes: 0 listed; 2 usage error, or unusable settings, prompts or database.
    """
    settings = load(config)
    library = load_library(settings)
    with open_existing_store(settings) as store:
        rows = None if store is None else store.calls.prompt_stats()
        feedback = {} if store is None else feedback_in(store.statistics.counters())
    for prompt in library.prompts.values():
        print_line(prompt.id)
        print_line(f"  for         {_format_triggers(library, prompt)}")
        print_line(f"  from        {origin(library.makeups[prompt.name], SHIPPED)}")
        for line in format_stats(VersionStats.from_rows(prompt.id, rows)) if rows is not None else ():
            print_line(f"  {line}")
        for line in format_feedback(prompt.id, feedback):
            print_line(f"  {line}")
    if rows is None:
        print_line(f"{settings.sources.where('storage.url')}: there is no database yet, so there are no statistics")


@prompts.command(name="vars")
def vars_(
    family: Annotated[
        str, typer.Argument(metavar="FAMILY", help="issues, pull_requests, reviews, ..., or the name of an event.")
    ],
    config: Config = None,
) -> None:
    """List the variables of templates.

    For each variable and each of its members: the name ([] stands for each element of a list), who wrote the text, the
    type, and an example from a recorded event. `stranger's` marks untrusted text: it can be output, compared and
    measured, but not split or changed. `ours` marks trusted text, such as one of a fixed set of values, and `-` values
    that are not text. First come the variables of prompts, then those of comments only, with examples from canned
    replies, and the labels that such replies set; last the fields and labels that a prompt's own front matter defines.
    Only these are missing if the prompts have errors.

    Exit codes: 0 listed; 2 usage error or unusable settings.
    """
    settings = load(config)
    budget = PromptLimits(input_tokens=settings.claude.input_tokens)
    by_event = families()
    event = next((event for event, one in by_event.items() if family in (event, one.name)), None)
    if event is None:
        names = ", ".join(dict.fromkeys(by_event[event].name for event in HANDLERS))
        abort([f"there is no family {family!r}; there are {names}, and every other GitHub event, such as push"])
    library = find_valid_library(settings)
    for line in format_variables(event, by_event[event], library.prompts.values() if library else (), budget):
        print_line(line)
    if library is None:
        print_line(
            "the prompts have errors, so the fields and labels that they define are missing here; see `hls check`"
        )


@prompts.command()
def show(
    prompt: Annotated[str, typer.Argument(metavar="NAME", help=NAME_HELP)],
    config: Config = None,
) -> None:
    """Show one prompt: front matter, files, template.

    Prints the effective front matter, which is that of the shipped prompt if the file has none, and above it the
    fields and labels that it defines. Line numbers are those of the files, as in the messages of `hls check`.

    Exit codes: 0 shown; 1 the id is that of another version; 2 usage error, or unusable settings or prompts.
    """
    library = load_library(load(config))
    chosen = get_prompt(library, prompt, other_version=fail)
    print_lines("\n".join(_format_prompt(chosen, library.makeups[chosen.name])))


@prompts.command()
def diff(
    a: Annotated[str, typer.Argument(metavar="A", help=NAME_HELP)],
    b: Annotated[
        str | None, typer.Argument(metavar="[B]", help="Another prompt; without it, A is compared with the shipped A.")
    ] = None,
    config: Config = None,
) -> None:
    """Show the differences of two prompts.

    Prints a unified diff from A to B, or from the shipped prompt of the same name to A. It covers the templates with
    their effective front matter, the comments, and the files that they include.

    Exit codes: 0 no differences; 1 differences; 2 usage error, or unusable settings or prompts.
    """
    settings = load(config)
    library = load_library(settings)
    first = library.makeups[get_prompt(library, a).name]
    if b is None:
        old, new = get_shipped_prompt(settings, first.name), first
    else:
        old, new = first, library.makeups[get_prompt(library, b).name]
    lines = diff_prompts(old, new)
    if lines:
        print_lines("\n".join(lines))
        raise typer.Exit(1)
    print_line(f"no differences: {new.name} and {'the shipped prompt' if b is None else old.name}")


prompts.command()(compare)


def _format_triggers(library: Library, prompt: Prompt) -> str:
    """Return "issues.opened, issues.edited" or "after issues/analyze"."""
    triggers = ", ".join([*prompt.on, *(f"after {name}" for name in library.predecessors(prompt.name))])
    return f"{triggers}; only as a shadow" if prompt.name in library.shadows else triggers


def _format_prompt(prompt: Prompt, makeup: PromptSources) -> list[str]:
    return [
        f"prompt      {prompt.id}",
        f"from        {origin(makeup, SHIPPED)}",
        *_format_list("files", [source.file for source in makeup.sources]),
        f"reply       {prompt.reply}",
        *_format_list("fields", format_custom_fields(prompt)),
        *_format_list("labels", [f"{field}: {labels}" for field, labels in list_labels(prompt.reply_model)]),
        "",
        f"--- front matter ({makeup.front_file}) ---",
        *_format_numbered(makeup.numbered_front),
        "",
        f"--- template ({makeup.template.file}) ---",
        *_format_numbered(makeup.numbered_template),
    ]


def _format_list(title: str, lines: Iterable[str]) -> Iterator[str]:
    return (f"{title if index == 0 else '':<10}  {line}" for index, line in enumerate(lines))


def _format_numbered(lines: Iterable[tuple[int, str]]) -> Iterator[str]:
    return (f"{number:>4}  {line}" if line else f"{number:>4}" for number, line in lines)
