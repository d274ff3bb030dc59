"""A browser for the tests of the console."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

from hls_handler.console.app import Console
from hls_handler.console.frame import ConsolePorts
from hls_handler.engine.health import Health
from hls_handler.github.api import RateLimit
from hls_handler.logs import LogRing
from hls_handler.prompting.library import ReloadingLibrary
from hls_handler.settings.model import Settings
from hls_handler.store.storage import Storage
from tests.web.fakes import NOON, Response, WebSetup, ask, settings

KEY = "the-key-of-this-service"


class Browser:
    """Sends requests to the console as a browser does, and keeps its cookie."""

    def __init__(self, store: Storage, host: str = "127.0.0.1:8000", **server: object) -> None:
        self.now = 1_000_000.0
        self.health, self.rate_limit = Health(lambda: NOON), RateLimit(None, None, None)
        self.log_ring = LogRing()
        self.prompts: ReloadingLibrary | None = (
            None  # set by tests that need it; loading one takes half a second
        )
        self.console, self.host = Console(self.ports(store)), host
        self.cookie = ""
        self.peer = ("127.0.0.1", 4711)  # the peer of the TCP connection
        self.sections: dict[str, Any] = {}  # of the settings, besides `server`
        self.apply(**server)

    def ports(self, store: Storage) -> ConsolePorts:
        return ConsolePorts(
            store,
            now=lambda: self.now,
            clock=lambda: self.now,
            health=self.health,
            rate_limit=lambda: self.rate_limit,
            log_ring=self.log_ring,
            prompts=self._prompts,
        )

    def apply(self, **server: object) -> None:
        """Use these settings. Without a sign-in, GitHub is a sandbox here: else the console is
        off.
        """
        sandbox = (
            {}
            if server.keys() & {"api_key", "trusted_proxy"}
            else {"github": {"base_url": "http://127.0.0.1:9"}}
        )
        self.use(settings(server=server, **{**sandbox, **self.sections}))

    def use(self, given: Settings) -> None:
        self.app = WebSetup(given).app()
        self.app.router.routes = [*self.console.routes(given)]

    def _prompts(self) -> ReloadingLibrary:
        assert self.prompts is not None
        return self.prompts

    def get(self, path: str, **headers: str) -> Response:
        return self._send("GET", path, headers, b"")

    def post(self, path: str, form: dict[str, str], **headers: str) -> Response:
        return self._send("POST", path, headers, urlencode(form).encode())

    def submit(self, page: str, path: str, **form: str) -> Response:
        """Send the form of a page."""
        return self.post(
            path, {"csrf_token": self.token(page), **form}, origin=f"http://{self.host}"
        )

    def token(self, page: str) -> str:
        """Return the token of the forms of a page."""
        return self.get(page).text.partition('name="csrf_token" value="')[2].partition('"')[0]

    def sign_in(self, key: str = KEY) -> Response:
        response = self.submit("/sign-in", "/sign-in", key=key, next="/deliveries?state=dead")
        if "set-cookie" in response.headers:
            self.cookie = response.headers["set-cookie"].partition(";")[0]
        return response

    def _send(self, method: str, path: str, headers: dict[str, str], body: bytes) -> Response:
        given = {"host": self.host, **({"cookie": self.cookie} if self.cookie else {}), **headers}
        place, _, query = path.partition("?")
        encoded = [
            (name.replace("_", "-").lower().encode(), value.encode())
            for name, value in given.items()
        ]
        return ask(
            self.app,
            place,
            method=method,
            headers=encoded,
            chunks=[body],
            query=query.encode(),
            client=self.peer,
        )
