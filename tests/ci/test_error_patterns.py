"""Weights of log lines."""

from __future__ import annotations

import re
from importlib import import_module

import pytest

from hls_handler.ci import error_patterns, excerpts, log_lines
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
from tests.ci.jobs import LOGS
from tests.ci.test_formats import FORMATS, MARK
from tests.ci.test_tools import FIRST_REAL_ERROR
from tests.untrusted.test_redaction import unbounded

WEIGHED_LINES = [
    (
        CAUSE,
        (
            "==2210==ERROR: AddressSanitizer: heap-buffer-overflow on address 0x602000000014 at pc"
            " 0x55d0c8"
        ),
    ),
    (EXTERNAL, "E: Unable to locate package libprice-dev"),
    (
        CAUSE,
        (
            '.github/workflows/ci.yml:12:9: property "platform" is not defined in object type {os:'
            " string} [expression]"
        ),
    ),
    (
        CAUSE,
        (
            ">> Issue: [B602:subprocess_popen_with_shell_equals_true] subprocess call with"
            " shell=True identified."
        ),
    ),
    (
        SUMMARY,
        (
            "Could not find gem 'shop-core (= 4.2)' in rubygems repository https://rubygems.org/ or"
            " installed locally."
        ),
    ),
    (CAUSE, "CMake Error at CMakeLists.txt:12 (find_package):"),
    (CAUSE, "./docs/index.md:3: recieve ==> receive"),
    (SUMMARY, "Your requirements could not be resolved to an installable set of packages."),
    (CAUSE, "  error • lib/price.dart:3:5 • Undefined name 'discount'. • undefined_identifier"),
    (
        CAUSE,
        (
            "/src/shop/Price.cs(12,1): error WHITESPACE: Fix whitespace formatting. Insert '\\s'."
            " [shop.csproj]"
        ),
    ),
    (CAUSE, "src/shop.py:3:1: F401 'os' imported but unused"),
    (SUMMARY, "diff --git a/src/generated.py b/src/generated.py"),
    (SUMMARY, "9:14AM WRN leaks found: 1"),
    (
        CAUSE,
        (
            "Dockerfile:3 DL3008 warning: Pin versions in apt get install. Instead of `apt-get"
            " install <package>` use"
        ),
    ),
    (SUMMARY, "make: *** No rule to make target 'price.o', needed by 'shop'.  Stop."),
    (
        CAUSE,
        (
            "docs/index.md:3 error MD012/no-multiple-blanks Multiple consecutive blank lines"
            " [Expected: 1; Actual: 2]"
        ),
    ),
    (
        CAUSE,
        (
            "** (CompileError) lib/price.ex:3: cannot compile module Shop.Price (errors have been"
            " logged)"
        ),
    ),
    (
        CAUSE,
        (
            "C:\\src\\shop.targets(12,5): error : The file 'price.txt' is missing."
            " [C:\\src\\shop.csproj]"
        ),
    ),
    (SUMMARY, "Found 1 of 12 files that can be fixed in 0.214 seconds, 18.00 MB memory used"),
    (CAUSE, " 12 | ERROR | [x] Line indented incorrectly; expected 4 spaces, found 2"),
    (
        SUMMARY,
        (
            "pyproject.toml changed significantly since poetry.lock was last generated. Run `poetry"
            " lock` to fix it."
        ),
    ),
    (CAUSE, "Get-Item: D:\\a\\_temp\\8f3c21d6.ps1:2"),
    (CAUSE, "At D:\\a\\_temp\\8f3c21d6.ps1:2 char:1"),
    (
        FAILED_NAME,
        "fix end of files.........................................................Failed",
    ),
    (
        SUMMARY,
        "[warn] Code style issues found in the above file. Run Prettier with --write to fix.",
    ),
    (
        ERROR_WORD,
        (
            '  /home/runner/work/shop/src/shop.py:12:12 - error: Type "str" is not assignable to'
            ' return type "int"'
        ),
    ),
    (CAUSE, " --> src/shop.py:1:8"),
    (FAILED_NAME, "Would reformat: src/shop.py"),
    (CAUSE, "Diff in /home/runner/work/shop/src/lib.rs:8:"),
    (CAUSE, "In deploy.sh line 3:"),
    (
        SUMMARY,
        "error Your lockfile needs to be updated, but yarn was run with `--frozen-lockfile`.",
    ),
    (CAUSE, "error[E0425]: cannot find value `discount` in this scope"),
    (
        CAUSE,
        (
            "/home/runner/work/shop/Price.cs(12,20): error CS0103: The name 'discount' does not"
            " exist [shop.csproj]"
        ),
    ),
    (CAUSE, "price/price_test.go:14:9: undefined: Discount"),
    (CAUSE, "org.opentest4j.AssertionFailedError: expected: <90> but was: <110>"),
    (EXTERNAL, "npm error code ENOTFOUND"),
    (
        KILLED,
        (
            "HTTP 403: Resource not accessible by integration"
            " (https://api.github.com/repos/octo/shop/releases)"
        ),
    ),
    (CAUSE, "│ Error: Reference to undeclared input variable"),
    (
        CAUSE,
        "Error: src/price.ts(7,3): error TS2322: Type 'string' is not assignable to type 'number'.",
    ),
    (CAUSE, "AssertionError: expected 110 to be 90 // Object.is equality"),
    (KILLED, "##[error]Process completed with exit code 137."),
    (KILLED, "g++: fatal error: Killed signal terminated program cc1plus"),
    (KILLED, "FATAL ERROR: Reached heap limit Allocation failed - JavaScript heap out of memory"),
    (KILLED, "java.lang.OutOfMemoryError: Java heap space"),
    (KILLED, 'reason: "OOMKilled"'),
    (
        KILLED,
        (
            "##[error]The job running on runner x has exceeded the maximum execution time of 6"
            " minutes."
        ),
    ),
    (KILLED, "##[error]The action 'Tests' has timed out after 10 minutes."),
    (KILLED, "##[error]The hosted runner lost communication with the server."),
    (KILLED, "##[error]The runner has received a shutdown signal."),
    (CAUSE, "E       AssertionError: '0 errors' is not in the page"),
    (CAUSE, "Caused by: java.lang.IllegalStateException: no bean"),
    (CAUSE, "Unhandled exception. System.NullReferenceException: Object reference not set"),
    (CAUSE, 'Exception in thread "main" java.lang.RuntimeException'),
    (CAUSE, "Caused by: java.lang.NoClassDefFoundError: org/example/Shop"),
    (CAUSE, "panic: runtime error: index out of range [3] with length 3"),
    (CAUSE, "thread 'tests::price' panicked at src/lib.rs:8:5:"),
    (CAUSE, "price.c:(.text+0x5): undefined reference to `discount'"),
    (CAUSE, "Undefined symbols for architecture arm64:"),
    (CAUSE, "/usr/bin/ld: price.o: in function `total': price.c:3: multiple definition of `total'"),
    (CAUSE, "Segmentation fault (core dumped)"),
    (CAUSE, "shop: price.c:3: total: Assertion `x > 0' failed."),
    (CAUSE, "   Assert.Equal() Failure: Values differ"),
    (CAUSE, "[ERROR] /src/Price.java:[12,5] cannot find symbol"),
    (CAUSE, "     Failure/Error: expect(total).to eq(90)"),
    (CAUSE, "Failed asserting that 110 matches expected 90."),
    (CAUSE, "PHP Fatal error:  Uncaught Error: Call to undefined function total()"),
    (CAUSE, "WARNING: ThreadSanitizer: data race (pid=2210)"),
    (CAUSE, "price.cpp(3): fatal error C1083: Cannot open include file: 'shop.h'"),
    (CAUSE, "EXEC : error : the generator has no input"),
    (
        EXTERNAL,
        "| The term 'poetry' is not recognized as a name of a cmdlet, function, script file",
    ),
    (EXTERNAL, "'make' is not recognized as an internal or external command,"),
    (EXTERNAL, "curl: (6) Could not resolve host: example.com"),
    (EXTERNAL, "Temporary failure in name resolution"),
    (EXTERNAL, "npm error code ECONNRESET"),
    (EXTERNAL, "connect ETIMEDOUT 192.0.2.1:443"),
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
    (FAILED_NAME, "not ok 3 - takes the discount off"),
    (FAILED_NAME, "test price::tests::discount ... FAILED"),
    (FAILED_NAME, "  Failed Shop.PriceTest.TakesDiscountOff [12 ms]"),
    (FAILED_NAME, "[ERROR] PriceTest.discount -- Time elapsed: 0.012 s <<< FAILURE!"),
    (FAILED_NAME, "> Task :compileKotlin FAILED"),
    (FAILED_NAME, "PriceTest > takesDiscountOff() FAILED"),
    (SUMMARY, "=========================== short test summary info ============================"),
    (SUMMARY, "Traceback (most recent call last):"),
    (SUMMARY, "  3 failing"),
    (SUMMARY, " ERR_PNPM_OUTDATED_LOCKFILE  Cannot install"),
    (SUMMARY, "* What went wrong:"),
    (SUMMARY, "[INFO] BUILD FAILURE"),
    (SUMMARY, "BUILD FAILED in 12s"),
    (SUMMARY, "FAILURE: Build failed with an exception."),
    (SUMMARY, "Tests run: 3, Failures: 1, Errors: 0, Skipped: 0"),
    (SUMMARY, "ERROR: failed to build: failed to solve: process"),
    (SUMMARY, 'ERROR: process "/bin/sh -c make" did not complete successfully: exit code: 2'),
    (SUMMARY, "fatal: not a git repository"),
    (SUMMARY, "##[error]The operation was canceled."),
    (ERROR_WORD, "2026-11-20 09:14:31 [error] the page is gone"),
    (ERROR_WORD, '2026-01-01 00:00:00.100 UTC [33] FATAL:  role "shop" does not exist'),
    (ERROR_WORD, 'time="2026-01-01T00:00:00Z" level=fatal msg="cannot read shop.yaml"'),
    (ERROR_WORD, "t=2026-01-01T00:00:00Z lvl=eror msg=stopped"),
    (ERROR_WORD, "event=stopped severity=ERROR"),
    (ERROR_WORD, 'log.level=error "the queue is full"'),
    (ERROR_WORD, "12:00:00.123 [main] ERROR com.example.Shop - the queue is full"),
    (ERROR_WORD, "2026-01-01 12:00:00 ERROR [main] com.example.Shop - the queue is full"),
    (ERROR_WORD, "ERROR 1146 (42S02) at line 12: Table 'shop.carts' doesn't exist"),
    (ERROR_WORD, '{"lvl":"err","msg":"the queue is full"}'),
    (ERROR_WORD, '  {"severityText":"ERROR","body":"the queue is full"}'),
    (ERROR_WORD, '{"severity": "CRITICAL", "message": "the queue is full"}'),
    (
        ERROR_WORD,
        '{"@timestamp":"2026-01-01T00:00:00Z","log.level":"error","message":"the queue is full"}',
    ),
    (ERROR_WORD, '{"message": "the queue is full", "level_name": "ERROR"}'),
    (ERROR_WORD, '{"@t":"2026-01-01T00:00:00Z","@mt":"The queue is full","@l":"Error"}'),
    (CAUSE, '"beforeAll" hook timeout of 30000ms exceeded.'),
    (CAUSE, "Timeout 30000ms exceeded."),
    (CAUSE, "  Test cart.adds_items timed out after 30 seconds"),
    (ERROR_WORD, '{"SeverityName": "Fatal"}'),
    (
        ERROR_WORD,
        '{"Timestamp":"2026-01-01T00:00:00Z","Level":"Error","Message":"The queue is full"}',
    ),
    (CAUSE, '    thrown: "Exceeded timeout of 5000 ms for a test.'),
    (CAUSE, 'Tearing down "context" exceeded the test timeout of 30000ms.'),
    (ERROR_MARK, "##[error]Something is wrong with the shop"),
    (FAILED_WORD, "Access denied for user"),
    (EXIT_CODE, "##[error]Process completed with exit code 1."),
    (EXIT_CODE, "##[error]The process '/usr/bin/git' failed with exit code 128"),
]


def test_lines_of_tools_have_the_expected_weight() -> None:
    weighed = [(error_patterns.weigh_line(parse_line(text)), text) for _, text in WEIGHED_LINES]
    assert weighed == WEIGHED_LINES


LINES = [
    *(text for _, text in WEIGHED_LINES),
    *(line.removeprefix(MARK) for lines in FORMATS.values() for line in lines),
    *FIRST_REAL_ERROR.values(),
]


def test_every_pattern_matches_a_line_and_only_lines_with_its_needle() -> None:
    texts = [parse_line(line).text for line in LINES]
    for _, needle, pattern in PATTERNS:
        found = [text for text in texts if re.search(pattern, text)]
        assert found != [], pattern
        assert [text for text in found if needle not in text.lower()] == [], pattern


@pytest.mark.parametrize(
    "text",
    [
        "0 errors",
        "Tests run: 12, Failures: 0, Errors: 0, Skipped: 0",
        "gcc -c src/error.c -o build/error.o",
        "+ ./deploy.sh 'error: try again'",
        "  ✓ shows the error: not found (3 ms)",
        "ok  \texample.com/shop/errors\t0.012s",
        "test errors::failed_twice ... ok",
        "warning: error: this name is not used",
        "npm warn retry fetch attempt 1 failed with ECONNRESET",
        "Connection refused, retrying in 3 s",
        "(node:2127) [DEP0040] DeprecationWarning: a userland error: alternative",
        "##[warning]The process '/usr/bin/git' failed with exit code 128",
        "##[command]grep error: log.txt",
        "fix end of files.........................................................Passed",
        ".github/workflows/ci.yml:1:1: [warning] missing document start (document-start)",
        "src/price.c:14:12: note: declared here",
        "➤ YN0000: Done with warnings in 0s 214ms",
        "error:  0",
        'ts=2026-01-01T00:00:00Z level=info msg="level=error is shown in red"',
        "ts=2026-01-01T00:00:00Z level=warn msg=slow",
        "npm ci --loglevel=error --no-audit",
        "LOG_LEVEL=error NODE_ENV=test npm test",
        '{"level":"info","msg":"error levels are shown in red"}',
        '{"level":40,"time":1767225600100,"msg":"slow"}',
        '      "level": "error",',
        "each test has a timeout of 30000ms",
        "attempt 1 timed out after 5 s, again",
        "",
    ],
    ids=lambda text: text[:60],
)
def test_harmless_lines_have_no_weight(text: str) -> None:
    assert error_patterns.weigh_line(parse_line(text)) == 0


GOLDEN_LOGS = LOGS.parent.parent / "golden" / "workflows"


def count_errors(name: str) -> int:
    lines = (GOLDEN_LOGS / f"{name}.log").read_text(encoding="utf-8").split("\n")
    weights = [error_patterns.weigh_line(parse_line(line)) for line in lines]
    return sum(weight >= ERROR_WORD for weight in weights)


@pytest.mark.parametrize(
    ("name", "errors"),
    [
        ("deploy-permission", 0),
        ("go-compile-error", 1),
        ("npm-registry-down", 7),
        ("out-of-memory", 5),
        ("python-assertion", 4),
        ("silent-exit", 0),
    ],
)
def test_golden_log_has_no_more_lines_with_an_error(name: str, errors: int) -> None:
    assert count_errors(name) == errors


def test_no_pattern_has_unbounded_backtracking() -> None:
    patterns = [
        pattern for rows in error_patterns.PATTERNS_BY_NEEDLE.values() for _, pattern in rows
    ]
    values = [
        value for module in (error_patterns, log_lines, excerpts) for value in vars(module).values()
    ]
    for pattern in (*patterns, *(value for value in values if isinstance(value, re.Pattern))):
        assert unbounded(import_module("re._parser").parse(pattern.pattern, pattern.flags)) == [], (
            pattern.pattern
        )
