"""Find a prompt by name or id."""

from __future__ import annotations

from hls_handler.analysis import Prompt
from hls_handler.cli.options import abort
from hls_handler.prompting.prompt import Library


def get_prompt(library: Library, name_or_id: str) -> Prompt:
    """Return the prompt with this name ("issues/analyze") or id ("issues/analyze@3f9c2a"). Exits
    with 2 for others.
    """
    name, at, _ = name_or_id.partition("@")
    prompt = library.prompts.get(name)
    if prompt is None:
        abort(f"there is no prompt {name}; there are {', '.join(library.prompts)}")
    if at and name_or_id != prompt.id:
        abort(f"{name_or_id} is another version; the current one is {prompt.id}")
    return prompt
