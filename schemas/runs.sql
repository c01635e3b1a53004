-- A row is one run of one stage that changed something, or failed.
create table runs (
    run_id varchar not null comment 'UUID version 7: sorts by start time',
    stage varchar not null comment 'ingest, fetch, decode, curate, caption, score, repair, optimize, vacuum or migrate',
    started timestamp not null comment 'UTC',
    finished timestamp not null comment 'UTC',
    rows_in bigint not null comment 'rows the stage had to handle',
    rows_out bigint not null comment 'rows that came out good',
    rows_rejected map(varchar, bigint) not null comment 'rejected rows by reason',
    versions_read map(varchar, bigint) not null comment 'table name to Delta version when the stage began',
    versions_written map(varchar, bigint) not null comment 'table name to Delta version when the stage ended',
    settings varchar not null comment 'the stage''s settings, JSON',
    tuwen_version varchar not null comment 'version of tuwen that ran it',
    outcome varchar comment 'ok, failed, interrupted, or gate (a gate was red, and examples stayed as it was); null in a row written before this column was',
    error varchar comment 'what the run failed by; null unless outcome is failed or gate',
    commits bigint comment 'commits made, over all tables; null in a row written before this column was',
    primary key (run_id)
) with (version = 3);
