"""A git server on loopback that requires a token, `git http-backend` behind it, and a repository to
serve.
"""

from __future__ import annotations

import base64
import os
import subprocess
import threading
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from tests.fake_network import HOST, Quiet, Server

ENVIRON = {
    "PATH": os.environ["PATH"],
    "HOME": "/nonexistent",
    "GIT_CONFIG_NOSYSTEM": "1",
    **{
        f"GIT_{who}_{what}": "a@example.com"
        for who in ("AUTHOR", "COMMITTER")
        for what in ("NAME", "EMAIL")
    },
}
SERVED = (
    "[uploadpack]\n\tallowFilter = true\n\tallowAnySHA1InWant = true\n[core]\n\tprotectNTFS ="
    " false\n"
)


class Origin:
    """A bare repository that has commits of given files."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.git("init", "--quiet", "--bare", str(folder))
        with (folder / "config").open("a") as config:
            config.write(SERVED)

    def git(self, *arguments: str, stdin: bytes = b"") -> str:
        command = ["git", *arguments]
        environ = {**ENVIRON, "GIT_DIR": str(self._folder)}
        done = subprocess.run(command, env=environ, input=stdin, stdout=subprocess.PIPE, check=True)
        return done.stdout.decode().strip()

    def commit(self, files: Mapping[str, bytes], *entries: str) -> str:
        """Commit these files, and return the commit's id. `entries` are others: "120000 blob
        ID\tlink".
        """
        lines = [*entries]
        folders: dict[str, dict[str, bytes]] = {}
        for path, content in files.items():
            folder, slash, rest = path.partition("/")
            if slash:
                folders.setdefault(folder, {})[rest] = content
            else:
                lines.append(f"100644 blob {self.blob(content)}\t{path}")
        lines += [
            f"040000 tree {self.tree(inside)}\t{folder}" for folder, inside in folders.items()
        ]
        return self.git("commit-tree", "-m", "Change files", self.tree({}, *lines))

    def import_files(self, files: Mapping[str, bytes]) -> str:
        """Commit many files, in any folders, by one process, and return the commit's id."""
        parts = [
            b"commit refs/heads/imported\ncommitter a <a@example.com> 0 +0000\ndata 0\ndeleteall\n"
        ]
        for path, content in files.items():
            parts.append(
                b"M 100644 inline %s\ndata %d\n%s\n" % (path.encode(), len(content), content)
            )
        self.git("fast-import", "--quiet", "--force", stdin=b"".join(parts))
        return self.git("rev-parse", "refs/heads/imported")

    def tree(self, files: Mapping[str, bytes], *entries: str) -> str:
        lines = [
            *entries,
            *(f"100644 blob {self.blob(content)}\t{path}" for path, content in files.items()),
        ]
        return self.git("mktree", "-z", stdin="".join(f"{line}\0" for line in lines).encode())

    def blob(self, content: bytes) -> str:
        return self.git("hash-object", "-w", "--stdin", stdin=content)


class GitServer:
    """Serves the repositories in a folder: `folder/o/r.git` at `{url}/o/r.git`.

    `mode` says how: correctly, with a redirect to another server, with the status 503, not at all
    until `close`, with half of the pack until `close`, in small parts, or one byte after the other.
    A server that lies changes the bodies of requests or responses. `calls` lists the requests, and
    `sent_bytes` counts what was sent.
    """

    def __init__(self, folder: Path, *, token: str) -> None:
        self.mode: Literal[
            "serve", "redirect", "unavailable", "hang", "stall", "slow", "trickle"
        ] = "serve"
        self.change_request: Callable[[bytes], bytes] = bytes
        self.change_response: Callable[[bytes], bytes] = bytes
        self.redirect_to = ""
        self.calls: list[str] = []
        self.authorizations: list[str | None] = []
        self.sent_bytes = 0
        self.hanging = threading.Event()
        self._number_hanging = threading.Semaphore(0)
        self._folder = folder
        self._expected = "Basic " + base64.b64encode(f"x-access-token:{token}".encode()).decode()
        self._released = threading.Event()
        self._server = Server((HOST, 0), self._handler()).__enter__()

    @property
    def base_url(self) -> str:
        """The value for `github.base_url`."""
        return f"http://{HOST}:{self._server.port}/api/v3"

    @property
    def fetches(self) -> int:
        """The number of `git fetch` that asked this server."""
        return sum(call.startswith("GET ") for call in self.calls)

    def until_hanging(self, number: int) -> bool:
        """Wait until so many requests hang that no earlier call has counted."""
        return all(self._number_hanging.acquire(timeout=10) for _ in range(number))

    def close(self) -> None:
        self._released.set()
        self._server.__exit__()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        server = self

        class Handler(Quiet):
            def serve(self) -> None:
                self.close_connection = True
                server.calls.append(f"{self.command} {self.path}")
                server.authorizations.append(self.headers["Authorization"])
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                if server.mode == "hang":
                    server.hanging.set()
                    server._number_hanging.release()
                    server._released.wait(30)
                elif server.mode == "unavailable":
                    self.answer(503, b"", {})
                elif server.mode == "redirect":
                    self.answer(302, b"", {"Location": server.redirect_to + self.path})
                elif self.headers["Authorization"] != server._expected:
                    self.answer(401, b"", {"WWW-Authenticate": 'Basic realm="GitHub"'})
                else:
                    self.run_backend(server.change_request(body))

            def run_backend(self, body: bytes) -> None:
                place = urlsplit(self.path)
                variables = {
                    **ENVIRON,
                    "GIT_HTTP_EXPORT_ALL": "1",
                    "GIT_PROJECT_ROOT": str(server._folder),
                    "GIT_PROTOCOL": self.headers.get("Git-Protocol", ""),
                    "CONTENT_TYPE": self.headers.get("Content-Type", ""),
                    "CONTENT_LENGTH": str(len(body)),
                    "HTTP_CONTENT_ENCODING": self.headers.get("Content-Encoding", ""),
                    "PATH_INFO": place.path,
                    "QUERY_STRING": place.query,
                    "REMOTE_USER": "x-access-token",
                    "REQUEST_METHOD": self.command,
                }
                ran = subprocess.run(
                    ["git", "http-backend"],
                    env=variables,
                    input=body,
                    stdout=subprocess.PIPE,
                    check=False,
                )
                head, _, content = ran.stdout.partition(b"\r\n\r\n")
                headers = dict(line.split(": ", 1) for line in head.decode().split("\r\n"))
                self.answer(
                    int(headers.pop("Status", "200").split()[0]),
                    server.change_response(content),
                    headers,
                )

            def answer(self, status: int, content: bytes, headers: Mapping[str, str]) -> None:
                server.sent_bytes += len(content)
                self.send_response(status)
                for name, value in {**headers, "Content-Length": str(len(content))}.items():
                    self.send_header(name, value)
                self.end_headers()
                if server.mode == "stall" and b"PACK" in content:
                    self.write_parts(content, len(content) // 2, pause_s=30)
                elif server.mode == "slow":
                    self.write_parts(content, 40_000, pause_s=0.05)
                elif server.mode == "trickle":
                    self.write_parts(content, 1, pause_s=0.2)
                else:
                    self.wfile.write(content)

            def write_parts(self, content: bytes, size: int, *, pause_s: float) -> None:
                for start in range(0, len(content), size):
                    self.wfile.write(content[start : start + size])
                    if server._released.wait(pause_s):
                        return

            do_GET = do_POST = serve  # noqa: N815 (the names that http.server looks for)

        return Handler
