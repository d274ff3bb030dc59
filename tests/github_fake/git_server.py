"""The stand-in's git server: real repositories over git's protocol 2, for the mirrors of HLS.

git computes the id of a commit from its files, so the recorded ids of pull requests cannot be
fetched: a pull request that is to be fetched gets the ids that `GitRepositories.commit` returns. Of
all others, HLS reads files by the API.

https://git-scm.com/docs/gitprotocol-v2
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import gzip
import shutil
import weakref
from collections.abc import Callable, Mapping
from pathlib import Path
from tempfile import mkdtemp

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from hls_handler.errors import HlsError
from hls_handler.git.run import NO_HOOKS, GitLimits, environment, run_git
from hls_sandbox.state import State
from tests.github_fake.files import set_file

PATH = "/{owner}/{repo}.git"
CONFIG = {**NO_HOOKS, "uploadpack.allowFilter": "true", "uploadpack.allowAnySHA1InWant": "true"}
LIMITS = GitLimits(timeout_s=60.0, output_bytes=500_000_000)
COMMITTER = "committer Monalisa Octocat <octocat@example.com> 1795176000 +0000"


class GitRepositories:
    """Bare repositories in a temporary folder, which is deleted with the object."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._folder: Path | None = None

    def commit(self, full_name: str, files: Mapping[str, str], *, parent: str = "") -> str:
        """Store a commit with exactly these files, for git and for the API, and return its id.

        Raises `HlsError` if git fails, as it does if it is not installed.
        """
        if self._folder is None:
            self._folder = Path(mkdtemp(prefix="hls-sandbox-git-"))
            weakref.finalize(self, shutil.rmtree, self._folder, ignore_errors=True)
        folder = self._folder / _name(full_name)
        if not folder.exists():
            self._run(folder, "init", "--quiet", "--bare", "--template=")
        after = f"from {parent}\n" if parent else ""
        changes = [f"commit refs/heads/main\n{COMMITTER}\ndata 0\n{after}deleteall\n".encode()]
        contents = {path: text.encode() for path, text in files.items()}
        changes += [
            b"M 100644 inline %b\ndata %d\n%b\n" % (path.encode(), len(b), b)
            for path, b in contents.items()
        ]
        self._run(folder, "fast-import", "--quiet", "--force", stdin=b"".join(changes))
        commit = self._run(folder, "rev-parse", "refs/heads/main").decode().strip()
        listed = {"sha": commit, "author": None}
        self._state.change(lambda world: world.with_ref(full_name, "main", commit))
        self._state.change(lambda world: world.with_commit(full_name, listed))
        for path, text in files.items():
            set_file(self._state, full_name, path, text, branch=commit)
        return commit

    def routes(self, can_fetch: Callable[[str, str], bool]) -> list[Route]:
        """Return the routes of the git server. `can_fetch` says if a token gives access to
        "owner/repo".
        """

        async def respond(request: Request) -> Response:
            full_name = f"{request.path_params['owner']}/{request.path_params['repo']}"
            token = _token(request)
            if token is None:
                return PlainTextResponse("", 401, {"WWW-Authenticate": 'Basic realm="GitHub"'})
            folder = self._folder and self._folder / _name(full_name)
            if folder is None or not folder.exists() or not can_fetch(token, full_name):
                return PlainTextResponse("Repository not found.", 404)
            is_advertisement = request.method == "GET"
            options = ["--stateless-rpc", *(["--advertise-refs"] if is_advertisement else [])]
            body = await request.body()
            if request.headers.get("content-encoding") == "gzip":
                body = gzip.decompress(body)
            sent = await asyncio.to_thread(
                self._run, folder, "upload-pack", *options, str(folder), stdin=body
            )
            kind = "advertisement" if is_advertisement else "result"
            return Response(sent, media_type=f"application/x-git-upload-pack-{kind}")

        return [
            Route(f"{PATH}/info/refs", respond, methods=["GET"]),
            Route(f"{PATH}/git-upload-pack", respond, methods=["POST"]),
        ]

    def _run(self, folder: Path, *arguments: str, stdin: bytes = b"") -> bytes:
        environ = {**environment(folder, CONFIG), "GIT_PROTOCOL": "version=2"}
        try:
            done = run_git(arguments, environ, LIMITS, stdin=stdin)
        except OSError as exc:
            raise HlsError(f"git cannot be started: {exc.strerror}") from exc
        # upload-pack ends with 128 if it has told the client about an error
        if done.status not in (0, 128) or (done.status == 128 and arguments[0] != "upload-pack"):
            raise HlsError(f"git {arguments[0]} failed with exit status {done.status}")
        return done.output


def _name(full_name: str) -> str:
    return f"{full_name.lower().replace('/', '+')}.git"


def _token(request: Request) -> str | None:
    scheme, _, given = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        return base64.b64decode(given, validate=True).decode().partition(":")[2]
    except (binascii.Error, UnicodeDecodeError):
        return None
