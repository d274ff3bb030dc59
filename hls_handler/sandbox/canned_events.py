"""Canned replies about workflow runs, releases, comments and other events, made from sentences in the prompt."""

from __future__ import annotations

import re
from typing import Any

from hls_handler.sandbox.reading import Reading

ERROR = re.compile(
    r"^E\s{2,}\S"  # pytest
    r"|^[A-Z]{1,5}\d{3,4}\s"  # a linter: DTZ005
    r"|\b[A-Z]\w*(?:Error|Exception)\b"
    r"|\b(?:error|fatal|FAILED|panic)\b(?!s\b)"
    r"|\bnot found\b|\btimed out\b|\bcanceled\b",
)
NO_CAUSE = re.compile(r"(?:^>|exit code|exited with|\bmake: \*\*\*|Error: Process completed)")
PLACE = re.compile(r"(?:^|[\s(])((?:[\w.-]+/)*[\w.-]+\.\w{1,5})[:(](\d+)")
EXTERNAL_PATH = re.compile(r"^(?:/|<|\.\.|node_modules|site-packages)")
NETWORK = re.compile(r"timed out|connection|ECONN|rate limit|50[234]\b|canceled|lost communication", re.IGNORECASE)
CHORE = re.compile(r"^(?:release|merge|bump|update|upgrade)\b", re.IGNORECASE)
NUMBER_BEHIND = re.compile(r"\s*\(?#\d+\)?$")
STEM = re.compile(r"\b[a-z]{4}")
MAX_PLACES = 3
MAX_HIGHLIGHTS = 3


# --- workflows -------------------------------------------------------------------------------------------------------


def quote(reading: Reading) -> str:
    """Return the first log line with an error, or "". Skips lines that name no cause, such as "exit code 1"."""
    return next((line for line in reading.log or () if ERROR.search(line) and not NO_CAUSE.search(line)), "")


def cause(reading: Reading) -> str:
    line = quote(reading)
    if not line:
        return ""
    error = re.sub(r"^(?:E\s+|##\[error\])", "", line).strip()
    if error.startswith("AssertionError"):
        return f"A test expects something else: `{error}`."
    if re.match(r"[A-Z]{1,5}\d{3,4}\s", error):
        rule, _, message = error.partition(" ")
        return f"The check `{rule}` objects: {message.strip()}."
    return f"It ends with an error: `{error}`."


def places(reading: Reading) -> list[dict[str, Any]]:
    """Return items for the reply's field `where`: the files that the log names, nearest to the error first.

    If the log names a test file such as test_app.py, the changed file app.py follows.
    """
    found = list(_places_near_the_error(reading).items())[:MAX_PLACES]
    tests = {re.sub(r"^test_|_test$", "", _stem(path)) for path, _ in found}
    paths = {path for path, _ in found}
    changed = [path for path in reading.changed if _stem(path) in tests and path not in paths]
    named = [_place(path, line, "The log names this line.") for path, line in found]
    return [*named, *(_place(path, None, "Changed here, and by its name what is tested.") for path in changed)][
        :MAX_PLACES
    ]


def _place(path: str, line: int | None, why: str) -> dict[str, Any]:
    return {"path": path, "line": line, "why": why}


def _places_near_the_error(reading: Reading) -> dict[str, int]:
    log, error = reading.log or (), quote(reading)
    middle = log.index(error) if error else 0
    found: dict[str, int] = {}
    for place in sorted(range(len(log)), key=lambda place: abs(place - middle)) if error else ():
        for path, number in PLACE.findall(log[place]):
            if not EXTERNAL_PATH.match(path):
                found.setdefault(path, int(number))
    return found


def _stem(path: str) -> str:
    return path.rpartition("/")[2].partition(".")[0]


def advice(reading: Reading) -> str:
    if NETWORK.search(quote(reading)):
        return "Running it again may be enough."
    first = next(iter(places(reading)), None)
    return f"Begin at `{first['path']}`, line {first['line']}." if first and first["line"] else ""


# --- releases --------------------------------------------------------------------------------------------------------


def subjects(reading: Reading) -> list[str]:
    """Return the commit subjects without chores ("bump ..."). If there are none, return items of the release notes."""
    lines = [message.strip().split("\n")[0] for message in reading.commits or ()]
    found = [NUMBER_BEHIND.sub("", line) for line in lines if line and not CHORE.match(line)]
    points = re.findall(r"^[*-] (.+?)(?: by @\S+(?: in \S+)?)?\s*$", reading.body, re.MULTILINE)
    return sorted(dict.fromkeys(found or points), key=_weight)


def _weight(subject: str) -> int:
    first = subject.partition(" ")[0].lower()
    if "typo" in subject or first in {"say", "document", "test"}:
        return 3
    return 0 if first in {"add", "allow", "let", "show", "support"} else 1 if first in {"fix", "keep", "mend"} else 2


def headline(reading: Reading) -> str:
    return next(iter(subjects(reading)), "")


def announcement(reading: Reading) -> str:
    bodies = [" ".join(part.split()) for message in reading.commits or () for part in message.strip().split("\n\n")[1:]]
    notes = [body for body in bodies if re.search(r"\b(?:before you|gone|must|new:|migrat)", body)]
    points = "\n".join(f"- {subject}" for subject in subjects(reading))
    return "\n\n".join(["What is new:", points, *notes]) if points else ""


def highlights(reading: Reading) -> list[str]:
    return subjects(reading)[:MAX_HIGHLIGHTS]


# --- comments --------------------------------------------------------------------------------------------------------


def reply(reading: Reading) -> str:
    """Return instructions if the comment asks how to start. If not, quote a sentence of the conversation.

    The quoted sentence shares the most words with the comment. If no sentence shares two, return "". Words are compared
    by their first four letters.
    """
    if reading.wants_to_start:
        files = re.findall(r"[\w/.-]+\.(?:py|js|ts|go|rb|sql|md)\b", reading.conversation_text)
        place = f"`{files[0]}`" if files else "the place that the conversation describes"
        return (
            f"What is to be done: {reading.title}.\n\n"
            "1. Set the development environment up as the contributing guide says.\n"
            f"2. Write a test that shows the fault; the place to begin is {place}.\n"
            "3. Change the code until the test passes, and open a pull request."
        )
    asked = set(STEM.findall(reading.comment.lower()))
    sentences = [
        " ".join(part.split()) for part in re.split(r"(?<=[.!?])\s+|\n\n", reading.conversation_text) if part.strip()
    ]
    scored = [(len(asked & set(STEM.findall(sentence.lower()))), sentence) for sentence in sentences]
    most, best = max(scored, key=lambda pair: pair[0], default=(0, ""))
    return f"The conversation says: \u201c{best}\u201d" if most >= 2 else ""


# --- any other event -------------------------------------------------------------------------------------------------


def first_lines(reading: Reading) -> list[str]:
    """Return the first line of each untrusted text of the event, without duplicates."""
    return list(dict.fromkeys(text.strip().split("\n")[0] for text in reading.texts if text.strip()))


def event_summary(reading: Reading) -> str:
    lines = first_lines(reading)
    return f"{reading.event}: {lines[0]}" if lines else f"{reading.event} happened."


def event_details(reading: Reading) -> str:
    return "\n".join(f"- {line}" for line in first_lines(reading)[1:])
