"""Encoding of Claude's replies and of code as checkpoints, and decoding after a change of the
prompt.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import pytest

from hls_handler.analysis import (
    IssueAnalysis,
    IssueResponse,
    PullRequestAnalysis,
    Reply,
    ReplyFields,
    Usage,
)
from hls_handler.engine.codecs import (
    decode_reply,
    decode_reply_for_display,
    encode_reply,
    facts_codec,
)
from hls_handler.review.facts import PullRequestFacts
from hls_handler.store.call_rows import StoredReply
from tests.engine.claude import CLAUDE_DOWN, INVALID
from tests.engine.world import BUG, GUID, MakeWorld
from tests.handlers.world import (
    ISSUE,
    file,
    finding,
    gather_review,
    issue_analysis,
    pull_request,
    pull_request_analysis,
)
from tests.prompting.samples import load
from tests.prompting.test_library_errors import front

M = TypeVar("M", bound=ReplyFields)


def decode(stored: StoredReply, model: type[M]) -> M:
    decoded = decode_reply(stored, reply_type=stored.reply_type, model=model)
    assert decoded is not None
    assert isinstance(decoded.fields, model)
    return decoded.fields


def encode_and_decode(answer: str) -> str:
    reply = IssueResponse(worth_saying=True, sources=[], answer=answer, certain=True)
    encoded = encode_reply(Reply("issues/respond@3f9c2a", "issue_response", reply, Usage("claude")))
    return decode(encoded, IssueResponse).answer


def test_invisible_characters_are_removed_from_a_reply() -> None:
    assert (
        encode_and_decode("\x1b[31mred\x07 \x9b\u202ebidi\u200b\n\tcode <!-- shown -->")
        == "[31mred bidi\n\tcode <!-- shown -->"
    )


def test_rule_10_credential_with_an_invisible_character_is_redacted() -> None:
    assert "A1b2" not in encode_and_decode("ghp\u200b_" + "A1b2" * 9)


def test_rule_10_reply_that_exceeds_its_length_after_redaction_is_decoded() -> None:
    summary = f"{'a ' * 980}password=hunter2"
    reply = issue_analysis(summary=f"{summary}{'.' * (2000 - len(summary))}")
    encoded = encode_reply(Reply("issues/analyze@1", "issue_analysis", reply, Usage("claude")))
    decoded = decode(encoded, IssueAnalysis).summary
    assert "hunter2" not in decoded
    assert decoded.endswith("…")
    assert len(decoded) <= 2000


# --- prompts that change between the call and the decoding
# -----------------------------------------------------------

AREAS = "{areas: {type: list, enum: [api, docs, tests]}, version: {type: string}}"


def with_fields(folder: Path, fields: str) -> type[ReplyFields]:
    library = load(folder / "library", {"issues/a.j2": front(fields=fields) + "x"})
    return library.prompts["issues/a"].reply_model


def make_reply(model: type[ReplyFields], **fields: object) -> Reply:
    reply = model.model_validate({**issue_analysis().model_dump(), **fields})
    return Reply("issues/a@1", "issue_analysis", reply, Usage("claude"))


@pytest.mark.parametrize(
    ("fields", "is_used"),
    [
        (AREAS, True),
        ("{areas: {type: list}, version: {type: string}}", True),
        ("{areas: {type: list, enum: [docs, tests]}, version: {type: string}}", False),
        ("{areas: {type: list, enum: [api, docs]}}", False),
        (
            (
                "{areas: {type: list, enum: [api, docs]}, version: {type: string}, old: {type:"
                " boolean}}"
            ),
            False,
        ),
    ],
    ids=["as it was", "any values", "value gone", "field gone", "new field"],
)
def test_reply_is_decoded_for_a_changed_prompt_if_it_fits(
    tmp_path: Path, fields: str, is_used: bool
) -> None:
    encoded = encode_reply(make_reply(with_fields(tmp_path, AREAS), areas=["api"], version="2.1"))
    model = with_fields(tmp_path, fields)
    decoded = decode_reply(encoded, reply_type="issue_analysis", model=model)
    assert (decoded is not None) is is_used
    if decoded is not None:
        assert type(decoded.fields) is model
        assert decoded.fields.model_dump() == {
            **issue_analysis().model_dump(),
            "areas": ["api"],
            "version": "2.1",
        }


def test_reply_is_decoded_for_display_without_its_prompt(tmp_path: Path) -> None:
    model = with_fields(tmp_path, "{component: {enum: [payments, none]}, version: {type: string}}")
    shown = decode_reply_for_display(
        encode_reply(make_reply(model, component="payments", version="2.1"))
    )
    assert shown is not None
    assert isinstance(shown.fields, IssueAnalysis)
    assert shown.fields.model_dump() == {
        **issue_analysis().model_dump(),
        "component": "payments",
        "version": "2.1",
    }


def test_rule_10_credential_in_a_custom_field_is_redacted(tmp_path: Path) -> None:
    encoded = encode_reply(
        make_reply(with_fields(tmp_path, AREAS), areas=[], version="ghp_" + "A1b2" * 9)
    )
    assert "A1b2" not in encoded.reply


# Code in facts and replies: stored and shown alike


LINE = '    password = "hunter2"'
TOKEN = "ghp_" + "a1B2" * 9
PATCH = f"@@ -1,1 +1,3 @@\n def area(side):\n+{LINE}\n+    token = '{TOKEN}'"


def test_rule_10_patch_and_prompt_are_the_same_after_a_restart(make_world: MakeWorld) -> None:
    world = make_world(CLAUDE_DOWN, pull_request_analysis())
    world.open_pull_request(
        file(patch=PATCH, additions=2, deletions=0), title="Use password=swordfish"
    )
    assert world.run() is None  # the facts are stored
    world.github.put_pull_request(pull_request(number=2), file("other.py"))
    world.advance(600)
    world.finish()
    first, second = world.claude.asked
    assert first.task == second.task
    assert f"R    2 + {LINE}\nR    3 +     token = '[redacted: github-token]'" in second.task
    assert "Use password=[redacted: password]" in second.task
    stored = facts_codec(PullRequestFacts).decode(world.store.checkpoints.load(GUID)["gather", 0])
    assert stored is not None
    assert stored.files[0].numbered.endswith(
        f"R    2 + {LINE}\nR    3 +     token = '[redacted: github-token]'"
    )


def test_rule_10_finding_keeps_the_code_that_it_quotes() -> None:
    one = finding(
        path="area.py",
        line=2,
        quote=LINE,
        suggestion="    password = get()",
        body="password=hunter2",
        look_up=["password='hunter2'"],
    )
    reply = pull_request_analysis(findings=[one, finding(quote=f"    token = '{TOKEN}'")])
    encoded = encode_reply(
        Reply("pull_requests/analyze@1", "pull_request_analysis", reply, Usage("claude"))
    )
    first, second = decode(encoded, PullRequestAnalysis).findings
    assert (first.quote, first.suggestion) == (LINE, "    password = get()")
    assert first.body == "password=[redacted: password]"
    assert first.look_up == ["password='[redacted: password]'"]
    assert second.quote == "    token = '[redacted: github-token]'"


SOCKET = 'socket = connect("ws://host/ws?token=ab12cd34&debug=1", password=pässword_of(user))'
SOCKET_PATCH = f"@@ -1,1 +1,3 @@\n def area(side):\n+    {SOCKET}\n+    token = '{TOKEN}'"
FROM_CODE = "`ws://host/ws?token=ab12cd34` connects, and password=pässword_of(user) too"
FROM_ELSEWHERE = f"password=hunter2, token=ab12cd3, token=turtle-blue, token={TOKEN}, token=b12cd34"
HIDDEN = (
    "password=[redacted: password], token=[redacted: token], token=[redacted: token],"
    " token=[redacted: github-token], token=[redacted: token]"
)


def test_rule_10_finding_repeats_what_stands_in_shown_code_and_nothing_else(
    make_world: MakeWorld,
) -> None:
    one = finding(
        path="area.py",
        line=2,
        quote=f"    {SOCKET}",
        title=FROM_CODE,
        body=f"{FROM_CODE}. {FROM_ELSEWHERE}",
    )
    world = make_world(
        pull_request_analysis(findings=[one], summary=f"{FROM_CODE}. {FROM_ELSEWHERE}")
    )
    world.open_pull_request(
        file(patch=SOCKET_PATCH, additions=2, deletions=0),
        body="The password=hunter2 and token=turtle-blue are ours.",
    )
    world.finish()
    asked = world.claude.asked[0].task
    assert "hunter2" not in asked
    assert "turtle-blue" not in asked
    # the second one is about the committed token
    inline = "\n".join(
        comment["body"] for _, comment in world.github.conversation(2).review_comments()
    )
    comment = world.github.comments[2]
    assert inline.count(FROM_CODE) == 2
    assert FROM_CODE in comment
    shown = inline + comment
    assert [
        secret
        for secret in ("hunter2", "turtle-blue", TOKEN, "=b12cd34", "=ab12cd3,")
        if secret in shown
    ] == []
    stored = decode(world.store.replies.of(GUID).valid[0], PullRequestAnalysis)
    assert stored.findings[0].title == FROM_CODE
    assert stored.findings[0].body == f"{FROM_CODE}. {HIDDEN}"
    assert stored.summary == f"{FROM_CODE}. {HIDDEN}"


@pytest.mark.parametrize("reply_type", ["generic_analysis", "workflow_analysis", "issue_analysis"])
def test_rule_10_reply_about_logs_or_texts_repeats_no_value(reply_type: str) -> None:
    encoded = encode_reply(
        Reply("x@1", reply_type, issue_analysis(summary="token=ab12cd34"), Usage("claude")),
        shown_code=("token=ab12cd34",),
    )
    assert "ab12cd34" not in encoded.reply


def test_rule_10_answer_in_a_thread_repeats_shown_code() -> None:
    answer = Reply("x@1", "comment_reply", issue_analysis(summary=FROM_CODE), Usage("claude"))
    assert FROM_CODE in json.loads(encode_reply(answer, shown_code=(SOCKET,)).reply)["summary"]


def test_rule_10_code_is_redacted_before_a_reply_may_repeat_it() -> None:
    url = "postgres://app:s3cret@db/x"
    reply = pull_request_analysis(summary=f"See {url} and DB_PASSWORD={TOKEN}")
    encoded = encode_reply(
        Reply("x@1", "pull_request_analysis", reply, Usage("claude")),
        shown_code=(url, f"DB_PASSWORD={TOKEN}"),
    )
    assert "s3cret" not in encoded.reply
    assert TOKEN not in encoded.reply


def test_rule_10_earlier_finding_is_repeated_as_it_was_posted() -> None:
    facts = gather_review(file())
    record = replace(facts.record, summary=f"{FROM_CODE} and {TOKEN}")
    stored = facts_codec(PullRequestFacts).encode(replace(facts, record=record)).value
    assert json.loads(stored)["record"]["summary"] == f"{FROM_CODE} and [redacted: github-token]"


def test_rule_10_stored_question_and_unusable_reply_have_no_credential(
    make_world: MakeWorld,
) -> None:
    world = make_world(replace(INVALID, text=f'{{"kind": "{TOKEN}"}}'), BUG)
    world.github.put_issue(replace(ISSUE, body=f"password=hunter2 and {TOKEN}"))
    world.process()
    first, second = world.store.calls.calls_of(GUID)
    assert first.request_digest is not None
    question = world.store.questions.find(GUID, first.request_digest)
    assert question is not None
    assert question.message == world.claude.asked[0].task
    assert "password=[redacted: password] and [redacted: github-token]" in question.message
    assert world.store.replies.find_text(first.id) == '{"kind": "[redacted: github-token]"}'
    assert second.is_correction
