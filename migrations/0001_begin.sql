-- Schema 1. One text for SQLite and PostgreSQL: TEXT and BIGINT only, times in unix milliseconds,
-- JSON as TEXT, truth as 0 and 1. A file here never changes once it is released; a change is the
-- next file.

-- Readable states. What lists filter and order by has its columns; `view` is the whole, as JSON.
CREATE TABLE analyses (
    id TEXT NOT NULL PRIMARY KEY,
    plan TEXT NOT NULL,
    plan_hash TEXT NOT NULL,
    service TEXT,
    namespace TEXT,
    change_id TEXT,
    verdict TEXT NOT NULL,
    status TEXT NOT NULL,
    started_at BIGINT NOT NULL,
    -- Of one that is not final: its start.
    ended_at BIGINT NOT NULL,
    -- 1 while it takes samples: memory then knows a newer view than this.
    live BIGINT NOT NULL,
    view TEXT NOT NULL
);
CREATE INDEX analyses_by_start ON analyses (started_at, id);
CREATE INDEX analyses_by_service ON analyses (service, started_at, id);
CREATE INDEX analyses_by_namespace ON analyses (namespace, started_at, id);
CREATE INDEX analyses_by_change ON analyses (change_id, started_at, id);
CREATE INDEX analyses_by_plan_hash ON analyses (plan_hash);
CREATE INDEX analyses_by_end ON analyses (live, ended_at, id);

-- Number in the sample log of the last input whose consequences are in these tables; one row.
CREATE TABLE log_position (
    position BIGINT NOT NULL
);
INSERT INTO log_position (position) VALUES (0);

-- Plans that analyses ran on, as JSON with every default filled in.
CREATE TABLE plans (
    hash TEXT NOT NULL PRIMARY KEY,
    name TEXT NOT NULL,
    plan TEXT NOT NULL
);

-- The last events of each analysis, each with the verdict of its moment, as JSON.
CREATE TABLE events (
    analysis TEXT NOT NULL REFERENCES analyses (id) ON DELETE CASCADE,
    sequence BIGINT NOT NULL,
    at BIGINT NOT NULL,
    kind TEXT NOT NULL,
    is_last BIGINT NOT NULL,
    body TEXT NOT NULL,
    PRIMARY KEY (analysis, sequence)
);

-- Notifications that wait. They outlive their analysis.
CREATE TABLE outbox (
    -- Order of arrival.
    place BIGINT NOT NULL PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    endpoint TEXT NOT NULL,
    analysis TEXT NOT NULL,
    event_type TEXT NOT NULL,
    at BIGINT NOT NULL,
    -- From when its age is counted.
    queued_at BIGINT NOT NULL,
    body TEXT NOT NULL,
    attempts BIGINT NOT NULL,
    due BIGINT NOT NULL,
    -- When it may be handed out: when it is due, or when the lease on it ends.
    ready_at BIGINT NOT NULL,
    -- 1 for the first of its analysis to its endpoint: no other is handed out.
    head BIGINT NOT NULL
);
CREATE INDEX outbox_by_analysis ON outbox (endpoint, analysis, place);
CREATE INDEX outbox_by_ready ON outbox (endpoint, head, ready_at, place);

-- How many notifications wait for each endpoint, so that nobody has to count them.
CREATE TABLE outbox_counts (
    endpoint TEXT NOT NULL PRIMARY KEY,
    waiting BIGINT NOT NULL
);

-- Notifications that were given up, with all that is needed to send them again.
CREATE TABLE dead_letters (
    place BIGINT NOT NULL PRIMARY KEY,
    id TEXT NOT NULL,
    endpoint TEXT NOT NULL,
    analysis TEXT NOT NULL,
    event_type TEXT NOT NULL,
    at BIGINT NOT NULL,
    body TEXT NOT NULL,
    attempts BIGINT NOT NULL,
    error TEXT NOT NULL,
    died_at BIGINT NOT NULL
);
CREATE INDEX dead_letters_by_id ON dead_letters (id);
CREATE INDEX dead_letters_by_endpoint ON dead_letters (endpoint, place);

-- What became of changes, as people said: the last of each namespace. They go with the analyses.
CREATE TABLE outcomes (
    change_id TEXT NOT NULL,
    -- Empty where the change names none.
    namespace TEXT NOT NULL,
    outcome TEXT NOT NULL,
    actor TEXT,
    reason TEXT,
    at BIGINT NOT NULL,
    PRIMARY KEY (change_id, namespace)
);

-- Configurations that clients of Kayenta keep here.
CREATE TABLE configurations (
    id TEXT NOT NULL PRIMARY KEY,
    name TEXT NOT NULL,
    -- Whom it is for, as a JSON array of texts.
    applications TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    -- What was sent, as JSON.
    document TEXT NOT NULL
);

-- Every change of state. Each row holds the hash of the one before it; see `store::audit` for what is
-- hashed. Rows are only ever added, and deleted from the front once another says so.
CREATE TABLE audit (
    -- From 1, without gaps.
    sequence BIGINT NOT NULL PRIMARY KEY CHECK (sequence > 0),
    at BIGINT NOT NULL,
    kind TEXT NOT NULL,
    -- `davy`, `token:ID`, or `anyone` where nobody is asked for a token.
    actor TEXT NOT NULL,
    -- The token's name, and who the request said it was.
    actor_name TEXT,
    actor_given TEXT,
    analysis TEXT,
    change_id TEXT,
    plan_hash TEXT,
    reason TEXT NOT NULL,
    -- What else there is to say, as a JSON object.
    detail TEXT NOT NULL,
    inputs_sha256 TEXT,
    verdict_sha256 TEXT,
    engine_revision BIGINT NOT NULL,
    previous TEXT NOT NULL,
    hash TEXT NOT NULL
);
CREATE INDEX audit_by_analysis ON audit (analysis, sequence);
