"""The organisation's settings file in the pipeline: read once an hour for all repositories, below
the repository's.
"""

from __future__ import annotations

import json
import logging

import pytest

from hls_handler.errors import AppNotInstalled, HlsError, Permanent
from hls_handler.prompting import recorded
from tests.engine.test_repository_settings import BROKEN, FEATURES, READ, file_requests, put_file
from tests.engine.world import MakeWorld, World, settings
from tests.github_fake.files import set_file

ORGANIZATION = "Codertocat/.github"
FILE = f"{ORGANIZATION}: hls.yaml"
READ_FILE = f"GET /repos/{ORGANIZATION}/contents/hls.yaml"


def put_organization_file(world: World, text: str | None) -> None:
    repository = {"id": 8, "full_name": ORGANIZATION, "default_branch": "main"}
    world.github.state.seed("push", {"repository": repository})
    set_file(world.github.state, ORGANIZATION, "hls.yaml", text)


def accept(
    world: World,
    guid: str,
    *,
    repository_id: int = 186853002,
    owner_type: str = "Organization",
) -> None:
    payload = json.loads(recorded.load("issues.opened").body)
    payload["repository"]["id"] = repository_id
    payload["repository"]["owner"]["type"] = owner_type
    world.accept(guid=guid, body=json.dumps(payload).encode(), repository_id=repository_id)


def make(make_world: MakeWorld, text: str | None, *replies: object) -> World:
    world = make_world(*replies, given=settings(features=FEATURES))
    put_organization_file(world, text)
    accept(world, "g1")
    return world


def test_repository_overrides_the_file(make_world: MakeWorld) -> None:
    world = make(make_world, "enabled: false\nfeatures: {auto_labeling: false}\n")
    put_file(world, "enabled: true\n")
    world.finish()
    assert (world.github.labels, list(world.github.comments)) == ({}, [1])
    assert (
        world.report("g1").repository_settings
        == f".github/hls.yaml (d4ca94189e) applies on top of the settings. {FILE} (9a191c9c07) applies on top"
        " of the settings"
    )


def test_file_of_a_person_is_not_read(make_world: MakeWorld) -> None:
    world = make_world(given=settings(features=FEATURES))
    accept(world, "g1", owner_type="User")
    world.finish()
    assert file_requests(world) == [READ]


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("comments: {tone: formal}\n", None),
        (None, None),
        (None, AppNotInstalled("the GitHub App is not installed on octo/.github")),
        (None, Permanent("GitHub answered 403")),
    ],
    ids=["present", "absent", "not installed", "denied"],
)
def test_file_is_read_once_an_hour_for_all_repositories(
    make_world: MakeWorld, text: str | None, error: HlsError | None
) -> None:
    world = make(make_world, text)
    if error is not None:
        world.github.raise_once(error, READ_FILE)
    assert world.finish().state == "done"
    world.advance(3_500)
    accept(world, "g2", repository_id=7)
    assert world.finish().state == "done"
    assert file_requests(world).count(READ_FILE) == 1
    world.advance(200)
    accept(world, "g3")
    assert world.finish().state == "done"
    assert file_requests(world).count(READ_FILE) == 2


def test_file_applies_while_access_to_it_is_denied_until_github_says_that_there_is_none(
    make_world: MakeWorld,
) -> None:
    world = make(make_world, "features: {auto_commenting: false}\n")
    world.finish()
    for guid in ("g2", "g3"):
        world.advance(3_601)
        world.github.fail(403, READ_FILE)
        accept(world, guid)
        assert world.finish().state == "done"
        assert (
            world.report(guid).repository_settings
            == f"{FILE} could not be read, so the last known version (0390248964) applies:"
            f" {READ_FILE}: 403 Fault: the token or its account lacks a permission"
        )
    assert world.github.comments == {}
    put_organization_file(world, None)
    world.advance(3_601)
    accept(world, "g4")
    world.finish()
    assert list(world.github.comments) == [1]


def test_invalid_file_is_logged_and_its_last_good_version_applies_without_a_comment(
    make_world: MakeWorld, caplog: pytest.LogCaptureFixture
) -> None:
    world = make(make_world, "features: {auto_labeling: false}\n")
    world.finish()
    put_organization_file(world, BROKEN)
    world.advance(3_601)
    accept(world, "g2")
    with caplog.at_level(logging.WARNING):
        world.finish()
    problem = f"{FILE}:1: lables: unknown key; did you mean labels?"
    assert [
        vars(record)["problems"] for record in caplog.records if "settings" in record.message
    ] == [[problem]]
    assert world.github.labels == {}
    assert "lables" not in "".join(world.github.comments.values())
    assert (
        world.report("g2").repository_settings
        == f"{FILE} (c76a32e5b7) applies on top of the settings, except for its mistakes, where the"
        f" last good version (2adaf71da4) does: {problem}"
    )


def test_rule_11_text_of_the_file_reaches_neither_claude_nor_github(
    make_world: MakeWorld,
) -> None:
    world = make(
        make_world,
        "# marker-0001\nlabels: {allow: [marker-0002]}\npaths: {ignore: [marker-0003]}\n",
    )
    world.finish()
    sent = [asked.task + asked.system for asked in world.claude.asked]
    assert (len(sent), "marker" in "".join((*sent, *world.github.comments.values()))) == (1, False)
