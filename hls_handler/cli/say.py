"""What the commands print: every line of theirs goes out here, so that no text of a stranger acts on a terminal."""

from __future__ import annotations

import typer

from hls_handler.untrusted.terminal import printable, printable_lines


def say(line: str, *, err: bool = False) -> None:
    """One line, whatever the text in it."""
    typer.echo(printable(line), err=err)


def say_lines(text: str) -> None:
    """A text of many lines, where nothing of our own comes after it that its lines could be taken for."""
    typer.echo(printable_lines(text))
