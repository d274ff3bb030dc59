"""The question of a call: its texts, its digests, and its key in the cache of replies."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping

from hls_handler.analysis import Prompt, RenderedPrompt, UnusableReply
from hls_handler.claude.provider import CORRECTION, request_schema
from hls_handler.engine.job import DeliveryJob
from hls_handler.prompting.render import RuleView
from hls_handler.review.removed_lines import Removals
from hls_handler.store.questions import QuestionTexts
from hls_handler.store.reply_cache import CacheKey

EARLIER_FINDINGS = ("earlier_findings", "known_findings")
"""Template variables with findings of earlier reviews. A reply to a prompt that has them is not
cached.
"""


def make_question(
    rendered: RenderedPrompt, digest: bytes, correction: UnusableReply | None
) -> QuestionTexts:
    """Return what is sent. `digest` is that of the first question, which a correction follows."""
    schema = json.dumps(request_schema(rendered.schema), indent=2)
    if correction is None:
        return QuestionTexts(digest, rendered.system, schema, rendered.task)
    message = CORRECTION.format(problem=correction.problem)
    digest = hashlib.sha256(digest + correction.text.encode("utf-8", "surrogatepass")).digest()
    return QuestionTexts(digest, rendered.system, schema, message, is_correction=True)


def find_cache_key(
    job: DeliveryJob, rendered: RenderedPrompt, variables: Mapping[str, object], digest: bytes
) -> CacheKey | None:
    """Return the key of the question in the cache of replies; None if the cache is not used.

    It names the provider that is asked first, so a reply of another one in its place is used again,
    too. It is not used if it is off, if a person asked for a new review, and for a review with
    earlier findings.
    """
    claude = job.config.settings.claude
    prompt = rendered.prompt
    repository_id = job.lease.repository_id
    if not claude.cache_ttl_h or repository_id is None or job.event.is_full_review_requested:
        return None
    if job.lease.is_recorded:
        return None
    if is_first_review_prompt(job, prompt, variables):
        if any(variables.get(name) for name in EARLIER_FINDINGS):
            return None
        digest = digest_review(rendered, variables)
    provider, model = claude.find_model(prompt.model, is_review=prompt.is_review)
    options = [
        digest.hex(),
        provider.base_url,
        claude.name_model(provider, model),
        prompt.max_tokens or claude.max_tokens,
        prompt.effort,
    ]
    return CacheKey(repository_id, hashlib.sha256(json.dumps(options).encode()).digest())


def is_first_review_prompt(
    job: DeliveryJob, prompt: Prompt, variables: Mapping[str, object]
) -> bool:
    """Return True for the prompt of a review, also of a part of it; False for a follow-up."""
    is_review = job.event.name == "pull_request" and prompt.reply == "pull_request_analysis"
    return is_review and "analysis" not in variables


def digest_request(rendered: RenderedPrompt) -> bytes:
    """Return the SHA-256 of a question: the system prompt, the message and the schema of the
    reply.
    """
    question = json.dumps([rendered.system, rendered.task, rendered.prompt.reply, rendered.schema])
    return hashlib.sha256(question.encode()).digest()


def digest_review(rendered: RenderedPrompt, variables: Mapping[str, object]) -> bytes:
    """Return the SHA-256 of what a review depends on: prompt, code, guidance, and settings that it
    may show.

    The number, texts, branches, round and linked issues of the pull request are not part of it.
    """
    rule = variables["rule"]
    assert isinstance(rule, RuleView)
    files, guidance, sites = (variables[name] for name in ("files", "guidance", "second_sites"))
    removals = variables["removals"]
    assert isinstance(removals, Removals)
    assert isinstance(files, tuple)
    assert isinstance(guidance, tuple)
    assert isinstance(sites, tuple)
    options = [rule.language, rule.tone, rule.length, rule.categories, rule.verify]
    question = [
        [rendered.prompt.id, rendered.schema, *options, variables["config"]],
        [(file.path, file.previous_path, file.status, file.numbered) for file in files],
        [(file.path, file.text) for file in guidance],
        [(site.path, site.text) for site in sites],
        [removals.unknown, *((hunk.path, hunk.text) for hunk in removals.hunks)],
    ]
    return hashlib.sha256(json.dumps(question, default=dict).encode()).digest()
