"""A line of a job's log: GitHub's time and marks are told from the text, and the text is plain and bounded.

https://docs.github.com/en/rest/actions/workflow-jobs#download-job-logs-for-a-workflow-run gives one file a job, all
steps in a row. A line of it:

    2026-11-20T09:14:31.1234567Z ##[group]Run npm test

is a time, a mark that the runner made of a workflow command, and the text. What a program prints in several lines may
have its time at the first one only.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace

from hls_handler.untrusted.redaction import redact

LONGEST_READ = 4_000
"""Characters of a line that are looked at. A key in one line has 3,300."""

LONGEST_SHOWN = 500

TIME = re.compile(r"([0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2})(?:\.[0-9]{1,9})?Z(?: |\Z)")
MARK = re.compile(r"##\[(group|endgroup|error|warning|notice|debug|command|section)\]")
ESCAPE = re.compile(
    r"""(?:\x1b\]|\x9d)[^\x07\x1b\x9c]*+(?:\x07|\x1b\\|\x9c)  # OSC: titles and links; one that never ends stays text
      | (?:\x1b\[|\x9b)[0-?]*+[ -/]*+[@-~]?                   # CSI: colours, the cursor
      | \x1b[ -/]*+[0-~]?                                     # the rest
    """,
    re.VERBOSE,
)

SCRIPT = "\x1b[36;1m"

READABLE: Mapping[str, str] = {"error": "Error: ", "warning": "Warning: ", "notice": "Notice: ", "debug": "Debug: "}
"""What GitHub's page writes in place of a mark."""

UNREADABLE_SHARE = 0.3  # of a line's characters, from which on it is no text


@dataclass(frozen=True, slots=True)
class LogLine:
    number: int  # in the job's log, from 1
    text: str
    folded: int = 0  # further lines right below that say the same
    alike: bool = False  # the folded ones are the same but for numbers and progress bars
    unread: int = 0  # characters that were cut off at once


def shortened(line: LogLine) -> LogLine:
    """A line of a bearable length. Redacted before it is cut, because half a credential is not recognised."""
    if len(line.text) <= LONGEST_SHOWN:
        return line
    text = redact(line.text)
    missing = max(len(text) - LONGEST_SHOWN, 0) + line.unread
    return replace(line, text=f"{text[:LONGEST_SHOWN]}… [{missing:,} characters cut]" if missing else text, unread=0)


@dataclass(slots=True)  # not frozen: half a million are made, and that would take twice the time
class RawLine:
    second: str  # "2026-11-20T09:14:31", or "" where no time is given
    mark: str  # "error", "group", ... or ""
    text: str  # without mark and escape sequences
    length: int  # of the line as it came, without its end
    unread: int  # characters behind the text, which is bounded
    is_binary: bool
    is_script: bool  # coloured as the runner colours a step's script


def parse_line(raw: str) -> RawLine:
    """Read one line, with or without its line end. Never raises; linear in the length, whatever is in it."""
    text = raw.rstrip().removeprefix("\ufeff")
    length = len(text)
    time = TIME.match(text)
    at = time.end() if time else 0
    if "\r" in text:  # a progress bar: what was written last over the others is what a terminal shows
        at = max(at, text.rfind("\r") + 1)
    unread = max(len(text) - at - LONGEST_READ, 0)
    text = text[at : at + LONGEST_READ]
    is_binary = "\0" in text or text.count("\ufffd") > UNREADABLE_SHARE * len(text)
    is_script = text.startswith(SCRIPT)
    if "\x1b" in text or "\x9b" in text or "\x9d" in text:
        text = ESCAPE.sub("", text)
    if "\n" in text:
        text = text.replace("\n", " ")
    mark = MARK.match(text) if text.startswith("##[") else None
    if mark:
        text = text[mark.end() :]
    return RawLine(time[1] if time else "", mark[1] if mark else "", text, length, unread, is_binary, is_script)


def readable(line: RawLine) -> str:
    """The text as it is shown."""
    if line.is_binary:
        return f"[{line.length:,} characters that are no text]"
    if line.mark == "command":
        return f"$ {line.text}"
    return READABLE.get(line.mark, "") + line.text if line.mark else line.text
