"""GitHub Apps of the stand-in: creation from a manifest, installations and their tokens.

https://docs.github.com/en/apps/sharing-github-apps/registering-a-github-app-from-a-manifest
https://docs.github.com/en/rest/apps/apps
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

import jwt

from hls_sandbox import shapes
from hls_sandbox.hooks import Attempt, Hook
from hls_sandbox.objects import Account, App, Document, Installation
from hls_sandbox.shapes import GitHubError
from hls_sandbox.state import State

CODE_LIFETIME = timedelta(hours=1)
TOKEN_LIFETIME = timedelta(hours=1)
MAX_JWT_LIFETIME_S = 600
CLOCK_SKEW_S = 60


@dataclass(frozen=True, slots=True)
class Manifest:
    name: str
    redirect_url: str
    webhook_url: str
    permissions: Mapping[str, str]
    events: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class InstallationToken:
    installation: Installation
    repositories: tuple[str, ...] | None  # None: all of the installation
    permissions: Mapping[str, str]
    expires_at: datetime  # aware UTC


class Apps:
    """The Apps in `state`. Codes and tokens are kept in memory."""

    def __init__(self, state: State, *, clock: Callable[[], datetime]) -> None:
        self.state = state
        self._clock = clock
        self._codes: dict[str, tuple[Manifest, Account, datetime]] = {}
        self._tokens: dict[str, InstallationToken] = {}

    # --- creation
    # -------------------------------------------------------------------------

    def confirm(self, manifest: Manifest, owner: Account) -> str:
        """Return a code for the new App, as after the button on GitHub's page."""
        code = secrets.token_hex(20)
        self._codes[code] = (manifest, owner, self._clock())
        return code

    def convert(self, code: str) -> tuple[App, str]:
        """Create the App, and return it with its private key. Raises `GitHubError` (404) for a used
        or expired code.
        """
        manifest, owner, at = self._codes.pop(code, (None, None, None))
        if manifest is None or owner is None or at is None or self._clock() - at > CODE_LIFETIME:
            raise GitHubError(404, "Not Found")
        pem, public_key = _make_key()
        app = App(
            id=1_000_001 + len(self.state.world.apps),
            slug=slug_of(manifest.name),
            name=manifest.name,
            owner=owner,
            public_key=public_key,
            webhook_secret=secrets.token_hex(20),
            webhook_url=manifest.webhook_url,
            permissions=manifest.permissions,
            events=manifest.events,
        )
        self.state.change(lambda world: world.with_app(app).with_account(app.bot))
        if app.webhook_url:
            self.state.hooks.ping(hook_of(app), {"sender": shapes.account(owner)})
        return app, pem

    def owner_named(self, organization: str | None) -> Account:
        """Return the organisation, or the account that is signed in: the owner of the last changed
        repository.
        """
        if organization is not None:
            return Account(organization, 9_000_001, "Organization")
        conversations = self.state.conversations()
        login = conversations[0].repository.partition("/")[0] if conversations else "octocat"
        return self.state.world.accounts.get(login.lower()) or Account(login, 583_231, "User")

    # --- installations
    # -------------------------------------------------------------------------

    def installable(self, app: App) -> tuple[str, ...]:
        """Return the repositories of the App's owner: an App that is not public can be installed
        only there.
        """
        names = (home.full_name for home in self.state.world.repositories.values())
        return tuple(
            sorted(name for name in names if name.lower().startswith(f"{app.owner.login.lower()}/"))
        )

    def install(
        self, app: App, account: Account, repositories: Sequence[str] | None
    ) -> Installation:
        """Install the App, or change the repositories of the installation on this account.

        A new installation sends `installation.created` to the App's webhook. Blocks.
        """
        known = next(
            (one for one in self.installations(app) if one.account.login == account.login), None
        )
        installation = Installation(
            id=known.id if known else 70_000_001 + len(self.state.world.installations),
            app_id=app.id,
            account=account,
            repositories=None if repositories is None else tuple(repositories),
            permissions=app.permissions,
        )
        self.state.change(lambda world: world.with_installation(installation))
        if known is None and app.webhook_url:
            homes = [
                home
                for home in self.state.world.repositories.values()
                if covers(installation, home.full_name)
            ]
            self.state.hooks.send_to(
                hook_of(app), "installation", shapes.installation_created(app, installation, homes)
            )
        return installation

    def installations(self, app: App) -> tuple[Installation, ...]:
        return tuple(one for one in self.state.world.installations if one.app_id == app.id)

    def installation_of(self, app: App, full_name: str) -> Installation | None:
        """Return the installation that covers the repository."""
        return next((one for one in self.installations(app) if covers(one, full_name)), None)

    def repositories_of(self, token: InstallationToken) -> tuple[str, ...]:
        """Return the existing repositories that the token can read."""
        names = sorted(home.full_name for home in self.state.world.repositories.values())
        chosen = {
            name.lower() for name in (names if token.repositories is None else token.repositories)
        }
        return tuple(
            name for name in names if covers(token.installation, name) and name.lower() in chosen
        )

    def send_webhook(self, event: str, payload: Document) -> list[Attempt]:
        """Send a webhook to the hooks of the payload's repository, and to the Apps that are
        installed on it. Blocks.
        """
        full_name = str((payload.get("repository") or {}).get("full_name") or "")
        of_apps = [
            (hook_of(app), one.id)
            for one in self.state.world.installations
            if covers(one, full_name) and one.suspended_at is None
            if (app := self.state.world.app(one.app_id)) is not None
            and app.webhook_url
            and event in app.events
        ]
        return self.state.hooks.send(event, payload, of_apps=of_apps)

    # --- credentials
    # -------------------------------------------------------------------------

    def authenticate(self, encoded: str) -> App:
        """Return the App that signed a JWT. Raises `GitHubError` (401 or 404)."""
        try:
            issuer = str(jwt.decode(encoded, options={"verify_signature": False}).get("iss", ""))
            app = self.state.world.app(int(issuer)) if issuer.isdigit() else None
            if app is None:
                raise GitHubError(404, "Integration not found")
            options: Any = {
                "require": ["iat", "exp", "iss"],
                "verify_exp": False,
                "verify_iat": False,
            }
            claims = jwt.decode(encoded, app.public_key, algorithms=["RS256"], options=options)
        except (jwt.InvalidTokenError, ValueError):
            raise GitHubError(401, "A JSON web token could not be decoded") from None
        now = self._clock().timestamp()
        if not now < claims["exp"] <= now + MAX_JWT_LIFETIME_S:
            raise GitHubError(
                401, "'Expiration time' claim ('exp') is in the past or too far in the future"
            )
        if claims["iat"] > now + CLOCK_SKEW_S:
            raise GitHubError(
                401,
                "'Issued at' claim ('iat') must be an Integer representing the time in the past",
            )
        return app

    def create_token(
        self, app: App, installation_id: int, body: Mapping[str, Any]
    ) -> tuple[str, InstallationToken]:
        """Create a token of an installation. Raises `GitHubError`: 404, 403 (suspended) or 422
        (more than granted).
        """
        installation = next(
            (one for one in self.installations(app) if one.id == installation_id), None
        )
        if installation is None:
            raise GitHubError(404, "Not Found")
        if installation.suspended_at is not None:
            raise GitHubError(403, "This installation has been suspended")
        names = body.get("repositories")
        wanted = body.get("permissions")
        repositories = (
            None
            if names is None
            else tuple(f"{installation.account.login}/{name}" for name in names)
        )
        if not all(
            self.state.repository(name) and covers(installation, name)
            for name in repositories or ()
        ):
            raise GitHubError(
                422, "A repository does not exist or is not accessible to the parent installation."
            )
        # GitHub grants `metadata` to every installation
        granted = {
            "metadata": "read",
            **installation.permissions,
        }
        if wanted is not None and not all(
            includes(granted.get(name), level) for name, level in wanted.items()
        ):
            raise GitHubError(
                422, "The permissions requested are not granted to this installation."
            )
        token = InstallationToken(
            installation,
            repositories,
            dict(wanted or granted),
            expires_at=self._clock() + TOKEN_LIFETIME,
        )
        text = f"ghs_{secrets.token_hex(18)}"
        self._tokens[text] = token
        return text, token

    def find_token(self, text: str) -> InstallationToken | None:
        """Return an installation token that has not expired and whose installation exists and is
        not suspended.
        """
        token = self._tokens.get(text)
        if token is None or token.expires_at <= self._clock():
            return None
        present = next(
            (one for one in self.state.world.installations if one.id == token.installation.id), None
        )
        return (
            None
            if present is None or present.suspended_at is not None
            else replace(token, installation=present)
        )


def slug_of(name: str) -> str:
    """Return "my-hls" for "My HLS"."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")


def hook_of(app: App) -> Hook:
    return Hook(app.id, "", app.webhook_url, app.webhook_secret)


def covers(installation: Installation, full_name: str) -> bool:
    if installation.repositories is None:
        return full_name.lower().startswith(f"{installation.account.login.lower()}/")
    return full_name.lower() in {name.lower() for name in installation.repositories}


def includes(granted: str | None, wanted: str) -> bool:
    """Return True if a permission that was granted at the level `granted` suffices for the level
    `wanted`.
    """
    return granted is not None and (granted == wanted or (granted, wanted) == ("write", "read"))


def _make_key() -> tuple[str, str]:
    from cryptography.hazmat.primitives import serialization as pem
    from cryptography.hazmat.primitives.asymmetric import rsa

    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    private = key.private_bytes(
        pem.Encoding.PEM, pem.PrivateFormat.TraditionalOpenSSL, pem.NoEncryption()
    )
    public = key.public_key().public_bytes(pem.Encoding.PEM, pem.PublicFormat.SubjectPublicKeyInfo)
    return private.decode(), public.decode()
