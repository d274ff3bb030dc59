"""Context of a review in the pipeline: what Claude gets, and what `hls why` shows of it."""

from __future__ import annotations

from dataclasses import replace

from hls_handler.engine.asking import prompt_limits
from hls_handler.handlers.reader import GuidanceFile, LinkedIssue, ReviewContext
from hls_handler.reports.delivery_report import format_report, load_report
from hls_handler.settings.effective import RepositoryTable
from hls_handler.settings.model import RepositoryReview
from tests.engine.world import MakeWorld, World, library, settings
from tests.handlers.world import file, pull_request_analysis

CONTEXT = ReviewContext(
    guidance=(GuidanceFile("AGENTS.md", "Prices are in cents."),),
    linked_issues=(LinkedIssue(7, "Wrong price", "It is 100 times too high."),),
)
HEAD = "0123456789abcdef0123456789abcdef01234567"


def review(world: World) -> None:
    world.github.contexts["main"] = CONTEXT
    world.github.head_files[f"{HEAD}:area.py"] = "def area(side):\n    side += 1\n    return side ** 2\n"
    world.open_pull_request(file(patch="@@ -2,1 +2,2 @@\n     side += 1\n+    return side ** 2"))
    assert world.run() is not None


def test_context_is_in_the_task_as_untrusted_text_and_in_the_report(make_world: MakeWorld) -> None:
    world = make_world(pull_request_analysis())
    review(world)
    (asked,) = world.claude.asked
    code = asked.task.partition("<untrusted ")[2][:16]
    name = f"<untrusted {code}>AGENTS.md</untrusted {code}>"
    assert f"Guidance of the repository, {name}:\n<untrusted {code}>Prices are in cents." in asked.task
    assert f"Issue 7, which the pull request closes:\n<untrusted {code}>Wrong price</untrusted {code}>" in asked.task
    assert f"Lines above:\n<untrusted {code}>R    1   def area(side):</untrusted {code}>\nPatch:\n" in asked.task
    assert "Prices" not in asked.system
    sent = "AGENTS.md (about 6 tokens), issue #7 (about 11 tokens), lines above 1 hunk (about 7 tokens)"
    assert f"  Context of the review: {sent}." in format_report(load_report(world.store, world.row()))


def test_settings_of_a_repository_switch_the_context_off(make_world: MakeWorld) -> None:
    off = RepositoryReview(guidance=False, linked_issues=False, functions=False)
    given = settings()
    repositories = tuple(one.model_copy(update={"review": off}) for one in given.repositories)
    world = make_world(pull_request_analysis())
    world.settings = given.model_copy(update={"repositories": repositories})
    review(world)
    assert "Guidance of" not in world.claude.asked[0].task
    assert not any(call.startswith("head_files") for call in world.github.calls)


def test_context_is_not_read_for_a_prompt_that_does_not_show_it() -> None:
    given = settings()
    (effective,) = RepositoryTable(given).all()
    names = ("guidance", "linked_issues", "functions")

    def read(prompt: str) -> list[bool]:
        limits = prompt_limits(given, library(), "pull_request", effective, prompt)
        return [getattr(limits.review, name) for name in names]

    assert read("pull_requests/analyze") == [True, True, True]
    assert read("pull_requests/changelog") == [False, False, False]


def test_findings_are_not_verified_without_the_prompt_for_it() -> None:
    given, whole = settings(), library()
    (effective,) = RepositoryTable(given).all()
    prompts = {name: prompt for name, prompt in whole.prompts.items() if name != "pull_requests/verify"}
    found = [
        prompt_limits(given, one, "pull_request", effective, "pull_requests/analyze").review.verify
        for one in (whole, replace(whole, prompts=prompts))
    ]
    assert found == [True, False]
