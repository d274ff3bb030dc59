"""Marks of log lines."""

from __future__ import annotations

import re
from importlib import import_module

import pytest

from hls_handler.ci import excerpts, log_lines
from hls_handler.ci.log_lines import is_marked
from tests.untrusted.test_redaction import unbounded


@pytest.mark.parametrize(
    "text",
    [
        # a tool's own report
        "FAILED tests/test_price.py::test_discount - assert 110.0 == 90",
        "FAIL: test_discount (tests.test_price.PriceTest)",
        "test price::tests::discount ... FAILED",
        "> Task :compileKotlin FAILED",
        "[INFO] BUILD FAILURE",
        "[ERROR] /src/Price.java:[12,5] cannot find symbol",
        "    --- FAIL: TestTotal (0.00s)",
        "  3/12 Test  #3: cart_total .......................***Failed    0.02 sec",
        "not ok 3 - takes the discount off",
        "  ● price › takes the discount off",
        "  ✕ takes the discount off (3 ms)",
        "  1) [chromium] › tests/cart.spec.ts:12:5 › adds items",
        "E       AssertionError: '0 errors' is not in the page",
        "thread 'tests::price' panicked at src/lib.rs:8:5:",
        "error[E0425]: cannot find value `discount` in this scope",
        "ERROR: failed to build: failed to solve: process",
        "Failure:",
        "  Failed Shop.Tests.CartTests.Total [5 ms]",
        "── Failure ('test-cart.R:12:3'): total ──",
        "fatal: not a git repository",
        "│ Error: creating S3 Bucket (shop): BucketAlreadyExists",
        "❌ test/cart_test.dart: total (failed)",
        "panic: runtime error: index out of range [3] with length 3",
        "AssertionError [ERR_ASSERTION]: Expected values to be strictly equal:",
        "Caused by: java.lang.IllegalStateException: no bean",
        "AssertionError",
        "npm error code ENOTFOUND",
        # a place, in any language
        "src/price.ts(7,3): Typ 'string' passt nicht zu 'number'",
        "src/price.c:14:12: Fehler: 'discount' ist nicht deklariert",
        "psql:migrate.sql:212: FEHLER:  Relation »users« existiert nicht",
        "    cart_test.go:14: got 3, want 4",
        "  11:3  error  Unexpected console statement  no-console",
        "/home/runner/work/_temp/1.sh: Zeile 3: terraform: Kommando nicht gefunden",
        # behind the prefixes of task runners
        "packages/api test: src/price.ts(7,3): error TS2322: Type 'string'",
        "@acme/web:build: src/price.c:14:12: Fehler: 'discount'",
        "➤ YN0000: [@acme/api]: src/price.c:14:12: Fehler: 'discount'",
        "tests-1  | 2026-01-01T00:00:00.123456789Z E   assert 3 == 4",
        "[api] not ok 3 - takes the discount off",
        "api\tcart_test.go:14: got 3, want 4",
        "             +test | cart_test.go:14: got 3, want 4",
        "#12 4.567 src/price.c:14:12: Fehler: 'discount'",
        "cart> cart.cpp:12:10: error: 'totl' was not declared",
        "12>price.cs(7,3): error CS0103: Der Name ist nicht vorhanden",
        "CREATE_FAILED  AWS::S3::Bucket  ShopBucket  already exists in another account",
        "the unit shop.service: Failed to start the shop",
        "cc: fatal error: Killed signal terminated program cc1plus",
    ],
    ids=lambda text: text[:60],
)
def test_line_of_a_failure_is_marked(text: str) -> None:
    assert is_marked(text)


@pytest.mark.parametrize(
    "text",
    [
        "  ✓ reports the error: not found (3 ms)",
        "PASS src/error.test.ts",
        "--- PASS: TestError (0.00s)",
        "ok  \texample.com/shop/errors\t0.012s",
        "[web] ✓ reports ERROR to the user",
        "warning: error: this name is not used",
        "npm warn deprecated error: use another",
        "src/price.c:14:12: warning: unused variable",
        "src/price.c:14:12: note: declared here",
        "/usr/lib/python3/x.py:12: DeprecationWarning: use another",
        "Tests run: 12, Failures: 0, Errors: 0, Skipped: 0",
        "gcc -c src/error.c -o build/error.o",
        "LOG_LEVEL=error NODE_ENV=test npm test",
        "error:  0",
        "      Error: Not implemented: navigation",
        "    java.lang.IllegalStateException: refused",
        "12:00:00.123 [main] ERROR com.example.Shop - the queue is full",
        '{"level":50,"time":1767225600200,"pid":17,"msg":"the port is in use"}',
        "#9 0.100 Get:5 http://deb.debian.org/debian bookworm/main amd64 lemon-5",
        "12:30:45 started",
        "compiled in 3 s",
        "",
    ],
    ids=lambda text: text[:60],
)
def test_line_that_passed_or_warns_is_not_marked(text: str) -> None:
    assert not is_marked(text)


def test_no_pattern_has_unbounded_backtracking() -> None:
    values = [value for module in (log_lines, excerpts) for value in vars(module).values()]
    for pattern in (value for value in values if isinstance(value, re.Pattern)):
        assert unbounded(import_module("re._parser").parse(pattern.pattern, pattern.flags)) == [], (
            pattern.pattern
        )
