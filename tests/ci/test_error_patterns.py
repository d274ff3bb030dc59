"""Weights of log lines."""

from __future__ import annotations

import re
from importlib import import_module

import pytest

from hls_handler.ci import error_patterns, excerpts, log_lines, tasks
from hls_handler.ci.error_patterns import (
    CAUSE,
    ERROR_MARK,
    ERROR_WORD,
    EXIT_CODE,
    EXTERNAL,
    FAILED_NAME,
    FAILED_WORD,
    KILLED,
    PATTERNS,
    SUMMARY,
)
from hls_handler.ci.log_lines import parse_line
from tests.ci.test_formats import FORMATS, MARK
from tests.untrusted.test_redaction import unbounded

WEIGHED_LINES = [
    (KILLED, "##[error]Process completed with exit code 137."),
    (KILLED, "Killed"),
    (KILLED, "g++: fatal error: Killed signal terminated program cc1plus"),
    (KILLED, "FATAL ERROR: Reached heap limit Allocation failed - JavaScript heap out of memory"),
    (KILLED, "java.lang.OutOfMemoryError: Java heap space"),
    (KILLED, 'reason: "OOMKilled"'),
    (KILLED, "tar: layer.tar: Cannot write: No space left on device"),
    (KILLED, "##[error]The job running on runner x has exceeded the maximum execution time of 6 minutes."),
    (KILLED, "##[error]The action 'Tests' has timed out after 10 minutes."),
    (KILLED, "##[error]The hosted runner lost communication with the server."),
    (KILLED, "##[error]The runner has received a shutdown signal."),
    (KILLED, "##[error]Resource not accessible by integration"),
    (CAUSE, "E       assert 1 == 2"),
    (CAUSE, "E   ModuleNotFoundError: No module named 'shop'"),
    (CAUSE, "E       AssertionError: '0 errors' is not in the page"),
    (CAUSE, "KeyError: 'orders'"),
    (CAUSE, "sqlalchemy.exc.OperationalError: (psycopg.OperationalError) no"),
    (CAUSE, "AssertionError [ERR_ASSERTION]: 1 == 2"),
    (CAUSE, "    Error: Cannot find module 'left-pad'"),
    (CAUSE, "Caused by: java.lang.IllegalStateException: no bean"),
    (CAUSE, "Unhandled exception. System.NullReferenceException: Object reference not set"),
    (CAUSE, 'Exception in thread "main" java.lang.RuntimeException'),
    (CAUSE, "Caused by: java.lang.NoClassDefFoundError: org/example/Shop"),
    (CAUSE, "src/shop.py:3:1: F401 'os' imported but unused"),
    (CAUSE, "src/shop.py:12: error: Incompatible return value type  [return-value]"),
    (CAUSE, "src/price.ts(7,3): error TS2322: Type 'string' is not assignable"),
    (CAUSE, "src/price.ts:7:3 - error TS2322: Type 'string' is not assignable"),
    (CAUSE, "  11:3  error  Unexpected console statement  no-console"),
    (CAUSE, "    expect(received).toBe(expected) // Object.is equality"),
    (CAUSE, "./price.go:14:9: undefined: Discount"),
    (CAUSE, "panic: runtime error: index out of range [3] with length 3"),
    (CAUSE, "error[E0425]: cannot find value `discount` in this scope"),
    (CAUSE, "thread 'tests::price' panicked at src/lib.rs:8:5:"),
    (CAUSE, "src/price.c:14:12: error: 'discount' undeclared"),
    (CAUSE, "src/price.h:1:10: fatal error: shop.h: No such file or directory"),
    (CAUSE, "Price.cs(12,20): error CS0103: The name 'discount' does not exist"),
    (CAUSE, "shop.csproj : error NU1101: Unable to find package Shop"),
    (CAUSE, "price.c:(.text+0x5): undefined reference to `discount'"),
    (CAUSE, "Undefined symbols for architecture arm64:"),
    (CAUSE, "/usr/bin/ld: price.o: in function `total': price.c:3: multiple definition of `total'"),
    (CAUSE, "Segmentation fault (core dumped)"),
    (CAUSE, "shop: price.c:3: total: Assertion `x > 0' failed."),
    (CAUSE, "   Assert.Equal() Failure: Values differ"),
    (CAUSE, "[ERROR] /src/Price.java:[12,5] cannot find symbol"),
    (CAUSE, "e: file:///src/Price.kt:7:12 Unresolved reference 'discount'."),
    (CAUSE, "     Failure/Error: expect(total).to eq(90)"),
    (CAUSE, "Failed asserting that 110 matches expected 90."),
    (CAUSE, "PHP Fatal error:  Uncaught Error: Call to undefined function total()"),
    (CAUSE, "│ Error: Reference to undeclared input variable"),
    (CAUSE, "==2210==ERROR: AddressSanitizer: heap-use-after-free on address 0x602 at pc 0x4f"),
    (CAUSE, "==7==ERROR: LeakSanitizer: detected memory leaks"),
    (CAUSE, "==7==WARNING: MemorySanitizer: use-of-uninitialized-value"),
    (CAUSE, "WARNING: ThreadSanitizer: data race (pid=2210)"),
    (CAUSE, "src/price.c:14:12: runtime error: signed integer overflow"),
    (CAUSE, "WARNING: DATA RACE"),
    (CAUSE, "error CS1002: ; expected"),
    (CAUSE, "  error CS1002: ; expected [/src/shop.csproj]"),
    (CAUSE, "MSBUILD : error MSB1009: Project file does not exist."),
    (CAUSE, "Price.cs(3,1): error SA1200: Using directive should appear within a namespace"),
    (CAUSE, "price.cpp(3): fatal error C1083: Cannot open include file: 'shop.h'"),
    (CAUSE, "C:\\src\\shop.targets(12,5): error : The file 'price.txt' is missing. [C:\\src\\shop.csproj]"),
    (CAUSE, "EXEC : error : the generator has no input"),
    (CAUSE, "Get-Item: D:\\a\\_temp\\8f3c.ps1:2"),
    (CAUSE, "ParserError: /home/runner/work/_temp/8f3c.ps1:3"),
    (CAUSE, "Get-Price: D:\\a\\shop\\Shop.psm1:14:3"),
    (CAUSE, "At D:\\a\\_temp\\8f3c.ps1:2 char:1"),
    (CAUSE, "At line:2 char:1"),
    (EXTERNAL, "E: Unable to locate package libfoo-dev"),
    (EXTERNAL, "E: Package 'python2' has no installation candidate"),
    (EXTERNAL, "| The term 'poetry' is not recognized as a name of a cmdlet, function, script file"),
    (EXTERNAL, "'make' is not recognized as an internal or external command,"),
    (FAILED_NAME, "1/3 Test #1: price ............................***Exception: SegFault  0.10 sec"),
    (FAILED_NAME, " 2/3 Test  #2: order ...........................***Failed    0.01 sec"),
    (FAILED_NAME, "3/3 Test #3: cart .............................***Timeout  10.00 sec"),
    (FAILED_NAME, "4/4 Test #4: vat ..............................Child aborted***Exception:   0.02 sec"),
    (SUMMARY, "diff --git a/src/generated.py b/src/generated.py"),
    (EXTERNAL, "curl: (6) Could not resolve host: example.com"),
    (EXTERNAL, "Temporary failure in name resolution"),
    (EXTERNAL, "npm error code ECONNRESET"),
    (EXTERNAL, "connect ETIMEDOUT 192.0.2.1:443"),
    (EXTERNAL, "getaddrinfo ENOTFOUND registry.npmjs.org"),
    (EXTERNAL, "dial tcp 192.0.2.1:443: connect: connection refused"),
    (EXTERNAL, "net/http: TLS handshake timeout"),
    (EXTERNAL, "PUT https://registry.example.com/shop: 503 Service Unavailable"),
    (EXTERNAL, "received unexpected HTTP status: 429 Too Many Requests"),
    (EXTERNAL, "toomanyrequests: You have reached your pull rate limit."),
    (EXTERNAL, "/home/runner/work/_temp/1.sh: line 1: poetry: command not found"),
    (EXTERNAL, "./build.sh: Permission denied"),
    (FAILED_NAME, "FAILED tests/test_price.py::test_discount - assert 110.0 == 90"),
    (FAILED_NAME, "ERROR tests/test_price.py - ModuleNotFoundError"),
    (FAILED_NAME, "FAIL: test_discount (tests.test_price.PriceTest)"),
    (FAILED_NAME, "ERROR: test_discount (tests.test_price.PriceTest)"),
    (FAILED_NAME, "  ● price › takes the discount off"),
    (FAILED_NAME, " FAIL  test/price.test.ts > price"),
    (FAILED_NAME, "not ok 3 - takes the discount off"),
    (FAILED_NAME, "✖ takes the discount off (0.4ms)"),
    (FAILED_NAME, "--- FAIL: TestOrder (0.00s)"),
    (FAILED_NAME, "test price::tests::discount ... FAILED"),
    (FAILED_NAME, "  Failed Shop.PriceTest.TakesDiscountOff [12 ms]"),
    (FAILED_NAME, "[ERROR] PriceTest.discount -- Time elapsed: 0.012 s <<< FAILURE!"),
    (FAILED_NAME, "> Task :compileKotlin FAILED"),
    (FAILED_NAME, "PriceTest > takesDiscountOff() FAILED"),
    (SUMMARY, "=========================== short test summary info ============================"),
    (SUMMARY, "Traceback (most recent call last):"),
    (SUMMARY, "  3 failing"),
    (SUMMARY, "npm ERR! code ELIFECYCLE"),
    (SUMMARY, " ERR_PNPM_OUTDATED_LOCKFILE  Cannot install"),
    (SUMMARY, "error: could not compile `shop` (lib) due to 1 previous error"),
    (SUMMARY, "make: *** [Makefile:12: build/price.o] Error 1"),
    (SUMMARY, "* What went wrong:"),
    (SUMMARY, "[ERROR] Failed to execute goal org.apache.maven.plugins"),
    (SUMMARY, "[INFO] BUILD FAILURE"),
    (SUMMARY, "BUILD FAILED in 12s"),
    (SUMMARY, "FAILURE: Build failed with an exception."),
    (SUMMARY, "Tests run: 3, Failures: 1, Errors: 0, Skipped: 0"),
    (SUMMARY, "ERROR: failed to build: failed to solve: process"),
    (SUMMARY, 'ERROR: process "/bin/sh -c make" did not complete successfully: exit code: 2'),
    (SUMMARY, "fatal: not a git repository"),
    (SUMMARY, "##[error]The operation was canceled."),
    (ERROR_WORD, "ERROR: No matching distribution found for shop"),
    (ERROR_WORD, "2026-11-20 09:14:31 [error] the page is gone"),
    (ERROR_MARK, "##[error]Something is wrong with the shop"),
    (FAILED_WORD, "Build FAILED."),
    (FAILED_WORD, "Access denied for user"),
    (FAILED_WORD, "Module not found in the shop"),
    (EXIT_CODE, "##[error]Process completed with exit code 1."),
    (EXIT_CODE, "##[error]The process '/usr/bin/git' failed with exit code 128"),
]


@pytest.mark.parametrize(("weight", "text"), WEIGHED_LINES, ids=lambda value: str(value)[:60])
def test_lines_of_tools_have_the_expected_weight(weight: int, text: str) -> None:
    assert error_patterns.weigh_line(parse_line(text)) == weight


LINES_OF_TOOLS = [line.removeprefix(MARK) for lines in FORMATS.values() for line in lines.split("\n")]


def test_every_pattern_is_tested() -> None:
    lines = [text for _, text in WEIGHED_LINES] + LINES_OF_TOOLS
    texts = [parse_line(text).text for text in lines]
    assert [
        row for row in PATTERNS if not any(row[1] in text.lower() and re.search(row[2], text) for text in texts)
    ] == []


@pytest.mark.parametrize("row", PATTERNS, ids=lambda row: row[2][:50])
def test_lines_that_a_pattern_matches_contain_its_needle(row: tuple[int, str, str]) -> None:
    lines = [text for _, text in WEIGHED_LINES] + LINES_OF_TOOLS
    found = [text for raw in lines if re.search(row[2], text := parse_line(raw).text)]
    assert [text for text in found if row[1] not in text.lower()] == []


@pytest.mark.parametrize(
    "text",
    [
        "0 errors",
        "Found 0 errors. Watching for file changes.",
        "error: 0",
        "Errors: 0, failed: 0",
        "no errors found",
        "Tests run: 12, Failures: 0, Errors: 0, Skipped: 0",
        "# fail 0",
        "compiled src/error.py",
        "gcc -c src/error.c -o build/error.o",
        "tests/test_errors.py::test_error_page PASSED                    [  2%]",
        "  ✓ shows the error: not found (3 ms)",
        "ok  \texample.com/shop/errors\t0.012s",
        "--- PASS: TestError (0.00s)",
        "test errors::failed_twice ... ok",
        "PASS src/error.test.ts",
        "pytest --fail-on-error --failed-first",
        "+ ./deploy.sh 'error: try again'",
        "warning: error: this name is not used",
        "npm warn retry fetch attempt 1 failed with ECONNRESET",
        "Connection refused, retrying in 3 s",
        "(node:2127) [DEP0040] DeprecationWarning: a userland error: alternative",
        "DeprecationWarning: error: use another",
        "##[warning]The process '/usr/bin/git' failed with exit code 128",
        "##[debug]error: none of this matters",
        "##[group]error: a title",
        "##[command]grep error: log.txt",
        "the terror of an interregnum",
        "1 file would be left unchanged.",
        "fix end of files.........................................................Passed",
        "[warn] src/price.ts",
        "an ***Exception in a text",
        "==2210== Memcheck, a memory error detector",
        "4/4 Test #4: vat ..............................   Passed    0.01 sec",
        "    0 Error(s)",
        "Found 0 of 12 files that can be fixed in 0.214 seconds, 18.00 MB memory used",
        ".github/workflows/ci.yml:1:1: [warning] missing document start (document-start)",
        "➤ YN0000: Done with warnings in 0s 214ms",
        "  --> using the cache of main.go:3",
        "In the next line 3 packages follow:",
        "src/shop.py:3: see docs",
        "",
    ],
    ids=lambda text: text[:60],
)
def test_harmless_lines_have_no_weight(text: str) -> None:
    assert error_patterns.weigh_line(parse_line(text)) == 0


@pytest.mark.parametrize(
    "pattern",
    [pattern for rows in error_patterns.PATTERNS_BY_NEEDLE.values() for _, pattern in rows]
    + [
        p
        for module in (error_patterns, log_lines, excerpts, tasks)
        for p in vars(module).values()
        if isinstance(p, re.Pattern)
    ],
    ids=lambda pattern: pattern.pattern[:50],
)
def test_no_pattern_has_unbounded_backtracking(pattern: re.Pattern[str]) -> None:
    assert unbounded(import_module("re._parser").parse(pattern.pattern, pattern.flags)) == []
