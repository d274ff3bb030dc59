"""HTTP servers of `hls init` on this machine: the page that creates an App, and the receiver of GitHub's ping.

The page posts the manifest of the App to GitHub, which redirects the browser to the page with a code.
https://docs.github.com/en/apps/sharing-github-apps/registering-a-github-app-from-a-manifest
"""

from __future__ import annotations

import hmac
import html
import json
import secrets
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

from hls_handler.clients.webhook_setup import PING
from hls_handler.errors import HlsError, SettingsError
from hls_handler.settings.model import Settings
from hls_handler.settings.values import webhook_secrets
from hls_handler.web.webhook import sign

HOST = "127.0.0.1"
PAGE_TIMEOUT_S, PING_TIMEOUT_S = 2.0, 30.0  # for which a connection may be idle
STOP_POLL_S = 0.05  # longest wait for the end of the server
MAX_PING_BYTES = 1_000_000

PAGE = """\
<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>HLS: create a GitHub App</title>
<style nonce="{nonce}">body {{ font: 1rem/1.5 system-ui, sans-serif; max-width: 40rem; margin: 3rem auto }}</style>
<h1>HLS: create a GitHub App</h1>
{content}
<script nonce="{nonce}">document.forms[0]?.submit()</script>
</html>
"""
FORM = """\
<form method="post" action="{action}">
<input type="hidden" name="manifest" value="{manifest}">
<p>GitHub shows the new App and asks you to confirm it. Then it asks for the repositories.</p>
<p><button>Continue to GitHub</button></p>
</form>
"""


@contextmanager
def _running(server: ThreadingHTTPServer) -> Iterator[None]:
    threading.Thread(target=server.serve_forever, args=(STOP_POLL_S,), daemon=True).start()
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()


class _Handler(BaseHTTPRequestHandler):
    def reply(self, status: int, headers: Mapping[str, str], body: bytes = b"") -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_arguments: object) -> None:
        """Log nothing: a request line may contain a code, and anybody can send requests."""


class AppPage(ThreadingHTTPServer):
    """The page that posts the manifest of an App to GitHub, and receives the code of the App.

    `exchange` gets the code and returns the address of the page to show next. It is called once, in a thread of the
    server. An `HlsError` that it raises is shown on the page and kept as `problem`. The end of the block of `running`
    waits for it, also after Ctrl-C: the App exists, and its key must be stored.
    """

    daemon_threads = False  # `server_close` waits for their end

    def __init__(self, *, port: int, exchange: Callable[[str], str]) -> None:
        """Listen on `port` (0: a free one). Raises `SettingsError` if the port is in use."""
        self.state = secrets.token_urlsafe(32)
        self.problem: HlsError | None = None
        self.ended = threading.Event()  # set after the first call of `exchange`
        self._exchange, self._form = exchange, ""
        self._answer: tuple[int, str] | None = None  # to the code
        self._lock = threading.Lock()
        try:
            super().__init__((HOST, port), _PageHandler)
        except OSError as exc:
            raise SettingsError([f"cannot listen on {HOST}:{port}: {exc.strerror}; choose another --port"]) from exc
        self.origin = f"http://{HOST}:{self.server_port}"
        self.url = f"{self.origin}/{self.state}"  # other users of this machine do not know the state

    @contextmanager
    def running(self, manifest: Mapping[str, object], *, action: str) -> Iterator[None]:
        """Serve the page, whose form posts the manifest to GitHub's address `action`, within a `with` block."""
        self._form = FORM.format(action=html.escape(action), manifest=html.escape(json.dumps(manifest)))
        with _running(self):
            yield

    def respond(self, target: str) -> tuple[int, str]:
        """Return the status and the content of the page for a request, or 303 and the address to go to."""
        parts = urlsplit(target)
        if parts.path == f"/{self.state}":
            return 200, self._form
        query = parse_qs(parts.query)
        state, code = query.get("state", [""])[0], query.get("code", [""])[0]
        if parts.path != "/code" or not code or not hmac.compare_digest(state.encode(), self.state.encode()):
            return 404, "<p>There is nothing here. Open the address that <code>hls init</code> printed.</p>"
        with self._lock:
            if self._answer is None:  # a reload of the page sends the code again
                try:
                    self._answer = 303, self._exchange(code)
                except HlsError as exc:
                    self.problem = exc
                    self._answer = 502, f"<p>{html.escape(str(exc))}</p><p>See the terminal.</p>"
                self.ended.set()
            return self._answer


class _PageHandler(_Handler):
    server: AppPage

    timeout = PAGE_TIMEOUT_S

    def do_GET(self) -> None:
        status, content = self.server.respond(self.path)
        nonce = secrets.token_urlsafe(16)
        policy = f"default-src 'none'; script-src 'nonce-{nonce}'; style-src 'nonce-{nonce}'; base-uri 'none'"
        headers = {
            "Content-Type": "text/html; charset=utf-8",
            "Content-Security-Policy": f"{policy}; frame-ancestors 'none'",
            "Referrer-Policy": "origin",
            "Cache-Control": "no-store",
        }
        if status == 303:
            self.reply(status, {"Location": content, **headers})
        else:
            self.reply(status, headers, PAGE.format(nonce=nonce, content=content).encode())


@contextmanager
def answer_pings(settings: Settings) -> Iterator[None]:
    """Answer pings at the address of the service while none runs there, within the `with` block.

    Other webhooks get 503: GitHub lists them as failed, and catch-up of the service reads them.
    """
    found = webhook_secrets(settings.github.webhook_secret)  # () if the user's own file accepts unsigned webhooks

    class PingHandler(_Handler):
        timeout = PING_TIMEOUT_S

        def do_POST(self) -> None:
            length = self.headers.get("Content-Length", "")
            body = self.rfile.read(min(int(length), MAX_PING_BYTES)) if length.isascii() and length.isdigit() else b""
            signature = self.headers.get("X-Hub-Signature-256", "").encode("utf-8", "replace")
            if self.path not in settings.server.webhook_paths:
                status = 404
            elif not hmac.compare_digest(sign(found[0] if found else b"", body), signature):
                status = 401
            else:
                status = 200 if self.headers.get("X-GitHub-Event") == PING else 503
            self.reply(status, {})

    try:
        server = ThreadingHTTPServer((settings.server.host, settings.server.port), PingHandler)
    except OSError:  # the service runs already, and answers
        yield
        return
    with _running(server):
        yield
