"""The identity that HLS has on GitHub, its permissions, and which features lack one."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from hls_handler.github.credentials import REQUESTED_PERMISSIONS, AppAccount, Installation
from hls_handler.github.tokens import Token, Tokens

FEATURES: Mapping[str, str] = {
    "issues": "labels and comments on issues",
    "pull_requests": "labels, comments and the files of pull requests",
    "checks": "checks on the commits of pull requests",
    "statuses": "commit statuses of pull requests",
    "actions": "logs of failed workflow runs",
    "contents": ".github/hls.yaml and the commits of a release",
    "metadata": "all requests",
}
"""What needs each permission that HLS requests."""

SCOPES = frozenset({"repo", "public_repo"})
UNLISTED = "not listed by GitHub"
EXPIRY_REMEDY = "create another token on GitHub, and write it to the settings before"


@dataclass(frozen=True, slots=True)
class Identity:
    """`details` is for /health; `sentences` and `missing` are for people."""

    details: Mapping[str, object]  # JSON: {"kind": "app", "login": "my-hls[bot]", "app_id": 7, ...}
    sentences: tuple[str, ...]  # "GitHub: the App my-hls (id 7) ..."
    # "labels and comments on issues need issues: write (installation on octo-org)"
    missing: tuple[str, ...]
    events: frozenset[str] | None = None  # that the App's webhook sends; None: a token, or unknown
    settings_url: str = ""  # the page of the App
    # on whose accounts the App is installed, in lower case; None: a token
    owners: frozenset[str] | None = None
    is_installed: bool = True  # False: an App without an installation that is not suspended
    expiring: tuple[str, ...] = ()  # "github.token expires at 2026-12-04 09:30 UTC"


def describe_app(
    app: AppAccount,
    installations: Sequence[Installation],
    *,
    web: str,
    unneeded: Collection[str] = (),
) -> Identity:
    """Describe the App; `web` is the result of `web_url`. Permissions in `unneeded` are not
    reported as missing.
    """
    described: list[Mapping[str, object]] = []
    missing: list[str] = []
    owners: list[str] = []
    for installation in installations:
        owner = installation.owner
        lacking = find_missing(installation.permissions, unneeded)
        missing += [f"{sentence} (installation on {owner})" for sentence in lacking]
        if installation.suspended_at is None:
            owners.append(owner)
        else:
            owners.append(f"{owner} (suspended)")
        described.append(
            {
                "id": installation.id,
                "account": owner,
                "repositories": installation.repository_selection,
                "suspended": installation.suspended_at is not None,
                "permissions": dict(installation.permissions),
                "missing_permissions": lacking,
            }
        )
    login = f"{app.slug}[bot]"
    details = {
        "kind": "app",
        "login": login,
        "app_id": app.id,
        "app_slug": app.slug,
        "installations": described,
    }
    sentence = (
        f"GitHub: the App {app.slug} (id {app.id}) acts as {login}; installed on"
        f" {', '.join(owners) or 'no account'}"
    )
    is_installed = any(installation.suspended_at is None for installation in installations)
    if not is_installed:
        problem = f"the App {app.slug} is installed on no account; install it"
        if installations:
            problem = f"every installation of the App {app.slug} is suspended; unsuspend one"
        missing.append(f"{problem} at {app.html_url}/installations/new")
    return Identity(
        details,
        (sentence,),
        tuple(missing),
        events=app.events,
        settings_url=app.settings_url(web),
        owners=frozenset(installation.owner.lower() for installation in installations),
        is_installed=is_installed,
    )


def find_missing(granted: Mapping[str, str], unneeded: Collection[str] = ()) -> list[str]:
    """Return a sentence for each permission that a feature needs and that is not granted."""
    ranks = {"read": 1, "write": 2, "admin": 3}
    return [
        f"{FEATURES[name]} need {name}: {level}"
        for name, level in REQUESTED_PERMISSIONS.items()
        if name not in ("metadata", *unneeded)
        and ranks.get(granted.get(name, ""), 0) < ranks[level]
    ]


def describe_tokens(tokens: Tokens) -> Identity:
    """Describe the tokens, with what GitHub's responses have shown about them so far."""
    problems = tokens.problems()
    used = tokens.preferred
    denied = [explain_denial(permissions) for permissions in tokens.denied_permissions()]
    missing = [
        "labels and comments need the scope repo, or public_repo for public repositories"
        f" ({token.key})"
        for token in tokens.all
        if token.scopes is not None and SCOPES.isdisjoint(split_scopes(token.scopes))
    ]
    descriptions: dict[Token, str | None] = dict.fromkeys(tokens.all)
    for token, problem in problems.items():
        descriptions[token] = problem.sentence
    details = {**_describe_token(used), "missing_permissions": [*missing, *denied]}
    if len(tokens.all) > 1:
        details["tokens"] = [
            {**_describe_token(token), "problem": sentence}
            for token, sentence in descriptions.items()
        ]
    sentences = tuple(_token_sentence(token, sentence) for token, sentence in descriptions.items())
    expiring = tuple(f"{token.key} {_expiry(token)}" for token in tokens.all if token.expires_soon)
    return Identity(details, sentences, (*missing, *denied), expiring=expiring)


def explain_denial(permissions: str) -> str:
    """Explain what a 403 named, such as "issues=write; pull_requests=write", of which one
    suffices.
    """
    levels = [choice.strip().partition("=") for choice in permissions.split(";")]
    needed = " or ".join(f"{name}: {level}" for name, _, level in levels)
    features = (FEATURES[name] for name, _, _ in levels if name in FEATURES)
    feature = next(features, "some requests")
    return f"{feature} need {needed} (GitHub rejected a request)"


def _describe_token(token: Token) -> dict[str, object]:
    if token.login is None:
        return {"kind": "token", "key": token.key, "login": None, "permissions": None}
    expires_at = None
    if token.expires_at is not None:
        expires_at = token.expires_at.isoformat()
    document = {"key": token.key, "login": token.login, "expires_at": expires_at}
    if token.scopes is None:
        return {"kind": "fine-grained token", **document, "permissions": UNLISTED}
    return {"kind": "classic token", **document, "permissions": split_scopes(token.scopes)}


def _token_sentence(token: Token, problem: str | None) -> str:
    if token.login is None:
        what = f"GitHub: the account of {token.key} is unknown"
        if problem is not None:
            what += f": {problem}"
        return what
    scopes = UNLISTED
    if token.scopes is not None:
        scopes = f"the scopes {', '.join(split_scopes(token.scopes)) or '(none)'}"
    what = f"GitHub: the token {token.key} belongs to {token.login}; permissions: {scopes}"
    if token.expires_at is not None:
        what += f"; {_expiry(token)}"
    if problem is not None:
        what += f"; {problem}"
    return what


def _expiry(token: Token) -> str:
    return f"expires at {token.expires_at:%Y-%m-%d %H:%M} UTC"


def split_scopes(scopes: str) -> list[str]:
    return [scope.strip() for scope in scopes.split(",") if scope.strip()]
