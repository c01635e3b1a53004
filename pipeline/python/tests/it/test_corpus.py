"""The corpus as Arrow: pyarrow, polars, pandas and DuckDB read a query, and say what the tables say."""

import datetime
import os
import pathlib
import unittest

import duckdb
import pandas
import polars
import pyarrow
import pyarrow.parquet

import tuwen

CORPUS = pathlib.Path(os.environ["SHARED_FOLDER"]) / "corpus"
QUERY = "select example_id, text, n_tokens, input_ids, split from examples where split = $split and n_tokens > $least order by example_id"
PARAMS = {"split": "train", "least": 12}


class Queries(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.corpus = tuwen.open(CORPUS)

    def test_four_clients_read_the_same_rows(self):
        rows = self.corpus.sql(QUERY, PARAMS)
        expected = pyarrow.table(rows).to_pylist()
        self.assertGreater(len(expected), 100)
        self.assertEqual(rows.columns, list(expected[0]))
        self.assertEqual(polars.DataFrame(rows).to_dicts(), expected)
        by_pandas = pandas.DataFrame.from_arrow(rows)
        self.assertEqual(by_pandas["example_id"].tolist(), [row["example_id"] for row in expected])
        self.assertEqual([list(ids) for ids in by_pandas["input_ids"]], [row["input_ids"] for row in expected])
        by_duckdb = duckdb.sql("select * from rows order by example_id")
        self.assertEqual([dict(zip(by_duckdb.columns, row)) for row in by_duckdb.fetchall()], expected)
        reader = pyarrow.RecordBatchReader.from_stream(rows)
        self.assertEqual(reader.schema.names, rows.columns)
        self.assertEqual(pyarrow.schema(rows), reader.schema)

    def test_rows_are_those_that_pyarrow_reads_itself(self):
        files = self.corpus.sql("select count(*) as n, min(width) as width, max(height) as height from images")
        [found] = pyarrow.table(files).to_pylist()
        images = pyarrow.concat_tables(
            pyarrow.parquet.read_table(file, columns=["width", "height"]) for file in (CORPUS / "images").glob("*.parquet")
        )
        self.assertEqual(found, {"n": images.num_rows, "width": 48, "height": 40})

    def test_nothing_comes_after_the_end(self):
        reader = pyarrow.RecordBatchReader.from_stream(self.corpus.sql("select 1 as one"))
        self.assertEqual(reader.read_all().num_rows, 1)
        self.assertEqual(reader.read_all().num_rows, 0)
        with self.assertRaises(StopIteration):
            reader.read_next_batch()

    def test_pixels_come_batch_by_batch(self):
        reader = pyarrow.RecordBatchReader.from_stream(self.corpus.sql("select image_id, pixels from images"))
        batch = reader.read_next_batch()
        self.assertLessEqual(batch.num_rows, 64)
        self.assertEqual(len(batch["pixels"][0].as_py()), 32 * 32 * 3)
        reader.close()
        del reader, batch

    def test_earlier_versions_tables_and_views(self):
        versions = self.corpus.versions()
        self.assertLessEqual({"pairs", "originals", "images", "examples", "runs"}, set(versions))
        then, now = (pyarrow.table(self.corpus.sql(f"select count(*) as n from images{pin}"))["n"][0].as_py() for pin in ("@v1", ""))
        self.assertLess(then, now)
        self.assertLessEqual(set(versions) | {"rejects", "hosts"}, set(self.corpus.tables()))
        with self.assertRaises(tuwen.TuwenError):
            self.corpus.sql("select * from images@v99")

    def test_parameters_are_bound(self):
        ask = lambda query, **params: pyarrow.table(self.corpus.sql(query, params)).to_pylist()
        self.assertEqual(ask("select count(*) as n from examples where text = $text", text="' or 1=1 --"), [{"n": 0}])
        day = datetime.date(2020, 2, 29)
        self.assertEqual(ask("select cast($day as date) as day", day=day), [{"day": day}])
        # Where the query does not say a type, it is that of the value.
        noon = datetime.datetime(2020, 2, 29, 12, 0, 0, 7)
        for value in ("007", "true", "2020-02-29", "", 7, -1.5, True, False, day, noon, noon.time()):
            self.assertEqual(ask("select $x as x", x=value), [{"x": value}])
        there = datetime.timezone(datetime.timedelta(hours=8))
        [found] = ask("select $x as x", x=noon.replace(tzinfo=there))
        self.assertEqual(found["x"], noon.replace(tzinfo=there))
        self.assertEqual(ask("select count(*) as n from examples where text = $text", text=7), [{"n": 0}])
        with self.assertRaisesRegex(tuwen.TuwenError, r"`\$least`: expected int, found `12.5`"):
            ask("select count(*) from examples where n_tokens > $least", least=12.5)
        self.assertEqual(ask("select count(*) > 0 as b from examples where (n_tokens > 0) = $yes", yes=True), [{"b": True}])
        for query, params, words in [
            ("select 1", {"x": 1}, "has no parameter `$x`"),
            ("select count(*) from examples where split = $split", {}, "the parameter `$split` has no value"),
            ("select $x", {"x": b"bytes"}, "expected text, a number, a bool or a time"),
        ]:
            with self.assertRaises(tuwen.TuwenError) as raised:
                ask(query, **params)
            self.assertIn(words, str(raised.exception))

    def test_what_is_wrong_is_said_and_nothing_is_written(self):
        for query, words in [
            ("select no_such from examples", "no_such"),
            ("select * from examplez", "examples"),
            ("delete from examples", "only reads"),
            ("create table t as select 1", "only reads"),
            ("select 1; select 2", "expected one query"),
            ("", "expected one query"),
        ]:
            with self.assertRaises(tuwen.TuwenError, msg=query) as raised:
                self.corpus.sql(query)
            self.assertIn(words, str(raised.exception))
        with self.assertRaisesRegex(tuwen.TuwenError, "no-corpus"):
            tuwen.open("no-corpus")
        # While it runs: the client raises, with our words.
        rows = self.corpus.sql("select 1 / (n_tokens - n_tokens) as n from examples")
        with self.assertRaisesRegex(Exception, "(?i)divide by zero"):
            pyarrow.table(rows)


if __name__ == "__main__":
    unittest.main()
