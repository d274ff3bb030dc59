"""Decides who may use the console: people who signed in with `server.api_key` or at the trusted
proxy, or local ones if the settings have neither.

A session is a cookie with its end and a signature by a key that is derived from `server.api_key`.
So it is valid in all processes, and ends when the key is changed. Signing out deletes the cookie,
but not copies of it.
"""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Callable
from hashlib import sha256

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from hls_handler.settings.model import Settings
from hls_handler.web.callers import Callers, find_sign_of_others, is_of_other_site

SESSION_S = 12 * 3600


class Access:
    """The rules for one set of settings. Thread-safe."""

    def __init__(self, settings: Settings, own_key: bytes, now: Callable[[], float]) -> None:
        """`own_key` is random; it signs tokens if there is no `server.api_key`. `now` returns
        seconds since 1970.
        """
        self._server = settings.server
        self._callers = Callers(settings.server)
        self._signing_key = hmac.digest(self._callers.key or own_key, b"HLS console", sha256)
        self.now = now
        public_url = settings.server.public_url or ""
        self.is_on = settings.has_console
        self.has_key = self._callers.key is not None
        self._is_secure = public_url.startswith("https://")
        self._origin = "/".join(public_url.split("/")[:3])

    def find_rejection(self, request: Request) -> HTTPException | None:
        """Return the error if requests from this place are rejected; None if they are not."""
        if not self.is_on:
            return HTTPException(
                404,
                "the console and the API are off: set server.api_key, such as to the output of"
                " openssl rand -hex 24",
            )
        if not self._server.has_sign_in:
            sign = find_sign_of_others(request)
            if sign is not None:
                return HTTPException(
                    403,
                    f"without server.api_key only this machine may use the console ({sign}): use"
                    " http://127.0.0.1 or http://localhost, or set server.api_key",
                )
        elif is_of_other_site(request, public_origin=self._origin):
            return HTTPException(
                403,
                "a web page of another site has sent this request. Behind a proxy, set"
                " server.public_url to the address of this page, and let the proxy keep the header"
                " Host",
            )
        return None

    def is_allowed(self, request: Request) -> bool:
        return self._callers.may_read(request) or self._session(request) is not None

    def find_user(self, request: Request) -> str | None:
        """Return the login that the trusted proxy sent; None also for a program, which sends the
        key in X-API-Key.
        """
        if self._callers.has_key(request):
            return None
        return self._callers.find_user(request)

    def may_write(self, request: Request) -> bool:
        """Return False for users who may only read, also if they have signed in with the key."""
        user = self.find_user(request)
        return user is None or not self._server.is_viewer(user)

    def is_scraper(self, request: Request) -> bool:
        """Return True for users of the proxy, and for a request with the key in one header,
        X-API-Key or Authorization.

        A session does not count. Without a sign-in, the rules of `find_rejection` are enough.
        """
        return self._callers.may_read(request, or_bearer=True)

    def is_program(self, request: Request) -> bool:
        """Return True for a request with the key in its header. Without a key, and of users: if no
        web page sent it.
        """
        needs_key = self.has_key and self.find_user(request) is None
        return self._callers.has_key(request) or not (needs_key or "origin" in request.headers)

    def sign_in(self, request: Request, key: str, response: Response) -> bool:
        """Add the cookie to the response if the key is right. Any number of keys may be tried, as
        in X-API-Key.
        """
        if not self._callers.is_key(key.encode()):
            return False
        value = f"{int(self.now()) + SESSION_S}.{secrets.token_urlsafe(16)}"
        response.set_cookie(
            self._cookie_name(request),
            f"{value}.{self._sign('session', value)}",
            max_age=SESSION_S,
            secure=self._is_behind_tls(request),
            httponly=True,
            samesite="strict",
        )
        return True

    def sign_out(self, request: Request, response: Response) -> None:
        is_secure = self._is_behind_tls(request)
        response.delete_cookie(
            self._cookie_name(request), secure=is_secure, httponly=True, samesite="strict"
        )

    def csrf_token(self, request: Request) -> str:
        """Return the token that forms of this user or session must send."""
        user = self.find_user(request)
        if user is not None:
            return self._sign("form of", user)
        return self._sign("form", self._session(request) or "")

    def is_own_form(self, request: Request, token: str) -> bool:
        """Return True if the token is that of a form of the console for this user or session."""
        return hmac.compare_digest(token.encode(), self.csrf_token(request).encode())

    def _is_behind_tls(self, request: Request) -> bool:
        """Return True if the client uses TLS. A client that lies about it changes only its own
        cookie.
        """
        scheme = request.headers.get("x-forwarded-proto", "").rpartition(",")[2].strip()
        return self._is_secure or scheme == "https"

    def _cookie_name(self, request: Request) -> str:
        return "__Host-hls" if self._is_behind_tls(request) else "hls"

    def _session(self, request: Request) -> str | None:
        value, _, signature = request.cookies.get(self._cookie_name(request), "").rpartition(".")
        if not hmac.compare_digest(signature.encode(), self._sign("session", value).encode()):
            return None
        if int(value.partition(".")[0]) <= self.now():
            return None
        return value

    def _sign(self, purpose: str, value: str) -> str:
        return hmac.digest(
            self._signing_key, f"{purpose} {value}".encode("utf-8", "surrogatepass"), sha256
        ).hex()
