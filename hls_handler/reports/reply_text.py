"""Describes Claude's replies in one sentence each, for `hls why` and `hls deliveries show`."""

from __future__ import annotations

from pydantic import BaseModel

from hls_handler.analysis import Reply

MAX_CHARACTERS = 300  # of one text of a reply; `hls deliveries show` has the whole comment
MAX_MEMBERS = 3
"""Lists of objects with more members, such as findings, are shown by their length."""


def describe_reply(answered: Reply) -> str:
    """Return a sentence with the fields that are not empty: "kind: bug; missing: The version, The
    log.".
    """
    fields = [
        (name, value) for name, value in answered.fields if (name, value) != ("worth_saying", True)
    ]
    parts = [
        f"{name}: {describe_text(_format(value))}"
        for name, value in fields
        if value not in (None, "", [], ())
    ]
    parts += map(describe_text, answered.lost.values())
    sentence = "; ".join(part.rstrip(".") for part in parts) or "nothing"
    if sentence.endswith(("?", "!", "…")):
        return sentence
    return f"{sentence}."


def _format(value: object) -> str:
    match value:
        case bool():
            return str(value).lower()
        case float():
            return f"{value:g}"
        case BaseModel():
            return _format(dict(value))
        case dict() if all(isinstance(part, int | float) for part in value.values()):
            return ", ".join(f"{name} {_format(part)}" for name, part in value.items())
        case dict():
            return " ".join(_format(part) for part in value.values() if part is not None)
        case list() | tuple():
            for member in value:
                if isinstance(member, BaseModel | dict) and len(dict(member)) > MAX_MEMBERS:
                    return str(len(value))
            return ", ".join(map(_format, value))
        case _:
            return str(value)


def describe_text(text: str) -> str:
    """Return the text as one line of at most `MAX_CHARACTERS`."""
    line = " ".join(text.split())
    if len(line) <= MAX_CHARACTERS:
        return line
    return f"{line[: MAX_CHARACTERS - 1]}…"
