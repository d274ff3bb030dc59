"""The control API of the sandbox."""

from __future__ import annotations

from typing import Any

import pytest

from hls_handler.prompting import recorded
from hls_handler.sandbox.server import Sandbox
from tests.sandbox.conftest import REPOSITORY, Answer, ask, ask_github, seed_story


def control(sandbox: Sandbox, method: str, path: str, body: object = None, **headers: str) -> Answer:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return ask(sandbox.page_url, method, f"/_sandbox{path}", body, named)


def test_describes_the_sandbox_and_its_urls(sandbox: Sandbox) -> None:
    about = control(sandbox, "GET", "").document
    assert about["service"] == "hls-sandbox"
    assert (about["github_url"], about["claude_url"], about["page_url"]) == (
        sandbox.github_url,
        sandbox.claude_url,
        sandbox.page_url,
    )
    assert sandbox.token not in str(about)


def test_a_posted_webhook_seeds_its_issue(sandbox: Sandbox) -> None:
    one = recorded.load("demo/question")
    answer = control(sandbox, "POST", "/plant", {"event": one.event, "payload": one.payload})
    assert (answer.status, answer.document) == (201, {"thread": f"{REPOSITORY}#12"})
    assert sandbox.state.conversation(REPOSITORY, 12) is not None


def test_changed_files_can_be_posted_with_a_webhook(sandbox: Sandbox) -> None:
    one = recorded.load("pull_request.opened")
    files: list[dict[str, Any]] = [{"filename": "mine.py", "additions": 3}]
    control(sandbox, "POST", "/plant", {"event": one.event, "payload": one.payload, "files": files})
    control(sandbox, "POST", "/plant", {"event": one.event, "payload": one.payload})
    conversation = sandbox.state.conversation(REPOSITORY, 2)
    assert conversation is not None
    assert [one["filename"] for one in conversation.files] == ["mine.py"]
    assert [conversation.document[name] for name in ("changed_files", "additions", "deletions")] == [1, 3, 0]


def test_an_event_without_issue_or_pull_request_returns_no_thread(sandbox: Sandbox) -> None:
    one = recorded.load("ping")
    answer = control(sandbox, "POST", "/plant", {"event": one.event, "payload": one.payload})
    assert (answer.status, answer.document) == (201, {"thread": None})


def test_faults_are_set_listed_and_cleared(sandbox: Sandbox) -> None:
    added = control(sandbox, "POST", "/faults", {"effect": "status", "status": 502, "path": "^/user$"})
    assert added.status == 201
    assert ask_github(sandbox, "GET", "/user").status == 502
    (listed,) = control(sandbox, "GET", "/faults").document
    assert (listed["effect"], listed["path"], listed["taken"]) == ("status", "^/user$", 1)
    assert control(sandbox, "DELETE", "/faults").status == 204
    assert control(sandbox, "GET", "/faults").document == []


def test_requests_are_listed_and_cleared(sandbox: Sandbox) -> None:
    ask_github(sandbox, "GET", "/user")
    (seen,) = control(sandbox, "GET", "/requests").document
    assert (seen["stand_in"], seen["method"], seen["path"], seen["status"]) == ("github", "GET", "/user", 200)
    assert control(sandbox, "GET", "/requests?stand_in=claude").document == []
    assert len(control(sandbox, "GET", "/requests?stand_in=github").document) == 1
    assert control(sandbox, "DELETE", "/requests").status == 204
    assert control(sandbox, "GET", "/requests").document == []


@pytest.mark.parametrize(
    ("path", "body", "said"),
    [
        ("/plant", {"event": "issues"}, "payload: Field required"),
        ("/plant", {"event": "issues", "payload": []}, "payload: "),
        ("/plant", b"{", "the body: "),
        ("/faults", {"effect": "explode"}, "effect: "),
        ("/faults", {"effect": "drop", "path": "("}, "must be a regular expression"),
    ],
)
def test_an_invalid_request_is_400(sandbox: Sandbox, path: str, body: object, said: str) -> None:
    answer = control(sandbox, "POST", path, body)
    assert (answer.status, said in answer.document["detail"]) == (400, True), answer.text


def test_an_unknown_stand_in_is_400(sandbox: Sandbox) -> None:
    assert control(sandbox, "GET", "/requests?stand_in=gitlab").status == 400


def test_a_content_type_that_a_web_form_can_send_is_rejected(sandbox: Sandbox) -> None:
    answer = control(sandbox, "POST", "/faults", b'{"effect": "drop"}', Content_Type="text/plain")
    assert (answer.status, sandbox.faults.rules) == (400, ())
    assert control(sandbox, "GET", "", Host="evil.example.org").status == 400


def test_the_log_of_a_job_can_be_replaced_and_expired(sandbox: Sandbox) -> None:
    seed_story(sandbox, "demo/tests-failed")
    change = {"repository": REPOSITORY, "job": 54110020701, "log": "##[error]No space left on device"}
    assert control(sandbox, "POST", "/logs", change).status == 204
    found = sandbox.state.find_job(REPOSITORY, 54110020701)
    assert found is not None
    assert found[2].log == "##[error]No space left on device"
    assert control(sandbox, "POST", "/logs", {**change, "log": None}).status == 204
    assert ask_github(sandbox, "GET", f"/repos/{REPOSITORY}/actions/jobs/54110020701/logs").status == 410


def test_the_conclusion_of_an_attempt_can_be_changed(sandbox: Sandbox) -> None:
    seed_story(sandbox, "demo/tests-failed")
    change = {"repository": REPOSITORY, "run": 19041222731, "attempt": 1, "conclusion": "success"}
    assert control(sandbox, "POST", "/attempts", change).status == 204
    run = sandbox.state.run(REPOSITORY, 19041222731)
    assert run is not None
    assert run.last.conclusion == "success"


def test_a_file_of_a_branch_can_be_set_and_deleted(sandbox: Sandbox) -> None:
    seed_story(sandbox, "demo/bug")
    change = {"repository": REPOSITORY, "path": ".github/hls.yaml", "text": "enabled: false"}
    assert control(sandbox, "POST", "/files", change).status == 204
    assert control(sandbox, "POST", "/files", {**change, "branch": "changes", "text": "x"}).status == 204
    assert sandbox.state.world.file_at(REPOSITORY, "changes", ".github/hls.yaml") == "x"
    path = f"/repos/{REPOSITORY}/contents/.github/hls.yaml"
    assert ask_github(sandbox, "GET", path).document["size"] == 14
    assert control(sandbox, "POST", "/files", {**change, "text": None}).status == 204
    assert ask_github(sandbox, "GET", path).status == 404


@pytest.mark.parametrize(
    ("path", "body", "said"),
    [
        (
            "/files",
            {"repository": "o/nowhere", "path": "a", "text": "b"},
            "repository: the sandbox has no o/nowhere: send an event of it first",
        ),
        (
            "/logs",
            {"job": 5, "log": ""},
            "job: the sandbox has no job 5 of Codertocat/Hello-World: send the event of its run first",
        ),
        ("/logs", {"job": 5}, "log: Field required"),
        (
            "/comments",
            {"number": 2, "author": "mona", "body": "/review"},
            "number: the sandbox has no Codertocat/Hello-World#2: send its event first",
        ),
        (
            "/attempts",
            {"run": 5, "attempt": 1, "conclusion": "success"},
            "attempt: the sandbox has no attempt 1 of run 5 of Codertocat/Hello-World: send the event of the run first",
        ),
        (
            "/attempts",
            {"run": 5, "attempt": 1, "conclusion": "fine"},
            (
                "conclusion: Input should be 'success', 'failure', 'timed_out', 'cancelled', 'skipped' or "
                "'startup_failure'"
            ),
        ),
    ],
)
def test_a_change_of_an_unknown_object_names_it(sandbox: Sandbox, path: str, body: dict[str, Any], said: str) -> None:
    answer = control(sandbox, "POST", path, {"repository": REPOSITORY, **body})
    assert (answer.status, answer.document) == (400, {"detail": said})
