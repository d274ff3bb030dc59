"""The first real error in logs of common tools."""

from __future__ import annotations

import pytest

from hls_handler.ci.excerpts import cut, locate, numbered
from tests.ci.jobs import LOGS, STEPS, log

FIRST_REAL_ERROR = {
    "disk": "cp: error writing '/mnt/image/layer.tar': No space left on device",
    "docker": (
        "#8 3.118 src/price.ts(7,3): error TS2322: Type 'string' is not assignable to type"
        " 'number'."
    ),
    "eslint": "  11:3  error  Unexpected console statement  no-console",
    "gcc": "src/price.c:14:12: error: 'discount' undeclared (first use in this function)",
    "gradle": (
        "e: file:///home/runner/work/shop/src/main/kotlin/Price.kt:7:12 Unresolved reference"
        " 'discount'."
    ),
    "jest": "    expect(received).toBe(expected) // Object.is equality",
    "memory": (
        "/home/runner/work/_temp/8f3c.sh: line 1:  2210 Killed                  npm run build"
    ),
    "pytest": "E       assert 110.0 == 90",
    "timeout": "Error: The action 'Tests' has timed out after 10 minutes.",
    "traceback": "KeyError: 'orders'",
}


def test_every_log_is_tested() -> None:
    assert sorted(FIRST_REAL_ERROR) == sorted(path.stem for path in LOGS.glob("*.txt"))


@pytest.mark.parametrize("tool", FIRST_REAL_ERROR)
def test_first_real_error_of_the_failed_step_is_found_at_its_line_of_the_raw_log(tool: str) -> None:
    raw = list(log(tool))
    (excerpt,) = cut(raw, STEPS, characters=8_000)
    found = locate(numbered(excerpt), FIRST_REAL_ERROR[tool])
    assert found is not None
    assert (found.text, found.number) == (FIRST_REAL_ERROR[tool], excerpt.error_line)
    assert (excerpt.step, excerpt.whole_job, excerpt.state) == (3, False, "text")
    assert excerpt.lines[0].text.startswith("Run ")
    assert excerpt.lines[-1].text.startswith("Error: ")
    assert [line.number for line in excerpt.lines] == list(
        range(excerpt.first_line, excerpt.last_line + 1)
    )
    words = [line for line in excerpt.lines if line.text.isidentifier()]
    assert all(line.text in raw[line.number - 1] for line in words)
