-- A row is one run of one stage that changed something.
create table runs (
    run_id varchar not null comment 'UUID version 7: sorts by start time',
    stage varchar not null comment 'ingest, fetch, decode, curate or caption',
    started timestamp not null comment 'UTC',
    finished timestamp not null comment 'UTC',
    rows_in bigint not null comment 'rows the stage had to handle',
    rows_out bigint not null comment 'rows that came out good',
    rows_rejected map(varchar, bigint) not null comment 'rejected rows by reason',
    versions_read map(varchar, bigint) not null comment 'table name to Delta version when the stage began',
    versions_written map(varchar, bigint) not null comment 'table name to Delta version when the stage ended',
    settings varchar not null comment 'the stage''s settings, JSON',
    tuwen_version varchar not null comment 'version of tuwen that ran it'
);
