"""Parsing of the lines of a job's log: time, mark, task and text, without escape sequences and
private keys.

A log is one file per job, with all steps in sequence. An example of a line:

    2026-11-20T09:14:31.1234567Z ##[group]Run npm test

The line has a time, a mark that the runner made from a workflow command such as `::group::`, and a
text. If a program prints several lines at once, only the first one may have a time.
https://docs.github.com/en/rest/actions/workflow-jobs#download-job-logs-for-a-workflow-run

Redaction recognizes a private key of several lines only by its first line, which an excerpt may
lack. So `PrivateKeyFilter` replaces every line of such a key before excerpts are selected.
"""

from __future__ import annotations

import re
from collections import Counter, deque
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from hls_handler.untrusted.redaction import redact
from hls_handler.wording import inflect

MAX_PARSED_CHARS = 4_000
"""Limit on the characters of a line that are parsed. A private key in one line has 3,300."""

MAX_SHOWN_CHARS = 500

TIME = re.compile(
    r"([0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2})(?:\.[0-9]{1,9})?Z(?: |\Z)"
)
MARK = re.compile(r"##\[(group|endgroup|error|warning|notice|debug|command|section)\]")
ESCAPE = re.compile(
    r"""
        # OSC: titles and links; an unterminated one stays text
        (?:\x1b\]|\x9d)[^\x07\x1b\x9c]*+(?:\x07|\x1b\\|\x9c)
      | (?:\x1b\[|\x9b)[0-?]*+[ -/]*+[@-~]?  # CSI: colours, the cursor
      | \x1b[ -/]*+[0-~]?  # the rest
    """,
    re.VERBOSE,
)

SCRIPT_COLOUR = "\x1b[36;1m"

PREFIXES: Mapping[str, str] = {
    "error": "Error: ",
    "warning": "Warning: ",
    "notice": "Notice: ",
    "debug": "Debug: ",
}
"""Mark -> the words that GitHub's page of the log shows instead of the mark."""

BINARY_SHARE = 0.3  # a line with a larger share of U+FFFD is binary


@dataclass(frozen=True, slots=True)
class LogLine:
    number: int  # in the job's log, from 1
    text: str
    folded: int = 0  # number of repetitions after this line that are omitted
    unread: int = 0  # number of characters beyond `MAX_PARSED_CHARS`, which the parser dropped


def truncate_line(line: LogLine) -> LogLine:
    """Truncate a line longer than `MAX_SHOWN_CHARS`, but redact it first: half a credential would
    not be recognised.
    """
    if len(line.text) <= MAX_SHOWN_CHARS:
        return line
    text = redact(line.text)
    cut_chars = max(len(text) - MAX_SHOWN_CHARS, 0) + line.unread
    if cut_chars:
        remark = f"[{cut_chars:,} {inflect(cut_chars, 'character')} cut]"
        text = f"{text[:MAX_SHOWN_CHARS]}… {remark}"
    return replace(line, text=text, unread=0)


# not frozen: a log may have half a million lines, and frozen ones take twice the time
@dataclass(slots=True)
class RawLine:
    second: str  # "2026-11-20T09:14:31", or "" without a time
    mark: str  # "error", "group", ... or ""
    text: str  # without mark and escape sequences
    # the text without prefixes; before it, texts with a prefix that may be the tool's own
    texts: tuple[str, ...]
    length: int  # of the raw line, without its end
    unread: int  # number of characters beyond `MAX_PARSED_CHARS`, which were dropped
    is_binary: bool
    is_script: bool  # has the colour in which the runner prints a step's script
    task: str = ""  # the task that printed the line; "" if none is known


def parse_line(raw: str) -> RawLine:
    """Parse one line of a log, with or without its line end. Never raises, and takes linear time
    for any content.
    """
    text = raw.rstrip().removeprefix("\ufeff")
    length = len(text)
    start = 0
    second = ""
    time = TIME.match(text)
    if time:
        start = time.end()
        second = time[1]
    if "\r" in text:  # a progress bar: a terminal shows only what was written last
        start = max(start, text.rfind("\r") + 1)
    unread = max(len(text) - start - MAX_PARSED_CHARS, 0)
    text = text[start : start + MAX_PARSED_CHARS]
    is_binary = "\0" in text or text.count("\ufffd") > BINARY_SHARE * len(text)
    is_script = text.startswith(SCRIPT_COLOUR)
    if "\x1b" in text or "\x9b" in text or "\x9d" in text:
        text = ESCAPE.sub("", text)
    if "\n" in text:
        text = text.replace("\n", " ")
    name = ""
    mark = MARK.match(text)
    if mark:
        name = mark[1]
        text = text[mark.end() :]
    return RawLine(second, name, text, (text,), length, unread, is_binary, is_script)


def display_text(line: RawLine) -> str:
    """Return a line as excerpts show it: `##[error]` becomes "Error: ", and a note replaces binary
    content.
    """
    if line.is_binary:
        return f"[{line.length:,} characters that are not text]"
    if line.mark == "command":
        return f"$ {line.text}"
    if line.mark:
        return PREFIXES.get(line.mark, "") + line.text
    return line.text


# Task runners name the task that printed a line before it:
#
#     packages/api test: AssertionError [ERR_ASSERTION]: 3 !== 4   pnpm
#     web:build: src/price.ts(3,7): error TS2322: ...              turbo
#     tests-1  | django.db.utils.ProgrammingError: ...             docker compose
#     [api] TypeError: Cannot read properties of undefined         concurrently, kubectl, yarn
#     #12 4.567 [api] TypeError: ...                               docker build, around another
#
# Many tools write such beginnings themselves ("Expected: 90"), so a form of prefix counts only if
# it recurs with the same name. A name without a path ("api: ", as lerna and tox write it) must
# recur itself, and separates no tasks.

LOOKAHEAD_LINES = 200
MIN_RECURRENCES = 3
MAX_NAMES = 5_000  # names that are counted
MAX_NESTED = 4  # "#12 4.567 09:14:31 [api] packages/api test: "

_WORD = r"[\w@+.#/~-]{1,60}+"
_NAME = rf"{_WORD}(?::{_WORD}){{0,4}}"
PREFIX = re.compile(
    rf"""
    \#(?P<build>[0-9]{{1,4}})\ (?:[0-9]{{1,6}}\.[0-9]{{1,4}}(?:\ |$))?
  | \[?(?:[0-9]{{4}}-[0-9]{{2}}-[0-9]{{2}}[T ])?(?P<time>)
    [0-9]{{2}}:[0-9]{{2}}:[0-9]{{2}}(?:[.,][0-9]{{1,9}})?
    (?:Z|[+-][0-9]{{2}}:?[0-9]{{2}})?\]?(?:\ |$)
  | \[\ {{0,20}}(?=[0-9]{{1,3}}\ {{0,20}}\]|[^\]]{{0,100}}[A-Za-z])
    (?P<bracket>{_NAME}(?:\ {_NAME}){{0,2}})[\ \t]{{0,60}}\]
    :?(?:\ {{0,8}}\|)?(?:\ |$)
  | \ {{0,40}}(?![0-9]{{1,9}}\ )(?P<bar>{_NAME}(?:\ {_NAME})?)(?:\ {{1,60}}[|│┃](?:\ |$)|\t)
  | (?!/|\./|\S{{0,99}}:[0-9])
    (?P<path>\.{{1,2}}\ {_NAME}|(?=[^\s:]{{1,60}}[/@\#:]\S|@){_NAME}(?:\ {_NAME})?):(?:\ |$)
  | (?:➤\ )?(?!\S{{0,99}}:[0-9])(?P<word>{_NAME}(?:\ {_NAME})?):[ ]
    """,
    re.VERBOSE,
)
"""The group that matches is named after the form of the prefix; its text is the name of the task,
"" for a time.
"""

NO_TASK = re.compile(
    r"err|error|wrn|warn|warning|inf|info|dbg|debug|trace|notice|note|ftl|fatal|crit|critical"
    r"|severe|verbose|log|hint|help|stderr|stdout|fail|failed|failure|pass|passed|ok|skip|skipped"
    r"|run|done|success|exception|[a-z]",
    re.IGNORECASE,
)
"""Matches levels and results, which tools write where task runners write names."""

_Prefix = tuple[str, str, int]  # form, name of the task, position of its end


def split_tasks(lines: Iterable[RawLine]) -> Iterator[RawLine]:
    """Yield the lines in order, without the prefixes of tasks.

    A prefix is one if it occurs several times: earlier, or within the next `LOOKAHEAD_LINES` lines.
    """
    ahead: deque[tuple[RawLine, Sequence[_Prefix]]] = deque()
    counts: Counter[tuple[str, str]] = Counter()
    recurring = {_family("build", "")}  # no other tool writes this form
    for line in lines:
        prefixes: Sequence[_Prefix] = ()
        if not line.mark and not line.is_binary:
            prefixes = _find_prefixes(line.text)
        for form, name, _ in prefixes:
            if (form, name) in counts or len(counts) < MAX_NAMES:
                counts[form, name] += 1
            if counts[form, name] >= MIN_RECURRENCES:
                recurring.add(_family(form, name))
        ahead.append((line, prefixes))
        if len(ahead) > LOOKAHEAD_LINES:
            yield _split(*ahead.popleft(), recurring)
    while ahead:
        yield _split(*ahead.popleft(), recurring)


def _find_prefixes(text: str) -> Sequence[_Prefix]:
    prefixes: list[_Prefix] = []
    found = PREFIX.match(text)
    while found is not None and len(prefixes) < MAX_NESTED:
        form = found.lastgroup or ""
        if NO_TASK.fullmatch(found[form]):
            break
        prefixes.append((form, found[form], found.end()))
        found = PREFIX.match(text, found.end())
    return prefixes


def _family(form: str, name: str) -> tuple[str, str]:
    """Return what must recur for a prefix to count: its form, and the name if that has no path."""
    if form != "word":
        return form, ""
    return form, name


def _split(
    line: RawLine, prefixes: Sequence[_Prefix], recurring: Collection[tuple[str, str]]
) -> RawLine:
    texts = [line.text]
    for form, name, end in prefixes:
        if _family(form, name) not in recurring:
            break
        if form == "word":
            texts.append(line.text[end:])
            continue
        texts[-1] = line.text[end:]
        if form != "time":
            line.task += f"{name} "
    line.texts = tuple(texts)
    return line


BEGIN = "-----BEGIN "
BEGIN_PRIVATE_KEY = re.compile(r"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----")
END_PRIVATE_KEY = re.compile(r"-----END [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----")
KEY_LINE = re.compile(
    r"""[^A-Za-z0-9+/=]{0,20}                                     # a quote, a list, a diff
        (?: [A-Za-z0-9+/=]{0,200}+[^A-Za-z0-9]{0,8}
          | (?:Proc-Type|DEK-Info|Version|Comment|Charset|Hash):.{0,200} )""",
    re.VERBOSE,
)
MAX_KEY_LINES = 300  # a key of 16,384 bits has 200
REPLACEMENT = "[redacted: private-key]"


class PrivateKeyFilter:
    """Replaces private keys of several lines. Pass each line of the log once, in order."""

    def __init__(self) -> None:
        self._lines_left = 0  # lines that may still belong to the key

    def redact_line(self, text: str) -> str:
        """Return the line with `REPLACEMENT` in place of any part of a private key."""
        begin = BEGIN_PRIVATE_KEY.search(text) if BEGIN in text else None  # the search is slow
        if begin is not None:
            if END_PRIVATE_KEY.search(text, begin.end()) or len(text) > begin.end() + 200:
                return text  # a key in one line is left to redaction
            self._lines_left = MAX_KEY_LINES
            return text[: begin.start()] + REPLACEMENT
        if not self._lines_left:
            return text
        end = END_PRIVATE_KEY.search(text)
        if end is not None:
            self._lines_left = 0
            return REPLACEMENT + text[end.end() :]
        if KEY_LINE.fullmatch(text) is None:
            self._lines_left = 0
            return text
        self._lines_left -= 1
        return REPLACEMENT
