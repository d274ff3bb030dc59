CREATE TABLE public.analyses (
    delivery_id bigint NOT NULL,
    step_index integer NOT NULL,
    prompt_id text NOT NULL,
    reply_type text NOT NULL,
    model text NOT NULL,
    reply text NOT NULL,
    analysed_at bigint NOT NULL
);
CREATE TABLE public.bot_accounts (
    fingerprint text NOT NULL,
    login text NOT NULL,
    account_id bigint NOT NULL,
    account_type text NOT NULL
);
CREATE TABLE public.calls (
    id bigint NOT NULL,
    delivery_id bigint NOT NULL,
    step_index integer NOT NULL,
    conversation_key text,
    prompt_id text NOT NULL,
    model text NOT NULL,
    started_at bigint NOT NULL,
    finished_at bigint,
    outcome text,
    error text,
    input_tokens bigint,
    output_tokens bigint,
    cache_write_tokens bigint,
    cache_read_tokens bigint,
    cost_micro_usd bigint,
    duration_ms bigint,
    request_id text
);
CREATE SEQUENCE public.calls_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE public.calls_id_seq OWNED BY public.calls.id;
CREATE TABLE public.checkpoints (
    delivery_id bigint NOT NULL,
    name text NOT NULL,
    step_index integer NOT NULL,
    version integer NOT NULL,
    duration_ms bigint NOT NULL,
    value bytea NOT NULL
);
CREATE TABLE public.comments (
    repository_id bigint NOT NULL,
    bot_login text NOT NULL,
    number bigint NOT NULL,
    family text NOT NULL,
    comment_id bigint NOT NULL,
    body_digest text NOT NULL,
    state text
);
CREATE TABLE public.corrections (
    repository_id bigint NOT NULL,
    bot_login text NOT NULL,
    number bigint NOT NULL,
    label text NOT NULL,
    field text NOT NULL,
    corrected_to text NOT NULL,
    title text NOT NULL,
    prompt_id text NOT NULL,
    is_pull_request boolean NOT NULL,
    set_at bigint NOT NULL,
    recorded_at bigint NOT NULL
);
CREATE TABLE public.counters (
    name text NOT NULL,
    label text NOT NULL,
    value bigint NOT NULL
);
CREATE TABLE public.deleted_calls (
    prompt_id text NOT NULL,
    replies bigint NOT NULL,
    cost_micro_usd bigint NOT NULL,
    calls_of_unknown_cost bigint NOT NULL,
    last_error text,
    last_error_at bigint
);
CREATE TABLE public.deliveries (
    id bigint NOT NULL,
    guid text NOT NULL,
    event text NOT NULL,
    action text,
    request_id text NOT NULL,
    state text NOT NULL,
    reason text,
    reason_kind text,
    repository_id bigint,
    repository text,
    number bigint,
    head_sha text,
    conversation_key text,
    posted_on bigint,
    priority integer DEFAULT 0 NOT NULL,
    sort_key bigint DEFAULT '0'::bigint NOT NULL,
    received_at bigint NOT NULL,
    queued_at bigint NOT NULL,
    due_at bigint NOT NULL,
    finished_at bigint,
    duration_ms bigint,
    handler text,
    worker text,
    lease_until bigint,
    attempt integer DEFAULT 0 NOT NULL,
    attempts integer DEFAULT 0 NOT NULL,
    failures integer DEFAULT 0 NOT NULL,
    crashes integer DEFAULT 0 NOT NULL,
    has_progress boolean DEFAULT false NOT NULL,
    first_failure_at bigint,
    analysis_status text,
    analysis_error text,
    posting_status text,
    posting_error text,
    digest bytea,
    body bytea,
    github_requests bigint,
    CONSTRAINT ck_deliveries_state CHECK ((state = ANY (ARRAY['queued'::text, 'running'::text, 'done'::text, 'ignored'::text, 'superseded'::text, 'dead'::text])))
);
CREATE SEQUENCE public.deliveries_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE public.deliveries_id_seq OWNED BY public.deliveries.id;
CREATE TABLE public.hls_version (
    version_num character varying(32) NOT NULL
);
CREATE TABLE public.labels (
    repository_id bigint NOT NULL,
    bot_login text NOT NULL,
    number bigint NOT NULL,
    name text NOT NULL,
    state text NOT NULL,
    field text,
    prompt_id text,
    set_at bigint
);
CREATE TABLE public.locks (
    name text NOT NULL,
    delivery_id bigint NOT NULL,
    locked_until bigint NOT NULL
);
CREATE TABLE public.pauses (
    name text NOT NULL,
    repository text,
    reason text,
    paused_at bigint NOT NULL
);
CREATE TABLE public.rate_limits (
    name text NOT NULL,
    next_at bigint NOT NULL,
    held_until bigint NOT NULL,
    last_slot_at bigint NOT NULL
);
CREATE TABLE public.repository_file_reports (
    repository_id bigint NOT NULL,
    bot_login text NOT NULL,
    version text NOT NULL,
    guid text NOT NULL
);
CREATE TABLE public.repository_files (
    repository_id bigint NOT NULL,
    bot_login text NOT NULL,
    repository text NOT NULL,
    read_at bigint NOT NULL,
    version text,
    text text,
    error text,
    valid_version text,
    valid_text text
);
CREATE TABLE public.run_results (
    repository_id bigint NOT NULL,
    run_id bigint NOT NULL,
    attempt integer NOT NULL,
    workflow_id bigint NOT NULL,
    event text NOT NULL,
    branch text NOT NULL,
    run_number bigint NOT NULL,
    passed boolean NOT NULL,
    head_sha text NOT NULL,
    recorded_at bigint NOT NULL
);
CREATE TABLE public.secrets (
    name text NOT NULL,
    value bytea NOT NULL
);
CREATE TABLE public.slots (
    delivery_id bigint NOT NULL,
    rate_limit text NOT NULL,
    slot_at bigint NOT NULL
);
CREATE TABLE public.step_failures (
    repository_id bigint NOT NULL,
    run_id bigint NOT NULL,
    attempt integer NOT NULL,
    job text NOT NULL,
    step text NOT NULL,
    workflow_id bigint NOT NULL,
    branch text NOT NULL,
    head_sha text NOT NULL,
    recorded_at bigint NOT NULL
);
ALTER TABLE ONLY public.calls ALTER COLUMN id SET DEFAULT nextval('public.calls_id_seq'::regclass);
ALTER TABLE ONLY public.deliveries ALTER COLUMN id SET DEFAULT nextval('public.deliveries_id_seq'::regclass);
INSERT INTO public.analyses VALUES (2, 0, 'issues/analyze@3f9c2a', 'issue_analysis', 'claude-haiku-4-5', '{"worth_saying":true,"kind":"bug","priority":"high","difficulty":"easy","component":"backend","summary":"Saving a widget twice loses the first one: Grüße 😀","missing":["the version"],"recommended_response":"Which version is it?","suggested_labels":[]}', 1795392340462);
INSERT INTO public.bot_accounts VALUES ('ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff', 'hls-bot', 2, 'User');
INSERT INTO public.calls VALUES (2, 2, 0, '1#1', 'issues/analyze@3f9c2a', 'claude-haiku-4-5', 1795392340445, 1795392340461, 'ok', NULL, 1200, 80, 0, 0, 1600, 1500, NULL);
INSERT INTO public.calls VALUES (3, 2, 0, '1#1', 'issues/analyze@3f9c2a', 'claude-haiku-4-5', 1795392340465, 1795392340469, 'invalid', 'the reply lacks kind', 1200, 80, 0, 0, 1600, 1500, NULL);
INSERT INTO public.calls VALUES (4, 6, 0, '1#5', 'issues/analyze@3f9c2a', 'claude-haiku-4-5', 1795392340586, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL);
INSERT INTO public.checkpoints VALUES (2, 'route', 0, 1, 0, '\x28b52ffd202c610100226973737565732e6f70656e656420697320656e61626c6564202873657474696e67732e79616d6c3a332922');
INSERT INTO public.checkpoints VALUES (2, 'ask', 0, 1, 1500, '\x28b52ffd60f600fd0a0096194e2f8027690e3330530906d3330c6ac59a6dd8fe16d9d19b5a1bb99bc95ebbfd164ecf006684181fc56fdb3745d34de82e400041004000c9baa737bd32ae648e9eccc5d31b5ce548a7ecf4046eb358b996b171473a2f2b659a56cd63541e7d2530020c00067441f3165c08ac93799fde5635b344c9dc110f8e3a3c387890074e52184fb35cc651d78795e33bcab6d1a73569db38eb24701b1682a737722dcbe4a337a80a5b8ba73754189925b2a337bcf44db60cc6b6a3bbebb1a73f6d71b9235d93c5f3e8c1b090ce4f17eba9a6cd9a24057a0fef716c5d82a72bc3c8b04ad5b4415d96c8541e311cc665a90d475d7f817997a33368e0108fc77b13b24e052a8f14128a74564a8c7d244081200924bdf154cdb12d95da2b1b4a1d5bec0819d0331e214882229da12ab1554f06eed11510011053d9e510da660c00345fc3cb79486701a02a2a84c3f1f19ae9d257ca8f91f8372f0c8ae6a87b01110a0a');
INSERT INTO public.checkpoints VALUES (6, 'gather', 0, 1, 250, '\x28b52ffd2019c900007b227469746c65223a202249742069732062726f6b656e227d');
INSERT INTO public.comments VALUES (1, 'hls-bot', 1, 'issues', 11, 'digest', NULL);
INSERT INTO public.corrections VALUES (1, 'hls-bot', 1, 'bug', 'kind', 'question', 'It is broken', 'issues/analyze@3f9c2a', false, 1795392340473, 1795392340493);
INSERT INTO public.counters VALUES ('last_webhook', '', 1795392340352);
INSERT INTO public.counters VALUES ('last_webhook', 'octo/widgets', 1795392340352);
INSERT INTO public.counters VALUES ('claude_calls', 'ok', 2);
INSERT INTO public.counters VALUES ('claude_calls', 'invalid', 1);
INSERT INTO public.counters VALUES ('cost_micro_usd', '', 4800);
INSERT INTO public.counters VALUES ('prompt_cost_micro_usd', 'issues/analyze@3f9c2a', 4800);
INSERT INTO public.counters VALUES ('repository_cost_micro_usd', 'octo/widgets', 4800);
INSERT INTO public.counters VALUES ('tokens', 'input', 3600);
INSERT INTO public.counters VALUES ('tokens', 'output', 240);
INSERT INTO public.counters VALUES ('label_set', 'issues/analyze@3f9c2a:kind', 1);
INSERT INTO public.counters VALUES ('label_corrected', 'issues/analyze@3f9c2a:kind', 1);
INSERT INTO public.counters VALUES ('handler', 'IssueHandler:done', 1);
INSERT INTO public.counters VALUES ('outcome', 'done', 2);
INSERT INTO public.counters VALUES ('processing_count', '', 2);
INSERT INTO public.counters VALUES ('processing_le', '0.1', 2);
INSERT INTO public.counters VALUES ('processing_ms', '', 161);
INSERT INTO public.counters VALUES ('repository_outcome', 'octo/widgets:done', 2);
INSERT INTO public.counters VALUES ('event', 'watch.started', 1);
INSERT INTO public.counters VALUES ('ignored', 'event not enabled', 1);
INSERT INTO public.counters VALUES ('outcome', 'ignored', 1);
INSERT INTO public.counters VALUES ('repository_outcome', 'octo/widgets:ignored', 1);
INSERT INTO public.counters VALUES ('event_github_deliveries', 'issues.opened', 3);
INSERT INTO public.counters VALUES ('handler', 'IssueHandler:dead', 1);
INSERT INTO public.counters VALUES ('outcome', 'dead', 1);
INSERT INTO public.counters VALUES ('repository_outcome', 'octo/widgets:dead', 1);
INSERT INTO public.counters VALUES ('claude_calls', 'unfinished', 1);
INSERT INTO public.counters VALUES ('prompt_calls', 'issues/analyze@3f9c2a', 4);
INSERT INTO public.counters VALUES ('event', 'issues.opened', 6);
INSERT INTO public.counters VALUES ('repository', 'octo/widgets', 7);
INSERT INTO public.counters VALUES ('webhooks', '', 7);
INSERT INTO public.deleted_calls VALUES ('issues/analyze@3f9c2a', 1, 1600, 0, NULL, NULL);
INSERT INTO public.deliveries VALUES (2, 'done', 'issues', 'opened', 'request-done', 'done', 'labels bug', NULL, 1, 'octo/widgets', 1, NULL, '1#1', NULL, 0, 1795392340433, 1795392340433, 1795392340433, 1795392340433, 1795392340531, 2500, 'IssueHandler', NULL, NULL, 1, 0, 0, 0, true, NULL, 'done', NULL, 'done', NULL, '\x8162f4b1208dd32526b469a7fd3d2e090d457f65c011559e5d2d724bd69570b9', '\x28b52ffd2014a100007b2264656c6976657279223a2022646f6e65227d', 0);
INSERT INTO public.deliveries VALUES (3, 'ignored', 'watch', 'started', 'request-ignored', 'ignored', 'not enabled', 'event not enabled', 1, 'octo/widgets', NULL, NULL, NULL, NULL, 0, 1795392340537, 1795392340537, 1795392340537, 1795392340537, 1795392340537, NULL, NULL, NULL, NULL, 0, 0, 0, 0, false, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL);
INSERT INTO public.deliveries VALUES (4, 'dead', 'issues', 'opened', 'request-dead', 'dead', 'issue is locked', NULL, 1, 'octo/widgets', 3, NULL, '1#3', NULL, 0, 1795392340539, 1795392340539, 1795392340539, 1795392340539, 1795392340550, NULL, 'IssueHandler', NULL, NULL, 1, 0, 0, 0, false, NULL, NULL, NULL, NULL, NULL, '\xd2ebc591353e8b0b3c42272fc59dff7c08641bbcd2c6e94866fe5a69ec9208ee', '\x28b52ffd2014a100007b2264656c6976657279223a202264656164227d', 0);
INSERT INTO public.deliveries VALUES (5, 'postponed', 'issues', 'opened', 'request-postponed', 'queued', 'GitHub is down', NULL, 1, 'octo/widgets', 4, NULL, '1#4', NULL, 0, 1795392340552, 1795392340552, 1795392340552, 1795478740561, NULL, NULL, NULL, NULL, NULL, 1, 1, 1, 0, false, 1795392340563, NULL, NULL, NULL, NULL, '\xdb31ce846d0029e8e211d8c28b11b4a17cf0dc543dc16705c690befcf689abf1', '\x28b52ffd2019c900007b2264656c6976657279223a2022706f7374706f6e6564227d', 0);
INSERT INTO public.deliveries VALUES (6, 'running', 'issues', 'opened', 'request-running', 'running', NULL, NULL, 1, 'octo/widgets', 5, NULL, '1#5', NULL, 0, 1795392340564, 1795392340564, 1795392340564, 1795392340564, NULL, NULL, NULL, 'worker', 1795392370570, 1, 0, 0, 0, true, NULL, NULL, NULL, NULL, NULL, '\xce215ef1c309416fa0c890bf6a7d848a041fdf3af73430449cacc974eb0ae89e', '\x28b52ffd2017b900007b2264656c6976657279223a202272756e6e696e67227d', NULL);
INSERT INTO public.deliveries VALUES (7, 'queued', 'issues', 'opened', 'request-queued', 'queued', NULL, NULL, 1, 'octo/widgets', 6, NULL, '1#6', NULL, 0, 1795392340593, 1795392340593, 1795392340593, 1795392340593, NULL, NULL, NULL, NULL, NULL, 0, 0, 0, 0, false, NULL, NULL, NULL, NULL, NULL, '\xcc04d637a76f7ab3bd996c6570c65c6379d6c8d053cc7d6f3d3f0ba0440ae0f2', '\x28b52ffd2016b100007b2264656c6976657279223a2022717565756564227d', NULL);
INSERT INTO public.hls_version VALUES ('0.3.0');
INSERT INTO public.labels VALUES (1, 'hls-bot', 1, 'priority-high', 'intended', NULL, NULL, NULL);
INSERT INTO public.labels VALUES (1, 'hls-bot', 1, 'bug', 'set', 'kind', 'issues/analyze@3f9c2a', 1795392340473);
INSERT INTO public.locks VALUES ('1#5/issues', 6, 1795392400578);
INSERT INTO public.pauses VALUES ('octo/gadgets', 'octo/Gadgets', 'an incident', 1795392340599);
INSERT INTO public.rate_limits VALUES ('claude', 1795392340585, 0, 1795392340585);
INSERT INTO public.rate_limits VALUES ('github', 1795393540588, 0, 1795392340588);
INSERT INTO public.repository_file_reports VALUES (1, 'hls-bot', 'abc', 'done');
INSERT INTO public.repository_files VALUES (1, 'hls-bot', 'octo/widgets', 1795392340519, 'abc', 'enabled: true
', NULL, NULL, NULL);
INSERT INTO public.run_results VALUES (1, 3, 1, 9, 'push', 'main', 4, false, 'bbb', 1795392340497);
INSERT INTO public.secrets VALUES ('prompt-delimiters', '\x2e58c0afb16a827c0de525e8e1e606cbaccb3852199f43a31cb512f5c1a0c460');
INSERT INTO public.slots VALUES (6, 'github', 1795392940588);
INSERT INTO public.step_failures VALUES (1, 3, 1, 'tests', 'pytest', 9, 'main', 'bbb', 1795392340497);
SELECT pg_catalog.setval('public.calls_id_seq', 4, true);
SELECT pg_catalog.setval('public.deliveries_id_seq', 7, true);
ALTER TABLE ONLY public.analyses
    ADD CONSTRAINT analyses_pkey PRIMARY KEY (delivery_id, step_index);
ALTER TABLE ONLY public.bot_accounts
    ADD CONSTRAINT bot_accounts_pkey PRIMARY KEY (fingerprint);
ALTER TABLE ONLY public.calls
    ADD CONSTRAINT calls_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.checkpoints
    ADD CONSTRAINT checkpoints_pkey PRIMARY KEY (delivery_id, name, step_index);
ALTER TABLE ONLY public.comments
    ADD CONSTRAINT comments_pkey PRIMARY KEY (repository_id, bot_login, number, family);
ALTER TABLE ONLY public.corrections
    ADD CONSTRAINT corrections_pkey PRIMARY KEY (repository_id, bot_login, number, label);
ALTER TABLE ONLY public.counters
    ADD CONSTRAINT counters_pkey PRIMARY KEY (name, label);
ALTER TABLE ONLY public.deleted_calls
    ADD CONSTRAINT deleted_calls_pkey PRIMARY KEY (prompt_id);
ALTER TABLE ONLY public.deliveries
    ADD CONSTRAINT deliveries_guid_key UNIQUE (guid);
ALTER TABLE ONLY public.deliveries
    ADD CONSTRAINT deliveries_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.hls_version
    ADD CONSTRAINT hls_version_pkc PRIMARY KEY (version_num);
ALTER TABLE ONLY public.labels
    ADD CONSTRAINT labels_pkey PRIMARY KEY (repository_id, bot_login, number, name);
ALTER TABLE ONLY public.locks
    ADD CONSTRAINT locks_pkey PRIMARY KEY (name);
ALTER TABLE ONLY public.pauses
    ADD CONSTRAINT pauses_pkey PRIMARY KEY (name);
ALTER TABLE ONLY public.rate_limits
    ADD CONSTRAINT rate_limits_pkey PRIMARY KEY (name);
ALTER TABLE ONLY public.repository_file_reports
    ADD CONSTRAINT repository_file_reports_pkey PRIMARY KEY (repository_id, bot_login, version);
ALTER TABLE ONLY public.repository_files
    ADD CONSTRAINT repository_files_pkey PRIMARY KEY (repository_id, bot_login);
ALTER TABLE ONLY public.run_results
    ADD CONSTRAINT run_results_pkey PRIMARY KEY (repository_id, run_id, attempt);
ALTER TABLE ONLY public.secrets
    ADD CONSTRAINT secrets_pkey PRIMARY KEY (name);
ALTER TABLE ONLY public.slots
    ADD CONSTRAINT slots_pkey PRIMARY KEY (delivery_id, rate_limit);
ALTER TABLE ONLY public.step_failures
    ADD CONSTRAINT step_failures_pkey PRIMARY KEY (repository_id, run_id, attempt, job, step);
CREATE INDEX ix_calls_delivery ON public.calls USING btree (delivery_id);
CREATE INDEX ix_calls_prompt ON public.calls USING btree (prompt_id, outcome, cost_micro_usd, id);
CREATE INDEX ix_calls_started ON public.calls USING btree (started_at);
CREATE INDEX ix_corrections_newest ON public.corrections USING btree (repository_id, bot_login, recorded_at);
CREATE INDEX ix_deliveries_commit ON public.deliveries USING btree (conversation_key, state, head_sha) WHERE ((state = 'queued'::text) AND (event = 'pull_request'::text));
CREATE INDEX ix_deliveries_conversation ON public.deliveries USING btree (conversation_key, state, id);
CREATE INDEX ix_deliveries_dead ON public.deliveries USING btree (id) WHERE (state = 'dead'::text);
CREATE INDEX ix_deliveries_digest ON public.deliveries USING btree (digest) WHERE (digest IS NOT NULL);
CREATE INDEX ix_deliveries_finished ON public.deliveries USING btree (finished_at) WHERE (finished_at IS NOT NULL);
CREATE INDEX ix_deliveries_finished_with_body ON public.deliveries USING btree (finished_at) WHERE ((finished_at IS NOT NULL) AND (body IS NOT NULL));
CREATE INDEX ix_deliveries_lease ON public.deliveries USING btree (lease_until) WHERE (state = 'running'::text);
CREATE INDEX ix_deliveries_number ON public.deliveries USING btree (repository, number);
CREATE INDEX ix_deliveries_posted_on ON public.deliveries USING btree (repository, posted_on) WHERE (posted_on IS NOT NULL);
CREATE INDEX ix_deliveries_queued ON public.deliveries USING btree (sort_key, id, due_at, conversation_key) WHERE (state = 'queued'::text);
CREATE INDEX ix_locks_delivery ON public.locks USING btree (delivery_id);
CREATE INDEX ix_run_results_workflow ON public.run_results USING btree (repository_id, workflow_id, run_number);
CREATE INDEX ix_step_failures_workflow ON public.step_failures USING btree (repository_id, workflow_id, recorded_at);
CREATE UNIQUE INDEX uq_deliveries_one_running_per_conversation ON public.deliveries USING btree (conversation_key) WHERE (state = 'running'::text);
ALTER TABLE ONLY public.analyses
    ADD CONSTRAINT analyses_delivery_id_fkey FOREIGN KEY (delivery_id) REFERENCES public.deliveries(id) ON DELETE CASCADE;
ALTER TABLE ONLY public.calls
    ADD CONSTRAINT calls_delivery_id_fkey FOREIGN KEY (delivery_id) REFERENCES public.deliveries(id) ON DELETE CASCADE;
ALTER TABLE ONLY public.checkpoints
    ADD CONSTRAINT checkpoints_delivery_id_fkey FOREIGN KEY (delivery_id) REFERENCES public.deliveries(id) ON DELETE CASCADE;
ALTER TABLE ONLY public.locks
    ADD CONSTRAINT locks_delivery_id_fkey FOREIGN KEY (delivery_id) REFERENCES public.deliveries(id) ON DELETE CASCADE;
ALTER TABLE ONLY public.slots
    ADD CONSTRAINT slots_delivery_id_fkey FOREIGN KEY (delivery_id) REFERENCES public.deliveries(id) ON DELETE CASCADE;
