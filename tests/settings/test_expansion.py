"""Variables in values: each is expanded once, and a missing one is a problem."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from hls_handler.settings.load import Expansion

VARIABLES = {"NAME": "value", "EMPTY": "", "TEMPLATE": "${NAME}"}


@pytest.mark.parametrize(
    ("written", "became"),
    [
        ("a-${NAME}-b-${NAME}", "a-value-b-value"),
        ("${NAME:-other}", "value"),
        ("${ABSENT:-}", ""),
        ("${EMPTY:-other}", "other"),
        ("${EMPTY}", ""),
        ("${TEMPLATE}", "${NAME}"),
        ("$NAME $(id) $$", "$NAME $(id) $$"),
        (None, None),
    ],
)
def test_variables_are_expanded_once(written: object, became: object) -> None:
    expansion = Expansion(VARIABLES, dotenv=".env", read_file=Path.read_bytes)
    assert expansion.expand({"key": [written]}) == {"key": [became]}
    assert expansion.problems == {}
    names = re.findall(r"\$\{(\w+)", str(written))
    assert expansion.variables == ({"key[0]": names[0]} if names else {})


@pytest.mark.parametrize(
    ("written", "problem"),
    [
        ("${ABSENT}", "the variable ABSENT is not set; set it in the environment or in .env"),
        (
            "${A} ${B} ${A}",
            "the variable A and B are not set; set it in the environment or in .env",
        ),
        ("${1A}", "${ does not start a variable here; write ${NAME} or ${NAME:-default}"),
        (
            "${ABSENT:-${NAME}}",
            "${ does not start a variable here; write ${NAME} or ${NAME:-default}",
        ),
    ],
)
def test_a_variable_that_cannot_be_expanded_is_a_problem_and_stays(
    written: str, problem: str
) -> None:
    expansion = Expansion(VARIABLES, dotenv=".env", read_file=Path.read_bytes)
    assert expansion.expand({"a": {"b": [1, written]}}) == {"a": {"b": [1, written]}}
    assert expansion.problems == {"a.b[1]": problem}
