"""Output of the commands. On a terminal: colours, tables, excerpts of files and progress.

Elsewhere, lines are plain. All printed text is escaped, so that untrusted text cannot control the
terminal, and none is read as markup. rich takes longer to import than most commands run, so that it
is imported on a terminal only.
"""

from __future__ import annotations

import os
import re
import sys
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Literal, TypeVar

import typer

from hls_handler.deliveries import State
from hls_handler.reports.documents import to_json
from hls_handler.settings.problems import ProblemSeverity, Sentence
from hls_handler.untrusted.cleaning import escape_unprintable, escape_unprintable_lines
from hls_handler.wording import format_relative

if TYPE_CHECKING:
    from rich.progress import Progress

T = TypeVar("T")
Style = Literal["", "green", "red", "yellow", "cyan", "dim", "bold"]

STATE_STYLES: dict[State, Style] = {
    "done": "green",
    "dead": "red",
    "queued": "yellow",
    "running": "cyan",
    "ignored": "dim",
    "superseded": "dim",
}
PROGRESS_DELAY_S = 2.0
"""Time after which a command shows its progress."""


def is_terminal(*, err: bool = False) -> bool:
    """Return True if standard output, or standard error, is a terminal that a person reads."""
    stream = sys.stderr if err else sys.stdout
    return stream.isatty() and os.environ.get("TERM") != "dumb"


def has_colours(*, err: bool = False) -> bool:
    """Return True for a terminal without NO_COLOR, which --no-color sets."""
    return is_terminal(err=err) and not os.environ.get("NO_COLOR")


def styled(text: str, style: Style) -> str:
    """Return the text with the terminal's codes. Print it with `_echo` only."""
    if not style:
        return text
    if style in ("dim", "bold"):
        return typer.style(text, **{style: True})
    return typer.style(text, fg=style)


def _echo(text: str, *, err: bool = False) -> None:
    typer.echo(text, err=err, color=has_colours(err=err))


def print_line(line: str, *, err: bool = False, style: Style = "") -> None:
    """Print one line. Newlines and control characters in it are escaped."""
    _echo(styled(escape_unprintable(line), style), err=err)


def print_lines(text: str) -> None:
    """Print text with its newlines and tabs. Other control characters are escaped.

    Untrusted text could imitate lines of the command's output. Use `print_line` where such a line
    could mislead.
    """
    _echo(escape_unprintable_lines(text))


def print_json(document: object) -> None:
    """Print the only output of a command with --json."""
    typer.echo(to_json(document, indent=2))  # its characters outside of ASCII are escaped


# --- tables


@dataclass(frozen=True, slots=True)
class Cell:
    """A cell of a table. `below` are further lines, which are shown dim."""

    text: str
    style: Style = ""
    below: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Column:
    title: str
    is_number: bool = False  # aligned at the right
    is_wide: bool = False  # takes the rest of the width; its lines are wrapped


def print_table(columns: Sequence[Column], rows: Sequence[Sequence[Cell]], total: str) -> None:
    """Print rows below a header, and a last line. Without a terminal, print a line for each row."""
    if not is_terminal():
        for row in rows:
            print_line(_format_row(columns, row))
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for column in columns:
        title = Text(column.title)
        if column.is_wide:
            table.add_column(title, overflow="fold", ratio=1)
        elif column.is_number:
            table.add_column(title, justify="right", no_wrap=True)
        else:
            table.add_column(title, no_wrap=True)
    for row in rows:
        texts = []
        for cell in row:
            text = Text()
            text.append(escape_unprintable(cell.text), style=cell.style)
            for line in cell.below:
                text.append(f"\n{escape_unprintable(line)}", style="dim")
            texts.append(text)
        table.add_row(*texts)
    colours: Literal["auto"] | None = "auto" if has_colours() else None
    Console(markup=False, highlight=False, emoji=False, color_system=colours).print(table)
    print_line(total, style="bold")


def _format_row(columns: Sequence[Column], row: Sequence[Cell]) -> str:
    texts = []
    for column, cell in zip(columns, row, strict=True):
        text = cell.text
        if text and column.is_number:
            text = f"{column.title.lower()} {text}"
        texts += [text, *cell.below]
    return "  ".join(filter(None, texts))


def format_moment(moment: datetime, now: datetime) -> str:
    """Return "5 min ago" on a terminal, elsewhere "2026-11-23 12:00:00" (UTC)."""
    if is_terminal():
        return format_relative(moment, now)
    return f"{moment:%Y-%m-%d %H:%M:%S}"


# --- problems of files

_PROBLEM = re.compile(
    r"(?P<file>/[^\n:]*?)(?::(?P<line>[1-9][0-9]*))?(?: \((?P<key>[^()\n]+)\))?: (?P<message>.*)",
    re.DOTALL,
)
_SEVERITIES: dict[ProblemSeverity, Style] = {"error": "red", "warning": "yellow", "note": "cyan"}


@dataclass(frozen=True, slots=True)
class PlacedProblem:
    """A problem without the file and line that it begins with; both are "" if there are none."""

    message: str
    file: str = ""
    line: str = ""


def find_place(problem: str) -> PlacedProblem:
    """Split a problem such as "/srv/settings.yaml:12: server.prot: unknown key"."""
    match = _PROBLEM.fullmatch(problem)
    if match is None:
        return PlacedProblem(problem)
    text = match["message"].removeprefix("note: ")
    message = ": ".join(filter(None, (match["key"], text)))
    return PlacedProblem(message, match["file"], match["line"] or "")


def print_problem(problem: str, *, err: bool = False) -> None:
    """Print a sentence about a problem, with the id of its kind. On a terminal, with an excerpt of
    the file that it names.
    """
    kind = problem.kind if isinstance(problem, Sentence) else None
    severity = kind.severity if kind is not None else "error"
    mark = f"[{kind.id}]" if kind is not None else ""
    if not is_terminal(err=err):
        prefix = "warning: " if severity == "warning" else ""
        print_line(f"{prefix}{problem} {mark}".rstrip(), err=err)
        return
    placed = find_place(problem)
    style = _SEVERITIES[severity]
    title = styled(f"{severity}{mark}:", style)
    _echo(f"{title} {styled(escape_unprintable(placed.message), 'bold')}", err=err)
    if placed.file:
        _echo(_format_excerpt(placed, style), err=err)


def _format_excerpt(problem: PlacedProblem, style: Style) -> str:
    """Return the place, and the line with a caret below what is marked."""
    from hls_handler.settings.excerpt import read_excerpt

    number = problem.line
    margin = " " * len(number)
    bar = styled("|", "cyan")
    where = ":".join(filter(None, (problem.file, number)))
    lines = [f"{margin}{styled('-->', 'cyan')} {escape_unprintable(where)}"]
    excerpt = read_excerpt(problem.file, int(number), problem.message) if number else None
    if excerpt is not None:
        caret = " " * excerpt.start + "^" * excerpt.length
        lines += [
            f"{margin} {bar}",
            f"{styled(f'{number} |', 'cyan')} {escape_unprintable(excerpt.text)}",
            f"{margin} {bar} {styled(caret, style)}",
        ]
    return "\n".join([*lines, ""])


# --- progress


def track(items: Iterable[T], what: str, *, total: int | None = None) -> Iterator[T]:
    """Yield the items. After two seconds on a terminal, show how many are done, their rate and the
    time left.
    """
    with _progress(what, total) as progress:
        for item in items:
            yield item
            if progress is not None:
                progress.advance(progress.task_ids[0])


def show_progress(steps: Iterable[tuple[int, str]], *, total: int) -> None:
    """Show on a terminal how many of `total` are done, beside a text that may change, until the
    steps end.
    """
    with _progress("", total) as progress:
        for completed, text in steps:
            if progress is not None:
                task = progress.task_ids[0]
                progress.update(task, completed=completed, description=text)


@contextmanager
def waiting(what: str) -> Iterator[None]:
    """Show on a terminal, after two seconds, how long the block has taken."""
    with _progress(what, None):
        yield


@contextmanager
def _progress(what: str, total: int | None) -> Iterator[Progress | None]:
    if not is_terminal(err=True):
        yield None
        return
    from hls_handler.cli.progress import make_progress

    progress = make_progress(what, total)
    timer = threading.Timer(PROGRESS_DELAY_S, progress.start)
    timer.start()
    try:
        yield progress
    finally:
        timer.cancel()
        timer.join()
        progress.stop()
