"""Sentences for pydantic's errors: found and expected value, nearest key; secrets are never shown."""

from __future__ import annotations

import difflib
import json
from collections.abc import Mapping, Sequence

from pydantic import ValidationError

from hls_handler.settings.reference import Reference

Step = str | int


def explain(error: ValidationError, root: object, variables: Mapping[str, str], reference: Reference) -> dict[str, str]:
    """Sentence for each key path: {"limits.concurrency": 'found "many", expected a whole number from 1 to 200'}.

    `root` is the tree that was validated; `variables` maps the key paths of expanded values to their variables.
    """
    format_report: dict[str, str] = {}
    for found in error.errors(include_url=False, include_input=False):
        path, value = _locate(root, found["loc"], found["type"])
        if found["type"] == "extra_forbidden":
            name = str(found["loc"][-1])
            format_report[path] = unknown_key(_section_of(path, name), name, reference)
        elif found["type"] == "missing":
            format_report[path] = f"is missing; expected {_describe_expected(path, reference)}"
        else:
            format_report[path] = _describe_wrong_value(path, value, variables, reference)
    return {path: text for path, text in format_report.items() if not _is_parent(path, format_report)}


def _locate(root: object, steps: Sequence[Step], kind: str) -> tuple[str, object]:
    """Key path of an error and the value there, without the union members that pydantic adds to the steps."""
    path, value = "", root
    for position, step in enumerate(steps):
        missing_here = kind == "missing" and position == len(steps) - 1
        if missing_here or (isinstance(value, dict) and step in value):
            path = f"{path}.{step}" if path else str(step)
            value = value.get(step) if isinstance(value, dict) else None
        elif isinstance(value, list) and isinstance(step, int) and step < len(value):
            path, value = f"{path}[{step}]", value[step]
    return path, value


def _is_parent(path: str, others: Mapping[str, str]) -> bool:
    """Return True if another path is below this one: `webhook_secret[1]` is more precise than `webhook_secret`."""
    return any(other != path and other.startswith((f"{path}.", f"{path}[")) for other in others)


def _describe_expected(path: str, reference: Reference) -> str:
    key = reference.find(path)
    return key.expected if key else "something else"


def _describe_wrong_value(path: str, value: object, variables: Mapping[str, str], reference: Reference) -> str:
    expected = _describe_expected(path, reference)
    if value is None:
        return f"has no value, expected {expected}; remove the key to take the default"
    quotes = (
        "; put the value in quotes" if expected.startswith("text") and isinstance(value, bool | int | float) else ""
    )
    return f"found {_describe_found(path, value, variables, reference)}, expected {expected}{quotes}"


def _describe_found(path: str, value: object, variables: Mapping[str, str], reference: Reference) -> str:
    """A value for an error message; in full only if it is a literal value in the file, of a key that is not secret."""
    key = reference.find(path)
    if isinstance(value, dict | list):
        kind = "map" if isinstance(value, dict) else "list"
        return f"a {kind}" if value else f"an empty {kind}"
    if path in variables:
        return f"the value of the variable {variables[path]}"
    if key is None or key.secret or key.kind == "section":
        return "text" if isinstance(value, str) else "a value of another kind"
    written = json.dumps(value, ensure_ascii=False)
    return written if len(written) <= 60 else f"{written[:57]}..."


def _section_of(path: str, name: str) -> str:
    """Section of the key `name`, which may itself contain dots and is therefore cut off by length."""
    return path[: -len(name)].rstrip(".")


def unknown_key(section: str, name: str, reference: Reference) -> str:
    """Sentence such as "unknown key; did you mean server.port?". Keys of the same section are preferred."""
    if reference.find(name) and "." in name:
        return f"unknown key; write it as {name.rpartition('.')[2]} inside the section {name.rpartition('.')[0]}"
    siblings = {known: f"{section}.{known}" if section else known for known in reference.names_in(section)}
    elsewhere = [key.path.rpartition(".")[0] for key in reference.keys if key.path.rpartition(".")[2] == name]
    if elsewhere:
        return f"unknown key; {name} belongs under {' or '.join(elsewhere)}"
    everywhere = {row.path.rpartition(".")[2]: row.path for row in reversed(reference.rows)} | siblings
    near = difflib.get_close_matches(name, everywhere, n=1, cutoff=0.6)
    if near:
        return f"unknown key; did you mean {everywhere[near[0]]}?"
    return f"unknown key; {section or 'the file'} has {', '.join(siblings)}"
