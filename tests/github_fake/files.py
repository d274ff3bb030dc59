"""Files and commits of the stand-in GitHub, and GitHub's routes that show them."""

from __future__ import annotations

from base64 import encodebytes
from dataclasses import replace
from hashlib import sha1

from hls_sandbox import shapes
from hls_sandbox.github_request import Answer, Call, Endpoint, existing, repository_of
from hls_sandbox.objects import Document
from hls_sandbox.shapes import GitHubError
from hls_sandbox.state import State
from hls_sandbox.world import World

MAX_CONTENT_BYTES = 1_000_000  # of a file whose text GitHub shows


def set_file(
    state: State, full_name: str, path: str, text: str | None, *, branch: str | None = None
) -> None:
    """Set or delete (None) a file, by default on the default branch."""
    home = state.repository(full_name)
    if branch is None:
        assert home is not None, full_name
        branch = home.default_branch
    key = f"{full_name.lower()}@{branch}:{path}"

    def change(world: World) -> World:
        files = {other: old for other, old in world.files.items() if other != key}
        if text is not None:
            files[key] = text
        return replace(world, files=files)

    state.change(change)


def list_commits(call: Call) -> Answer:
    """List all commits, newest first. The stand-in does not know which files a commit changed."""
    world = call.state.world
    home = repository_of(call)
    newest_first = world.history.get(home.full_name.lower(), ())[::-1]
    return Answer(shapes.comparison(newest_first, world.accounts)["commits"], listed=True)


def show_branch(call: Call) -> Answer:
    home = repository_of(call)
    branch = call.path["branch"]
    commit = existing(call.state.world.refs.get(f"{home.full_name.lower()}@{branch}"))
    return Answer({"ref": f"refs/heads/{branch}", "object": {"type": "commit", "sha": commit}})


def show_contents(call: Call) -> Answer:
    """Return a file of a branch, or a list of the files below a folder."""
    home = repository_of(call)
    branch = call.query.get("ref") or home.default_branch
    path = call.path["path"]
    world = call.state.world
    text = world.file_at(home.full_name, branch, path)
    if text is not None:
        return Answer(_show_file(path, text))
    folder = f"{home.full_name.lower()}@{branch}:{path}/"
    inside = [{"type": "file", "path": key} for key in world.files if key.startswith(folder)]
    if not inside:
        raise GitHubError(404, "Not Found")
    return Answer(inside)


def _show_file(path: str, text: str) -> Document:
    """Return the response for a file; that of a large one has no text."""
    raw = text.encode()
    encoded = {"content": encodebytes(raw).decode(), "encoding": "base64"}
    if len(raw) > MAX_CONTENT_BYTES:
        encoded = {"content": "", "encoding": "none"}
    return {
        "type": "file",
        "path": path,
        "sha": sha1(b"blob %d\0%b" % (len(raw), raw), usedforsecurity=False).hexdigest(),
        **encoded,
    }


REPOSITORY = "/repos/{owner}/{repo}"

ROUTES: tuple[tuple[str, str, Endpoint], ...] = (
    ("GET", f"{REPOSITORY}/git/ref/heads/{{branch:path}}", show_branch),
    ("GET", f"{REPOSITORY}/contents/{{path:path}}", show_contents),
    ("GET", f"{REPOSITORY}/commits", list_commits),
)
"""(method, path, endpoint) of each route."""
