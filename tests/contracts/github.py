"""Validation of requests against GitHub's published OpenAPI description."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any
from urllib.parse import quote

from jsonschema.exceptions import ValidationError, best_match
from openapi_core import Config, OpenAPI
from openapi_core.datatypes import RequestParameters
from openapi_core.templating.paths.exceptions import PathError
from openapi_core.templating.paths.finders import APICallPathFinder
from openapi_core.validation.request.exceptions import ParameterValidationError
from openapi_core.validation.schemas.exceptions import InvalidSchemaValue
from werkzeug.datastructures import Headers, ImmutableMultiDict

from hls_handler.github.client import VIEWER_QUERY
from hls_handler.github.history import CLOSED_ISSUES_QUERY, MERGED_PULL_REQUESTS_QUERY
from hls_handler.github.reader import MERGE_STATE_QUERY
from hls_handler.github.review_threads import REVIEW_THREADS_QUERY
from hls_handler.github.source import blobs_query, head_files_query, review_context_query
from tests.contracts.openapi_subset import SUBSET

HOST = "https://api.github.com"
ENTERPRISE_PREFIX = "/api/v3"
API_VERSION = "2022-11-28"
WITHOUT_CREDENTIAL = ("apps/create-from-manifest",)
SLASHED_PATH = re.compile(
    r"(/repos/[^/]+/[^/]+/(?:(?:issues/[^/]+/)?labels|contents|git/ref)/)(.+)", re.DOTALL
)

QUERIES = frozenset(
    {
        CLOSED_ISSUES_QUERY,
        MERGED_PULL_REQUESTS_QUERY,
        MERGE_STATE_QUERY,
        REVIEW_THREADS_QUERY,
        VIEWER_QUERY,
    }
)
"""Valid by the schema of npm's @octokit/graphql-schema 15.26.1."""


def violations(requests: Iterable[Mapping[str, Any]]) -> list[str]:
    """Return one sentence for each violation of GitHub's description.

    A request has `method`, `path` (with or without "/api/v3"), `query` and `headers` (names to
    values, header names in lower case) and `body` (parsed JSON, or None), as in the sandbox's
    request log.
    """
    return [
        f"{request['method']} {request['path']}: {problem}"
        for request in requests
        for problem in _problems(request)
    ]


def _problems(logged: Mapping[str, Any]) -> Iterator[str]:
    if logged["path"] == "/graphql":  # which is not in the description
        yield from _query_problems(logged)
        return
    request, description = _Request.of(logged), _description()
    try:
        found = APICallPathFinder(description.spec).find(request.method, f"{HOST}{request.path}")
    except PathError as unknown:
        yield str(unknown)
        return
    operation = found.operation.read_value()
    for error in description.iter_request_errors(request):
        yield _sentence(error)
    known = {
        parameter["name"]
        for parameter in operation.get("parameters", ())
        if parameter["in"] == "query"
    }
    for name in sorted(logged["query"].keys() - known):
        yield f"unknown query parameter {name}"
    if logged["body"] is not None and "requestBody" not in operation:
        yield "a body, where this operation has none"
    yield from _header_problems(
        logged["headers"], needs_credential=operation["operationId"] not in WITHOUT_CREDENTIAL
    )
    if (
        operation["operationId"] == "pulls/create-review"
        and (logged["body"] or {}).get("event") != "COMMENT"
    ):
        yield "the event of the review is not COMMENT"


def _query_problems(logged: Mapping[str, Any]) -> Iterator[str]:
    body = logged["body"]
    if not isinstance(body, dict) or body.keys() != {"query", "variables"}:
        yield "the body has not the keys query and variables"
    elif body["query"] not in (*QUERIES, *_same_queries(body["query"])):
        yield "unknown GraphQL query"
    yield from _header_problems(logged["headers"], needs_credential=True)


def _same_queries(query: str) -> tuple[str, ...]:
    """Return the queries for as many texts, for as many SHAs and kinds of files, and for as much
    guidance.
    """
    return (
        head_files_query(query.count(" isTruncated ")),
        blobs_query(query.count("{ oid }"), query.count(" isBinary ")),
        review_context_query(query.count(" f")),
    )


def _header_problems(headers: Mapping[str, str], *, needs_credential: bool) -> Iterator[str]:
    """Rules that are only in https://docs.github.com/en/rest/using-the-rest-api/getting-started-with-the-rest-api."""
    if not headers.get("user-agent"):
        yield "no User-Agent: GitHub answers 403"
    if needs_credential and "authorization" not in headers:
        yield "no Authorization"
    version = headers.get("x-github-api-version")
    if version != API_VERSION:
        yield f"X-GitHub-Api-Version is {version}, not {API_VERSION}"


@cache
def _description() -> OpenAPI:
    """Return the parsed description. Keys that it does not contain are errors."""
    config = Config(additional_properties_default_policy="forbid")
    return OpenAPI.from_dict(json.loads(SUBSET.read_text(encoding="utf-8")), config=config)


@dataclass
class _Request:
    """A logged request in the validator's shape."""

    method: str
    path: str
    body: bytes | None
    content_type: str
    parameters: RequestParameters
    host_url: str = field(default=HOST)

    @classmethod
    def of(cls, logged: Mapping[str, Any]) -> _Request:
        body, headers = logged["body"], logged["headers"]
        if isinstance(body, list) and logged["path"].endswith("/labels"):
            # "You can also pass an `array` of labels directly", which no schema shows
            body = {"labels": body}
        return cls(
            method=logged["method"].lower(),
            path=_quoted(logged["path"].removeprefix(ENTERPRISE_PREFIX)),
            body=None if body is None else json.dumps(body).encode(),
            content_type=headers.get("content-type", "").lower(),
            parameters=RequestParameters(
                ImmutableMultiDict(logged["query"]), Headers(list(headers.items()))
            ),
        )


def _quoted(path: str) -> str:
    """Return the path with slashes of label names and file paths quoted."""
    slashed = SLASHED_PATH.fullmatch(path)
    return f"{slashed[1]}{quote(slashed[2], safe='%')}" if slashed else path


def _sentence(error: Exception) -> str:
    """Return a short message with the place of the error, without the whole body."""
    if isinstance(error.__cause__, InvalidSchemaValue):
        schema_errors = [
            cause for cause in error.__cause__.schema_errors if isinstance(cause, ValidationError)
        ]
        worst = best_match(schema_errors)
        place = (
            str(error)
            if isinstance(error, ParameterValidationError)
            else f"the body at {worst.json_path}"
        )
        return f"{place}: {worst.message[:200]}"
    return str(error)
