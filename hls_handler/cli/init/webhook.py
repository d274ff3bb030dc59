"""Connect the webhooks of a token, and show that GitHub's ping arrives and that Claude answers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from datetime import datetime

from hls_handler.analysis import REPLY_TYPES, ValidReply
from hls_handler.cli.options import connect_claude, print_line
from hls_handler.clients.app_setup import EVENTS, UNSERVED_URL
from hls_handler.clients.webhook_setup import WebhookSetup, connect_with_token
from hls_handler.deliveries import DeliveryAttempt
from hls_handler.errors import HlsError, StepFailed, with_remedy
from hls_handler.prompting.prompt import Prompt
from hls_handler.prompting.render import RenderedPrompt
from hls_handler.settings.model import Claude, Github

QUESTION = "This is the first question of a new service. Reply with worth_saying false and a summary of one word."
REPLY = "generic_analysis"
AGAIN = "start it, then start `hls init` again: it changes nothing and pings once more"


class TokenWebhooks:
    """The webhooks that a token may create: those of its repositories, and for "owner/*" that of the organisation."""

    def __init__(self, settings: Github, token: str, *, now: Callable[[], datetime]) -> None:
        self._settings, self._token, self._now = settings, token, now

    def connect(self, repositories: Sequence[str], *, url: str, secret: str) -> Mapping[str, int]:
        """Create or update the webhooks, and return their ids by the name in `repositories`; print what is refused."""
        connected: dict[str, int] = {}
        with closing(connect_with_token(self._settings, self._token, now=self._now)) as api:
            for name in repositories:
                try:
                    hook, action = WebhookSetup(api, _path_of(name)).ensure(url, secret, EVENTS)
                except StepFailed as exc:
                    print_line(f"The webhook of {name} was not created: {exc}")
                else:
                    print_line(f"Webhook of {name}: {action}, it sends to {url}")
                    connected[name] = hook.id
        return connected

    def ping(self, name: str, hook_id: int, *, sleep: Callable[[float], None]) -> DeliveryAttempt | None:
        with closing(connect_with_token(self._settings, self._token, now=self._now)) as api:
            return WebhookSetup(api, _path_of(name)).ping(hook_id, sleep=sleep)


def _path_of(name: str) -> str:
    return f"/orgs/{name.partition('/')[0]}" if "*" in name else f"/repos/{name}"


def prove_webhook(ping: Callable[[], DeliveryAttempt | None], url: str) -> None:
    """Let GitHub ping the webhook, and print whether the ping arrived."""
    try:
        attempt = ping()
    except StepFailed as exc:
        print_line(f"The webhook was not tried: {exc}")
        return
    if attempt is None:
        print_line("GitHub lists no attempt to send its ping yet; start `hls init` again to try once more")
    elif url == UNSERVED_URL:
        print_line("GitHub keeps a ping for `hls listen`, which fetches events from its list")
    elif attempt.is_received:
        print_line(f"GitHub's ping arrived: {url} answered {attempt.status_code}")
    elif attempt.status_code == 401:
        print_line(f"GitHub's ping was rejected: the service at {url} has another secret; restart it in this folder")
    else:
        status = attempt.status_code
        print_line(f"GitHub's ping did not arrive: {url} answered {status}. If no service runs there yet, {AGAIN}")


def prove_claude(settings: Claude) -> None:
    """Ask Claude one question, and print whether the reply is valid."""
    model = REPLY_TYPES[REPLY]
    prompt = Prompt(
        name="init",
        id="the question of hls init",
        path="",
        on=(),
        reply=REPLY,
        reply_model=model,
        model=None,
        max_tokens=None,
        effort=None,
        then=None,
    )
    try:
        with connect_claude(settings) as claude:
            answer = claude.ask(RenderedPrompt(prompt, "", QUESTION, model.model_json_schema()))
    except HlsError as exc:
        print_line(f"Claude did not answer: {with_remedy(exc)}")
        return
    if not isinstance(answer, ValidReply):
        print_line(f"Claude's reply cannot be used: {answer.problem}")
        return
    cost = "" if answer.usage.cost_usd is None else f", for {answer.usage.cost_usd:.6f} USD"
    print_line(f"Claude answered a question with {answer.usage.model}{cost}")
