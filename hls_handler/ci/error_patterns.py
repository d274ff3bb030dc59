"""Patterns of log lines in which tools report a failure. Lines that explain the failure better have
more weight.

A row is (weight, needle, pattern). Every line that the pattern matches contains the needle,
ignoring case. The needle is searched for first, because a log may have half a million lines. To
limit backtracking, each pattern is anchored, has bounded repetitions, or has repetitions that can
begin in one place only.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from hls_handler.ci.log_lines import RawLine

KILLED = 100  # memory, disk, time, permission: the cause of all other errors in the log
CAUSE = 90  # a compiler's error, an exception, a failed assertion, often with file and line
EXTERNAL = 80  # the network or a missing program: the cause if the code has no error
FAILED_NAME = 70  # the name of the failed test or task
SUMMARY = 60  # a tool reports that it failed
ERROR_WORD = 50  # the word "error" in the places where tools write it
ERROR_MARK = 40  # GitHub's mark for an error
FAILED_WORD = 30  # the word "failed"
EXIT_CODE = 10  # the last line of every failed step; explains nothing

SOURCE = r"(?:[A-Za-z]:)?[^\s:()]{1,300}"  # a path
ERROR_LEVEL = r'"?(?i:error|eror|err|fatal|panic|critical|crit|alert|emergency|emerg)\b"?'
LOGFMT_ERROR = rf"(?:^|[\s.])KEY={ERROR_LEVEL}(?:$|\s(?:\"|\S{{1,60}}=))"
LOGFMT_KEYS = ("level", "lvl", "severity")
JSON_ERROR = (
    rf'^\s{{0,8}}\{{.{{0,900}}KEY(?:_?(?:[Nn]ame|[Tt]ext))?"\s?:\s?(?:{ERROR_LEVEL}|[56]0\b)'
)
JSON_KEYS = ("level", "Level", "lvl", "severity", "Severity", '"@l')  # ends of names: "log.level"

PATTERNS: tuple[tuple[int, str, str], ...] = (
    (KILLED, "137", r"exit code 137\b"),  # 128 + SIGKILL
    (
        KILLED,
        "killed",
        rf"^(?:{SOURCE}: line [0-9]{{1,7}}:\s{{1,9}}[0-9]{{1,10}} )?Killed(?:$|\s{{3}})",
    ),
    (KILLED, "killed", r"fatal error: Killed\b"),
    (
        KILLED,
        "memory",
        r"heap out of memory|[Oo]ut of memory|OutOfMemoryError|Cannot allocate memory",
    ),
    (KILLED, "killed", r"OOMKilled"),
    (KILLED, "space left", r"[Nn]o space left on device"),
    (KILLED, " time", r"exceeded the maximum execution time"),
    (KILLED, " time", r"^The action '.{0,300}' has timed out after"),
    (KILLED, "lost comm", r"lost communication with the server"),
    (KILLED, "shutdown", r"has received a shutdown signal"),
    (KILLED, "not ", r"Resource not accessible by (?:integration|personal access token)"),
    # many compilers and linters: path, line, column, message
    (
        CAUSE,
        ": ",
        rf"^(?:vet: )?{SOURCE}\.\w{{1,5}}:[0-9]{{1,7}}:[0-9]{{1,5}}: (?!\[?(?i:warn|note|info))\S",
    ),
    # Python
    (CAUSE, "e   ", r"^E {3,12}\S"),  # pytest
    (
        CAUSE,
        "err",
        r"^\s{0,8}[\w.$]{1,200}+(?<=Error)(?:: (?!0\b)\S|$| \[)",
    ),  # and JavaScript, Java, Terraform
    (
        CAUSE,
        "exception",
        r"^\s{0,8}(?:Caused by: |Unhandled [Ee]xception[.:] )?[\w.$]{1,200}+(?<=Exception)(?:: |$)",
    ),
    (CAUSE, "exception", r"^Exception in thread "),
    (CAUSE, "err", r"^Caused by: [\w.$]{1,200}+(?<=Error)"),
    (
        CAUSE,
        " --> ",
        r"^\s{1,6}--> [^\s:]{1,300}\.(?:pyi?|ipynb|toml):[0-9]",
    ),  # ruff; the line before has the message
    (CAUSE, ">> issue", r"^>> Issue: \[B[0-9]{3}"),  # bandit
    (FAILED_NAME, "fail", r"^FAILED \S"),
    (FAILED_NAME, "err", r"^ERROR (?:collecting )?\S{1,300}\.py"),
    (FAILED_NAME, "fail", r"^FAIL: \w{1,200} \("),  # unittest
    (FAILED_NAME, "err", r"^ERROR: \w{1,200} \("),
    (FAILED_NAME, "would reformat", r"^[Ww]ould reformat:? \S"),  # black, ruff format
    (FAILED_NAME, "fail", r"[^.]\.{3,120}Failed$"),  # pre-commit
    (
        SUMMARY,
        "last generated",
        r"changed significantly since \S{1,80} was last generated",
    ),  # poetry
    (SUMMARY, "×", r"^\s{0,4}× \S"),  # uv
    (SUMMARY, "summary", r"^={1,80} short test summary info ={1,80}$"),
    (SUMMARY, "traceback", r"^\s{0,8}Traceback \(most recent call last\):"),
    # JavaScript
    # Playwright
    (CAUSE, "timeout ", r'^\s{0,8}(?:["\w]{1,40} ){0,4}[Tt]imeout (?:of )?[0-9]{1,9} ?ms exceeded'),
    (CAUSE, "timed out ", r"^\s{0,8}[Tt]est (?:\S{1,80} )?timed out (?:after|in) [0-9]"),
    (
        CAUSE,
        "timeout ",
        r"\b[Ee]xceeded (?:the )?(?:test )?timeout of [0-9]{1,9} ?ms",
    ),  # jest, playwright
    (CAUSE, "err", r"\berror TS[0-9]{3,6}: "),
    (CAUSE, "err", r"^\s{1,9}[0-9]{1,7}:[0-9]{1,5}\s{1,9}error\s"),  # eslint
    (CAUSE, "✖", r"^\s{1,9}[0-9]{1,7}:[0-9]{1,5}\s{1,9}✖\s"),  # stylelint
    (
        CAUSE,
        "━━",
        r"^\S{1,300} (?:lint/\S{1,100}|assist/\S{1,100}|format|parse)(?: {1,2}FIXABLE)? {1,2}━━",
    ),  # biome
    (CAUSE, "err", r"^ERROR in \S"),  # webpack
    (CAUSE, "expect(", r"^\s{0,8}(?:error: )?expect\(.{0,80}\)\.\w"),  # jest, bun
    (FAILED_NAME, "●", r"^\s{0,6}● .{0,200} › "),
    (FAILED_NAME, "fail", r"^\s{0,3}(?:❯ )?FAIL\s{1,3}\S"),  # jest, vitest, go
    (FAILED_NAME, "not ", r"^\s{0,12}not ok [0-9]"),  # TAP
    (FAILED_NAME, "✖", r"^\s{0,12}✖ {1,3}\S"),  # node, commitlint
    (FAILED_NAME, "(fail)", r"^\(fail\) \S"),  # bun
    (FAILED_NAME, "err", r"^error during build:"),  # vite
    (
        SUMMARY,
        "code style",
        r"Code style issues (?:were )?found in",
    ),  # prettier; the lines before name the files
    (SUMMARY, "err", r"^error [A-Z]\w"),  # yarn 1
    (
        SUMMARY,
        "➤ yn",
        r"^➤ YN0{0,3}[1-9][0-9]{0,3}: │ .{0,200}(?:forbidden|cannot|can't|couldn't|failed)",
    ),
    (SUMMARY, "fail", r"^\s{0,4}[0-9]{1,6} failing$"),  # mocha
    (SUMMARY, "err", r"^npm (?:ERR!|error) \S"),
    (SUMMARY, "err", r"\bERR_PNPM_"),
    # Go
    (CAUSE, "panic", r"^\s{0,4}panic: "),
    (CAUSE, "data race", r"^WARNING: DATA RACE$"),
    (FAILED_NAME, "fail", r"^\s{0,16}--- FAIL: "),
    # Rust, C, C++, .NET
    (CAUSE, "err", r"^error\[[\w:-]{2,80}\]"),  # and deno lint
    (CAUSE, "diff in ", r"^Diff in \S.{0,300}(?::| at line )[0-9]"),  # rustfmt
    (CAUSE, "panic", r"^thread .{1,200} panicked at "),
    (
        CAUSE,
        "err",
        rf"^{SOURCE}:[0-9]{{1,7}}:(?:[0-9]{{1,5}}:)? (?:fatal )?error: ",
    ),  # and javac, mypy
    (
        CAUSE,
        "err",
        r"(?:^\s{0,8}|: )(?:fatal )?error (?:[A-Za-z]{1,10}[0-9]{2,5}|WHITESPACE|IMPORTS)?: ",
    ),  # MSBuild
    (CAUSE, "err", r"^CMake Error(?: at \S{1,300}:[0-9]{1,7} |: )"),
    (CAUSE, "undefined", r": undefined reference to |\b[Uu]ndefined symbols?\b.{0,40}:"),
    (CAUSE, "cannot find -l", r"\bld(?:\.\w{1,8})?: cannot find -l"),
    (CAUSE, "multiple def", r": multiple definition of "),
    (CAUSE, "sanitizer: ", r"^(?:==[0-9]{1,10}==)?(?:ERROR|WARNING): \w{1,20}Sanitizer: "),
    (CAUSE, "segmentation", r"Segmentation fault"),
    (CAUSE, "assert", r"\bAssertion [`'][^`']{1,200}' failed"),
    (CAUSE, "assert", r"^\s{0,8}Assert\.\w{1,40}\(\) Failure"),
    (
        FAILED_NAME,
        "***",
        r"^\s{0,8}[0-9]\S{0,12} Test\s{1,6}#.{1,400}\*\*\*(?:Exception|Failed|Timeout|Not Run)",
    ),
    (FAILED_NAME, "fail", r"^test \S{1,300} \.\.\. FAILED$"),
    (FAILED_NAME, "fail", r"^\s{1,6}Failed \S{1,300} \["),
    (SUMMARY, "err", r"^error: \S"),
    (SUMMARY, "***", r"^\S{0,40}make(?:\[[0-9]{1,4}\])?: \*\*\* "),
    # JVM
    (CAUSE, "err", r"^\[ERROR\] \S{1,300}:\[[0-9]{1,7},[0-9]{1,5}\] "),
    (CAUSE, "e: ", r"^e: \S"),  # Kotlin
    (FAILED_NAME, "<<< ", r" <<< (?:FAILURE|ERROR)!"),
    (FAILED_NAME, "fail", r"^(?:> Task \S{1,300}|\S{1,300} > .{1,300}) FAILED$"),
    (SUMMARY, "wrong:", r"^\* What went wrong:"),
    (SUMMARY, "err", r"^\[ERROR\] \S"),
    (SUMMARY, "fail", r"BUILD FAIL(?:ED|URE)"),
    (SUMMARY, "fail", r"^FAILURE: "),
    (SUMMARY, "fail", r"Tests run: [0-9]{1,7}, Failures: (?:[1-9]|0, Errors: [1-9])"),
    # Ruby, PHP, Dart, Elixir
    (
        CAUSE,
        ".php",
        r"^\s{1,3}Line {2,6}\S.{0,300}\.php",
    ),  # phpstan; the lines after it have the messages
    (CAUSE, "err", r"^\s{1,6}[0-9]{1,7} \| ERROR {1,3}\|"),  # phpcs
    (CAUSE, "err", r"^\s{0,4}error • \S"),  # dart analyze
    (CAUSE, "** (", r"^\*\* \([\w.]{1,100}\)"),  # mix
    (
        SUMMARY,
        "can be fixed",
        r"^Found [1-9]\S{0,8} of \S{1,9} files that can be fixed in",
    ),  # php-cs-fixer
    (SUMMARY, "requirements could", r"requirements could not be resolved"),  # composer
    (SUMMARY, "could not find", r"^Could not find gem "),
    (CAUSE, "fail", r"^\s{0,12}Failure/Error: "),
    (CAUSE, "fail", r"^Failed asserting that "),
    (CAUSE, "fatal", r"^PHP Fatal error: "),
    # Terraform, Docker, git, shells, documents
    (CAUSE, " line ", r"^In \S.{0,300} line [0-9]{1,7}:$"),  # shellcheck
    (CAUSE, " dl", r"^\S{1,300}:[0-9]{1,7} DL[0-9]{4} "),  # hadolint
    (
        CAUSE,
        "md0",
        r"^[^\s:]{1,300}:[0-9]{1,7}(?::[0-9]{1,5})? (?:error )?MD0[0-9]{2}/",
    ),  # markdownlint
    (CAUSE, " ==> ", r"^[^\s:]{1,300}:[0-9]{1,7}: \S{1,60} ==> \S"),  # codespell
    (SUMMARY, "leaks found", r"leaks found: [1-9]"),  # gitleaks
    (CAUSE, "err", r"^[│|] Error: \S"),
    (SUMMARY, "fail", r"failed to solve: "),
    (SUMMARY, "not ", r" did not complete successfully: exit code: "),
    (SUMMARY, "fatal", r"^fatal: "),
    (SUMMARY, "diff --git", r"^diff --git \S"),  # git diff --exit-code
    (
        CAUSE,
        ".ps",
        r"^[\w.-]{1,60}: \S.{0,300}\.psm?1:[0-9]",
    ),  # PowerShell; the lines after it have the message
    (
        CAUSE,
        " char:",
        r"^At (?:\S.{0,300}|line):[0-9]{1,7} char:[0-9]",
    ),  # PowerShell 5; the line before has it
    (EXTERNAL, "not ", r"is not recognized as (?:the name|a name|an internal)"),  # also cmd
    (EXTERNAL, "e: ", r"^E: \S"),  # apt
    (EXTERNAL, "not ", r": command not found$"),
    (EXTERNAL, "denied", r"[Pp]ermission denied"),
    # Loggers: `level=error msg=...`, and an object of JSON in one line, where 50 and 60 are levels
    *((ERROR_WORD, key, LOGFMT_ERROR.replace("KEY", key)) for key in LOGFMT_KEYS),
    *((ERROR_WORD, key.lower(), JSON_ERROR.replace("KEY", key)) for key in JSON_KEYS),
    # The network
    (EXTERNAL, "not ", r"Could not resolve (?:host|proxy)"),
    (EXTERNAL, "name resolution", r"[Ff]ailure in name resolution"),
    (EXTERNAL, "econn", r"\bECONN(?:RESET|REFUSED|ABORTED)\b"),
    (EXTERNAL, "etimedout", r"\bETIMEDOUT\b"),
    (EXTERNAL, "enotfound", r"\bENOTFOUND\b"),
    (EXTERNAL, "connection", r"[Cc]onnection (?:timed out|refused|reset by peer)"),
    (EXTERNAL, "timeout", r"TLS handshake timeout"),
    (
        EXTERNAL,
        " 50",
        r"\b(?:500 Internal Server Error|502 Bad Gateway|503 Service Unavailable|504 Gateway Time)",
    ),
    (EXTERNAL, "many", r"\b429 Too Many Requests\b"),
    (EXTERNAL, "many", r"\btoomanyrequests: "),
    (SUMMARY, "cancel", r"^The operation was canceled\.$"),
    # Words
    (
        ERROR_WORD,
        "err",
        r"(?<![\w./=-])(?:error|ERROR|Error)(?::| -|\]| \w{1,20}:)\s{0,9}(?!0\b)\S",
    ),
    (
        ERROR_WORD,
        "err",
        r"(?:^|[0-9\]] )ERROR [\w(\[]",
    ),  # a level: `12:00:00 [main] ERROR App - ...`
    (ERROR_WORD, "fatal", r"(?<![\w./=-])FATAL:\s{1,9}\S"),  # PostgreSQL
    (
        FAILED_WORD,
        "fail",
        r"(?<![\w./=-])(?:FAILED|FAILURE|FAIL|[Ff]ailed|[Ff]ailure)\b(?![.(=-]\w)",
    ),
    (FAILED_WORD, "denied", r"\b[Dd]enied\b"),
    (FAILED_WORD, "not ", r"\b[Nn]ot found\b"),
)

PATTERNS_BY_NEEDLE: Mapping[str, tuple[tuple[int, re.Pattern[str]], ...]] = {
    needle: tuple(
        (weight, re.compile(pattern))
        for weight, row_needle, pattern in PATTERNS
        if row_needle == needle
    )
    for needle in dict.fromkeys(needle for _, needle, _ in PATTERNS)
}
"""Needle -> its (weight, pattern) pairs. Many rows share a needle, so only about thirty needles are
searched for.
"""

MAX_WEIGHED_CHARS = 1_000
"""Number of characters at the start of a line in which the patterns are searched."""

EXIT_CODE_LINE = re.compile(
    r"(?:Process completed with exit code (?!137\b)|The process '.{1,300}' failed with exit code )"
)
HARMLESS_LINE = re.compile(
    r"""                                             # a warning, a deprecation
        ^[\W_]{0,6}(?:npm\ )?warn(?:ing)?\b(?!\]\ Code\ style|:\ DATA\ RACE|:\ ThreadSanitizer)
      | ^[\W_]{0,6}(?:\(node:[0-9]{1,9}\)\ )?(?:\[\w{1,20}\]\ )?\w{0,40}deprecat
      | ^\+{1,4}\ \S                               # a command that a shell traces (set -x)
    """,
    re.VERBOSE | re.IGNORECASE,
)
PASSED = re.compile(
    r"\bpass(?:ed)?\s{0,9}(?:\[ {0,3}[0-9]{1,3}%\])?$"
    r"|^\s{0,12}(?:[✓✔√]|pass\b|ok\b|--- pass)|\.\.\. ok$",
    re.IGNORECASE,
)
RETRIED = re.compile(r"\bretry|\bretries\b|\bretrying|attempt [0-9]", re.IGNORECASE)
NONE_FAILED = re.compile(
    r"\b(?:0|no) (?:\w{1,20} )?(?:errors?|failures?|failed|failing)\b"
    r"|\b(?:errors?|failures?|failed?)\s?[:=]\s?0\b",
    re.IGNORECASE,
)
SOME_FAILED = re.compile(
    r"\b[1-9][0-9]{0,6} (?:errors?|failures?|failed|failing)\b"
    r"|\b(?:errors?|failures?|failed?)\s?[:=]\s?[1-9]",
    re.IGNORECASE,
)


def weigh_line(line: RawLine) -> int:
    """Return the greatest weight of the patterns that match the line without the prefix of a task;
    0 for most lines.
    """
    if (
        line.mark in {"warning", "notice", "debug", "command", "group", "endgroup"}
        or line.is_binary
    ):
        return 0
    weight = max(_weigh_text(text[:MAX_WEIGHED_CHARS]) for text in line.texts)
    if line.mark == "error":
        if EXIT_CODE_LINE.match(line.text):
            return EXIT_CODE
        return max(weight, ERROR_MARK)
    return weight


def _weigh_text(text: str) -> int:
    lower = text.lower()
    weight = 0
    for needle, rows in PATTERNS_BY_NEEDLE.items():
        if needle in lower:
            for row_weight, pattern in rows:
                if row_weight > weight and pattern.search(text):
                    weight = row_weight
    if weight and _is_harmless(text, weight):
        return 0
    return weight


def _is_harmless(text: str, weight: int) -> bool:
    if weight == KILLED:
        return False
    if HARMLESS_LINE.match(text) or (weight == EXTERNAL and RETRIED.search(text)):
        return True
    if weight == CAUSE:  # such a line may quote a text with "0 errors", which is not harmless
        return False
    return bool(PASSED.search(text) or (NONE_FAILED.search(text) and not SOME_FAILED.search(text)))
