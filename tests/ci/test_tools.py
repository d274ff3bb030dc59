"""The lines of the logs of common tools that say what failed: its message, values and place."""

from __future__ import annotations

import pytest

from tests.ci.jobs import LOGS, STEPS, cut, log

DECISIVE = {
    "disk": ["cp: error writing '/mnt/image/layer.tar': No space left on device"],
    "docker": ["#8 3.118 src/price.ts(7,3): error TS2322: Type 'string' is not assignable"],
    "eslint": ["  11:3  error  Unexpected console statement  no-console"],
    "gcc": ["src/price.c:14:12: error: 'discount' undeclared (first use in this function)"],
    "gradle": ["src/main/kotlin/Price.kt:7:12 Unresolved reference 'discount'."],
    "jest": ["    expect(received).toBe(expected) // Object.is equality"],
    "memory": ["8f3c.sh: line 1:  2210 Killed                  npm run build"],
    "pytest": ["E       assert 110.0 == 90"],
    "timeout": ["Error: The action 'Tests' has timed out after 10 minutes."],
    "traceback": ["KeyError: 'orders'"],
}


def test_every_log_is_tested() -> None:
    assert sorted(DECISIVE) == sorted(path.stem for path in LOGS.glob("*.txt"))


@pytest.mark.parametrize("tool", DECISIVE)
def test_decisive_lines_are_shown_also_if_half_of_the_log_is(tool: str) -> None:
    raw = list(log(tool))
    (whole,) = cut(raw, STEPS, characters=100_000)
    assert (whole.step, whole.whole_job, whole.state) == (3, False, "text")
    characters = max(len(whole.text) // 2, 2_000)
    (excerpt,) = cut(raw, STEPS, characters=characters)
    assert len(excerpt.text) <= characters
    for line in DECISIVE[tool]:
        assert line in excerpt.text
