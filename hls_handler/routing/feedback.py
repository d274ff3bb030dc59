"""Recognizes label corrections: changes by a person of labels that HLS may have set."""

from __future__ import annotations

from hls_handler.events import Account
from hls_handler.routing.filters import asked_to_skip, ignore_own_action, same_login
from hls_handler.routing.input import LABEL_ACTIONS, RoutingInput
from hls_handler.routing.verdict import Ignored, LabelCorrection, PromptCatalogue
from hls_handler.settings.effective import EffectiveSettings
from hls_handler.settings.model import Settings

CONVERSATION_EVENTS = ("issues", "pull_request")


def find_label_correction(
    routing_input: RoutingInput,
    effective: EffectiveSettings,
    catalogue: PromptCatalogue,
    *,
    settings: Settings,
    bot: Account | None,
) -> LabelCorrection | Ignored | None:
    """Return a `LabelCorrection` if an event may be one, `Ignored` with the reason, or None if it cannot be one.

    Any enabled event of issues (or of pull requests) enables corrections of their labels. The worker later checks in
    the store if HLS ever set the label, or another one of its field.
    """
    if (
        routing_input.event not in CONVERSATION_EVENTS
        or routing_input.action not in LABEL_ACTIONS
        or routing_input.label is None
    ):
        return None
    field = catalogue.label_groups(routing_input.event).get(routing_input.label.casefold())
    if field is None or not any(name.partition(".")[0] == routing_input.event for name in effective.events):
        return None
    if bot is not None and same_login(routing_input.sender, bot.login):
        return ignore_own_action(settings, bot)
    if routing_input.sender_is_bot:
        return Ignored(
            "other bot", f"{routing_input.sender} is a bot; label changes by bots do not count as corrections"
        )
    skip_reason = asked_to_skip(routing_input.title, routing_input.labels)
    return (
        Ignored("asked to skip", skip_reason) if skip_reason else LabelCorrection(routing_input.key, field, effective)
    )
