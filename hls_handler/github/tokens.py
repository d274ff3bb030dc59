"""The tokens in the settings: which of them work, and which one takes over. Shared by all threads
of a process.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from hls_handler.errors import REJECTED, DependencyDown, Postponed, StepFailed, TokenReplaced
from hls_handler.github.api import Credential
from hls_handler.github.errors import LIMIT_REMEDY, Refused, find_cure
from hls_handler.settings.model import GithubSettings

log = logging.getLogger(__name__)

GITHUB_RATE_LIMIT = "github"
"""Name of the rate limit of the first token's account. The names of other rate limits of GitHub
begin with it.
"""

DENIAL_LASTS = timedelta(hours=1)
"""A missing permission that a 403 named is shown for this time; if it is still missing, the next
403 names it again.
"""

LIMIT_PAUSE = timedelta(minutes=1)  # if GitHub does not say when the limit resets

EXPIRES_SOON = timedelta(days=14)


@dataclass(frozen=True, slots=True)
class TokenProblem:
    """GitHub rejected a token, or the hourly limit of its account is used up."""

    sentence: str  # "GitHub rejected it (401)"
    until: datetime | None  # aware UTC; None: until a request with the token succeeds


class Tokens:
    """The tokens of `github.token` or `github.tokens`, the preferred one first. Thread-safe."""

    def __init__(
        self,
        settings: GithubSettings,
        *,
        now: Callable[[], datetime],
        changed: Callable[[], object] = lambda: None,
    ) -> None:
        """`now` returns aware UTC. `changed` is called when one of several tokens stops or starts
        to work.
        """
        self.settings = settings
        self.now = now
        self._changed = changed
        self._lock = threading.Lock()
        self._problems: dict[Token, TokenProblem] = {}
        self._denied: dict[str, datetime] = {}
        self.all = tuple(
            Token(self, index, text, settings) for index, text in enumerate(settings.access_tokens)
        )

    @property
    def preferred(self) -> Token:
        """The first token without a problem; if all have one, the token that works again first."""
        problems = self.problems()

        def usable_at(token: Token) -> datetime:
            if token not in problems:
                return datetime.min.replace(tzinfo=UTC)
            return problems[token].until or datetime.max.replace(tzinfo=UTC)

        return min(self.all, key=usable_at)

    def problems(self) -> dict[Token, TokenProblem]:
        with self._lock:
            now = self.now()
            for token, problem in list(self._problems.items()):
                if problem.until is not None and problem.until <= now:
                    self._clear(token)
            return dict(self._problems)

    def report_error(self, token: Token, refused: Refused, error: StepFailed) -> str | None:
        """Store the problem that a response shows. Return a sentence about it if another token
        takes over; else None.

        A limit belongs to an account, so it concerns all tokens that are known to belong to the
        same account.
        """
        problem = find_problem(refused, error, self.now())
        if problem is None or len(self.all) == 1:
            return None
        with self._lock:
            is_new = token not in self._problems
            self._problems[token] = problem
            if problem.until is not None and token.login is not None:
                self._problems |= {
                    other: problem for other in self.all if other.login == token.login
                }
        problems = self.problems()
        following = next((other.key for other in self.all if other not in problems), None)
        if is_new:
            fields = {"token": token.key, "why": problem.sentence, "next": following}
            log.warning("a GitHub token cannot be used", extra=fields)
            self._changed()
        if following is None:
            return None
        return f"{token.key}: {problem.sentence}; {following} takes over"

    def report_success(self, token: Token) -> None:
        """Clear a rejection, because GitHub has accepted the token."""
        with self._lock:
            problem = self._problems.get(token)
            was_rejected = problem is not None and problem.until is None
            if was_rejected:
                self._clear(token)
        if was_rejected:
            self._changed()

    def _clear(self, token: Token) -> None:
        del self._problems[token]
        log.warning("a GitHub token can be used again", extra={"token": token.key})

    def report_denial(self, permissions: str) -> None:
        """Store what a 403 named: "issues=write; pull_requests=write"."""
        with self._lock:
            self._denied[permissions] = self.now()

    def denied_permissions(self) -> tuple[str, ...]:
        """Return what responses with 403 named within the last hour."""
        with self._lock:
            now = self.now()
            return tuple(name for name, at in self._denied.items() if now - at < DENIAL_LASTS)


class Token(Credential):
    """One token. Its requests are never sent with another one, because a conversation stays with
    its account.
    """

    def __init__(self, tokens: Tokens, index: int, text: str, settings: GithubSettings) -> None:
        self.tokens = tokens
        self.key = settings.credential_key
        if settings.tokens:
            self.key += f"[{index}]"
        super().__init__(text, remedy=f"set {self.key} to a valid token: {REJECTED}")
        self.rate_limit = GITHUB_RATE_LIMIT
        if index > 0:
            self.rate_limit += f" {index + 1}"
        self.login: str | None = None  # None while it is unknown
        # of a classic token: "repo, workflow"; None if unknown or fine-grained
        self.scopes: str | None = None
        self.expires_at: datetime | None = None  # aware UTC; None if it is unknown, or never

    def report_success(self, login: str, headers: Mapping[str, str]) -> None:
        """Store the account, and what the headers of GitHub's response say about the token."""
        self.login = login
        self.scopes = headers.get("x-oauth-scopes")
        self.expires_at = _read_expiry(headers)
        self.tokens.report_success(self)

    @property
    def expires_soon(self) -> bool:
        return self.expires_at is not None and self.expires_at < self.tokens.now() + EXPIRES_SOON

    def require_limit_not_used_up(self) -> None:
        """Raise `DependencyDown` if the limit of the account is known to be used up."""
        problem = self.tokens.problems().get(self)
        if problem is not None and problem.until is not None:
            raise DependencyDown(
                f"{self.key}: {problem.sentence}", dependency="github", remedy=LIMIT_REMEDY
            )

    def authorization(self) -> str:
        """Return the header. Raises `Postponed` or `DependencyDown` while the token has a
        problem.
        """
        problem = self.tokens.problems().get(self)
        if problem is None:
            return self.header
        sentence = f"{self.key}: {problem.sentence}"
        if problem.until is not None:
            raise Postponed(sentence, at=problem.until)
        raise DependencyDown(sentence, dependency="github", remedy=self.remedy)

    def handle_error(self, _authorization: str, refused: Refused, error: StepFailed) -> bool:
        """Store the problem. Raises `TokenReplaced` if another token can take over."""
        replaced = self.tokens.report_error(self, refused, error)
        if replaced is not None:
            raise TokenReplaced(replaced, at=self.tokens.now())
        permissions = refused.headers.get("x-accepted-github-permissions")
        is_problem = find_problem(refused, error, self.tokens.now()) is not None
        # GitHub sends the header whatever the reason is.
        has_cure = find_cure(refused.message or "") is not None
        if refused.status == 403 and permissions and not is_problem and not has_cure:
            self.tokens.report_denial(permissions)
        return False


class AnyToken(Credential):
    """Sends each request with the first token that works, for reads that concern no account in
    particular.

    With `only`, each is sent with this token, also while it has a problem: to find out whether that
    has ended.
    """

    def __init__(self, tokens: Tokens, *, only: Token | None = None) -> None:
        self._tokens = tokens
        self._only = only
        self.remedy = tokens.all[0].remedy

    def authorization(self) -> str:
        token = self._only or self._tokens.preferred
        self.remedy = token.remedy
        return token.header

    def handle_error(self, authorization: str, refused: Refused, error: StepFailed) -> bool:
        used = next(token for token in self._tokens.all if token.header == authorization)
        return self._tokens.report_error(used, refused, error) is not None and self._only is None


def _read_expiry(headers: Mapping[str, str]) -> datetime | None:
    """Return when the token of the request expires: "2026-12-04 09:30:00 UTC", or with +0200."""
    text = headers.get("github-authentication-token-expiration", "")
    try:
        expires_at = datetime.strptime(text.replace("UTC", "+0000"), "%Y-%m-%d %H:%M:%S %z")
    except ValueError:
        return None
    return expires_at.astimezone(UTC)


def find_problem(refused: Refused, error: StepFailed, now: datetime) -> TokenProblem | None:
    """Return the problem that an error response shows; None if it has nothing to do with the
    token.
    """
    if refused.status == 401:
        return TokenProblem("GitHub rejected it (401)", until=None)
    if refused.status in (403, 429) and isinstance(error, DependencyDown):
        # GitHub may still limit at the reset time, by which the problem would end at once and be
        # found again
        until = max(error.not_before or now, now + LIMIT_PAUSE)
        return TokenProblem(
            f"the limit of its account is used up until {until:%H:%M:%S} UTC", until
        )
    return None
