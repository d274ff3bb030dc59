"""Where the stand-in GitHub keeps files: addresses that are valid for a minute, for whoever has them.

It refuses a token, as GitHub's does: one that was sent on from the API has gone too far.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from hls_handler.sandbox.state import State

VALID = timedelta(minutes=1)
PREFIX = "/_storage/"


class Storage:
    """`web_url` is the sandbox's own address, without a slash at the end."""

    def __init__(self, state: State, *, web_url: str, clock: Callable[[], datetime]) -> None:
        self._state, self._web_url, self._clock = state, web_url, clock
        self._key = secrets.token_bytes(16)

    def address(self, file: str) -> str:
        """Of "logs/owner/repo/7"."""
        until = int((self._clock() + VALID).timestamp())
        return f"{self._web_url}{PREFIX}{file}?{urlencode({'until': until, 'signature': self._signature(file, until)})}"

    def routes(self) -> list[Route]:
        async def log(request: Request) -> Response:
            owner, repo, job = (request.path_params[name] for name in ("owner", "repo", "job"))
            return self._answer(request, f"logs/{owner}/{repo}/{job}", f"{owner}/{repo}", job)

        return [Route(f"{PREFIX}logs/{{owner}}/{{repo}}/{{job:int}}", log, methods=["GET"])]

    def _answer(self, request: Request, file: str, full_name: str, job_id: int) -> Response:
        if "authorization" in request.headers:
            return PlainTextResponse("InvalidAuthenticationInfo: no Authorization is needed here", 400)
        until, signature = request.query_params.get("until", ""), request.query_params.get("signature", "")
        right = until.isdecimal() and hmac.compare_digest(
            signature.encode(), self._signature(file, int(until)).encode()
        )
        if not right or self._clock() > datetime.fromtimestamp(int(until), UTC):
            return PlainTextResponse("AuthenticationFailed: the signature is wrong or has expired", 403)
        found = self._state.find_job(full_name, job_id)
        if found is None or found[2].log is None:
            return PlainTextResponse("BlobNotFound", 404)
        return Response("\ufeff" + found[2].log, media_type="text/plain; charset=utf-8")

    def _signature(self, file: str, until: int) -> str:
        return hmac.new(self._key, f"{file} {until}".encode(), hashlib.sha256).hexdigest()
