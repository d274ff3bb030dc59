"""Lines of a job's log: parsed, redacted and shortened.

A log is one file per job, with all steps in sequence. An example of a line:

    2026-11-20T09:14:31.1234567Z ##[group]Run npm test

The line has a time, a mark that the runner made from a workflow command such as `::group::`, and a
text. If a program prints several lines at once, only the first one may have a time.
https://docs.github.com/en/rest/actions/workflow-jobs#download-job-logs-for-a-workflow-run
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice

from hls_handler.untrusted.redaction import redact, redact_lines

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


MAX_PARSED_CHARS = 16_000
"""Limit on the characters of a line that are parsed. The log's reader cuts a line behind them."""

MAX_SHOWN_CHARS = 2_000
KEPT_CHARS = 1_000  # at the beginning and at the end of a longer line

TIME = re.compile(
    r"([0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2})(?:\.[0-9]{1,9})?Z(?: |\Z)"
)
GITHUB_MARK = re.compile(r"##\[(group|endgroup|error|warning|notice|debug|command|section)\]")
ESCAPE = re.compile(
    r"""
        # OSC: titles and links; an unterminated one stays text
        (?:\x1b\]|\x9d)[^\x07\x1b\x9c]*+(?:\x07|\x1b\\|\x9c)
      | (?:\x1b\[|\x9b)[0-?]*+[ -/]*+[@-~]?  # CSI: colours, the cursor
      | \x1b[ -/]*+[0-~]?  # the rest
    """,
    re.VERBOSE,
)
UTF_16 = re.compile(r"(?:[ -~]\0){4}")  # ASCII in UTF-16, decoded as UTF-8

PREFIXES = {"error": "Error: ", "warning": "Warning: "}
"""Mark -> the words that GitHub's page of the log shows instead of the mark."""

BINARY_SHARE = 0.5  # a line with a larger share of U+FFFD is not text


# not frozen: a log may have half a million lines, and frozen ones take twice the time
@dataclass(slots=True)
class JobLogLine:
    number: int  # in the job's log, from 1
    text: str  # without escape sequences; "##[error]" is "Error: "
    second: str = ""  # "2026-11-20T09:14:31", or "" without a time
    mark: str = ""  # "error", "group", ... or ""
    step: int | None = None  # number of the step that printed it
    is_cut: bool = False  # characters beyond `MAX_PARSED_CHARS` were dropped
    is_marked: bool = False  # GitHub, a tool or the form of the line says that something failed
    folded: int = 0  # number of lines after this one that are omitted, because they are alike


def read_lines(lines: Iterable[str]) -> Iterator[JobLogLine]:
    """Yield the lines of a raw log: redacted, then shortened."""
    parsed = (parse_line(number, raw) for number, raw in enumerate(lines, start=1))
    for line in _redact(_redact_keys(parsed)):
        shorten(line)
        if line.mark == "error":
            line.is_marked = EXIT_CODE.search(line.text) is None
        elif not line.mark:
            line.is_marked = is_marked(line.text)
        yield line


def parse_line(number: int, raw: str) -> JobLogLine:
    """Parse one line of a log, with or without its line end. Never raises, and takes linear time
    for any content.
    """
    text = raw.removeprefix("\ufeff")
    second = ""
    time = TIME.match(text)
    if time:
        text = text[time.end() :]
        second = time[1]
    if "\0" in text and UTF_16.search(text):
        text = text.replace("\0", "")
    # a progress bar: a terminal shows only what was written last
    text = text.rstrip().rpartition("\r")[2]
    length = len(text)
    text = text[:MAX_PARSED_CHARS]
    if "\0" in text or text.count("\ufffd") > BINARY_SHARE * len(text):
        text = ""
    if "\x1b" in text or "\x9b" in text or "\x9d" in text:
        text = ESCAPE.sub("", text)
    name = ""
    mark = GITHUB_MARK.match(text)
    if mark:
        name = mark[1]
        text = PREFIXES.get(name, "") + text[mark.end() :]
    text = text.replace("\n", " ")
    return JobLogLine(number, text, second, name, is_cut=length > MAX_PARSED_CHARS)


BLOCK_LINES = 500  # redacted at once
CONTEXT_LINES = 3  # of the block before: a name and its value may be in two lines


def _redact(lines: Iterable[JobLogLine]) -> Iterator[JobLogLine]:
    """Redact the lines of a log of any length, and as if they were one text."""
    context: list[str] = []
    rest = iter(lines)
    while block := list(islice(rest, BLOCK_LINES)):
        texts = [line.text for line in block]
        redacted = redact_lines([*context, *texts])[len(context) :]
        for line, text in zip(block, redacted, strict=True):
            line.text = text
        context = texts[-CONTEXT_LINES:]
        yield from block


BEGIN = "-----BEGIN "
BEGIN_OF_KEY = re.compile(
    r"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----(?!.{0,200}-----END ).{0,200}$"
)
"""A key in one line is left to redaction."""
END_OF_KEY = re.compile(r"-----END [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----")
END_OF_LINE = r"(?:\\{1,4}[nr])?[^A-Za-z0-9]{0,8}$"
KEY_LINE = re.compile(rf"(?:^|(?<=[^A-Za-z0-9+/]))[A-Za-z0-9+/]{{16,}}+={{0,2}}(?={END_OF_LINE})")
LAST_LINE = re.compile(
    r"^((?:.{0,60}[|│\]0-9] )?[^A-Za-z0-9]{0,20})[A-Za-z0-9+/]{1,15}={0,2}" + END_OF_LINE
)
MAX_KEY_LINES = 300  # a key of 16,384 bits has 200
REPLACEMENT = "[redacted: private-key]"


def _redact_keys(lines: Iterable[JobLogLine]) -> Iterator[JobLogLine]:
    """Replace private keys of several lines, also with other lines between, and behind prefixes of
    tasks.
    """
    lines_left = 0  # lines that may still belong to the key
    is_in_key = False  # the line before was a whole line of the key
    for line in lines:
        text = line.text
        if BEGIN in text:
            line.text = BEGIN_OF_KEY.sub(REPLACEMENT, text)
            if line.text != text:
                lines_left = MAX_KEY_LINES
        elif lines_left:
            lines_left -= 1
            line.text = KEY_LINE.sub(REPLACEMENT, text)
            is_last = is_in_key and line.text == text
            is_in_key = line.text != text
            if is_last:
                line.text = LAST_LINE.sub(rf"\1{REPLACEMENT}", text)
            end = END_OF_KEY.search(text)
            if end is not None:
                lines_left = 0
                line.text = REPLACEMENT + text[end.end() :]
        yield line


REASON_KEYS = ("msg", "message", "err", "error", "stderr")


def shorten(line: JobLogLine) -> None:
    """Cut a long line in its middle. The line is redacted before, because half a credential has no
    form; of a line whose end was not read, only the beginning is shown.
    """
    if len(line.text) <= MAX_SHOWN_CHARS:
        return
    text = redact(_put_reason_first(line.text))
    end = text[-KEPT_CHARS:]
    if line.is_cut:
        end = ""
    cut = len(text) - KEPT_CHARS - len(end)
    line.text = f"{text[:KEPT_CHARS]} [... {cut:,} characters] {end}".rstrip()


def _put_reason_first(text: str) -> str:
    """Return a line that ends with a JSON object, with the keys that give a reason first."""
    before, brace, rest = text.partition("{")
    try:
        fields = json.loads(brace + rest)
    except (ValueError, RecursionError):
        return text
    ordered = {key: fields.pop(key) for key in REASON_KEYS if key in fields}
    return before + json.dumps(ordered | fields, ensure_ascii=False)
