CREATE TABLE public.analyses (
    id bigint NOT NULL,
    delivery_id bigint NOT NULL,
    step_index integer NOT NULL,
    prompt_id text NOT NULL,
    reply_type text NOT NULL,
    model text NOT NULL,
    reply text NOT NULL,
    analysed_at bigint NOT NULL
);
CREATE SEQUENCE public.analyses_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE public.analyses_id_seq OWNED BY public.analyses.id;
CREATE TABLE public.calls (
    id bigint NOT NULL,
    delivery_id bigint NOT NULL,
    step_index integer NOT NULL,
    thread_key text,
    prompt_id text NOT NULL,
    model text NOT NULL,
    sender text,
    started_at bigint NOT NULL,
    finished_at bigint,
    outcome text,
    error text,
    input_tokens bigint,
    output_tokens bigint,
    cache_write_tokens bigint,
    cache_read_tokens bigint,
    cost_micro_usd bigint,
    took_ms bigint
);
CREATE SEQUENCE public.calls_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE public.calls_id_seq OWNED BY public.calls.id;
CREATE TABLE public.checks (
    repository_id bigint NOT NULL,
    identity text NOT NULL,
    head_sha text NOT NULL,
    name text NOT NULL,
    check_id bigint,
    conclusion text,
    changed_at bigint NOT NULL
);
CREATE TABLE public.comments (
    repository_id bigint NOT NULL,
    identity text NOT NULL,
    number bigint NOT NULL,
    family text NOT NULL,
    comment_id bigint NOT NULL,
    body_digest text NOT NULL,
    changed_at bigint NOT NULL
);
CREATE TABLE public.corrections (
    repository_id bigint NOT NULL,
    identity text NOT NULL,
    number bigint NOT NULL,
    said text NOT NULL,
    field text NOT NULL,
    became text NOT NULL,
    title text NOT NULL,
    prompt_id text NOT NULL,
    is_pull_request boolean NOT NULL,
    set_at bigint NOT NULL,
    noted_at bigint NOT NULL
);
CREATE TABLE public.counters (
    name text NOT NULL,
    label text NOT NULL,
    value bigint NOT NULL
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
    installation bigint,
    number bigint,
    head_sha text,
    sender text,
    thread_key text,
    priority integer DEFAULT 0 NOT NULL,
    received_at bigint NOT NULL,
    queued_at bigint NOT NULL,
    due_at bigint NOT NULL,
    finished_at bigint,
    took_ms bigint,
    handler text,
    worker text,
    lease_until bigint,
    attempt integer DEFAULT 0 NOT NULL,
    attempts integer DEFAULT 0 NOT NULL,
    failures integer DEFAULT 0 NOT NULL,
    crashes integer DEFAULT 0 NOT NULL,
    progressed boolean DEFAULT false NOT NULL,
    first_failure_at bigint,
    analysis_status text,
    analysis_error text,
    posting_status text,
    posting_error text,
    digest bytea,
    body bytea,
    said_on bigint,
    rank bigint DEFAULT '0'::bigint NOT NULL,
    behind boolean DEFAULT false NOT NULL,
    CONSTRAINT ck_deliveries_state CHECK ((state = ANY (ARRAY['queued'::text, 'running'::text, 'done'::text, 'ignored'::text, 'superseded'::text, 'dead'::text])))
);
CREATE SEQUENCE public.deliveries_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE public.deliveries_id_seq OWNED BY public.deliveries.id;
CREATE TABLE public.findings (
    analysis_id bigint NOT NULL,
    "position" integer NOT NULL,
    path text NOT NULL,
    side text NOT NULL,
    start_line bigint,
    line bigint NOT NULL,
    quote text NOT NULL,
    severity text NOT NULL,
    category text NOT NULL,
    confidence double precision NOT NULL,
    title text NOT NULL,
    body text NOT NULL,
    suggestion text
);
CREATE TABLE public.forgotten_calls (
    prompt_id text NOT NULL,
    answers bigint NOT NULL,
    cost_micro_usd bigint NOT NULL,
    calls_of_unknown_cost bigint NOT NULL,
    last_error text,
    last_error_at bigint
);
CREATE TABLE public.hls_version (
    version_num character varying(32) NOT NULL
);
CREATE TABLE public.identities (
    fingerprint text NOT NULL,
    login text NOT NULL,
    account_id bigint NOT NULL,
    account_type text NOT NULL,
    seen_at bigint NOT NULL
);
CREATE TABLE public.keys (
    name text NOT NULL,
    value bytea NOT NULL
);
CREATE TABLE public.labels (
    repository_id bigint NOT NULL,
    identity text NOT NULL,
    number bigint NOT NULL,
    name text NOT NULL,
    state text NOT NULL,
    changed_at bigint NOT NULL,
    field text,
    prompt_id text,
    set_at bigint
);
CREATE TABLE public.locks (
    name text NOT NULL,
    delivery_id bigint NOT NULL,
    locked_until bigint NOT NULL
);
CREATE TABLE public.pace (
    name text NOT NULL,
    next_at bigint NOT NULL,
    held_until bigint NOT NULL,
    taken_at bigint NOT NULL
);
CREATE TABLE public.pauses (
    name text NOT NULL,
    repository text,
    reason text,
    paused_at bigint NOT NULL
);
CREATE TABLE public.repository_file_tellings (
    repository_id bigint NOT NULL,
    identity text NOT NULL,
    version text NOT NULL,
    guid text NOT NULL,
    told_at bigint NOT NULL
);
CREATE TABLE public.repository_files (
    repository_id bigint NOT NULL,
    identity text NOT NULL,
    repository text NOT NULL,
    read_at bigint NOT NULL,
    version text,
    text text,
    flaw text,
    good_version text,
    good_text text
);
CREATE TABLE public.reviews (
    repository_id bigint NOT NULL,
    identity text NOT NULL,
    number bigint NOT NULL,
    head_sha text NOT NULL,
    family text NOT NULL,
    review_id bigint NOT NULL,
    changed_at bigint NOT NULL
);
CREATE TABLE public.run_ends (
    repository_id bigint NOT NULL,
    run_id bigint NOT NULL,
    attempt integer NOT NULL,
    workflow_id bigint NOT NULL,
    event text NOT NULL,
    branch text NOT NULL,
    run_number bigint NOT NULL,
    passed boolean NOT NULL,
    head_sha text NOT NULL,
    noted_at bigint NOT NULL
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
    noted_at bigint NOT NULL
);
CREATE TABLE public.steps (
    delivery_id bigint NOT NULL,
    name text NOT NULL,
    step_index integer NOT NULL,
    version integer NOT NULL,
    took_ms bigint NOT NULL,
    remembered_at bigint NOT NULL,
    value bytea NOT NULL
);
CREATE TABLE public.turns (
    delivery_id bigint NOT NULL,
    pace text NOT NULL,
    slot_at bigint NOT NULL
);
ALTER TABLE ONLY public.analyses ALTER COLUMN id SET DEFAULT nextval('public.analyses_id_seq'::regclass);
ALTER TABLE ONLY public.calls ALTER COLUMN id SET DEFAULT nextval('public.calls_id_seq'::regclass);
ALTER TABLE ONLY public.deliveries ALTER COLUMN id SET DEFAULT nextval('public.deliveries_id_seq'::regclass);
INSERT INTO public.analyses VALUES (1, 1, 0, 'issues/analyze@3f9c2a', 'issue_analysis', 'claude-haiku-5-5', '{"worth_saying":true,"kind":"bug","priority":"high","difficulty":"easy","component":"backend","summary":"Saving a widget twice loses the first one: Grüße 😀","missing":["the version"],"recommended_response":"Which version is it?"}', 1795252614140);
INSERT INTO public.analyses VALUES (2, 3, 0, 'pull_requests/analyze@111111', 'pull_request_analysis', 'claude-haiku-5-5', '{"worth_saying":true,"type":"bug-fix","summary":"Squares.","files":[],"findings":[{"path":"area.py","side":"RIGHT","start_line":null,"line":2,"quote":"return side ** 2","severity":"high","category":"bugs","confidence":0.8,"title":"Squares only","body":"A rectangle has two sides.","suggestion":null}]}', 1795252614252);
INSERT INTO public.calls VALUES (1, 1, 0, '1#1', 'issues/analyze@3f9c2a', 'claude-haiku-5-5', 'mona', 1795252614133, 1795252614139, 'ok', NULL, 1200, 80, 0, 0, 160, 1500);
INSERT INTO public.calls VALUES (2, 1, 0, '1#1', 'issues/analyze@3f9c2a', 'claude-haiku-5-5', 'mona', 1795252614144, 1795252614145, 'invalid', 'the reply lacks kind', 1200, 80, 0, 0, 160, 1500);
INSERT INTO public.calls VALUES (3, 3, 0, '1#7', 'issues/analyze@3f9c2a', 'claude-haiku-5-5', 'mona', 1795252614250, 1795252614251, 'ok', NULL, 1200, 80, 0, 0, 160, 1500);
INSERT INTO public.calls VALUES (4, 7, 0, '1#5', 'issues/analyze@3f9c2a', 'claude-haiku-5-5', 'mona', 1795252614296, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL);
INSERT INTO public.checks VALUES (1, 'hls-bot', 'bbb', 'HLS', NULL, 'success', 1);
INSERT INTO public.comments VALUES (1, 'hls-bot', 1, 'issues', 11, 'digest', 1795252614228);
INSERT INTO public.corrections VALUES (1, 'hls-bot', 1, 'bug', 'kind', 'question', 'It is broken', 'issues/analyze@3f9c2a', false, 1, 2);
INSERT INTO public.counters VALUES ('last_webhook', '', 1795252614102);
INSERT INTO public.counters VALUES ('last_webhook', 'octo/widgets', 1795252614102);
INSERT INTO public.counters VALUES ('claude_calls', 'invalid', 1);
INSERT INTO public.counters VALUES ('handler', 'IssueHandler:done', 1);
INSERT INTO public.counters VALUES ('processing_le', '0.25', 1);
INSERT INTO public.counters VALUES ('event', 'pull_request.synchronize', 2);
INSERT INTO public.counters VALUES ('outcome', 'superseded', 1);
INSERT INTO public.counters VALUES ('repository_outcome', 'octo/widgets:superseded', 1);
INSERT INTO public.counters VALUES ('claude_calls', 'ok', 2);
INSERT INTO public.counters VALUES ('cost_micro_usd', '', 480);
INSERT INTO public.counters VALUES ('prompt_calls', 'issues/analyze@3f9c2a', 3);
INSERT INTO public.counters VALUES ('prompt_cost_micro_usd', 'issues/analyze@3f9c2a', 480);
INSERT INTO public.counters VALUES ('tokens', 'cache_read', 0);
INSERT INTO public.counters VALUES ('tokens', 'cache_write', 0);
INSERT INTO public.counters VALUES ('tokens', 'input', 3600);
INSERT INTO public.counters VALUES ('tokens', 'output', 240);
INSERT INTO public.counters VALUES ('handler', 'PullRequestHandler:done', 1);
INSERT INTO public.counters VALUES ('outcome', 'done', 2);
INSERT INTO public.counters VALUES ('processing_count', '', 2);
INSERT INTO public.counters VALUES ('processing_le', '0.1', 1);
INSERT INTO public.counters VALUES ('processing_ms', '', 145);
INSERT INTO public.counters VALUES ('repository_outcome', 'octo/widgets:done', 2);
INSERT INTO public.counters VALUES ('ignored', 'event not enabled', 1);
INSERT INTO public.counters VALUES ('outcome', 'ignored', 1);
INSERT INTO public.counters VALUES ('repository_outcome', 'octo/widgets:ignored', 1);
INSERT INTO public.counters VALUES ('handler', 'IssueHandler:dead', 1);
INSERT INTO public.counters VALUES ('outcome', 'dead', 1);
INSERT INTO public.counters VALUES ('repository_outcome', 'octo/widgets:dead', 1);
INSERT INTO public.counters VALUES ('event', 'issues.opened', 6);
INSERT INTO public.counters VALUES ('repository', 'octo/widgets', 8);
INSERT INTO public.counters VALUES ('webhooks', '', 8);
INSERT INTO public.counters VALUES ('outcome', 'pong', 1);
INSERT INTO public.deliveries VALUES (1, 'done', 'issues', 'opened', 'request-done', 'done', 'labels bug', NULL, 1, 'octo/widgets', NULL, 1, NULL, 'mona', '1#1', 0, 1795252614102, 1795252614102, 1795252614102, 1795252614231, 2500, 'IssueHandler', NULL, NULL, 1, 0, 0, 0, true, NULL, 'done', NULL, 'done', NULL, '\x8162f4b1208dd32526b469a7fd3d2e090d457f65c011559e5d2d724bd69570b9', '\x28b52ffd2014a100007b2264656c6976657279223a2022646f6e65227d', NULL, 1795252614102, false);
INSERT INTO public.deliveries VALUES (2, 'superseded', 'pull_request', 'synchronize', 'request-superseded', 'superseded', 'a newer commit, bbb, was pushed before this one''s turn came (delivery reviewed)', NULL, 1, 'octo/widgets', NULL, 7, 'aaa', 'mona', '1#7', 0, 1795252614236, 1795252614236, 1795252614236, 1795252614239, NULL, NULL, NULL, NULL, 0, 0, 0, 0, false, NULL, NULL, NULL, NULL, NULL, '\x3f41b3a061cd98e65d8aa52afb9adcafb71e3612db24e050eaac90d178da0ca1', '\x28b52ffd201ad100007b2264656c6976657279223a202273757065727365646564227d', NULL, 1795252614236, false);
INSERT INTO public.deliveries VALUES (3, 'reviewed', 'pull_request', 'synchronize', 'request-reviewed', 'done', 'a comment', NULL, 1, 'octo/widgets', NULL, 7, 'bbb', 'mona', '1#7', 0, 1795252614239, 1795252614239, 1795252614239, 1795252614255, 3000, 'PullRequestHandler', NULL, NULL, 1, 0, 0, 0, false, NULL, NULL, NULL, NULL, NULL, '\x3068d6459b57714a815a979836d6079b97ccda64913e79f04b3b34bd99d104ab', '\x28b52ffd2018c100007b2264656c6976657279223a20227265766965776564227d', NULL, 1795252614239, false);
INSERT INTO public.deliveries VALUES (4, 'ignored', 'issues', 'opened', 'request-ignored', 'ignored', 'not enabled', 'event not enabled', 1, 'octo/widgets', NULL, 2, NULL, 'mona', '1#2', 0, 1795252614258, 1795252614258, 1795252614258, 1795252614258, NULL, NULL, NULL, NULL, 0, 0, 0, 0, false, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, 1795252614258, false);
INSERT INTO public.deliveries VALUES (5, 'dead', 'issues', 'opened', 'request-dead', 'dead', 'issue is locked', NULL, 1, 'octo/widgets', NULL, 3, NULL, 'mona', '1#3', 0, 1795252614260, 1795252614260, 1795252614260, 1795252614269, NULL, 'IssueHandler', NULL, NULL, 1, 0, 0, 0, true, NULL, NULL, NULL, NULL, NULL, '\xd2ebc591353e8b0b3c42272fc59dff7c08641bbcd2c6e94866fe5a69ec9208ee', '\x28b52ffd2014a100007b2264656c6976657279223a202264656164227d', NULL, 1795252614260, false);
INSERT INTO public.deliveries VALUES (6, 'postponed', 'issues', 'opened', 'request-postponed', 'queued', 'GitHub is down', NULL, 1, 'octo/widgets', NULL, 4, NULL, 'mona', '1#4', 0, 1795252614272, 1795252614272, 1795339014277, NULL, NULL, NULL, NULL, NULL, 1, 1, 1, 0, false, 1795252614280, NULL, NULL, NULL, NULL, '\xdb31ce846d0029e8e211d8c28b11b4a17cf0dc543dc16705c690befcf689abf1', '\x28b52ffd2019c900007b2264656c6976657279223a2022706f7374706f6e6564227d', NULL, 1795252614272, false);
INSERT INTO public.deliveries VALUES (7, 'running', 'issues', 'opened', 'request-running', 'running', NULL, NULL, 1, 'octo/widgets', NULL, 5, NULL, 'mona', '1#5', 0, 1795252614282, 1795252614282, 1795252614282, NULL, NULL, NULL, 'worker', 1795252644286, 1, 0, 0, 0, true, NULL, NULL, NULL, NULL, NULL, '\xce215ef1c309416fa0c890bf6a7d848a041fdf3af73430449cacc974eb0ae89e', '\x28b52ffd2017b900007b2264656c6976657279223a202272756e6e696e67227d', NULL, 1795252614282, false);
INSERT INTO public.deliveries VALUES (8, 'queued', 'issues', 'opened', 'request-queued', 'queued', NULL, NULL, 1, 'octo/widgets', NULL, 6, NULL, 'mona', '1#6', 0, 1795252614297, 1795252614297, 1795252614297, NULL, NULL, NULL, NULL, NULL, 0, 0, 0, 0, false, NULL, NULL, NULL, NULL, NULL, '\xcc04d637a76f7ab3bd996c6570c65c6379d6c8d053cc7d6f3d3f0ba0440ae0f2', '\x28b52ffd2016b100007b2264656c6976657279223a2022717565756564227d', NULL, 1795252614297, false);
INSERT INTO public.findings VALUES (2, 0, 'area.py', 'RIGHT', NULL, 2, 'return side ** 2', 'high', 'bugs', 0.8, 'Squares only', 'A rectangle has two sides.', NULL);
INSERT INTO public.forgotten_calls VALUES ('issues/analyze@3f9c2a', 3, 480, 1, 'Claude: refused', 1);
INSERT INTO public.hls_version VALUES ('0008');
INSERT INTO public.identities VALUES ('ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff', 'hls-bot', 2, 'User', 1);
INSERT INTO public.keys VALUES ('prompt-delimiters', '\x8a5c70288211e705fac6aa26401d02a5eec7c36dc4f0b27c1213c05d21851cda');
INSERT INTO public.labels VALUES (1, 'hls-bot', 1, 'priority-high', 'intended', 1795252614223, NULL, NULL, NULL);
INSERT INTO public.labels VALUES (1, 'hls-bot', 1, 'bug', 'ours', 1795252614226, NULL, NULL, 1795252614226);
INSERT INTO public.locks VALUES ('1#5/issues', 7, 1795252674290);
INSERT INTO public.pace VALUES ('github', 1795253814291, 0, 1795252614291);
INSERT INTO public.pace VALUES ('claude', 1795252614295, 0, 1795252614295);
INSERT INTO public.pauses VALUES ('octo/gadgets', 'octo/Gadgets', 'an incident', 1);
INSERT INTO public.repository_file_tellings VALUES (1, 'hls-bot', 'abc', 'done', 1);
INSERT INTO public.repository_files VALUES (1, 'hls-bot', 'octo/widgets', 1, 'abc', 'enabled: true
', NULL, NULL, NULL);
INSERT INTO public.reviews VALUES (1, 'hls-bot', 7, 'bbb', 'pull_requests', 5, 1);
INSERT INTO public.run_ends VALUES (1, 3, 1, 9, 'push', 'main', 4, false, 'bbb', 1);
INSERT INTO public.step_failures VALUES (1, 3, 1, 'tests', 'pytest', 9, 'main', 'bbb', 1);
INSERT INTO public.steps VALUES (1, 'route', 0, 1, 0, 1795252614124, '\x28b52ffd20273901002273657474696e67732e79616d6c3a33206c657473206973737565732e6f70656e656420696e22');
INSERT INTO public.steps VALUES (1, 'ask', 0, 1, 1500, 1795252614127, '\x28b52ffd60cf003d0a00d697492e8027690e3330530906d3330c6ac59a6dd8fe165b9a08692e776b217b571431f4143023c486e3b7ed9ba2e92674173c003a003e00bd32ae648e9e4c85a737b8ca914ed9e909dc66b1722de3e28c745e56ca34ad9a855179f495c00620000ae88266597021b04ee67d7a5bd5cc8b923923a7592e72d4f561e5b81c65bbe8d39ab45d9c7512b80bebc0d31bb9de9b7cf40655614be1e90d1546e64576f486972e932d826c3bba4bd63dbd09e98bb6f8ce48d764f13c6a9c40efe13d8ead43f07465181956a99a36a8ef45a6f248c1615c96ba70d4f51330ef3b3a83060c0f8e3234386890064e5218038d8602914867a5c4d8470112c771208ef4c65335c7b6546aaf5c28756cb1a34340cf78741c09897486aac4563d19b847571c1487a9ec72076d732dec010a00390fe92c0054453570f2d8a554ca8fb9f8371b0ceacd51e202221414');
INSERT INTO public.steps VALUES (5, 'ask', 0, 1, 1500, 1795252614267, '\x28b52ffd60cf003d0a00d697492e8027690e3330530906d3330c6ac59a6dd8fe165b9a08692e776b217b571431f4143023c486e3b7ed9ba2e92674173c003a003e00bd32ae648e9e4c85a737b8ca914ed9e909dc66b1722de3e28c745e56ca34ad9a855179f495c00620000ae88266597021b04ee67d7a5bd5cc8b923923a7592e72d4f561e5b81c65bbe8d39ab45d9c7512b80bebc0d31bb9de9b7cf40655614be1e90d1546e64576f486972e932d826c3bba4bd63dbd09e98bb6f8ce48d764f13c6a9c40efe13d8ead43f07465181956a99a36a8ef45a6f248c1615c96ba70d4f51330ef3b3a83060c0f8e3234386890064e5218038d8602914867a5c4d8470112c771208ef4c65335c7b6546aaf5c28756cb1a34340cf78741c09897486aac4563d19b847571c1487a9ec72076d732dec010a00390fe92c0054453570f2d8a554ca8fb9f8371b0ceacd51e202221414');
INSERT INTO public.steps VALUES (7, 'gather', 0, 1, 250, 1795252614288, '\x28b52ffd2019c900007b227469746c65223a202249742069732062726f6b656e227d');
INSERT INTO public.turns VALUES (7, 'github', 1795253214291);
SELECT pg_catalog.setval('public.analyses_id_seq', 2, true);
SELECT pg_catalog.setval('public.calls_id_seq', 4, true);
SELECT pg_catalog.setval('public.deliveries_id_seq', 8, true);
ALTER TABLE ONLY public.analyses
    ADD CONSTRAINT analyses_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.calls
    ADD CONSTRAINT calls_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.checks
    ADD CONSTRAINT checks_pkey PRIMARY KEY (repository_id, identity, head_sha, name);
ALTER TABLE ONLY public.comments
    ADD CONSTRAINT comments_pkey PRIMARY KEY (repository_id, identity, number, family);
ALTER TABLE ONLY public.corrections
    ADD CONSTRAINT corrections_pkey PRIMARY KEY (repository_id, identity, number, said);
ALTER TABLE ONLY public.counters
    ADD CONSTRAINT counters_pkey PRIMARY KEY (name, label);
ALTER TABLE ONLY public.deliveries
    ADD CONSTRAINT deliveries_guid_key UNIQUE (guid);
ALTER TABLE ONLY public.deliveries
    ADD CONSTRAINT deliveries_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.findings
    ADD CONSTRAINT findings_pkey PRIMARY KEY (analysis_id, "position");
ALTER TABLE ONLY public.forgotten_calls
    ADD CONSTRAINT forgotten_calls_pkey PRIMARY KEY (prompt_id);
ALTER TABLE ONLY public.hls_version
    ADD CONSTRAINT hls_version_pkc PRIMARY KEY (version_num);
ALTER TABLE ONLY public.identities
    ADD CONSTRAINT identities_pkey PRIMARY KEY (fingerprint);
ALTER TABLE ONLY public.keys
    ADD CONSTRAINT keys_pkey PRIMARY KEY (name);
ALTER TABLE ONLY public.labels
    ADD CONSTRAINT labels_pkey PRIMARY KEY (repository_id, identity, number, name);
ALTER TABLE ONLY public.locks
    ADD CONSTRAINT locks_pkey PRIMARY KEY (name);
ALTER TABLE ONLY public.pace
    ADD CONSTRAINT pace_pkey PRIMARY KEY (name);
ALTER TABLE ONLY public.pauses
    ADD CONSTRAINT pauses_pkey PRIMARY KEY (name);
ALTER TABLE ONLY public.repository_file_tellings
    ADD CONSTRAINT repository_file_tellings_pkey PRIMARY KEY (repository_id, identity, version);
ALTER TABLE ONLY public.repository_files
    ADD CONSTRAINT repository_files_pkey PRIMARY KEY (repository_id, identity);
ALTER TABLE ONLY public.reviews
    ADD CONSTRAINT reviews_pkey PRIMARY KEY (repository_id, identity, number, head_sha, family);
ALTER TABLE ONLY public.run_ends
    ADD CONSTRAINT run_ends_pkey PRIMARY KEY (repository_id, run_id, attempt);
ALTER TABLE ONLY public.step_failures
    ADD CONSTRAINT step_failures_pkey PRIMARY KEY (repository_id, run_id, attempt, job, step);
ALTER TABLE ONLY public.steps
    ADD CONSTRAINT steps_pkey PRIMARY KEY (delivery_id, name, step_index);
ALTER TABLE ONLY public.turns
    ADD CONSTRAINT turns_pkey PRIMARY KEY (delivery_id, pace);
ALTER TABLE ONLY public.analyses
    ADD CONSTRAINT uq_analyses_step UNIQUE (delivery_id, step_index);
CREATE INDEX ix_calls_delivery ON public.calls USING btree (delivery_id);
CREATE INDEX ix_calls_prompt ON public.calls USING btree (prompt_id, outcome, cost_micro_usd, id);
CREATE INDEX ix_calls_started ON public.calls USING btree (started_at);
CREATE INDEX ix_corrections_newest ON public.corrections USING btree (repository_id, identity, noted_at);
CREATE INDEX ix_deliveries_body ON public.deliveries USING btree (finished_at) WHERE ((finished_at IS NOT NULL) AND (body IS NOT NULL));
CREATE INDEX ix_deliveries_body_of ON public.deliveries USING btree (repository, number, digest);
CREATE INDEX ix_deliveries_commit ON public.deliveries USING btree (thread_key, state, head_sha) WHERE ((state = 'queued'::text) AND (event = 'pull_request'::text));
CREATE INDEX ix_deliveries_dead ON public.deliveries USING btree (id) WHERE (state = 'dead'::text);
CREATE INDEX ix_deliveries_finished ON public.deliveries USING btree (finished_at) WHERE (finished_at IS NOT NULL);
CREATE INDEX ix_deliveries_lease ON public.deliveries USING btree (lease_until) WHERE (state = 'running'::text);
CREATE INDEX ix_deliveries_queued ON public.deliveries USING btree (behind, rank, id, due_at, thread_key) WHERE (state = 'queued'::text);
CREATE INDEX ix_deliveries_said_on ON public.deliveries USING btree (repository, said_on) WHERE (said_on IS NOT NULL);
CREATE INDEX ix_deliveries_thread ON public.deliveries USING btree (thread_key, state, id);
CREATE INDEX ix_locks_delivery ON public.locks USING btree (delivery_id);
CREATE INDEX ix_run_ends_workflow ON public.run_ends USING btree (repository_id, workflow_id, run_number);
CREATE INDEX ix_step_failures_workflow ON public.step_failures USING btree (repository_id, workflow_id, noted_at);
CREATE UNIQUE INDEX uq_deliveries_one_running_per_thread ON public.deliveries USING btree (thread_key) WHERE (state = 'running'::text);
ALTER TABLE ONLY public.analyses
    ADD CONSTRAINT analyses_delivery_id_fkey FOREIGN KEY (delivery_id) REFERENCES public.deliveries(id) ON DELETE CASCADE;
ALTER TABLE ONLY public.calls
    ADD CONSTRAINT calls_delivery_id_fkey FOREIGN KEY (delivery_id) REFERENCES public.deliveries(id) ON DELETE CASCADE;
ALTER TABLE ONLY public.findings
    ADD CONSTRAINT findings_analysis_id_fkey FOREIGN KEY (analysis_id) REFERENCES public.analyses(id) ON DELETE CASCADE;
ALTER TABLE ONLY public.locks
    ADD CONSTRAINT locks_delivery_id_fkey FOREIGN KEY (delivery_id) REFERENCES public.deliveries(id) ON DELETE CASCADE;
ALTER TABLE ONLY public.steps
    ADD CONSTRAINT steps_delivery_id_fkey FOREIGN KEY (delivery_id) REFERENCES public.deliveries(id) ON DELETE CASCADE;
ALTER TABLE ONLY public.turns
    ADD CONSTRAINT turns_delivery_id_fkey FOREIGN KEY (delivery_id) REFERENCES public.deliveries(id) ON DELETE CASCADE;
