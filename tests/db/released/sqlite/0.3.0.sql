BEGIN TRANSACTION;
CREATE TABLE analyses (
	delivery_id INTEGER NOT NULL, 
	step_index INTEGER NOT NULL, 
	prompt_id TEXT NOT NULL, 
	reply_type TEXT NOT NULL, 
	model TEXT NOT NULL, 
	reply TEXT NOT NULL, 
	analysed_at BIGINT NOT NULL, 
	PRIMARY KEY (delivery_id, step_index), 
	FOREIGN KEY(delivery_id) REFERENCES deliveries (id) ON DELETE CASCADE
);
INSERT INTO "analyses" VALUES(1,0,'issues/analyze@3f9c2a','issue_analysis','claude-haiku-4-5','{"worth_saying":true,"kind":"bug","priority":"high","difficulty":"easy","component":"backend","summary":"Saving a widget twice loses the first one: Grüße 😀","missing":["the version"],"recommended_response":"Which version is it?","suggested_labels":[]}',1795392339911);
CREATE TABLE bot_accounts (
	fingerprint TEXT NOT NULL, 
	login TEXT NOT NULL, 
	account_id BIGINT NOT NULL, 
	account_type TEXT NOT NULL, 
	PRIMARY KEY (fingerprint)
);
INSERT INTO "bot_accounts" VALUES('ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff','hls-bot',2,'User');
CREATE TABLE calls (
	id INTEGER NOT NULL, 
	delivery_id INTEGER NOT NULL, 
	step_index INTEGER NOT NULL, 
	conversation_key TEXT, 
	prompt_id TEXT NOT NULL, 
	model TEXT NOT NULL, 
	started_at BIGINT NOT NULL, 
	finished_at BIGINT, 
	outcome TEXT, 
	error TEXT, 
	input_tokens BIGINT, 
	output_tokens BIGINT, 
	cache_write_tokens BIGINT, 
	cache_read_tokens BIGINT, 
	cost_micro_usd BIGINT, 
	duration_ms BIGINT, request_id TEXT, 
	PRIMARY KEY (id), 
	FOREIGN KEY(delivery_id) REFERENCES deliveries (id) ON DELETE CASCADE
);
INSERT INTO "calls" VALUES(1,1,0,'1#1','issues/analyze@3f9c2a','claude-haiku-4-5',1795392339907,1795392339910,'ok',NULL,1200,80,0,0,1600,1500,NULL);
INSERT INTO "calls" VALUES(2,1,0,'1#1','issues/analyze@3f9c2a','claude-haiku-4-5',1795392339917,1795392339917,'invalid','the reply lacks kind',1200,80,0,0,1600,1500,NULL);
INSERT INTO "calls" VALUES(3,5,0,'1#5','issues/analyze@3f9c2a','claude-haiku-4-5',1795392339986,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL);
CREATE TABLE checkpoints (
	delivery_id INTEGER NOT NULL, 
	name TEXT NOT NULL, 
	step_index INTEGER NOT NULL, 
	version INTEGER NOT NULL, 
	duration_ms BIGINT NOT NULL, 
	value BLOB NOT NULL, 
	PRIMARY KEY (delivery_id, name, step_index), 
	FOREIGN KEY(delivery_id) REFERENCES deliveries (id) ON DELETE CASCADE
);
INSERT INTO "checkpoints" VALUES(1,'route',0,1,0,X'28B52FFD202C610100226973737565732E6F70656E656420697320656E61626C6564202873657474696E67732E79616D6C3A332922');
INSERT INTO "checkpoints" VALUES(1,'ask',0,1,1500,X'28B52FFD60F600FD0A0096194E2F8027690E3330530906D3330C6AC59A6DD8FE16D9D19B5A1BB99BC95EBBFD164ECF006684181FC56FDB3745D34DE82E400041004000C9BAA737BD32AE648E9ECCC5D31B5CE548A7ECF4046EB358B996B171473A2F2B659A56CD63541E7D2530020C00067441F3165C08AC93799FDE5635B344C9DC110F8E3A3C387890074E52184FB35CC651D78795E33BCAB6D1A73569DB38EB24701B1682A737722DCBE4A337A80A5B8BA73754189925B2A337BCF44DB60CC6B6A3BBEBB1A73F6D71B9235D93C5F3E8C1B090CE4F17EBA9A6CD9A24057A0FEF716C5D82A72BC3C8B04AD5B4415D96C8541E311CC665A90D475D7F817997A33368E0108FC77B13B24E052A8F14128A74564A8C7D244081200924BDF154CDB12D95DA2B1B4A1D5BEC0819D0331E214882229DA12AB1554F06EED11510011053D9E510DA660C00345FC3CB79486701A02A2A84C3F1F19AE9D257CA8F91F8372F0C8AE6A87B01110A0A');
INSERT INTO "checkpoints" VALUES(5,'gather',0,1,250,X'28B52FFD2019C900007B227469746C65223A202249742069732062726F6B656E227D');
CREATE TABLE comments (
	repository_id BIGINT NOT NULL, 
	bot_login TEXT NOT NULL, 
	number BIGINT NOT NULL, 
	family TEXT NOT NULL, 
	comment_id BIGINT NOT NULL, 
	body_digest TEXT NOT NULL, state TEXT, 
	PRIMARY KEY (repository_id, bot_login, number, family)
);
INSERT INTO "comments" VALUES(1,'hls-bot',1,'issues',11,'digest',NULL);
CREATE TABLE corrections (
	repository_id BIGINT NOT NULL, 
	bot_login TEXT NOT NULL, 
	number BIGINT NOT NULL, 
	label TEXT NOT NULL, 
	field TEXT NOT NULL, 
	corrected_to TEXT NOT NULL, 
	title TEXT NOT NULL, 
	prompt_id TEXT NOT NULL, 
	is_pull_request BOOLEAN NOT NULL, 
	set_at BIGINT NOT NULL, 
	recorded_at BIGINT NOT NULL, 
	PRIMARY KEY (repository_id, bot_login, number, label)
);
INSERT INTO "corrections" VALUES(1,'hls-bot',1,'bug','kind','question','It is broken','issues/analyze@3f9c2a',0,1795392339924,1795392339934);
CREATE TABLE counters (
	name TEXT NOT NULL, 
	label TEXT NOT NULL, 
	value BIGINT NOT NULL, 
	PRIMARY KEY (name, label)
);
INSERT INTO "counters" VALUES('event','issues.opened',6);
INSERT INTO "counters" VALUES('repository','octo/widgets',7);
INSERT INTO "counters" VALUES('webhooks','',7);
INSERT INTO "counters" VALUES('last_webhook','',1795392339843);
INSERT INTO "counters" VALUES('last_webhook','octo/widgets',1795392339843);
INSERT INTO "counters" VALUES('claude_calls','unfinished',1);
INSERT INTO "counters" VALUES('prompt_calls','issues/analyze@3f9c2a',4);
INSERT INTO "counters" VALUES('claude_calls','ok',2);
INSERT INTO "counters" VALUES('cost_micro_usd','',4800);
INSERT INTO "counters" VALUES('prompt_cost_micro_usd','issues/analyze@3f9c2a',4800);
INSERT INTO "counters" VALUES('repository_cost_micro_usd','octo/widgets',4800);
INSERT INTO "counters" VALUES('tokens','input',3600);
INSERT INTO "counters" VALUES('tokens','output',240);
INSERT INTO "counters" VALUES('event_github_deliveries','issues.opened',3);
INSERT INTO "counters" VALUES('outcome','done',2);
INSERT INTO "counters" VALUES('processing_count','',2);
INSERT INTO "counters" VALUES('processing_le','0.1',2);
INSERT INTO "counters" VALUES('processing_ms','',91);
INSERT INTO "counters" VALUES('repository_outcome','octo/widgets:done',2);
INSERT INTO "counters" VALUES('claude_calls','invalid',1);
INSERT INTO "counters" VALUES('label_set','issues/analyze@3f9c2a:kind',1);
INSERT INTO "counters" VALUES('label_corrected','issues/analyze@3f9c2a:kind',1);
INSERT INTO "counters" VALUES('handler','IssueHandler:done',1);
INSERT INTO "counters" VALUES('event','watch.started',1);
INSERT INTO "counters" VALUES('ignored','event not enabled',1);
INSERT INTO "counters" VALUES('outcome','ignored',1);
INSERT INTO "counters" VALUES('repository_outcome','octo/widgets:ignored',1);
INSERT INTO "counters" VALUES('handler','IssueHandler:dead',1);
INSERT INTO "counters" VALUES('outcome','dead',1);
INSERT INTO "counters" VALUES('repository_outcome','octo/widgets:dead',1);
CREATE TABLE deleted_calls (
	prompt_id TEXT NOT NULL, 
	replies BIGINT NOT NULL, 
	cost_micro_usd BIGINT NOT NULL, 
	calls_of_unknown_cost BIGINT NOT NULL, 
	last_error TEXT, 
	last_error_at BIGINT, 
	PRIMARY KEY (prompt_id)
);
INSERT INTO "deleted_calls" VALUES('issues/analyze@3f9c2a',1,1600,0,NULL,NULL);
CREATE TABLE deliveries (
	id INTEGER NOT NULL, 
	guid TEXT NOT NULL, 
	event TEXT NOT NULL, 
	action TEXT, 
	request_id TEXT NOT NULL, 
	state TEXT NOT NULL, 
	reason TEXT, 
	reason_kind TEXT, 
	repository_id BIGINT, 
	repository TEXT, 
	number BIGINT, 
	head_sha TEXT, 
	conversation_key TEXT, 
	posted_on BIGINT, 
	priority INTEGER DEFAULT '0' NOT NULL, 
	sort_key BIGINT DEFAULT '0' NOT NULL, 
	received_at BIGINT NOT NULL, 
	queued_at BIGINT NOT NULL, 
	due_at BIGINT NOT NULL, 
	finished_at BIGINT, 
	duration_ms BIGINT, 
	handler TEXT, 
	worker TEXT, 
	lease_until BIGINT, 
	attempt INTEGER DEFAULT '0' NOT NULL, 
	attempts INTEGER DEFAULT '0' NOT NULL, 
	failures INTEGER DEFAULT '0' NOT NULL, 
	crashes INTEGER DEFAULT '0' NOT NULL, 
	has_progress BOOLEAN DEFAULT 0 NOT NULL, 
	first_failure_at BIGINT, 
	analysis_status TEXT, 
	analysis_error TEXT, 
	posting_status TEXT, 
	posting_error TEXT, 
	digest BLOB, 
	body BLOB, github_requests BIGINT, 
	PRIMARY KEY (id), 
	CONSTRAINT ck_deliveries_state CHECK (state IN ('queued', 'running', 'done', 'ignored', 'superseded', 'dead')), 
	UNIQUE (guid)
);
INSERT INTO "deliveries" VALUES(1,'done','issues','opened','request-done','done','labels bug',NULL,1,'octo/widgets',1,NULL,'1#1',NULL,0,1795392339904,1795392339904,1795392339904,1795392339904,1795392339957,2500,'IssueHandler',NULL,NULL,1,0,0,0,1,NULL,'done',NULL,'done',NULL,X'8162F4B1208DD32526B469A7FD3D2E090D457F65C011559E5D2D724BD69570B9',X'28B52FFD2014A100007B2264656C6976657279223A2022646F6E65227D',0);
INSERT INTO "deliveries" VALUES(2,'ignored','watch','started','request-ignored','ignored','not enabled','event not enabled',1,'octo/widgets',NULL,NULL,NULL,NULL,0,1795392339958,1795392339958,1795392339958,1795392339958,1795392339958,NULL,NULL,NULL,NULL,0,0,0,0,0,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL);
INSERT INTO "deliveries" VALUES(3,'dead','issues','opened','request-dead','dead','issue is locked',NULL,1,'octo/widgets',3,NULL,'1#3',NULL,0,1795392339964,1795392339964,1795392339964,1795392339964,1795392339967,NULL,'IssueHandler',NULL,NULL,1,0,0,0,0,NULL,NULL,NULL,NULL,NULL,X'D2EBC591353E8B0B3C42272FC59DFF7C08641BBCD2C6E94866FE5A69EC9208EE',X'28B52FFD2014A100007B2264656C6976657279223A202264656164227D',0);
INSERT INTO "deliveries" VALUES(4,'postponed','issues','opened','request-postponed','queued','GitHub is down',NULL,1,'octo/widgets',4,NULL,'1#4',NULL,0,1795392339968,1795392339968,1795392339968,1795478739974,NULL,NULL,NULL,NULL,NULL,1,1,1,0,0,1795392339976,NULL,NULL,NULL,NULL,X'DB31CE846D0029E8E211D8C28B11B4A17CF0DC543DC16705C690BEFCF689ABF1',X'28B52FFD2019C900007B2264656C6976657279223A2022706F7374706F6E6564227D',0);
INSERT INTO "deliveries" VALUES(5,'running','issues','opened','request-running','running',NULL,NULL,1,'octo/widgets',5,NULL,'1#5',NULL,0,1795392339979,1795392339979,1795392339979,1795392339979,NULL,NULL,NULL,'worker',1795392369982,1,0,0,0,1,NULL,NULL,NULL,NULL,NULL,X'CE215EF1C309416FA0C890BF6A7D848A041FDF3AF73430449CACC974EB0AE89E',X'28B52FFD2017B900007B2264656C6976657279223A202272756E6E696E67227D',NULL);
INSERT INTO "deliveries" VALUES(6,'queued','issues','opened','request-queued','queued',NULL,NULL,1,'octo/widgets',6,NULL,'1#6',NULL,0,1795392339994,1795392339994,1795392339994,1795392339994,NULL,NULL,NULL,NULL,NULL,0,0,0,0,0,NULL,NULL,NULL,NULL,NULL,X'CC04D637A76F7AB3BD996C6570C65C6379D6C8D053CC7D6F3D3F0BA0440AE0F2',X'28B52FFD2016B100007B2264656C6976657279223A2022717565756564227D',NULL);
CREATE TABLE hls_version (
	version_num VARCHAR(32) NOT NULL, 
	CONSTRAINT hls_version_pkc PRIMARY KEY (version_num)
);
INSERT INTO "hls_version" VALUES('0.3.0');
CREATE TABLE labels (
	repository_id BIGINT NOT NULL, 
	bot_login TEXT NOT NULL, 
	number BIGINT NOT NULL, 
	name TEXT NOT NULL, 
	state TEXT NOT NULL, 
	field TEXT, 
	prompt_id TEXT, 
	set_at BIGINT, 
	PRIMARY KEY (repository_id, bot_login, number, name)
);
INSERT INTO "labels" VALUES(1,'hls-bot',1,'bug','set','kind','issues/analyze@3f9c2a',1795392339924);
INSERT INTO "labels" VALUES(1,'hls-bot',1,'priority-high','intended',NULL,NULL,NULL);
CREATE TABLE locks (
	name TEXT NOT NULL, 
	delivery_id INTEGER NOT NULL, 
	locked_until BIGINT NOT NULL, 
	PRIMARY KEY (name), 
	FOREIGN KEY(delivery_id) REFERENCES deliveries (id) ON DELETE CASCADE
);
INSERT INTO "locks" VALUES('1#5/issues',5,1795392399985);
CREATE TABLE pauses (
	name TEXT NOT NULL, 
	repository TEXT, 
	reason TEXT, 
	paused_at BIGINT NOT NULL, 
	PRIMARY KEY (name)
);
INSERT INTO "pauses" VALUES('octo/gadgets','octo/Gadgets','an incident',1795392339997);
CREATE TABLE rate_limits (
	name TEXT NOT NULL, 
	next_at BIGINT NOT NULL, 
	held_until BIGINT NOT NULL, 
	last_slot_at BIGINT NOT NULL, 
	PRIMARY KEY (name)
);
INSERT INTO "rate_limits" VALUES('claude',1795392339986,0,1795392339986);
INSERT INTO "rate_limits" VALUES('github',1795393539988,0,1795392339988);
CREATE TABLE repository_file_reports (
	repository_id BIGINT NOT NULL, 
	bot_login TEXT NOT NULL, 
	version TEXT NOT NULL, 
	guid TEXT NOT NULL, 
	PRIMARY KEY (repository_id, bot_login, version)
);
INSERT INTO "repository_file_reports" VALUES(1,'hls-bot','abc','done');
CREATE TABLE repository_files (
	repository_id BIGINT NOT NULL, 
	bot_login TEXT NOT NULL, 
	repository TEXT NOT NULL, 
	read_at BIGINT NOT NULL, 
	version TEXT, 
	text TEXT, 
	error TEXT, 
	valid_version TEXT, 
	valid_text TEXT, 
	PRIMARY KEY (repository_id, bot_login)
);
INSERT INTO "repository_files" VALUES(1,'hls-bot','octo/widgets',1795392339950,'abc','enabled: true
',NULL,NULL,NULL);
CREATE TABLE run_results (
	repository_id BIGINT NOT NULL, 
	run_id BIGINT NOT NULL, 
	attempt INTEGER NOT NULL, 
	workflow_id BIGINT NOT NULL, 
	event TEXT NOT NULL, 
	branch TEXT NOT NULL, 
	run_number BIGINT NOT NULL, 
	passed BOOLEAN NOT NULL, 
	head_sha TEXT NOT NULL, 
	recorded_at BIGINT NOT NULL, 
	PRIMARY KEY (repository_id, run_id, attempt)
);
INSERT INTO "run_results" VALUES(1,3,1,9,'push','main',4,0,'bbb',1795392339934);
CREATE TABLE secrets (
	name TEXT NOT NULL, 
	value BLOB NOT NULL, 
	PRIMARY KEY (name)
);
INSERT INTO "secrets" VALUES('prompt-delimiters',X'DEA1AD5C21C236A4DAC1BA196B774870E63587AB24FA968447925E94296CDDA7');
CREATE TABLE slots (
	delivery_id INTEGER NOT NULL, 
	rate_limit TEXT NOT NULL, 
	slot_at BIGINT NOT NULL, 
	PRIMARY KEY (delivery_id, rate_limit), 
	FOREIGN KEY(delivery_id) REFERENCES deliveries (id) ON DELETE CASCADE
);
INSERT INTO "slots" VALUES(5,'github',1795392939988);
CREATE TABLE step_failures (
	repository_id BIGINT NOT NULL, 
	run_id BIGINT NOT NULL, 
	attempt INTEGER NOT NULL, 
	job TEXT NOT NULL, 
	step TEXT NOT NULL, 
	workflow_id BIGINT NOT NULL, 
	branch TEXT NOT NULL, 
	head_sha TEXT NOT NULL, 
	recorded_at BIGINT NOT NULL, 
	PRIMARY KEY (repository_id, run_id, attempt, job, step)
);
INSERT INTO "step_failures" VALUES(1,3,1,'tests','pytest',9,'main','bbb',1795392339934);
CREATE INDEX ix_corrections_newest ON corrections (repository_id, bot_login, recorded_at);
CREATE INDEX ix_deliveries_commit ON deliveries (conversation_key, state, head_sha) WHERE state = 'queued' AND event = 'pull_request';
CREATE INDEX ix_deliveries_conversation ON deliveries (conversation_key, state, id);
CREATE INDEX ix_deliveries_dead ON deliveries (id) WHERE state = 'dead';
CREATE INDEX ix_deliveries_digest ON deliveries (digest) WHERE digest IS NOT NULL;
CREATE INDEX ix_deliveries_finished ON deliveries (finished_at) WHERE finished_at IS NOT NULL;
CREATE INDEX ix_deliveries_finished_with_body ON deliveries (finished_at) WHERE finished_at IS NOT NULL AND body IS NOT NULL;
CREATE INDEX ix_deliveries_lease ON deliveries (lease_until) WHERE state = 'running';
CREATE INDEX ix_deliveries_number ON deliveries (repository, number);
CREATE INDEX ix_deliveries_posted_on ON deliveries (repository, posted_on) WHERE posted_on IS NOT NULL;
CREATE INDEX ix_deliveries_queued ON deliveries (sort_key, id, due_at, conversation_key) WHERE state = 'queued';
CREATE UNIQUE INDEX uq_deliveries_one_running_per_conversation ON deliveries (conversation_key) WHERE state = 'running';
CREATE INDEX ix_run_results_workflow ON run_results (repository_id, workflow_id, run_number);
CREATE INDEX ix_step_failures_workflow ON step_failures (repository_id, workflow_id, recorded_at);
CREATE INDEX ix_calls_delivery ON calls (delivery_id);
CREATE INDEX ix_calls_prompt ON calls (prompt_id, outcome, cost_micro_usd, id);
CREATE INDEX ix_calls_started ON calls (started_at);
CREATE INDEX ix_locks_delivery ON locks (delivery_id);
COMMIT;
