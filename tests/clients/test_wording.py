"""Foreign text in error messages."""

from __future__ import annotations

import base64

import pytest

from hls_handler.clients.wording import describe_cause, is_valid_header_value, redact_secret

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
def test_secret_is_redacted_in_every_encoding(form: str) -> None:
    assert redact_secret(f"the key {form} is wrong", KEY).replace("=", "") == "the key *** is wrong"


def test_text_becomes_one_short_line() -> None:
    assert redact_secret("a\n b\t\x0bc", "k" * 20) == "a b c"
    assert redact_secret("x" * 301, "k" * 20) == "x" * 299 + "…"


def test_cause_of_a_failure_is_the_message_of_the_system() -> None:
    outer = ValueError("Bearer sk-ant")
    outer.__context__ = ConnectionRefusedError(111, "Connection refused")
    assert describe_cause(outer) == "Connection refused"
    assert describe_cause(RuntimeError(OSError(113, "No route to host"))) == "No route to host"
    assert describe_cause(ValueError("Bearer sk-ant")) == "ValueError"


def test_cyclic_chain_of_causes_ends() -> None:
    one, two = ValueError(), ValueError()
    one.__context__, two.__context__ = two, one
    assert describe_cause(one) == "ValueError"


@pytest.mark.parametrize(
    ("secret", "usable"),
    [("ghp_abc", True), ("", False), (" ghp", False), ("ghp\n", False), ("g\x00p", False), ("ghé", False)],
)
def test_secret_that_is_invalid_in_a_header_is_detected(secret: str, usable: bool) -> None:
    assert is_valid_header_value(secret) is usable
