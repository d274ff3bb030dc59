"""Symptoms: how the lines look in which tools say what went wrong, and how much each tells.

A row is (weight, needle, pattern). The needle is a lower-case piece of every line that the pattern finds; looking for
it first is what makes half a million lines bearable. No pattern can go back far: each is anchored, or its run is
bounded or can begin in one place only.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

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
    (ENDED_BY_FORCE, "137", r"exit code 137\b"),  # 128 + SIGKILL
    (ENDED_BY_FORCE, "killed", rf"^(?:{SOURCE}: line [0-9]{{1,7}}:\s{{1,9}}[0-9]{{1,10}} )?Killed(?:$|\s{{3}})"),
    (ENDED_BY_FORCE, "killed", r"fatal error: Killed\b"),
    (ENDED_BY_FORCE, "memory", r"heap out of memory|[Oo]ut of memory|OutOfMemoryError|Cannot allocate memory"),
    (ENDED_BY_FORCE, "killed", r"OOMKilled"),
    (ENDED_BY_FORCE, "space left", r"[Nn]o space left on device"),
    (ENDED_BY_FORCE, " time", r"exceeded the maximum execution time"),
    (ENDED_BY_FORCE, " time", r"^The action '.{0,300}' has timed out after"),
    (ENDED_BY_FORCE, "lost comm", r"lost communication with the server"),
    (ENDED_BY_FORCE, "shutdown", r"has received a shutdown signal"),
    (ENDED_BY_FORCE, "not ", r"Resource not accessible by (?:integration|personal access token)"),
    # Python
    (CAUSE, "e   ", r"^E {3,12}\S"),  # pytest
    (CAUSE, "err", r"^\s{0,8}[\w.$]{1,200}+(?<=Error)(?:: (?!0\b)\S|$| \[)"),  # and JavaScript, Java, Terraform
    (CAUSE, "exception", r"^\s{0,8}(?:Caused by: |Unhandled [Ee]xception[.:] )?[\w.$]{1,200}+(?<=Exception)(?:: |$)"),
    (CAUSE, "exception", r"^Exception in thread "),
    (CAUSE, "err", r"^Caused by: [\w.$]{1,200}+(?<=Error)"),
    (CAUSE, ".py:", r"^[^\s:]{1,300}\.pyi?:[0-9]{1,7}:[0-9]{1,5}: [A-Z]{1,4}[0-9]{2,5} "),  # flake8, ruff
    (NAMED, "fail", r"^FAILED \S"),
    (NAMED, "err", r"^ERROR (?:collecting )?\S{1,300}\.py"),
    (NAMED, "fail", r"^FAIL: \w{1,200} \("),  # unittest
    (NAMED, "err", r"^ERROR: \w{1,200} \("),
    (SUMMARY, "summary", r"^={1,80} short test summary info ={1,80}$"),
    (SUMMARY, "traceback", r"^\s{0,8}Traceback \(most recent call last\):"),
    # JavaScript
    (CAUSE, "err", r"\berror TS[0-9]{3,6}: "),
    (CAUSE, "err", r"^\s{1,9}[0-9]{1,7}:[0-9]{1,5}\s{1,9}error\s"),  # eslint
    (CAUSE, "expect(", r"^\s{0,8}expect\(.{0,80}\)\.\w"),  # jest
    (NAMED, "●", r"^\s{0,6}● .{0,200} › "),
    (NAMED, "fail", r"^\s{0,3}(?:❯ )?FAIL\s{1,3}\S"),  # jest, vitest, go
    (NAMED, "not ", r"^\s{0,12}not ok [0-9]"),  # TAP
    (NAMED, "✖", r"^\s{0,12}✖ \S"),
    (SUMMARY, "fail", r"^\s{0,4}[0-9]{1,6} failing$"),  # mocha
    (SUMMARY, "err", r"^npm (?:ERR!|error) \S"),
    (SUMMARY, "err", r"\bERR_PNPM_"),
    # Go
    (CAUSE, ".go:", r"^(?:vet: )?[^\s:]{1,300}\.go:[0-9]{1,7}:[0-9]{1,5}: \S"),
    (CAUSE, "panic", r"^\s{0,4}panic: "),
    (NAMED, "fail", r"^\s{0,16}--- FAIL: "),
    # Rust, C, C++, .NET
    (CAUSE, "err", r"^error\[E[0-9]{3,5}\]"),
    (CAUSE, "panic", r"^thread .{1,200} panicked at "),
    (CAUSE, "err", rf"^{SOURCE}:[0-9]{{1,7}}:(?:[0-9]{{1,5}}:)? (?:fatal )?error: "),  # and javac, mypy
    (CAUSE, "err", r": error (?:CS|MSB|NU|NETSDK|FS|BC|LNK|C|CA)[0-9]{3,5}\b"),
    (CAUSE, "undefined", r": undefined reference to "),
    (CAUSE, "segmentation", r"Segmentation fault"),
    (CAUSE, "assert", r"\bAssertion [`'][^`']{1,200}' failed"),
    (CAUSE, "assert", r"^\s{0,8}Assert\.\w{1,40}\(\) Failure"),
    (NAMED, "fail", r"^test \S{1,300} \.\.\. FAILED$"),
    (NAMED, "fail", r"^\s{1,6}Failed \S{1,300} \["),
    (SUMMARY, "err", r"^error: \S"),
    (SUMMARY, "***", r"^\S{0,40}make(?:\[[0-9]{1,4}\])?: \*\*\* "),
    # JVM
    (CAUSE, "err", r"^\[ERROR\] \S{1,300}:\[[0-9]{1,7},[0-9]{1,5}\] "),
    (CAUSE, "e: ", r"^e: \S"),  # Kotlin
    (NAMED, "<<< ", r" <<< (?:FAILURE|ERROR)!"),
    (NAMED, "fail", r"^(?:> Task \S{1,300}|\S{1,300} > .{1,300}) FAILED$"),
    (SUMMARY, "wrong:", r"^\* What went wrong:"),
    (SUMMARY, "err", r"^\[ERROR\] \S"),
    (SUMMARY, "fail", r"BUILD FAIL(?:ED|URE)"),
    (SUMMARY, "fail", r"^FAILURE: "),
    (SUMMARY, "fail", r"Tests run: [0-9]{1,7}, Failures: (?:[1-9]|0, Errors: [1-9])"),
    # Ruby, PHP
    (CAUSE, "fail", r"^\s{0,12}Failure/Error: "),
    (CAUSE, "fail", r"^Failed asserting that "),
    (CAUSE, "fatal", r"^PHP Fatal error: "),
    # Terraform, Docker, git, shells
    (CAUSE, "err", r"^[│|] Error: \S"),
    (SUMMARY, "fail", r"failed to solve: "),
    (SUMMARY, "not ", r" did not complete successfully: exit code: "),
    (SUMMARY, "fatal", r"^fatal: "),
    (OUTSIDE, "not ", r": command not found$"),
    (OUTSIDE, "denied", r"[Pp]ermission denied"),
    # The network
    (OUTSIDE, "not ", r"Could not resolve (?:host|proxy)"),
    (OUTSIDE, "name resolution", r"[Ff]ailure in name resolution"),
    (OUTSIDE, "econn", r"\bECONN(?:RESET|REFUSED|ABORTED)\b"),
    (OUTSIDE, "etimedout", r"\bETIMEDOUT\b"),
    (OUTSIDE, "enotfound", r"\bENOTFOUND\b"),
    (OUTSIDE, "connection", r"[Cc]onnection (?:timed out|refused|reset by peer)"),
    (OUTSIDE, "timeout", r"TLS handshake timeout"),
    (OUTSIDE, " 50", r"\b(?:500 Internal Server Error|502 Bad Gateway|503 Service Unavailable|504 Gateway Time)"),
    (OUTSIDE, "many", r"\b429 Too Many Requests\b"),
    (OUTSIDE, "many", r"\btoomanyrequests: "),
    (SUMMARY, "cancel", r"^The operation was canceled\.$"),
    # Words
    (WORD, "err", r"(?<![\w./=-])(?:error|ERROR|Error)(?::| -|\]| \w{1,20}:) ?(?!0\b)\S"),
    (FAILED, "fail", r"(?<![\w./=-])(?:FAILED|FAILURE|FAIL|[Ff]ailed|[Ff]ailure)\b(?![.(=-]\w)"),
    (FAILED, "denied", r"\b[Dd]enied\b"),
    (FAILED, "not ", r"\b[Nn]ot found\b"),
)

SYMPTOMS: Mapping[str, tuple[tuple[int, re.Pattern[str]], ...]] = {
    needle: tuple((weight, re.compile(pattern)) for weight, needle_, pattern in ROWS if needle_ == needle)
    for needle in dict.fromkeys(needle for _, needle, _ in ROWS)
}
"""By needle: many rows share one, so that each line is searched for some thirty."""

LONGEST_WEIGHED = 1_000
"""Characters of a line in which a symptom is looked for."""

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
    text = line.text[:LONGEST_WEIGHED]
    if text.startswith("#"):
        prefix = DOCKER_PREFIX.match(text)
        text = text[prefix.end() :] if prefix else text
    if line.mark == "error":
        return ENDING if ENDING_LINE.match(text) else max(_weigh_text(text), MARKED)
    return _weigh_text(text)


def _weigh_text(text: str) -> int:
    lower = text.lower()
    weight = 0
    for needle, rows in SYMPTOMS.items():
        if needle in lower:
            for heavier, pattern in rows:
                if heavier > weight and pattern.search(text):
                    weight = heavier
    return 0 if weight and _is_harmless(text, weight) else weight


def _is_harmless(text: str, weight: int) -> bool:
    if weight == ENDED_BY_FORCE:
        return False
    if REMARK.match(text) or (weight == OUTSIDE and RETRIED.search(text)):
        return True
    if weight == CAUSE:  # it may well quote a text that says "0 errors"
        return False
    return bool(PASSED.search(text) or (NONE_FAILED.search(text) and not SOME_FAILED.search(text)))
