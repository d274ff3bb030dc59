"""The validator accepts documented requests to GitHub and lists violations."""

from __future__ import annotations

import json
from typing import Any

import pytest

from hls_handler.clients.review_threads import REVIEW_THREADS_QUERY
from tests.contracts.github import violations
from tests.contracts.openapi_subset import OPERATIONS, SUBSET, extract

HEADERS = {
    "user-agent": "hls/0.3.0",
    "authorization": "***",
    "x-github-api-version": "2022-11-28",
    "accept": "application/vnd.github+json",
    "content-type": "application/json",
}
ISSUE = "/repos/octo/hello/issues/7"
COMMENT = "/repos/octo/hello/issues/comments/5"
PULL = "/repos/octo/hello/pulls/8"
INLINE = {"path": "a.py", "side": "RIGHT", "line": 7, "body": "x", "start_line": 5, "start_side": "RIGHT"}


def request(method: str, path: str, body: object = None, **known: Any) -> dict[str, Any]:
    return {"method": method, "path": path, "query": {}, "headers": HEADERS, "body": body, **known}


@pytest.mark.parametrize(
    "good",
    [
        request("GET", "/user"),
        request("GET", "/rate_limit"),
        request("GET", "/repos/octo/hello"),
        request("GET", ISSUE),
        request("GET", f"{ISSUE}/comments", query={"per_page": "100", "page": "2"}),
        request("GET", f"{ISSUE}/comments", query={"since": "2026-11-20T12:00:00Z"}),
        request("POST", f"{ISSUE}/comments", {"body": "Hello."}),
        request("GET", COMMENT),
        request("PATCH", COMMENT, {"body": "Hello."}),
        request("GET", f"{COMMENT}/reactions"),
        request("POST", f"{COMMENT}/reactions", {"content": "eyes"}),
        request("GET", f"{ISSUE}/labels"),
        request("POST", f"{ISSUE}/labels", {"labels": ["bug", "type/docs"]}),
        request("DELETE", f"{ISSUE}/labels/type%2Fdocs"),
        request("DELETE", f"{ISSUE}/labels/type/docs"),
        request("DELETE", f"{ISSUE}/labels/good first issue"),
        request("GET", "/repos/octo/hello/labels"),
        request("POST", "/repos/octo/hello/labels", {"name": "bug", "color": "d73a4a", "description": "Broken"}),
        request("GET", "/repos/octo/hello/labels/size%2Fsmall"),
        request("GET", "/repos/octo/hello/pulls/8"),
        request("POST", "/repos/octo/hello/pulls/comments/80/reactions", {"content": "+1"}),
        request("GET", "/repos/octo/hello/pulls/8/files", query={"per_page": "100", "page": "1"}),
        request("GET", "/repos/octo/hello/pulls/8/reviews", query={"per_page": "100", "page": "1"}),
        request("GET", "/repos/octo/hello/pulls/8/reviews/80/comments", query={"per_page": "100", "page": "1"}),
        request("GET", "/repos/octo/hello/pulls", query={"state": "open", "head": "mona:fix/it", "page": "1"}),
        request("GET", "/repos/octo/hello/actions/runs/5/attempts/2/jobs", query={"per_page": "100", "page": "1"}),
        request("GET", "/repos/octo/hello/actions/jobs/6/logs"),
        request("GET", "/repos/octo/hello/releases", query={"per_page": "100", "page": "1"}),
        request("GET", "/repos/octo/hello/contents/.github/hls.yaml", query={"ref": "main"}),
        request("GET", "/repos/octo/hello/compare/v1...release%2F2"),
        request("GET", "/repos/octo/hello/collaborators/mona/permission"),
        request(
            "POST", f"{PULL}/reviews", {"commit_id": "a" * 40, "event": "COMMENT", "body": "x", "comments": [INLINE]}
        ),
        request("GET", f"{PULL}/comments", query={"sort": "created", "direction": "desc", "per_page": "100"}),
        request("POST", f"{PULL}/comments/5/replies", {"body": "Fixed."}),
        request("POST", "/graphql", {"query": REVIEW_THREADS_QUERY, "variables": {"number": 8}}),
        request("GET", f"/api/v3{ISSUE}"),
    ],
    ids=lambda good: f"{good['method']} {good['path']}",
)
def test_a_documented_request_is_valid(good: dict[str, Any]) -> None:
    assert violations([good]) == []


@pytest.mark.parametrize(
    ("bad", "named"),
    [
        (request("GET", "/zen"), "Path not found for https://api.github.com/zen"),
        (request("POST", f"{PULL}/reviews", {"event": "APPROVE"}), "the event of the review is not COMMENT"),
        (
            request("POST", f"{PULL}/reviews", {"event": "COMMENT", "comments": [{**INLINE, "line": "7"}]}),
            "the body at $.comments[0].line: '7' is not of type 'integer'",
        ),
        (request("POST", "/graphql", {"query": "{viewer{login}}", "variables": {}}), "unknown GraphQL query"),
        (request("POST", "/graphql", {"query": ""}), "the body has not the keys query and variables"),
        (
            request("PUT", "/repos/octo/hello/pulls/8/merge", {}),
            "Path not found for https://api.github.com/repos/octo/hello/pulls/8/merge",
        ),
        (
            request("DELETE", "/repos/octo/hello"),
            "Operation delete not found for https://api.github.com/repos/octo/hello",
        ),
        (
            request("POST", "/repos/octo/hello/pulls/8/reviews/80/comments", {"body": "x"}),
            "Operation post not found for https://api.github.com/repos/octo/hello/pulls/8/reviews/80/comments",
        ),
        (request("GET", "/repos/octo/hello/issues/seven"), "Path parameter error: issue_number"),
        (request("GET", ISSUE, query={"per_page": "1"}), "unknown query parameter per_page"),
        (request("GET", f"{ISSUE}/comments", query={"page": "two"}), "Query parameter error: page"),
        (
            request("GET", f"{ISSUE}/comments", query={"since": "lately"}),
            "Invalid query parameter: since: 'lately' is not a 'date-time'",
        ),
        (request("GET", ISSUE, {"body": "x"}), "a body, where this operation has none"),
        (request("POST", f"{ISSUE}/comments"), "Missing required request body"),
        (
            request("POST", f"{ISSUE}/comments", {"body": "x", "event": "APPROVE"}),
            "the body at $: Additional properties are not allowed ('event' was unexpected)",
        ),
        (request("POST", f"{ISSUE}/comments", {}), "the body at $: 'body' is a required property"),
        (request("POST", f"{ISSUE}/comments", "x"), "the body at $: 'x' is not of type 'object'"),
        (
            request("PATCH", "/repos/o/h/issues/comments/9", {"body": 5}),
            "the body at $.body: 5 is not of type 'string'",
        ),
        (
            request("POST", f"{ISSUE}/labels", {"labels": ["bug", 5]}),
            "the body at $.labels[1]: 5 is not valid under any of the given schemas",
        ),
        (request("POST", f"{ISSUE}/labels", {"labels": []}), "the body at $.labels: [] should be non-empty"),
        (
            request("POST", f"{ISSUE}/labels", {"labels": [{"name": "bug", "colour": "red"}]}),
            "the body at $.labels[0]: Additional properties are not allowed ('colour' was unexpected)",
        ),
        (
            request("POST", "/repos/octo/hello/labels", {"name": "bug", "color": None}),
            "the body at $.color: None for not nullable",
        ),
        (
            request("POST", f"{ISSUE}/comments", {"body": "x"}, headers={**HEADERS, "content-type": "text/plain"}),
            (
                "Request body validation error: Content for the following mimetype not found: text/plain. "
                "Valid mimetypes: ['application/json']"
            ),
        ),
        (request("GET", "/user", headers={**HEADERS, "user-agent": ""}), "no User-Agent: GitHub answers 403"),
        (
            request("GET", "/user", headers={**HEADERS, "x-github-api-version": "2099-01-01"}),
            "X-GitHub-Api-Version is 2099-01-01, not 2022-11-28",
        ),
        (
            request("GET", "/user", headers={k: v for k, v in HEADERS.items() if k != "authorization"}),
            "no Authorization",
        ),
    ],
)
def test_undocumented_requests_are_violations(bad: dict[str, Any], named: str) -> None:
    assert violations([request("GET", "/user"), bad]) == [f"{bad['method']} {bad['path']}: {named}"]


def test_all_violations_of_all_requests_are_listed() -> None:
    assert violations([request("GET", "/zen"), request("GET", "/user", {}, query={"a": "1", "b": "2"})]) == [
        "GET /zen: Path not found for https://api.github.com/zen",
        "GET /user: unknown query parameter a",
        "GET /user: unknown query parameter b",
        "GET /user: a body, where this operation has none",
    ]


def test_a_long_body_is_truncated_in_the_message() -> None:
    (sentence,) = violations([request("POST", f"{ISSUE}/labels", {"labels": "x" * 10_000})])
    assert len(sentence) < 350


def test_the_subset_contains_exactly_the_operations_in_use() -> None:
    paths = json.loads(SUBSET.read_text(encoding="utf-8"))["paths"]
    assert {path: tuple(methods) for path, methods in paths.items()} == dict(OPERATIONS)


def test_extraction_resolves_references_and_drops_examples_and_responses() -> None:
    operation = {
        "operationId": "op",
        "parameters": [{"$ref": "#/components/parameters/owner"}],
        "requestBody": {"content": {"application/json": {"schema": {"$ref": "#/s/a"}, "examples": {"x": 1}}}},
        "responses": {"200": {"$ref": "#/missing"}},
        "x-github": {},
        "tags": ["t"],
    }
    whole = {
        "openapi": "3.0.3",
        "info": {"title": "T", "version": "1", "license": {"name": "MIT"}, "contact": {}},
        "servers": [],
        "paths": {path: dict.fromkeys((*methods, "put"), operation) for path, methods in OPERATIONS.items()},
        "components": {"parameters": {"owner": {"name": "owner", "in": "path", "example": "octo"}}},
        "s": {"a": {"type": "object", "x-multi": True}},
    }
    small = extract(whole)
    assert small["info"] == {"title": "T", "version": "1", "license": {"name": "MIT"}}
    assert small["paths"]["/user"] == {
        "get": {
            "operationId": "op",
            "parameters": [{"name": "owner", "in": "path"}],
            "requestBody": {"content": {"application/json": {"schema": {"type": "object"}}}},
            "responses": {"default": {"description": "answers are not part of this cut"}},
        }
    }
