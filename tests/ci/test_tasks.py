"""Job logs of task runners, which name the task that printed a line before the line."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from hls_handler.ci.excerpts import Excerpt
from tests.ci.jobs import failed_step
from tests.ci.test_formats import FORMATS, MARK

RUNNERS = {
    "pnpm": ("packages/api test: ", "packages/web test: "),
    "turbo": ("api:test: ", "@acme/web:build: "),
    "yarn 3": ("➤ YN0000: [@acme/api]: ", "➤ YN0000: [@acme/web]: "),
    "concurrently": ("[api] ", "[web] "),
    "compose with times": (
        "tests-1  | 2026-01-01T00:00:00.123456789Z ",
        "db-1     | 2026-01-01T00:00:00.123456789Z ",
    ),
    "earthly": ("             +test | ", "            +build | "),
    "parallel": ("api\t", "web\t"),
    "tox": ("py311: ", "py312: "),
    "BuildKit": ("#12 4.567 ", "#13 4.600 "),
}


def interleave(own: Iterable[str], other: str, *, around: int = 25) -> list[str]:
    """Return lines with those of another task before, between and after them."""
    noise = [f"{other}alpha bravo {'cargo ' * (number % 5)}delta" for number in range(around)]
    between = [text for line in own for text in (line, f"{other}ember flint")]
    return [*noise, *between, *noise]


def error_line(excerpt: Excerpt) -> str | None:
    return next((line.text for line in excerpt.lines if line.number == excerpt.error_line), None)


@pytest.mark.parametrize("runner", RUNNERS)
def test_error_of_a_tool_is_found_behind_the_prefix_of_a_task_runner(runner: str) -> None:
    prefix, other = RUNNERS[runner]
    not_found = []
    for tool, lines in FORMATS.items():
        (expected,) = (line.removeprefix(MARK) for line in lines if line.startswith(MARK))
        own = ("> acme@1.0.0 test", "> run the tests", *(line.removeprefix(MARK) for line in lines))
        found = error_line(failed_step(*interleave([prefix + line for line in own], other)))
        if found is None or not found.endswith(
            f" {expected}".removeprefix(" " if prefix[-1] == "\t" else "")
        ):
            not_found.append((tool, found))
    assert not_found == []


def test_lines_around_an_error_are_those_of_its_task() -> None:
    own = [
        "cart.js:12",
        "TypeError: no id",
        "    at add (cart.js:12:5)",
        "    at run (cart.js:40:1)",
    ]
    excerpt = failed_step(
        *interleave([f"[api] {line}" for line in own], "[web] ", around=60), characters=3_000
    )
    shown = [line.text for line in excerpt.lines]
    first = shown.index("[api] cart.js:12")
    assert shown[first : first + 4] == [f"[api] {line}" for line in own]
    assert shown[first + 4].startswith("[web] ")  # the end of the log
    assert len([text for text in shown if text.startswith("[web] ")]) == 5


def test_lines_of_no_task_are_shown_with_those_of_every_task() -> None:
    tests = [
        "tests-1  | KeyError: 'id'",
        "tests-1 exited with code 1",
        "Aborting on container exit...",
    ]
    noise = [f"db-1     | alpha {word}" for word in ("bravo", "cargo", "delta", "ember")]
    begin = ["tests-1  | collecting", "tests-1  | running"]
    excerpt = failed_step(*begin, *noise * 20, tests[0], noise[0], *tests[1:], *noise * 20)
    numbers = [line.number for line in excerpt.lines if line.text in tests]
    assert numbers == [89, 91, 92]
    assert excerpt.error_line == 89


def test_a_name_that_does_not_recur_is_no_prefix() -> None:
    assert (
        error_line(failed_step("tests-1  | KeyError: 'id'", "error: no tests")) == "error: no tests"
    )


def test_prefix_of_a_docker_build_need_not_recur() -> None:
    lines = [
        "#8 [4/5] RUN make test",
        "#12 0.412 KeyError: 'id'",
        "#12 ERROR: process did not complete",
    ]
    assert error_line(failed_step(*lines)) == lines[1]


def test_levels_and_results_of_tools_separate_no_tasks() -> None:
    lines = [
        "[INFO] alpha",
        "[ERROR] /src/Price.java:[12,5] cannot find symbol",
        "[INFO] bravo",
        "[WARNING] cargo",
    ]
    excerpt = failed_step(*lines * 3, characters=10_000)
    assert error_line(excerpt) == lines[1]
    assert [line.text for line in excerpt.lines[3:15]] == lines * 3


def test_error_of_make_keeps_its_weight_behind_a_name_that_recurs() -> None:
    lines = [
        "make: Entering directory 'src'",
        "make: alpha",
        "make: bravo",
        "make: *** [Makefile:3: test] Error 1",
    ]
    assert error_line(failed_step(*lines, "2 failed")) == lines[3]


def test_no_excerpt_contains_part_of_a_private_key_that_a_task_prints() -> None:
    key = [
        "-----BEGIN PRIVATE KEY-----",
        "MIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcw",
        "ggSjAgEAAoIBAQC7VJTUt9Us8cKj",
    ]
    excerpt = failed_step(
        *interleave([f"tests-1  | {line}" for line in (*key, "KeyError: 'id'")], "db-1     | ")
    )
    shown = [line.text for line in excerpt.lines if line.text.startswith("tests-1")]
    assert shown == ["tests-1  | [redacted: private-key]"] * 3 + ["tests-1  | KeyError: 'id'"]
