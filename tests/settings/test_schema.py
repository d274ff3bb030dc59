"""JSON Schema of the settings file: it rejects what does not load and accepts what loads."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from jsonschema import Draft202012Validator

from hls_handler import shipped
from hls_handler.settings.reference import Key, Reference
from hls_handler.settings.schema import Schema, repository_schema, settings_schema
from tests.settings.files import SMALLEST, USERS_FILE, with_value
from tests.settings.test_load import shipped_with_every_key

SCHEMA = settings_schema()
SCALARS = [key for key in Reference().keys if "list" not in key.expected and "map" not in key.expected]


def rejected_paths(text: str) -> list[str]:
    """Key paths that the schema rejects: "server.port"."""
    errors = Draft202012Validator(SCHEMA).iter_errors(yaml.safe_load(text))
    return sorted({".".join(str(step) for step in error.absolute_path) for error in errors})


def test_the_schema_is_valid_in_its_dialect() -> None:
    assert SCHEMA["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    Draft202012Validator.check_schema(SCHEMA)


@pytest.mark.parametrize(("name", "make"), [("settings", settings_schema), ("repository", repository_schema)])
def test_the_shipped_schema_is_what_the_command_prints(name: str, make: Callable[[], Schema]) -> None:
    shipped_text = Path(f"config/{name}.schema.json").read_text(encoding="utf-8")
    assert shipped_text == f"{json.dumps(make(), indent=2)}\n"


def test_the_shipped_file_points_editors_to_the_schema_beside_it() -> None:
    first = shipped.SETTINGS.read_text(encoding="utf-8").splitlines()[0]
    assert first == "# yaml-language-server: $schema=settings.schema.json"


@pytest.mark.parametrize(
    "text",
    [
        shipped.SETTINGS.read_text(encoding="utf-8"),
        shipped_with_every_key(),
        USERS_FILE,
        SMALLEST,
    ],
    ids=["shipped", "shipped with every key", "a user's", "smallest"],
)
def test_files_that_load_are_accepted(text: str) -> None:
    assert rejected_paths(text) == []


@pytest.mark.parametrize("key", SCALARS, ids=lambda key: key.path)
def test_a_variable_is_accepted_for_every_single_value(key: Key) -> None:
    assert rejected_paths(with_value(key.path, "${NAME}")) == []
    assert rejected_paths(with_value(key.path, "${NAME:-7}")) == []


@pytest.mark.parametrize(
    ("more", "where"),
    [
        ("servr: {port: 80}\n", ""),
        ("server: {prot: 80}\n", "server"),
        ("    features: {async_processing: true}\n", "repositories.0.features"),
        ("server: {port: 65536}\n", "server.port"),
        ("server: {port: '$PORT'}\n", "server.port"),
        ("server: {webhook_path: webhook}\n", "server.webhook_path"),
        ("server: {host: ''}\n", "server.host"),
        ("limits: {concurrency: }\n", "limits.concurrency"),
        ("logging: {level: LOUD}\n", "logging.level"),
        ("prompts: {use: {issues.opened: true}}\n", "prompts.use.issues.opened"),
        ("prompts: {use: {issue.opened: false}}\n", "prompts.use"),
        ("prompts: {use: {issues: {prompt: issues/a, shadow: false}}}\n", "prompts.use.issues"),
        ("prompts: {directory: [7]}\n", "prompts.directory"),
        ("prompts: {use: {'${EVENT}': false}}\n", "prompts.use"),
        ("    events: []\n", "repositories.0.events"),
        ("    events: [issues.openend]\n", "repositories.0.events.0"),
        ("  - name: owner\n", "repositories.1.name"),
    ],
)
def test_what_does_not_load_is_rejected(more: str, where: str) -> None:
    assert rejected_paths(SMALLEST + more) == [where]


@pytest.mark.parametrize(
    "more",
    [
        "server:\n",
        "    features:\n",
        "server: {api_key: }\n",
        "    webhook_secret: ['${NEW}', '${OLD}']\n",
        "    events: [issues, issues.opened, repository_dispatch.anything, '${EVENT}']\n",
        "github: {token: t, webhook_secret: '${A}${B}'}\n",
        "prompts: {use: {issues.opened: false, pull_request: pull_requests/other}}\n",
        "claude: {api_key: k, base_url: 'https://${HOST}/v1'}\n",
        "prompts: {directory: [own, '${SHARED}/prompts'], use: {issues: {prompt: issues/a, shadow: true}}}\n",
    ],
)
def test_what_loads_is_accepted(more: str) -> None:
    assert rejected_paths(SMALLEST + more) == []


def test_a_key_is_described_with_its_default_and_bounds() -> None:
    assert SCHEMA["$defs"]["Server"]["properties"]["port"] == {
        "description": "TCP port; 0 takes a free one and prints it",
        "default": 8000,
        "anyOf": [{"type": "integer", "minimum": 0, "maximum": 65535}, {"$ref": "#/$defs/Variable"}],
    }
    assert SCHEMA["$defs"]["Server"]["properties"]["api_key"] == {  # unset by default
        "description": "key that opens the console, and that the API, /stats and the full /health "
        "need in X-API-Key; at least 16 bytes",
        "anyOf": [{"type": "string", "format": "password", "writeOnly": True}, {"type": "null"}],
    }
    assert SCHEMA["$defs"]["Logging"]["properties"]["format"]["anyOf"][0] == {
        "enum": ["json", "text"],
        "type": "string",
    }


@pytest.mark.parametrize("key", Reference().keys, ids=lambda key: key.path)
def test_every_key_has_the_description_of_the_model(key: Key) -> None:
    place = property_ = SCHEMA
    for section in key.path.split("."):
        property_ = place["properties"][section.removesuffix("[]")]
        place = property_["items"] if section.endswith("[]") else property_
        place = next((member for member in place.get("anyOf", ()) if "$ref" in member), place)  # an optional section
        place = SCHEMA["$defs"][place["$ref"].rpartition("/")[2]] if "$ref" in place else place
    assert property_["description"] == key.meaning
