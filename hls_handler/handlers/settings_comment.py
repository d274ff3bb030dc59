"""The comment that lists the errors in a repository's settings file for its maintainers."""

from __future__ import annotations

from collections.abc import Sequence

from hls_handler.actions import EnsureComment
from hls_handler.settings.repository import PATH, list_repository_keys
from hls_handler.untrusted.markdown import format_for_cell

FAMILY = "settings"

TEXT = """\
**For the maintainers of this repository:** `{path}`, the settings file of HLS, has errors.

{problems}

Until they are fixed, HLS uses the last valid version, if there is one; what the file switches off stays off. Allowed \
keys: {keys}.

***

*Automatic comment by HLS, written once for each version of the file.*"""


def build_problems_comment(problems: Sequence[str]) -> EnsureComment:
    """`problems` quote the file, which is untrusted text: each is shown as code, cleaned and redacted."""
    lines = "\n".join(f"- `{format_for_cell.in_code_span(problem)}`" for problem in problems)
    keys = ", ".join(f"`{key}`" for key in list_repository_keys())
    return EnsureComment(FAMILY, TEXT.format(path=PATH, problems=lines, keys=keys), create=True)
