"""Renders the comments of a delivery."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

from hls_handler.analysis import (
    Analysis,
    PartialCost,
    Reply,
    ReplyFields,
    cost_of_output,
    estimate_tokens,
    file_summaries_of,
    find_review,
)
from hls_handler.github.comment_body import MAX_COMMENT_CHARS, MAX_SECTION_CHARS
from hls_handler.handlers.job import Replies
from hls_handler.prompting.prompt import Library
from hls_handler.prompting.render import render_comment, render_footer, render_review_comment
from hls_handler.prompting.reply_fields import complete_static_reply

MARKER_CHARS = 100  # more than the marker below a comment has


@dataclass(frozen=True, slots=True)
class CommentRenderer:
    """Renders the comments of a delivery. Raises `PromptError` if a template fails."""

    library: Library
    common: Mapping[str, object]  # variables that all templates have
    key: bytes  # secret of the delimiters of untrusted text
    has_sections: bool  # whether several sources share the comment

    def render_static(
        self, prompt: str, reply: ReplyFields, variables: Mapping[str, object]
    ) -> Analysis:
        """Render the comment for a reply that the handler wrote."""
        completed = complete_static_reply(reply, self.library.prompts[prompt].reply_model)
        all_variables = {**self.common, **variables, "analysis": completed}
        return Analysis(
            (), self._render(prompt, all_variables), self._render_footer(prompt, all_variables)
        )

    def render(
        self,
        replies: Replies,
        variables: Mapping[str, object],
        inline: Mapping[str, Mapping[str, object]],
    ) -> Analysis:
        """Render the comments for the replies; see `handlers.job.Job.render`."""
        index = replies.shown_index
        all_variables = {
            **self.common,
            **variables,
            "analysis": replies.shown,
            "files_cost": _estimate_files_cost(replies.all[0]),
        }
        model = replies.all[index].usage.model
        if "/" in model:  # there are fallbacks
            all_variables["model"] = model
        name = replies.names[index]
        review = find_review(replies.all) or replies.all[0]
        of_review = replies.names[replies.all.index(review)]
        reviewed = {**all_variables, "analysis": review.fields}
        comments = {
            finding: render_review_comment(
                self.library, of_review, {**reviewed, **extra}, key=self.key
            )
            for finding, extra in inline.items()
        }
        return Analysis(
            replies.all,
            self._render(name, all_variables),
            self._render_footer(name, all_variables),
            comment_index=index,
            inline=comments,
            left_out=replies.left_out_shown,
        )

    def _render(self, prompt: str, variables: Mapping[str, object]) -> str | None:
        longest = MAX_COMMENT_CHARS - MARKER_CHARS
        if self.has_sections:
            longest = MAX_SECTION_CHARS
        return render_comment(self.library, prompt, variables, key=self.key, max_characters=longest)

    def _render_footer(self, prompt: str, variables: Mapping[str, object]) -> str:
        if not self.has_sections:
            return ""
        return render_footer(self.library, prompt, variables, key=self.key)


def _estimate_files_cost(answer: Reply) -> PartialCost | None:
    """Return the estimated cost of the sentences about files, which are a part of the reply."""
    sentences = [summary.model_dump() for summary in file_summaries_of(answer.fields)]
    if not sentences:
        return None
    tokens = estimate_tokens(json.dumps(sentences, ensure_ascii=False))
    return cost_of_output(answer.usage, tokens)
