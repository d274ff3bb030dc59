"""The interaction with the user: questions at the terminal, the page in the browser, and the steps that remain.

The page posts the manifest of the App to GitHub, which redirects the browser to the page with a code.
https://docs.github.com/en/apps/sharing-github-apps/registering-a-github-app-from-a-manifest
"""

from __future__ import annotations

import hmac
import html
import json
import os
import secrets
import select
import sys
import threading
import webbrowser
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self, TextIO, TypeVar
from urllib.parse import parse_qs, urljoin, urlsplit

import typer
from pydantic import TypeAdapter, ValidationError

from hls_handler.cli.options import print_line
from hls_handler.clients.app_setup import EVENTS
from hls_handler.clients.webhook_setup import UNSERVED_URL
from hls_handler.errors import HlsError, SettingsError
from hls_handler.settings.values import LinkUrl
from hls_handler.untrusted.cleaning import escape_unprintable

T = TypeVar("T")


class Terminal(Protocol):
    """A person at a terminal."""

    def ask(self, question: str, default: str | None) -> str:
        """Return a line; `default` for an empty one. Without a default, repeat the question."""

    def ask_hidden(self, question: str, default: str | None) -> str:
        """Return a line that is not shown while it is typed."""

    def wait_for_enter(self, timeout_s: float) -> bool:
        """Return True as soon as Enter is pressed, and False after `timeout_s`."""


class StandardInput:
    """The terminal of this process. `stream` is its standard input."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def ask(self, question: str, default: str | None) -> str:
        return str(typer.prompt(escape_unprintable(question), default=default, show_default=bool(default))).strip()

    def ask_hidden(self, question: str, default: str | None) -> str:
        shown = escape_unprintable(question)
        return str(typer.prompt(shown, default=default, show_default=False, hide_input=True)).strip()

    def wait_for_enter(self, timeout_s: float) -> bool:
        readable, _, _ = select.select([self._stream], [], [], timeout_s)
        return bool(readable and (self._stream.readline() or True))


@dataclass(frozen=True, slots=True)
class Dialogue:
    """Asks `terminal`, which is None if there is no terminal. With `yes`, every confirmation is given."""

    terminal: Terminal | None
    yes: bool = False

    def confirm(self, question: str) -> bool:
        """Ask for a confirmation; the default is no. Raises `SettingsError` if there is no terminal."""
        if self.yes:
            return True
        if self.terminal is None:
            raise SettingsError([f"{question} There is no terminal to ask on: answer with --yes"])
        return self.terminal.ask(f"{question} (y/n)", "n").lower() in ("y", "yes")

    def ask_valid(self, question: str, default: str | None, parse: Callable[[str], T]) -> T:
        """Ask until `parse` raises no `SettingsError`; must not be called without a terminal."""
        assert self.terminal is not None
        while True:
            try:
                return parse(self.terminal.ask(question, default))
            except SettingsError as exc:
                print_problems(exc)

    def choose(self, question: str, choices: Sequence[str]) -> int:
        """Print numbered choices and return the index of the chosen one; the first is the default."""
        print_line(question)
        for number, choice in enumerate(choices, start=1):
            print_line(f"  {number}  {choice}")

        def parse(answer: str) -> int:
            return _parse_number(answer, len(choices)) - 1

        return self.ask_valid("Number", "1", parse)

    def choose_several(self, question: str, choices: Sequence[str]) -> tuple[str, ...]:
        """Print numbered choices and return the chosen ones; an empty answer means all."""
        print_line(question)
        for number, choice in enumerate(choices, start=1):
            print_line(f"  {number}  {choice}")

        def parse(answer: str) -> tuple[str, ...]:
            if answer == "all":
                return tuple(choices)
            numbers = {_parse_number(part, len(choices)) for part in answer.replace(",", " ").split()}
            return tuple(choices[number - 1] for number in sorted(numbers))

        return self.ask_valid("Numbers, separated by commas, or all", "all", parse)


def _parse_number(text: str, highest: int) -> int:
    number = int(text) if text.isascii() and text.isdigit() else 0
    if not 1 <= number <= highest:
        raise SettingsError([f"{text}: expected a number from 1 to {highest}"])
    return number


def print_problems(error: SettingsError) -> None:
    for problem in error.problems:
        print_line(problem)


def open_browser(url: str) -> bool:
    """Open a graphical browser. Text browsers would take the terminal."""
    if sys.platform.startswith("linux") and not any(
        os.environ.get(n) for n in ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER")
    ):
        return False
    try:
        return webbrowser.open(url)
    except (webbrowser.Error, OSError):
        return False


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


@dataclass(frozen=True, slots=True)
class Outcome:
    """The result of `hls init`, which decides which steps remain."""

    web_url: str  # "https://github.com"
    webhook_url: str  # `UNSERVED_URL` if there is no public address
    repositories: tuple[str, ...]
    app_settings_url: str | None  # page of the App; None for a token
    is_installed: bool
    has_claude_key: bool
    connected: frozenset[str] = frozenset()  # repositories whose webhook `hls init` created


def find_about_url(webhook_url: str) -> str | None:
    """Return the address of the service's page for contributors; None if the URL does not look like the service's."""
    about_url = urljoin(webhook_url, "/docs/comments.md")
    is_served = webhook_url != UNSERVED_URL and webhook_url.endswith("/webhook")  # not that of a relay such as smee
    try:
        return TypeAdapter(LinkUrl).validate_python(about_url) if is_served else None
    except ValidationError:
        return None


FOR_OTHER_TOKENS = """
     If the token may not list webhooks, `gh webhook forward` brings them to `hls serve` (docs/setup.md)."""


def remaining_steps(outcome: Outcome, *, hls: str, config: Path | None, dotenv: Path) -> Iterator[str]:
    """Yield the steps; further lines of a step are indented. `config` is the value of --config."""
    option = f" --config {config}" if config is not None else ""
    is_public = outcome.webhook_url != UNSERVED_URL
    app = outcome.app_settings_url
    if not outcome.has_claude_key:
        yield f"Add the line ANTHROPIC_API_KEY=... to {dotenv.absolute()}."
    if app is not None and not outcome.is_installed:
        yield f"Install the App on your repositories: {app}/installations"
    yield f"Check settings, prompts and credentials: {hls} check{option}"
    if app is None:
        for name in outcome.repositories:
            if name in outcome.connected:
                continue
            owner, _, repository = name.partition("/")
            page = f"organizations/{owner}" if "*" in repository else name
            yield (
                f"Create the webhook: {outcome.web_url}/{page}/settings/hooks/new\n"
                f"     Payload URL: {outcome.webhook_url}   Content type: application/json\n"
                f"     Secret: the value of GITHUB_WEBHOOK_SECRET in {dotenv.absolute()}\n"
                f"     Events: {', '.join(EVENTS)}"
            )
    if is_public:
        addresses = " and ".join(filter(None, (outcome.webhook_url, find_about_url(outcome.webhook_url))))
        forward = f"A proxy with TLS forwards {addresses} to it (docs/setup.md)."
        yield f"Receive events: {hls} serve{option}\n     {forward}"
    else:
        reader = "" if app is not None else FOR_OTHER_TOKENS
        yield f"Receive events, without a public address: {hls} listen{option}{reader}"
    yield (
        f"Open the console, whose address it prints. The key is the value of HLS_API_KEY in {dotenv.absolute()}\n"
        '     From other machines, through a proxy with TLS: docs/setup.md, "Behind a proxy".'
    )
    first = next((name for name in outcome.repositories if "*" not in name), None)
    where = f"Open an issue in {first or 'one of the repositories'}, and see what HLS does"
    yield f"{where}: {hls} why {first or 'OWNER/REPO'}#1{option}"
    if not is_public:
        where = "in each webhook" if app is None else f"at {app}"
        yield f"Later, with a public address: enter it as the webhook URL {where}, and use {hls} serve{option}."
