"""Routing: decides if an event is processed, by which prompt, and which line of the settings is the
reason.
"""

from hls_handler.routing.commands import Command as Command
from hls_handler.routing.envelope import RoutingInput as RoutingInput
from hls_handler.routing.envelope import WebhookEnvelope as WebhookEnvelope
from hls_handler.routing.envelope import from_envelope as from_envelope
from hls_handler.routing.envelope import from_event as from_event
from hls_handler.routing.envelope import parse_envelope as parse_envelope
from hls_handler.routing.filters import BY_OPERATOR as BY_OPERATOR
from hls_handler.routing.filters import CANCELLED as CANCELLED
from hls_handler.routing.filters import FAILED as FAILED
from hls_handler.routing.filters import MARKER as MARKER
from hls_handler.routing.filters import PASSED as PASSED
from hls_handler.routing.filters import Ignored as Ignored
from hls_handler.routing.filters import IgnoredKind as IgnoredKind
from hls_handler.routing.filters import addressed_to_bot as addressed_to_bot
from hls_handler.routing.filters import asked_to_skip as asked_to_skip
from hls_handler.routing.filters import asks_how_to_start as asks_how_to_start
from hls_handler.routing.filters import brings_diff as brings_diff
from hls_handler.routing.filters import is_retargeted as is_retargeted
from hls_handler.routing.router import LabelCorrection as LabelCorrection
from hls_handler.routing.router import QueueCheck as QueueCheck
from hls_handler.routing.router import Router as Router
from hls_handler.routing.router import RoutingResult as RoutingResult
from hls_handler.routing.router import Rule as Rule
from hls_handler.routing.router import Shadow as Shadow
from hls_handler.routing.router import find_disabled as find_disabled
from hls_handler.routing.router import may_have_checks as may_have_checks
from hls_handler.routing.router import needs_title_check as needs_title_check
