"""`hls prompts list`."""

from __future__ import annotations

from collections.abc import Sequence

from hls_handler.cli.options import AsJson, Config, Limit, load, open_existing_store
from hls_handler.cli.terminal import (
    Cell,
    Column,
    Style,
    print_json,
    print_line,
    print_table,
)
from hls_handler.prompting.library import read_library
from hls_handler.prompting.source_files import find_folders
from hls_handler.reports.prompt_library import (
    ListedPrompt,
    Version,
    list_prompts,
    read_versions,
)
from hls_handler.settings import shipped
from hls_handler.wording import count, format_usd


def list_(as_json: AsJson = False, limit: Limit = None, config: Config = None) -> None:
    """List the prompts with their statistics.

    Prints for each prompt its id, its events or the prompt that it follows, and its files; of this
    version and then of earlier ones the number of replies, their cost, how many labels people
    changed within a month, failed calls and the last error. Works while the service runs.
    """
    settings = load(config, credentials=False)
    library = read_library(*find_folders(settings), shipped=shipped.PROMPTS)
    storage_problem = settings.unset.get("storage.url")
    versions = None
    with open_existing_store(settings) as store:
        if store is not None:
            versions = read_versions(store)
    prompts = list_prompts(library, versions or ())
    listed = prompts[:limit]
    if as_json:
        print_json({"prompts": listed})
        return
    _print_table(listed, len(prompts), versions or ())
    if versions is None:
        reason = storage_problem or "there is no database yet"
        print_line(f"{settings.sources.where('storage.url')}: {reason}, so there are no statistics")


COLUMNS = (
    Column("PROMPT", is_wide=True),
    Column("REPLIES", is_number=True),
    Column("COST", is_number=True),
    Column("CORRECTED", is_number=True),
    Column("FAILED", is_number=True),
)


def _print_table(
    prompts: Sequence[ListedPrompt], number: int, all_versions: Sequence[Version]
) -> None:
    rows = []
    for prompt in prompts:
        for version in prompt.versions:
            below = []
            style: Style = "dim"  # of earlier versions
            if version.id == prompt.id:
                style = "bold"
                below = [prompt.triggers, prompt.origin.replace(f"{shipped.PROMPTS}/", "")]
            if version.last_error is not None:
                error = " ".join(version.last_error.split())
                below.append(f"last error {version.last_error_at:%Y-%m-%d %H:%M:%S} UTC: {error}")
            corrected = sum(fields.corrected for fields in version.corrections)
            labels = sum(fields.set for fields in version.corrections)
            rows.append(
                (
                    Cell(version.id, style, below),
                    Cell(f"{version.replies:,}"),
                    Cell(version.cost),
                    Cell(f"{corrected:,} of {labels:,}"),
                    Cell(f"{sum(version.failures.values()):,}"),
                )
            )
    total = f"{len(prompts)} of {count(number, 'prompt')}"
    replies = count(sum(version.replies for version in all_versions), "reply")
    cost = format_usd(sum(version.cost_usd for version in all_versions))
    print_table(COLUMNS, rows, f"{total}; {replies} of all versions, {cost}")
