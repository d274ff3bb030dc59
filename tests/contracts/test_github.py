"""The validator accepts documented requests to GitHub and lists violations."""

from __future__ import annotations

import json
from typing import Any

from tests.contracts.github import violations
from tests.contracts.openapi_subset import OPERATIONS, SUBSET

HEADERS = {
    "user-agent": "hls/1.0.0",
    "authorization": "***",
    "x-github-api-version": "2022-11-28",
    "content-type": "application/json",
}
ISSUE = "/repos/octo/hello/issues/7"
PULL = "/repos/octo/hello/pulls/8"
INLINE = {
    "path": "a.py",
    "side": "RIGHT",
    "line": 7,
    "body": "x",
    "start_line": 5,
    "start_side": "RIGHT",
}


def test_undocumented_requests_are_violations() -> None:
    def request(method: str, path: str, body: object = None, **known: Any) -> dict[str, Any]:
        return {
            "method": method,
            "path": path,
            "query": {},
            "headers": HEADERS,
            "body": body,
            **known,
        }

    wrong_line = {"event": "COMMENT", "comments": [{**INLINE, "line": "7"}]}
    bad = [
        request("GET", "/zen"),
        request("POST", f"{PULL}/reviews", {"event": "APPROVE"}),
        request("POST", f"{PULL}/reviews", wrong_line),
        request("POST", "/graphql", {"query": "{viewer{login}}", "variables": {}}),
        request("GET", ISSUE, query={"fields": "title"}),
        request("GET", ISSUE, {"a": 1}),
        request("GET", "/user", headers={"x-github-api-version": "2099-01-01"}),
    ]
    assert [problem.split(": ", 1)[1] for problem in violations(bad)] == [
        "Path not found for https://api.github.com/zen",
        "the event of the review is not COMMENT",
        "the body at $.comments[0].line: '7' is not of type 'integer'",
        "unknown GraphQL query",
        "unknown query parameter fields",
        "a body, where this operation has none",
        "no User-Agent: GitHub answers 403",
        "no Authorization",
        "X-GitHub-Api-Version is 2099-01-01, not 2022-11-28",
    ]


def test_the_subset_contains_exactly_the_operations_in_use() -> None:
    paths = json.loads(SUBSET.read_text(encoding="utf-8"))["paths"]
    assert {path: tuple(methods) for path, methods in paths.items()} == dict(OPERATIONS)
