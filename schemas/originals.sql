-- A row is one attempt to get one URL or one file of an image folder. Append-only: the log of everything that was tried.
create table originals (
    seq bigint not null generated always as identity comment 'place in this log, ascending with the commits; a crawl on a cluster leaves gaps',
    locator varchar not null comment 'what was asked for: the URL, or file:NAME for a file of an image folder',
    image_id varchar comment 'first 128 bits of the SHA-256 of the bytes, hex; null if nothing was got',
    bytes binary comment 'the picture file as it came, unchanged; null unless outcome is ok',
    media_type varchar comment 'sniffed from the bytes, e.g. image/jpeg, text/html; application/octet-stream if unknown',
    outcome varchar not null comment 'ok, or why not: see docs/outcomes.md',
    http_status int comment 'status of the last response; null if there was none',
    detail varchar comment 'what the network or the file system said; null if ok',
    attempt int not null comment 'how many times this locator had been tried, this time included: 1, 2, …',
    elapsed_ms bigint not null comment 'milliseconds from asking to the last byte or the error',
    bytes_len bigint comment 'length of bytes; null if none',
    fetched_at timestamp not null comment 'when the attempt ended, UTC',
    next_try_at timestamp comment 'when a run may ask for the locator again, UTC; null: none does by itself',
    final_url varchar comment 'where redirects led; null if there were none',
    content_type varchar comment 'header Content-Type of the last response',
    etag varchar comment 'header ETag of the last response',
    last_modified varchar comment 'header Last-Modified of the last response',
    address varchar comment 'the IP address that answered; null if none did, or a proxy did',
    wire_bytes bigint comment 'bytes of bodies as they came over the network; those of a body that was not kept too',
    primary key (locator, attempt)
) with (version = 3);
