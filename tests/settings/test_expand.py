"""Expansion of variables in settings: once, in values only."""

from __future__ import annotations

import pytest

from hls_handler.settings.expand import expand

VARIABLES = {"NAME": "value", "EMPTY": "", "TEMPLATE": "${NAME}"}


@pytest.mark.parametrize(
    ("written", "became"),
    [
        ("${NAME}", "value"),
        ("a-${NAME}-b-${NAME}", "a-value-b-value"),
        ("${NAME:-other}", "value"),
        ("${ABSENT:-other}", "other"),
        ("${ABSENT:-}", ""),
        ("${EMPTY:-other}", "other"),
        ("${EMPTY}", ""),
        ("${ABSENT:-a:b/c-d}", "a:b/c-d"),
        ("${TEMPLATE}", "${NAME}"),
        ("$NAME $(id) $$", "$NAME $(id) $$"),
        (5, 5),
        (None, None),
    ],
)
def test_variables_are_expanded_once(written: object, became: object) -> None:
    expansion = expand({"key": [written]}, VARIABLES)
    assert expansion.root == {"key": [became]}
    assert expansion.problems == {}


@pytest.mark.parametrize(
    ("written", "problem"),
    [
        ("${ABSENT}", "the variable ABSENT is not set; set it in the environment or in .env"),
        ("${A} ${B} ${A}", "the variable A and B are not set; set it in the environment or in .env"),
        ("${NAME", "${ does not start a variable here; write ${NAME} or ${NAME:-default}"),
        ("${}", "${ does not start a variable here; write ${NAME} or ${NAME:-default}"),
        ("${1A}", "${ does not start a variable here; write ${NAME} or ${NAME:-default}"),
        ("${NAME-x}", "${ does not start a variable here; write ${NAME} or ${NAME:-default}"),
        ("${ABSENT:-${NAME}}", "${ does not start a variable here; write ${NAME} or ${NAME:-default}"),
    ],
)
def test_a_variable_that_cannot_be_expanded_is_a_problem_and_stays(written: str, problem: str) -> None:
    expansion = expand({"a": {"b": [1, written]}}, VARIABLES)
    assert expansion.root == {"a": {"b": [1, written]}}
    assert expansion.problems == {"a.b[1]": problem}


def test_keys_are_not_expanded() -> None:
    assert expand({"${NAME}": 1}, VARIABLES).root == {"${NAME}": 1}


def test_key_paths_of_expanded_values_are_recorded() -> None:
    expansion = expand({"a": "${NAME}", "b": "plain", "c": "${ABSENT:-x}"}, VARIABLES)
    assert expansion.variables == {"a": "NAME", "c": "ABSENT"}
