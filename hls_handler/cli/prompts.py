"""`hls prompts list`."""

from __future__ import annotations

from collections.abc import Sequence

from hls_handler import shipped
from hls_handler.cli.options import AsJson, Config, Limit, abort, load, open_existing_store
from hls_handler.cli.terminal import (
    Cell,
    Column,
    Style,
    is_terminal,
    print_json,
    print_line,
    print_table,
)
from hls_handler.errors import PromptError
from hls_handler.prompting.library import read_library
from hls_handler.prompting.prompt import Library, origin
from hls_handler.prompting.source_files import find_folders
from hls_handler.question import Prompt
from hls_handler.reports.prompt_library import (
    NO_CALLS,
    LibraryStats,
    Version,
    format_known_cost,
    format_triggers,
    read_library_stats,
)
from hls_handler.store.calls import PromptStats
from hls_handler.wording import count, format_usd


def list_(as_json: AsJson = False, limit: Limit = None, config: Config = None) -> None:
    """List the prompts with their statistics.

    Prints for each prompt its id, its events or the prompt that it follows, and its files. From the
    database, adds the number of answers, their cost, the last error, and how many labels of the
    prompt were changed by people within a month, with a line for each version, the current one
    first. Works while the service runs.
    """
    settings = load(config, credentials=False)
    try:
        library = read_library(
            *find_folders(settings),
            shipped=shipped.PROMPTS,
            former_shadows=settings.former_shadows,
        )
    except PromptError as exc:
        abort(*exc.problems)
    storage_problem = settings.unset.get("storage.url")
    stats = None
    with open_existing_store(settings) as store:
        if store is not None:
            stats = read_library_stats(store)
    prompts = [*library.prompts.values()][:limit]
    known = stats or LibraryStats()
    if as_json:
        documents = [_to_dict(library, one, known.versions(one.id)) for one in prompts]
        print_json({"prompts": documents})
        return
    if is_terminal():
        _print_table(library, prompts, known)
    else:
        _print_list(library, prompts, stats)
    if stats is None:
        reason = storage_problem or "there is no database yet"
        print_line(f"{settings.sources.where('storage.url')}: {reason}, so there are no statistics")


COLUMNS = (
    Column("PROMPT", is_wide=True),
    Column("REPLIES", is_number=True),
    Column("COST", is_number=True),
    Column("CORRECTED", is_number=True),
    Column("FAILED", is_number=True),
)


def _print_table(library: Library, prompts: Sequence[Prompt], stats: LibraryStats) -> None:
    rows = []
    for prompt in prompts:
        for version in stats.versions(prompt.id):
            below = []
            style: Style = "dim"  # of earlier versions
            if version.id == prompt.id:
                style = "bold"
                files = origin(library.sources[prompt.name], shipped.PROMPTS)
                below = [format_triggers(library, prompt), files.replace(f"{shipped.PROMPTS}/", "")]
            if version.calls.last_error is not None:
                below.append(f"last error {_error(version.calls)}")
            set_ = sum(one.set for one in version.corrections.values())
            corrected = sum(one.corrected for one in version.corrections.values())
            rows.append(
                (
                    Cell(version.id, style, [*filter(None, below)]),
                    Cell(f"{version.calls.replies:,}"),
                    Cell(format_known_cost(version.calls)),
                    Cell(f"{corrected:,} of {set_:,}"),
                    Cell(f"{sum(version.failures.values()):,}"),
                )
            )
    total = f"{len(prompts)} of {count(len(library.prompts), 'prompt')}"
    replies = count(sum(row.replies for row in stats.rows), "reply")
    cost = format_usd(sum(row.cost_usd for row in stats.rows))
    print_table(COLUMNS, rows, f"{total}; {replies} of all versions, {cost}")


def _print_list(library: Library, prompts: Sequence[Prompt], stats: LibraryStats | None) -> None:
    for prompt in prompts:
        print_line(prompt.id)
        print_line(f"  for         {format_triggers(library, prompt)}")
        print_line(f"  from        {origin(library.sources[prompt.name], shipped.PROMPTS)}")
        if stats is not None:
            for version in stats.versions(prompt.id):
                print_line(f"  {format_version(version)}")


def _to_dict(library: Library, prompt: Prompt, versions: Sequence[Version]) -> dict[str, object]:
    return {
        "id": prompt.id,
        "name": prompt.name,
        "on": list(prompt.on),
        "after": list(library.predecessors(prompt.name)),
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


def format_version(version: Version) -> str:
    """Return a line with the number of replies, their cost, the labels that people corrected, and
    the last error.
    """
    calls = version.calls
    return "; ".join(
        [
            (
                f"@{version.id.partition('@')[2]}  {count(calls.replies, 'reply')},"
                f" {format_known_cost(calls)}"
            ),
            f"corrected {version.corrected()}",
            f"failed calls {version.failed}",
            f"last error {_error(calls)}",
        ]
    )


def _error(row: PromptStats) -> str:
    if row.last_error is None or row.last_error_at is None:
        return "none"
    return f"{row.last_error_at:%Y-%m-%d %H:%M:%S} UTC: {' '.join(row.last_error.split())}"
