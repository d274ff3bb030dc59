"""Label corrections by people: counted for the prompt, and shown in the next prompt."""

from __future__ import annotations

import json
from contextlib import closing
from typing import Any

from hls_handler.prompting import recorded
from hls_handler.sandbox.objects import Account
from hls_handler.sandbox.server import Sandbox
from hls_handler.store.corrections import FieldFeedback, feedback_in
from tests.e2e.service import Service, Waiting
from tests.e2e.test_main_job import BUG, REPOSITORY, send

CODERTOCAT = Account("Codertocat", 21031067, "User")


def change(service: Service, sandbox: Sandbox, action: str, label: str) -> str:
    """Change a label as a maintainer, deliver the event and return the response."""
    conversation = sandbox.state.conversation(REPOSITORY, BUG)
    assert conversation is not None
    if action == "labeled":
        conversation = sandbox.state.add_labels(conversation, (label,), by=CODERTOCAT)
    else:
        conversation = sandbox.state.remove_label(conversation, label, by=CODERTOCAT)
    payload: dict[str, Any] = recorded.load("demo/bug").payload
    payload |= {"action": action, "label": {"name": label}, "sender": recorded.load("demo/review").payload["sender"]}
    payload["issue"]["labels"] = [{"name": name} for name in conversation.labels]
    answer = service.deliver("issues", json.dumps(payload).encode())
    service.until_idle()
    return str(answer.body["status"])


def assert_priority(service: Service, **expected: object) -> None:
    """Wait for a value in `/stats`, which may be a second old."""
    waiting = Waiting(5)
    while waiting.more():
        result = [fields["priority"] for fields in service.get("/stats").body["feedback"].values()]
        if result == [expected]:
            return
    raise AssertionError(f"{result} is not {expected}")


def test_a_label_correction_is_counted_and_shown_in_the_next_prompt(service: Service, sandbox: Sandbox) -> None:
    send(service, sandbox, "demo/bug")
    assert_priority(service, set=1, corrected=0, share=0.0)
    requests = len(sandbox.requests.all())

    assert change(service, sandbox, "labeled", "help wanted") == "ignored"
    assert change(service, sandbox, "unlabeled", "priority-high") == "queued"
    assert change(service, sandbox, "labeled", "priority-low") == "queued"
    assert_priority(service, set=1, corrected=1, share=1.0)
    assert len(sandbox.requests.all()) == requests  # neither GitHub nor Claude was asked

    send(service, sandbox, "demo/question")
    asked = [request.document()["body"] for request in sandbox.requests.all("claude") if request.writes]
    first, *others = [json.dumps(body, ensure_ascii=False) for body in asked]
    assert "Corrections, the newest first" not in first
    for part in ("Corrections, the newest first", ">priority-high<", "made it", ">priority-low<"):
        assert part in others[0]
    assert "The title of that issue: <untrusted " in others[0]

    send(service, sandbox, "demo/bug-edited")  # the same is seen on the conversation, and counted no second time
    with closing(service.open_store()) as store:
        (fields,) = feedback_in(store.statistics.counters()).values()
    assert fields["priority"] == FieldFeedback(set=2, corrected=1)
