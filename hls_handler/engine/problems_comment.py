"""The comment that reports mistakes in a repository's settings, or in its guidance for reviews."""

from __future__ import annotations

from collections.abc import Iterable

from hls_handler.actions import EnsureComment
from hls_handler.settings.repository import PATH, REPOSITORY_KEYS, FileProblems
from hls_handler.untrusted.markdown import format_code_span

PROBLEMS_COMMENT_FAMILY = "settings"

SETTINGS_PROBLEMS = """\
**For the maintainers of this repository:** `{path}`, the settings file of HLS, has errors.

{problems}

Until they are fixed, keys with a mistake keep their value of the last valid version, if there is \
one. Allowed keys: {keys}."""

GUIDANCE_PROBLEMS = """\
**For the maintainers of this repository:** `{path}`, the guidance for reviews by HLS, has errors.

{problems}

Until they are fixed, the text under these headings applies to no file."""

PROBLEMS_FOOTER = """\
***

*Automatic comment by HLS, written once for each version of the file.*"""


def build_problems_comment(files: Iterable[FileProblems]) -> EnsureComment:
    """Return the comment on GitHub that reports the problems of files.

    Problems may quote the file, which is untrusted. Therefore they are cleaned, redacted and shown
    as code.
    """
    keys = ", ".join(f"`{key.path}`" for key in REPOSITORY_KEYS)
    texts: list[str] = []
    for file in files:
        template = GUIDANCE_PROBLEMS
        if file.path == PATH:
            template = SETTINGS_PROBLEMS
        lines = "\n".join(f"- {format_code_span(problem)}" for problem in file.problems)
        texts.append(template.format(path=file.path, problems=lines, keys=keys))
    body = "\n\n".join([*texts, PROBLEMS_FOOTER])
    return EnsureComment(PROBLEMS_COMMENT_FAMILY, body, create=True)
