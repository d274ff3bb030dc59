"""Connect the webhooks of a token, and show that GitHub's ping arrives and that Claude answers."""

from __future__ import annotations

import hmac
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from datetime import datetime
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Self

from hls_handler.analysis import REPLY_TYPES, ValidReply
from hls_handler.cli.init.dialogue import REQUEST_TIMEOUT_S, STOP_POLL_S
from hls_handler.cli.options import connect_claude, http_origin, print_line
from hls_handler.clients.app_setup import EVENTS
from hls_handler.clients.webhook_setup import PING, UNSERVED_URL, WebhookSetup, connect_with_token
from hls_handler.deliveries import DeliveryAttempt
from hls_handler.errors import HlsError, StepFailed, with_remedy
from hls_handler.prompting.prompt import Prompt
from hls_handler.prompting.render import RenderedPrompt
from hls_handler.settings.model import Claude, Github, Server, Settings
from hls_handler.settings.values import webhook_secrets
from hls_handler.web.webhook import sign

QUESTION = "This is the first question of a new service. Reply with worth_saying false and a summary of one word."
REPLY = "generic_analysis"
AGAIN = "then start `hls init` again: it changes nothing and pings once more"
MAX_PING_BYTES = 1_000_000


class TokenWebhooks:
    """The webhooks that a token may create: those of its repositories, and for "owner/*" that of the organisation."""

    def __init__(self, settings: Github, token: str, *, now: Callable[[], datetime]) -> None:
        self._settings, self._token, self._now = settings, token, now

    def connect(self, repositories: Sequence[str], *, url: str, secret: str) -> Mapping[str, int]:
        """Create or update the webhooks, and return their ids by the name in `repositories`; print what is refused."""
        connected: dict[str, int] = {}
        with closing(connect_with_token(self._settings, self._token, now=self._now)) as api:
            for name in repositories:
                try:
                    hook, action = WebhookSetup(api, _path_of(name)).ensure(url, secret, EVENTS)
                except StepFailed as exc:
                    print_line(f"The webhook of {name} was not created: {exc}")
                else:
                    print_line(f"Webhook of {name}: {action}, it sends to {url}")
                    connected[name] = hook.id
        return connected

    def ping(self, name: str, hook_id: int, *, sleep: Callable[[float], None]) -> DeliveryAttempt | None:
        with closing(connect_with_token(self._settings, self._token, now=self._now)) as api:
            return WebhookSetup(api, _path_of(name)).ping(hook_id, sleep=sleep)


def _path_of(name: str) -> str:
    return f"/orgs/{name.partition('/')[0]}" if "*" in name else f"/repos/{name}"


class PingReceiver:
    """Answers pings at the address of the service while none runs there, within a `with` block.

    Other webhooks get 503: GitHub lists them as failed, and catch-up of the service reads them.
    """

    def __init__(self, settings: Settings) -> None:
        secrets = webhook_secrets(settings.github.webhook_secret)  # () if the user's own file accepts unsigned webhooks
        values = {"secret": secrets[0] if secrets else b"", "paths": settings.server.webhook_paths}
        address = settings.server.host, settings.server.port
        self._server: ThreadingHTTPServer | None
        try:
            self._server = ThreadingHTTPServer(address, type("Handler", (_PingHandler,), values))
        except OSError:  # the service runs already, and answers
            self._server = None

    def __enter__(self) -> Self:
        if self._server is not None:
            threading.Thread(target=self._server.serve_forever, args=(STOP_POLL_S,), name="ping", daemon=True).start()
        return self

    def __exit__(self, *_error: object) -> None:
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()


class _PingHandler(BaseHTTPRequestHandler):
    secret: bytes
    paths: tuple[str, ...]
    timeout = REQUEST_TIMEOUT_S

    def do_POST(self) -> None:
        length = self.headers.get("Content-Length", "")
        body = self.rfile.read(min(int(length), MAX_PING_BYTES)) if length.isascii() and length.isdigit() else b""
        signature = self.headers.get("X-Hub-Signature-256", "").encode("utf-8", "replace")
        if self.path not in self.paths:
            status = HTTPStatus.NOT_FOUND
        elif not hmac.compare_digest(sign(self.secret, body), signature):
            status = HTTPStatus.UNAUTHORIZED
        else:
            is_ping = self.headers.get("X-GitHub-Event") == PING
            status = HTTPStatus.OK if is_ping else HTTPStatus.SERVICE_UNAVAILABLE
        self.send_response(status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_arguments: object) -> None:
        """Log nothing: anybody can send requests."""


def prove_webhook(ping: Callable[[], DeliveryAttempt | None], url: str, server: Server) -> None:
    """Let GitHub ping the webhook, and print whether the ping arrived at the service's address."""
    try:
        attempt = ping()
    except StepFailed as exc:
        print_line(f"The webhook was not tried: {exc}")
        return
    if attempt is None:
        print_line("GitHub lists no attempt to send its ping yet; start `hls init` again to try once more")
    elif url == UNSERVED_URL:
        print_line("GitHub keeps a ping for `hls listen`, which fetches events from its list")
    elif attempt.is_received:
        print_line(f"GitHub's ping arrived: {url} answered {attempt.status_code}")
    elif attempt.status_code == 401:
        print_line(f"GitHub's ping was rejected: the service at {url} has another secret; restart it in this folder")
    else:
        status = attempt.status_code
        where = http_origin(server.host, server.port)
        print_line(
            f"GitHub's ping did not arrive: {url} answered {status}. A proxy must forward it to {where}; {AGAIN}"
        )


def prove_claude(settings: Claude) -> None:
    """Ask Claude one question, and print whether the reply is valid."""
    model = REPLY_TYPES[REPLY]
    prompt = Prompt(
        name="init",
        id="the question of hls init",
        path="",
        on=(),
        reply=REPLY,
        reply_model=model,
        model=None,
        max_tokens=None,
        effort=None,
        then=None,
    )
    try:
        with connect_claude(settings) as claude:
            answer = claude.ask(RenderedPrompt(prompt, "", QUESTION, model.model_json_schema()))
    except HlsError as exc:
        print_line(f"Claude did not answer: {with_remedy(exc)}")
        return
    if not isinstance(answer, ValidReply):
        print_line(f"Claude's reply cannot be used: {answer.problem}")
        return
    cost = "" if answer.usage.cost_usd is None else f", for {answer.usage.cost_usd:.6f} USD"
    print_line(f"Claude answered a question with {answer.usage.model}{cost}")
