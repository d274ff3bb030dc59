"""The terminal of `hls init`: waiting for Enter, numbered choices, and confirmations."""

from __future__ import annotations

import os
from dataclasses import dataclass, field

import pytest

from hls_handler.cli.init.session import Session, Terminal
from hls_handler.errors import SettingsError


@dataclass
class Typed(Terminal):
    """A terminal on which these lines are typed; an empty line takes the default."""

    lines: list[str]
    asked: list[str] = field(default_factory=list)
    is_present: bool = True

    def ask(self, question: str, default: str | None, *, is_hidden: bool = False) -> str:
        self.asked.append(question)
        return self.lines.pop(0) or default or ""


def test_waiting_ends_with_the_time_or_with_enter() -> None:
    read, write = os.pipe()
    with os.fdopen(read) as stream, os.fdopen(write, "w") as keyboard:
        terminal = Terminal(stream)
        assert terminal.wait_for_enter(0) is False
        print(file=keyboard, flush=True)
        assert terminal.wait_for_enter(10) is True
        assert terminal.wait_for_enter(0) is False


def test_a_choice_is_asked_for_until_it_is_a_number_of_the_list(capsys: pytest.CaptureFixture[str]) -> None:
    assert Typed(["3", "x", "2"]).choose("Which?", ("first", "second")) == ("second",)
    assert capsys.readouterr().out == (
        "Which?\n  1  first\n  2  second\n3: expected a number from 1 to 2\nx: expected a number from 1 to 2\n"
    )


@pytest.mark.parametrize(
    ("typed", "chosen"), [("", ("a", "b", "c")), ("3 1", ("a", "c")), ("2,2", ("b",))], ids=["all", "two", "one twice"]
)
def test_several_choices_keep_the_order_of_the_list(typed: str, chosen: tuple[str, ...]) -> None:
    assert Typed([typed]).choose("Which?", ("a", "b", "c"), several=True) == chosen


def test_a_confirmation_needs_a_yes_or_the_option() -> None:
    typed = {answer: Session({}, Typed([answer])).confirm("Replace it?") for answer in ("", "n", "y", "YES")}
    assert typed == {"": False, "n": False, "y": True, "YES": True}
    assert Session({}, Typed([]), yes=True).confirm("Replace it?") is True
    with pytest.raises(SettingsError, match=r"Replace it\? .*--yes"):
        Session({}, Terminal(None)).confirm("Replace it?")
