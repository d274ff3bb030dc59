"""The settings file as a JSON Schema, for editors: made from the model, with what the file may say besides.

A file has `${VAR}` where the model has the number that it becomes, and sections without a key, which are null in YAML.
https://json-schema.org/draft/2020-12
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from hls_handler.settings.expand import VARIABLE
from hls_handler.settings.github_events import ACTIONS, FREELY_NAMED
from hls_handler.settings.model import Settings
from hls_handler.settings.repository import PATH, RepositoryFile

Schema = dict[str, Any]

DIALECT = "https://json-schema.org/draft/2020-12/schema"
FILLED_IN: Schema = {"$ref": "#/$defs/Variable"}
EVENT: Schema = {"$ref": "#/$defs/Event"}
_ABOUT = ("description", "default", "examples")
_NARROW = ("integer", "number", "boolean")


def schema_text() -> str:
    """The schema as JSON, without a line break at its end."""
    return json.dumps(settings_schema(), indent=2)


def settings_schema() -> Schema:
    made = _for_a_file(Settings.model_json_schema())
    definitions = made.pop("$defs")
    definitions["Variable"] = {
        "description": "filled in from the environment, else from .env",
        "type": "string",
        "pattern": VARIABLE.pattern,
    }
    definitions["Event"] = _event()
    definitions["Repository"]["properties"]["events"]["items"] = {"anyOf": [EVENT, FILLED_IN]}
    for prompts in ("Prompts", "RepositoryPrompts"):  # keys are not filled in
        definitions[prompts]["properties"]["use"]["propertyNames"] = EVENT
    definitions["RepositoryComments"]["properties"]["post_to"]["propertyNames"] = EVENT
    about = {"$schema": DIALECT, "title": "HLS's settings", "description": "config/settings.yaml"}
    return {**about, **{key: part for key, part in made.items() if key not in about}, "$defs": definitions}


def repository_schema_text() -> str:
    """The schema of a repository's own file as JSON, without a line break at its end."""
    return json.dumps(repository_schema(), indent=2)


def repository_schema() -> Schema:
    """Of `.github/hls.yaml`, in which nothing is filled in."""
    made = _for_a_file(RepositoryFile.model_json_schema(), variables=False)
    definitions = made.pop("$defs")
    definitions["Event"] = _event()
    definitions["OwnPrompts"]["properties"]["use"]["propertyNames"] = EVENT
    about = {"$schema": DIALECT, "title": "A repository's settings of HLS", "description": PATH}
    return {**about, **{key: part for key, part in made.items() if key not in about}, "$defs": definitions}


def _event() -> Schema:
    keys = [key for name, actions in ACTIONS.items() for key in (name, *(f"{name}.{a}" for a in actions.split()))]
    free = [{"type": "string", "pattern": rf"^{name}\."} for name in sorted(FREELY_NAMED)]
    return {"description": "an event of GitHub's, with or without action", "anyOf": [{"enum": keys}, *free]}


def _for_a_file(node: Mapping[str, Any], *, variables: bool = True) -> Schema:
    """The schema of a value as that of what a file may have in its place; with `variables`, also one of those."""
    found: Schema = {key: part for key, part in node.items() if key != "title" and (key, part) != ("default", None)}
    for key in ("properties", "$defs"):
        if key in found:
            found[key] = {name: _for_a_file(part, variables=variables) for name, part in found[key].items()}
    for key in ("items", "additionalProperties"):
        if isinstance(found.get(key), dict):
            found[key] = _for_a_file(found[key], variables=variables)
    if found.get("type") == "object" and "properties" in found and "required" not in found:
        found["type"] = ["object", "null"]  # its keys may all be commented out
    if not variables:
        return found
    if "anyOf" in found:
        return {**found, "anyOf": _with_variable(found["anyOf"])}
    if not _refuses_variables(found):
        return found
    about = {key: found.pop(key) for key in _ABOUT if key in found}
    return {**about, "anyOf": [found, FILLED_IN]}


def _with_variable(members: list[Schema]) -> list[Schema]:
    """The members of a union, each for a file, and the variable once if any of them needs it."""
    refusing = [member for member in members if _refuses_variables(member)]
    kept = [member if member in refusing else _for_a_file(member) for member in members]
    takes_any_text = any(member.get("type") == "string" for member in members if member not in refusing)
    return [*kept, FILLED_IN] if refusing and not takes_any_text else kept


def _refuses_variables(node: Mapping[str, Any]) -> bool:
    """Whether this is one value that no text, or not every text, can stand for."""
    return node.get("type") in _NARROW or bool(node.keys() & {"enum", "const", "pattern"})
