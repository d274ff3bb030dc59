"""Makes releases and pushed commits that webhooks tell of exist, with the tags and the history that they stand in."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from hls_handler.prompting import recorded
from hls_handler.sandbox import told
from hls_handler.sandbox.world import Document, Release, World

NOTHING = "0" * 40


def with_told_release(world: World, full_name: str, event: str, payload: Mapping[str, Any], now: datetime) -> World:
    """The release of a `release` event is there, changed or gone; all other events change nothing.

    Of a release of the story, those before it and the commits since are there, too. The tag of any other is at the
    newest commit; one is made up where there is none.
    """
    shown = payload.get("release")
    if event != "release" or not isinstance(shown, Mapping) or not isinstance(shown.get("id"), int):
        return world
    release = Release(full_name, shown["id"], {**shown, "tag_name": told.text(shown.get("tag_name"))})
    if payload.get("action") == "deleted":
        return world.without_release(release)
    for earlier in recorded.releases_before(release.id):
        world = world.with_release(Release(full_name, int(str(earlier["id"])), dict(earlier)))
    world = _with_history(world, full_name, recorded.history_of(release.id))
    if not release.tag or world.commit_at(full_name, release.tag):
        return world.with_release(release)
    if not world.history.get(full_name.lower()):
        world = world.with_commits(full_name, [_made_up_commit(release, now)])
    newest = world.history[full_name.lower()][-1]["sha"]
    return world.with_ref(full_name, release.tag, str(newest)).with_release(release)


def _with_history(world: World, full_name: str, commits: tuple[Mapping[str, object], ...]) -> World:
    """The story's commits; `tags` of one name it, and are no part of what GitHub answers."""
    for commit in commits:
        document = {key: value for key, value in commit.items() if key != "tags"}
        world = world.with_commits(full_name, [document])
        names: Any = commit.get("tags", ())
        for tag in names:
            world = world.with_ref(full_name, tag, str(document["sha"]))
    return world


def with_told_push(world: World, full_name: str, event: str, payload: Mapping[str, Any], now: datetime) -> World:
    """The commits of a `push` event are in the history, and its branch or tag is at the last of them."""
    ref, after = told.text(payload.get("ref")), told.text(payload.get("after"))
    if event != "push" or not ref or len(after) != 40:
        return world
    name = ref.removeprefix("refs/heads/").removeprefix("refs/tags/")
    shown = payload.get("commits")
    commits = [one for one in (shown if isinstance(shown, list) else ()) if isinstance(one, Mapping) and one.get("id")]
    world = world.with_commits(full_name, [_pushed(commit, now) for commit in commits])
    return world if after == NOTHING else world.with_ref(full_name, name, after)


def _pushed(shown: Mapping[str, Any], now: datetime) -> Document:
    """A commit as webhooks show it, in the shape of REST. Who has a username has an account."""
    who = shown.get("author")
    author: Mapping[str, Any] = who if isinstance(who, Mapping) else {}
    login = author.get("username")
    return commit(
        str(shown["id"]),
        told.text(shown.get("message")),
        name=told.text(author.get("name")),
        email=told.text(author.get("email")),
        login=login if isinstance(login, str) else None,
        at=told.time(shown.get("timestamp"), now),
    )


def _made_up_commit(release: Release, now: datetime) -> Document:
    sha = hashlib.sha1(f"{release.key} {release.tag}".encode()).hexdigest()
    return commit(sha, f"Release {release.tag}", name="ghost", email="", login=None, at=now)


def commit(sha: str, message: str, *, name: str, email: str, login: str | None, at: datetime) -> Document:
    """An entry of `GET compare/{base}...{head}`, without addresses. `login` is None where GitHub knows no account."""
    by = {"name": name, "email": email, "date": at.strftime("%Y-%m-%dT%H:%M:%SZ")}
    account = {"login": login} if login else None
    return {
        "sha": sha,
        "commit": {"message": message, "author": by, "committer": by},
        "author": account,
        "committer": account,
    }
