"""The context of a review besides the patches: guidance, linked issues, and the beginnings of functions."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from hls_handler.events import PullRequest
from hls_handler.handlers.changed_files import TOKENS_PER_FILE, Selection, show_files
from hls_handler.handlers.reader import GuidanceFile, LinkedIssue, Reader, ReviewContext, read_optional
from hls_handler.prompting.render import estimate_tokens
from hls_handler.review.functions import find_lines_above
from hls_handler.review.patches import number_line
from hls_handler.settings.model import Review
from hls_handler.wording import count

NO_CONTEXT = ReviewContext()
ABOVE_SHARE = 0.15  # of the tokens of a call, at most, for lines above hunks
TOKENS_PER_TEXT = 100  # tokens of a text in addition to itself: name and delimiters
MAX_GUIDANCE_CHARS, MAX_LINKED_ISSUE_CHARS = 6_000, 3_000
"""Characters of one file of guidance and of the body of one linked issue that `pull_requests/analyze` shows."""


def read_context(pull_request: PullRequest, reader: Reader, review: Review) -> tuple[ReviewContext, str]:
    """Return the context, or an empty one and the reason: a review without it is better than none."""
    number, branch = pull_request.number, pull_request.base_ref
    wanted = {"guidance": review.guidance, "linked_issues": review.linked_issues}
    context, problem = read_optional(lambda: reader.review_context(number, branch, **wanted), NO_CONTEXT)
    return context, f"guidance, linked issues and .gitattributes: {problem}" if problem else ""


def limit_context(context: ReviewContext, tokens: int) -> tuple[ReviewContext, int]:
    """Return the context without the files and issues that exceed `tokens`, and its number of tokens."""
    left = tokens

    def has_room(text: str) -> bool:
        nonlocal left
        needed = TOKENS_PER_TEXT + estimate_tokens(text)
        fits = needed <= left
        left -= needed if fits else 0
        return fits

    guidance = tuple(file for file in context.guidance if has_room(_shown_guidance(file)))
    issues = tuple(issue for issue in context.linked_issues if has_room(_shown_issue(issue)))
    return replace(context, guidance=guidance, linked_issues=issues), tokens - left


def _shown_guidance(file: GuidanceFile) -> str:
    return file.text[:MAX_GUIDANCE_CHARS]


def _shown_issue(issue: LinkedIssue) -> str:
    return issue.title + issue.body[:MAX_LINKED_ISSUE_CHARS]


def describe_context(context: ReviewContext, above: Sequence[str], problem: str) -> str | None:
    """Return a text such as "AGENTS.md (about 120 tokens), issue #7 (about 80 tokens)"; None without context."""
    parts = [
        *((file.path, _shown_guidance(file)) for file in context.guidance),
        *((f"issue #{issue.number}", _shown_issue(issue)) for issue in context.linked_issues),
        *([(f"lines above {count(len(above), 'hunk')}", "\n".join(above))] if above else []),
    ]
    texts = [f"{name} (about {count(estimate_tokens(text), 'token')})" for name, text in parts]
    missing = [f"not {problem}"] if problem else []
    return ", ".join([*texts, *missing]) or None


def with_lines_above(
    selection: Selection, read: Callable[[Sequence[str]], Mapping[str, str]], *, tokens: int
) -> Selection:
    """Return the selection with the lines above the hunks. `read` returns the texts of new files, by path.

    Each call gets as many as its `tokens` have room for beside its patches, and at most `ABOVE_SHARE` of `tokens`. So
    the patches and their division into calls do not change.
    """
    files = dict.fromkeys(selection.files[part.file] for call in selection.calls for part in call)
    paths = [file.path for file in files if file.status not in ("added", "removed")]
    hunks = {path: selection.patches[path].hunks for path in paths}
    paths = [path for path in paths if any(hunk.lines and hunk.lines[0].number > 1 for hunk in hunks[path])]
    texts = read(paths) if paths else {}
    found = {path: find_lines_above(text, selection.patches[path]) for path, text in texts.items()}
    above: dict[str, dict[int, str]] = {}
    for call in selection.calls:
        used = sum(estimate_tokens(file.numbered) + TOKENS_PER_FILE for file in show_files(selection, call))
        room = min(tokens - used, int(tokens * ABOVE_SHARE))
        for part in call:
            path = selection.files[part.file].path
            for number in part.hunks if path in found and (part.lines or (0, 0))[0] == 0 else ():
                text = "\n".join(map(number_line, found[path][number]))
                needed = estimate_tokens(f"{text}\n")
                if text and needed <= room:
                    above.setdefault(path, {})[number] = text
                    room -= needed
    return replace(selection, above=above)
