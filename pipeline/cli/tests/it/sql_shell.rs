//! `tuwen sql` as people and scripts meet it: formats, statements, parameters, bounds, errors, versions, and the shell at a terminal.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::cli::{RUN, folder, stdout, tuwen};
use crate::corpus::png;
use crate::python::python_with;

fn corpus() -> TempDir {
    let folder = folder();
    let run = tuwen(folder.path(), &RUN);
    assert_eq!(run.status.code(), Some(0), "{}", stderr(&run));
    folder
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// stdout of `tuwen sql` with `args`, which must end well.
fn sql(folder: &Path, args: &[&str]) -> String {
    let output = tuwen(folder, &[&["sql"], args].concat());
    assert_eq!(output.status.code(), Some(0), "{args:?}: {}", stderr(&output));
    stdout(&output)
}

/// What goes wrong with `args`: the exit code and stderr.
fn wrong(folder: &Path, args: &[&str]) -> (i32, String) {
    let output = tuwen(folder, &[&["sql"], args].concat());
    assert_eq!(stdout(&output), "", "{args:?}");
    (output.status.code().unwrap(), stderr(&output))
}

/// A row with NULL, an empty text, and all that a format has to write otherwise.
const ROW: &str = r#"select 1 as "n", null as "null", '' as "empty", 'a,"b"|c' as "marks", '一
二	三' as "lines", x'00ff' as "bytes", make_array(1, null) as "list""#;

#[test]
fn every_format_tells_null_from_an_empty_text() {
    let folder = corpus();
    let at = folder.path();
    for (format, expected) in [
        (
            "table",
            "+---+------+-------+---------+-------+-----------+-----------+\n\
             | n | null | empty | marks   | lines | bytes     | list      |\n\
             +---+------+-------+---------+-------+-----------+-----------+\n\
             | 1 | NULL |       | a,\"b\"|c | 一    | <2 bytes> | [1, NULL] |\n\
             |   |      |       |         | 二\t三 |           |           |\n\
             +---+------+-------+---------+-------+-----------+-----------+\n",
        ),
        (
            "csv",
            "n,null,empty,marks,lines,bytes,list\n\
             1,,\"\",\"a,\"\"b\"\"|c\",\"一\n二\t三\",00ff,\"[1, NULL]\"\n",
        ),
        (
            "tsv",
            "n\tnull\tempty\tmarks\tlines\tbytes\tlist\n\
             1\t\\N\t\ta,\"b\"|c\t一\\n二\\t三\t00ff\t[1, NULL]\n",
        ),
        (
            "json",
            "[{\"n\":1,\"null\":null,\"empty\":\"\",\"marks\":\"a,\\\"b\\\"|c\",\"lines\":\"一\\n二\\t三\",\"bytes\":\"00ff\",\"list\":[1,null]}]\n",
        ),
        (
            "ndjson",
            "{\"n\":1,\"null\":null,\"empty\":\"\",\"marks\":\"a,\\\"b\\\"|c\",\"lines\":\"一\\n二\\t三\",\"bytes\":\"00ff\",\"list\":[1,null]}\n",
        ),
        (
            "markdown",
            "| n | null | empty | marks | lines | bytes | list |\n\
             |---:|---|---|---|---|---|---|\n\
             | 1 | NULL |  | a,\"b\"\\|c | 一<br>二\t三 | <2 bytes> | [1, NULL] |\n",
        ),
    ] {
        assert_eq!(sql(at, &[ROW, "--format", format]), expected, "{format}");
    }
    // Names that come twice, and no rows.
    let twice = "select a.image_id, b.image_id from images a join images b on a.image_id = b.image_id limit 1";
    let json: serde_json::Value =
        serde_json::from_str(&sql(at, &[twice, "--format", "json"])).unwrap();
    assert_eq!(json[0]["image_id"], json[0]["image_id_2"]);
    let none = "select text from examples where false";
    for (format, expected) in [
        ("table", "+------+\n| text |\n+------+\n+------+\n"),
        ("csv", "text\n"),
        ("json", "[]\n"),
        ("ndjson", ""),
    ] {
        assert_eq!(sql(at, &[none, "--format", format]), expected);
    }
}

/// DuckDB and Python's own readers see the rows that were written.
#[test]
fn others_read_what_is_written() {
    let Some(python) = python_with("duckdb") else { return };
    let folder = corpus();
    let at = folder.path();
    let rows = "select * from (values (1, '红'), (2, ''), (3, null), (4, 'a,\"\nb')) as t(n, text) order by n";
    for name in ["rows.csv", "rows.parquet", "rows.ndjson", "rows.tsv", "rows.json", "rows.md"] {
        assert_eq!(sql(at, &[rows, "-o", name]), "");
    }
    let script = r#"
import duckdb
expected = [(1, '红'), (2, ''), (3, None), (4, 'a,"\nb')]
for name in ["read_csv('rows.csv', allow_quoted_nulls = false)", "'rows.parquet'", "'rows.ndjson'", "'rows.json'"]:
    found = duckdb.sql(f'select n, text from {name} order by n').fetchall()
    assert found == expected, (name, found)
"#;
    let read = Command::new(python).args(["-c", script]).current_dir(at).output().unwrap();
    assert!(read.status.success(), "{}", stderr(&read));
    // What fails leaves no file, and what was there stays.
    let before = std::fs::read(at.join("rows.csv")).unwrap();
    let (code, _) =
        wrong(at, &["select 1 / (n - 2) from (values (1), (2)) as t(n)", "-o", "rows.csv"]);
    assert_eq!((code, std::fs::read(at.join("rows.csv")).unwrap()), (1, before));
    let left = std::fs::read_dir(at).unwrap();
    let left =
        left.filter(|entry| entry.as_ref().unwrap().file_name().to_string_lossy().starts_with('.'));
    assert_eq!(left.count(), 0);
}

#[test]
fn statements_come_from_arguments_files_and_stdin() {
    let folder = corpus();
    let at = folder.path();
    std::fs::write(at.join("two.sql"), "-- ; two\nselect 1 as a;\nselect ';' as b;\n").unwrap();
    std::fs::write(at.join("mark.sql"), "\u{feff}select 1 as a").unwrap();
    assert_eq!(sql(at, &["-f", "mark.sql", "--format", "csv"]), "a\n1\n");
    let two = "a\n1\nb\n;\n";
    assert_eq!(sql(at, &["select 1 as a; select ';' as b", "--format", "csv"]), two);
    assert_eq!(sql(at, &["-f", "two.sql", "--format", "csv"]), two);
    assert_eq!(sql(at, &["-f", "two.sql", "-f", "two.sql", "--format", "csv"]), two.repeat(2));
    let mut piped = Command::new(env!("CARGO_BIN_EXE_tuwen"))
        .args(["sql", "--format", "csv"])
        .current_dir(at)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    piped.stdin.take().unwrap().write_all(b"select 1 as a; select ';' as b").unwrap();
    assert_eq!(stdout(&piped.wait_with_output().unwrap()), two);
    // Commands stand between statements.
    std::fs::write(at.join("commands.sql"), "\\df hash_dist\nselect 1 as a;\n\\df hash_dist\n")
        .unwrap();
    let function = "function,gives\n\"hash_distance(a, b)\",\"the same as hamming(a, b)\"\n";
    assert_eq!(
        sql(at, &["-f", "commands.sql", "--format", "csv"]),
        format!("{function}a\n1\n{function}")
    );
    let (code, said) = wrong(at, &["select 1;\n\\timing"]);
    assert!(code == 1 && said.contains("found a command of the shell"), "{said}");
    // All are planned before the first is run.
    let (code, said) = wrong(at, &["select 1; select 2 from gone"]);
    assert_eq!(code, 1);
    assert_eq!(
        said,
        "error: table `gone` does not exist\nLINE 1: select 1; select 2 from gone\n                                ^\n"
    );
}

#[test]
fn parameters_have_the_types_that_are_asked_for() {
    let folder = corpus();
    let at = folder.path();
    let query = "select text from examples where split = $split and n_tokens >= $least";
    let args = [query, "-p", "split=train", "-p", "least=4", "--format", "csv"];
    assert_eq!(sql(at, &args), "text\n红圆\n");
    assert_eq!(sql(at, &["select $a as a", "-p", "a='; drop", "--format", "csv"]), "a\n'; drop\n");
    for (args, code, expected) in [
        (&["select $a"][..], 1, "error: the parameter `$a` has no value\nhint: -p a=VALUE\n"),
        (
            &["select 1 where 2 = $n", "-p", "n=two"],
            1,
            "error: -p n: expected bigint, found `two`\n",
        ),
        (&["select 1", "-p", "n=1"], 2, "error: -p n: no query has a parameter `$n`\n"),
        (&["select 1", "-p", "n"], 2, "error: -p: expected NAME=VALUE, found `n`\n"),
    ] {
        assert_eq!(wrong(at, args), (code, expected.to_owned()));
    }
}

/// Each wrong query: what is said, once, with the place.
#[test]
fn errors_name_the_place_and_what_was_meant() {
    let folder = corpus();
    let at = folder.path();
    for (query, expected) in [
        (
            "select * from image",
            "table `image` does not exist|LINE 1: select * from image|                      ^|hint: did you mean `images`?",
        ),
        (
            "select '图', cuont(*)\nfrom images",
            "function `cuont` does not exist|LINE 1: select '图', cuont(*)|                     ^|hint: did you mean `count`?",
        ),
        (
            "select\n  image_is\nfrom images",
            "column `image_is` does not exist|LINE 2:   image_is|          ^|hint: did you mean `image_id`?",
        ),
        (
            "select i.xyz from rejects as i",
            "column `xyz` of `i` does not exist|LINE 1: select i.xyz from rejects as i|               ^|hint: columns are stage, id, reason, detail",
        ),
        (
            "select image_id from images join examples on true",
            "column `image_id` is ambiguous|LINE 1: select image_id from images join examples on true|               ^|hint: name its table: TABLE.image_id",
        ),
        (
            "sselect 1",
            "syntax error: expected an SQL statement, found sselect|LINE 1: sselect 1|        ^|hint: did you mean `select`?",
        ),
        (
            "select 1 from",
            "syntax error: expected identifier, found the end|LINE 1: select 1 from|                     ^",
        ),
        (
            "select 'a",
            "syntax error: unterminated string literal|LINE 1: select 'a|               ^",
        ),
        (
            "select text from examples group by split",
            "'examples.text' must appear in GROUP BY clause because it's not an aggregate expression|LINE 1: select text from examples group by split|               ^|hint: either add 'examples.text' to GROUP BY clause, or use an aggregate function like ANY_VALUE(examples.text)",
        ),
        (
            "select substr(1, 2, 3, 4)",
            "no function `substr(Int64, Int64, Int64, Int64)`: other types were expected|LINE 1: select substr(1, 2, 3, 4)|               ^|hint: there is substr(str: String, start_pos: Int64), substr(str: String, start_pos: Int64, length: Int64)",
        ),
        ("select 1 / 0", "Divide by zero error"),
        ("delete from pairs", "`tuwen sql` only reads, found `delete`"),
        ("create table t as select 1", "`tuwen sql` only reads, found `create`"),
        ("copy (select 1) to 'x.csv'", "`tuwen sql` only reads, found `copy`"),
        (
            "select tokenize('红')",
            "tokenize and detokenize need a tokenizer|hint: --set curate.tokenizer=FILE, or in tuwen.toml",
        ),
        (
            "select * from examples tablesample (10) repeatable (1)",
            "tablesample: repeatable is not supported|hint: tablesample (10), 10 percent, draws each row by itself; (100 rows) so many",
        ),
        (
            "select * from examples e, lateral (select * from pairs p where p.pair_id = e.example_id limit 1)",
            "a subquery that reads columns of the outer query is not supported here|hint: the same rows can be had by a join",
        ),
    ] {
        let expected = format!("error: {}\n", expected.replace('|', "\n"));
        assert_eq!(wrong(at, &[query]), (1, expected), "{query}");
    }
}

#[test]
fn tables_are_cut_for_people_and_say_so() {
    let folder = corpus();
    let at = folder.path();
    let query = "select value as n, repeat('图', 40) as text from generate_series(1, 5) order by n";
    let cut = tuwen(at, &["sql", query, "--max-rows", "2", "--max-width", "30"]);
    let expected = "\
+---+------------------------+
| n | text                   |
+---+------------------------+
| 1 | 图图图图图图图图图图…  |
| 2 | 图图图图图图图图图图…  |
+---+------------------------+
";
    assert_eq!(stdout(&cut), expected);
    assert!(stderr(&cut).contains("only the first 2 rows are shown"), "{}", stderr(&cut));
    let shown = |args: &[&str]| {
        let shown = tuwen(at, &[&["sql", query], args].concat());
        (stdout(&shown).matches(&"图".repeat(40)).count(), stderr(&shown))
    };
    for args in [&["--max-rows", "5"][..], &["--max-rows", "0"], &["--format", "csv"]] {
        assert_eq!(shown(args), (5, String::new()), "{args:?}");
    }
    // Whatever the format.
    for format in ["csv", "tsv", "json", "ndjson", "markdown"] {
        let (n, said) = shown(&["--max-rows", "2", "--format", format]);
        assert!(n == 2 && said.contains("only the first 2 rows are shown"), "{format}: {said}");
    }
}

#[test]
fn what_is_too_large_ends_with_one_line() {
    let folder = corpus();
    let at = folder.path();
    let clock = Instant::now();
    let cross = "select count(*) from generate_series(1, 1400000) as a(x), generate_series(1, 1400000) as b(y) where x + y < 0";
    let (code, said) = wrong(at, &[cross, "--timeout", "1s"]);
    assert_eq!(code, 1);
    let expected = "error: the query was stopped after 1s\nhint: --timeout allows more; a limit, or a filter on a join, needs less\n";
    assert_eq!(said, expected);
    assert!(clock.elapsed() < Duration::from_secs(120), "{:?}", clock.elapsed());
    let (code, said) = wrong(at, &["select 1", "--timeout", "0s"]);
    assert!(code == 2 && said.contains("<DURATION>': expected more than 0s, found `0s`"), "{said}");
    let (code, said) = wrong(
        at,
        &["select array_agg(value) from generate_series(1, 9000000)", "--memory-limit", "10M"],
    );
    assert_eq!(code, 1);
    assert!(said.starts_with("error: the query needs more memory than 10.0 MB ("), "{said}");
    assert_eq!(said.lines().count(), 2, "{said}");
    // Pictures that no pool counts.
    let large = "select octet_length(resize(decode(repeat('ffffff', 64), 'hex'), 4000 + value)) from generate_series(1, 60)";
    let (code, said) = wrong(at, &[large]);
    let expected = "error: resize: the pictures of one batch take more than 1 GiB\nhint: ";
    assert!(code == 1 && said.starts_with(expected), "{said}");
    let (code, said) = wrong(at, &["select array_length(range(0, 3000000000))"]);
    let expected = "error: range: the values of one batch take more than 1 GiB\nhint: ";
    assert!(code == 1 && said.starts_with(expected), "{said}");
    // What can be spilled is.
    let sorted = "select max(n) as n from (select row_number() over (order by value desc) as n from generate_series(1, 3000000))";
    assert_eq!(sql(at, &[sorted, "--memory-limit", "40M", "--format", "csv"]), "n\n3000000\n");
}

/// No text of a caption ends a query, or moves the cursor; a value that cannot be shown is an error.
#[test]
fn values_are_shown_as_what_they_are() {
    let folder = corpus();
    let at = folder.path();
    let (code, said) = wrong(at, &["select cast('Broken pipe' as int)"]);
    assert!(code == 1 && said.contains("Broken pipe"), "{said}");
    let (code, said) =
        wrong(at, &["select arrow_cast(9223372036854775807, 'Timestamp(Second, None)') as t"]);
    assert!(code == 1 && said.contains("9223372036854775807"), "{said}");
    let red = "select '红' || chr(27) || '[31m' || chr(8238) as t";
    let width = "红\\x1b[31m\\u{202e}".len() - 1;
    let line = format!("+{}+", "-".repeat(width + 2));
    let expected =
        format!("{line}\n| {:width$} |\n{line}\n| 红\\x1b[31m\\u{{202e}} |\n{line}\n", "t");
    assert_eq!(sql(at, &[red]), expected);
    // Programs read what is there.
    assert_eq!(sql(at, &[red, "--format", "csv"]), "t\n红\u{1b}[31m\u{202e}\n");
}

/// A reader that has seen enough ends a query and a report, which is no failure.
#[test]
fn a_reader_may_leave() {
    let folder = corpus();
    let long = "select value from generate_series(1, 1000000)";
    for args in
        [&["sql", long, "--format", "csv"][..], &["sql", long, "--format", "parquet"], &["report"]]
    {
        let mut child = Command::new(env!("CARGO_BIN_EXE_tuwen"))
            .args(args)
            .current_dir(folder.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        drop(child.stdout.take());
        let output = child.wait_with_output().unwrap();
        assert_eq!((output.status.code(), stderr(&output)), (Some(0), String::new()), "{args:?}");
    }
}

#[test]
fn an_output_file_is_what_its_name_leads_to() {
    use std::os::unix::fs::{PermissionsExt, symlink};
    let folder = corpus();
    let at = folder.path();
    let one = ["select 1 as n", "-o"];
    // A file keeps its rights, and a link is followed, also to what is not there yet.
    std::fs::create_dir(at.join("rows")).unwrap();
    std::fs::write(at.join("rows/there.csv"), "old").unwrap();
    std::fs::set_permissions(at.join("rows/there.csv"), PermissionsExt::from_mode(0o640)).unwrap();
    for name in ["there.csv", "new.csv"] {
        symlink(Path::new("rows").join(name), at.join(name)).unwrap();
        sql(at, &[&one[..], &[name]].concat());
        assert!(at.join(name).is_symlink());
        assert_eq!(std::fs::read_to_string(at.join("rows").join(name)).unwrap(), "n\n1\n");
    }
    let rights = std::fs::metadata(at.join("rows/there.csv")).unwrap().permissions();
    assert_eq!(rights.mode() & 0o777, 0o640);
    // A pipe is written to.
    assert!(Command::new("mkfifo").arg(at.join("pipe.csv")).status().unwrap().success());
    let reader =
        Command::new("cat").arg(at.join("pipe.csv")).stdout(Stdio::piped()).spawn().unwrap();
    sql(at, &[&one[..], &["pipe.csv"]].concat());
    assert_eq!(stdout(&reader.wait_with_output().unwrap()), "n\n1\n");
    // What is planned in vain makes no file.
    let (code, _) = wrong(at, &["select 1 from gone", "-o", "gone.csv"]);
    assert_eq!((code, at.join("gone.csv").exists()), (1, false));
    let (code, said) = wrong(at, &["select 1", "-o", "gone/rows.csv"]);
    assert!(code == 1 && said.starts_with("error: -o gone/rows.csv: cannot write there"), "{said}");
}

#[test]
fn tables_are_read_as_they_were() {
    let folder = corpus();
    let at = folder.path();
    let csv = |query: &str| -> Vec<String> {
        sql(at, &[query, "--format", "csv"]).lines().skip(1).map(str::to_owned).collect()
    };
    let then = csv("select max(committed) from history").remove(0);
    std::fs::write(at.join("pictures/train-1.jpg"), png(90)).unwrap();
    std::fs::write(at.join("crawl.csv"), "text,url,filename\n红红,,train-1.jpg\n坏,,gone.jpg\n")
        .unwrap();
    assert_eq!(tuwen(at, &RUN).status.code(), Some(0));

    assert_eq!(csv("select count(*) from examples"), ["4"]);
    assert_eq!(csv("select count(*) from examples@v1"), ["2"]);
    assert_eq!(csv("select count(*) from Examples version as of 0"), ["0"]);
    assert_eq!(csv(&format!("select count(*) from examples as of '{then}'")), ["2"]);
    assert_eq!(csv(&format!("select count(*) from rejects timestamp as of '{then}' as r")), ["0"]);
    assert_eq!(csv("select count(*) from rejects"), ["2"]);
    let new = "select text from examples where example_id not in (select example_id from examples@v1) order by text";
    assert_eq!(csv(new), ["坏", "红红"]);
    // The commits that runs made, and the runs.
    let runs =
        "select table_name, version, runs.stage, rows_in from history join runs using (run_id)
        where table_name in ('examples', 'pairs') order by table_name, version";
    assert_eq!(csv(runs).len(), 4);
    for (query, expected) in [
        ("select 1 from examples@v9", "table `examples` has no version 9"),
        ("select 1 from rejects@v1", "`rejects` is a view, which has no versions"),
        (
            "select 1 from runs as of '1999-01-01'",
            "table `runs` was not there at 1999-01-01 00:00:00 UTC",
        ),
        (
            "select 1 from runs as of 'soon'",
            "expected a version such as v3, or a time, found `soon`",
        ),
        ("select 1 from runs as of '1'", "expected a version such as v3, or a time, found `1`"),
        (
            "select 1 from runs as of '2026'",
            "expected a version such as v3, or a time, found `2026`",
        ),
        ("select 1 from run@v1", "table `run` does not exist"),
    ] {
        let (code, said) = wrong(at, &[query]);
        assert!(code == 1 && said.starts_with(&format!("error: {expected}\n")), "{said}");
    }
}

#[test]
fn samples_have_about_as_many_rows_as_were_asked_for() {
    let folder = corpus();
    let at = folder.path();
    let count = |column: &str, from: &str| -> u64 {
        let query = format!("select count({column}) as n from {from}");
        let text = sql(at, &[&query, "--format", "csv"]);
        text.lines().nth(1).unwrap().parse().unwrap()
    };
    let series = "(select value from generate_series(1, 100000)) as s";
    let n = count("*", &format!("{series} tablesample (10)"));
    // Ten times the standard deviation, which is 95.
    assert!((9_050..10_950).contains(&n), "{n}");
    assert_eq!(count("value", &format!("{series} tablesample (100 rows)")), 100);
    assert_eq!(count("*", "examples as e tablesample bernoulli (100 percent)"), 2);
    assert_eq!(count("*", "examples tablesample (0)"), 0);
}

#[test]
fn commands_list_tables_columns_and_functions() {
    let folder = corpus();
    let at = folder.path();
    let tables = sql(at, &["\\d", "--format", "csv"]);
    assert!(
        tables.contains("\nexamples,table,1,2\n") && tables.contains("\nrejects,view,,\n"),
        "{tables}"
    );
    let columns = sql(at, &["\\d+ examples", "--format", "csv"]);
    assert!(
        columns.contains("\nn_tokens,int,\"\",length of input_ids; null if rejected\n"),
        "{columns}"
    );
    assert!(sql(at, &["\\d rejects"]).contains("| reason "));
    let functions = sql(at, &["\\df hash", "--format", "csv"]);
    assert!(
        functions.contains("\n\"hash_distance(a, b)\",") && !functions.contains("resize"),
        "{functions}"
    );
    assert!(sql(at, &["\\df levenshtein"]).contains("levenshtein(str1, str2)"));
    let pinned = sql(at, &["\\d examples version as of 0"]);
    assert!(pinned.contains("| n_tokens "), "{pinned}");
    for name in ["images; select 1", "(select 1)", "images, examples", "images where true"] {
        let (code, said) = wrong(at, &[&format!("\\d {name}")]);
        let expected =
            format!("error: \\d: expected the name of one table or view, found `{name}`\n");
        assert_eq!((code, said), (1, expected));
    }
    let (code, said) = wrong(at, &["\\dx"]);
    assert_eq!(
        (code, said.as_str()),
        (1, "error: \\dx: there is no such command\nhint: \\? lists them\n")
    );
}

/// A person at a terminal: completion, a statement of two lines, an error, commands, a file, the history, Ctrl-C in the pager; and
/// the end by a signal.
#[test]
fn the_shell_answers_at_a_terminal() {
    let Some(python) = python_with("pty") else { return };
    let folder = corpus();
    let script = r#"
import fcntl, os, pty, re, select, signal, struct, sys, termios, time

def start(pager=""):
    global pid, terminal, came, n_seen
    came, n_seen = b"", 0
    pid, terminal = pty.fork()
    if pid == 0:
        os.environ.update(TERM="xterm", PAGER=pager, XDG_STATE_HOME=os.getcwd())
        if pager:
            # Twelve lines: all tables do not fit.
            fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", 12, 80, 0, 0))
        os.execv(sys.argv[1], [sys.argv[1], "sql"])

def expect(text):
    global came, n_seen
    until = time.monotonic() + 180
    # All that came is read anew each time: a letter or an escape sequence may come in two parts.
    seen = lambda: re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", came.decode(errors="replace"))
    while text not in seen()[n_seen:]:
        assert time.monotonic() < until, f"expected {text!r}, found {seen()[n_seen:]!r}"
        if select.select([terminal], [], [], 1)[0]:
            came += os.read(terminal, 65536)
    n_seen = seen().index(text, n_seen) + len(text)

def type(keys):
    os.write(terminal, keys.encode())

start()
expect("tuwen>")
type("select split from exam\t\n")
type("order by split;\n")
expect("| test  |")
expect("2 rows")
type("select count(history.oper\t) from history;\n")
expect("select count(history.operation")
expect("1 row")
type("select 1 from gone;\n")
expect("table `gone` does not exist")
type("\\timing\n")
expect("queries are timed")
type("\x1b[A\x1b[A\n")
expect("table `gone` does not exist")
type("select 7;\n")
expect("1 row in ")
open("commands.sql", "w").write("\\f csv\nselect 8 as eight;\n\\q\n")
type("\\i commands.sql\n")
expect("eight")
expect("1 row in ")
open("itself.sql", "w").write("\\i itself.sql\n")
type("\\i itself.sql\n")
expect("16 files run each other")
type("\\q\n")
_, status = os.waitpid(pid, 0)
assert status == 0, status
assert "order by split" in open("tuwen/sql_history").read()

# Ctrl-C is the pager's; a scheduler ends the shell, also after a query, which listens for signals.
open("pager", "w").write('#!/bin/sh\ntrap "" INT\ncat > /dev/null\necho paged\nread line < /dev/tty\n')
os.chmod("pager", 0o755)
start(os.path.abspath("pager"))
expect("tuwen>")
type("\\d\n")
expect("paged")
type("\x03")
type("\n")
expect("tuwen>")
type("select 7;\n")
expect("1 row")
expect("tuwen>")
os.kill(pid, signal.SIGTERM)
_, status = os.waitpid(pid, 0)
assert os.waitstatus_to_exitcode(status) == 143, status
"#;
    let answered = Command::new(python)
        .args(["-c", script, env!("CARGO_BIN_EXE_tuwen")])
        .current_dir(folder.path())
        .output()
        .unwrap();
    assert!(answered.status.success(), "{}", stderr(&answered));
}
