"""The page that asks for the key."""

from __future__ import annotations

from collections.abc import Sequence

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from hls_handler.console.frame import SIGN_IN, Form, Frame, Pages

AT_PROXY = (
    "Sign in at the proxy before this service: the request had no login in the header of"
    " server.trusted_proxy, or did not come from its networks."
)


class SignInPages(Pages):
    def __init__(self, frame: Frame) -> None:
        super().__init__(frame)
        self._access = frame.access

    def routes(self) -> Sequence[BaseRoute]:
        return [
            Route(SIGN_IN, self._show, methods=["GET"]),
            Route(SIGN_IN, self._sign_in, methods=["POST"]),
            self._frame.form("/sign-out", self._sign_out),
        ]

    async def _show(self, request: Request) -> Response:
        self._frame.require_permitted_origin(request)
        return self._page(request, _local_path(request.query_params.get("next")))

    def _page(
        self, request: Request, address: str, *, problem: str = "", status: int = 200
    ) -> Response:
        if not self._access.has_key and not self._access.is_allowed(request):
            return self._frame.message(request, AT_PROXY, status=401)
        if not self._access.has_key:
            return RedirectResponse(address, 303)
        return self._frame.render(
            request, "sign_in.html", status=status, wanted=address, problem=problem
        )

    async def _sign_in(self, request: Request) -> Response:
        self._frame.require_permitted_origin(request)
        form = await self._frame.read_own_form(request)
        address = _local_path(form.get("next"))
        response = RedirectResponse(address, 303)
        if self._access.sign_in(request, form.get("key", ""), response):
            return response
        problem = "This is not the key. It is server.api_key in the settings."
        return self._page(request, address, problem=problem, status=401)

    def _sign_out(self, request: Request, _form: Form) -> Response:
        response = RedirectResponse(SIGN_IN, 303)
        self._access.sign_out(request, response)
        return response


def _local_path(address: str | None) -> str:
    if address is None or not address.isprintable() or address.startswith(("//", "/\\")):
        return "/"
    return address if address.startswith("/") else "/"
