"""How a reply of Claude is kept."""

from __future__ import annotations

from hls_handler.analysis import Answered, IssueAnalysis, IssueResponse, Usage
from hls_handler.work.memory import keep_answer, recall_answer


def kept(answer: str) -> str:
    reply = IssueResponse(worth_saying=True, answer=answer, certain=True)
    step = keep_answer(Answered("issues/respond@3f9c2a", "issue_response", reply, Usage("claude")), index=0)
    recalled = recall_answer(step)
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
    recalled = recall_answer(
        keep_answer(Answered("issues/analyze@1", "issue_analysis", reply, Usage("claude")), index=0)
    )
    assert recalled is not None
    assert isinstance(recalled.reply, IssueAnalysis)
    assert "hunter2" not in recalled.reply.summary
    assert len(recalled.reply.summary) == 2000
