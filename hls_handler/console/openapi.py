"""The description of the API for programs: `/openapi.json` (OpenAPI 3.1). docs/http.md has it for
people.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import cache
from http import HTTPStatus
from typing import Any

from pydantic import TypeAdapter
from pydantic.json_schema import GenerateJsonSchema
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from hls_handler import __version__
from hls_handler.console.endpoints import (
    ENDPOINTS,
    PATH_PARAMETERS,
    DetailDocument,
    Endpoint,
    ProblemDocument,
)
from hls_handler.console.frame import send_json
from hls_handler.console.queries import Query

KEY = "key"
JSON = "application/json"
NULL = {"type": "null"}
EMPTY = {"const": ""}
ERRORS = {
    400: "a parameter is unknown, given more than once, or has an invalid value",
    401: "the key is missing or wrong",
    403: (
        "without `server.api_key`: the header Host names no loopback address; or a web page or a"
        " viewer sent a POST"
    ),
    404: (
        "it does not exist or was deleted; or the API is off, because there is no `server.api_key`"
    ),
    405: "the path has no such method",
    409: "not possible in this state",
    503: "the database cannot be read now",
}
DESCRIPTION = """\
Send the key (`server.api_key`) in the header X-API-Key. A service without `server.api_key` has no \
API; only the demo answers programs on the same machine without a key. A response below /api has \
an ETag; with it in If-None-Match, an unchanged document is not sent again (304). Later versions \
only add keys."""


def _send(request: Request) -> Response:
    return send_json(request, make_document())


ROUTES = (Route("/openapi.json", _send),)
"""It needs no key, because it shows nothing of the service's data."""


@cache
def make_document() -> dict[str, Any]:
    """Return the OpenAPI document; do not change it."""
    types = list(
        dict.fromkeys([*(one.response for one in ENDPOINTS), ProblemDocument, DetailDocument])
    )
    schemas, definitions = TypeAdapter.json_schemas(
        [(one, "serialization", TypeAdapter(one)) for one in types],
        ref_template="#/components/schemas/{model}",
        schema_generator=_Schemas,
    )
    by_type = {one: schemas[one, "serialization"] for one in types}
    paths: dict[str, dict[str, object]] = {}
    for endpoint in ENDPOINTS:
        paths.setdefault(endpoint.path, {})[endpoint.method.lower()] = _operation(endpoint, by_type)
    return {
        "openapi": "3.1.0",
        "info": {"title": "HLS", "version": __version__, "description": DESCRIPTION},
        "paths": paths,
        "components": {
            "schemas": definitions["$defs"],
            "responses": {
                f"{name}{status}": {
                    "description": ERRORS[status],
                    "content": _content(media_type, by_type[kind]),
                }
                for name, media_type, kind, statuses in (
                    (
                        "Problem",
                        "application/problem+json",
                        ProblemDocument,
                        (400, 401, 403, 404, 405, 409, 503),
                    ),
                    ("Detail", JSON, DetailDocument, (401, 405, 503)),
                )
                for status in statuses
            },
            "securitySchemes": {KEY: {"type": "apiKey", "in": "header", "name": "X-API-Key"}},
        },
    }


class _Schemas(GenerateJsonSchema):
    def field_is_required(self, field: Any, total: bool) -> bool:
        return field["type"] == "dataclass-field" or super().field_is_required(field, total)


def _operation(endpoint: Endpoint, schemas: Mapping[Any, object]) -> dict[str, object]:
    is_api = endpoint.path.startswith("/api/")
    responses: dict[int, object] = {
        status: {
            "description": HTTPStatus(status).phrase,
            "content": _content(JSON, schemas[endpoint.response]),
        }
        for status in endpoint.statuses
    }
    if is_api and endpoint.method == "GET":
        responses[304] = {"description": "the document has the ETag of If-None-Match"}
    kind = "Problem" if is_api else "Detail"
    for status in endpoint.errors:
        responses[status] = {"$ref": f"#/components/responses/{kind}{status}"}
    names = re.findall(r"{(\w+)}", endpoint.path)
    description = endpoint.description
    if endpoint.other_path:
        also = f"It is at `{endpoint.other_path}`, too."
        description = f"{description} {also}".lstrip()
    security: list[dict[str, list[str]]] = [{KEY: []}]
    if not endpoint.needs_key:
        security = [{}, {KEY: []}]
    return {
        "operationId": "_".join([endpoint.method.lower(), *re.findall(r"\w+", endpoint.path)]),
        "summary": endpoint.summary,
        "description": description,
        "parameters": [
            *(
                {"name": name, "in": "path", "required": True, **PATH_PARAMETERS[name]}
                for name in names
            ),
            *_query_parameters(endpoint.query),
        ],
        "security": security,
        "responses": {str(status): responses[status] for status in sorted(responses)},
    }


def _content(media_type: str, schema: object) -> dict[str, object]:
    return {media_type: {"schema": schema}}


def _query_parameters(query: type[Query]) -> Iterator[dict[str, object]]:
    """Yield the parameters of a query. An empty value is no filter."""
    for name, field in query.model_json_schema().get("properties", {}).items():
        about = {
            key: field.pop(key, None) for key in ("title", "description", "examples", "default")
        }
        schema: dict[str, object] = {
            "anyOf": [*(kind for kind in field.get("anyOf", [field]) if kind != NULL), EMPTY]
        }
        if about["default"] is not None:
            schema["default"] = about["default"]
        parameter = {
            "name": name,
            "in": "query",
            "description": about["description"],
            "schema": schema,
        }
        if about["examples"]:
            parameter["example"] = about["examples"][0]
        yield parameter
