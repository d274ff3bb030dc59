"""`hls prompts list`, `vars`, `show` and `diff`. `try` is in prompt_try.py, `compare` in prompt_compare.py."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import nullcontext
from typing import Annotated

import typer

from hls_handler import shipped
from hls_handler.cli.options import (
    AsJson,
    Config,
    abort,
    fail,
    load,
    open_existing_store,
    print_json,
    print_line,
    print_lines,
)
from hls_handler.cli.prompt_compare import compare
from hls_handler.cli.prompt_library import (
    format_sections,
    get_prompt,
    list_variables,
    load_library,
)
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
    add_feedback,
    format_custom_fields,
    format_known_cost,
    format_share,
    format_triggers,
    list_labels,
    read_library_stats,
)
from hls_handler.settings.model import Settings
from hls_handler.store.calls import PromptStats, add_up_stats
from hls_handler.store.corrections import FieldFeedback

prompts = typer.Typer(
    help="List, show, compare and try prompts.",
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
    month. The statistics of earlier versions are in parentheses. Works while the service runs.

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
        for line in format_versions(stats.versions(prompt.id)) if stats is not None else ():
            print_line(f"  {line}")
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
    as_json: AsJson = False,
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
        library_prompts, note = tuple(load_checked(settings).prompts.values()), ""
    except PromptError:
        library_prompts = ()
        note = "the prompts have errors, so the fields and labels that they define are missing here; see `hls check`"
    sections = list(list_variables(event, by_event[event], library_prompts, budget))
    if as_json:
        print_json({"event": event, "sections": sections})
        return
    for line in format_sections(sections):
        print_line(line)
    if note:
        print_line(note)


@prompts.command()
def show(
    prompt: Annotated[str, typer.Argument(metavar="NAME", help=NAME_HELP)],
    config: Config = None,
) -> None:
    """Show one prompt: front matter, files, template.

    Prints the fields and labels that the prompt defines, then its front matter and its template. For a file without
    front matter, prints the front matter of the shipped prompt. Line numbers count from the start of each file, as in
    the messages of `hls check`.

    Exit codes: 0 shown; 1 NAME is an id, but not that of the prompt's current version; 2 usage error, or unusable
    settings or prompts.
    """
    library = load_library(load(config, credentials=False))
    chosen = get_prompt(library, prompt, other_version=fail)
    print_lines("\n".join(_format_prompt(chosen, library.sources[chosen.name])))


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


def _format_prompt(prompt: Prompt, sources: PromptSources) -> list[str]:
    return [
        f"prompt      {prompt.id}",
        f"from        {origin(sources, shipped.PROMPTS)}",
        *_format_list("files", [source.file for source in sources.sources]),
        f"reply       {prompt.reply}",
        *_format_list("fields", format_custom_fields(prompt)),
        *_format_list("labels", [f"{field}: {labels}" for field, labels in list_labels(prompt.reply_model)]),
        "",
        f"--- front matter ({sources.front_file}) ---",
        *_format_numbered(sources.numbered_front),
        "",
        f"--- template ({sources.template.file}) ---",
        *_format_numbered(sources.numbered_template),
    ]


def _format_list(title: str, lines: Iterable[str]) -> Iterator[str]:
    return (f"{title if index == 0 else '':<10}  {line}" for index, line in enumerate(lines))


def _format_numbered(lines: Iterable[tuple[int, str]]) -> Iterator[str]:
    return (f"{number:>4}  {line}" if line else f"{number:>4}" for number, line in lines)


def format_versions(versions: Sequence[Version]) -> Iterator[str]:
    """Yield lines with the number of answers, the cost, the last error, and the labels that people corrected.

    Parentheses mark earlier versions.
    """
    current, earlier = versions[0].calls, add_up_stats([one.calls for one in versions[1:]]) if versions[1:] else None
    yield f"answers     {current.replies}" + (f" (earlier versions: {earlier.replies})" if earlier else "")
    cost = f" (earlier versions: {format_known_cost(earlier)})" if earlier else ""
    yield f"cost        {format_known_cost(current)}{cost}"
    yield f"last error  {_error(current)}"
    if earlier:
        yield f"            (earlier versions: {_error(earlier)})"
    title = "corrected"
    for field in dict.fromkeys(field for version in versions for field in version.corrections):
        now, *before = (version.corrections.get(field, FieldFeedback(0, 0)) for version in versions)
        total = add_feedback(before)
        in_parentheses = f" (earlier versions: {format_share(total)})" if total.set else ""
        yield f"{title:<12}{field}: {format_share(now)}{in_parentheses}"
        title = ""


def _error(row: PromptStats) -> str:
    if row.last_error is None or row.last_error_at is None:
        return "none"
    return f"{row.last_error_at:%Y-%m-%d %H:%M:%S} UTC: {' '.join(row.last_error.split())}"
