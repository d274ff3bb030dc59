"""Search for quotes in a log."""

from __future__ import annotations

import pytest

from hls_handler.ci.quotes import locate
from hls_handler.untrusted.redaction import redact
from tests.ci.jobs import failed_step

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
        ("src/price.c:14:12: error: 'discount' undeclared", 8),
        ("  src/price.c:14:12:   ERROR: 'discount' undeclared\n", 8),
        (" 8| src/price.c:14:12: error: 'discount' undeclared", 8),
        ("`error: 'discount' undeclared`", 8),
        ("\"error: 'discount' undeclared…\"", 8),
        ("error: 'discount' undeclared here", 13),
        ("error: 'discount' undeclared\n14 | return discount;", 8),
        ("FAIL", 10),
        (redact(f"login with {TOKEN} failed"), 11),
        ("value reversed and hidden", 12),
    ],
)
def test_a_quote_is_found_in_its_line(quote: str, number: int) -> None:
    found = locate([EXCERPT], quote)
    assert found is not None
    assert found.number == number


@pytest.mark.parametrize(
    "quote",
    [
        "",
        "\n ` \n",
        "error:",  # in several lines, and in most logs
        "8|",
        "src/price.c:14:12: error: 'amount' undeclared",
        "14 | return discount;\nsrc/other.c: never said",
        "return discount;\ncc -c price.c",
        "[... 340 lines left out ...]",
    ],
)
def test_quote_that_is_not_in_the_log_is_not_found(quote: str) -> None:
    assert locate([EXCERPT], quote) is None


def test_all_excerpts_are_searched() -> None:
    other = failed_step("another line altogether")
    found = locate([EXCERPT, other], "another line altogether")
    assert found is not None
    assert found.text == "another line altogether"
    assert locate([], "another line altogether") is None
