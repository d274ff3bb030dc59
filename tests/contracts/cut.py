"""Cuts the operations that HLS uses out of GitHub's OpenAPI description into `github_openapi.json`, beside this file.

    python -m tests.contracts.cut path/to/package/generated/api.github.com.json

The input is `generated/api.github.com.json` of the npm package @octokit/openapi, 23.0.2 (MIT; see LICENSE). References
are replaced by what they refer to. Left out are examples, GitHub's extensions and all that is about answers, since
only requests are validated.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

CUT = Path(__file__).with_name("github_openapi.json")

REPOSITORY = "/repos/{owner}/{repo}"
ISSUE = f"{REPOSITORY}/issues/{{issue_number}}"

OPERATIONS: Mapping[str, tuple[str, ...]] = {
    "/user": ("get",),
    "/rate_limit": ("get",),
    REPOSITORY: ("get",),
    ISSUE: ("get",),
    f"{ISSUE}/comments": ("get", "post"),
    f"{REPOSITORY}/issues/comments/{{comment_id}}": ("get", "patch"),
    f"{ISSUE}/labels": ("get", "post"),
    f"{ISSUE}/labels/{{name}}": ("delete",),
    f"{REPOSITORY}/labels": ("get", "post"),
    f"{REPOSITORY}/labels/{{name}}": ("get",),
    f"{REPOSITORY}/pulls": ("get",),
    f"{REPOSITORY}/pulls/{{pull_number}}": ("get",),
    f"{REPOSITORY}/pulls/{{pull_number}}/files": ("get",),
    f"{REPOSITORY}/pulls/{{pull_number}}/reviews": ("get",),
    f"{REPOSITORY}/pulls/{{pull_number}}/reviews/{{review_id}}/comments": ("get",),
    f"{REPOSITORY}/actions/runs/{{run_id}}/attempts/{{attempt_number}}/jobs": ("get",),
    f"{REPOSITORY}/actions/jobs/{{job_id}}/logs": ("get",),
    f"{REPOSITORY}/contents/{{path}}": ("get",),
    f"{REPOSITORY}/releases": ("get",),
    f"{REPOSITORY}/compare/{{basehead}}": ("get",),
    f"{REPOSITORY}/collaborators/{{username}}/permission": ("get",),
}
"""What HLS may ask of GitHub, and nothing else: approving, merging, closing or pushing is no operation here."""

ANSWERS = {"default": {"description": "answers are not part of this cut"}}


def cut(whole: Mapping[str, Any]) -> dict[str, Any]:
    """The operations of `OPERATIONS` as a description of their own."""
    paths: dict[str, Any] = {}
    for path, methods in OPERATIONS.items():
        paths[path] = {method: _operation(whole, whole["paths"][path][method]) for method in methods}
    kept = ("title", "version", "license")
    info = {key: whole["info"][key] for key in kept}
    return {"openapi": whole["openapi"], "info": info, "servers": whole["servers"], "paths": paths}


def _operation(whole: Mapping[str, Any], operation: Mapping[str, Any]) -> dict[str, Any]:
    kept = ("operationId", "summary", "parameters", "requestBody")
    return {key: _resolved(whole, operation[key]) for key in kept if key in operation} | {"responses": ANSWERS}


def _resolved(whole: Mapping[str, Any], node: Any) -> Any:
    """The same tree with references followed, and without examples and extensions."""
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
    return {k: _resolved(whole, v) for k, v in node.items() if k not in dropped and not k.startswith("x-")}


def main() -> None:
    whole = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    CUT.write_text(json.dumps(cut(whole), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
