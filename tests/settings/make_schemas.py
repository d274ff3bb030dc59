"""Write the JSON Schemas of the settings file and of `.github/hls.yaml`, for editors:
`python -m tests.settings.make_schemas`.

Both accept null for a section or map, because all its keys may be commented out. The schema of the
settings file also accepts `${VAR}` instead of a value. https://json-schema.org/draft/2020-12
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from hls_handler.settings.github_events import ACTIONS, CUSTOM_ACTION_EVENTS
from hls_handler.settings.model import Settings
from hls_handler.settings.reference import Schema
from hls_handler.settings.repository import PATH, REPOSITORY_FILE
from hls_handler.settings.values import EXPECTED
from hls_handler.settings.yaml_parser import VARIABLE

DIALECT = "https://json-schema.org/draft/2020-12/schema"
VARIABLE_REF: Schema = {"$ref": "#/$defs/Variable"}
EVENT_REF: Schema = {"$ref": "#/$defs/Event"}
_ANNOTATIONS = ("description", "default", "examples")
_NON_STRING_TYPES = ("integer", "number", "boolean")


def render_schemas() -> dict[Path, str]:
    """Return the text of each file in `config/`."""
    schemas = {"settings": settings_schema(), "repository": repository_schema()}
    return {
        Path(f"config/{name}.schema.json"): f"{json.dumps(schema, indent=2)}\n"
        for name, schema in schemas.items()
    }


def settings_schema() -> Schema:
    schema = _describe(Settings, "Settings of HLS", "config/settings.yaml")
    schema["patternProperties"] = {"^x-": {"description": "ignored; a place for YAML anchors"}}
    definitions = schema["$defs"]
    definitions["RepositoryEntry"]["properties"]["events"]["items"] = {
        "anyOf": [EVENT_REF, VARIABLE_REF]
    }
    for section, key in (
        ("Prompts", "use"),
        ("RepositoryPrompts", "use"),
        ("RepositoryComments", "post_to"),
    ):
        definitions[section]["properties"][key]["propertyNames"] = (
            EVENT_REF  # keys are not expanded
        )
    return schema


def repository_schema() -> Schema:
    schema = _describe(REPOSITORY_FILE, "Repository settings of HLS", PATH, variables=False)
    schema["$defs"]["prompts"]["properties"]["use"]["propertyNames"] = EVENT_REF
    return schema


def _describe(model: type[BaseModel], title: str, file: str, *, variables: bool = True) -> Schema:
    schema: Schema = _extend_for_file(model.model_json_schema(), variables=variables)
    definitions = schema.pop("$defs")
    schema.pop("description", None)  # the docstring of the model
    if variables:
        for name, section in definitions.items():
            _add_secret_files(section, also=("url",) if name == "StorageSettings" else ())
        definitions["Variable"] = {
            "description": "expanded from the environment, else from .env",
            "type": "string",
            "pattern": VARIABLE.pattern,
        }
    definitions["Event"] = _event_schema()
    return {"$schema": DIALECT, "title": title, "description": file, **schema, "$defs": definitions}


def _add_secret_files(section: Schema, also: tuple[str, ...]) -> None:
    """Let each secret of a section, such as `api_key`, and the keys `also` be replaced by
    `api_key_path`.
    """
    properties = section.get("properties", {})
    keys = {
        name: json.dumps(field)
        for name, field in properties.items()
        if "patternProperties" not in field
    }
    for name in [name for name, field in keys.items() if name in also or '"password"' in field]:
        path = f"{name}_path"
        if path in properties:
            continue
        properties[path] = {"type": "string", "description": f"file with {name}; in place of it"}
        either = {"oneOf": [{"required": [name]}, {"required": [path]}]}
        if name in section.get("required", ()):
            section["required"].remove(name)
            section.setdefault("allOf", []).append(either)
        alternatives = section.get("oneOf", [])
        if {"required": [name]} in alternatives:
            alternatives[alternatives.index({"required": [name]})] = either


def _event_schema() -> Schema:
    keys = [
        key
        for name, actions in ACTIONS.items()
        for key in (name, *(f"{name}.{a}" for a in actions.split()))
    ]
    free = [{"type": "string", "pattern": rf"^{name}\."} for name in sorted(CUSTOM_ACTION_EVENTS)]
    return {
        "description": "a GitHub event, with or without action",
        "anyOf": [{"enum": keys}, *free],
    }


def _extend_for_file(node: Any, *, variables: bool) -> Any:
    if isinstance(node, list):
        return [_extend_for_file(part, variables=variables) for part in node]
    if not isinstance(node, dict):
        return node
    extended: Schema = {}
    for key, part in node.items():
        if key in ("properties", "$defs"):
            extended[key] = {
                name: _extend_for_file(one, variables=variables) for name, one in part.items()
            }
        elif key == "default" and (part is None or isinstance(part, dict)):
            continue
        elif key not in ("title", EXPECTED):
            extended[key] = _extend_for_file(part, variables=variables)
    if {"type": "null"} in extended.get("anyOf", ()):  # a key without a value is a mistake
        extended["anyOf"].remove({"type": "null"})
    if extended.get("type") == "object" and "required" not in extended:
        extended["type"] = ["object", "null"]  # all its keys may be commented out
    rejects_variables = extended.get("type") in _NON_STRING_TYPES or bool(
        extended.keys() & {"enum", "const", "pattern"}
    )
    if not variables or not rejects_variables:
        return extended
    annotations = {key: extended.pop(key) for key in _ANNOTATIONS if key in extended}
    return {**annotations, "anyOf": [extended, VARIABLE_REF]}


if __name__ == "__main__":
    for file, text in render_schemas().items():
        file.write_text(text, encoding="utf-8")
