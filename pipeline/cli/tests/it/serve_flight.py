"""A client of `tuwen serve`, by the drivers that people use: usage `serve_flight.py STEP URL [ARGUMENT…]`. Each step is a function below;
exit code 1 and a traceback if something is not as it should be.
"""
import collections
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request

import adbc_driver_flightsql.dbapi as dbapi
import adbc_driver_manager
import pyarrow as pa
import pyarrow.flight as flight
import pyarrow.parquet as pq

COOKIES = "adbc.flight.sql.rpc.with_cookie_middleware"
NEVER_ENDS = "select count(*) from generate_series(1, 1400000) a(x), generate_series(1, 1400000) b(y) where x + y < 0"


def connect(url, **options):
    return dbapi.connect(url, db_kwargs=options, autocommit=True)


def table(db, query, params=None):
    with db.cursor() as cursor:
        cursor.execute(query, params)
        return cursor.fetch_arrow_table()


def error(work):
    """What goes wrong with `work`, without the driver's own words around it."""
    try:
        work()
    except (adbc_driver_manager.Error, flight.FlightError, pa.ArrowException, OSError) as wrong:
        return str(wrong)
    raise AssertionError("expected an error")


def metrics(page, token=None):
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    with urllib.request.urlopen(urllib.request.Request(page + "metrics", headers=headers)) as answer:
        assert answer.headers["Content-Type"].startswith("text/plain; version=0.0.4")
        lines = answer.read().decode().splitlines()
    return {line.rsplit(" ", 1)[0]: float(line.rsplit(" ", 1)[1]) for line in lines if not line.startswith("#")}


def wait_for(what, is_so):
    """Waits until `is_so`, three minutes at most."""
    end = time.monotonic() + 180
    while not is_so():
        assert time.monotonic() < end, what
        time.sleep(0.02)


def running(page):
    return metrics(page)["tuwen_serve_queries_running"]


# Messages of Flight SQL by hand, for what the driver does not ask.

def field(number, value):
    def varint(n):
        out = bytearray()
        while True:
            n, low = n >> 7, n & 127
            out.append(low | (128 if n else 0))
            if not n:
                return bytes(out)
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    value = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | 2) + varint(len(value)) + value


def packed(name, body=b""):
    return field(1, "type.googleapis.com/arrow.flight.protocol.sql." + name) + field(2, body)


def listed(client, name, body=b"", options=None):
    """The rows of a command, whose schema is what was announced."""
    descriptor = flight.FlightDescriptor.for_command(packed(name, body))
    info = client.get_flight_info(descriptor, options)
    found = client.do_get(info.endpoints[0].ticket, options).read_all()
    assert found.schema.equals(info.schema, check_metadata=True), (found.schema, info.schema)
    assert client.get_schema(descriptor, options).schema.equals(info.schema)
    return found


def rows(url, queries):
    """The rows of each query are those of the file beside it that `tuwen sql` has written."""
    db = connect(url)
    for file, query in json.loads(queries).items():
        expected, found = pq.read_table(file), table(db, query)
        assert found.column_names == expected.column_names, query
        assert found.to_pylist() == expected.to_pylist(), query
        for name in expected.column_names:
            types = expected.schema.field(name).type, found.schema.field(name).type
            assert types[0] == types[1], (query, name, types)
        # GetExecuteSchema, and the same once more: a ticket is a query, not its rows.
        with db.cursor() as cursor:
            assert cursor.adbc_execute_schema(query).equals(found.schema), query
        assert table(db, query) == found
    # What no driver reads as it is.
    odd = table(db, """select arrow_cast('图', 'Utf8View') as v, arrow_cast('a', 'Dictionary(Int32, Utf8)') as d,
        arrow_cast(x'00ff', 'BinaryView') as b, arrow_cast(make_array('x'), 'List(Utf8View)') as l, null as n""")
    assert odd.to_pylist() == [{"v": "图", "d": "a", "b": b"\x00\xff", "l": ["x"], "n": None}], odd.to_pylist()
    assert odd.schema.types[:3] == [pa.string(), pa.string(), pa.binary()], odd.schema


def metadata(url, expected):
    """Tables, columns, comments, keys, types, and what the server says it can do."""
    expected = json.loads(expected)
    db = connect(url)
    assert db.adbc_get_table_types() == ["TABLE", "VIEW"]
    info = db.adbc_get_info()
    assert info["vendor_name"] == "tuwen" and info["vendor_version"] == expected["version"], info
    catalog, = db.adbc_get_objects(depth="all").read_all().to_pylist()
    schema, = catalog["catalog_db_schemas"]
    assert (catalog["catalog_name"], schema["db_schema_name"]) == ("datafusion", "public")
    tables = {each["table_name"]: each for each in schema["db_schema_tables"]}
    assert sorted(tables) == sorted(expected["columns"]), sorted(tables)
    for name, columns in expected["columns"].items():
        found = [column["column_name"] for column in tables[name]["table_columns"]]
        assert found == columns, (name, found)
        assert table(db, f'select * from "datafusion"."public"."{name}" limit 0').column_names == columns, name
    kinds = collections.Counter(each["table_type"] for each in tables.values())
    assert kinds == {"TABLE": 7, "VIEW": 3}, kinds
    images = db.adbc_get_table_schema("images")
    assert images.field("width").metadata[b"ARROW:FLIGHT:SQL:REMARKS"].decode() == expected["width"]

    client = flight.FlightClient(url.replace("grpc://", "grpc+tcp://"))
    names = lambda body: listed(client, "CommandGetTables", body)["table_name"].to_pylist()
    assert names(field(3, "im%")) == ["images"] and names(field(3, "_airs")) == ["pairs"]
    assert names(field(4, "VIEW")) == ["history", "hosts", "rejects"], names(field(4, "VIEW"))
    assert names(field(1, "")) == [] == names(field(2, "private"))
    keys = listed(client, "CommandGetPrimaryKeys", field(3, "originals"))
    assert keys["column_name"].to_pylist() == expected["key"] and keys["key_sequence"].to_pylist() == [1, 2]
    for name in ["ExportedKeys", "ImportedKeys", "CrossReference"]:
        assert listed(client, "CommandGet" + name, field(3, "pairs")).num_rows == 0
    types = listed(client, "CommandGetXdbcTypeInfo")
    assert dict(zip(types["type_name"].to_pylist(), types["data_type"].to_pylist()))["bigint"] == -5
    assert listed(client, "CommandGetXdbcTypeInfo", field(1, 4))["type_name"].to_pylist() == ["int"]
    assert listed(client, "CommandGetCatalogs").num_rows == listed(client, "CommandGetDbSchemas").num_rows == 1
    assert "CancelFlightInfo" in [action.type for action in client.list_actions()]
    assert list(client.list_flights()) == []


def params(url):
    """Parameters by place and by name, of the types that the statement asks for; never formatted in."""
    db = connect(url)
    one = lambda query, values: table(db, query, values).to_pylist()
    assert one("select ? as a, ? + 1 as b", ("'; --", 3)) == [{"a": "'; --", "b": 4}]
    assert one("select $2 as a, $1 as b", ("x", 2)) == [{"a": 2, "b": "x"}]
    named = pa.record_batch({"least": [4], "split": ["train"]})
    assert one("select text from examples where split = $split and n_tokens >= $least", named) == [{"text": "红圆"}]
    assert one("select ? is null as a", (None,)) == [{"a": True}]
    assert one("select value from generate_series(1, 9) where value < ? order by value desc limit ?", (4, 2)) == [{"value": 3}, {"value": 2}]
    # One statement, with one value after the other.
    with db.cursor() as cursor:
        for n in [1, 2]:
            cursor.execute("select ? * 10 as n", (n,))
            assert cursor.fetchall() == [(n * 10,)]
    for query, values, expected in [
        ("select ?", (1, 2), "expected 1 parameters, found 2"),
        ("select 1 where n_tokens > ?", (1,), "column `n_tokens` does not exist"),
        ("select 1 from examples where n_tokens > ?", ("many",), "`$1`: expected int, found `many`"),
    ]:
        said = error(lambda: table(db, query, values))
        assert expected in said, (query, said)
    assert "the parameter `$1` has no value" in error(lambda: table(db, "select ?"))
    said = error(lambda: db.cursor().executemany("select ?", [(1,), (2,)]))
    assert "expected one row of parameters" in said or "only reads" in said, said


def errors(url):
    """What is wrong is said as `tuwen sql` says it; nothing is ever written."""
    db = connect(url)
    for query, expected in [
        ("select * from image", "table `image` does not exist\nLINE 1: select * from image\n                      ^\nhint: did you mean `images`?"),
        ("select 1 / 0", "Divide by zero"),
        ("delete from pairs", "only reads, found `delete`"),
        ("create table t as select 1", "only reads, found `create`"),
        ("copy (select 1) to '/tmp/x.csv'", "only reads, found `copy`"),
        ("set datafusion.execution.batch_size = 1", "only reads, found `set`"),
        ("select 1; select 2", "expected one statement, found 2"),
        ("-- nothing", "expected a query, found none"),
        ("select '" + "图" * 400_000 + "'", "expected a statement of at most 262144 bytes"),
        ("select " + "图" * 50_000, "column `图图"),
        ("select " + "(" * 5000 + "1" + ")" * 5000, "expressions lie too deep in each other"),
        ("select * from '/etc/passwd'", ""),
    ]:
        said = error(lambda: table(db, query))
        assert expected in said, (query[:80], said)
        assert len(said) < 8000, len(said)
    said = error(lambda: db.cursor().adbc_ingest("t", pa.table({"a": [1]})))
    assert "only reads" in said, said
    said = error(lambda: db.cursor().executescript("drop table pairs"))
    # A statement that fails leaves the connection as it was.
    assert table(db, "select count(*) as n from pairs").to_pylist() == [{"n": 2}]


def stream(url, page, n):
    """Many rows, and pictures, in messages that fit."""
    db, n = connect(url), int(n)
    with db.cursor() as cursor:
        cursor.execute(f"select value as a, 'caption number ' || value as b from generate_series(1, {n})")
        found = total = 0
        for batch in cursor.fetch_record_batch():
            found, total = found + batch.num_rows, total + sum(batch["a"].to_pylist()[:1])
        assert found == n, found
    # 300 pictures of 147 KiB: the client takes messages of 16 MiB at most if it is not told otherwise.
    pictures = table(db, "select pixels, value from images, generate_series(1, 150)")
    assert pictures.num_rows == 300 and {len(each) for each in pictures["pixels"].to_pylist()} == {224 * 224 * 3}
    # A reader that stops to read stops the query, not the server; and what it has not read is not kept anywhere.
    before = metrics(page)["tuwen_serve_rows_total"]
    slow = db.cursor()
    slow.execute("select repeat('x', 1000) as text from generate_series(1, 10000000)")
    reader = slow.fetch_record_batch()
    reader.read_next_batch()
    last = None
    while last != (last := metrics(page)["tuwen_serve_rows_total"]):
        time.sleep(0.5)
    wait_for("only this one runs", lambda: running(page) == 1)
    assert last - before < 1_000_000, last - before
    assert table(db, "select 1 as n").to_pylist() == [{"n": 1}]
    slow.close()
    wait_for("a cursor that is closed ends its query", lambda: running(page) == 0)


def cancel(url, page):
    """Queries end when they are cancelled, take too long, or their client goes, however it goes."""
    db = connect(url)
    count = lambda outcome: metrics(page)[f'tuwen_serve_queries_total{{outcome="{outcome}"}}']
    cursor = db.cursor()
    said = []
    thread = threading.Thread(target=lambda: said.append(error(lambda: cursor.execute(NEVER_ENDS).fetchall())))
    thread.start()
    wait_for("it runs", lambda: running(page) == 1)
    cursor.adbc_cancel()
    thread.join()
    wait_for("a query that is cancelled ends", lambda: running(page) == 0)
    assert "ancel" in said[0], said
    wait_for("it is counted", lambda: count("cancelled") == 1)

    # By its own action, as other clients do.
    client = flight.FlightClient(url.replace("grpc://", "grpc+tcp://"))
    info = client.get_flight_info(flight.FlightDescriptor.for_command(packed("CommandStatementQuery", field(1, NEVER_ENDS))))
    reader = client.do_get(info.endpoints[0].ticket)
    wait_for("it runs", lambda: running(page) == 1)
    body = field(1, info.serialize())
    result, = client.do_action(flight.Action("CancelFlightInfo", body))
    assert result.body.to_pybytes() == b"\x08\x01", result.body.to_pybytes()
    try:
        reader.read_all()
        raise AssertionError("expected an error")
    except (KeyboardInterrupt, flight.FlightCancelledError):
        pass  # pyarrow says either of a call that was cancelled.
    result, = client.do_action(flight.Action("CancelFlightInfo", body))
    assert result.body.to_pybytes() == b"\x08\x03", result.body.to_pybytes()
    wait_for("it ends", lambda: running(page) == 0)

    # A client that is killed.
    child = subprocess.Popen([sys.executable, __file__, "ask", url, NEVER_ENDS])
    wait_for("it runs", lambda: running(page) == 1)
    child.send_signal(signal.SIGKILL)
    child.wait()
    wait_for("the query of a client that is gone ends", lambda: running(page) == 0)
    wait_for("all are counted", lambda: count("cancelled") == 3)


def ask(url, query):
    """Prints the rows of a query."""
    print(json.dumps(table(connect(url), query).to_pylist(), ensure_ascii=False))


def bounds(url, page):
    """A server with six seconds a query, one at once, and 64 MiB: what is too large ends with a line, and the others are answered."""
    db = connect(url)
    clock = time.monotonic()
    said = error(lambda: table(db, NEVER_ENDS))
    assert "the query was stopped after 6s\nhint: --timeout of tuwen serve allows more" in said, said
    assert time.monotonic() - clock < 120
    wait_for("its threads are free", lambda: running(page) == 0)
    said = error(lambda: table(db, "select array_agg(value) from generate_series(1, 9000000)"))
    assert "the query needs more memory than 64.0 MB" in said, said
    # While one runs the others wait: sixteen, and no more.
    reader = db.cursor()
    reader.execute("select repeat('x', 1000) as text from generate_series(1, 10000000)")
    wait_for("it runs", lambda: running(page) == 1)
    said = []
    ask_one = lambda: said.append(error(lambda: table(connect(url), "select 1")))
    threads = [threading.Thread(target=ask_one) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    refused = [each for each in said if "1 queries are under way, and 16 wait for their turn" in each]
    late = [each for each in said if "1 queries were under way for 6s: the turn of this one did not come" in each]
    # Which, depends on who comes when.
    assert len(refused) + len(late) == 20 and len(late) >= 16, said
    # What its reader makes it wait is not counted.
    batches = reader.fetch_record_batch()
    time.sleep(7)
    for _ in range(20):
        batches.read_next_batch()
    reader.close()
    wait_for("it ends", lambda: running(page) == 0)
    assert table(db, "select 1 as n").to_pylist() == [{"n": 1}]
    wait_for("its memory is free", lambda: metrics(page)["tuwen_serve_memory_bytes"] == 0)
    found = metrics(page)
    assert found["tuwen_serve_memory_limit_bytes"] == 64 << 20, found
    assert found['tuwen_serve_queries_total{outcome="refused"}'] == 20, found
    assert found["tuwen_serve_query_seconds_count"] == sum(n for name, n in found.items() if "queries_total" in name)


def sessions(url):
    """A session stays at the snapshot that it began with while others see the newest; `go` comes when the corpus has changed."""
    count = lambda db: table(db, "select count(*) as n from pairs")["n"].to_pylist()
    kept, fresh = connect(url, **{COOKIES: "true"}), connect(url)
    assert count(kept) == count(fresh) == [2]
    planned = flight.FlightClient(url.replace("grpc://", "grpc+tcp://"))
    query = packed("CommandStatementQuery", field(1, "select count(*) as n from pairs"))
    info = planned.get_flight_info(flight.FlightDescriptor.for_command(query))
    print("ready", flush=True)
    assert sys.stdin.readline() == "go\n"
    wait_for("others see what is new", lambda: count(fresh) == [3])
    assert count(kept) == [2] and count(connect(url, **{COOKIES: "true"})) == [3]
    # What was planned then runs over what was there then.
    assert planned.do_get(info.endpoints[0].ticket).read_all()["n"].to_pylist() == [2]
    assert table(kept, "select (select count(*) from pairs) - count(*) as n from pairs@v1")["n"].to_pylist() == [0]
    option = "adbc.flight.sql.session.option.snapshot"
    old = kept.adbc_connection.get_option(option)
    assert "pairs.1" in old, old
    kept.adbc_connection.set_options(**{option: "newest"})
    assert count(kept) == [3] and "pairs.2" in kept.adbc_connection.get_option(option)
    kept.adbc_connection.set_options(**{option: old})
    assert count(kept) == [2]
    for name, value in [("snapshot", "pairs.99"), ("schema", "private"), ("colour", "red")]:
        error(lambda: kept.adbc_connection.set_options(**{"adbc.flight.sql.session.option." + name: value}))
    kept.close()


def access(url, page, cert, token):
    """Over TLS, with the token alone."""
    tls = {"adbc.flight.sql.client_option.tls_root_certs": open(cert).read()}
    shown = {"adbc.flight.sql.authorization_header": f"Bearer {token}"}
    asked = lambda **options: table(connect(url, **tls, **options), "select 1 as n").to_pylist()
    assert asked(**shown) == [{"n": 1}]
    # As JDBC does: a handshake, whose answer is the token.
    assert asked(username="anybody", password=token) == [{"n": 1}]
    for wrong, expected in [
        ({}, "this server asks for a token"),
        ({"adbc.flight.sql.authorization_header": "Bearer " + token[:-1]}, "the token is not that of this server"),
        ({"username": "anybody", "password": "wrong"}, "the token is not that of this server"),
    ]:
        said = error(lambda: asked(**wrong))
        assert expected in said, said
    # No call but a handshake is answered to whoever has no token.
    client = flight.FlightClient(url, tls_root_certs=open(cert, "rb").read())
    ticket = flight.Ticket(packed("CommandGetTables"))
    for call in [
        lambda: client.do_get(ticket).read_all(), lambda: list(client.list_actions()), lambda: list(client.list_flights()),
        lambda: list(client.do_action(flight.Action("GetSessionOptions", b""))),
        lambda: client.get_schema(flight.FlightDescriptor.for_command(packed("CommandGetCatalogs"))),
    ]:
        assert "asks for a token" in error(call)
    header = client.authenticate_basic_token("anybody", token)
    assert client.do_get(ticket, flight.FlightCallOptions(headers=[header])).read_all().num_rows == 10
    # Without TLS, or without trusting the certificate, there is no answer.
    error(lambda: table(connect(url.replace("grpc+tls", "grpc"), **shown), "select 1"))
    error(lambda: table(connect(url, **shown), "select 1"))
    os.environ["SSL_CERT_FILE"] = cert
    assert metrics(page, token)["tuwen_serve_queries_running"] == 0
    try:
        metrics(page)
        raise AssertionError("metrics without a token")
    except urllib.error.HTTPError as wrong:
        assert wrong.code == 401


def hostile(url):
    """Whatever is sent, the server says what is wrong and goes on."""
    client = flight.FlightClient(url.replace("grpc://", "grpc+tcp://"))
    descriptor = flight.FlightDescriptor.for_command
    known, = [client.get_flight_info(descriptor(packed("CommandStatementQuery", field(1, "select 1"))))]
    ticket = known.endpoints[0].ticket.ticket
    assert client.do_get(flight.Ticket(ticket)).read_all().num_rows == 1
    prepared = next(client.do_action(flight.Action("CreatePreparedStatement", packed("ActionCreatePreparedStatementRequest", field(1, "select ?"))))).body.to_pybytes()
    handle = prepared[prepared.index(b"\x0a\x10") + 2:][:16]
    bind = descriptor(packed("CommandPreparedStatementQuery", field(1, handle)))

    # No browser speaks HTTP/2 from its first byte on, so no page of whatever name can ask.
    host, port = url.split("//")[1].split(":")
    with socket.create_connection((host, int(port)), timeout=120) as browser:
        browser.sendall(b"POST /arrow.flight.protocol.FlightService/GetFlightInfo HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n")
        assert b"HTTP/1.1" not in browser.recv(1000)
    # Deep trees are refused before they are built.
    for chain in ["select 1" + " + 1" * 60_000, "select 1" + " union all select 1" * 10_000, "select true" + " or true" * 30_000]:
        assert "operators in a row" in error(lambda: table(connect(url), chain)), chain[:40]

    def put(what, schema, batches, options=None):
        writer, reader = client.do_put(what, schema, flight.FlightCallOptions(write_options=options) if options else None)
        for batch in batches:
            writer.write_batch(batch)
        writer.done_writing()
        reader.read()
        writer.close()
    one = pa.record_batch({"a": [1]})
    lz4 = pa.ipc.IpcWriteOptions(compression="lz4")
    wide = pa.record_batch({"a": pa.array([b"x" * (3 << 20)])})
    for work, expected in [
        (lambda: client.do_get(flight.Ticket(b"")).read_all(), "TicketStatementQuery|not supported|other bytes"),
        (lambda: client.do_get(flight.Ticket(b"\xff" * 100)).read_all(), "other bytes"),
        (lambda: client.do_get(flight.Ticket(packed("TicketStatementQuery", field(1, b"\0" * 16)))).read_all(), "no such ticket"),
        (lambda: client.do_get(flight.Ticket(ticket[:-1] + bytes([ticket[-1] ^ 1]))).read_all(), "no such ticket"),
        (lambda: client.do_get(flight.Ticket(packed("CommandStatementQuery", field(1, "select 1")))).read_all(), "not supported"),
        (lambda: client.get_flight_info(descriptor(b"\x00\x01garbage")), "other bytes"),
        (lambda: client.get_flight_info(flight.FlightDescriptor.for_path("a", "b")), "not supported|other bytes"),
        (lambda: client.get_flight_info(descriptor(packed("CommandStatementSubstraitPlan"))), "not supported"),
        (lambda: client.get_flight_info(descriptor(packed("CommandStatementQuery", field(1, "select 1" + " " * (3 << 20))))), "too large"),
        (lambda: client.get_flight_info(descriptor(packed("CommandPreparedStatementQuery", field(1, b"x")))), "no such prepared statement"),
        (lambda: list(client.do_action(flight.Action("x" * 10000, b"y" * 10000))), "not supported"),
        (lambda: list(client.do_action(flight.Action("CancelFlightInfo", b"\xff\xff"))), "other bytes"),
        (lambda: list(client.do_action(flight.Action("CreatePreparedStatement", b"\xff\xff"))), "other bytes"),
        (lambda: list(client.do_action(flight.Action("BeginTransaction", packed("ActionBeginTransactionRequest")))), "no transactions"),
        (lambda: put(descriptor(b"garbage"), one.schema, [one]), "other bytes"),
        (lambda: put(bind, one.schema, []), "found none"),
        (lambda: put(bind, one.schema, [one, one]), "found several"),
        (lambda: put(bind, one.schema, [one], lz4), "compressed parameters|expected"),
        (lambda: put(bind, wide.schema, [wide]), "too large"),
        (lambda: put(descriptor(packed("CommandStatementUpdate", field(1, "drop table pairs"))), one.schema, [one]), "only reads"),
    ]:
        said = error(work)
        assert any(each in said for each in expected.split("|")), (expected, said)
    # Cookies that say nothing are none; one of versions that there never were is an error.
    cookie = lambda text: flight.FlightCallOptions(headers=[(b"cookie", f"arrow_flight_session_id={text}".encode())])
    for text in ["", "x", "pairs", "a=b; c", "../../etc", "pairs.x"]:
        assert listed(client, "CommandGetCatalogs", options=cookie(text)).num_rows == 1
    assert "no version" in error(lambda: listed(client, "CommandGetCatalogs", options=cookie("pairs.4294967295")))
    # More tickets than are kept: the oldest are forgotten, the newest are good.
    query = descriptor(packed("CommandStatementQuery", field(1, "select 1")))
    for _ in range(1001):
        info = client.get_flight_info(query)
    assert "no such ticket" in error(lambda: client.do_get(flight.Ticket(ticket)).read_all())
    assert client.do_get(info.endpoints[0].ticket).read_all().num_rows == 1


def graceful(url):
    """A query that is under way when the server is told to stop has all its rows; a new one has none."""
    db = connect(url)
    cursor = db.cursor()
    cursor.execute("select value as n, repeat('x', 2000) as text from generate_series(1, 100000)")
    reader = cursor.fetch_record_batch()
    n_rows = reader.read_next_batch().num_rows
    print("ready", flush=True)
    assert sys.stdin.readline() == "go\n"
    wait_for("nobody is let in", lambda: not answers(url))
    for batch in reader:
        n_rows += batch.num_rows
    assert n_rows == 100_000, n_rows
    # The driver would tell the server that the statement is closed, which is gone.
    os._exit(0)


def answers(url):
    try:
        table(connect(url), "select 1")
        return True
    except adbc_driver_manager.Error:
        return False


if __name__ == "__main__":
    globals()[sys.argv[1]](*sys.argv[2:])
