"""DuckDB answering the queries of `sql_vs_duckdb.py`. In: on stdin one JSON object with `tables` (name to list of Parquet files, or to the
folder of a Delta table), `extension` (the file of DuckDB's extension delta, or null), and `queries`. Out: as the last line of stdout one
JSON object: `seconds` and `rows` of each query, asked a second time in the same order, the first being the warm-up.

Seconds are those of the query alone, from the text to the last row in Python: neither Python's start nor the views are in them.
"""
import json
import sys
import time

import duckdb


def main():
    task = json.load(sys.stdin)
    connection = duckdb.connect()
    if task["extension"]:
        connection.execute("load '" + task["extension"].replace("'", "''") + "'")
    for name, source in task["tables"].items():
        if isinstance(source, list):
            connection.read_parquet(source).create_view(name)
        else:
            connection.execute(f"create view {name} as select * from delta_scan('" + source.replace("'", "''") + "')")
    answers = []
    for _ in range(2):
        answers = []
        for query in task["queries"]:
            begun = time.perf_counter()
            rows = connection.execute(query).fetchall()
            answers.append({"seconds": time.perf_counter() - begun, "rows": len(rows), "cells": cells(rows)})
    print(json.dumps({"answers": answers, "version": duckdb.__version__}))


def cells(rows):
    """The rows as text, so that they can be compared; floats to six digits."""
    def text(cell):
        if cell is None:
            return ""
        if isinstance(cell, bool):
            return str(cell).lower()
        return f"{cell:.6g}" if isinstance(cell, float) else str(cell)

    return sorted([text(cell) for cell in row] for row in rows)


if __name__ == "__main__":
    main()
