"""The error formats of common tools. The marked line is found; other lines of the tool have less weight."""

from __future__ import annotations

import pytest

from tests.ci.jobs import failed_step

MARK = "» "

FORMATS = {
    "AddressSanitizer": [
        "» ==2210==ERROR: AddressSanitizer: heap-buffer-overflow on address 0x602000000014 at pc 0x55d0c8",
    ],
    "apt": ["» E: Unable to locate package libprice-dev"],
    "actionlint": [
        '» .github/workflows/ci.yml:12:9: property "platform" is not defined in object type {os: string} [expression]',
    ],
    "bandit": [
        "» >> Issue: [B602:subprocess_popen_with_shell_equals_true] subprocess call with shell=True identified.",
    ],
    "biome": [
        "» src/price.ts:3:14 lint/suspicious/noExplicitAny ━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━",
        "  × Unexpected any. Specify a different type.",
    ],
    "bun test": [
        "» error: expect(received).toBe(expected)",
        "(fail) price > takes the discount off [0.42ms]",
    ],
    "bundler": [
        "» Could not find gem 'shop-core (= 4.2)' in rubygems repository https://rubygems.org/ or installed locally.",
    ],
    "cargo build": [
        "» error[E0425]: cannot find value `discount` in this scope",
        "error: could not compile `shop` (lib) due to 1 previous error",
    ],
    "cmake": ["» CMake Error at CMakeLists.txt:12 (find_package):"],
    "codespell": ["» ./docs/index.md:3: recieve ==> receive"],
    "commitlint": [
        "» ✖   subject may not be empty [subject-empty]",
        "✖   type may not be empty [type-empty]",
        "✖   found 2 problems, 0 warnings",
    ],
    "composer": ["» Your requirements could not be resolved to an installable set of packages."],
    "ctest without output": [
        "» 1/2 Test #1: price ............................***Exception: SegFault  0.10 sec",
        "50% tests passed, 1 tests failed out of 2",
    ],
    "dart analyze": ["»   error • lib/price.dart:3:5 • Undefined name 'discount'. • undefined_identifier"],
    "dotnet format": [
        "» /src/shop/Price.cs(12,1): error WHITESPACE: Fix whitespace formatting. Insert '\\s'. [shop.csproj]",
    ],
    "flake8": ["» src/shop.py:3:1: F401 'os' imported but unused"],
    "git diff --exit-code": ["» diff --git a/src/generated.py b/src/generated.py"],
    "gitleaks": ["» 9:14AM WRN leaks found: 1"],
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
    "hadolint": [
        "» Dockerfile:3 DL3008 warning: Pin versions in apt get install. Instead of `apt-get install <package>` use",
    ],
    "ld": [
        "» /usr/bin/ld: cannot find -lprice: No such file or directory",
        "collect2: error: ld returned 1 exit status",
        "make: *** [Makefile:12: shop] Error 1",
    ],
    "make": ["» make: *** No rule to make target 'price.o', needed by 'shop'.  Stop."],
    "markdownlint": [
        "» docs/index.md:3 error MD012/no-multiple-blanks Multiple consecutive blank lines [Expected: 1; Actual: 2]",
    ],
    "mix": ["» ** (CompileError) lib/price.ex:3: cannot compile module Shop.Price (errors have been logged)"],
    "msbuild": ["» C:\\src\\shop.targets(12,5): error : The file 'price.txt' is missing. [C:\\src\\shop.csproj]"],
    "ninja": [
        "» FAILED: CMakeFiles/shop.dir/price.c.o",
        "ninja: build stopped: subcommand failed.",
    ],
    "php-cs-fixer": ["» Found 1 of 12 files that can be fixed in 0.214 seconds, 18.00 MB memory used"],
    "phpcs": ["»  12 | ERROR | [x] Line indented incorrectly; expected 4 spaces, found 2"],
    "phpstan": [
        "»   Line   src/Price.php",
        " [ERROR] Found 1 error",
    ],
    "poetry": [
        "» pyproject.toml changed significantly since poetry.lock was last generated. Run `poetry lock` to fix it.",
    ],
    "PowerShell 7": ["» Get-Item: D:\\a\\_temp\\8f3c21d6.ps1:2"],
    "PowerShell 5": ["» At D:\\a\\_temp\\8f3c21d6.ps1:2 char:1"],
    "pre-commit": ["» fix end of files.........................................................Failed"],
    "prettier": ["» [warn] Code style issues found in the above file. Run Prettier with --write to fix."],
    "pyright": [
        '»   /home/runner/work/shop/src/shop.py:12:12 - error: Type "str" is not assignable to return type "int"',
    ],
    "ruff check": ["»  --> src/shop.py:1:8"],
    "ruff format": ["» Would reformat: src/shop.py"],
    "rustfmt": ["» Diff in /home/runner/work/shop/src/lib.rs:8:"],
    "shellcheck": ["» In deploy.sh line 3:"],
    "stylelint": [
        "»   2:3  ✖  Unexpected empty block  block-no-empty",
        "✖ 1 problem (1 error, 0 warnings)",
    ],
    "uv": [
        "»   × No solution found when resolving dependencies:",
        "  ╰─▶ Because shop-core was not found in the package registry and your project depends on shop-core, we can",
    ],
    "vite": [
        "» error during build:",
        '[vite]: Rollup failed to resolve import "left-pad" from "/home/runner/work/shop/src/price.ts".',
    ],
    "webpack": [
        "» ERROR in ./src/price.ts 3:7-15",
        "Module not found: Can't resolve 'left-pad' in '/home/runner/work/shop/src'",
    ],
    "yarn": [
        "» ➤ YN0028: │ The lockfile would have been modified by this install, which is explicitly forbidden.",
        "➤ YN0000: · Failed with errors in 0s 214ms",
    ],
    "yarn classic": ["» error Your lockfile needs to be updated, but yarn was run with `--frozen-lockfile`."],
}


@pytest.mark.parametrize("tool", FORMATS)
def test_the_error_is_found_in_the_format_of_the_tool(tool: str) -> None:
    (expected,) = (line.removeprefix(MARK) for line in FORMATS[tool] if line.startswith(MARK))
    excerpt = failed_step(*(line.removeprefix(MARK) for line in FORMATS[tool]))
    found = next((line.text for line in excerpt.lines if line.number == excerpt.error_line), None)
    assert found == expected
