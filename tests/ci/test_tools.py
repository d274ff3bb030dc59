"""The lines of the logs of common tools that say what failed: its message, values and place.

Ten logs are of 6 to 15 kB, with the noise of passing tests. Those of pytest, jest, Playwright, go and
cargo were printed by the tools, the others are invented.
"""

from __future__ import annotations

import pytest

from tests.ci.jobs import STEPS, cut, log


@pytest.mark.parametrize(
    ("tool", "lines"),
    {
        "cargo": ["  left: 90", " right: 100", "panicked at src/lib.rs:49:36", "with discount"],
        "disk": ["cp: error writing '/mnt/image/layer.tar': No space left on device"],
        "docker": [
            "#14 3.118 src/price.ts(7,3): error TS2322: Type 'string' is not assignable",
            "  14 | >>> RUN npm run build",
        ],
        "dotnet": ["Expected: 100", "Actual:   90", "/tests/CartTests.cs:line 14"],
        "eslint": ["  11:3  error  Unexpected console statement  no-console"],
        "gcc": ["src/price.c:14:12: error: 'discount' undeclared (first use in this function)"],
        "go": [
            "    cart_test.go:7: Total(60, 50) = 110, want 90",
            "    --- FAIL: TestTotal/discount (0.00s)",
        ],
        "gradle": [
            "CartTest > totalWithDiscount() FAILED",
            "expected: <100> but was: <90>",
            "CartTest.totalWithDiscount(CartTest.java:14)",
        ],
        "jest": ["  ● totals", '-   "total": 100,', '+   "total": 90,', "(c.test.js:4:25)"],
        "maven": [
            "[ERROR]   Part2Test.totalWithoutDiscount:14 expected: <100> but was: <90>",
        ],
        "memory": ["8f3c.sh: line 1:  2210 Killed                  npm run build"],
        "playwright": [
            "    Expected: 4",
            "    Received: 3",
            "tests/cart.spec.ts:2:1 › adds to cart",
            "  1 failed",
            "  1 flaky",
            "search is flaky 1",
        ],
        "pytest": ["E       assert 110.0 == 90", "test_small.py:11: AssertionError"],
        "terraform": [
            "│ bucket must be shop-dev, got shop-prod",
            "│   on main.tf line 9, in resource",
        ],
        "timeout": ["Error: The action 'Tests' has timed out after 10 minutes."],
        "traceback": ["KeyError: 'orders'"],
    }.items(),
)
def test_decisive_lines_are_shown_also_if_half_of_the_log_is(tool: str, lines: list[str]) -> None:
    raw = list(log(tool))
    (whole,) = cut(raw, STEPS, characters=100_000)
    assert (whole.step, whole.whole_job, whole.state) == (3, False, "text")
    characters = max(len(whole.text) // 2, 2_000)
    (excerpt,) = cut(raw, STEPS, characters=characters)
    assert len(excerpt.text) <= characters
    for line in lines:
        assert line in excerpt.text
