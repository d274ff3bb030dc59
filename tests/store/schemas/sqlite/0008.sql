BEGIN TRANSACTION;
CREATE TABLE analyses (
	id INTEGER NOT NULL, 
	delivery_id INTEGER NOT NULL, 
	step_index INTEGER NOT NULL, 
	prompt_id TEXT NOT NULL, 
	reply_type TEXT NOT NULL, 
	model TEXT NOT NULL, 
	reply TEXT NOT NULL, 
	analysed_at BIGINT NOT NULL, 
	PRIMARY KEY (id), 
	FOREIGN KEY(delivery_id) REFERENCES deliveries (id) ON DELETE CASCADE, 
	CONSTRAINT uq_analyses_step UNIQUE (delivery_id, step_index)
);
INSERT INTO "analyses" VALUES(1,1,0,'issues/analyze@3f9c2a','issue_analysis','claude-haiku-5-5','{"worth_saying":true,"kind":"bug","priority":"high","difficulty":"easy","component":"backend","summary":"Saving a widget twice loses the first one: Grüße 😀","missing":["the version"],"recommended_response":"Which version is it?"}',1795252612984);
INSERT INTO "analyses" VALUES(2,3,0,'pull_requests/analyze@111111','pull_request_analysis','claude-haiku-5-5','{"worth_saying":true,"type":"bug-fix","summary":"Squares.","files":[],"findings":[{"path":"area.py","side":"RIGHT","start_line":null,"line":2,"quote":"return side ** 2","severity":"high","category":"bugs","confidence":0.8,"title":"Squares only","body":"A rectangle has two sides.","suggestion":null}]}',1795252613063);
CREATE TABLE calls (
	id INTEGER NOT NULL, 
	delivery_id INTEGER NOT NULL, 
	step_index INTEGER NOT NULL, 
	thread_key TEXT, 
	prompt_id TEXT NOT NULL, 
	model TEXT NOT NULL, 
	sender TEXT, 
	started_at BIGINT NOT NULL, 
	finished_at BIGINT, 
	outcome TEXT, 
	error TEXT, 
	input_tokens BIGINT, 
	output_tokens BIGINT, 
	cache_write_tokens BIGINT, 
	cache_read_tokens BIGINT, 
	cost_micro_usd BIGINT, 
	took_ms BIGINT, 
	PRIMARY KEY (id), 
	FOREIGN KEY(delivery_id) REFERENCES deliveries (id) ON DELETE CASCADE
);
INSERT INTO "calls" VALUES(1,1,0,'1#1','issues/analyze@3f9c2a','claude-haiku-5-5','mona',1795252612980,1795252612983,'ok',NULL,1200,80,0,0,160,1500);
INSERT INTO "calls" VALUES(2,1,0,'1#1','issues/analyze@3f9c2a','claude-haiku-5-5','mona',1795252612985,1795252612985,'invalid','the reply lacks kind',1200,80,0,0,160,1500);
INSERT INTO "calls" VALUES(3,3,0,'1#7','issues/analyze@3f9c2a','claude-haiku-5-5','mona',1795252613062,1795252613063,'ok',NULL,1200,80,0,0,160,1500);
INSERT INTO "calls" VALUES(4,7,0,'1#5','issues/analyze@3f9c2a','claude-haiku-5-5','mona',1795252613084,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL);
CREATE TABLE checks (
	repository_id BIGINT NOT NULL, 
	identity TEXT NOT NULL, 
	head_sha TEXT NOT NULL, 
	name TEXT NOT NULL, 
	check_id BIGINT, 
	conclusion TEXT, 
	changed_at BIGINT NOT NULL, 
	PRIMARY KEY (repository_id, identity, head_sha, name)
);
INSERT INTO "checks" VALUES(1,'hls-bot','bbb','HLS',NULL,'success',1);
CREATE TABLE comments (
	repository_id BIGINT NOT NULL, 
	identity TEXT NOT NULL, 
	number BIGINT NOT NULL, 
	family TEXT NOT NULL, 
	comment_id BIGINT NOT NULL, 
	body_digest TEXT NOT NULL, 
	changed_at BIGINT NOT NULL, 
	PRIMARY KEY (repository_id, identity, number, family)
);
INSERT INTO "comments" VALUES(1,'hls-bot',1,'issues',11,'digest',1795252612990);
CREATE TABLE corrections (
	repository_id BIGINT NOT NULL, 
	identity TEXT NOT NULL, 
	number BIGINT NOT NULL, 
	said TEXT NOT NULL, 
	field TEXT NOT NULL, 
	became TEXT NOT NULL, 
	title TEXT NOT NULL, 
	prompt_id TEXT NOT NULL, 
	is_pull_request BOOLEAN NOT NULL, 
	set_at BIGINT NOT NULL, 
	noted_at BIGINT NOT NULL, 
	PRIMARY KEY (repository_id, identity, number, said)
);
INSERT INTO "corrections" VALUES(1,'hls-bot',1,'bug','kind','question','It is broken','issues/analyze@3f9c2a',0,1,2);
CREATE TABLE counters (
	name TEXT NOT NULL, 
	label TEXT NOT NULL, 
	value BIGINT NOT NULL, 
	PRIMARY KEY (name, label)
);
INSERT INTO "counters" VALUES('event','issues.opened',6);
INSERT INTO "counters" VALUES('repository','octo/widgets',8);
INSERT INTO "counters" VALUES('webhooks','',8);
INSERT INTO "counters" VALUES('last_webhook','',1795252612967);
INSERT INTO "counters" VALUES('last_webhook','octo/widgets',1795252612967);
INSERT INTO "counters" VALUES('claude_calls','ok',2);
INSERT INTO "counters" VALUES('cost_micro_usd','',480);
INSERT INTO "counters" VALUES('prompt_calls','issues/analyze@3f9c2a',3);
INSERT INTO "counters" VALUES('prompt_cost_micro_usd','issues/analyze@3f9c2a',480);
INSERT INTO "counters" VALUES('tokens','cache_read',0);
INSERT INTO "counters" VALUES('tokens','cache_write',0);
INSERT INTO "counters" VALUES('tokens','input',3600);
INSERT INTO "counters" VALUES('tokens','output',240);
INSERT INTO "counters" VALUES('claude_calls','invalid',1);
INSERT INTO "counters" VALUES('handler','IssueHandler:done',1);
INSERT INTO "counters" VALUES('outcome','done',2);
INSERT INTO "counters" VALUES('processing_count','',2);
INSERT INTO "counters" VALUES('processing_le','0.1',2);
INSERT INTO "counters" VALUES('processing_ms','',33);
INSERT INTO "counters" VALUES('repository_outcome','octo/widgets:done',2);
INSERT INTO "counters" VALUES('event','pull_request.synchronize',2);
INSERT INTO "counters" VALUES('outcome','superseded',1);
INSERT INTO "counters" VALUES('repository_outcome','octo/widgets:superseded',1);
INSERT INTO "counters" VALUES('handler','PullRequestHandler:done',1);
INSERT INTO "counters" VALUES('ignored','event not enabled',1);
INSERT INTO "counters" VALUES('outcome','ignored',1);
INSERT INTO "counters" VALUES('repository_outcome','octo/widgets:ignored',1);
INSERT INTO "counters" VALUES('handler','IssueHandler:dead',1);
INSERT INTO "counters" VALUES('outcome','dead',1);
INSERT INTO "counters" VALUES('repository_outcome','octo/widgets:dead',1);
INSERT INTO "counters" VALUES('outcome','pong',1);
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
	installation BIGINT, 
	number BIGINT, 
	head_sha TEXT, 
	sender TEXT, 
	thread_key TEXT, 
	priority INTEGER DEFAULT '0' NOT NULL, 
	received_at BIGINT NOT NULL, 
	queued_at BIGINT NOT NULL, 
	due_at BIGINT NOT NULL, 
	finished_at BIGINT, 
	took_ms BIGINT, 
	handler TEXT, 
	worker TEXT, 
	lease_until BIGINT, 
	attempt INTEGER DEFAULT '0' NOT NULL, 
	attempts INTEGER DEFAULT '0' NOT NULL, 
	failures INTEGER DEFAULT '0' NOT NULL, 
	crashes INTEGER DEFAULT '0' NOT NULL, 
	progressed BOOLEAN DEFAULT 0 NOT NULL, 
	first_failure_at BIGINT, 
	analysis_status TEXT, 
	analysis_error TEXT, 
	posting_status TEXT, 
	posting_error TEXT, 
	digest BLOB, 
	body BLOB, said_on BIGINT, rank BIGINT DEFAULT '0' NOT NULL, behind BOOLEAN DEFAULT 0 NOT NULL, 
	PRIMARY KEY (id), 
	CONSTRAINT ck_deliveries_state CHECK (state IN ('queued', 'running', 'done', 'ignored', 'superseded', 'dead')), 
	UNIQUE (guid)
);
INSERT INTO "deliveries" VALUES(1,'done','issues','opened','request-done','done','labels bug',NULL,1,'octo/widgets',NULL,1,NULL,'mona','1#1',0,1795252612967,1795252612967,1795252612967,1795252612992,2500,'IssueHandler',NULL,NULL,1,0,0,0,1,NULL,'done',NULL,'done',NULL,X'8162F4B1208DD32526B469A7FD3D2E090D457F65C011559E5D2D724BD69570B9',X'28B52FFD2014A100007B2264656C6976657279223A2022646F6E65227D',NULL,1795252612967,0);
INSERT INTO "deliveries" VALUES(2,'superseded','pull_request','synchronize','request-superseded','superseded','a newer commit, bbb, was pushed before this one''s turn came (delivery reviewed)',NULL,1,'octo/widgets',NULL,7,'aaa','mona','1#7',0,1795252613056,1795252613056,1795252613056,1795252613057,NULL,NULL,NULL,NULL,0,0,0,0,0,NULL,NULL,NULL,NULL,NULL,X'3F41B3A061CD98E65D8AA52AFB9ADCAFB71E3612DB24E050EAAC90D178DA0CA1',X'28B52FFD201AD100007B2264656C6976657279223A202273757065727365646564227D',NULL,1795252613056,0);
INSERT INTO "deliveries" VALUES(3,'reviewed','pull_request','synchronize','request-reviewed','done','a comment',NULL,1,'octo/widgets',NULL,7,'bbb','mona','1#7',0,1795252613057,1795252613057,1795252613057,1795252613065,3000,'PullRequestHandler',NULL,NULL,1,0,0,0,0,NULL,NULL,NULL,NULL,NULL,X'3068D6459B57714A815A979836D6079B97CCDA64913E79F04B3B34BD99D104AB',X'28B52FFD2018C100007B2264656C6976657279223A20227265766965776564227D',NULL,1795252613057,0);
INSERT INTO "deliveries" VALUES(4,'ignored','issues','opened','request-ignored','ignored','not enabled','event not enabled',1,'octo/widgets',NULL,2,NULL,'mona','1#2',0,1795252613066,1795252613066,1795252613066,1795252613066,NULL,NULL,NULL,NULL,0,0,0,0,0,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,1795252613066,0);
INSERT INTO "deliveries" VALUES(5,'dead','issues','opened','request-dead','dead','issue is locked',NULL,1,'octo/widgets',NULL,3,NULL,'mona','1#3',0,1795252613067,1795252613067,1795252613067,1795252613071,NULL,'IssueHandler',NULL,NULL,1,0,0,0,1,NULL,NULL,NULL,NULL,NULL,X'D2EBC591353E8B0B3C42272FC59DFF7C08641BBCD2C6E94866FE5A69EC9208EE',X'28B52FFD2014A100007B2264656C6976657279223A202264656164227D',NULL,1795252613067,0);
INSERT INTO "deliveries" VALUES(6,'postponed','issues','opened','request-postponed','queued','GitHub is down',NULL,1,'octo/widgets',NULL,4,NULL,'mona','1#4',0,1795252613072,1795252613072,1795339013074,NULL,NULL,NULL,NULL,NULL,1,1,1,0,0,1795252613076,NULL,NULL,NULL,NULL,X'DB31CE846D0029E8E211D8C28B11B4A17CF0DC543DC16705C690BEFCF689ABF1',X'28B52FFD2019C900007B2264656C6976657279223A2022706F7374706F6E6564227D',NULL,1795252613072,0);
INSERT INTO "deliveries" VALUES(7,'running','issues','opened','request-running','running',NULL,NULL,1,'octo/widgets',NULL,5,NULL,'mona','1#5',0,1795252613077,1795252613077,1795252613077,NULL,NULL,NULL,'worker',1795252643078,1,0,0,0,1,NULL,NULL,NULL,NULL,NULL,X'CE215EF1C309416FA0C890BF6A7D848A041FDF3AF73430449CACC974EB0AE89E',X'28B52FFD2017B900007B2264656C6976657279223A202272756E6E696E67227D',NULL,1795252613077,0);
INSERT INTO "deliveries" VALUES(8,'queued','issues','opened','request-queued','queued',NULL,NULL,1,'octo/widgets',NULL,6,NULL,'mona','1#6',0,1795252613085,1795252613085,1795252613085,NULL,NULL,NULL,NULL,NULL,0,0,0,0,0,NULL,NULL,NULL,NULL,NULL,X'CC04D637A76F7AB3BD996C6570C65C6379D6C8D053CC7D6F3D3F0BA0440AE0F2',X'28B52FFD2016B100007B2264656C6976657279223A2022717565756564227D',NULL,1795252613085,0);
CREATE TABLE findings (
	analysis_id INTEGER NOT NULL, 
	position INTEGER NOT NULL, 
	path TEXT NOT NULL, 
	side TEXT NOT NULL, 
	start_line BIGINT, 
	line BIGINT NOT NULL, 
	quote TEXT NOT NULL, 
	severity TEXT NOT NULL, 
	category TEXT NOT NULL, 
	confidence FLOAT NOT NULL, 
	title TEXT NOT NULL, 
	body TEXT NOT NULL, 
	suggestion TEXT, 
	PRIMARY KEY (analysis_id, position), 
	FOREIGN KEY(analysis_id) REFERENCES analyses (id) ON DELETE CASCADE
);
INSERT INTO "findings" VALUES(2,0,'area.py','RIGHT',NULL,2,'return side ** 2','high','bugs',0.8,'Squares only','A rectangle has two sides.',NULL);
CREATE TABLE forgotten_calls (
	prompt_id TEXT NOT NULL, 
	answers BIGINT NOT NULL, 
	cost_micro_usd BIGINT NOT NULL, 
	calls_of_unknown_cost BIGINT NOT NULL, 
	last_error TEXT, 
	last_error_at BIGINT, 
	PRIMARY KEY (prompt_id)
);
INSERT INTO "forgotten_calls" VALUES('issues/analyze@3f9c2a',3,480,1,'Claude: refused',1);
CREATE TABLE hls_version (
	version_num VARCHAR(32) NOT NULL, 
	CONSTRAINT hls_version_pkc PRIMARY KEY (version_num)
);
INSERT INTO "hls_version" VALUES('0008');
CREATE TABLE identities (
	fingerprint TEXT NOT NULL, 
	login TEXT NOT NULL, 
	account_id BIGINT NOT NULL, 
	account_type TEXT NOT NULL, 
	seen_at BIGINT NOT NULL, 
	PRIMARY KEY (fingerprint)
);
INSERT INTO "identities" VALUES('ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff','hls-bot',2,'User',1);
CREATE TABLE keys (
	name TEXT NOT NULL, 
	value BLOB NOT NULL, 
	PRIMARY KEY (name)
);
INSERT INTO "keys" VALUES('prompt-delimiters',X'D60D819F50A85724F3E6CA838A2A41405D3882F5B929C66B9AB30C365FF255C9');
CREATE TABLE labels (
	repository_id BIGINT NOT NULL, 
	identity TEXT NOT NULL, 
	number BIGINT NOT NULL, 
	name TEXT NOT NULL, 
	state TEXT NOT NULL, 
	changed_at BIGINT NOT NULL, field TEXT, prompt_id TEXT, set_at BIGINT, 
	PRIMARY KEY (repository_id, identity, number, name)
);
INSERT INTO "labels" VALUES(1,'hls-bot',1,'bug','ours',1795252612989,NULL,NULL,1795252612989);
INSERT INTO "labels" VALUES(1,'hls-bot',1,'priority-high','intended',1795252612986,NULL,NULL,NULL);
CREATE TABLE locks (
	name TEXT NOT NULL, 
	delivery_id INTEGER NOT NULL, 
	locked_until BIGINT NOT NULL, 
	PRIMARY KEY (name), 
	FOREIGN KEY(delivery_id) REFERENCES deliveries (id) ON DELETE CASCADE
);
INSERT INTO "locks" VALUES('1#5/issues',7,1795252673082);
CREATE TABLE pace (
	name TEXT NOT NULL, 
	next_at BIGINT NOT NULL, 
	held_until BIGINT NOT NULL, 
	taken_at BIGINT NOT NULL, 
	PRIMARY KEY (name)
);
INSERT INTO "pace" VALUES('claude',1795252613084,0,1795252613084);
INSERT INTO "pace" VALUES('github',1795253813082,0,1795252613082);
CREATE TABLE pauses (
	name TEXT NOT NULL, 
	repository TEXT, 
	reason TEXT, 
	paused_at BIGINT NOT NULL, 
	PRIMARY KEY (name)
);
INSERT INTO "pauses" VALUES('octo/gadgets','octo/Gadgets','an incident',1);
CREATE TABLE repository_file_tellings (
	repository_id BIGINT NOT NULL, 
	identity TEXT NOT NULL, 
	version TEXT NOT NULL, 
	guid TEXT NOT NULL, 
	told_at BIGINT NOT NULL, 
	PRIMARY KEY (repository_id, identity, version)
);
INSERT INTO "repository_file_tellings" VALUES(1,'hls-bot','abc','done',1);
CREATE TABLE repository_files (
	repository_id BIGINT NOT NULL, 
	identity TEXT NOT NULL, 
	repository TEXT NOT NULL, 
	read_at BIGINT NOT NULL, 
	version TEXT, 
	text TEXT, 
	flaw TEXT, 
	good_version TEXT, 
	good_text TEXT, 
	PRIMARY KEY (repository_id, identity)
);
INSERT INTO "repository_files" VALUES(1,'hls-bot','octo/widgets',1,'abc','enabled: true
',NULL,NULL,NULL);
CREATE TABLE reviews (
	repository_id BIGINT NOT NULL, 
	identity TEXT NOT NULL, 
	number BIGINT NOT NULL, 
	head_sha TEXT NOT NULL, 
	family TEXT NOT NULL, 
	review_id BIGINT NOT NULL, 
	changed_at BIGINT NOT NULL, 
	PRIMARY KEY (repository_id, identity, number, head_sha, family)
);
INSERT INTO "reviews" VALUES(1,'hls-bot',7,'bbb','pull_requests',5,1);
CREATE TABLE run_ends (
	repository_id BIGINT NOT NULL, 
	run_id BIGINT NOT NULL, 
	attempt INTEGER NOT NULL, 
	workflow_id BIGINT NOT NULL, 
	event TEXT NOT NULL, 
	branch TEXT NOT NULL, 
	run_number BIGINT NOT NULL, 
	passed BOOLEAN NOT NULL, 
	head_sha TEXT NOT NULL, 
	noted_at BIGINT NOT NULL, 
	PRIMARY KEY (repository_id, run_id, attempt)
);
INSERT INTO "run_ends" VALUES(1,3,1,9,'push','main',4,0,'bbb',1);
CREATE TABLE step_failures (
	repository_id BIGINT NOT NULL, 
	run_id BIGINT NOT NULL, 
	attempt INTEGER NOT NULL, 
	job TEXT NOT NULL, 
	step TEXT NOT NULL, 
	workflow_id BIGINT NOT NULL, 
	branch TEXT NOT NULL, 
	head_sha TEXT NOT NULL, 
	noted_at BIGINT NOT NULL, 
	PRIMARY KEY (repository_id, run_id, attempt, job, step)
);
INSERT INTO "step_failures" VALUES(1,3,1,'tests','pytest',9,'main','bbb',1);
CREATE TABLE steps (
	delivery_id INTEGER NOT NULL, 
	name TEXT NOT NULL, 
	step_index INTEGER NOT NULL, 
	version INTEGER NOT NULL, 
	took_ms BIGINT NOT NULL, 
	remembered_at BIGINT NOT NULL, 
	value BLOB NOT NULL, 
	PRIMARY KEY (delivery_id, name, step_index), 
	FOREIGN KEY(delivery_id) REFERENCES deliveries (id) ON DELETE CASCADE
);
INSERT INTO "steps" VALUES(1,'route',0,1,0,1795252612976,X'28B52FFD20273901002273657474696E67732E79616D6C3A33206C657473206973737565732E6F70656E656420696E22');
INSERT INTO "steps" VALUES(1,'ask',0,1,1500,1795252612978,X'28B52FFD60CF003D0A00D697492E8027690E3330530906D3330C6AC59A6DD8FE165B9A08692E776B217B571431F4143023C486E3B7ED9BA2E92674173C003A003E00BD32AE648E9E4C85A737B8CA914ED9E909DC66B1722DE3E28C745E56CA34AD9A855179F495C00620000AE88266597021B04EE67D7A5BD5CC8B923923A7592E72D4F561E5B81C65BBE8D39AB45D9C7512B80BEBC0D31BB9DE9B7CF40655614BE1E90D1546E64576F486972E932D826C3BBA4BD63DBD09E98BB6F8CE48D764F13C6A9C40EFE13D8EAD43F07465181956A99A36A8EF45A6F248C1615C96BA70D4F51330EF3B3A83060C0F8E3234386890064E5218038D8602914867A5C4D8470112C771208EF4C65335C7B6546AAF5C28756CB1A34340CF78741C09897486AAC4563D19B847571C1487A9EC72076D732DEC010A00390FE92C0054453570F2D8A554CA8FB9F8371B0CEACD51E202221414');
INSERT INTO "steps" VALUES(5,'ask',0,1,1500,1795252613070,X'28B52FFD60CF003D0A00D697492E8027690E3330530906D3330C6AC59A6DD8FE165B9A08692E776B217B571431F4143023C486E3B7ED9BA2E92674173C003A003E00BD32AE648E9E4C85A737B8CA914ED9E909DC66B1722DE3E28C745E56CA34AD9A855179F495C00620000AE88266597021B04EE67D7A5BD5CC8B923923A7592E72D4F561E5B81C65BBE8D39AB45D9C7512B80BEBC0D31BB9DE9B7CF40655614BE1E90D1546E64576F486972E932D826C3BBA4BD63DBD09E98BB6F8CE48D764F13C6A9C40EFE13D8EAD43F07465181956A99A36A8EF45A6F248C1615C96BA70D4F51330EF3B3A83060C0F8E3234386890064E5218038D8602914867A5C4D8470112C771208EF4C65335C7B6546AAF5C28756CB1A34340CF78741C09897486AAC4563D19B847571C1487A9EC72076D732DEC010A00390FE92C0054453570F2D8A554CA8FB9F8371B0CEACD51E202221414');
INSERT INTO "steps" VALUES(7,'gather',0,1,250,1795252613080,X'28B52FFD2019C900007B227469746C65223A202249742069732062726F6B656E227D');
CREATE TABLE turns (
	delivery_id INTEGER NOT NULL, 
	pace TEXT NOT NULL, 
	slot_at BIGINT NOT NULL, 
	PRIMARY KEY (delivery_id, pace), 
	FOREIGN KEY(delivery_id) REFERENCES deliveries (id) ON DELETE CASCADE
);
INSERT INTO "turns" VALUES(7,'github',1795253213082);
CREATE INDEX ix_deliveries_commit ON deliveries (thread_key, state, head_sha) WHERE state = 'queued' AND event = 'pull_request';
CREATE INDEX ix_deliveries_dead ON deliveries (id) WHERE state = 'dead';
CREATE INDEX ix_deliveries_lease ON deliveries (lease_until) WHERE state = 'running';
CREATE INDEX ix_deliveries_thread ON deliveries (thread_key, state, id);
CREATE UNIQUE INDEX uq_deliveries_one_running_per_thread ON deliveries (thread_key) WHERE state = 'running';
CREATE INDEX ix_locks_delivery ON locks (delivery_id);
CREATE INDEX ix_calls_delivery ON calls (delivery_id);
CREATE INDEX ix_calls_started ON calls (started_at);
CREATE INDEX ix_calls_prompt ON calls (prompt_id, outcome, cost_micro_usd, id);
CREATE INDEX ix_step_failures_workflow ON step_failures (repository_id, workflow_id, noted_at);
CREATE INDEX ix_run_ends_workflow ON run_ends (repository_id, workflow_id, run_number);
CREATE INDEX ix_corrections_newest ON corrections (repository_id, identity, noted_at);
CREATE INDEX ix_deliveries_queued ON deliveries (behind, rank, id, due_at, thread_key) WHERE state = 'queued';
CREATE INDEX ix_deliveries_finished ON deliveries (finished_at) WHERE finished_at IS NOT NULL;
CREATE INDEX ix_deliveries_body ON deliveries (finished_at) WHERE finished_at IS NOT NULL AND body IS NOT NULL;
CREATE INDEX ix_deliveries_body_of ON deliveries (repository, number, digest);
CREATE INDEX ix_deliveries_said_on ON deliveries (repository, said_on) WHERE said_on IS NOT NULL;
COMMIT;
