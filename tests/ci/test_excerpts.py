"""Extraction of excerpts from a job's log, their format, and the search for quotes in them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hls_handler.ci.excerpts import locate
from hls_handler.ci.log_lines import BLOCK_LINES
from hls_handler.github.values import WorkflowStep
from hls_handler.untrusted.redaction import redact
from tests.ci.jobs import STEPS, cut, failed_step, job, stamped, step

ERROR = "src/price.c:14:12: error: 'discount' undeclared"


def counting(n: int) -> list[str]:
    """Return lines that differ in their words."""
    return [f"compiled {'abcdefghij'[i % 10]}{'klmnopqrst'[i // 10 % 10]}.c" for i in range(n)]


def test_a_short_log_is_shown_whole() -> None:
    assert (
        failed_step("cc price.c", ERROR).text
        == f"4| Run make test\n5| make test\n6| \n7| cc price.c\n8| {ERROR}\n9| Error: Process"
        " completed with exit code 2."
    )


def test_of_a_long_log_the_beginning_the_marked_lines_and_the_end_are_shown() -> None:
    excerpt = failed_step(*counting(80), ERROR, *counting(200), characters=1_500)
    lines = excerpt.text.split("\n")
    assert lines[:4] == ["  4| Run make test", "  5| make test", "  6| ", "  7| compiled ak.c"]
    assert lines.count(f" 87| {ERROR}") == 1
    assert lines[-2:] == ["287| compiled jt.c", "288| Error: Process completed with exit code 2."]
    assert [line for line in lines if "left out" in line] == [
        "[... 71 lines left out ...]",
        "[... 153 lines left out ...]",
    ]
    assert len(excerpt.text) <= 1_500


def test_region_of_a_marked_line_ends_at_a_blank_line_before_text_without_indentation() -> None:
    region = [
        "● cart › adds",
        "",
        "    Received: 3",
        "",
        "    12 | expect(",
        "    at cart.ts:12:5",
        "",
    ]
    output = [*counting(60), "", *region, *counting(60)]
    lines = [text for _, text in failed_step(*output, characters=1_200).rows]
    first = lines.index(region[0])
    assert lines[first : first + 7] == region
    assert lines[first - 1] == "compiled fm.c"
    assert lines[first + 7] == "compiled go.c"


def test_lines_between_two_near_regions_are_shown() -> None:
    region = ["AssertionError: total", "", "- 100", "+ 90", "", " ❯ src/cart.test.ts:5:19", ""]
    shown = failed_step(*counting(60), "", *region, *counting(60), characters=1_200).rows
    assert {"- 100", "+ 90"} <= {text for _, text in shown}


def test_region_has_at_most_40_lines() -> None:
    output = [*counting(100), ERROR, *counting(100), *counting(100)]
    numbers = [number for number, _ in failed_step(*output, characters=4_000).rows]
    assert set(range(97, 137)) <= set(numbers)
    assert not {96, 137} & set(numbers)


def test_first_and_last_regions_are_shown_before_those_in_the_middle() -> None:
    errors = [f"a{number}.c:1:1: error: no {str(number) * 40}" for number in range(7)]
    output = [text for error in errors for text in (*counting(60), "", error, "")]
    shown = failed_step(*output, *counting(60), characters=800).text
    assert [number for number in range(7) if f"a{number}.c" in shown] == [0, 1, 6]


def test_failure_is_shown_among_expected_errors_of_another_shape() -> None:
    expected = [
        f"Error: shop {number} of web-{number} was refused as expected" for number in range(300)
    ]
    failure = "Error: 3 items in the cart, want 4 (cart_test.go:12)"
    texts = [
        line for error in (*expected[:150], failure, *expected[150:]) for line in (error, "", "x")
    ]
    (excerpt,) = cut(stamped(4, *texts), STEPS, characters=5_000)
    assert failure in excerpt.text


def test_failures_of_one_shape_stay_as_long_as_there_is_room() -> None:
    failures = [f"FAIL: test_{number} (tests.PriceTest)" for number in range(40)]
    texts = [line for failure in failures for line in (failure, "", *["passed"] * 9)]
    noise = [f"step {number} is done" for number in range(2_000)]
    (excerpt,) = cut(stamped(4, *noise, *texts, *noise), STEPS, characters=20_000)
    assert [failure for failure in failures if failure not in excerpt.text] == []


def test_an_error_that_was_printed_before_begins_no_region() -> None:
    noise = ["Error: Not implemented: navigation", *counting(60)[:40], ""]
    output = [*noise * 20, "not ok 7 - adds items", "", *noise * 20]
    shown = failed_step(*output, characters=8_000).text
    assert "| not ok 7 - adds items\n" in shown


def test_equal_lines_are_folded() -> None:
    excerpt = failed_step(*["waiting"] * 1_000, ERROR)
    assert excerpt.text.split("\n")[3:6] == [
        "   7| waiting",
        "[999 more such lines]",
        f"1007| {ERROR}",
    ]


@pytest.mark.parametrize(
    "line", ["layer {}: {}%", "2026-01-01 09:14:{:02} INFO waiting", "[09:14:{:02}] waiting"]
)
def test_lines_of_progress_or_with_a_time_are_folded_if_only_numbers_differ(line: str) -> None:
    excerpt = failed_step(*(line.format(number, number) for number in range(60)), "done")
    assert excerpt.text.split("\n")[4:6] == ["[59 more such lines]", "67| done"]


def test_lines_that_differ_in_numbers_are_not_folded_otherwise() -> None:
    results = [f"Expected: {number}" for number in range(8)]
    marked = [f"E       assert '{number}%' == ''" for number in range(8)]
    lines = [text for _, text in failed_step(*results, *marked).rows]
    assert lines[3:19] == [*results, *marked]


@pytest.mark.parametrize("lines", [["\n", "2026-11-20T09:14:34.0000000Z \n"], ["\ufeff"]])
def test_an_empty_log_is_empty(lines: list[str]) -> None:
    (excerpt,) = cut(lines, STEPS, characters=2_000)
    assert (excerpt.state, excerpt.text) == ("empty", "")


def test_remarks_about_gaps_count_towards_the_limit() -> None:
    output = [
        text
        for i in range(8)
        for text in (f"a.c:{i}:1: error: no {i}", *counting(90), *["same"] * 50)
    ]
    for characters in range(600, 2_400, 450):
        shown = failed_step(*output, characters=characters).text
        assert len(shown) <= characters
        assert len(shown) > 0.7 * characters


GATED = (
    step(1, "Set up job", 0, 2),
    step(2, "Unit tests", 2, 3),  # with `continue-on-error`, the API's conclusion is "success"
    step(3, "Lint", 3, 4),
    step(4, "Gate", 4, 5, "failure"),
)


def gated_job(
    *gate: str, tests: str = "##[error]Process completed with exit code 1."
) -> Iterator[str]:
    yield from stamped(0, "Current runner version: '2.329.0'")
    yield from stamped(
        2, "##[group]Run npm test", "##[endgroup]", "  1) price", "AssertionError: 110 == 90", tests
    )
    yield from stamped(3, "##[group]Run npx eslint .", "##[endgroup]", "0 problems")
    yield from stamped(
        4,
        "##[group]Run ./gate.sh",
        "##[endgroup]",
        *gate,
        "##[error]Process completed with exit code 1.",
    )


def test_a_gate_does_not_hide_the_earlier_step_that_failed() -> None:
    tests, gate = cut(gated_job("##[error]2 tests were flaky"), GATED, characters=4_000)
    assert (tests.step, gate.step) == (2, 4)
    assert "AssertionError: 110 == 90" in [text for _, text in tests.rows]
    assert "2 tests were flaky" in gate.text


def test_an_earlier_step_that_passed_is_not_shown() -> None:
    (gate,) = cut(gated_job("2 tests were flaky", tests="2 passed"), GATED, characters=4_000)
    assert gate.step == 4


def test_an_earlier_tolerated_failure_is_not_shown_if_the_failed_step_has_many_lines() -> None:
    own = [
        f"building {number} of 20 files in the folder {'abcdefghijklmnopqrst'[number]}"
        for number in range(20)
    ]
    (build,) = cut(
        gated_job(*own, "src/price.c:14:12: error: 'discount' undeclared"), GATED, characters=4_000
    )
    assert build.step == 4


TIMED_OUT = (
    "##[error]The job running on runner GitHub Actions 12 has exceeded "
    "the maximum execution time of 30 minutes."
)
CANCELLED = "##[error]The operation was canceled."


@pytest.mark.parametrize(
    ("end", "was_killed"),
    [
        ((TIMED_OUT, CANCELLED), True),
        ((TIMED_OUT, CANCELLED, "Post job cleanup.", "Cleaning up orphan processes"), True),
        (("##[error]The runner has received a shutdown signal.", CANCELLED), True),
        ((CANCELLED,), False),
        (("##[error]Canceling since a higher priority waiting request exists", CANCELLED), False),
        (("the process had exceeded the maximum execution time",), False),
    ],
)
def test_log_of_a_job_that_the_runner_ended_is_recognised(
    end: tuple[str, ...], was_killed: bool
) -> None:
    (excerpt,) = cut(stamped(4, "still waiting", *end), (), characters=2_000)
    assert excerpt.was_killed is was_killed


def test_step_without_identified_lines_shows_the_whole_job() -> None:
    steps = (step(1, "Lint", None, None, "failure"), step(2, "Tests", 100, 200, "failure"))
    first, second = cut(stamped(4, "hello", ERROR), steps, characters=2_000)
    assert (first.step, first.whole_job, first.errors) == (1, True, (ERROR,))
    assert first.text == f"1| hello\n2| {ERROR}"
    assert (second.step, second.state, second.text) == (2, "elsewhere", "")


KEY_LINE = "MIIEpAIBAAKCAQEA0Z3VS5JJcds3xfnygWyF8PbnGy5S7AEkXv1Hqk3sZs9tLmMa"


def test_rule_10_no_excerpt_contains_part_of_a_private_key() -> None:
    lines = [f"{KEY_LINE[:50]}{i:014}" for i in range(80)]
    key = ["-----BEGIN PRIVATE KEY-----", *lines, "-----END PRIVATE KEY-----"]
    for before in (0, 21, 42):
        for characters in (300, 1_500, 6_000):
            excerpt = failed_step(
                *counting(before), *key, *counting(40), ERROR, *key, characters=characters
            )
            assert "MIIE" not in excerpt.text


# --- whatever is in a log
# -----------------------------------------------------------------------------

PIECES = st.sampled_from(
    [
        "2026-11-20T09:14:34.5Z ", "##[group]Run ", "##[endgroup]", "##[error]", "\x1b[31m", "\x1b]", "\r", "\0",
        "error: ", "E   assert", "Post job cleanup.", "-----BEGIN PRIVATE KEY-----", "MIIEpAIBAAKCAQEA", " 12%",
        "=" * 9, "\ufffd", "價", "\u202e", "\ud800", "a" * 700, "[... 3 lines left out ...]",
    ]
)  # fmt: skip
LINES = st.lists(
    st.lists(PIECES | st.text(max_size=8), max_size=6).map("".join)
    | st.sampled_from(["same", "same", "1%", "2%"]),
    max_size=60,
)
NO_STEP: list[int | None] = [None]
SECONDS = st.none() | st.integers(-1, 8)
ANY_STEPS = st.lists(
    st.builds(
        lambda number, name, start, end, conclusion: step(number, name, start, end, conclusion),
        st.integers(1, 9),
        st.sampled_from(["Set up job", "Tests", "Run a", "Post Run a", "Complete job"]),
        SECONDS,
        SECONDS,
        st.sampled_from(["success", "failure", "skipped", "cancelled", None]),
    ),
    max_size=6,
    unique_by=lambda step: step.number,
)


@given(LINES, ANY_STEPS, st.integers(0, 3_000))
def test_excerpts_of_any_log_are_bounded_and_ordered(
    lines: list[str], steps: list[WorkflowStep], characters: int
) -> None:
    excerpts = cut(lines, steps, characters=characters)
    failed = sorted(step.number for step in steps if step.failed)
    assert [excerpt.step for excerpt in excerpts] == (failed or NO_STEP)
    for excerpt in excerpts:
        numbers = [number for number, _ in excerpt.rows]
        assert numbers == sorted(set(numbers))
        assert all(1 <= number <= len(lines) for number in numbers)
        assert "\x1b" not in excerpt.text
    with_lines = [excerpt for excerpt in excerpts if excerpt.rows]
    assert sum(len(excerpt.text) for excerpt in with_lines) <= characters


def test_log_is_read_once_and_not_stored() -> None:
    alive = 0

    class Line(str):
        def __init__(self, _: str) -> None:
            nonlocal alive
            alive += 1

        def __del__(self) -> None:
            nonlocal alive
            alive -= 1

    most = 0

    def stream() -> Iterator[str]:
        nonlocal most
        for text in job(f"compiled {'abcdefghij'[i % 10]} in {i}" for i in range(5_000)):
            yield Line(text)
            most = max(most, alive)

    cut(stream(), STEPS, characters=2_000)
    assert most < 10 + BLOCK_LINES


TOKEN = "ghp_" + "aB3dE5gH7jK9mN1pQ3rS5tU7vW9xY1zA3bC5"
EXCERPT = failed_step(
    "cc -c price.c",
    "src/price.c:14:12: error: 'discount' undeclared",
    "   14 |     return discount;",
    "FAIL",
    f"login with {TOKEN} failed",
    "value \u202ereversed\u202c and \u200bhidden",
    "src/price.c:14:12: error: 'discount' undeclared here again",
)


@pytest.mark.parametrize(
    ("quote", "number"),
    [
        ("  src/price.c:14:12:   ERROR: 'discount' undeclared\n", 8),
        (" 8| src/price.c:14:12: error: 'discount' undeclared", 8),
        ("`error: 'discount' undeclared`", 8),
        ("error: 'discount' undeclared here", 13),
        ("error: 'discount' undeclared\n14 | return discount;", 8),
        (redact(f"login with {TOKEN} failed"), 11),
        ("value reversed and hidden", 12),
    ],
)
def test_a_quote_is_found_in_its_line(quote: str, number: int) -> None:
    found = locate(EXCERPT.text, quote)
    assert found is not None
    assert found.number == number


@pytest.mark.parametrize(
    "quote",
    [
        "",
        "error:",  # in several lines, and in most logs
        "src/price.c:14:12: error: 'amount' undeclared",
        "14 | return discount;\nsrc/other.c: never said",
        "[... 340 lines left out ...]",
    ],
)
def test_quote_that_is_not_in_the_log_is_not_found(quote: str) -> None:
    assert locate(EXCERPT.text, quote) is None
