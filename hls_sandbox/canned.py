"""Canned replies of the stand-in Claude, from `canned.yaml`: values of the fields that a prompt's
text chooses, and findings in its changed lines. All other values are neutral.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hls_handler.review.patches import Line, parse_numbered
from hls_sandbox.derived import load_canned

UNTRUSTED = re.compile(r"<untrusted ([0-9A-Za-z]+)>(.*?)</untrusted \1>", re.DOTALL)
TAG = re.compile(r"</?untrusted [0-9A-Za-z]+>")
FILE = re.compile(r"\n(.+?) \((?:added|removed|modified|renamed|copied|changed|unchanged)\b.*\n@@")
"""Begins the block with the patch of a file."""
EARLIER = re.compile(
    r"^Finding (\d+), <untrusted (\w+)>(.*?)</untrusted \2>"
    r".*?^It was about this line: <untrusted \2>(.*?)</untrusted \2>",
    re.MULTILINE | re.DOTALL,
)
LIMIT = re.compile(r"max(?:Length|Items): (\d+)")
SEVERITIES = ("critical", "high", "medium", "low")
PATTERN_KEYS = ("severity", "category", "confidence", "title", "body")
TYPES = {"string": str, "array": list, "boolean": bool}
NEUTRAL: Mapping[str, Any] = {"integer": 1, "number": 0.5, "boolean": True, "null": None}


@dataclass(frozen=True, slots=True)
class Subject:
    """What a prompt asks about."""

    title: str
    words: str  # title and body in lower case


def canned_reply(schema: Mapping[str, Any], prompt: str) -> Any:
    """Return a reply that is valid against the JSON schema of an object."""
    values = _find_values(prompt)
    subject = _read_subject(prompt)
    definitions = schema.get("$defs", {})
    reply = {}
    for name, node in schema["properties"].items():
        value = values.get(name)
        if not _fits(value, node):
            value = _generate(node, name, subject, definitions)
        limit = LIMIT.search(str(node.get("description", "")))
        if limit is not None and isinstance(value, str | list):
            value = value[: int(limit[1])]
        reply[name] = value
    return reply


def _find_values(prompt: str) -> dict[str, Any]:
    """Return the fields of the first stored reply that fits, and the findings."""
    text = TAG.sub("", prompt)
    values: dict[str, Any] = {}
    for reply in load_canned()["replies"]:
        match = re.search(reply["when"], text, re.MULTILINE)
        if match is not None:
            values = _expand(reply["fields"], match)
            break
    lines = {line.text.strip(): line for line in _parse_lines(prompt)}
    earlier = [_give_verdict(finding, lines) for finding in EARLIER.finditer(prompt)]
    return {**values, "findings": _find_all(prompt), "earlier": earlier}


def _expand(value: Any, match: re.Match[str]) -> Any:
    """Replace "\\1" in all texts by the group of the match."""
    if isinstance(value, str):
        return match.expand(value)
    if isinstance(value, list):
        return [_expand(part, match) for part in value]
    if isinstance(value, dict):
        return {key: _expand(part, match) for key, part in value.items()}
    return value


def _read_subject(prompt: str) -> Subject:
    start = prompt.find("\nTitle:\n")
    texts = [match[2].strip() for match in UNTRUSTED.finditer(prompt, max(start, 0))]
    if start < 0:
        return Subject(load_canned()["text"], "\n".join(texts).lower())
    return Subject(texts[0], "\n".join(texts[:2]).lower())


def _fits(value: object, node: Mapping[str, Any]) -> bool:
    """Return False also if a prompt of the user declares a list of other items."""
    if not isinstance(value, TYPES.get(node.get("type", ""), ())):
        return value in node.get("enum", ())
    if not isinstance(value, list) or not value:
        return True
    has_texts: bool = node["items"].get("type") == "string"
    return isinstance(value[0], str) == has_texts


def _generate(
    node: Mapping[str, Any], name: str, subject: Subject, definitions: Mapping[str, Any]
) -> Any:
    if "$ref" in node:
        node = definitions[node["$ref"].removeprefix("#/$defs/")]
    if "anyOf" in node:
        return None
    if "const" in node:
        return node["const"]
    if "enum" in node:
        return _choose(node["enum"], name, subject)
    if node["type"] == "object":
        parts = node.get("properties", {}).items()
        return {key: _generate(part, key, subject, definitions) for key, part in parts}
    if node["type"] == "array":
        named = _list_named(node["items"].get("enum", ()), subject)
        if node.get("minItems") and not named:
            return [_generate(node["items"], name, subject, definitions)]
        return named
    if node["type"] == "string":
        may_be_empty = "empty" in str(node.get("description", "")).lower()
        return "" if may_be_empty else subject.title
    return NEUTRAL[node["type"]]


def _choose(values: Sequence[Any], name: str, subject: Subject) -> Any:
    """Return the value with the most words in the subject, else one that it names."""
    words: Mapping[str, Sequence[str]] = load_canned()["words"].get(name, {})
    scores = {
        value: sum(word in subject.words for word in words[value])
        for value in words
        if value in values
    }
    best = max(scores, key=lambda value: scores[value], default=None)
    if best is not None and scores[best]:
        return best
    others = [value for value in values if value not in scores]
    named = _list_named(others, subject)
    neutral = [value for value in values if value in {"none", "unknown", "other", None}]
    return [*named, *reversed(scores), *neutral, *values][0]


def _list_named(values: Sequence[Any], subject: Subject) -> list[Any]:
    return [value for value in values if isinstance(value, str) and value.lower() in subject.words]


# --- findings of a review
# -----------------------------------------------------------------------------


def _find_all(prompt: str) -> list[dict[str, Any]]:
    """Return findings as JSON values of `analysis.Finding`, the gravest first."""
    findings: list[dict[str, Any]] = []
    for block in UNTRUSTED.finditer(prompt):
        file = FILE.match(block[2])
        if file is not None:
            changed = [line for line in _parse_lines(block[2]) if line.mark != " "]
            findings += _find_in_file(file[1], changed)
    return sorted(findings, key=lambda finding: SEVERITIES.index(finding["severity"]))


def _parse_lines(text: str) -> list[Line]:
    return [line for hunk in parse_numbered(text).hunks for line in hunk.lines]


def _find_in_file(path: str, changed: Sequence[Line]) -> Iterator[dict[str, Any]]:
    """Yield at most one finding for each pattern."""
    for pattern in load_canned()["findings"]:
        side = pattern.get("side", "RIGHT")
        on_side = (line for line in changed if line.side == side)
        line = next((line for line in on_side if re.search(pattern["regex"], line.text)), None)
        if line is None:
            continue
        suggestion = None
        if "repair" in pattern:
            regex, replacement = pattern["repair"]
            suggestion = re.sub(regex, replacement, line.text)
        yield {
            **{key: pattern[key] for key in PATTERN_KEYS},
            "path": path,
            "side": side,
            "start_line": None,
            "line": line.number,
            "quote": line.text,
            "suggestion": suggestion,
            "continues": None,
            "rests_on": [],
            "look_up": [],
        }


def _give_verdict(finding: re.Match[str], lines: Mapping[str, Line]) -> dict[str, Any]:
    """Return "present" if the prompt shows the line of the earlier finding, else "gone"."""
    verdict: dict[str, Any] = {
        "number": int(finding[1]),
        "path": None,
        "line": None,
        "quote": "",
        "verdict": "gone",
        "severity": None,
    }
    line = lines.get(finding[4].strip())
    if line is None:
        return verdict
    shown = {"path": finding[3], "line": line.number, "quote": line.text, "verdict": "present"}
    return {**verdict, **shown}
