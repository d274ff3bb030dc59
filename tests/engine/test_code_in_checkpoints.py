"""Code in facts and replies: stored and shown alike, so that a retry sees the same patch and a quote is in it."""

from __future__ import annotations

from hls_handler.analysis import PullRequestAnalysis, Usage, ValidReply
from hls_handler.engine.job import decode_reply, encode_reply, facts_codec
from hls_handler.handlers.pull_requests import PullRequestHandler
from tests.engine.fakes import CLAUDE_DOWN
from tests.engine.world import GUID, MakeWorld
from tests.handlers.world import file, finding, pull_request, pull_request_analysis

LINE = '    password = "hunter2"'
TOKEN = "ghp_" + "a1B2" * 9
PATCH = f"@@ -1,1 +1,3 @@\n def area(side):\n+{LINE}\n+    token = '{TOKEN}'"


def test_rule_10_patch_and_prompt_are_the_same_after_a_restart(make_world: MakeWorld) -> None:
    world = make_world(CLAUDE_DOWN, pull_request_analysis())
    world.github.pull_requests[2] = pull_request(number=2, title="Use password=swordfish")
    world.github.changed[2] = (file(patch=PATCH, additions=2, deletions=0),)
    world.accept("pull_request.opened")
    assert world.run() is None  # the facts are stored
    world.github.changed[2] = ()
    world.advance(600)
    world.finish()
    first, second = world.claude.asked
    assert first.task == second.task
    assert f"R    2 + {LINE}\nR    3 +     token = '[redacted: github-token]'" in second.task
    assert "Use password=[redacted: password]" in second.task
    stored = facts_codec(PullRequestHandler()).decode(world.store.checkpoints.load(GUID)["gather", 0])
    assert stored is not None
    assert stored.files[0].numbered.endswith(f"R    2 + {LINE}\nR    3 +     token = '[redacted: github-token]'")


def test_rule_10_finding_keeps_the_code_that_it_quotes() -> None:
    one = finding(path="area.py", line=2, quote=LINE, suggestion="    password = get()", body="password=hunter2")
    reply = pull_request_analysis(findings=[one, finding(quote=f"    token = '{TOKEN}'")])
    step = encode_reply(ValidReply("pull_requests/analyze@1", "pull_request_analysis", reply, Usage("claude")), index=0)
    decoded = decode_reply(step, reply_type="pull_request_analysis", model=PullRequestAnalysis)
    assert decoded is not None
    assert isinstance(decoded.reply, PullRequestAnalysis)
    first, second = decoded.reply.findings
    assert (first.quote, first.suggestion) == (LINE, "    password = get()")
    assert first.body == "password=[redacted: password]"
    assert second.quote == "    token = '[redacted: github-token]'"
