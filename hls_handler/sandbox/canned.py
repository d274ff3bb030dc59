"""Canned replies of the stand-in Claude: deterministic values for a JSON schema, chosen by keywords
in the prompt.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from hls_handler.sandbox import canned_events
from hls_handler.sandbox.canned_findings import find_all, give_verdicts
from hls_handler.sandbox.derived import load_canned
from hls_handler.sandbox.reading import Reading
from hls_handler.wording import count

SENTENCE = re.compile(r"[^.?!\n]+(?:[.?!](?=\s|$)|(?=\n|$)|[.?!])+")
ASKS = re.compile(
    r"\?\s*$|\b(please|should|must|needs? to|could|nit|why not|instead)\b", re.IGNORECASE
)
OPTIONAL = re.compile(r"\b(nit|minor|optional|could|maybe|taste)\b", re.IGNORECASE)

GREETING = re.compile(r"(hi|hello|hey|dear|thanks?)\b", re.IGNORECASE)
MAX_LENGTH = re.compile(r"maxLength: (\d+)")
MAX_ITEMS = re.compile(r"maxItems: (\d+)")


def canned_reply(schema: Mapping[str, Any], reading: Reading) -> Any:
    """Return a reply that is valid against the JSON schema and fits the prompt's texts in
    `reading`.
    """
    return _fill(schema, "", reading, schema)


def _fill(node: Mapping[str, Any], name: str, reading: Reading, root: Mapping[str, Any]) -> Any:
    if "$ref" in node:
        definitions: Mapping[str, Any] = root["$defs"]
        return _fill(definitions[node["$ref"].removeprefix("#/$defs/")], name, reading, root)
    if "const" in node:
        return node["const"]
    if "enum" in node:
        return _choose(node["enum"], name, reading)
    if "anyOf" in node:
        return _fill(_alternative(node["anyOf"]), name, reading, root)
    kind = node.get("type")
    if kind == "object":
        return {
            key: _fill(part, key, reading, root) for key, part in node.get("properties", {}).items()
        }
    if kind == "array":
        return _list(node, name, reading, root)
    if kind == "string":
        return _truncated(_text(name, node, reading), node)
    plain: dict[str | None, Any] = {
        "integer": 1,
        "number": 0.5,
        "boolean": _claim(name, reading),
        "null": None,
    }
    return plain[kind]


def _alternative(parts: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
    return next((part for part in parts if part.get("type") != "null"), parts[0])


def _choose(values: Sequence[Any], name: str, reading: Reading) -> Any:
    known: Mapping[str, Sequence[str]] = load_canned()["words"].get(name, {})
    scores = {
        value: sum(word in reading.words for word in known[value])
        for value in known
        if value in values
    }
    if name == "kind" and reading.title.rstrip().endswith("?") and "question" in values:
        return "question"
    named = _named([value for value in values if value not in scores], reading)
    if scores and (any(scores.values()) or not named):
        best = max(scores.values())
        return (
            next(value for value, score in scores.items() if score == best)
            if best
            else list(scores)[-1]
        )
    neutral = [value for value in values if value in {"none", "unknown", "other", None}]
    return (named or neutral or values)[0]


def _named(values: Sequence[Any], reading: Reading) -> list[Any]:
    return [value for value in values if isinstance(value, str) and value.lower() in reading.words]


def _list(
    node: Mapping[str, Any], name: str, reading: Reading, root: Mapping[str, Any]
) -> list[Any]:
    known: Mapping[str, Callable[[], list[Any]]] = {
        "missing": lambda: _questions_to_author(reading),
        "findings": lambda: find_all(reading.patches),
        "earlier": lambda: give_verdicts(reading),
        "requests": lambda: _requests(reading),
        "where": lambda: canned_events.places(reading),
        "file_summaries": lambda: _file_summaries(reading),
        "highlights": lambda: canned_events.highlights(reading),
    }
    most = MAX_ITEMS.search(str(node.get("description", "")))
    made = _named(node["items"].get("enum", ()), reading)
    if name in known:
        made = known[name]()
        if made and isinstance(made[0], str) != (node["items"].get("type") == "string"):
            made = []  # a prompt of the user declares a list of this name with other items
    if not made and node.get("minItems"):
        made = [_fill(node["items"], name, reading, root)]
    return made[: int(most[1])] if most else made


def _file_summaries(reading: Reading) -> list[dict[str, Any]]:
    sentence = "It adds {} and removes {}."
    return [
        {
            "path": one.path,
            "summary": sentence.format(count(len(one.added), "line"), len(one.removed)),
        }
        for one in reading.patches
    ]


def _requests(reading: Reading) -> list[dict[str, Any]]:
    asked = [(note, sentence) for note in reading.notes for sentence in SENTENCE.findall(note.text)]
    return [
        {
            "comment": note.comment,
            "quote": sentence.strip(),
            "todo": sentence.strip(),
            "blocking": not (sentence.rstrip().endswith("?") or OPTIONAL.search(sentence)),
        }
        for note, sentence in asked
        if ASKS.search(sentence)
    ]


def _claim(name: str, reading: Reading) -> bool:
    if name == "certain":
        return reading.wants_to_start
    return _is_worth_saying(reading) if name == "worth_saying" else True


def _is_worth_saying(reading: Reading) -> bool:
    if reading.log is not None:
        return bool(canned_events.quote(reading))
    if reading.commits is not None:
        return bool(canned_events.subjects(reading))
    if reading.comment:
        return bool(canned_events.reply(reading))
    if reading.event:
        return bool(reading.texts)
    if reading.patches:
        return bool(find_all(reading.patches))
    return len(reading.words.split()) >= 4


# --- texts
# -----------------------------------------------------------------------------


def _text(name: str, node: Mapping[str, Any], reading: Reading) -> str:
    known: Mapping[str, Callable[[Reading], str]] = {
        "summary": _summary,
        "recommended_response": _response,
        "answer": _answer,
        "suggested_title": lambda reading: f"fix: {reading.title}",
        **_texts_of_other_events(reading),
    }
    is_empty = "empty" in str(node.get("description", "")).lower()
    return known[name](reading) if name in known else "" if is_empty else reading.title


def _texts_of_other_events(reading: Reading) -> Mapping[str, Callable[[Reading], str]]:
    if reading.log is not None:
        return {
            "cause": canned_events.cause,
            "quote": canned_events.quote,
            "advice": canned_events.advice,
        }
    if reading.commits is not None:
        return {"headline": canned_events.headline, "announcement": canned_events.announcement}
    return {"details": canned_events.event_details} if reading.event else {}


def _truncated(text: str, node: Mapping[str, Any]) -> str:
    longest = MAX_LENGTH.search(str(node.get("description", "")))
    return text[: int(longest[1])] if longest else text


def _summary(reading: Reading) -> str:
    if reading.event:
        return canned_events.event_summary(reading)
    if reading.notes:
        asked = _requests(reading)
        needed = sum(bool(request["blocking"]) for request in asked)
        return f"Asked for: {len(asked)}, of which {needed} must be done." if asked else ""
    if reading.patches:
        added = sum(len(p.added) for p in reading.patches)
        removed = sum(len(p.removed) for p in reading.patches)
        files = list(dict.fromkeys(f"`{patch.path}`" for patch in reading.patches))
        paths = ", ".join(files[:3])
        more = f" and {len(files) - 3} more" if len(files) > 3 else ""
        lead = _first_sentence(reading.body) or reading.title
        return f"{lead} It adds {count(added, 'line')} and removes {removed}, in {paths}{more}."
    sentence = _first_sentence(reading.body)
    end = "" if reading.title.rstrip().endswith(("?", "!", ".")) else "."
    return f"{reading.title.rstrip()}{end} {sentence}" if sentence else reading.title


def _first_sentence(text: str) -> str:
    paragraphs = [
        " ".join(part.split())
        for part in text.split("\n\n")
        if re.match(r"[A-Za-z\"'(]", part.strip())
    ]
    plain = next(
        (part for part in paragraphs if not GREETING.match(part)),
        paragraphs[0] if paragraphs else "",
    )
    return (re.match(r".*?[.!?](?=\s|$)", plain) or [plain])[0]


def _kinds() -> list[str]:
    return list(load_canned()["words"]["kind"])


def _questions_to_author(reading: Reading) -> list[str]:
    if _choose(_kinds(), "kind", reading) != "bug":
        return []
    wanted = (
        (r"version|\d+\.\d+\.\d+", "Which version do you use?"),
        (r"steps|reproduce|^\s*1\.", "Which steps lead to it, starting from a fresh installation?"),
        (r"```|traceback|log", "What does the log say at that moment?"),
        (r"expect", "What did you expect to happen instead?"),
    )
    known = "\n".join((reading.words, *reading.before)).lower()
    return [request for pattern, request in wanted if not re.search(pattern, known, re.MULTILINE)]


def _response(reading: Reading) -> str:
    kind = _choose(_kinds(), "kind", reading)
    place = re.search(r"[\w/.-]+\.(?:py|js|ts|go|rb|sql|md)\b", reading.body)
    try_alone = (
        f"You can narrow it down: try `{place[0]}` alone, and see whether it fails there."
        if place
        else ""
    )
    propose = (
        "You can propose the new text yourself: open the file on GitHub and choose the pencil"
        " above it."
    )
    known = {"bug": try_alone, "question": _answer(reading), "documentation": propose}
    return known.get(kind) or str(load_canned()["responses"].get(kind, ""))


def _answer(reading: Reading) -> str:
    if reading.comment:
        return canned_events.reply(reading)
    names = list(dict.fromkeys(re.findall(r"`([^`\n]{3,60})`", reading.body)))[:3]
    if not names:
        return ""
    shown = ", ".join(f"`{name}`" for name in names)
    return (
        f"What you can try first: {shown}. Whether it is supported here is for the maintainers to"
        " say."
    )
