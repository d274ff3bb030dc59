"""Table of all keys of a settings file, and sentences about invalid values. No sentence contains a
secret.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

from pydantic import BaseModel, ValidationError

from hls_handler.settings.model import Settings
from hls_handler.settings.problems import Kind, Sentence
from hls_handler.settings.values import CONFLICT, EXPECTED
from hls_handler.settings.yaml_parser import iter_leaves, key_path, parent_path
from hls_handler.untrusted.redaction import redact

Schema = dict[str, Any]

REQUIRED = "required"
UNSET = "unset"

_USER_INFO = re.compile(r"[:/].*@", re.DOTALL)
"""Matches an address with a user, also one that is not valid."""


KeyKind = Literal["section", "key", "item"]


@dataclass(frozen=True, slots=True)
class Key:
    # "limits.concurrency"; in list items "repositories[].name"; for map values "prompts.use.*"
    path: str
    kind: KeyKind
    meaning: str
    expected: str  # "a whole number from 1 to 200"
    default: str  # as in YAML: "4"; or "required", "unset"
    secret: bool


class Reference:
    """One `Key` for each section and each key of a settings model. All items of a list or map share
    one `Key`.
    """

    def __init__(self, model: type[BaseModel] = Settings) -> None:
        self.rows = _list_rows(model)
        self._by_path = {row.path: row for row in self.rows}

    @property
    def keys(self) -> tuple[Key, ...]:
        """One `Key` for each setting, such as "server.port". Sections and list items are left
        out.
        """
        return tuple(row for row in self.rows if row.kind == "key")

    def find(self, path: str) -> Key | None:
        """Return the `Key` of a path such as "repositories[0].events[2]"; None if there is no such
        key.
        """
        return self._by_path.get(self._generalize(path))

    def names_in(self, section: str) -> tuple[str, ...]:
        """Return the names of the keys in `section`: "repositories[0]" -> ("name", ...). "" is the
        whole file.
        """
        path = self._generalize(section)
        names = (row.path.rpartition(".")[2] for row in self.rows if parent_path(row.path) == path)
        return tuple(name for name in names if name.isidentifier())

    def _generalize(self, path: str) -> str:
        """Return "repositories[].events[]" for "repositories[0].events[2]", "fields.*.type" for
        "fields.team.type".
        """
        general = re.sub(r"\[\d+\]", "[]", path)
        if general in self._by_path:
            return general
        maps = (key for key in self._by_path if "*" in key)
        matching = [
            key for key in maps if re.fullmatch(re.escape(key).replace(r"\*", ".+"), general)
        ]
        return max(matching, key=len, default=general)


@cache  # the schema takes tens of milliseconds
def _list_rows(model: type[BaseModel]) -> tuple[Key, ...]:
    schema = model.model_json_schema()
    definitions = schema.pop("$defs")
    _, *rows = _iter_rows("", _resolve(schema, definitions), REQUIRED)
    return tuple(rows)


def _resolve(node: Any, definitions: Schema) -> Any:
    """Return the schema with a copy of each definition where it is referred to."""
    if isinstance(node, list):
        return [_resolve(part, definitions) for part in node]
    if not isinstance(node, dict):
        return node
    definition = definitions.get(node.get("$ref", "").rpartition("/")[2], {})
    return {key: _resolve(part, definitions) for key, part in (definition | node).items()}


def _iter_rows(path: str, field: Schema, default: str) -> Iterator[Key]:
    types = field.get("anyOf", [field])
    items = [kind["items"] for kind in types if "items" in kind]
    kind: KeyKind = "key"
    if path.endswith(("[]", "*")):
        kind = "item"
    elif any("properties" in part for part in (*types, *items)):
        kind = "section"
    secret = any(part.get("format") == "password" for part in (*types, *items))
    yield Key(path, kind, field.get("description", ""), _describe_value(field), default, secret)
    for item in items:
        yield from _iter_rows(f"{path}[]", item, REQUIRED)
    for part in types:
        for value in _map_values(part):
            yield from _iter_rows(f"{path}.*", value, REQUIRED)
        for name, below in part.get("properties", {}).items():
            value_default = _default_text(below)
            if name in part.get("required", ()):
                value_default = REQUIRED
            yield from _iter_rows(key_path(path, name), below, value_default)


def _map_values(field: Schema) -> Iterator[Schema]:
    values = (*field.get("patternProperties", {}).values(), field.get("additionalProperties"))
    return (value for value in values if isinstance(value, dict))


def _default_text(field: Schema) -> str:
    value = field.get("default")
    if isinstance(value, str):
        return value
    if value is not None:
        return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    if field.get("type") == "object":
        return "{}"
    return UNSET


def _describe_value(node: Schema) -> str:
    if EXPECTED in node:
        return str(node[EXPECTED])
    if "properties" in node:
        keys = " and ".join(node.get("required", ()))
        return f"a section with {keys}" if keys else "a section of keys"
    if "anyOf" in node:
        kinds = (kind for kind in node["anyOf"] if kind.get("type") != "null")
        return " or ".join(_describe_value(kind) for kind in kinds)
    if "enum" in node or "const" in node:
        values = map(str, node.get("enum", [node.get("const")]))
        return f"one of {', '.join(values)}"
    match node["type"]:
        case "boolean":
            return "true or false"
        case "integer":
            return f"a whole number{_describe_bounds(node)}"
        case "number":
            return f"a number{_describe_bounds(node)}"
        case "array" if "properties" in node["items"]:
            return f"a list with at least one entry, each {_describe_value(node['items'])}"
        case "array":
            items = "paths" if node["items"].get("format") == "path" else "texts"
            least = ", at least one" if "minItems" in node else ""
            return f"a list of {items}{least}"
        case "object":
            each = [f", each to {_describe_value(value)}" for value in _map_values(node)]
            return "".join(["a map of names", *each])
    return "a path" if node.get("format") == "path" else "text"


def _describe_bounds(node: Schema) -> str:
    # no key has only one bound
    if "minimum" in node:
        return f" from {node['minimum']} to {node['maximum']}"
    if "exclusiveMinimum" in node:
        return f" above {node['exclusiveMinimum']}, at most {node['maximum']}"
    return ""


def find_empty_keys(root: object, reference: Reference) -> Iterator[tuple[str, Sentence]]:
    """Yield the path of each key without a value, with a sentence. A section or a map may have
    none, because all its keys may be commented out.
    """
    for path, value in iter_leaves(root):
        key = reference.find(path) if value is None else None
        if key is None or key.expected.startswith(("a section", "a map")):
            continue
        sentence = f"has no value; write {key.expected}"
        if key.default != REQUIRED:
            sentence += ", or remove the key"
        yield path, Sentence(sentence, Kind.WRONG_VALUE)


def explain(
    error: ValidationError, root: object, variables: Mapping[str, str], reference: Reference
) -> dict[str, Sentence]:
    """Convert pydantic's errors to {key path: sentence}: {"features.bots": 'found "many", expected
    true or false'}.

    `root` is the parsed file. `variables` is {"github.token": "GITHUB_TOKEN"} if the file has
    `token: ${GITHUB_TOKEN}`. Sentences do not quote values of variables, because these values may
    be secret.
    """
    general: dict[str, Sentence] = {}
    exact: dict[str, Sentence] = {}
    for detail in error.errors(include_url=False, include_input=False):
        kind = detail["type"]
        path, value = _locate(root, detail["loc"], kind)
        if kind == CONFLICT:
            context = detail["ctx"]
            exact[key_path(path, context["key"])] = context["sentence"]
        elif kind == "value_error":
            exact[path] = Sentence(str(detail["ctx"]["error"]), Kind.WRONG_VALUE)
        elif kind == "too_long":
            context = detail["ctx"]
            count = f"has {context['actual_length']} entries"
            sentence = f"{count}, at most {context['max_length']} are allowed"
            exact[path] = Sentence(sentence, Kind.WRONG_VALUE)
        elif kind == "extra_forbidden":
            name = str(detail["loc"][-1])
            section = path[: -len(name)].rstrip(".")  # the name may contain dots
            general[path] = Sentence(unknown_key(section, name, reference), Kind.UNKNOWN_KEY)
        elif kind == "missing":
            expected = _describe_expected(path, reference)
            general[path] = Sentence(f"is missing; expected {expected}", Kind.MISSING_KEY)
        else:
            sentence = _describe_wrong_value(path, value, variables, reference)
            general[path] = Sentence(sentence, Kind.WRONG_VALUE)
    paths = [*general, *exact]  # `webhook_secret[1]` is more precise than `webhook_secret`
    parents = {
        path for path in paths if any(other.startswith((f"{path}.", f"{path}[")) for other in paths)
    }
    return {path: text for path, text in general.items() if path not in parents} | exact


def _locate(root: object, steps: Sequence[str | int], kind: str) -> tuple[str, object]:
    """Return the key path and the value of an error's location. Other steps than keys and indexes
    are names of types, which pydantic adds where several are allowed.
    """
    path = ""
    value = root
    for position, step in enumerate(steps, start=1):
        if isinstance(value, dict) and step in value:
            path = key_path(path, str(step))
            value = value[step]
        elif kind == "missing" and position == len(steps):
            path = key_path(path, str(step))
            value = None
        elif isinstance(value, list) and isinstance(step, int) and step < len(value):
            path = f"{path}[{step}]"
            value = value[step]
    return path, value


def _describe_expected(path: str, reference: Reference) -> str:
    key = reference.find(path)
    return key.expected if key else "something else"


def _describe_wrong_value(
    path: str, value: object, variables: Mapping[str, str], reference: Reference
) -> str:
    expected = _describe_expected(path, reference)
    if expected.startswith("text") and isinstance(value, bool | int | float):
        expected += "; put the value in quotes"
    return f"found {_describe_found(path, value, variables, reference)}, expected {expected}"


def _describe_found(
    path: str, value: object, variables: Mapping[str, str], reference: Reference
) -> str:
    key = reference.find(path)
    if isinstance(value, dict | list):
        article = "a" if value else "an empty"
        kind = "map" if isinstance(value, dict) else "list"
        return f"{article} {kind}"
    if path in variables:
        return f"the value of the variable {variables[path]}"
    if key is None or key.secret or key.kind == "section":  # the text may be secret
        return "text" if isinstance(value, str) else "a value of another kind"
    return quote_value(value)


def quote_value(value: object) -> str:
    """Return a value as messages quote it: at most 60 characters, and no text with credentials."""
    if isinstance(value, str) and has_credentials(value):
        return "text with credentials"
    written = json.dumps(value, ensure_ascii=False)
    if len(written) > 60:
        return f"{written[:57]}..."
    return written


def has_credentials(text: str) -> bool:
    """Return whether `text` may contain a credential, such as the user of an address."""
    return _USER_INFO.search(text) is not None or redact(text) != text


def unknown_key(section: str, name: str, reference: Reference) -> str:
    """Return a sentence such as "unknown key; did you mean server.port?" about the key `name` of a
    section.
    """
    siblings = {sibling: key_path(section, sibling) for sibling in reference.names_in(section)}
    elsewhere = [
        key.path.rpartition(".")[0] for key in reference.keys if key.path.rpartition(".")[2] == name
    ]
    if elsewhere:
        return f"unknown key; {name} belongs under {' or '.join(elsewhere)}"
    everywhere = {
        row.path.rpartition(".")[2]: row.path for row in reversed(reference.rows)
    } | siblings
    near = difflib.get_close_matches(name, siblings, n=1, cutoff=0.6)
    if not near:  # of so many names, one is often a little similar
        near = difflib.get_close_matches(name, everywhere, n=1, cutoff=0.8)
    if near:
        return f"unknown key; did you mean {everywhere[near[0]]}?"
    return f"unknown key; {section or 'the file'} has {', '.join(siblings)}"
