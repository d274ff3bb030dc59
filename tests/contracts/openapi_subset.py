"""Extract the operations that HLS uses from GitHub's OpenAPI description into `github_openapi.json`
in this folder.

    python -m tests.contracts.openapi_subset path/to/package/generated/api.github.com.json

The input is `generated/api.github.com.json` of the npm package @octokit/openapi, 23.0.2 (MIT; see
LICENSE). References are resolved. Examples, GitHub's extensions and responses are dropped, because
only requests are validated.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

SUBSET = Path(__file__).with_name("github_openapi.json")

REPOSITORY = "/repos/{owner}/{repo}"
ISSUE = f"{REPOSITORY}/issues/{{issue_number}}"

OPERATIONS: Mapping[str, tuple[str, ...]] = {
    "/user": ("get",),
    "/rate_limit": ("get",),
    "/app": ("get",),
    "/app-manifests/{code}/conversions": ("post",),  # only `hls init`
    "/app/hook/config": ("get",),
    "/app/installations": ("get",),
    "/app/installations/{installation_id}/access_tokens": ("post",),
    "/installation/repositories": ("get",),
    REPOSITORY: ("get",),
    f"{REPOSITORY}/installation": ("get",),
    f"{REPOSITORY}/issues": ("get",),
    f"{REPOSITORY}/issue-types": ("get",),
    ISSUE: ("get", "patch"),  # a patch sets the type, and nothing else
    f"{ISSUE}/comments": ("get", "post"),
    f"{ISSUE}/timeline": ("get",),
    f"{REPOSITORY}/issues/comments/{{comment_id}}": ("get", "patch"),
    f"{REPOSITORY}/issues/comments/{{comment_id}}/reactions": ("get", "post"),
    f"{ISSUE}/labels": ("get", "post"),
    f"{ISSUE}/labels/{{name}}": ("delete",),
    f"{REPOSITORY}/labels": ("get", "post"),
    f"{REPOSITORY}/labels/{{name}}": ("get",),
    f"{REPOSITORY}/pulls": ("get",),
    f"{REPOSITORY}/pulls/{{pull_number}}": ("get",),
    f"{REPOSITORY}/pulls/{{pull_number}}/files": ("get",),
    f"{REPOSITORY}/pulls/{{pull_number}}/reviews": ("get", "post"),
    f"{REPOSITORY}/pulls/{{pull_number}}/requested_reviewers": ("post",),
    f"{REPOSITORY}/commits": ("get",),
    f"{REPOSITORY}/pulls/comments/{{comment_id}}": ("get", "patch"),
    f"{REPOSITORY}/pulls/comments/{{comment_id}}/reactions": ("post",),
    f"{REPOSITORY}/pulls/{{pull_number}}/comments": ("get",),
    f"{REPOSITORY}/pulls/{{pull_number}}/comments/{{comment_id}}/replies": ("post",),
    f"{REPOSITORY}/pulls/{{pull_number}}/reviews/{{review_id}}/comments": ("get",),
    f"{REPOSITORY}/actions/runs/{{run_id}}/attempts/{{attempt_number}}/jobs": ("get",),
    f"{REPOSITORY}/actions/jobs/{{job_id}}/logs": ("get",),
    f"{REPOSITORY}/git/ref/{{ref}}": ("get",),
    f"{REPOSITORY}/contents/{{path}}": ("get",),
    f"{REPOSITORY}/releases": ("get",),
    f"{REPOSITORY}/compare/{{basehead}}": ("get",),
    f"{REPOSITORY}/check-runs": ("post",),
    f"{REPOSITORY}/check-runs/{{check_run_id}}": ("get", "patch"),
    f"{REPOSITORY}/check-runs/{{check_run_id}}/annotations": ("get",),
    f"{REPOSITORY}/commits/{{ref}}/check-runs": ("get",),
    f"{REPOSITORY}/statuses/{{sha}}": ("post",),
    f"{REPOSITORY}/collaborators/{{username}}/permission": ("get",),
    "/users/{username}": ("get",),
    f"{REPOSITORY}/hooks": ("get", "post"),  # the writes to hooks only in `hls init`
    f"{REPOSITORY}/hooks/{{hook_id}}": ("patch",),
    f"{REPOSITORY}/hooks/{{hook_id}}/pings": ("post",),
    f"{REPOSITORY}/hooks/{{hook_id}}/deliveries": ("get",),
    f"{REPOSITORY}/hooks/{{hook_id}}/deliveries/{{delivery_id}}": ("get",),
    "/orgs/{org}/hooks": ("get", "post"),
    "/orgs/{org}/hooks/{hook_id}": ("patch",),
    "/orgs/{org}/hooks/{hook_id}/pings": ("post",),
    "/orgs/{org}/hooks/{hook_id}/deliveries": ("get",),
    "/orgs/{org}/hooks/{hook_id}/deliveries/{delivery_id}": ("get",),
    "/app/hook/deliveries": ("get",),
    "/app/hook/deliveries/{delivery_id}": ("get",),
    "/app/hook/deliveries/{delivery_id}/attempts": ("post",),
}
"""The only operations that HLS may use; none merges, closes or pushes. The event of each review is
COMMENT.
"""

RESPONSES = {"default": {"description": "answers are not part of this cut"}}


def extract(whole: Mapping[str, Any]) -> dict[str, Any]:
    """Return a description with the operations in `OPERATIONS`."""
    paths: dict[str, Any] = {}
    for path, methods in OPERATIONS.items():
        paths[path] = {
            method: _operation(whole, whole["paths"][path][method]) for method in methods
        }
    info = {key: whole["info"][key] for key in ("title", "version", "license")}
    return {"openapi": whole["openapi"], "info": info, "servers": whole["servers"], "paths": paths}


def _operation(whole: Mapping[str, Any], operation: Mapping[str, Any]) -> dict[str, Any]:
    keys = ("operationId", "summary", "parameters", "requestBody")
    return {key: _resolved(whole, operation[key]) for key in keys if key in operation} | {
        "responses": RESPONSES
    }


def _resolved(whole: Mapping[str, Any], node: Any) -> Any:
    """Resolve references, and drop examples and extensions."""
    if isinstance(node, list):
        return [_resolved(whole, item) for item in node]
    if not isinstance(node, Mapping):
        return node
    if "$ref" in node:
        target: Any = whole
        for part in node["$ref"].removeprefix("#/").split("/"):
            target = target[part]
        return _resolved(whole, target)
    dropped = {"example", "examples"}
    return {
        k: _resolved(whole, v)
        for k, v in node.items()
        if k not in dropped and not k.startswith("x-")
    }


def main() -> None:
    whole = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    SUBSET.write_text(
        json.dumps(extract(whole), indent=1, ensure_ascii=False) + "\n", encoding="utf-8"
    )


if __name__ == "__main__":
    main()
