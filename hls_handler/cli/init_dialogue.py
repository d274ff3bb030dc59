"""Questions of `hls init`. Without a terminal nothing is asked: missing values are an error that names the options."""

from __future__ import annotations

import select
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

import typer

from hls_handler.cli.options import print_line
from hls_handler.errors import SettingsError
from hls_handler.untrusted.cleaning import escape_unprintable

T = TypeVar("T")


class Terminal(Protocol):
    """A person at a terminal."""

    def ask(self, question: str, default: str | None) -> str:
        """Return a line; `default` for an empty one. Without a default, repeat the question."""

    def ask_hidden(self, question: str, default: str | None) -> str:
        """Return a line that is not shown while it is typed."""

    def wait_for_enter(self, timeout_s: float) -> bool:
        """Return True as soon as Enter is pressed, and False after `timeout_s`."""


class StandardInput:
    """The terminal of this process."""

    def ask(self, question: str, default: str | None) -> str:
        return str(typer.prompt(escape_unprintable(question), default=default, show_default=bool(default))).strip()

    def ask_hidden(self, question: str, default: str | None) -> str:
        shown = escape_unprintable(question)
        return str(typer.prompt(shown, default=default, show_default=False, hide_input=True)).strip()

    def wait_for_enter(self, timeout_s: float) -> bool:
        readable, _, _ = select.select([sys.stdin], [], [], timeout_s)
        return bool(readable and (sys.stdin.readline() or True))


@dataclass(frozen=True, slots=True)
class Dialogue:
    """Asks `terminal`, which is None if there is no terminal. With `yes`, every confirmation is given."""

    terminal: Terminal | None
    yes: bool = False

    def confirm(self, question: str) -> bool:
        """Ask for a yes; the default is no. Raises `SettingsError` if nobody can be asked."""
        if self.yes:
            return True
        if self.terminal is None:
            raise SettingsError([f"{question} There is no terminal to ask on: answer with --yes"])
        return self.terminal.ask(f"{question} (y/n)", "n").lower() in ("y", "yes")

    def ask_valid(self, question: str, default: str | None, parse: Callable[[str], T]) -> T:
        """Ask until `parse` raises no `SettingsError`; must not be called without a terminal."""
        assert self.terminal is not None
        while True:
            try:
                return parse(self.terminal.ask(question, default))
            except SettingsError as exc:
                print_problems(exc)

    def choose(self, question: str, choices: Sequence[str]) -> int:
        """Print numbered choices and return the index of the chosen one; the first is the default."""
        print_line(question)
        for number, choice in enumerate(choices, start=1):
            print_line(f"  {number}  {choice}")

        def parse(answer: str) -> int:
            return _parse_number(answer, len(choices)) - 1

        return self.ask_valid("Number", "1", parse)

    def choose_several(self, question: str, choices: Sequence[str]) -> tuple[str, ...]:
        """Print numbered choices and return the chosen ones; an empty answer means all."""
        print_line(question)
        for number, choice in enumerate(choices, start=1):
            print_line(f"  {number}  {choice}")

        def parse(answer: str) -> tuple[str, ...]:
            if answer == "all":
                return tuple(choices)
            numbers = {_parse_number(part, len(choices)) for part in answer.replace(",", " ").split()}
            return tuple(choices[number - 1] for number in sorted(numbers))

        return self.ask_valid("Numbers, separated by commas, or all", "all", parse)


def _parse_number(text: str, highest: int) -> int:
    number = int(text) if text.isascii() and text.isdigit() else 0
    if not 1 <= number <= highest:
        raise SettingsError([f"{text}: expected a number from 1 to {highest}"])
    return number


def print_problems(error: SettingsError) -> None:
    for problem in error.problems:
        print_line(problem)
