"""Text in any script is unchanged in prompts and comments."""

from __future__ import annotations

import pytest

from hls_handler.untrusted.cleaning import format_for_prompt
from hls_handler.untrusted.markdown import sanitize_blocks, sanitize_code_span, sanitize_inline

NONCE = "0123456789abcdef"

TEXTS = {
    "Arabic": "\u0627\u0644\u062a\u0637\u0628\u064a\u0642",
    "Persian, with a joiner that spells": "\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645",
    "Hindi, with a joiner that spells": "\u0915\u094d\u200d\u0937 \u0928\u092e\u0938\u094d\u0924\u0947",
    "Chinese": "\u4fdd\u5b58\u65f6\u7a0b\u5e8f\u5d29\u6e83\uff0c\u8bf7\u4fee\u590d\u3002",
    "letters with marks of their own": "Cafe\u0301 n\u0303 Vie\u0323\u0302t",
    "emoji that are joined": "\U0001f468\u200d\U0001f469\u200d\U0001f467 \u2764\ufe0f\u200d\U0001f525",
    "two directions": "Version 2.1 \u05e9\u05dc \u05d4\u05ea\u05d5\u05db\u05e0\u05d4 (beta)",
}


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS.keys())
def test_text_in_any_script_is_unchanged(text: str) -> None:
    assert format_for_prompt(text, NONCE) == f"<untrusted {NONCE}>{text}</untrusted {NONCE}>"
    assert sanitize_blocks(text) == sanitize_inline(text) == text
    assert sanitize_code_span(text) == text
