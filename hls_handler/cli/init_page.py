"""The loopback server of `hls init`: a page that posts the manifest to GitHub, and the address that receives the code.

https://docs.github.com/en/apps/sharing-github-apps/registering-a-github-app-from-a-manifest
"""

from __future__ import annotations

import hmac
import html
import json
import secrets
import threading
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Self
from urllib.parse import parse_qs, urlsplit

from hls_handler.errors import HlsError, SettingsError

HOST = "127.0.0.1"
REQUEST_TIMEOUT_S = 30.0
STOP_POLL_S = 0.05  # longest wait for the end of the server

PAGE = """\
<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style nonce="{nonce}">body {{ font: 1rem/1.5 system-ui, sans-serif; max-width: 40rem; margin: 3rem auto }}</style>
<h1>{title}</h1>
{content}
</html>
"""
FORM = """\
<form method="post" action="{action}">
<input type="hidden" name="manifest" value="{manifest}">
<p>GitHub shows the new App and asks you to confirm it. Then it asks for the repositories.</p>
<p><button>Continue to GitHub</button></p>
</form>
<script nonce="{nonce}">document.forms[0].submit()</script>
"""


class ManifestServer:
    """Serves the page and receives the code, in threads, within a `with` block.

    `exchange` gets the code and returns the address of the page to show next. It is called once, in a thread of the
    server. An `HlsError` that it raises is shown on the page and kept as `problem`.
    """

    def __init__(self, *, port: int, exchange: Callable[[str], str]) -> None:
        """Listen on `port` (0: a free one). Raises `SettingsError` if the port is in use."""
        self.state = secrets.token_urlsafe(32)
        self.problem: HlsError | None = None
        self.ended = threading.Event()  # set after the response to the first call of `exchange`
        self._exchange = exchange
        self._response: tuple[int, str] | None = None  # to the code
        self._lock = threading.Lock()
        self._form: Mapping[str, str] = {}
        handler = type("Handler", (_Handler,), {"page": self})
        try:
            self._server = ThreadingHTTPServer((HOST, port), handler)
        except (OSError, OverflowError) as exc:
            reason = exc.strerror if isinstance(exc, OSError) else "expected a number up to 65535"
            remedy = "choose another with --port, or omit the option"
            raise SettingsError([f"cannot listen on {HOST}:{port}: {reason}; {remedy}"]) from exc
        self._server.daemon_threads = True
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(STOP_POLL_S,), name="manifest-page", daemon=True
        )

    @property
    def port(self) -> int:
        return int(self._server.server_address[1])

    @property
    def url(self) -> str:
        """Address of the page. It contains the state, so that other users of this machine cannot read the page."""
        return f"http://{HOST}:{self.port}/{self.state}"

    @property
    def redirect_url(self) -> str:
        return f"http://{HOST}:{self.port}/code"

    def offer(self, manifest: Mapping[str, object], *, action: str) -> None:
        """Set the form of the page: the manifest, and the address of GitHub that it is posted to."""
        self._form = {"action": html.escape(action), "manifest": html.escape(json.dumps(manifest))}

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        with self._lock:  # after Ctrl-C, let an exchange end: the App exists, and its key must be stored
            pass

    def respond(self, target: str) -> tuple[int, str]:
        """Return the status and the page for a request, or 303 and the address to go to."""
        parts = urlsplit(target)
        if parts.path == f"/{self.state}":
            return 200, FORM
        if parts.path != "/code":
            return 404, "<p>There is nothing here. Open the address that <code>hls init</code> printed.</p>"
        query = parse_qs(parts.query)
        state, code = query.get("state", [""])[0], query.get("code", [""])[0]
        if not hmac.compare_digest(state.encode(), self.state.encode()):
            return 400, "<p>The state is wrong: this is not the answer to the page of this <code>hls init</code>.</p>"
        if not code:
            return 400, "<p>GitHub sent no code. Open the address that <code>hls init</code> printed again.</p>"
        return self._receive(code)

    def _receive(self, code: str) -> tuple[int, str]:
        with self._lock:
            if self._response is None:  # a reload of the page sends the code again
                try:
                    self._response = 303, self._exchange(code)
                except HlsError as exc:
                    self.problem = exc
                    self._response = 502, f"<p>{html.escape(str(exc))}</p><p>See the terminal.</p>"
            return self._response

    def note_response(self) -> None:
        """Set `ended` if the code was exchanged; called after each response."""
        if self._response is not None:
            self.ended.set()

    def render(self, content: str, nonce: str) -> str:
        form = FORM.format(nonce=nonce, **self._form) if content is FORM else content
        return PAGE.format(title="HLS: create a GitHub App", nonce=nonce, content=form)


class _Handler(BaseHTTPRequestHandler):
    page: ManifestServer
    timeout = REQUEST_TIMEOUT_S

    def do_GET(self) -> None:
        if self.headers.get("Host") != f"{HOST}:{self.page.port}":  # a name of another site, bound to this address
            self._reply(421, "<p>Open the address that <code>hls init</code> printed.</p>")
            return
        try:
            self._reply(*self.page.respond(self.path))
        finally:
            self.page.note_response()

    def _reply(self, status: int, content: str) -> None:
        nonce = secrets.token_urlsafe(16)
        body = b"" if status == 303 else self.page.render(content, nonce).encode()
        self.send_response(status)
        if status == 303:
            self.send_header("Location", content)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        policy = f"default-src 'none'; script-src 'nonce-{nonce}'; style-src 'nonce-{nonce}'; base-uri 'none'"
        self.send_header("Content-Security-Policy", f"{policy}; frame-ancestors 'none'")
        self.send_header("Referrer-Policy", "origin")
        self.send_header("Cache-Control", "no-store")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_arguments: object) -> None:
        """Log nothing: a request line contains the code."""
