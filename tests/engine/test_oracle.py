"""The command `/test-oracle`, with a service on loopback."""

from __future__ import annotations

import pytest

from hls_handler.analysis import ChosenTests
from tests.engine.test_commands import (
    HEAD,
    command,
    comment,
    make,
    reactions,
    set_files,
    set_pull_request,
)
from tests.engine.world import MakeWorld, World, settings
from tests.fake_server import FakeServer, Say
from tests.handlers.world import file

ON = {"test_oracle": True}
CART, MAIL, CONFIG = "tests/shop/test_cart.py", "spec/mail_spec.rb", "setup.cfg"
ANSWER = {"tests": [{"path": "//shop:cart", "why": "Covers @mona."}]}


def make_changed(
    make_world: MakeWorld, *tests: str, paths: tuple[str, ...] = ("shop/cart.py",)
) -> World:
    """A world in which pull request 2 changes `paths`, and Claude chooses `tests` of three
    files.
    """
    entries = [{"path": path, "why": "It covers the cart."} for path in tests]
    chosen = ChosenTests.model_validate({"tests": entries})
    world = make(make_world, chosen, given=settings(features=ON))
    set_files(world, *map(file, paths))
    commit(world, CONFIG, MAIL, CART)
    return world


def commit(world: World, *paths: str) -> None:
    """The head of the pull request gets these files."""
    world.github.mirrors.commit(world.github.repository, dict.fromkeys(paths, ""), HEAD)


def make_served(make_world: MakeWorld, server: FakeServer, *says: Say) -> World:
    world = make_changed(make_world)
    world.settings = settings(features=ON, test_oracle={"url": f"{server.url}/choose"})
    server.says = list(says)
    return world


def test_claude_chooses_listed_tests_and_others_are_dropped(make_world: MakeWorld) -> None:
    world = make_changed(make_world, CART, CONFIG, "tests/test_invented.py")
    finished = command(world, "/test-oracle")
    assert (finished.state, finished.reason, reactions(world)) == (
        "done",
        "commented",
        [(77, "eyes")],
    )
    (asked,) = world.claude.asked
    assert (
        "shop/cart.py</untrusted" in asked.task,
        f"\n{CART}\n{MAIL}\n</untrusted" in asked.task,
    ) == (True, True)
    text = world.github.comments[2]
    assert text == f"Tests to run for this change:\n\n- `{CART}`: It covers the cart."


def test_nearest_tests_are_listed_and_the_others_counted(make_world: MakeWorld) -> None:
    world = make_changed(make_world, paths=tuple(f"shop/{number}.py" for number in range(201)))
    names = [*(f"a/test_{number:03}.py" for number in range(400)), "tests/shop/test_cart.py"]
    commit(world, *names)
    command(world, "/test-oracle")
    (asked,) = world.claude.asked
    assert "\ntests/shop/test_cart.py\na/test_000.py\n" in asked.task
    assert ("a/test_398.py" in asked.task, "a/test_399.py" in asked.task) == (True, False)
    assert ("shop/199.py" in asked.task, "shop/200.py" in asked.task) == (True, False)
    text = world.github.comments[2]
    assert text.startswith(
        "No test to run for this change was found.\n\nLeft out: 2 further paths of changed"
        " files and"
    )


def test_paths_fit_into_the_budget_of_a_prompt(make_world: MakeWorld) -> None:
    world = make_changed(make_world)
    world.settings = settings(features=ON, claude={"input_tokens": 2_000})
    folder = "/".join(["x" * 200] * 10)
    commit(world, *[f"tests/{number}/{folder}" for number in range(9)])
    command(world, "/test-oracle")
    assert world.claude.asked[0].task.count(folder) == 1


def test_without_the_mirror_only_changed_tests_are_considered(make_world: MakeWorld) -> None:
    world = make_changed(make_world, CART)
    world.github.mirrors.is_enabled = False
    set_files(world, file(CART), file(MAIL, status="removed"), file("shop/cart.py"))
    command(world, "/test-oracle")
    assert "\nTest files:\n<untrusted" in world.claude.asked[0].task
    assert world.claude.asked[0].task.count(MAIL) == 1  # among the changed files
    text = world.github.comments[2]
    assert (
        f"- `{CART}`: It covers the cart.\n\nHLS has no mirror of the repository, so only tests"
        " that this" in text
    )
    assert "were considered: mirror.enabled is false." in text


def test_repository_without_tests_costs_no_call(make_world: MakeWorld) -> None:
    world = make_changed(make_world)
    commit(world, CONFIG)
    assert command(world, "/test-oracle").reason == "there is no test file; commented"
    assert (world.claude.asked, world.github.comments[2][:30]) == (
        [],
        "No test to run for this change",
    )


def test_service_is_asked_in_place_of_claude(make_world: MakeWorld, server: FakeServer) -> None:
    world = make_served(make_world, server, Say(body={"status": "ok"}), Say(body=ANSWER))
    assert (
        command(world, "/test-oracle").reason
        == "the service of test_oracle.url was asked; commented"
    )
    assert server.calls == ["GET /choose/health", "POST /choose"]
    question = {
        "repository": "Codertocat/Hello-World",
        "number": 2,
        "head_sha": HEAD,
        "files": ["shop/cart.py"],
    }
    assert server.seen[1].body == question
    text = world.github.comments[2]
    assert text.startswith(
        "Tests to run for this change, chosen by a service:\n\n- `//shop:cart`: Covers "
    )
    assert "@mona" not in text
    assert world.claude.asked == []


@pytest.mark.parametrize(
    ("said", "why"),
    [
        (Say(302, headers={"Location": "/up"}), "the answer has status 302"),
        (Say(204), "the answer has status 204"),
        (Say(kind="drop"), "no answer: RemoteProtocolError"),
    ],
    ids=["redirect", "other success", "no response"],
)
def test_comment_says_that_the_service_does_not_answer(
    make_world: MakeWorld, server: FakeServer, said: Say, why: str
) -> None:
    world = make_served(make_world, server, said)
    reason = (
        f"the service of test_oracle.url was not asked, because of its /health: {why}; commented"
    )
    assert command(world, "/test-oracle").reason == reason
    assert server.calls == ["GET /choose/health"]
    assert (
        world.github.comments[2]
        == "The service that chooses tests does not answer, so none were chosen."
    )


@pytest.mark.parametrize(
    ("said", "why"),
    [
        (Say(500), "the answer has status 500"),
        (Say(body={"tests": ["a"]}), "the answer is not the JSON that docs/events.md describes"),
        (Say(body=b" " * 100_001), "the answer is too long"),
    ],
    ids=["error", "other JSON", "long"],
)
def test_comment_says_that_the_answer_of_the_service_cannot_be_used(
    make_world: MakeWorld, server: FakeServer, said: Say, why: str
) -> None:
    world = make_served(make_world, server, Say(), said)
    finished = command(world, "/test-oracle")
    assert (finished.state, finished.reason) == ("done", f"test_oracle.url: {why}; commented")
    text = "The answer of the service that chooses tests cannot be used, so none were chosen."
    assert world.github.comments[2] == text
    assert world.claude.asked == []


@pytest.mark.parametrize("text", ["/test-oracle", "/cherry-pick Release/1.2"])
def test_command_is_that_of_another_bot_unless_settings_switch_it_on(
    make_world: MakeWorld, text: str
) -> None:
    world = make(make_world)
    assert world.receive("issue_comment", comment(text), guid="command") == "ignored"
    assert world.github.calls == []


def test_closed_pull_request_is_not_tested(make_world: MakeWorld) -> None:
    world = make_changed(make_world, CART)
    set_pull_request(world, state="closed")
    assert "is closed" in command(world, "/test-oracle").reason
    assert (world.claude.asked, world.github.comments) == ([], {})


def test_rule_17_command_over_the_hourly_limit_of_its_conversation_is_ignored(
    make_world: MakeWorld,
) -> None:
    world = make_changed(make_world, CART)
    world.settings = settings(features=ON, limits={"thread_runs_per_hour": 1})
    assert command(world, "/test-oracle").state == "done"
    assert command(world, "/test-oracle\n\nAgain.", guid="again").state == "ignored"


def test_help_lists_the_command_where_settings_switch_it_on(make_world: MakeWorld) -> None:
    world = make_changed(make_world)
    command(world, "/help")
    assert (
        "| `/test-oracle` | say which tests to run for the change |\n| `/help` |"
        in world.github.comments[2]
    )
    assert "/cherry-pick" not in world.github.comments[2]
