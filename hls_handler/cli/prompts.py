"""`hls prompts`: for prompt authors, what there is, what it came to, what it can name, and where it differs.

`hls prompts try` has a module of its own.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Annotated

import typer

from hls_handler.cli.options import Config, fail, load, open_store_if_any, refuse
from hls_handler.cli.prompt_compare import compare
from hls_handler.cli.prompt_fields import shown_fields, shown_labels
from hls_handler.cli.prompt_figures import Figures, shown_feedback, shown_figures
from hls_handler.cli.prompt_finding import find_library, find_prompt, find_shipped, find_sound_library
from hls_handler.cli.prompt_try import try_
from hls_handler.cli.prompt_variables import shown_variables
from hls_handler.cli.say import say, say_lines
from hls_handler.handlers import HANDLERS
from hls_handler.handlers.handler import Budget
from hls_handler.prompting.library import Library, Prompt
from hls_handler.prompting.makeup import Makeup, differences, origin
from hls_handler.sandbox.samples import SHIPPED, families
from hls_handler.store import feedback_in

prompts = typer.Typer(
    help="Look at the library of prompts, compare, and try one out.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

prompts.command(name="try")(try_)

NAME_HELP = "The prompt's name (issues/analyze), or its id (issues/analyze@3f9c2a)."


@prompts.command(name="list")
def list_(config: Config = None) -> None:
    """List the prompts, with what they came to.

    For each prompt of the library: its id, the events that it is for, or the prompt that it comes after, where it is
    from, and from the database how many answers it gave, what they cost, its last error, and how many of the labels
    that it had set people changed within a month. What earlier versions of the same name came to stands in brackets.
    Works while the service runs.

    Exit codes: 0 listed; 2 called wrongly, or the settings, the prompts or the database cannot be used.
    """
    settings = load(config)
    library = find_library(settings)
    with open_store_if_any(settings) as store:
        rows = None if store is None else store.prompt_figures()
        feedback = {} if store is None else feedback_in(store.counters())
    for prompt in library.prompts.values():
        say(prompt.id)
        say(f"  for         {_occasions(library, prompt)}")
        say(f"  from        {origin(library.makeups[prompt.name], SHIPPED)}")
        for line in shown_figures(Figures.of(prompt.id, rows)) if rows is not None else ():
            say(f"  {line}")
        for line in shown_feedback(prompt.id, feedback):
            say(f"  {line}")
    if rows is None:
        say(f"{settings.sources.where('storage.url')}: there is no database yet, so no answers, costs and errors")


@prompts.command(name="vars")
def vars_(
    family: Annotated[
        str, typer.Argument(metavar="FAMILY", help="issues, pull_requests, reviews, or the event's name.")
    ],
    config: Config = None,
) -> None:
    """List the variables that templates see.

    For each variable and each of its members: the name ([] stands for each element of a list), whose text it is, the
    type, and an example from a recorded event. A stranger's text can be shown, compared and measured, but not taken
    apart; numbers and booleans are nobody's text. First what prompts see, then what only comments see, whose examples
    come of canned replies, with the labels that come of such replies; last the fields and labels of prompts whose
    front matter has its own. If the prompts are broken, only these are missing.

    Exit codes: 0 listed; 2 called wrongly, or the settings cannot be used.
    """
    settings = load(config)
    budget = Budget(input_tokens=settings.claude.input_tokens)
    known = families(budget)
    event = next((event for event, one in known.items() if family in (event, one.name)), None)
    if event is None:
        names = ", ".join(dict.fromkeys(known[event].name for event in HANDLERS))
        refuse([f"there is no family {family!r}; there are {names}, and each other event of GitHub's, such as push"])
    library = find_sound_library(settings)
    for line in shown_variables(event, known[event], library.prompts.values() if library else (), budget):
        say(line)
    if library is None:
        say("the prompts cannot be used, so their own fields and labels are missing here; hls check says what is wrong")


@prompts.command()
def show(
    prompt: Annotated[str, typer.Argument(metavar="NAME", help=NAME_HELP)],
    config: Config = None,
) -> None:
    """Show one prompt: front matter, files, template.

    The front matter is the one that holds: that of the shipped prompt, where the file has none of its own; what it
    makes of the reply's fields and of labels is said above it. Lines have the numbers that they have in their file, as
    in the messages of `hls check`.

    Exit codes: 0 shown; 1 the id is that of another version; 2 called wrongly, or the settings or the prompts cannot
    be used.
    """
    library = find_library(load(config))
    chosen = find_prompt(library, prompt, other_version=fail)
    say_lines("\n".join(_shown(chosen, library.makeups[chosen.name])))


@prompts.command()
def diff(
    a: Annotated[str, typer.Argument(metavar="A", help=NAME_HELP)],
    b: Annotated[str | None, typer.Argument(metavar="[B]", help="Another one; without it A and the shipped A.")] = None,
    config: Config = None,
) -> None:
    """Show how two prompts differ, over all their files.

    A unified diff from A to B, or from the shipped prompt of the same name to A: of the templates, the comments, and
    the parts that they use, with the front matter that holds.

    Exit codes: 0 they are the same; 1 they differ; 2 called wrongly, or the settings or the prompts cannot be used.
    """
    settings = load(config)
    library = find_library(settings)
    first = library.makeups[find_prompt(library, a).name]
    if b is None:
        old, new = find_shipped(settings, first.name), first
    else:
        old, new = first, library.makeups[find_prompt(library, b).name]
    lines = differences(old, new)
    if lines:
        say_lines("\n".join(lines))
        raise typer.Exit(1)
    say(f"the same: {new.name} and {'the shipped one' if b is None else old.name}")


prompts.command()(compare)


def _occasions(library: Library, prompt: Prompt) -> str:
    """ "issues.opened, issues.edited", or "after issues/analyze"."""
    occasions = ", ".join([*prompt.on, *(f"after {name}" for name in library.leading_to(prompt.name))])
    return f"{occasions}; only in the shadow of another" if prompt.name in library.shadows else occasions


def _shown(prompt: Prompt, makeup: Makeup) -> list[str]:
    return [
        f"prompt      {prompt.id}",
        f"from        {origin(makeup, SHIPPED)}",
        *_listed("files", [source.file for source in makeup.sources]),
        f"reply       {prompt.reply}",
        *_listed("fields", shown_fields(prompt)),
        *_listed("labels", [f"{field}: {labels}" for field, labels in shown_labels(prompt.reply_model)]),
        "",
        f"--- front matter ({makeup.front_file}) ---",
        *_numbered(makeup.numbered_front),
        "",
        f"--- template ({makeup.template.file}) ---",
        *_numbered(makeup.numbered_template),
    ]


def _listed(title: str, lines: Iterable[str]) -> Iterator[str]:
    return (f"{title if index == 0 else '':<10}  {line}" for index, line in enumerate(lines))


def _numbered(lines: Iterable[tuple[int, str]]) -> Iterator[str]:
    return (f"{number:>4}  {line}" if line else f"{number:>4}" for number, line in lines)
