"""Web pages of the stand-in GitHub that create an App from a manifest and install it; at GitHub's
addresses.
"""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlencode

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from hls_sandbox import pages
from hls_sandbox.apps import Apps, Manifest, slug_of
from hls_sandbox.objects import App

HEADERS = {
    **pages.HEADERS,
    # Without form-action: the form of the first page redirects to the address of `hls init`.
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "Referrer-Policy": "same-origin",
}
EMPTY_PAGE: dict[str, Any] = {
    "title": "",
    "message": "",
    "new": None,
    "app": None,
    "installed": None,
}


def app_page_routes(apps: Apps) -> list[Route]:
    """Return the routes. Only the first page accepts forms of other sites, as at GitHub."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
    )

    def page(status: int = 200, **shown: Any) -> Response:
        text = environment.get_template("app_pages.html").render(**{**EMPTY_PAGE, **shown})
        return Response(text, status, HEADERS, media_type="text/html")

    async def new_app(request: Request) -> Response:
        form = await _parse_form(request)
        organization = request.path_params.get("organization")
        new = {
            "manifest": _parse_manifest(form["manifest"]),
            "text": form["manifest"],
            "owner": apps.owner_named(organization),
            "organization": organization or "",
            "state": request.query_params.get("state", ""),
        }
        return page(title="Create GitHub App", new=new)

    async def confirm(request: Request) -> Response:
        _require_same_origin(request)
        form = await _parse_form(request)
        manifest = replace(_parse_manifest(form["manifest"]), name=form["name"])
        if slug_of(manifest.name) in apps.state.world.apps:
            message = "Name is already taken: go back and choose another"
            return page(422, title="Create GitHub App", message=message)
        code = apps.confirm(manifest, apps.owner_named(form.get("organization") or None))
        query = urlencode({"code": code, "state": form.get("state", "")})
        separator = "&" if "?" in manifest.redirect_url else "?"
        return RedirectResponse(f"{manifest.redirect_url}{separator}{query}", 302)

    def find_app(request: Request) -> App:
        app = apps.state.world.apps.get(request.path_params["slug"])
        if app is None:
            raise HTTPException(404, "There is no such App in the sandbox.")
        return app

    async def to_installation(request: Request) -> Response:
        return RedirectResponse(f"/apps/{request.path_params['slug']}/installations/new")

    async def installation(request: Request) -> Response:
        app = find_app(request)
        present = next(iter(apps.installations(app)), None)
        names = apps.installable(app)
        chosen = names if present is None or present.repositories is None else present.repositories
        everything = present is not None and present.repositories is None
        shown = {"app": app, "repositories": names, "chosen": chosen, "all": everything}
        return page(title=f"Install {app.name}", app=shown)

    async def install(request: Request) -> Response:
        _require_same_origin(request)
        app = find_app(request)
        form = parse_qs((await request.body()).decode())
        selected = tuple(
            name for name in form.get("repository", []) if name in apps.installable(app)
        )
        everything = form.get("selection") == ["all"]
        if not everything and not selected:
            return page(422, title=f"Install {app.name}", message="Choose at least one repository.")
        # In a thread, because a webhook is sent.
        made = await asyncio.to_thread(
            apps.install, app, app.owner, None if everything else selected
        )
        return page(
            title=f"{app.name} is installed",
            installed=made.repositories or (f"all of {app.owner.login}",),
        )

    settings = "/settings/apps"
    of_organization = "/organizations/{organization}/settings/apps"
    redirected = ["/apps/{slug}"]
    redirected += [
        f"{path}/{{slug}}{end}"
        for path in (settings, of_organization)
        for end in ("", "/installations")
    ]
    return [
        Route(f"{settings}/new", new_app, methods=["POST"]),
        Route(f"{of_organization}/new", new_app, methods=["POST"]),
        Route(f"{settings}/confirm", confirm, methods=["POST"]),
        *(Route(path, to_installation, methods=["GET"]) for path in redirected),
        Route("/apps/{slug}/installations/new", installation, methods=["GET"]),
        Route("/apps/{slug}/installations/new", install, methods=["POST"]),
    ]


def _parse_manifest(text: str) -> Manifest:
    """https://docs.github.com/en/apps/sharing-github-apps/registering-a-github-app-from-a-manifest"""
    document = json.loads(text)
    return Manifest(
        document["name"],
        document["redirect_url"],
        document["hook_attributes"]["url"],
        document["default_permissions"],
        tuple(document["default_events"]),
    )


async def _parse_form(request: Request) -> dict[str, str]:
    form = parse_qs((await request.body()).decode("utf-8", "replace"), keep_blank_values=True)
    return {name: values[0] for name, values in form.items()}


def _require_same_origin(request: Request) -> None:
    origin = request.headers.get("origin")
    if origin is not None and origin != f"{request.url.scheme}://{request.url.netloc}":
        raise HTTPException(403, "a form of another site")
