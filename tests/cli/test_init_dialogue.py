"""The terminal of `hls init`: waiting for Enter, and confirmations."""

from __future__ import annotations

import os

import pytest

from hls_handler.cli.init.session import Session, Terminal
from hls_handler.errors import SettingsError
from tests.cli.test_init import FakeTerminal


def test_waiting_ends_with_the_time_or_with_enter() -> None:
    read, write = os.pipe()
    with os.fdopen(read) as stream, os.fdopen(write, "w") as keyboard:
        terminal = Terminal(stream)
        assert terminal.wait_for_enter(0) is False
        print(file=keyboard, flush=True)
        assert terminal.wait_for_enter(10) is True
        assert terminal.wait_for_enter(0) is False


def test_a_confirmation_needs_a_yes_or_the_option() -> None:
    typed = {answer: Session({}, FakeTerminal({"Replace": answer})).confirm("Replace it?") for answer in ("n", "YES")}
    assert typed == {"n": False, "YES": True}
    assert Session({}, FakeTerminal()).confirm("Replace it?") is False
    assert Session({}, FakeTerminal(), yes=True).confirm("Replace it?") is True
    with pytest.raises(SettingsError, match="add --yes to confirm: Replace it"):
        Session({}, Terminal(None)).confirm("Replace it?")
