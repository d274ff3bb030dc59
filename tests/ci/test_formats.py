"""The error formats of common tools. The marked line is found; other lines of the tool have less
weight.
"""

from __future__ import annotations

import pytest

from tests.ci.jobs import failed_step

MARK = "» "

FORMATS = {
    "biome": [
        "» src/price.ts:3:14 lint/suspicious/noExplicitAny ━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━",
        "  × Unexpected any. Specify a different type.",
    ],
    "bun test": [
        "» error: expect(received).toBe(expected)",
        "(fail) price > takes the discount off [0.42ms]",
    ],
    "cargo build": [
        "» error[E0425]: cannot find value `discount` in this scope",
        "error: could not compile `shop` (lib) due to 1 previous error",
    ],
    "commitlint": [
        "» ✖   subject may not be empty [subject-empty]",
        "✖   type may not be empty [type-empty]",
        "✖   found 2 problems, 0 warnings",
    ],
    "ctest without output": [
        "» 1/2 Test #1: price ............................***Exception: SegFault  0.10 sec",
        "50% tests passed, 1 tests failed out of 2",
    ],
    "go test -race": [
        "» WARNING: DATA RACE",
        "--- FAIL: TestCart (0.00s)",
        "FAIL",
    ],
    "go test": [
        "» --- FAIL: TestTotal (0.00s)",
        "FAIL",
        "FAIL\texample.com/shop/price\t0.004s",
    ],
    "JSON": [
        '{"level":"info","ts":1767225600.1,"msg":"listening on :8080"}',
        (
            '» {"level":"error","ts":1767225600.2,"msg":"listen tcp :8080: bind: address already in'
            ' use"}'
        ),
        "1 failed",
    ],
    "JSON of pino": [
        '{"level":30,"time":1767225600100,"pid":17,"msg":"listening on 8080"}',
        '» {"level":50,"time":1767225600200,"pid":17,"msg":"the port is in use"}',
    ],
    "ld": [
        "» /usr/bin/ld: cannot find -lprice: No such file or directory",
        "collect2: error: ld returned 1 exit status",
        "make: *** [Makefile:12: shop] Error 1",
    ],
    "logfmt": [
        'ts=2026-01-01T00:00:00Z level=info component=api msg="listening on :8080"',
        (
            '» ts=2026-01-01T00:00:00Z level=error component=api err="listen tcp :8080: bind:'
            ' address already in use"'
        ),
        "1 failed",
    ],
    "ninja": [
        "» FAILED: CMakeFiles/shop.dir/price.c.o",
        "ninja: build stopped: subcommand failed.",
    ],
    "phpstan": [
        "»   Line   src/Price.php",
        " [ERROR] Found 1 error",
    ],
    "Playwright": [
        "  1) [chromium] › tests/cart.spec.ts:12:5 › adds items ─────────────────────────",
        "»     Test timeout of 30000ms exceeded.",
        "    locator.click waiting for getByRole('button', { name: 'Add' })",
        "  1 failed",
    ],
    "psql": [
        "CREATE TABLE",
        '» psql:migrate.sql:212: ERROR:  relation "users" does not exist',
        "LINE 1: ALTER TABLE users ADD COLUMN total int;",
    ],
    "stylelint": [
        "»   2:3  ✖  Unexpected empty block  block-no-empty",
        "✖ 1 problem (1 error, 0 warnings)",
    ],
    "uv": [
        "»   × No solution found when resolving dependencies:",
        (
            "  ╰─▶ Because shop-core was not found in the package registry and your project depends"
            " on shop-core, we can"
        ),
    ],
    "vite": [
        "» error during build:",
        (
            '[vite]: Rollup failed to resolve import "left-pad" from'
            ' "/home/runner/work/shop/src/price.ts".'
        ),
    ],
    "webpack": [
        "» ERROR in ./src/price.ts 3:7-15",
        "Module not found: Can't resolve 'left-pad' in '/home/runner/work/shop/src'",
    ],
    "yarn": [
        (
            "» ➤ YN0028: │ The lockfile would have been modified by this install, which is"
            " explicitly forbidden."
        ),
        "➤ YN0000: · Failed with errors in 0s 214ms",
    ],
}


@pytest.mark.parametrize("tool", FORMATS)
def test_the_error_is_found_in_the_format_of_the_tool(tool: str) -> None:
    (expected,) = (line.removeprefix(MARK) for line in FORMATS[tool] if line.startswith(MARK))
    excerpt = failed_step(*(line.removeprefix(MARK) for line in FORMATS[tool]))
    found = next((line.text for line in excerpt.lines if line.number == excerpt.error_line), None)
    assert found == expected
