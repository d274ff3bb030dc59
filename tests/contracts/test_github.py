"""The validator accepts documented requests to GitHub and lists violations."""

from __future__ import annotations

import json
from typing import Any

import pytest

from hls_handler.clients.review_threads import REVIEW_THREADS_QUERY
from tests.contracts.github import violations
from tests.contracts.openapi_subset import OPERATIONS, SUBSET

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
        request("GET", ISSUE),
        request("GET", f"{ISSUE}/comments", query={"per_page": "100", "page": "2"}),
        request("POST", f"{ISSUE}/comments", {"body": "Hello."}),
        request("DELETE", f"{ISSUE}/labels/type%2Fdocs"),
        request("DELETE", f"{ISSUE}/labels/type/docs"),
        request("GET", "/repos/octo/hello/contents/.github/hls.yaml", query={"ref": "main"}),
        request(
            "POST", f"{PULL}/reviews", {"commit_id": "a" * 40, "event": "COMMENT", "body": "x", "comments": [INLINE]}
        ),
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
        (request("GET", "/repos/octo/hello/issues/seven"), "Path parameter error: issue_number"),
        (request("GET", ISSUE, {"body": "x"}), "a body, where this operation has none"),
        (request("POST", f"{ISSUE}/comments"), "Missing required request body"),
        (
            request("POST", f"{ISSUE}/comments", {"body": "x", "event": "APPROVE"}),
            "the body at $: Additional properties are not allowed ('event' was unexpected)",
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


def test_the_subset_contains_exactly_the_operations_in_use() -> None:
    paths = json.loads(SUBSET.read_text(encoding="utf-8"))["paths"]
    assert {path: tuple(methods) for path, methods in paths.items()} == dict(OPERATIONS)
