"""A browser of a person who confirms a GitHub App and installs it, for the pages of `hls init` and
of the sandbox.
"""

from __future__ import annotations

import re
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from html import unescape
from pathlib import Path
from urllib.parse import urlencode, urljoin, urlsplit
from urllib.request import url2pathname

from tests.sandbox.conftest import Answer, ask


@dataclass(slots=True)
class Browser:
    """Opens the page of `hls init` and presses the buttons. `repositories` is None for all."""

    repositories: tuple[str, ...] | None = ("Codertocat/Hello-World",)
    installs: bool = True
    opened: list[str] = field(default_factory=list)  # addresses that `hls init` opened
    pages: list[str] = field(default_factory=list)  # texts of the pages that were shown

    def open(self, url: str) -> None:
        self.opened.append(url)
        if url.startswith("file:"):
            file = Path(url2pathname(urlsplit(url).path))
            assert stat.S_IMODE(file.stat().st_mode) == 0o600
            url = unescape(re.findall('url=([^"]+)"', file.read_text())[0])
        if "/installations/new" in url:
            self._install(url)
            return
        page = self.get(url)
        form = fields_of(page.text)
        action = unescape(re.findall('action="([^"]+)"', page.text)[0])
        confirmation = self.post(action, {"manifest": form["manifest"]})
        redirect = self.post(
            urljoin(action, "/settings/apps/confirm"), fields_of(confirmation.text)
        )
        installation = self.get(redirect.headers["location"])
        if installation.status == 303:
            self._install(installation.headers["location"])

    def get(self, url: str) -> Answer:
        return self._ask("GET", url, None)

    def post(self, url: str, form: Mapping[str, str]) -> Answer:
        return self._ask("POST", url, urlencode(form).encode())

    def _install(self, url: str) -> None:
        if not self.installs:
            return
        everything = self.repositories is None
        chosen = [("repository", name) for name in self.repositories or ()]
        form = [("selection", "all" if everything else "selected"), *chosen]
        assert self._ask("POST", url, urlencode(form).encode()).status == 200

    def _ask(self, method: str, url: str, body: bytes | None) -> Answer:
        parts = urlsplit(url)
        path = f"{parts.path}?{parts.query}" if parts.query else parts.path
        headers = {"Content-Type": "application/x-www-form-urlencoded"} if body is not None else {}
        answer = ask(f"{parts.scheme}://{parts.netloc}", method, path, body, headers)
        self.pages.append(answer.text)
        return answer


def fields_of(page: str) -> dict[str, str]:
    return {
        name: unescape(value)
        for name, value in re.findall('<input [^>]*?name="([a-z]+)" value="([^"]*)"', page)
    }
