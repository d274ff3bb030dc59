"""Text of strangers, and the ways in which it may be shown: to Claude, on GitHub, in a log."""

from hls_handler.untrusted.cleaning import Code, cap, clean, for_prompt
from hls_handler.untrusted.exchange import Exchange, Own, Stranger, TornToken, contains_token, shown_as
from hls_handler.untrusted.markdown import for_comment, scrub, scrub_inline
from hls_handler.untrusted.redaction import mask_secrets, redact

__all__ = [
    "Code",
    "Exchange",
    "Own",
    "Stranger",
    "TornToken",
    "cap",
    "clean",
    "contains_token",
    "for_comment",
    "for_prompt",
    "mask_secrets",
    "redact",
    "scrub",
    "scrub_inline",
    "shown_as",
]
