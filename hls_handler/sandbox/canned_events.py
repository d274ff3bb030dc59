"""Canned replies about workflow runs, releases, comments and other events, made from sentences in
the prompt.
"""

from __future__ import annotations

import re
from typing import Any

from hls_handler.sandbox.reading import Reading
from hls_handler.untrusted.markdown import format_code_span

ERROR = re.compile(
    r"^E\s{2,}\S"  # pytest
    r"|^[A-Z]{1,5}\d{3,4}\s"  # a linter: DTZ005
    r"|\b[A-Z]\w*(?:Error|Exception)\b"
    r"|\b(?:error|ERROR|fatal|FAILED|panic)\b(?!s\b)"
    r"|\bnot found\b|\btimed out\b|\bexceeded\b|\bcanceled\b"
    r"|^Error: ",  # GitHub's mark, also of annotations
)
NO_CAUSE = re.compile(r"(?:^>|exit code|exited with|\bmake: \*\*\*|Error: Process completed)")
PLACE = re.compile(
    r"(?:^|[\s(])((?!/|<|\.\.|node_modules|site-packages)(?:[\w.-]+/)*[\w.-]+\.\w{1,5})[:(](\d+)"
)
CHORE = re.compile(r"^(?:release|merge|bump|update|upgrade)\b", re.IGNORECASE)
NUMBER_BEHIND = re.compile(r"\s*\(?#\d+\)?$")
STEM = re.compile(r"\b[a-z]{4}")
MAX_PLACES = 3
MAX_HIGHLIGHTS = 3


# --- workflows
# -----------------------------------------------------------------------------


def quote(reading: Reading) -> str:
    """Return the first log line with an error, or "". Skips lines that name no cause, such as "exit
    code 1".
    """
    return next(
        (line for line in reading.log or () if ERROR.search(line) and not NO_CAUSE.search(line)), ""
    )


def cause(reading: Reading) -> str:
    error = re.sub(r"^(?:E\s+|##\[error\])", "", quote(reading)).strip()
    return f"It ends with an error: {format_code_span(error)}." if error else ""


def places(reading: Reading) -> list[dict[str, Any]]:
    """Return items for the reply's field `where`: the files that the log names, the last one
    first.
    """
    found = dict(reversed(PLACE.findall("\n".join(reading.log or ()))))
    named = [
        {"path": path, "line": int(line), "why": "The log names this line."}
        for path, line in found.items()
    ]
    return named[:MAX_PLACES]


def advice(reading: Reading) -> str:
    first = next(iter(places(reading)), None)
    return f"Begin at `{first['path']}`, line {first['line']}." if first else ""


# --- releases
# -----------------------------------------------------------------------------


def subjects(reading: Reading) -> list[str]:
    """Return the commit subjects without chores ("bump ..."). If there are none, return items of
    the release notes.
    """
    lines = [message.strip().split("\n")[0] for message in reading.commits or ()]
    found = [NUMBER_BEHIND.sub("", line) for line in lines if line and not CHORE.match(line)]
    points = re.findall(r"^[*-] (.+?)(?: by @\S+(?: in \S+)?)?\s*$", reading.body, re.MULTILINE)
    return list(dict.fromkeys(found or points))


def headline(reading: Reading) -> str:
    return next(iter(subjects(reading)), "")


def announcement(reading: Reading) -> str:
    points = "\n".join(f"- {subject}" for subject in subjects(reading))
    return f"What is new:\n\n{points}" if points else ""


def highlights(reading: Reading) -> list[str]:
    return subjects(reading)[:MAX_HIGHLIGHTS]


# --- comments
# -----------------------------------------------------------------------------


NO_ANSWER = (
    "No sentence of the conversation has the words of this question. (A canned reply of the"
    " sandbox, which compares words; Claude would understand the question.)"
)


def reply(reading: Reading) -> str:
    """Return instructions if the comment asks how to start. If not, quote a sentence of the
    conversation.

    The quoted sentence shares the most words with the comment. If no sentence shares two, return
    `NO_ANSWER` to a question, else "". Words are compared by their first four letters.
    """
    if reading.wants_to_start:
        return (
            f"What is to be done: {reading.title}.\n\n"
            "1. Set the development environment up as the contributing guide says.\n"
            "2. Write a test that shows the fault.\n"
            "3. Change the code until the test passes, and open a pull request."
        )
    asked = set(STEM.findall(reading.comment.lower()))
    sentences = [
        " ".join(part.split())
        for part in re.split(r"(?<=[.!?])\s+|\n\n", reading.conversation_text)
        if part[:1].isalpha() and not part.rstrip().endswith("?")  # no table, no question
    ]
    scored = [
        (len(asked & set(STEM.findall(sentence.lower()))), sentence) for sentence in sentences
    ]
    most, best = max(scored, key=lambda pair: pair[0], default=(0, ""))
    if most >= 2:
        return f"The conversation says: \u201c{best}\u201d"
    return NO_ANSWER if "?" in reading.comment else ""


# --- any other event
# -----------------------------------------------------------------------------


def event_summary(reading: Reading) -> str:
    return f"{reading.event}: {next(iter(_first_lines(reading)), 'it happened')}"


def event_details(reading: Reading) -> str:
    return "\n".join(f"- {line}" for line in _first_lines(reading)[1:])


def _first_lines(reading: Reading) -> list[str]:
    """Return the first line of each untrusted text of the event, without duplicates."""
    return list(
        dict.fromkeys(text.strip().split("\n")[0] for text in reading.texts if text.strip())
    )
