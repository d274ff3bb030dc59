"""SECURITY.md rule 12: the set of writes to GitHub is closed; searches the whole package for
others.
"""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

import hls_handler
from hls_handler.github.history import CLOSED_ISSUES_QUERY, MERGED_PULL_REQUESTS_QUERY
from hls_handler.github.reader import MERGE_STATE_QUERY
from hls_handler.github.review_threads import REVIEW_THREADS_QUERY
from hls_handler.github.source import blobs_query, head_files_query, review_context_query

PACKAGE = Path(hls_handler.__file__).parent
SETUP = "github/webhook_setup.py"  # of `hls init`
WRITERS = (
    SETUP,
    "github/check_writer.py",
    "github/comments.py",
    "github/review_writer.py",
    "github/writer.py",
)
HTTP_LIBRARIES = {"github", "requests", "urllib3", "httpx", "httpx2", "aiohttp", "anthropic"}
HTTP_CLIENTS = (
    "github/",
    "claude/",
    "retrieval/vectors.py",
    "transport.py",
)
PLAIN_HTTP = {"http.client", "urllib.request"}  # cli/send.py posts to our own service
CONNECTION = "github/connection.py"  # of PyGithub


@cache
def modules() -> dict[str, list[ast.AST]]:
    """Return the nodes of every module of the product."""
    names = sorted(path.relative_to(PACKAGE).as_posix() for path in PACKAGE.rglob("*.py"))
    return {name: list(ast.walk(ast.parse((PACKAGE / name).read_text()))) for name in names}


@cache
def calls_in(name: str) -> dict[str, list[ast.Call]]:
    """Return the calls of methods in a module, by the method's name."""
    calls = defaultdict[str, list[ast.Call]](list)
    for node in modules()[name]:
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            calls[node.func.attr].append(node)
    return calls


def template(node: ast.expr) -> str:
    """Return "{}/labels" for an f-string."""
    if isinstance(node, ast.Constant):
        return str(node.value)
    if isinstance(node, ast.JoinedStr):
        return "".join(template(part) for part in node.values)
    return "{}"


def writes_of(function: ast.FunctionDef) -> Iterator[ast.Call]:
    for node in ast.walk(function):
        if (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Name)
            and node.func.id == "rest"
            and template(node.args[0]) != "GET"
        ):
            yield node


def functions(*names: str) -> list[ast.FunctionDef]:
    return [node for name in names for node in modules()[name] if isinstance(node, ast.FunctionDef)]


def test_rule_12_only_these_writes_are_sent_by_path() -> None:
    def written_in(function: ast.FunctionDef) -> Iterator[tuple[str, str]]:
        """Yield verb and path of each write by `rest` in a function; the path may be a local
        variable.
        """
        named = {
            node.targets[0].id: template(node.value)
            for node in ast.walk(function)
            if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name)
        }
        for call in writes_of(function):
            path = call.args[1]
            yield (
                template(call.args[0]),
                named[path.id] if isinstance(path, ast.Name) else template(path),
            )

    writes = [write for function in functions(*modules()) for write in written_in(function)]
    assert sorted(writes) == [
        ("DELETE", "/repos/{}/issues/{}/labels/{}"),
        ("DELETE", "{}/issues/{}/labels/{}"),
        ("PATCH", "{}/hooks/{}"),
        ("PATCH", "{}/issues/{}"),
        ("POST", "/app-manifests/{}/conversions"),
        ("POST", "/app/installations/{}/access_tokens"),
        ("POST", "{}/deliveries/{}/attempts"),
    ]


def methods_in(name: str, *senders: str) -> Iterator[str]:
    """Yield the methods that a module calls in the requests which it passes to these methods of
    `Api`.
    """
    named = {function.name: function for function in functions(name)}
    sends = [call for sender in senders for call in calls_in(name)[sender]]
    for send in sends:
        request = send.args[0] if send.args else None
        body = named.get(request.id) if isinstance(request, ast.Name) else request
        if "api" not in ast.unparse(send.func) or body is None:
            continue
        for node in ast.walk(body):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                yield node.func.attr


def test_rule_12_only_these_methods_of_pygithub_write() -> None:
    methods = {method for name in WRITERS for method in methods_in(name, "write")}
    assert sorted(method for method in methods if not method.startswith("get_")) == [
        "add_to_labels",
        "create_check_run",
        "create_comment",
        "create_hook",
        "create_label",
        "create_reaction",
        "create_review",
        "create_review_comment_reply",
        "create_review_request",
        "create_status",
        "edit",
        "ping",
    ]


def test_rule_12_requests_that_are_no_write_only_read() -> None:
    senders = ("find", "get", "items", "page", "read", "send")
    methods = {
        method
        for name in modules()
        if name.startswith("github/") and name != "github/api.py"
        for method in methods_in(name, *senders)
    }
    assert {method for method in methods if not method.startswith("get_")} == {"complete"}


def test_rule_12_the_only_event_of_a_review_is_comment() -> None:
    reviews = [
        ast.unparse(call.args[2]) for name in modules() for call in calls_in(name)["create_review"]
    ]
    assert reviews == ["'COMMENT'"]


def test_rule_12_a_write_to_an_issue_itself_changes_only_its_type() -> None:
    function = next(one for one in functions("github/writer.py") if one.name == "_write_type")
    bodies = [
        ast.unparse(keyword.value)
        for call in writes_of(function)
        for keyword in call.keywords
        if keyword.arg == "body"
    ]
    assert bodies == ["{'type': name}"]


def test_rule_12_graphql_is_only_used_to_read() -> None:
    queries = [
        (name, ast.unparse(call.args[0]))
        for name in modules()
        for call in calls_in(name)["query"]
        if "api" in ast.unparse(call.func)
    ]
    assert sorted(queries) == [
        ("github/client.py", "VIEWER_QUERY"),
        ("github/history.py", "query"),
        ("github/reader.py", "MERGE_STATE_QUERY"),
        ("github/review_threads.py", "REVIEW_THREADS_QUERY"),
        ("github/source.py", "blobs_query(len(ids), len(contents))"),
        ("github/source.py", "head_files_query(len(names))"),
        ("github/source.py", "review_context_query(len(files))"),
    ]
    for query in (
        CLOSED_ISSUES_QUERY,
        MERGED_PULL_REQUESTS_QUERY,
        MERGE_STATE_QUERY,
        review_context_query(2),
        head_files_query(2),
        blobs_query(1, 2),
        REVIEW_THREADS_QUERY,
    ):
        assert query.startswith("query(")
        assert "mutation" not in query


def test_rule_12_no_other_module_writes_or_sends_http_to_github() -> None:
    for name in modules():
        calls = calls_in(name)
        if not name.startswith(HTTP_CLIENTS):
            assert not imported(name) & HTTP_LIBRARIES, name
        if not name.startswith("cli/"):
            assert not imported(name) & PLAIN_HTTP, name
        if name not in WRITERS:
            on_api = [call for call in calls["write"] if "api" in ast.unparse(call.func)]
            assert on_api == [], name
        if name != "github/api.py":
            senders = ("requestJson", "requestJsonAndCheck", "graphql_query")
            assert [call for sender in senders for call in calls[sender]] == [], name
        if name not in (CONNECTION, "github/reader.py", "transport.py"):
            assert calls["handle_request"] == [], name


@cache
def imported(name: str) -> set[str]:
    names = set[str]()
    for node in modules()[name]:
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        if isinstance(node, ast.ImportFrom):
            names.add(node.module or "")
            names.update(f"{node.module}.{alias.name}" for alias in node.names)
    return names | {name.split(".")[0] for name in names}


@pytest.mark.parametrize("module", ["app_setup", "webhook_setup"])
def test_rule_12_only_hls_init_creates_an_app_or_a_webhook(module: str) -> None:
    users = [name for name in modules() if f"hls_handler.github.{module}" in imported(name)]
    assert users != []
    assert [
        name for name in users if not name.startswith("cli/init/") and name != "github/app_setup.py"
    ] == []
