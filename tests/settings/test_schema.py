"""JSON Schema of the settings file: it rejects what does not load and accepts what loads."""

from __future__ import annotations

import json

import pytest
import yaml
from jsonschema import Draft202012Validator

from hls_handler.settings.reference import Reference
from tests.settings.files import SMALLEST, USERS_FILE
from tests.settings.make_schemas import render_schemas, settings_schema
from tests.settings.test_credentials import FROM_FILES
from tests.settings.test_load import shipped_with_every_line

SCHEMA = settings_schema()


def rejected_paths(text: str) -> list[str]:
    """Key paths that the schema rejects: "server.port"."""
    errors = Draft202012Validator(SCHEMA).iter_errors(yaml.safe_load(text))
    return sorted({".".join(str(step) for step in error.absolute_path) for error in errors})


def test_schema_files_are_those_of_the_models() -> None:
    # else: python -m tests.settings.make_schemas
    for file, text in render_schemas().items():
        assert file.read_text(encoding="utf-8") == text
        Draft202012Validator.check_schema(json.loads(text))


@pytest.mark.parametrize("text", [shipped_with_every_line(), USERS_FILE, FROM_FILES])
def test_files_that_load_are_accepted(text: str) -> None:
    assert rejected_paths(text) == []


@pytest.mark.parametrize(
    ("more", "where"),
    [
        ("servr: {port: 80}\n", ""),
        ("    features: {async_processing: true}\n", "repositories.0.features"),
        ("server: {port: '$PORT'}\n", "server.port"),
        ("server: {webhook_path: webhook}\n", "server.webhook_path"),
        ("limits: {concurrency: }\n", "limits.concurrency"),
        ("prompts: {use: {issues.opened: true}}\n", "prompts.use.issues.opened"),
        ("prompts: {use: {'${EVENT}': false}}\n", "prompts.use"),
        ("retrieval: {qdrant: {path: v}}\n", "retrieval"),
        (
            (
                "retrieval: {qdrant: {path: v, url: 'http://q'}, embeddings: {base_url: 'http://o',"
                " model: m}}\n"
            ),
            "retrieval.qdrant",
        ),
        ("retrieval: {qdrant: {path: v}, embeddings: {base_url: '${URL}', model: m}}\n", None),
        ("    events: []\n", "repositories.0.events"),
        ("    events: [issues.openend]\n", "repositories.0.events.0"),
        ("  - name: owner\n", "repositories.1.name"),
        ("server:\n", None),
        ("    webhook_secret: ['${NEW}', '${OLD}']\n", None),
        ("server: {api_key: }\n", "server.api_key"),
        ("    events: [issues, issues.opened, repository_dispatch.anything, '${EVENT}']\n", None),
        ("github: {token: t, token_path: f, webhook_secret_path: f}\n", "github"),
        ("claude: {api_key: k, base_url: 'https://${HOST}/v1'}\n", None),
        (
            ("prompts: {directory: [own, '${SHARED}/prompts'], use: {issues: issues/a}}\n"),
            None,
        ),
    ],
)
def test_the_schema_rejects_what_does_not_load(more: str, where: str | None) -> None:
    assert rejected_paths(SMALLEST + more) == ([] if where is None else [where])


def test_every_key_has_the_description_of_the_model_and_accepts_a_variable_for_a_single_value() -> (
    None
):
    for key in Reference().keys:
        place = property_ = SCHEMA
        for section in key.path.split("."):
            property_ = place["properties"][section.removesuffix("[]")]
            place = property_["items"] if section.endswith("[]") else property_
            # optional
            place = next((member for member in place.get("anyOf", ()) if "$ref" in member), place)
            place = SCHEMA["$defs"][place["$ref"].rpartition("/")[2]] if "$ref" in place else place
        assert property_["description"] == key.meaning, key.path
        if "list" not in key.expected and "map" not in key.expected:
            validator = Draft202012Validator({**property_, "$defs": SCHEMA["$defs"]})
            assert validator.is_valid("${NAME}"), key.path
            assert validator.is_valid("${NAME:-7}"), key.path
