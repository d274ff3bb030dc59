"""How a reply of Claude is kept, and what becomes of it when its prompt has changed meanwhile."""

from __future__ import annotations

from pathlib import Path

import pytest

from hls_handler.analysis import IssueAnalysis, IssueResponse, Reply, Usage, ValidReply
from hls_handler.work.job import decode_reply, decode_reply_for_display, encode_reply
from tests.handlers.world import issue_analysis
from tests.prompting.samples import load
from tests.prompting.test_library_errors import front


def kept(answer: str) -> str:
    reply = IssueResponse(worth_saying=True, answer=answer, certain=True)
    step = encode_reply(ValidReply("issues/respond@3f9c2a", "issue_response", reply, Usage("claude")), index=0)
    recalled = decode_reply(step, reply_type="issue_response", model=IssueResponse)
    assert recalled is not None
    assert isinstance(recalled.reply, IssueResponse)
    return recalled.reply.answer


def test_a_reply_is_kept_without_characters_that_nobody_sees() -> None:
    assert kept("\x1b[31mred\x07 \x9b\u202ebidi\u200b\n\tcode <!-- shown -->") == "[31mred bidi\n\tcode <!-- shown -->"


def test_rule_10_a_credential_with_an_invisible_character_in_it_is_not_kept() -> None:
    assert "A1b2" not in kept("ghp\u200b_" + "A1b2" * 9)


def test_rule_10_a_reply_that_grows_over_its_bound_by_a_redaction_is_recalled_all_the_same() -> None:
    summary = f"{'a ' * 980}password=hunter2"
    reply = IssueAnalysis(
        worth_saying=True,
        kind="bug",
        priority="high",
        difficulty="easy",
        component="none",
        summary=f"{summary}{'.' * (2000 - len(summary))}",
        missing=[],
        recommended_response="",
    )
    step = encode_reply(ValidReply("issues/analyze@1", "issue_analysis", reply, Usage("claude")), index=0)
    recalled = decode_reply(step, reply_type="issue_analysis", model=IssueAnalysis)
    assert recalled is not None
    assert isinstance(recalled.reply, IssueAnalysis)
    assert "hunter2" not in recalled.reply.summary
    assert len(recalled.reply.summary) == 2000


# --- prompts that change between asking and recalling ----------------------------------------------------------------

AREAS = "{areas: {type: list, enum: [api, docs, tests]}, version: {type: string}}"


def with_fields(folder: Path, fields: str) -> type[Reply]:
    library = load(folder / "library", {"issues/a.j2": front(fields=fields) + "x"})
    return library.prompts["issues/a"].reply_model


def answer(model: type[Reply], **fields: object) -> ValidReply:
    reply = model.model_validate({**issue_analysis().model_dump(), **fields})
    return ValidReply("issues/a@1", "issue_analysis", reply, Usage("claude"))


@pytest.mark.parametrize(
    ("fields", "is_used"),
    [
        (AREAS, True),
        ("{areas: {type: list, enum: [docs, api]}, version: {type: string}}", True),
        ("{areas: {type: list}, version: {type: string}}", True),
        ("{areas: {type: list, enum: [docs, tests]}, version: {type: string}}", False),
        ("{areas: {type: string}, version: {type: string}}", False),
        ("{areas: {type: list, enum: [api, docs]}}", False),
        ("{areas: {type: list, enum: [api, docs]}, version: {type: string}, old: {type: boolean}}", False),
        ("{}", False),
    ],
    ids=["as it was", "fewer values", "any values", "value gone", "other type", "field gone", "new field", "no fields"],
)
def test_a_reply_is_used_by_a_changed_prompt_if_it_fits(tmp_path: Path, fields: str, is_used: bool) -> None:
    step = encode_reply(answer(with_fields(tmp_path, AREAS), areas=["api"], version="2.1"), index=0)
    model = with_fields(tmp_path, fields)
    recalled = decode_reply(step, reply_type="issue_analysis", model=model)
    assert (recalled is not None) is is_used
    if recalled is not None:
        assert type(recalled.reply) is model
        assert recalled.reply.model_dump() == {**issue_analysis().model_dump(), "areas": ["api"], "version": "2.1"}


def test_a_reply_of_another_kind_is_never_taken_for_one_that_fits() -> None:
    step = encode_reply(answer(IssueAnalysis), index=0)
    assert decode_reply(step, reply_type="issue_response", model=IssueAnalysis) is None


def test_people_can_be_told_of_a_reply_whatever_became_of_its_prompt(tmp_path: Path) -> None:
    model = with_fields(tmp_path, "{component: {enum: [payments, none]}, version: {type: string}}")
    told = decode_reply_for_display(encode_reply(answer(model, component="payments", version="2.1"), index=0))
    assert told is not None
    assert isinstance(told.reply, IssueAnalysis)
    assert told.reply.model_dump() == {**issue_analysis().model_dump(), "component": "payments", "version": "2.1"}


def test_rule_10_a_credential_in_an_authors_field_is_not_kept(tmp_path: Path) -> None:
    step = encode_reply(answer(with_fields(tmp_path, AREAS), areas=[], version="ghp_" + "A1b2" * 9), index=0)
    assert "A1b2" not in step.value
