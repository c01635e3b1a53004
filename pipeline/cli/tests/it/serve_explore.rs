//! What was counted, and the box of SQL, as requests and a browser meet them: figures are those of the tables, files those of
//! `tuwen sql`, what was crawled stays text, and a query ends when nobody waits for it.

use std::io::{Read, Write};
use std::net::TcpStream;

use serde_json::json;

use crate::cli::{stdout, tuwen};
use crate::serve_page::chromium::Chromium;
use crate::serve_page::http::unescaped;
use crate::serve_page::{CORPUS, HOSTILE, between, column, serving};

/// A value in a query string.
fn encoded(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}

fn sql(query: &str) -> String {
    format!("/sql?q={}", encoded(query))
}

fn number(text: &str) -> u64 {
    text.replace(',', "").parse().unwrap()
}

fn count(query: &str) -> u64 {
    column(query)[0].parse().unwrap()
}

#[test]
fn every_pair_ends_once_and_the_figures_are_those_of_the_tables() {
    let page = serving().get("/rows");
    assert_eq!(page.status, 200, "{}", page.text());
    let page = page.text();
    let body = between(&page, "<tbody>", "</tbody>")[0];
    let mut ends = Vec::new();
    for row in between(body, "<tr>", "</tr>") {
        let name = unescaped(between(row, "<th scope=\"row\">", "</th>")[0]);
        let pairs = number(between(row, "<td class=\"number\">", "</td>")[0]);
        ends.push((name, pairs));
    }
    let all = count("select count(*) from pairs");
    assert_eq!(ends.iter().map(|(_, pairs)| pairs).sum::<u64>(), all);
    let foot = between(&page, "<tfoot>", "</tfoot>")[0];
    assert_eq!(number(between(foot, "<td class=\"number\">", "</td>")[0]), all);

    let of =
        |name: &str| ends.iter().find(|(known, _)| known == name).map_or(0, |(_, pairs)| *pairs);
    for split in ["train", "test"] {
        assert_eq!(
            of(split),
            count(&format!("select count(*) from examples where split = '{split}'"))
        );
    }
    // Reasons of curate as they stand in examples; what is said of a picture or an attempt, by what stands there.
    for reason in
        column("select distinct reject_reason from examples where reject_reason is not null")
    {
        let pairs =
            count(&format!("select count(*) from examples where reject_reason = '{reason}'"));
        match reason.as_str() {
            "image_rejected" => {
                let reasons = column(
                    "select distinct reject_reason from images where reject_reason is not null",
                );
                assert_eq!(reasons.iter().map(|name| of(name)).sum::<u64>(), pairs);
            }
            "fetch_failed" => {
                let outcomes =
                    column("select distinct outcome from originals where outcome <> 'ok'");
                assert_eq!(outcomes.iter().map(|name| of(name)).sum::<u64>(), pairs);
            }
            reason => assert_eq!(of(reason), pairs, "{reason}"),
        }
    }
    // Each part leads to rows: as many as it counts, up to the limit of the query.
    let serving = serving();
    let targets: Vec<String> =
        between(body, "href=\"/sql?", "\"").into_iter().map(unescaped).collect();
    assert_eq!(targets.len(), ends.len());
    for (target, (name, pairs)) in targets.iter().zip(&ends) {
        let answer = serving.get(&format!("/sql?{target}"));
        assert_eq!(answer.status, 200, "{name}: {}", answer.text());
        let text = answer.text();
        let shown = number(between(&text, "<p class=\"status\" role=\"status\"><b>", "</b>")[0]);
        assert_eq!(shown, (*pairs).min(100), "{name}");
    }
    // So does the gallery, where it can show just these.
    let mut n_followed = 0;
    for (row, (name, pairs)) in between(body, "<tr>", "</tr>").into_iter().zip(&ends) {
        let links = between(row, "<td class=\"links\">", "</td>")[0];
        for target in between(links, "href=\"/?", "\"") {
            let page = serving.get(&format!("/?{}", unescaped(target)));
            let text = page.text();
            let shown = between(&text, "<p class=\"count\" role=\"status\"><strong>", "</strong>");
            assert_eq!(number(shown[0]), *pairs, "{name}: {target}");
            n_followed += 1;
        }
    }
    assert!(n_followed > 3, "{body}");
}

#[test]
fn plots_show_what_is_counted() {
    let page = serving().get("/plots");
    assert_eq!(page.status, 200, "{}", page.text());
    let text = page.text();
    let figure = |title: &str| {
        text.split(&format!("<h2>{title}</h2>")).nth(1).unwrap().split("</section>").next().unwrap()
    };
    for (title, query) in [
        ("Lengths of captions", "select count(split) from examples"),
        ("Sizes of pictures", "select count(*) from images where width > 0 and height > 0"),
        ("Sizes of files", "select count(*) from originals where outcome = 'ok' and bytes_len > 0"),
    ] {
        let columns = between(figure(title), "<rect", "</rect>");
        let numbers = columns.iter().map(|column| number(between(column, ": ", "</title>")[0]));
        assert_eq!(numbers.sum::<u64>(), count(query), "{title}");
    }
    let formats = between(figure("Formats"), "<td class=\"number\">", "</td>");
    assert_eq!(formats.into_iter().map(number).sum::<u64>(), count("select count(*) from images"));
    let runs = between(figure("How long runs took"), "<circle", "</circle>").len() as u64;
    assert_eq!(
        runs,
        count(
            "select count(*) from runs where round(date_part('epoch', finished) - date_part('epoch', started), 2) > 0"
        )
    );
    assert!(!text.contains("NaN") && !text.contains(" style="));
}

#[test]
fn tables_say_what_columns_mean_and_how_much_there_is() {
    let page = serving().get("/tables").text();
    for table in tuwen_schemas::TABLES.iter() {
        assert!(page.contains(&format!("id=\"{}\"", table.name)), "{}", table.name);
        for field in table.schema.fields() {
            let meaning = field.metadata()[tuwen_schemas::COMMENT]
                .replace('&', "&amp;")
                .replace('<', "&lt;")
                .replace('>', "&gt;")
                .replace('"', "&quot;");
            assert!(page.contains(&meaning), "{}.{}: {meaning}", table.name, field.name());
        }
    }
    let row = between(&page, "<a href=\"#pairs\">", "</tr>")[0];
    assert_eq!(
        number(between(row, "<td class=\"number\">", "</td>")[0]),
        count("select count(*) from pairs")
    );
}

#[test]
fn rows_of_a_query_are_text_and_say_what_they_are() {
    let serving = serving();
    let query = "select 1.5 as n, null as nothing, '' as empty, image_id, pixels, text from examples join images using (image_id) \
                 where split = 'train' order by image_id";
    let page = serving.get(&sql(query)).text();
    assert!(page.contains("<span class=\"null\">NULL</span>"));
    assert!(page.contains("<td class=\"number\">1.5</td>"));
    let id = &column("select min(image_id) from examples where split = 'train'")[0];
    assert!(page.contains(&format!("<a href=\"/pictures/{id}\"><code>{id}</code></a>")));
    assert_eq!(
        page.matches("<img src=\"data:image/jpeg;base64,").count() as u64,
        count("select count(*) from examples where split = 'train'")
    );

    // What a query says of what was crawled, or of itself, runs nothing.
    let mut hostile = vec![sql("select text, url, filename from pairs")];
    for text in HOSTILE {
        let literal = text.replace('\'', "''").replace('\0', "");
        let name = text.replace('"', "\"\"").replace('\0', "");
        hostile
            .push(sql(&format!("select '{literal}' as \"{name}\", 1 as n union all select '', 2")));
        hostile.push(sql(text));
        hostile.push(format!(
            "{}&p.x={}&plot=bars&x={}&y=n",
            sql("select $x as \"<b>\", 1 as n union all select 'b', 2"),
            encoded(&text.replace('\0', "")),
            encoded("<b>")
        ));
    }
    for path in hostile {
        let page = serving.get(&path).text();
        for mark in [
            "<script>",
            "<img src=x",
            "<svg/onload",
            "<iframe",
            "<base",
            "<meta http-equiv",
            "<a href=\"javascript",
            "<math",
        ] {
            assert!(!page.contains(mark), "{path}: {mark}");
        }
    }

    // More rows than are shown are told of, and not computed.
    let many = serving.get(&sql("select value from generate_series(1, 100000000000)")).text();
    assert!(many.contains("there are more") && many.contains("<b>100</b>"));
    let five = serving
        .get(&format!("{}&rows=500", sql("select value from generate_series(1, 500)")))
        .text();
    assert!(!five.contains("there are more") && five.contains("<b>500</b>"));
    // A long value is cut, and says so.
    let long = serving.get(&sql("select repeat('红', 2000) as long")).text();
    assert!(long.contains("1,500 more letters"));
}

#[test]
fn what_is_wrong_is_said_with_its_place() {
    let serving = serving();
    for (query, message, more) in [
        ("select\n txt from pairs", "column `txt` does not exist", "LINE 2:  <mark>t</mark>xt"),
        ("select 1; select 2", "expected one query, found 2", ""),
        ("drop table pairs", "only reads", ""),
        ("select * from exampless", "table `exampless` does not exist", "did you mean `examples`?"),
        ("select '", "syntax error", "LINE 1: "),
    ] {
        let page = serving.get(&sql(query));
        assert_eq!(page.status, 400, "{query}");
        let text = page.text();
        assert!(
            text.contains("role=\"alert\"") && text.contains(message) && text.contains(more),
            "{query}: {text}"
        );
        // The query stays in the box.
        assert!(text.contains(&query.replace('<', "&lt;")), "{query}");
    }
    // Parameters are asked for, and bound.
    let query = "select count(*) as n from examples where split = $split";
    let asks = serving.get(&sql(query)).text();
    assert!(
        asks.contains("name=\"p.split\"") && asks.contains("The query has parameters"),
        "{asks}"
    );
    let bound = serving.get(&format!("{}&p.split=train", sql(query))).text();
    let n = count("select count(*) from examples where split = 'train'");
    assert!(
        bound.contains(&format!("<td class=\"number\">{n}</td>"))
            && bound.contains("value=\"train\"")
    );
    let plan = serving.get(&format!("{}&explain=1&p.split=train", sql(query))).text();
    assert!(plan.contains("AggregateExec"), "{plan}");
    // A link of another site is not run by following it.
    let headers = [
        ("sec-fetch-site", "cross-site"),
        ("sec-fetch-mode", "navigate"),
        ("sec-fetch-dest", "document"),
    ];
    let held = serving.ask("GET", &sql("select 424242 + 1 as n"), &headers, "");
    assert!(held.status == 200 && !held.text().contains("424243"), "{}", held.text());
    for path in ["/sql/complete", "/sql/download?format=exe&q=select", "/sql/download?q=select%201"]
    {
        assert_eq!(serving.get(path).status, 400, "{path}");
    }
}

#[test]
fn names_are_completed_as_in_the_shell() {
    let serving = serving();
    for (line, replaces, words) in [
        ("select * from ima", 3, json!(["images"])),
        ("select '红', images.dh", 2, json!(["dhash"])),
        ("xyzzy", 5, json!([])),
    ] {
        let answer = serving.get(&format!("/sql/complete?line={}", encoded(line)));
        let answer: serde_json::Value = serde_json::from_str(&answer.text()).unwrap();
        assert_eq!(answer, json!({ "replaces": replaces, "words": words }), "{line}");
    }
}

/// The body of an answer in chunks, and whether it came to its end.
fn chunks(mut bytes: &[u8]) -> (Vec<u8>, bool) {
    let mut body = Vec::new();
    loop {
        let Some(end) = bytes.windows(2).position(|two| two == b"\r\n") else {
            return (body, false);
        };
        let size = usize::from_str_radix(std::str::from_utf8(&bytes[..end]).unwrap(), 16).unwrap();
        let rest = &bytes[end + 2..];
        if size == 0 {
            return (body, true);
        }
        if rest.len() < size + 2 {
            return (body, false);
        }
        body.extend_from_slice(&rest[..size]);
        bytes = &rest[size + 2..];
    }
}

/// The connection of a request for `path`.
fn asking(host: &str, path: &str) -> TcpStream {
    let mut stream = TcpStream::connect(host).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n").unwrap();
    stream
}

/// Status line and headers, the body, and whether that is whole.
fn downloaded(host: &str, path: &str) -> (String, Vec<u8>, bool) {
    let mut bytes = Vec::new();
    asking(host, path).read_to_end(&mut bytes).unwrap();
    let end = bytes.windows(4).position(|four| four == b"\r\n\r\n").unwrap();
    let head = String::from_utf8_lossy(&bytes[..end]).to_lowercase();
    let body = &bytes[end + 4..];
    match head.contains("transfer-encoding: chunked") {
        true => {
            let (body, is_whole) = chunks(body);
            (head, body, is_whole)
        }
        false => (head, body.to_vec(), true),
    }
}

#[test]
fn files_are_those_that_tuwen_sql_writes() {
    let serving = serving();
    let query = "select pair_id, text, url, filename, source_line from pairs order by pair_id";
    for (format, content_type) in [
        ("csv", "text/csv"),
        ("tsv", "text/tab"),
        ("json", "application/json"),
        ("ndjson", "application/x-ndjson"),
        ("markdown", "text/markdown"),
    ] {
        let (head, body, is_whole) = downloaded(
            serving.host(),
            &format!("/sql/download?format={format}&q={}", encoded(query)),
        );
        assert!(
            head.starts_with("http/1.1 200") && head.contains(content_type) && is_whole,
            "{format}: {head}"
        );
        assert!(head.contains("attachment; filename=\"rows."), "{head}");
        let expected = tuwen(CORPUS.path(), &["sql", query, "--format", format]);
        assert_eq!(String::from_utf8(body).unwrap(), stdout(&expected), "{format}");
    }
    let (_, body, _) =
        downloaded(serving.host(), &format!("/sql/download?format=parquet&q={}", encoded(query)));
    let reader = parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder::try_new(
        bytes::Bytes::from(body),
    )
    .unwrap();
    let n: usize = reader.build().unwrap().map(|batch| batch.unwrap().num_rows()).sum();
    assert_eq!(n as u64, count("select count(*) from pairs"));

    // What fails at once is an error; what fails later breaks off.
    let (head, ..) = downloaded(
        serving.host(),
        &format!("/sql/download?format=csv&q={}", encoded("select nothing from pairs")),
    );
    assert!(head.starts_with("http/1.1 400"), "{head}");
    let late = "select 1 / (value - 4000000) as n from generate_series(1, 100000000000)";
    let (head, body, is_whole) =
        downloaded(serving.host(), &format!("/sql/download?format=csv&q={}", encoded(late)));
    assert!(head.starts_with("http/1.1 200") && body.len() > 100_000 && !is_whole, "{head}");
}

#[test]
fn a_query_ends_when_its_reader_leaves() {
    let serving = serving();
    let endless = "select value, random() as r from generate_series(1, 1000000000000)";
    let mut left =
        asking(serving.host(), &format!("/sql/download?format=ndjson&q={}", encoded(endless)));
    let mut some = [0; 4096];
    left.read_exact(&mut some).unwrap();
    let silent = "select count(*) from generate_series(1, 1000000000000) where random() < 0";
    let page = asking(serving.host(), &sql(silent));
    let running = || {
        let metrics = serving.get("/metrics").text();
        let line = metrics
            .lines()
            .find(|line| line.starts_with("tuwen_serve_queries_running "))
            .map(str::to_owned);
        line.unwrap_or_else(|| panic!("{metrics}"))
            .rsplit(' ')
            .next()
            .unwrap()
            .parse::<u64>()
            .unwrap()
    };
    while running() < 2 {
        std::thread::yield_now();
    }
    drop((left, page));
    while running() > 0 {
        std::thread::yield_now();
    }
}

#[test]
fn the_box_is_used_by_keys_alone() {
    let Some(browser) = Chromium::start() else { return };
    let serving = serving();
    browser.open(&format!("{}/sql", serving.base));
    browser.wait("document.activeElement.id === 'q'");
    let typed = |text: &str| browser.call("Input.insertText", json!({ "text": text }));
    let key = |key: &str, modifiers: u32, code: u32| {
        for kind in ["rawKeyDown", "keyUp"] {
            browser.call("Input.dispatchKeyEvent", json!({ "type": kind, "key": key, "modifiers": modifiers, "windowsVirtualKeyCode": code }));
        }
    };
    typed("select split, count(*) as n from exam");
    browser.wait("!document.querySelector('#words').hidden");
    assert_eq!(
        browser.eval("[...document.querySelectorAll('#words li')].map((li) => li.textContent)"),
        json!(["examples"])
    );
    assert_eq!(
        browser.eval("document.querySelector('#q').getAttribute('aria-expanded')"),
        json!("true")
    );
    browser.press("Tab");
    typed(" group by split order by split");
    assert_eq!(
        browser.eval("document.querySelector('#q').value"),
        json!("select split, count(*) as n from examples group by split order by split")
    );
    browser.press("Escape");
    key("Enter", 2, 13);
    browser.wait("document.querySelector('.rows tbody tr')");
    // The rows are there before the page's scripts have run.
    browser.arrived();
    let expected = column("select count(*) from examples group by split order by split");
    let numbers = "[...document.querySelectorAll('.rows td.number')].map((td) => td.textContent.replaceAll(',', ''))";
    assert_eq!(browser.eval(numbers), json!(expected));
    // It is kept by the browser, and drawn.
    assert_eq!(browser.eval("document.querySelectorAll('#past li').length"), json!(1));
    browser.eval("document.querySelector('form.draw').requestSubmit()");
    browser.wait("document.querySelectorAll('figure.drawing table.bars tr').length > 1");
    // The cursor stands where the error is.
    browser.open(&format!("{}{}", serving.base, sql("select 1,\n  nothing\nfrom pairs")));
    browser.wait("document.querySelector('.wrong mark')");
    assert_eq!(
        browser.eval("document.querySelector('#q').selectionStart"),
        json!("select 1,\n  ".len())
    );
    assert_eq!(browser.events("Runtime.exceptionThrown"), Vec::<serde_json::Value>::new());
}

#[test]
fn pages_fit_the_window_and_nothing_of_a_query_runs() {
    let Some(browser) = Chromium::start() else { return };
    let serving = serving();
    let hostile =
        sql("select text, url, filename from pairs where text like '%xss%' or url like '%xss%'");
    let paths = ["/rows", "/plots", "/sql", "/tables", &hostile];
    for (width, scheme) in [(380, "light"), (1400, "dark")] {
        browser.resize(width);
        browser.prefer(scheme);
        for path in paths {
            let lang = if path.contains('?') { "&lang=zh" } else { "?lang=zh" };
            browser.open(&format!("{}{path}{lang}", serving.base));
            assert_eq!(
                browser.eval("document.documentElement.scrollWidth <= innerWidth"),
                json!(true),
                "{path} at {width}"
            );
            assert_eq!(browser.eval("typeof window.xss"), json!("undefined"), "{path}");
            // What a chart says is said as text as well.
            assert_eq!(browser.eval("[...document.querySelectorAll('svg.plot')].every((svg) => svg.querySelector('title') && svg.closest('section').querySelector('table'))"), json!(true));
        }
    }
    let stopped: Vec<_> = browser
        .events("Log.entryAdded")
        .into_iter()
        .filter(|entry| entry["entry"]["source"] == json!("security"))
        .collect();
    assert_eq!(stopped, [json!(null); 0], "{stopped:?}");
    for request in browser.events("Network.requestWillBeSent") {
        let url = request["request"]["url"].as_str().unwrap().to_owned();
        assert!(
            url.starts_with(&serving.base)
                || url == "about:blank"
                || url.starts_with("data:image/jpeg"),
            "{url}"
        );
    }
}
