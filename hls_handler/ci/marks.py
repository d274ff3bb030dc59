"""Marks of log lines: GitHub's, a tool's own report of a failure, or a place in a file.

Marks have no ranks. A line that is marked by mistake takes room in an excerpt, nothing else.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

PATH = r"(?![0-9])[\w./\\@~][^\s()]{0,200}?\.[A-Za-z]\w{0,9}"
NO_WARNING = r"(?=[:\s,)]|$)(?!:[0-9])(?!:?\s{0,9}\W{0,3}\w{0,40}?(?i:warn|note|info))"

MARK = re.compile(
    rf"""
    (?<![^\W_])(?<![./:=-]) FAIL(?:ED|URE)? (?![\w./=-])
  | (?<![\w./:=-])Failed\b
  | \bfatal\ error\b
  | ^(?:│\ )?(?:
      (?:[\w.$]{{0,100}}(?:[Ee]rror|[Ee]xception)|fatal|panic)  # and TypeError
      (?:\ ?\[[^\]\s]{{1,40}}\]|\ [A-Z]{{1,8}}[0-9]{{1,6}})?  # error[E0425], error TS2322
      (?::(?!\s{{0,9}}0\b)|(?<=\wError)$|(?<=Exception)$)
    | \[?(?:ERROR|FATAL)(?:[:\]]|\ in\ ) | Caused\ by:\  | E\ {{3}} | e:\ | npm\ (?:ERR!|error)\s
    | \S{{1,300}}:\ \w{{1,20}}\ [0-9]{{1,7}}:\   # a shell: "run.sh: line 3: "
    )
  | ^\W{{0,12}}Fail(?:ed|ure)\b
  | ^\s{{0,12}} (?:
      [✕✖✗✘×●❌] | not\ ok\b | \(fail\) | [0-9]{{1,5}}\)\s
    | thread\ .{{1,200}}\ panicked
    | (?:❯\ )?{PATH}:[0-9]{{1,7}}(?::[0-9]{{1,5}})?{NO_WARNING}  # path:line:column
    | {PATH}\([0-9]{{1,7}},[0-9]{{1,5}}\){NO_WARNING}  # path(line,column)
    )
  | ^\s{{1,9}}[0-9]{{1,7}}:[0-9]{{1,5}}\s(?!\s{{0,9}}warn)  # line:column below a path
    """,
    re.VERBOSE,
)
"""Errors of loggers and indented exceptions are no marks: passing tests print them."""

NO_MARK = re.compile(
    r"\s{0,12}(?:[✓✔√]|(?:--- )?(?i:pass|passed|ok)\b|(?:npm )?\W{0,3}(?i:warn|warning)\b)"
)
"""The beginning of a line that is never marked: a test that passed, or a warning."""

PREFIX = re.compile(
    r"""
    \#[0-9]{1,4}(?:\ [0-9]{1,6}\.[0-9]{1,4})?(?:\ |$)  # docker build: "#12 4.567 "
  | \[[^\]]{1,80}\]:?(?:\ |$)  # concurrently: "[api] "
  | \ {0,40}[^\s|│┃]{1,80}(?:\ {0,60}[|│┃](?:\ |$)|\t)  # docker compose: "tests-1  | "
  | [\w@+.#/~-]{1,60}>\ ?  # nix, msbuild: "cart> ", "12>"
  | (?:➤\ )?[\w@+.#/~-]{1,60}(?:[:\ ][\w@+.#/~-]{1,60}){0,3}:(?:\ |$)  # pnpm: "packages/api test: "
  | [0-9][0-9TZ:.,+-]{7,40}(?:\ |$)  # a time
    """,
    re.VERBOSE,
)
"""What a task runner writes before the line of a task."""

MAX_PREFIXES = 3  # "#12 4.567 [api] 09:14:31 "


def is_marked(text: str) -> bool:
    """Return True if a line, or what follows its prefixes, has a mark."""
    parts = list(_split_prefixes(text))
    return not any(map(NO_MARK.match, parts)) and any(map(MARK.search, parts))


def remove_prefixes(text: str) -> str:
    return list(_split_prefixes(text))[-1]


def _split_prefixes(text: str) -> Iterator[str]:
    """Yield a line as it is, and what is left of it behind each prefix."""
    yield text
    for _ in range(MAX_PREFIXES):
        prefix = PREFIX.match(text)
        if prefix is None:
            return
        text = text[prefix.end() :]
        yield text


EXIT_CODE = re.compile(
    r"Process completed with exit code |The process '.{1,300}' failed with exit code "
)
"""GitHub's last line of every failed step. It explains nothing."""

KILLED = re.compile(
    r"exceeded the maximum execution time|has timed out after|lost communication with the server"
    r"|received a shutdown signal"
)
"""An error of the runner that ended the job."""
