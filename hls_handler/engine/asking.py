"""Asks Claude the prompts of a delivery, as its handler chooses them, and renders comments from the
replies, within the limits of the settings on tokens, files, findings and labels.

An invalid reply is requested once more. A reply to the same question is taken from the cache, and
the cost is reserved before a call.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

from pydantic import TypeAdapter, ValidationError

from hls_handler.analysis import (
    Analysis,
    PartialCost,
    Prompt,
    RenderedPrompt,
    Reply,
    ReplyFields,
    UnusableReply,
    Usage,
    cost_of_output,
    estimate_tokens,
    file_summaries_of,
    find_review,
)
from hls_handler.claude.provider import CORRECTION, Provider, request_schema
from hls_handler.claude.reply_parsing import advise
from hls_handler.deliveries import COMMANDED
from hls_handler.engine.codecs import OMISSIONS, Codec, decode_reply, encode_reply, redact_unusable
from hls_handler.engine.health import REVIEW
from hls_handler.engine.job import DeliveryJob
from hls_handler.errors import (
    BudgetExceeded,
    BudgetUsedUp,
    ConversationIgnored,
    DependencyDown,
    LeaseLost,
    Permanent,
    Postponed,
    PromptError,
    SlowResponse,
    StepFailed,
)
from hls_handler.github.comments import MAX_COMMENT_CHARS, MAX_SECTION_CHARS
from hls_handler.handlers.job import VERIFY_PROMPT, PromptLimits, Replies
from hls_handler.prompting.prompt import Library
from hls_handler.prompting.render import (
    RuleView,
    render,
    render_comment,
    render_footer,
    render_review_comment,
)
from hls_handler.prompting.reply_fields import complete_static_reply
from hls_handler.queue.checkpoints import ANALYSED
from hls_handler.review.changed_files import find_unshown
from hls_handler.review.removed_lines import Removals
from hls_handler.settings.effective import EffectiveSettings
from hls_handler.settings.model import Settings
from hls_handler.settings.path_globs import PathFilter
from hls_handler.store.call_rows import ESTIMATED, FAILED, UNAVAILABLE, CacheKey
from hls_handler.store.calls import NewCall, QuestionTexts, StartedCall
from hls_handler.store.limits import (
    OVER_BUDGET,
    Limit,
    limit_calls,
    limit_pull_request,
    limit_review,
    list_budgets,
    share_limit,
)
from hls_handler.wording import count, was_or_were

log = logging.getLogger(__name__)

EARLIER_FINDINGS = ("earlier_findings", "known_findings")
"""Template variables with findings of earlier reviews. A reply to a prompt that has them is not
cached.
"""

PROMPT_SECRET = "prompt-delimiters"  # noqa: S105 (the name of a secret in the store, not a secret)

UNSHOWN = Codec("unshown", 1, TypeAdapter(tuple[int, ...]))
"""Indexes of the variable `files` that the rendered prompt does not show as a whole."""

UNANSWERED = Codec("unanswered", 1, TypeAdapter(str))
"""Checkpoint of a call of several that got no usable reply: the reason."""
CORRECTED = ("invalid", "oversized")
"""Replies after which Claude is asked again, once."""
PERMISSION = Codec("permission", 1, TypeAdapter(str))
"""The sender's permission on the repository."""

MARKER_CHARS = 100  # more than the marker below a comment has


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


def find_cache_key(job: DeliveryJob, question: _Question) -> CacheKey | None:
    """Return the key of the question in the cache of replies; None if the cache is not used.

    It names the provider that is asked first, so a reply of another one in its place is used again,
    too. It is not used if it is off, if a person asked for a new review, and for a review with
    earlier findings.
    """
    claude = job.config.settings.claude
    prompt = question.prompt
    repository_id = job.lease.repository_id
    if not claude.cache_ttl_h or repository_id is None or job.event.is_full_review_requested:
        return None
    if job.lease.is_recorded:
        return None
    digest = question.digest
    if is_first_review_prompt(job, question):
        if any(question.variables.get(name) for name in EARLIER_FINDINGS):
            return None
        digest = digest_review(question.rendered, question.variables)
    provider, model = claude.find_model(prompt.model, is_review=prompt.is_review)
    options = [
        digest.hex(),
        provider.base_url,
        claude.name_model(provider, model),
        prompt.max_tokens or claude.max_tokens,
        prompt.effort,
    ]
    return CacheKey(repository_id, hashlib.sha256(json.dumps(options).encode()).digest())


def is_first_review_prompt(job: DeliveryJob, question: _Question) -> bool:
    """Return True for the prompt of a review, also of a part of it; False for a follow-up."""
    is_review = job.event.name == "pull_request"
    is_analysis = question.prompt.reply == "pull_request_analysis"
    return is_review and is_analysis and "analysis" not in question.variables


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


@dataclass(frozen=True, slots=True)
class _Question:
    """A rendered prompt."""

    rendered: RenderedPrompt
    variables: Mapping[str, object]
    index: int  # of the reply
    digest: bytes

    @property
    def prompt(self) -> Prompt:
        return self.rendered.prompt


class Questions:
    """Asks Claude the prompts of a delivery. A stored reply is returned at once. Each call is
    recorded, and counts for the budgets.
    """

    def __init__(self, job: DeliveryJob) -> None:
        self._job = job
        self._failed: dict[int, str] = {}
        self._is_recalled = False  # whether the last reply was stored by an earlier attempt

    def ask(self, name: str, variables: Mapping[str, object], index: int) -> Reply:
        """Return the reply to a prompt. Raises `Postponed`, `LeaseLost`, `PromptError` or a
        `StepFailed`.
        """
        job = self._job
        prompt = job.config.library.prompts[name]
        reason = job.find_result(UNANSWERED, index)
        if reason is not None:
            raise Permanent(reason)
        stored = job.replies.valid.get(index)
        recalled = decode_reply(stored, reply_type=prompt.reply, model=prompt.reply_model)
        self._is_recalled = recalled is not None
        if recalled is not None:
            return replace(recalled, unshown=job.find_result(UNSHOWN, index) or ())
        try:
            return self._ask_twice(self._render(name, variables, index))
        except BudgetExceeded:  # nothing was sent
            raise
        except Permanent as exc:
            self._failed[index] = str(exc)
            raise

    def store_failed(self) -> None:
        """Store which questions got no reply: others may get one, so a retry does not repeat
        these.
        """
        for index, reason in self._failed.items():
            self._job.add(UNANSWERED, reason, index)
        self._failed.clear()

    def end(self, *, is_left_out: bool) -> None:
        """Store what an ended analysis leaves: questions without a reply, and its status."""
        self.store_failed()
        if self._is_recalled or is_left_out:
            # No call has set the status; an earlier attempt with other prompts may have left it
            # unset.
            self._job.pending.add(ANALYSED)

    def _render(self, name: str, variables: Mapping[str, object], index: int) -> _Question:
        job = self._job
        key = job.store.database.secret(PROMPT_SECRET)
        rendered = render(job.config.library, name, variables, key=key)
        if rendered.missing:
            job.note(OMISSIONS, index + 1, _describe_truncation(rendered))
        return _Question(rendered, variables, index, digest_request(rendered))

    def _ask_twice(self, question: _Question) -> Reply:
        """Ask once more after an invalid reply. Raises `Permanent` if no usable reply comes."""
        job = self._job
        index = question.index
        unshown = find_unshown(question.variables, question.rendered.task)
        if unshown != (job.find_result(UNSHOWN, index) or ()):
            job.add(UNSHOWN, unshown, index)
        answer: Reply | UnusableReply
        unusable = job.replies.unusable.get(index, ())
        if len(unusable) == 1 and unusable[0].why in CORRECTED:
            answer = unusable[0]  # a retry by an operator begins anew
        else:
            cache_key = find_cache_key(job, question)
            cached = self._find_cached(question, cache_key)
            answer = cached or self._call(question, cache_key=cache_key)
        if isinstance(answer, UnusableReply) and answer.why in CORRECTED:
            answer = self._call(question, correction=answer)
        if isinstance(answer, Reply):
            return replace(answer, unshown=unshown)
        raise self._reject(question, answer)

    def _call(
        self,
        question: _Question,
        *,
        cache_key: CacheKey | None = None,
        correction: UnusableReply | None = None,
    ) -> Reply | UnusableReply:
        """Ask the first provider that does not fail."""
        job = self._job
        conversation = job.lease.conversation_key or job.lease.guid
        chain = job.context.claude.chain(question.prompt.model, conversation=conversation)
        while True:
            try:
                answer = self._call_provider(chain.next(), question, cache_key, correction)
            except (StepFailed, Postponed) as exc:
                chain.fail(exc)
                continue
            chain.accept(answer)
            if isinstance(answer, Reply):
                self._report_use(question, answer.usage.model)
            return answer

    def _call_provider(
        self,
        provider: Provider,
        question: _Question,
        cache_key: CacheKey | None,
        correction: UnusableReply | None,
    ) -> Reply | UnusableReply:
        job = self._job
        calls = job.store.calls
        estimate = provider.upper_estimate(question.rendered, correction=correction)
        texts = None
        if not job.lease.is_recorded:
            texts = make_question(question.rendered, question.digest, correction)
        call = self._begin(question, estimate, texts, is_cache_miss=cache_key is not None)
        try:
            # do not pay for a reply that another worker would discard
            job.context.leases.require(job.lease)
        except LeaseLost as exc:
            calls.end(job.lease, call, outcome=UNAVAILABLE, usage=None, error=f"not sent: {exc}")
            raise
        try:
            answer = provider.ask(question.rendered, correction=correction)
        except StepFailed as exc:
            self._end_failed(call, exc)
            if isinstance(exc, Permanent) and not job.lease.is_recorded:
                remedy = "do what the message says; the next valid reply clears this problem"
                job.context.health.report_problem("claude", str(exc), remedy)
            raise
        if isinstance(answer, UnusableReply):
            return self._end_unusable(call, answer)
        is_later = is_first_review_prompt(job, question) and question.variables["round"] != 1
        # only about lines that changed since the last review: no answer for a new one
        if answer.lost or is_later:
            cache_key = None
        return self._end_valid(question, call, answer, cache_key)

    def _begin(
        self,
        question: _Question,
        estimate: Usage,
        texts: QuestionTexts | None,
        *,
        is_cache_miss: bool,
    ) -> StartedCall:
        """Record the start of a call. Raises what `ClaudeCalls.begin` raises.

        If a budget is used up and the settings do not wait for it, raises `BudgetExceeded` or
        `ConversationIgnored`.
        """
        job = self._job
        settings = job.config.settings
        provider = None
        if settings.claude.fallbacks:
            provider = estimate.model.partition("/")[0]
        new = NewCall(
            index=question.index,
            prompt_id=question.prompt.id,
            model=estimate.model,
            provider=provider,
            estimate=estimate,
            question=texts,
            is_cache_miss=is_cache_miss,
        )
        limits = self._list_limits()
        check = None
        if not job.lease.is_recorded:
            check = job.check_newest()

        def begin() -> StartedCall:
            return job.store.calls.begin(
                job.lease,
                new,
                limits,
                requests_per_second=settings.claude.requests_per_second,
                changes=job.pending.take(),
                check=check,
            )

        try:
            return job.wait_in_place(begin)
        except BudgetUsedUp as exc:
            if exc.is_first:
                fields = {"reason": str(exc), "until": exc.at.isoformat()}
                log.warning("a budget is used up", extra=fields)
            if settings.budgets.exceeded == "wait":
                raise
            # the replies so far count, and the check names what was not reviewed
            if job.event.name == "pull_request":
                raise BudgetExceeded(str(exc)) from exc
            raise ConversationIgnored(str(exc), OVER_BUDGET) from exc

    def _list_limits(self) -> Sequence[Limit]:
        """Return the limits of a call, in the order in which they are checked."""
        job = self._job
        settings = job.config.settings
        limits = [
            limit_calls(settings),
            *list_budgets(settings, job.event.repository.full_name, job.outsider),
        ]
        review_limits: list[Limit] = []
        if job.event.name == "pull_request":
            review_limits = [limit_review(settings, job.rule.effective)]
        if job.batch is not None:
            shared = [job.batch.limit, *map(share_limit, limits)]
            return [*review_limits, *shared] if job.batch.kind == "reviews" else shared
        if review_limits:
            is_continued = job.lease.request_id.startswith(COMMANDED)
            limit = limit_pull_request(settings, job.rule.effective, job.lease.conversation_key)
            review_limits.insert(0, replace(limit, is_waived=is_continued))
        return [*review_limits, *limits]

    def _end_failed(self, call: StartedCall, error: StepFailed) -> None:
        outcome = FAILED
        is_unknown = isinstance(error, SlowResponse)
        if isinstance(error, DependencyDown):
            is_unknown = error.may_have_succeeded
            if not is_unknown:
                outcome = UNAVAILABLE
        self._job.store.calls.end(
            self._job.lease,
            call,
            outcome=outcome,
            usage=None,
            error=str(error),
            is_usage_unknown=is_unknown,
            request_id=error.request_id,
        )

    def _end_valid(
        self,
        question: _Question,
        call: StartedCall,
        answer: Reply,
        cache_key: CacheKey | None,
    ) -> Reply:
        """Store the reply, and return it redacted."""
        prompt = question.prompt
        stored = encode_reply(answer, shown_code=question.rendered.code)
        recalled = decode_reply(stored, reply_type=prompt.reply, model=prompt.reply_model)
        assert recalled is not None
        usage = answer.usage
        error = None
        if usage.is_estimate:
            error = ESTIMATED
        self._job.store.calls.end(
            self._job.lease,
            call,
            outcome="ok",
            usage=usage,
            error=error,
            is_usage_unknown=usage.is_estimate,
            request_id=usage.request_id,
            changes=self._job.pending.take(),
            reply=stored,
            cache_key=cache_key,
        )
        self._end_analysis(question, recalled.fields)
        return recalled

    def _end_unusable(self, call: StartedCall, answer: UnusableReply) -> UnusableReply:
        """Store the reply; return it redacted, because Claude gets it again."""
        stored = redact_unusable(answer)
        problem = stored.problem
        usage = answer.usage
        if usage.is_estimate:
            problem = f"{problem}; {ESTIMATED}"
        self._job.store.calls.end(
            self._job.lease,
            call,
            outcome=answer.why,
            usage=usage,
            error=problem,
            is_usage_unknown=usage.is_estimate,
            request_id=usage.request_id,
            reply=stored,
        )
        return stored

    def _end_analysis(self, question: _Question, reply: ReplyFields) -> None:
        """Let the next transaction store that the analysis has ended, unless the reply leads to
        another prompt.
        """
        with suppress(PromptError):
            if self._job.config.library.find_next_prompt(question.prompt.name, reply) is None:
                self._job.pending.add(ANALYSED)

    def _find_cached(self, question: _Question, key: CacheKey | None) -> Reply | None:
        """Return the reply to the same question, if the cache has a valid one, and store it as if
        Claude had replied.
        """
        job = self._job
        prompt = question.prompt
        if key is None:
            return None
        cached = job.store.reply_cache.find(key, ttl_h=job.config.settings.claude.cache_ttl_h)
        if cached is None:
            return None
        try:
            reply = prompt.reply_model.model_validate_json(cached.reply)
        except ValidationError:  # a check that the schema does not show has changed
            return None
        usage = Usage(cached.model, cost_usd=0.0)
        answer = Reply(prompt.id, prompt.reply, reply, usage, cached_at=cached.stored_at)
        job.store.calls.save_cached(
            job.lease,
            cached,
            index=question.index,
            prompt_id=prompt.id,
            changes=job.pending.take(),
        )
        self._end_analysis(question, reply)
        fields = {"prompt": prompt.id, "stored_at": cached.stored_at.isoformat()}
        log.info("reply taken from the cache", extra=fields)
        return answer

    def _report_use(self, question: _Question, model: str) -> None:
        job = self._job
        outage = job.context.claude.find_outage()
        if outage is not None:
            problem = f"{outage}; {model} answers in its place"
            job.context.health.report_problem("claude", problem, outage.remedy)
            return
        part = ""
        if question.prompt.is_review and job.config.settings.claude.review_model is not None:
            part = REVIEW
        job.context.health.ok("claude", part)

    def _reject(self, question: _Question, answer: UnusableReply) -> Permanent:
        """Show the problem in `/health`, and return its error."""
        job = self._job
        file = job.config.library.file(question.prompt.name)
        advice = advise(job.config.settings.claude, file, question.rendered, answer)
        problem = f"Claude's reply to {question.prompt.id} cannot be used: {answer.problem}"
        if answer.why == "invalid":
            problem = (
                f"Claude's reply to {question.prompt.id} does not fit the prompt's fields (tried"
                f" twice): {answer.problem}"
            )
        if not job.lease.is_recorded:
            job.context.health.report_problem("claude", problem, advice)
        return Permanent(f"{problem}; {advice}")


def forget_unanswered(job: DeliveryJob) -> None:
    """Let a retry ask questions again that got no reply."""
    if any(name == UNANSWERED.name for name, _ in job.steps):
        job.store.checkpoints.delete(job.lease, UNANSWERED.name)


def _describe_truncation(rendered: RenderedPrompt) -> str:
    texts = len(rendered.missing)
    characters = sum(rendered.missing)
    return (
        f"{count(texts, 'text')} {was_or_were(texts)} cut by {characters:,} characters"
        f" ({rendered.prompt.id})"
    )


def find_outsider(job: DeliveryJob) -> str | None:
    """Return the sender's login if it has no write permission and settings limit the cost of its
    events; else None.
    """
    if job.batch is not None:  # an operator started it
        return None
    limits = job.config.settings.budgets.outsiders
    login = job.event.sender.login
    if limits.day_usd is None and limits.month_usd is None:
        return None
    reader = job.context.github.reader(job.event.repository.full_name)
    permission = job.run_step(PERMISSION, 0, lambda: reader.permission(login))
    if permission in ("admin", "write"):
        return None
    return login


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
        review_prompt = replies.names[replies.all.index(review)]
        reviewed = {**all_variables, "analysis": review.fields}
        comments = {
            finding: render_review_comment(
                self.library, review_prompt, {**reviewed, **extra}, key=self.key
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


def prompt_limits(
    settings: Settings, library: Library, event_name: str, effective: EffectiveSettings, prompt: str
) -> PromptLimits:
    """Return the limits on what a prompt gets: tokens, files and findings, and whether it lists
    labels.
    """
    taken = None
    labels = effective.labels
    if (
        labels.suggest
        and effective.features.auto_labeling
        and library.uses(prompt, "repository_labels")
    ):
        taken = frozenset(library.label_groups(event_name, labels.assess))
    review = effective.review
    thresholds = {
        "guidance": review.guidance and library.uses(prompt, "guidance"),
        "verify": review.verify and VERIFY_PROMPT in library.prompts,
    }
    is_review = library.prompts[prompt].reply == "pull_request_analysis"
    sums_up_files = (
        effective.comments.files and is_review and library.uses(prompt, "file_summaries")
    )
    titles = effective.pull_requests
    suggests_title = (
        titles.title == "suggest" and is_review and library.uses(prompt, "suggested_title")
    )
    return PromptLimits(
        settings.claude.input_tokens,
        PathFilter(effective.paths.ignore, effective.where("paths.ignore", settings)),
        effective.findings,
        (
            "always" if sums_up_files else effective.comments.summary
        ),  # else the sentences would be paid and not shown
        sums_up_files=sums_up_files,
        shows_cost=effective.comments.show_cost,
        title_types=titles.title_types if suggests_title else (),
        reviewers=titles.reviewers if is_review else False,
        labels=labels,
        taken_labels=taken,
        is_review=is_review,
        review=effective.review.model_copy(update=thresholds),
        features=effective.features,
        searches=settings.mirror.enabled and (is_review or library.uses(prompt, "second_sites")),
        documents=settings.mirror.enabled
        and effective.retrieval.enabled
        and library.uses(prompt, "documents"),
        similar=effective.similar.enabled and library.uses(prompt, "similar"),
    )
