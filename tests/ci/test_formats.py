"""The error formats of common tools, each in a realistic excerpt. The marked line is the one that is found."""

from __future__ import annotations

import pytest

from tests.ci.jobs import failed_step

MARK = "» "

FORMATS = {
    "AddressSanitizer": """
=================================================================
» ==2210==ERROR: AddressSanitizer: heap-buffer-overflow on address 0x602000000014 at pc 0x55d0c8 bp 0x7ffd sp 0x7ffc
READ of size 4 at 0x602000000014 thread T0
    #0 0x55d0c8 in total src/price.c:14
    #1 0x55d1f2 in main src/main.c:7
SUMMARY: AddressSanitizer: heap-buffer-overflow src/price.c:14 in total
""",
    "apt": """
Reading package lists...
Building dependency tree...
» E: Unable to locate package libprice-dev
""",
    "actionlint": """
» .github/workflows/ci.yml:12:9: property "platform" is not defined in object type {os: string} [expression]
   |
12 |         if: matrix.platform == 'linux'
   |             ^~~~~~~~~~~~~~~
""",
    "bandit": """
Test results:
» >> Issue: [B602:subprocess_popen_with_shell_equals_true] subprocess call with shell=True identified.
   Severity: High   Confidence: High
   Location: ./src/shop.py:7:4
""",
    "biome": """
» src/price.ts:3:14 lint/suspicious/noExplicitAny ━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━

  × Unexpected any. Specify a different type.

Checked 12 files in 8ms. No fixes applied.
""",
    "bun test": """
price.test.ts:
» error: expect(received).toBe(expected)

Expected: 90
Received: 110
(fail) price > takes the discount off [0.42ms]
""",
    "bundler": """
Fetching gem metadata from https://rubygems.org/.........
» Could not find gem 'shop-core (= 4.2)' in rubygems repository https://rubygems.org/ or installed locally.
""",
    "cargo build": """
   Compiling shop v0.1.0 (/home/runner/work/shop)
» error[E0425]: cannot find value `discount` in this scope
 --> src/lib.rs:3:17
error: could not compile `shop` (lib) due to 1 previous error
""",
    "cmake": """
-- The C compiler identification is GNU 13.3.0
» CMake Error at CMakeLists.txt:12 (find_package):
  By not providing "FindShop.cmake" in CMAKE_MODULE_PATH this project has
  asked CMake to find a package configuration file provided by "Shop".

-- Configuring incomplete, errors occurred!
""",
    "codespell": """
» ./docs/index.md:3: recieve ==> receive
""",
    "commitlint": """
⧗   input: Take the discount off
» ✖   subject may not be empty [subject-empty]
✖   type may not be empty [type-empty]

✖   found 2 problems, 0 warnings
""",
    "composer": """
Loading composer repositories with package information
Updating dependencies
» Your requirements could not be resolved to an installable set of packages.

  Problem 1
    - Root composer.json requires octo/shop ^4.2, found octo/shop[4.0, 4.1] but it does not match the constraint.
""",
    "ctest without output": """
    Start 1: price
» 1/2 Test #1: price ............................***Exception: SegFault  0.10 sec
    Start 2: order
2/2 Test #2: order ............................   Passed    0.01 sec

50% tests passed, 1 tests failed out of 2
Errors while running CTest
""",
    "dart analyze": """
Analyzing shop...
»   error • lib/price.dart:3:5 • Undefined name 'discount'. • undefined_identifier

1 issue found.
""",
    "dotnet format": """
» /home/runner/work/shop/Price.cs(12,1): error WHITESPACE: Fix whitespace formatting. Insert '\\s'. [shop.csproj]
""",
    "flake8": """
» src/shop.py:3:1: F401 'os' imported but unused
""",
    "git diff --exit-code": """
wrote src/generated.py
» diff --git a/src/generated.py b/src/generated.py
index 8c7e5a6..1f0b9de 100644
--- a/src/generated.py
+++ b/src/generated.py
@@ -1 +1 @@
-VERSION = 3
+VERSION = 4
""",
    "gitleaks": """
9:14AM INF 12 commits scanned.
» 9:14AM WRN leaks found: 1
""",
    "go test -race": """
» WARNING: DATA RACE
Write at 0x00c00001c0f8 by goroutine 8:
  example.com/shop/price.(*Cart).Add()
      /home/runner/work/shop/price/cart.go:14 +0x44
--- FAIL: TestCart (0.00s)
    testing.go:1617: race detected during execution of test
FAIL
""",
    "go test": """
=== RUN   TestTotal
    price_test.go:14: got 110, want 90
» --- FAIL: TestTotal (0.00s)
FAIL
FAIL	example.com/shop/price	0.004s
""",
    "hadolint": """
» Dockerfile:3 DL3008 warning: Pin versions in apt get install. Instead of `apt-get install <package>` use a version
""",
    "ktlint": """
» /home/runner/work/shop/src/main/kotlin/Price.kt:3:1: Unused import (standard:no-unused-imports)

Summary error count (descending) by rule:
  standard:no-unused-imports: 1
""",
    "ld": """
gcc -o shop price.o -lprice
» /usr/bin/ld: cannot find -lprice: No such file or directory
collect2: error: ld returned 1 exit status
make: *** [Makefile:12: shop] Error 1
""",
    "make": """
» make: *** No rule to make target 'price.o', needed by 'shop'.  Stop.
""",
    "markdownlint": """
markdownlint-cli2 v0.18.1 (markdownlint v0.38.0)
Finding: **/*.md
» docs/index.md:3 error MD012/no-multiple-blanks Multiple consecutive blank lines [Expected: 1; Actual: 2]
Summary: 1 error(s)
""",
    "mix": """
Compiling 3 files (.ex)
» ** (CompileError) lib/price.ex:3: cannot compile module Shop.Price (errors have been logged)
""",
    "msbuild": """
Build started 20/11/2026 09:14:31.
» C:\\src\\shop.targets(12,5): error : The file 'price.txt' is missing. [C:\\src\\shop.csproj]
    0 Warning(s)
    1 Error(s)
""",
    "ninja": """
[1/2] Building C object CMakeFiles/shop.dir/price.c.o
» FAILED: CMakeFiles/shop.dir/price.c.o
ninja: build stopped: subcommand failed.
""",
    "php-cs-fixer": """
Running analysis on 1 core sequentially.
   1) src/Price.php (braces_position)

» Found 1 of 12 files that can be fixed in 0.214 seconds, 18.00 MB memory used
""",
    "phpcs": """
FILE: /home/runner/work/shop/src/Price.php
----------------------------------------------------------------------
FOUND 1 ERROR AFFECTING 1 LINE
----------------------------------------------------------------------
»  12 | ERROR | [x] Line indented incorrectly; expected 4 spaces, found 2
----------------------------------------------------------------------
""",
    "phpstan": """
 12/12 [▓▓▓▓▓▓▓▓▓▓▓▓▓▓▓▓▓▓▓▓▓▓▓▓▓▓▓▓] 100%

 ------ -------------------------------------------
»   Line   src/Price.php
 ------ -------------------------------------------
  12     Undefined variable: $discount
         🪪  variable.undefined
 ------ -------------------------------------------

 [ERROR] Found 1 error
""",
    "poetry": """
Installing dependencies from lock file

» pyproject.toml changed significantly since poetry.lock was last generated. Run `poetry lock` to fix the lock file.
""",
    "PowerShell 7": """
» Get-Item: D:\\a\\_temp\\8f3c21d6.ps1:2
Line |
   2 |  Get-Item ./price.txt
     |  ~~~~~~~~~~~~~~~~~~~~
     | Cannot find path 'D:\\a\\shop\\price.txt' because it does not exist.
""",
    "PowerShell 5": """
Get-Item : Cannot find path 'D:\\a\\shop\\price.txt' because it does not exist.
» At D:\\a\\_temp\\8f3c21d6.ps1:2 char:1
+ Get-Item ./price.txt
+ ~~~~~~~~~~~~~~~~~~~~
    + CategoryInfo          : ObjectNotFound: (D:\\a\\shop\\price.txt:String) [Get-Item], ItemNotFoundException
    + FullyQualifiedErrorId : PathNotFound,Microsoft.PowerShell.Commands.GetItemCommand
""",
    "pre-commit": """
trim trailing whitespace.................................................Passed
» fix end of files.........................................................Failed
- hook id: end-of-file-fixer
- exit code: 1
- files were modified by this hook

Fixing docs/index.md
""",
    "prettier": """
Checking formatting...
[warn] src/price.ts
» [warn] Code style issues found in the above file. Run Prettier with --write to fix.
""",
    "pyright": """
/home/runner/work/shop/src/shop.py
»   /home/runner/work/shop/src/shop.py:12:12 - error: Type "str" is not assignable to return type "int"
1 error, 0 warnings, 0 informations
""",
    "rubocop": """
Inspecting 12 files
..C.........

Offenses:

» app/price.rb:3:1: C: [Correctable] Layout/EmptyLines: Extra blank line detected.

12 files inspected, 1 offense detected, 1 offense autocorrectable
""",
    "ruff check": """
F401 [*] `os` imported but unused
»  --> src/shop.py:1:8
  |
1 | import os
  |        ^^
  |
help: Remove unused import: `os`

Found 1 error.
[*] 1 fixable with the `--fix` option.
""",
    "ruff format": """
» Would reformat: src/shop.py
1 file would be reformatted, 3 files already formatted
""",
    "rustfmt": """
» Diff in /home/runner/work/shop/src/lib.rs:8:
 pub fn total(price: u32) -> u32 {
-        price
+    price
 }
""",
    "shellcheck": """

» In deploy.sh line 3:
rm -rf $1
       ^-- SC2086 (info): Double quote to prevent globbing and word splitting.

For more information:
  https://www.shellcheck.net/wiki/SC2086 -- Double quote to prevent globbing ...
""",
    "stylelint": """
src/shop.css
»   2:3  ✖  Unexpected empty block  block-no-empty

✖ 1 problem (1 error, 0 warnings)
""",
    "uv": """
»   × No solution found when resolving dependencies:
  ╰─▶ Because shop-core was not found in the package registry and your project depends on shop-core, we can
      conclude that your project's requirements are unsatisfiable.
""",
    "vite": """
vite v7.2.2 building client environment for production...
✓ 12 modules transformed.
» error during build:
[vite]: Rollup failed to resolve import "left-pad" from "/home/runner/work/shop/src/price.ts".
""",
    "webpack": """
asset main.js 12 KiB [emitted] (name: main)
» ERROR in ./src/price.ts 3:7-15
Module not found: Can't resolve 'left-pad' in '/home/runner/work/shop/src'
webpack 5.103.0 compiled with 1 error in 812 ms
""",
    "yarn": """
➤ YN0000: ┌ Resolution step
» ➤ YN0028: │ The lockfile would have been modified by this install, which is explicitly forbidden.
➤ YN0000: · Failed with errors in 0s 214ms
""",
    "yarn classic": """
yarn install v1.22.22
[1/5] Validating package.json...
» error Your lockfile needs to be updated, but yarn was run with `--frozen-lockfile`.
info Visit https://yarnpkg.com/en/docs/cli/install for documentation about this command.
""",
}


@pytest.mark.parametrize("tool", FORMATS)
def test_the_error_is_found_in_the_format_of_the_tool(tool: str) -> None:
    lines = FORMATS[tool].strip("\n").split("\n")
    (expected,) = (line.removeprefix(MARK) for line in lines if line.startswith(MARK))
    excerpt = failed_step(*(line.removeprefix(MARK) for line in lines))
    found = next((line.text for line in excerpt.lines if line.number == excerpt.error_line), None)
    assert found == expected
