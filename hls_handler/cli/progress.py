"""The progress bar of a command, on standard error."""

from __future__ import annotations

import sys

from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    Task,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.text import Text


class _CountColumn(ProgressColumn):
    """The number of items that are done: "1,200 of 5,000, 31.5/s"."""

    def render(self, task: Task) -> Text:
        if task.total is None and not task.completed:
            return Text("")
        text = f"{task.completed:,.0f}"
        if task.total is not None:
            text += f" of {task.total:,.0f}"
        if task.speed:
            text += f", {task.speed:,.1f}/s"
        return Text(text)


def make_progress(what: str, total: int | None) -> Progress:
    """Return a progress that is not shown yet. It disappears at its end."""
    columns: list[ProgressColumn] = [
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False),
        _CountColumn(),
    ]
    if total is None:
        columns.append(TimeElapsedColumn())
    else:
        columns[2:2] = [BarColumn()]
        columns += [TimeRemainingColumn(compact=True), TextColumn("left")]
    progress = Progress(
        *columns,
        console=Console(stderr=True, markup=False, highlight=False, emoji=False),
        transient=True,
        redirect_stdout=sys.stdout.isatty(),
    )
    progress.add_task(what, total=total)
    return progress
