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


from pathlib import Path

from hls_handler.errors import SettingsError
from hls_handler.settings.reference import Reference, has_credentials
from hls_handler.settings.yaml_parser import MAX_BYTES, KeyPlace, parent_path, parse_tree
from hls_handler.untrusted.redaction import redact

MAX_CHARACTERS = 120  # of a line; a longer one is cut
HIDDEN = "…"
BEGINNING = re.compile(r"([\s-]*)(?:(\w+):)?")
CODE = re.compile(r"\{[{%].*?(?:[%}]\}|$)")
WORD = r"(?:(?<!\w)|(?!\w))"  # the beginning or end of a word, or a place outside of words
EXPECTED_TOKEN = re.compile(r"^expected token '[^']*', ")  # which the line does not have
QUOTED = re.compile(r"'([^']+)'|\"([^\"]+)\"|`([^`]+)`")


@dataclass(frozen=True, slots=True)
class FileExcerpt:
    text: str
    start: int  # of the part that is marked
    length: int


def read_excerpt(file: str, number: int, message: str) -> FileExcerpt | None:
    """Return line `number` of a YAML file or a template; None if it cannot be read or is empty."""
    path = Path(file)
    is_yaml = path.suffix in (".yaml", ".yml")
    if not is_yaml and path.suffix != ".j2":
        return None
    try:
        text = path.read_bytes()[:MAX_BYTES].decode("utf-8-sig")
    except (OSError, UnicodeDecodeError):
        return None
    lines = text.split("\n")
    if number > len(lines):
        return None
    line = lines[number - 1]
    if not line.strip():
        return None
    if not is_yaml:
        return _cut(_excerpt_of_template(line, message))
    place = _find_place(text, number, message)
    if place is None:
        return _excerpt_of_invalid_yaml(line)
    return _cut(_excerpt_of_place(line, place))


def _find_place(text: str, number: int, message: str) -> KeyPlace | None:
    """Return the key that the message begins with, or the section around it, if it is in the
    line.
    """
    try:
        tree = parse_tree(text, "")
    except SettingsError:
        return None
    key = tree.sources.find_key(message.partition(": ")[0])
    while key and tree.lines[key] != number:
        key = tree.sources.find_key(parent_path(key))
    return tree.places.get(key)


def _excerpt_of_place(line: str, place: KeyPlace) -> FileExcerpt:
    """Return the key, and its value if that is public, without what else is in the line."""
    key = place.key
    value = place.value
    before = line[: key.start_mark.column]
    if before.strip(" -"):
        before = f"{HIDDEN} "
    name = ""
    is_list_item = key is value
    if not is_list_item:
        name = f"{key.value}: "
    written = line[value.start_mark.column : value.end_mark.column]
    if value.start_mark.line == key.start_mark.line and _is_public(place, written):
        return FileExcerpt(before + name + written, len(before + name), len(written))
    marked = name.removesuffix(": ") or HIDDEN
    return FileExcerpt(before + name + HIDDEN, len(before), len(marked))


def _is_public(place: KeyPlace, written: str) -> bool:
    key = Reference().find(re.sub(r"\[\d+\]$", "", place.path))
    if key is None or key.secret or key.kind != "key":
        return False
    # else it has escapes, a tag or an anchor, or goes on in another line
    is_whole = written.strip("'\"") == place.value.value
    return is_whole and not has_credentials(written)


def _excerpt_of_invalid_yaml(line: str) -> FileExcerpt:
    """Return the key that the line begins with, if it is a known one."""
    beginning = BEGINNING.match(line)
    assert beginning is not None  # it matches the empty text
    names = {row.path.rpartition(".")[2] for row in Reference().rows}
    text = beginning[1]
    if beginning[2] in names:
        text = f"{beginning[0]} "
    return _mark_all(text.expandtabs(4) + HIDDEN)


def _excerpt_of_template(line: str, message: str) -> FileExcerpt:
    text = redact(line.rstrip().expandtabs(4))
    code = [range(*part.span()) for part in CODE.finditer(text)]
    about = EXPECTED_TOKEN.sub("", message).rpartition(" has no ")[2]
    for quoted in QUOTED.finditer(about):
        name = next(filter(None, quoted.groups()))
        before = ""
        if code and about != message and quoted.start() == 0:
            before = r"(?<=\.)"  # an attribute
        elif code:
            before = r"(?<!\.)"
        for place in re.finditer(rf"{before}{WORD}{re.escape(name)}{WORD}", text):
            if not code or any(place.start() in part for part in code):
                return FileExcerpt(text, place.start(), len(name))
    return _mark_all(text)


def _mark_all(text: str) -> FileExcerpt:
    stripped = text.strip()
    return FileExcerpt(text, text.find(stripped), len(stripped))


def _cut(excerpt: FileExcerpt) -> FileExcerpt:
    """Return the part of a long line that begins some words in front of what is marked."""
    end = excerpt.start + min(excerpt.length, MAX_CHARACTERS // 2)
    offset = 0
    text = excerpt.text
    if end > MAX_CHARACTERS:
        offset = excerpt.start - MAX_CHARACTERS // 2
        text = HIDDEN + text[offset + 1 :]
    text = text[:MAX_CHARACTERS]
    start = excerpt.start - offset
    return FileExcerpt(text, start, min(excerpt.length, len(text) - start))


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
