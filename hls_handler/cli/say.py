"""Output of all commands, with escape sequences made visible so that untrusted text cannot control the terminal."""

from __future__ import annotations

import typer

from hls_handler.untrusted.terminal import escape_unprintable, escape_unprintable_lines


def print_line(line: str, *, err: bool = False) -> None:
    """Print exactly one line; newlines and control characters in it are escaped."""
    typer.echo(escape_unprintable(line), err=err)


def print_lines(text: str) -> None:
    """Print text of several lines; only newlines and tabs stay unescaped.

    Use it only where a line of untrusted text cannot be mistaken for later output of the command.
    """
    typer.echo(escape_unprintable_lines(text))
