"""Symptoms: how the lines look in which tools say what went wrong, and how much each tells.

A row is (weight, needle, pattern). The needle is a lower-case piece of every line that the pattern finds; looking for
it first is what makes half a million lines bearable. No pattern can go back far: each is anchored, or its run is
bounded or can begin in one place only.
"""

from __future__ import annotations

import re

from hls_handler.ci.lines import RawLine

ENDED_BY_FORCE = 100  # memory, disk, time, permission: whatever else the log says came of it
CAUSE = 90  # what is wrong, and mostly where: a compiler's error, an exception, an assertion
OUTSIDE = 80  # the network, a missing program: the cause, unless the code has one
NAMED = 70  # which test or task failed
SUMMARY = 60  # a tool says that it failed
WORD = 50  # the word "error" where tools put it
MARKED = 40  # GitHub's own mark
FAILED = 30  # the word "failed"
ENDING = 10  # how every failed step ends; tells nothing

SOURCE = r"(?:[A-Za-z]:)?[^\s:()]{1,300}"  # a path

ROWS: tuple[tuple[int, str, str], ...] = (
    (ENDED_BY_FORCE, "exit code 137", r"exit code 137\b"),  # 128 + SIGKILL
    (ENDED_BY_FORCE, "killed", rf"^(?:{SOURCE}: line [0-9]{{1,7}}:\s{{1,9}}[0-9]{{1,10}} )?Killed(?:$|\s{{3}})"),
    (ENDED_BY_FORCE, "killed", r"fatal error: Killed\b"),
    (ENDED_BY_FORCE, "memory", r"heap out of memory|[Oo]ut of memory|OutOfMemoryError|Cannot allocate memory"),
    (ENDED_BY_FORCE, "oomkilled", r"OOMKilled"),
    (ENDED_BY_FORCE, "no space left on device", r"[Nn]o space left on device"),
    (ENDED_BY_FORCE, "maximum execution time", r"exceeded the maximum execution time"),
    (ENDED_BY_FORCE, "has timed out after", r"^The action '.{0,300}' has timed out after"),
    (ENDED_BY_FORCE, "lost communication", r"lost communication with the server"),
    (ENDED_BY_FORCE, "shutdown signal", r"has received a shutdown signal"),
    (ENDED_BY_FORCE, "not accessible by", r"Resource not accessible by (?:integration|personal access token)"),
    # Python
    (CAUSE, "e   ", r"^E {3,12}\S"),  # pytest
    (
        CAUSE,
        "error",
        r"^\s{0,8}[\w.$:]{1,200}+(?<=Error)(?:: (?!0\b)\S|$| \[)",
    ),  # and JavaScript, Java, Ruby, Terraform
    (CAUSE, "exception", r"^\s{0,8}(?:Caused by: |Unhandled [Ee]xception[.:] )?[\w.$]{1,200}+(?<=Exception)(?:: |$)"),
    (CAUSE, "exception in thread", r"^Exception in thread "),
    (CAUSE, "error", r"^Caused by: [\w.$]{1,200}+(?<=Error)"),
    (CAUSE, ".py:", r"^[^\s:]{1,300}\.pyi?:[0-9]{1,7}:[0-9]{1,5}: [A-Z]{1,4}[0-9]{2,5} "),  # flake8, ruff
    (NAMED, "failed", r"^FAILED \S"),
    (NAMED, "error ", r"^ERROR (?:collecting )?\S{1,300}\.py"),
    (NAMED, ": ", r"^(?:FAIL|ERROR): \w{1,200} \("),  # unittest
    (SUMMARY, "short test summary info", r"^=+ short test summary info =+$"),
    (SUMMARY, "traceback", r"^\s{0,8}Traceback \(most recent call last\):"),
    # JavaScript
    (CAUSE, "error ts", r"\berror TS[0-9]{3,6}: "),
    (CAUSE, "error", r"^\s{1,9}[0-9]{1,7}:[0-9]{1,5}\s{1,9}error\s"),  # eslint
    (CAUSE, "expect(", r"^\s{0,8}expect\(.{0,80}\)\.\w"),  # jest
    (NAMED, "●", r"^\s{0,6}● .{0,200} › "),
    (NAMED, "fail", r"^\s{0,3}(?:❯ )?FAIL\s{1,3}\S"),  # jest, vitest, go
    (NAMED, "not ok ", r"^\s{0,12}not ok [0-9]"),  # TAP
    (NAMED, "✖", r"^\s{0,12}✖ \S"),
    (SUMMARY, " failing", r"^\s{0,4}[0-9]{1,6} failing$"),  # mocha
    (SUMMARY, "npm err", r"^npm (?:ERR!|error) \S"),
    (SUMMARY, "err_pnpm", r"\bERR_PNPM_"),
    # Go
    (CAUSE, ".go:", r"^(?:vet: )?[^\s:]{1,300}\.go:[0-9]{1,7}:[0-9]{1,5}: \S"),
    (CAUSE, "panic: ", r"^\s{0,4}panic: "),
    (NAMED, "--- fail", r"^\s{0,16}--- FAIL: "),
    # Rust, C, C++, .NET
    (CAUSE, "error[e", r"^error\[E[0-9]{3,5}\]"),
    (CAUSE, "panicked at", r"^thread .{1,200} panicked at "),
    (CAUSE, "error: ", rf"^{SOURCE}:[0-9]{{1,7}}:(?:[0-9]{{1,5}}:)? (?:fatal )?error: "),  # and javac, mypy
    (CAUSE, "error ", r": error (?:CS|MSB|NU|NETSDK|FS|BC|LNK|C|CA)[0-9]{3,5}\b"),
    (CAUSE, "undefined reference to", r": undefined reference to "),
    (CAUSE, "segmentation fault", r"Segmentation fault"),
    (CAUSE, "assertion ", r"\bAssertion [`'][^`']{1,200}' failed"),
    (CAUSE, "assert", r"^\s{0,8}Assert\.\w{1,40}\(\) Failure"),
    (NAMED, "failed", r"^test \S{1,300} \.\.\. FAILED$"),
    (NAMED, "failed", r"^\s{1,6}Failed \S{1,300} \["),
    (SUMMARY, "error: ", r"^error: \S"),
    (SUMMARY, "***", r"^\S{0,40}make(?:\[[0-9]{1,4}\])?: \*\*\* "),
    # JVM
    (CAUSE, "[error]", r"^\[ERROR\] \S{1,300}:\[[0-9]{1,7},[0-9]{1,5}\] "),
    (CAUSE, "e: ", r"^e: \S"),  # Kotlin
    (NAMED, "<<< ", r" <<< (?:FAILURE|ERROR)!"),
    (NAMED, "failed", r"^(?:> Task \S{1,300}|\S{1,300} > .{1,300}) FAILED$"),
    (SUMMARY, "what went wrong", r"^\* What went wrong:"),
    (SUMMARY, "[error]", r"^\[ERROR\] \S"),
    (SUMMARY, "build fail", r"BUILD FAIL(?:ED|URE)"),
    (SUMMARY, "failure: ", r"^FAILURE: "),
    (SUMMARY, "fail", r"Tests run: [0-9]{1,7}, Failures: (?:[1-9]|0, Errors: [1-9])"),
    # Ruby, PHP
    (CAUSE, "failure/error:", r"^\s{0,12}Failure/Error: "),
    (CAUSE, "failed asserting", r"^Failed asserting that "),
    (CAUSE, "fatal error", r"^PHP Fatal error: "),
    # Terraform, Docker, git, shells
    (CAUSE, "error: ", r"^[│|] Error: \S"),
    (SUMMARY, "failed to solve", r"failed to solve: "),
    (SUMMARY, "complete successfully", r" did not complete successfully: exit code: "),
    (SUMMARY, "fatal: ", r"^fatal: "),
    (OUTSIDE, "command not found", r": command not found$"),
    (OUTSIDE, "permission denied", r"[Pp]ermission denied"),
    # The network
    (OUTSIDE, "could not resolve", r"Could not resolve (?:host|proxy)"),
    (OUTSIDE, "name resolution", r"[Ff]ailure in name resolution"),
    (OUTSIDE, "econn", r"\bECONN(?:RESET|REFUSED|ABORTED)\b"),
    (OUTSIDE, "etimedout", r"\bETIMEDOUT\b"),
    (OUTSIDE, "enotfound", r"\bENOTFOUND\b"),
    (OUTSIDE, "connection ", r"[Cc]onnection (?:timed out|refused|reset by peer)"),
    (OUTSIDE, "tls handshake timeout", r"TLS handshake timeout"),
    (OUTSIDE, " 50", r"\b(?:500 Internal Server Error|502 Bad Gateway|503 Service Unavailable|504 Gateway Time)"),
    (OUTSIDE, "too many requests", r"\b429 Too Many Requests\b"),
    (OUTSIDE, "toomanyrequests", r"\btoomanyrequests: "),
    (SUMMARY, "operation was canceled", r"^The operation was canceled\.$"),
    # Words
    (WORD, "error", r"(?<![\w./=-])(?:error|ERROR|Error)(?::| -|\]| \w{1,20}:) ?(?!0\b)\S"),
    (FAILED, "fail", r"(?<![\w./=-])(?:FAILED|FAILURE|FAIL|[Ff]ailed|[Ff]ailure)\b(?![.(=-]\w)"),
    (FAILED, "denied", r"\b[Dd]enied\b"),
    (FAILED, "not found", r"\b[Nn]ot found\b"),
)

SYMPTOMS = tuple((weight, needle, re.compile(pattern)) for weight, needle, pattern in sorted(ROWS, reverse=True))
"""Heaviest first."""

ENDING_LINE = re.compile(
    r"(?:Process completed with exit code (?!137\b)|The process '.{1,300}' failed with exit code )"
)
REMARK = re.compile(
    r"""^[\W_]{0,6}(?:npm\ )?warn(?:ing)?\b        # a warning, a note on something old
      | ^[\W_]{0,6}(?:\(node:[0-9]{1,9}\)\ )?(?:\[\w{1,20}\]\ )?\w{0,40}deprecat
      | ^\+{1,4}\ \S                               # a shell shows the command that it runs
    """,
    re.VERBOSE | re.IGNORECASE,
)
PASSED = re.compile(
    r"\bpass(?:ed)?\s{0,9}(?:\[ {0,3}[0-9]{1,3}%\])?$|^\s{0,12}(?:[✓✔√]|pass\b|ok\b|--- pass)|\.\.\. ok$", re.IGNORECASE
)
RETRIED = re.compile(r"\bretry|\bretries\b|\bretrying|attempt [0-9]", re.IGNORECASE)
NONE_FAILED = re.compile(
    r"\b(?:0|no) (?:\w{1,20} )?(?:errors?|failures?|failed|failing)\b|\b(?:errors?|failures?|failed?)\s?[:=]\s?0\b",
    re.IGNORECASE,
)
SOME_FAILED = re.compile(
    r"\b[1-9][0-9]{0,6} (?:errors?|failures?|failed|failing)\b|\b(?:errors?|failures?|failed?)\s?[:=]\s?[1-9]",
    re.IGNORECASE,
)
DOCKER_PREFIX = re.compile(r"#[0-9]{1,4} (?:[0-9]{1,6}\.[0-9]{1,4} )?")


def weigh(line: RawLine) -> int:
    """How much a line of a program's output tells about what went wrong; 0 for most lines."""
    if line.mark in {"warning", "notice", "debug", "command", "group", "endgroup"} or line.is_binary:
        return 0
    text = line.text
    if text.startswith("#"):
        prefix = DOCKER_PREFIX.match(text)
        text = text[prefix.end() :] if prefix else text
    if line.mark == "error":
        return ENDING if ENDING_LINE.match(text) else max(_weigh_text(text), MARKED)
    return _weigh_text(text)


def _weigh_text(text: str) -> int:
    lower = text.lower()
    weight = next((weight for weight, needle, pattern in SYMPTOMS if needle in lower and pattern.search(text)), 0)
    return 0 if weight and _is_harmless(text, weight) else weight


def _is_harmless(text: str, weight: int) -> bool:
    if weight == ENDED_BY_FORCE:
        return False
    if REMARK.match(text) or (weight == OUTSIDE and RETRIED.search(text)):
        return True
    if weight == CAUSE:  # it may well quote a text that says "0 errors"
        return False
    return bool(PASSED.search(text) or (NONE_FAILED.search(text) and not SOME_FAILED.search(text)))
