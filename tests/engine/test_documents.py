"""The stored documentation of a repository, and when it is read."""

from __future__ import annotations

from dataclasses import replace

import pytest

from hls_handler.engine.handler_job import FILES_PER_READ, Documents
from hls_handler.errors import DependencyDown, Permanent
from hls_handler.events import Repository
from hls_handler.git.host import MirrorUnavailable
from hls_handler.handlers.reader import StoredSection
from hls_handler.retrieval.words import question_words
from hls_handler.settings.path_globs import EMPTY_PATH_FILTER
from tests.engine.world import QUESTION, MakeWorld, World, settings

REPOSITORY = Repository(186853002, "Codertocat/Hello-World", False, None, "main", None)
ONE, TWO = "1" * 40, "2" * 40
HEAD = "GET /git/ref/heads/main"  # the request for the newest commit
TOO_SLOW = "reading the mirror took longer than 30 s"
PROXY = "# Proxy\n\nThe service runs behind nginx.\n"
FILES = {
    "README.md": "A service.\n",
    "docs/proxy.md": PROXY,
    "docs/start.rst": "Start\n=====\nAt once.\n",
}


@pytest.fixture
def world(make_world: MakeWorld) -> World:
    opened = make_world()
    push(opened, ONE, FILES)
    return opened


def push(world: World, commit: str, files: dict[str, str]) -> None:
    """Make a commit the head of the branch, an hour after the last one."""
    world.github.commit(files, commit, branch="main")
    wait_an_hour(world)


def wait_an_hour(world: World) -> None:
    world.advance(3_601)
    world.github.calls.clear()
    world.github.mirrors.reads.clear()


def update(world: World, repository: Repository = REPOSITORY) -> str:
    problems: list[str] = []
    documents = Documents(world.store.texts, None, problems.append)
    documents.update(repository, world.github.reader(repository.full_name))
    return "; ".join(problems).removeprefix("the documentation of the repository was not read: ")


def find(world: World, question: str) -> tuple[StoredSection, ...]:
    return world.store.texts.find_sections(
        REPOSITORY.id, question_words(question, ""), EMPTY_PATH_FILTER
    )


def test_first_read_stores_the_sections_of_all_documentation(world: World) -> None:
    push(world, ONE, {**FILES, "nginx.conf": "nginx", "nginx.py": "nginx"})
    assert update(world) == ""
    assert find(world, "nginx") == (
        StoredSection("docs/proxy.md", "Proxy", 1, 3, PROXY.strip(), ONE),
    )
    assert [(one.path, one.title) for one in find(world, "start")] == [("docs/start.rst", "Start")]
    assert world.github.calls == [HEAD]
    assert world.github.mirrors.reads == [
        f"list {ONE}",
        "read README.md docs/proxy.md docs/start.rst",
    ]


def test_documentation_is_read_hourly_and_nothing_is_read_if_the_commit_is_the_same(
    world: World,
) -> None:
    update(world)
    update(world)
    assert (len(world.github.calls), len(world.github.mirrors.reads)) == (1, 2)
    wait_an_hour(world)
    update(world)
    update(world)
    assert (world.github.calls, world.github.mirrors.reads) == ([HEAD], [])


def test_only_new_and_changed_files_are_read_and_removed_ones_are_forgotten(
    world: World,
) -> None:
    update(world)
    push(
        world,
        TWO,
        {
            "README.md": FILES["README.md"],
            "docs/proxy.md": "# Proxy\nApache.\n",
            "new.txt": "Caddy.\n",
        },
    )
    update(world)
    assert world.github.mirrors.reads[1:] == ["read new.txt docs/proxy.md"]
    assert [find(world, name) for name in ("nginx", "start")] == [(), ()]
    assert [
        (one.path, one.commit) for one in (*find(world, "apache"), *find(world, "service"))
    ] == [
        ("docs/proxy.md", TWO),
        ("README.md", TWO),
    ]


def test_repository_without_a_mirror_keeps_what_is_stored_and_is_asked_again_after_an_hour(
    world: World,
) -> None:
    update(world)
    push(world, TWO, {"docs/proxy.md": "Apache.\n"})
    world.github.mirrors.is_enabled = False
    assert update(world) == "mirror.enabled is false"
    assert update(world) == ""
    assert world.github.calls == [HEAD]
    assert [one.commit for one in find(world, "nginx")] == [ONE]
    wait_an_hour(world)
    world.github.mirrors.is_enabled = True
    assert update(world) == ""
    assert find(world, "nginx") == ()


def test_large_documentation_is_read_in_several_updates(world: World) -> None:
    """50 files of 101 sections are more than one update takes."""
    many = {f"{number:03}.md": "# One\n\nTopic.\n" * 101 for number in range(FILES_PER_READ)}
    push(world, TWO, {**many, "099.md": "Last.\n"})
    assert (
        update(world) == "it is too large for one reading; that for a question in an hour goes on"
    )
    assert find(world, "last") == ()
    wait_an_hour(world)
    assert update(world) == ""
    assert [(one.path, one.commit) for one in find(world, "last")] == [("099.md", TWO)]


def test_path_that_postgresql_cannot_index_is_left_out_and_a_secret_in_a_heading_is_redacted(
    world: World,
) -> None:
    heading = "# nginx password: hunter2hunter2x\nCaddy.\n"
    push(world, TWO, {"/".join(["d" * 200] * 6) + "/a.md": "Caddy.\n", "b.md": heading})
    assert update(world) == ""
    (found,) = find(world, "caddy")
    assert found.path == "b.md"
    assert "hunter2" not in found.title + found.text


def test_failure_of_git_in_the_middle_keeps_what_is_stored_without_a_commit(
    world: World,
) -> None:
    update(world)
    many = {f"{number}.md": f"Topic{number}.\n" for number in range(FILES_PER_READ + 1)}
    push(world, TWO, many)
    mirrors = world.github.mirrors

    def fail(made: str) -> None:
        if made.startswith("read") and len(mirrors.reads) > 2:  # "list", "read"
            raise MirrorUnavailable(TOO_SLOW)

    mirrors.on_read = fail
    assert update(world) == TOO_SLOW
    assert [one.commit for one in (*find(world, "nginx"), *find(world, "topic0"))] == ["", ""]
    world.github.mirrors.on_read = lambda _read: None
    wait_an_hour(world)
    update(world)
    assert world.github.mirrors.reads[1:] == ["read 9.md"]
    assert [one.commit for one in (*find(world, "topic9"), *find(world, "topic0"))] == [TWO, TWO]
    assert find(world, "nginx") == ()


@pytest.mark.parametrize(
    ("call", "error", "problem", "commit"),
    [
        (HEAD, Permanent("GitHub answered 403"), "GitHub answered 403", ONE),
        ("list", Permanent("GitHub answered 403"), "GitHub answered 403", ""),
        ("read", MirrorUnavailable(TOO_SLOW), TOO_SLOW, ONE),
        ("no branch", None, "", ONE),
    ],
)
def test_error_keeps_what_is_stored(
    world: World, call: str, error: Exception | None, problem: str, commit: str
) -> None:
    update(world)
    push(world, TWO, {"docs/proxy.md": "Apache.\n"})
    if call == "no branch":
        world.github.state.change(lambda world: replace(world, refs={}))

    def fail(made: str) -> None:
        if made.startswith(call) and error is not None:
            raise error

    world.github.on_call = world.github.mirrors.on_read = fail
    assert (update(world), update(world)) == (problem, "")  # not again within an hour
    assert [(one.path, one.commit) for one in find(world, "nginx")] == [("docs/proxy.md", commit)]


def test_outage_of_github_stops_the_delivery_and_is_not_recorded(world: World) -> None:
    outage = DependencyDown(
        "GitHub answered 502", dependency="github", remedy="wait", applies_to_all_calls=True
    )
    world.github.raise_once(outage, HEAD)
    with pytest.raises(DependencyDown):
        update(world)
    assert not world.store.texts.document_index(REPOSITORY.id, "").is_fresh


def test_repository_without_a_default_branch_is_not_read(world: World) -> None:
    assert update(world, replace(REPOSITORY, default_branch=None)) == ""
    assert world.github.calls == []


def test_text_that_github_does_not_show_is_not_stored_and_secrets_are_redacted(
    world: World,
) -> None:
    push(
        world,
        ONE,
        {
            "docs/proxy.md": (
                "# Proxy <!-- omit in toc -->\nnginx <!-- hidden -->\n<!--\n#"
                " Hidden\nnginx\n-->\ntoken: ghp_mirrormirrormirrormirror0123456789ab\n#"
                " Next\nEnd.\n<!-- The rest\n# Rest\nnginx hidden\n"
            ),
        },
    )
    update(world)
    (found,) = find(world, "nginx")
    assert (found.title, found.line, found.end_line) == ("Proxy", 1, 7)
    assert found.text == "# Proxy \nnginx \n\n\n\n\ntoken: [redacted: github-token]"
    assert find(world, "hidden") == ()
    assert [(one.title, one.line) for one in find(world, "end")] == [("Next", 8)]


@pytest.mark.parametrize("is_enabled", [True, False])
def test_documentation_is_read_only_if_settings_and_the_prompt_want_it(
    make_world: MakeWorld, is_enabled: bool
) -> None:
    world = make_world(QUESTION, given=settings(retrieval=is_enabled))
    world.process()
    reads = [call for call in world.github.calls if "/git/" in call]
    assert reads == (["GET /git/ref/heads/master"] if is_enabled else [])
