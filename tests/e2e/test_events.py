"""Workflow runs, releases, comments and generic events."""

from __future__ import annotations

from pathlib import Path

from hls_handler.prompting import recorded
from hls_handler.sandbox.objects import Conversation
from hls_handler.sandbox.server import Sandbox
from tests.e2e.conftest import MakeService
from tests.e2e.service import Service
from tests.e2e.test_commands import hls
from tests.e2e.test_main_job import BUG, FEATURE, QUESTION, REPOSITORY, send

POSTED = "    comments: {post_to: {release: 12, workflow_run: 12, push: 12}}"


def conversation(sandbox: Sandbox, number: int) -> Conversation:
    found = sandbox.state.conversation(REPOSITORY, number)
    assert found is not None
    return found


def ours(sandbox: Sandbox, number: int, family: str) -> list[str]:
    """Return the bot's comments of a family."""
    mark = f"<!-- hls:{family} -->"
    return [comment.body for comment in conversation(sandbox, number).comments if comment.body.endswith(mark)]


def asked(sandbox: Sandbox) -> int:
    return len(sandbox.requests.all("claude"))


def test_two_concurrent_failures_of_one_fork_commit_make_one_comment(service: Service, sandbox: Sandbox) -> None:
    send(service, sandbox, "demo/feature-push")
    both = [recorded.load(name) for name in ("demo/tests-failed", "demo/lint-failed")]
    for payload in both:
        sandbox.state.seed(payload.event, payload.payload)
    for payload in both:
        assert service.deliver(payload.event, payload.body).status == 202
    service.until_idle()
    (body,) = ours(sandbox, FEATURE, "workflows")
    assert "**`Tests` failed** in [run " in body
    assert "**`Lint` failed** in [run " in body
    assert body.count("Automatic comment by HLS") == 1
    assert "> line " in body  # the cause is shown by a line of the log


def test_a_workflow_that_passes_later_is_collapsed_to_one_line(service: Service, sandbox: Sandbox) -> None:
    send(service, sandbox, "demo/feature-push")
    send(service, sandbox, "demo/tests-failed")
    send(service, sandbox, "demo/lint-failed")
    before = asked(sandbox)
    send(service, sandbox, "demo/tests-passed")
    (body,) = ours(sandbox, FEATURE, "workflows")
    assert "**`Tests`** is fixed: [run " in body
    assert "in attempt 2, without a change: it is flaky." in body
    assert "`Tests` failed" not in body
    assert "**`Lint` failed** in [run " in body
    assert asked(sandbox) == before


def test_a_failure_received_after_a_later_success_is_not_posted(service: Service, sandbox: Sandbox) -> None:
    """GitHub does not guarantee an order, and an outage of Claude may delay a failure for hours."""
    send(service, sandbox, "demo/feature-push")
    send(service, sandbox, "demo/tests-passed")
    before = asked(sandbox)
    service.deliver("workflow_run", recorded.load("demo/tests-failed").body, guid="late")
    service.until_idle()
    store = service.open_store()
    row = store.deliveries.find("late")
    result = [one.guid for one in store.deliveries.of_conversation(REPOSITORY, FEATURE)]
    store.close()
    assert row is not None
    assert row.reason == "run 412, attempt 2, of the same workflow is later, and passed"
    assert "late" not in result  # it left no trace in the conversation
    assert asked(sandbox) == before
    assert ours(sandbox, FEATURE, "workflows") == []


def test_why_of_a_pull_request_lists_its_workflow_runs(service: Service, sandbox: Sandbox) -> None:
    send(service, sandbox, "demo/feature-push")
    send(service, sandbox, "demo/tests-failed")
    result = hls("why", f"{REPOSITORY}#{FEATURE}", "--config", str(service.settings)).stdout
    assert "workflow_run.completed" in result


def test_a_passing_workflow_without_earlier_failure_makes_no_request(service: Service, sandbox: Sandbox) -> None:
    send(service, sandbox, "demo/feature-push")
    before = len(sandbox.requests.all("github"))
    assert send(service, sandbox, "demo/tests-passed") == "queued"
    assert len(sandbox.requests.all("github")) == before
    assert ours(sandbox, FEATURE, "workflows") == []


def test_a_failure_of_an_older_commit_is_stored_and_not_posted(service: Service, sandbox: Sandbox) -> None:
    payload = recorded.load("demo/tests-failed")
    sandbox.state.seed(payload.event, payload.payload)
    send(service, sandbox, "demo/feature")  # its head is another commit
    before = asked(sandbox)
    service.deliver(payload.event, payload.body, guid="older")
    service.until_idle()
    store = service.open_store()
    row = store.deliveries.find("older")
    store.close()
    assert row is not None
    assert row.reason == "the pull request has newer commits than the run: failures are recorded, but not posted"
    assert asked(sandbox) == before


def test_expired_logs_leave_a_reason_and_no_call_to_claude(service: Service, sandbox: Sandbox) -> None:
    send(service, sandbox, "demo/feature-push")
    payload = recorded.load("demo/tests-failed")
    sandbox.state.seed(payload.event, payload.payload)
    for run in sandbox.state.runs():
        for attempt in run.attempts:
            for job in attempt.jobs:
                assert sandbox.state.set_log(REPOSITORY, job.id, None)
    before = asked(sandbox)
    service.deliver(payload.event, payload.body)
    service.until_idle()
    assert asked(sandbox) == before
    assert ours(sandbox, FEATURE, "workflows") == []


def test_a_failure_on_the_default_branch_is_posted_to_the_fallback_issue(
    make_service: MakeService, sandbox: Sandbox
) -> None:
    service = make_service(more=POSTED).start()
    send(service, sandbox, "demo/question")
    send(service, sandbox, "demo/main-failed")
    (body,) = ours(sandbox, QUESTION, "workflows")
    assert "` failed** in [run " in body


def test_a_release_announcement_is_posted_to_the_fallback_issue(make_service: MakeService, sandbox: Sandbox) -> None:
    service = make_service(more=POSTED).start()
    send(service, sandbox, "demo/question")
    send(service, sandbox, "demo/release")
    (body,) = ours(sandbox, QUESTION, "releases")
    assert body.startswith("<!-- hls:section ")
    assert "**Draft of an announcement of [`v4.3.0`](" in body


def test_a_release_is_analysed_and_not_posted_without_fallback_issue(service: Service, sandbox: Sandbox) -> None:
    send(service, sandbox, "demo/question")
    before = asked(sandbox)
    send(service, sandbox, "demo/release")
    assert asked(sandbox) == before + 1
    assert ours(sandbox, QUESTION, "releases") == []


def test_newcomers_to_one_conversation_get_one_reply(service: Service, sandbox: Sandbox) -> None:
    send(service, sandbox, "demo/bug")
    send(service, sandbox, "demo/hint")
    send(service, sandbox, "demo/first-contribution")
    assert len(ours(sandbox, BUG, "onboarding")) == 1
    before = asked(sandbox)
    send(service, sandbox, "demo/first-contribution")
    assert asked(sandbox) == before
    assert len(ours(sandbox, BUG, "onboarding")) == 1


def test_a_question_to_the_bot_is_answered_in_the_conversation(service: Service, sandbox: Sandbox) -> None:
    send(service, sandbox, "demo/feature-push")
    send(service, sandbox, "demo/mention")
    mention = recorded.load("demo/mention").payload["comment"]
    assert isinstance(mention, dict)
    (answer,) = ours(sandbox, FEATURE, f"comments-{mention['id']}")
    assert "asked: " in answer.split("\n")[0]
    assert "@hls-bot" not in answer  # it is quoted, and mentions nobody


def test_a_comment_without_question_is_ignored(service: Service, sandbox: Sandbox) -> None:
    assert send(service, sandbox, "demo/bug") == "queued"
    assert send(service, sandbox, "demo/hint") == "ignored"


def test_a_prompt_file_adds_another_event_without_code(
    make_service: MakeService, sandbox: Sandbox, prompts: Path
) -> None:
    """As in docs/prompts.md; the running service loads the new file."""
    service = make_service(more=POSTED, prompts=str(prompts))
    service.settings.write_text(service.settings.read_text().replace("issue_comment]", "issue_comment, push]"))
    service.start()
    send(service, sandbox, "demo/question")
    labels = conversation(sandbox, QUESTION).labels
    assert send(service, sandbox, "demo/push") == "ignored"
    (prompts / "push").mkdir()
    (prompts / "push" / "tell.j2").write_text(
        "---\ndescription: What was pushed\non: [push]\nreply: generic_analysis\n"
        "fields: {urgent: {type: boolean}}\nlabels: {urgent: urgent}\n---\n"
        "{% extends 'generic.j2' %}\n{% block question %}\nWhat was pushed to {{ event.ref }}?\n{% endblock %}\n"
    )
    assert send(service, sandbox, "demo/push") == "queued"
    (body,) = ours(sandbox, QUESTION, "push")
    assert "*Automatic comment about [this push](" in body
    assert conversation(sandbox, QUESTION).labels == labels  # the fallback issue gets no labels
