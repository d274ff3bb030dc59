"""The HTTP server of `hls init` on this machine, for the page that creates an App, and for GitHub's
ping.

The page posts the manifest of the App to GitHub, which redirects the browser to the page with a
code.
https://docs.github.com/en/apps/sharing-github-apps/registering-a-github-app-from-a-manifest
"""

from __future__ import annotations

import hmac
import html
import json
import secrets
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

from hls_handler.errors import HlsError
from hls_handler.github.webhook_setup import PING
from hls_handler.settings.model import Settings
from hls_handler.settings.values import webhook_secrets
from hls_handler.web.webhook import sign

HOST = "127.0.0.1"
TIMEOUT_S = 5.0  # for which a connection may be idle
STOP_POLL_S = 0.05  # longest wait for the end of the server
MAX_PING_BYTES = 1_000_000

PAGE = """\
<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>HLS: create a GitHub App</title>
<style nonce="{nonce}">
body {{ font: 1rem/1.5 system-ui, sans-serif; max-width: 40rem; margin: 3rem auto }}
</style>
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


PageResponse = tuple[int, Mapping[str, str], str]
"""Status, headers and body."""


@contextmanager
def local_server(
    host: str, port: int, respond: Callable[[BaseHTTPRequestHandler], PageResponse]
) -> Iterator[int]:
    """Answer GET and POST within the `with` block, and yield the port. Raises `OSError` if the port
    is in use.

    The end of the block waits for requests in progress, also after Ctrl-C.
    """

    class Handler(BaseHTTPRequestHandler):
        timeout = TIMEOUT_S

        def do_GET(self) -> None:
            status, headers, text = respond(self)
            body = text.encode()
            self.send_response(status)
            for name, value in {**headers, "Content-Length": str(len(body))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        do_POST = do_GET  # noqa: N815 (the name that the library calls)

        def log_message(self, *_arguments: object) -> None:
            """Log nothing: a request line may contain a code, and anybody can send requests."""

    server = ThreadingHTTPServer((host, port), Handler)
    server.daemon_threads = False  # so that `server_close` waits for them
    threading.Thread(target=server.serve_forever, args=(STOP_POLL_S,), daemon=True).start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()


class AppPage:
    """The page that posts the manifest of an App to GitHub, and receives the code of the App.

    `exchange` gets the code and returns the address of the page to show next. It is called once. An
    `HlsError` that it raises is shown on the page and kept as `problem`.
    """

    def __init__(self, exchange: Callable[[str], str]) -> None:
        self.state = secrets.token_urlsafe(32)  # other users of this machine do not know it
        self.problem: HlsError | None = None
        self.ended = threading.Event()  # set after the first call of `exchange`
        self._exchange = exchange
        self._form = ""
        self._answer: PageResponse | None = None  # to the code
        self._lock = threading.Lock()

    def show(self, manifest: Mapping[str, object], *, action: str) -> None:
        """Set the form of the page, which posts the manifest to GitHub's address `action`."""
        self._form = FORM.format(
            action=html.escape(action), manifest=html.escape(json.dumps(manifest))
        )

    def respond(self, request: BaseHTTPRequestHandler) -> PageResponse:
        parts = urlsplit(request.path)
        if parts.path == f"/{self.state}":
            return _page(200, self._form)
        query = parse_qs(parts.query)
        state = query.get("state", [""])[0]
        code = query.get("code", [""])[0]
        if (
            parts.path != "/code"
            or not code
            or not hmac.compare_digest(state.encode(), self.state.encode())
        ):
            return _page(
                404,
                "<p>There is nothing here. Open the address that <code>hls init</code>"
                " printed.</p>",
            )
        with self._lock:
            if self._answer is None:  # a reload of the page sends the code again
                try:
                    self._answer = _page(303, "", Location=self._exchange(code))
                except HlsError as exc:
                    self.problem = exc
                    self._answer = _page(
                        502, f"<p>{html.escape(str(exc))}</p><p>See the terminal.</p>"
                    )
                self.ended.set()
            return self._answer


def _page(status: int, content: str, **headers: str) -> PageResponse:
    nonce = secrets.token_urlsafe(16)
    policy = (
        f"default-src 'none'; script-src 'nonce-{nonce}'; style-src 'nonce-{nonce}'; base-uri"
        " 'none'"
    )
    common = {
        "Content-Type": "text/html; charset=utf-8",
        "Content-Security-Policy": f"{policy}; frame-ancestors 'none'",
        "Referrer-Policy": "origin",
        "Cache-Control": "no-store",
    }
    return status, {**common, **headers}, PAGE.format(nonce=nonce, content=content)


@contextmanager
def answer_pings(settings: Settings) -> Iterator[None]:
    """Answer pings at the address of the service while none runs there, within the `with` block.

    Other webhooks get 503: GitHub lists them as failed, and catch-up of the service reads them.
    """
    secrets = webhook_secrets(settings.github.webhook_secret)
    secret = secrets[0] if secrets else b""  # the user's own file accepts unsigned webhooks

    def respond(request: BaseHTTPRequestHandler) -> PageResponse:
        length = request.headers.get("Content-Length", "")
        body = b""
        if length.isascii() and length.isdigit():
            body = request.rfile.read(min(int(length), MAX_PING_BYTES))
        signature = request.headers.get("X-Hub-Signature-256", "").encode("utf-8", "replace")
        if request.path not in settings.server.webhook_paths:
            return 404, {}, ""
        if not hmac.compare_digest(sign(secret, body), signature):
            return 401, {}, ""
        if request.headers.get("X-GitHub-Event") != PING:
            return 503, {}, ""
        return 200, {}, ""

    with ExitStack() as stack:
        with suppress(OSError):  # the service runs already, and answers
            stack.enter_context(local_server(settings.server.host, settings.server.port, respond))
        yield
