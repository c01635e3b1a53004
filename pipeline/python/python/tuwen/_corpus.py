"""The corpus as Arrow. In: SQL. Out: rows that pyarrow, polars, pandas and DuckDB take as they are. Never writes."""

import datetime
import os

from tuwen import _tuwen
from tuwen._tuwen import TuwenError


def open(corpus=None, *, memory_bytes=None):
    """Opens a corpus for queries, at the versions that its tables have now: a `Corpus`.

    Args:
        corpus: Its folder or URL [default: the setting `corpus`, from `tuwen.toml` or `TUWEN_CORPUS`].
        memory_bytes: What its queries may use before they spill to disk, or fail [default: half of the machine's].

    Raises:
        TuwenError: There is no corpus.
    """
    return Corpus(corpus, memory_bytes)


class Corpus:
    """A corpus at the versions that its tables had when it was opened (`tuwen.open`). It is only read."""

    def __init__(self, corpus=None, memory_bytes=None):
        self._rust = _tuwen.Corpus(None if corpus is None else os.fspath(corpus), memory_bytes)

    def sql(self, query, params=None):
        """The rows of one query, as `tuwen sql` has it: `Rows`. It is planned now, and run by whoever takes the rows.

            rows = tuwen.open("corpus").sql("select split, count(*) as n from examples group by split")
            pyarrow.table(rows)                    # also pyarrow.RecordBatchReader.from_stream(rows), batch by batch
            polars.DataFrame(rows)
            pandas.DataFrame.from_arrow(rows)
            duckdb.sql("select * from rows")

        Args:
            query: One `select`; it may name earlier versions (`examples@v3`, `examples as of '2026-11-30 08:00'`).
            params: Values of its parameters `$name`, by name: text, numbers, bools, dates and times. They are bound, never formatted in.

        Raises:
            TuwenError: The query is wrong (with the place, and the nearest name), or does not only read.
        """
        return Rows(self._rust.sql(query, [typed(name, value) for name, value in (params or {}).items()]))

    def tables(self):
        """Names of all tables and views."""
        return self._rust.tables()

    def versions(self):
        """Delta version of each table that is there, by its name."""
        return self._rust.versions()


class Rows:
    """The rows of a query, by the Arrow PyCapsule interface (`__arrow_c_stream__`). Taking them again runs the query again."""

    def __init__(self, query):
        self._query = query

    def __arrow_c_stream__(self, requested_schema=None):
        return self._query.__arrow_c_stream__(requested_schema)

    def __arrow_c_schema__(self):
        return self._query.__arrow_c_schema__()

    @property
    def columns(self):
        """Names of the columns."""
        return self._query.columns

    def __repr__(self):
        return f"tuwen.Rows({', '.join(self.columns)})"


def typed(name, value):
    """A parameter: its name, its type in SQL, and its value as text."""
    name = name.lstrip("$")
    if isinstance(value, bool):
        return name, "boolean", "true" if value else "false"
    if isinstance(value, datetime.datetime):
        return name, "timestamp" if value.tzinfo is None else "timestamp with time zone", value.isoformat()
    for kind, type_name in ((datetime.date, "date"), (datetime.time, "time")):
        if isinstance(value, kind):
            return name, type_name, value.isoformat()
    if isinstance(value, int):
        return name, "bigint" if value < 2**63 else "bigint unsigned", str(value)
    for kind, type_name in ((str, "text"), (float, "double")):
        if isinstance(value, kind):
            return name, type_name, str(value)
    raise TuwenError(f"parameter `{name}`: expected text, a number, a bool or a time, found {type(value).__name__}")
