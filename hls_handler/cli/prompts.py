"""`hls prompts list`, `vars` and `diff`. `try` is in prompt_try.py, `compare` in prompt_compare.py."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from typing import Annotated

import typer

from hls_handler import shipped
from hls_handler.cli.options import (
    AsJson,
    Config,
    abort,
    load,
    open_existing_store,
    print_json,
    print_line,
    print_lines,
)
from hls_handler.cli.prompt_compare import compare
from hls_handler.cli.prompt_library import describe_variables, get_prompt, load_library
from hls_handler.cli.prompt_try import try_
from hls_handler.engine.library import families, load_checked, load_shipped
from hls_handler.errors import PromptError
from hls_handler.handlers import HANDLERS
from hls_handler.handlers.handler import PromptLimits
from hls_handler.prompting.prompt import Library, Prompt, PromptSources, diff_prompts, origin
from hls_handler.reports.prompt_library import (
    NO_CALLS,
    LibraryStats,
    Version,
    format_known_cost,
    format_triggers,
    read_library_stats,
)
from hls_handler.settings.model import Settings
from hls_handler.store.calls import PromptStats
from hls_handler.wording import count

prompts = typer.Typer(
    help="List, compare and try prompts.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

prompts.command(name="try")(try_)

NAME_HELP = "The prompt's name (issues/analyze), or its id (issues/analyze@3f9c2a)."


@prompts.command(name="list")
def list_(as_json: AsJson = False, config: Config = None) -> None:
    """List the prompts with their statistics.

    Prints for each prompt its id, its events or the prompt that it follows, and its files. From the database, adds the
    number of answers, their cost, the last error, and how many labels of the prompt were changed by people within a
    month, with a line for each version, the current one first. Works while the service runs.

    Exit codes: 0 listed; 2 usage error, or unusable settings, prompts or database.
    """
    settings = load(config, credentials=False)
    library = load_library(settings)
    storage_problem = settings.unset.get("storage.url")
    with nullcontext() if storage_problem else open_existing_store(settings) as store:
        stats = None if store is None else read_library_stats(store)
    if as_json:
        known = stats or LibraryStats()
        print_json({"prompts": [_to_dict(library, one, known.versions(one.id)) for one in library.prompts.values()]})
        return
    for prompt in library.prompts.values():
        print_line(prompt.id)
        print_line(f"  for         {format_triggers(library, prompt)}")
        print_line(f"  from        {origin(library.sources[prompt.name], shipped.PROMPTS)}")
        for version in stats.versions(prompt.id) if stats is not None else ():
            print_line(f"  {format_version(version)}")
    if stats is None:
        reason = storage_problem or "there is no database yet"
        print_line(f"{settings.sources.where('storage.url')}: {reason}, so there are no statistics")


def _to_dict(library: Library, prompt: Prompt, versions: Sequence[Version]) -> dict[str, object]:
    return {
        "id": prompt.id,
        "name": prompt.name,
        "on": list(prompt.on),
        "after": list(library.predecessors(prompt.name)),
        "shadow": prompt.name in library.shadows,
        "files": [source.file for source in library.sources[prompt.name].sources],
        "versions": [
            {
                "id": row.prompt_id,
                "replies": row.replies,
                "cost_usd": row.cost_usd,
                "calls_of_unknown_cost": row.calls_of_unknown_cost,
                "last_error": row.last_error,
                "last_error_at": row.last_error_at.isoformat() if row.last_error_at else None,
            }
            for row in (version.calls for version in versions)
            if row is not NO_CALLS
        ],
        "corrections": [
            {"id": version.id, "field": field, "set": one.set, "corrected": one.corrected}
            for version in versions
            for field, one in version.corrections.items()
        ],
    }


@prompts.command(name="vars")
def vars_(
    family: Annotated[
        str, typer.Argument(metavar="FAMILY", help="issues, pull_requests, reviews, ..., or the name of an event.")
    ],
    config: Config = None,
) -> None:
    """List the variables of templates.

    Prints for each variable and each of its members: the name, the kind of text, the type, and an example from a
    recorded event. In a name, [] stands for each element of a list. `untrusted` marks text that anybody can write: a
    template can output or compare this text and use its length, but cannot split or change it. `trusted` marks all
    other text. `-` marks values that are not text.

    The variables of all templates come first. Then come the variables of comments and of prompts that follow another
    prompt, with examples from canned replies, and the labels that each type of reply sets. The fields and labels that
    prompt files define come last. If the prompts have errors, only the fields and labels of prompt files are missing.

    Exit codes: 0 listed; 2 usage error or unusable settings.
    """
    settings = load(config, credentials=False)
    budget = PromptLimits(input_tokens=settings.claude.input_tokens)
    by_event = families()
    event = next((event for event, one in by_event.items() if family in (event, one.name)), None)
    if event is None:
        names = ", ".join(dict.fromkeys(by_event[event].name for event in HANDLERS))
        abort(f"there is no family {family!r}; there are {names}, and every other GitHub event, such as push")
    try:
        library_prompts = tuple(load_checked(settings).prompts.values())
    except PromptError:
        library_prompts = ()
    for line in describe_variables(event, by_event[event], library_prompts, budget):
        print_line(line)
    if not library_prompts:
        print_line("the prompts have errors, so the fields and labels that they define are missing; see `hls check`")


@prompts.command()
def diff(
    a: Annotated[str, typer.Argument(metavar="A", help=NAME_HELP)],
    b: Annotated[
        str | None, typer.Argument(metavar="[B]", help="Another prompt; without it, A is compared with the shipped A.")
    ] = None,
    config: Config = None,
) -> None:
    """Show the differences of two prompts.

    Prints a unified diff from A to B, or from the shipped prompt of the same name to A. The diff covers the templates
    with their effective front matter, the comment templates, and the files that the templates include.

    Exit codes: 0 no differences; 1 differences; 2 usage error, or unusable settings or prompts.
    """
    settings = load(config, credentials=False)
    library = load_library(settings)
    first = library.sources[get_prompt(library, a).name]
    if b is None:
        old, new = _get_shipped_prompt(settings, first.name), first
    else:
        old, new = first, library.sources[get_prompt(library, b).name]
    lines = diff_prompts(old, new)
    if lines:
        print_lines("\n".join(lines))
        raise typer.Exit(1)
    print_line(f"no differences: {new.name} and {'the shipped prompt' if b is None else old.name}")


def _get_shipped_prompt(settings: Settings, name: str) -> PromptSources:
    try:
        library = load_shipped(settings)
    except PromptError as exc:
        abort(*exc.problems)
    if name not in library.sources:
        shipped = ", ".join(library.prompts)
        abort(f"{name} is not a shipped prompt ({shipped}); name the prompt to compare it with as second argument")
    return library.sources[name]


prompts.command()(compare)


def format_version(version: Version) -> str:
    """Return a line with the number of replies, their cost, the labels that people corrected, and the last error."""
    calls = version.calls
    return "; ".join(
        [
            f"@{version.id.partition('@')[2]}  {count(calls.replies, 'reply')}, {format_known_cost(calls)}",
            f"corrected {version.corrected()}",
            f"failed calls {version.failed}",
            f"last error {_error(calls)}",
        ]
    )


def _error(row: PromptStats) -> str:
    if row.last_error is None or row.last_error_at is None:
        return "none"
    return f"{row.last_error_at:%Y-%m-%d %H:%M:%S} UTC: {' '.join(row.last_error.split())}"
