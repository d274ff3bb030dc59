"""Other people's text in our messages."""

from __future__ import annotations

import base64

import pytest

from hls_handler.clients.wording import cause, hush, usable_secret

KEY = "sk-ant/+=secret?"


@pytest.mark.parametrize(
    "form",
    [
        KEY,
        "sk-ant%2F%2B%3Dsecret%3F",
        base64.b64encode(KEY.encode()).decode(),
        base64.urlsafe_b64encode(KEY.encode()).decode(),
    ],
    ids=["plain", "in a URL", "base64", "base64 for URLs"],
)
def test_our_secret_is_not_shown_in_any_form(form: str) -> None:
    assert hush(f"the key {form} is wrong", KEY).replace("=", "") == "the key *** is wrong"


def test_text_becomes_one_short_line() -> None:
    assert hush("a\n b\t\x0bc", "k" * 20) == "a b c"
    assert hush("x" * 301, "k" * 20) == "x" * 299 + "…"


def test_the_cause_of_a_failure_is_told_in_the_systems_words() -> None:
    outer = ValueError("Bearer sk-ant")
    outer.__context__ = ConnectionRefusedError(111, "Connection refused")
    assert cause(outer) == "Connection refused"
    assert cause(RuntimeError(OSError(113, "No route to host"))) == "No route to host"
    assert cause(ValueError("Bearer sk-ant")) == "ValueError"


def test_a_chain_of_causes_that_bites_its_tail_ends() -> None:
    one, two = ValueError(), ValueError()
    one.__context__, two.__context__ = two, one
    assert cause(one) == "ValueError"


@pytest.mark.parametrize(
    ("secret", "usable"),
    [("ghp_abc", True), ("", False), (" ghp", False), ("ghp\n", False), ("g\x00p", False), ("ghé", False)],
)
def test_a_secret_that_no_header_can_hold_is_known_before_it_is_sent(secret: str, usable: bool) -> None:
    assert usable_secret(secret) is usable
