//! The web page of `tuwen serve` as requests meet it: what is shown is what the tables hold, page for page; what was crawled stays text;
//! who may not ask gets nothing. `serve_page/browser.rs` looks at it through Chromium.

mod browser;
mod changes;
pub(crate) mod chromium;
pub(crate) mod http;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::sync::LazyLock;

use sha2::{Digest, Sha256};
use tempfile::TempDir;
use tuwen_corpus::{Author, Change, Corpus, Rows};

use crate::cli::{stdout, tuwen};
use http::{Answer, Serving, unescaped};

/// Captions, URLs and file names that would break out of a page, or of what stands in one.
pub(crate) const HOSTILE: [&str; 14] = [
    "<script>window.xss=1</script>",
    "\"><img src=x onerror=window.xss=1>",
    "'><svg/onload=window.xss=1>",
    "</title><script>window.xss=1</script>",
    "</p></li></ol><iframe srcdoc='<script>parent.xss=1</script>'>",
    "javascript:window.xss=1",
    "data:text/html,<script>window.xss=1</script>",
    "<a href=\"javascript:window.xss=1\">红圆</a>",
    "<math><mtext><table><mglyph><style><img src=x onerror=window.xss=1>",
    "&lt;script&gt;window.xss=1&lt;/script&gt;",
    "{{constructor.constructor('window.xss=1')()}}",
    "红圆\u{202e}<b>gnorts</b>\u{0}\u{feff}",
    "<base href=https://evil.example/><link rel=stylesheet href=//evil.example/x.css>",
    "<meta http-equiv=refresh content='0;url=https://evil.example/'>",
];

/// The sample crawl, rows that would break out of a page, and a model's captions beside the pictures.
pub(crate) static CORPUS: LazyLock<TempDir> = LazyLock::new(|| {
    let folder = tempfile::tempdir().unwrap();
    let sample = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../data/sample");
    for name in ["train.csv", "test.csv", "tokenizer.json"] {
        fs::copy(sample.join(name), folder.path().join(name)).unwrap();
    }
    let quoted = |text: &str| format!("\"{}\"", text.replace('"', "\"\""));
    let mut csv = "text,url,filename\n".to_owned();
    for (i, hostile) in HOSTILE.iter().enumerate() {
        // One with a picture, one without.
        csv += &format!("{},{},train-{i}.jpg\n", quoted(hostile), quoted(hostile));
        csv += &format!("{},,{}\n", quoted(hostile), quoted(hostile));
    }
    fs::write(folder.path().join("hostile.csv"), csv).unwrap();
    let images = sample.join("images").display().to_string();
    let args = ["run", "train.csv", "test.csv", "hostile.csv", "--tokenizer", "tokenizer.json"];
    let set = ["--image-dir", &images, "--set", "curate.group_near=true", "--force"];
    let run = tuwen(folder.path(), &[&args[..], &set[..]].concat());
    assert_eq!(run.status.code(), Some(0), "{}", String::from_utf8_lossy(&run.stderr));
    let location = folder.path().join("corpus").display().to_string();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(write_captions(&location));
    folder
});

/// A caption of a model for each image, a hostile one.
async fn write_captions(location: &str) {
    let mut snapshot = Corpus::open_or_create(location).await.unwrap().snapshot().await.unwrap();
    let ctx = snapshot.session(Rows::Light).await.unwrap();
    let captions = ctx.sql(
        "select image_id, '<b onclick=xss()>模型说' || left(image_id, 4) as caption, cast(-0.5 as real) as score, 'the model' as model, \
         'm1' as model_id, '{}' as settings, cast(1 as bigint) as images_version, \
         arrow_cast('2026-01-01T00:00:00Z', 'Timestamp(Microsecond, Some(\"UTC\"))') as captioned_at \
         from images where reject_reason is null",
    );
    let files = snapshot.write_files("captions", captions.await.unwrap(), 0).await.unwrap();
    let change = Change { adds: files.adds, ..Change::default() };
    let author = Author { stage: "caption", run_id: String::new() };
    snapshot.commit("captions", change, &author).await.unwrap();
}

pub(crate) fn serving() -> Serving {
    Serving::start(CORPUS.path(), &[])
}

/// The one column of a query, as `tuwen sql` has it.
pub(crate) fn column(query: &str) -> Vec<String> {
    let output = tuwen(CORPUS.path(), &["sql", query, "--format", "json"]);
    assert!(output.status.success(), "{query}: {}", String::from_utf8_lossy(&output.stderr));
    let rows: Vec<serde_json::Value> = serde_json::from_str(&stdout(&output)).unwrap();
    let text = |value: &serde_json::Value| value.as_str().map_or(value.to_string(), str::to_owned);
    rows.iter().map(|row| text(row.as_object().unwrap().values().next().unwrap())).collect()
}

/// What stands in `text` between each `from` and the next `to`.
pub(crate) fn between<'a>(text: &'a str, from: &str, to: &str) -> Vec<&'a str> {
    text.split(from).skip(1).map(|rest| rest.split(to).next().unwrap()).collect()
}

/// The links of tiles, and that to the next page.
fn tiles(page: &str) -> (Vec<String>, Option<String>) {
    let list = page.split("id=\"tiles\"").nth(1).unwrap().split("</ol>").next().unwrap();
    let links = between(list, "<a class=\"picture\" href=\"", "\"").into_iter().map(unescaped);
    let next = between(page, "<a rel=\"next\" href=\"/?", "\"")
        .first()
        .map(|next| format!("/?{}", unescaped(next)));
    (links.collect(), next)
}

/// All pages from `path` on: the places of all tiles.
fn scrolled(serving: &Serving, path: &str) -> Vec<String> {
    let (mut all, mut next) = (Vec::new(), Some(path.to_owned()));
    while let Some(path) = next {
        let page = serving.get(&path);
        assert_eq!(page.status, 200, "{path}: {}", page.text());
        let (links, following) = tiles(&page.text());
        all.extend(links);
        next = following;
    }
    all
}

#[test]
fn pages_one_after_the_other_are_what_sql_gives() {
    let serving = serving();
    for (path, condition) in [
        ("/", "true"),
        ("/?split=train", "split = 'train'"),
        ("/?split=rejected", "split is null"),
        ("/?reason=image_rejected", "reject_reason = 'image_rejected'"),
        ("/?split=nowhere", "false"),
        ("/?q=%E7%BA%A2", "text like '%红%'"),
        ("/?q=WINDOW.xss", "text ilike '%window.xss%'"),
        ("/?q=%25", "text like '%\\%%'"),
        ("/?where=n_tokens%20%3E%206", "n_tokens > 6"),
        (
            "/?where=width%20%3C%20250",
            "image_id in (select image_id from images where width < 250)",
        ),
        (
            "/?where=url%20is%20null%20--%20no",
            "example_id in (select pair_id from pairs where url is null)",
        ),
        (
            "/?q=%E7%BA%A2&where=n_tokens%20%3E%206&split=test",
            "text like '%红%' and n_tokens > 6 and split = 'test'",
        ),
    ] {
        let shown = scrolled(&serving, path);
        let query =
            format!("select coalesce(image_id, example_id) as id from examples where {condition}");
        let (mut expected, id) = (column(&query), |link: &String| {
            link[1..].split(['/', '?']).nth(1).unwrap().to_owned()
        });
        let mut found: Vec<String> = shown.iter().map(id).collect();
        expected.sort();
        found.sort();
        assert_eq!(found, expected, "{path}");
        let places: BTreeSet<&str> =
            shown.iter().map(|link| link.split("at=").nth(1).unwrap()).collect();
        assert_eq!(places.len(), shown.len(), "{path}: no row twice");
    }
    // The same order each time, and the counts of the choices are those of the table.
    assert_eq!(scrolled(&serving, "/"), scrolled(&serving, "/"));
    let page = serving.get("/").text();
    for split in column(
        "select split || ' (' || cast(count(*) as varchar) || ')' from examples where split is not null group by split",
    ) {
        assert!(page.contains(&format!(">{split}<")), "{split}");
    }
}

#[test]
fn what_was_crawled_is_text_on_every_page() {
    let serving = serving();
    let links = scrolled(&serving, "/");
    let pages = [
        "/",
        "/?q=%3Cscript%3E%22%27",
        "/?where=1%20%3D%20%27%3Cb%3E%27",
        "/?split=%22%3E%3Cscript%3E",
        "/%3Cscript%3E",
    ];
    let mut seen = String::new();
    for path in pages.iter().map(|path| (*path).to_owned()).chain(links) {
        let page = serving.get(&path);
        let text = page.text();
        for mark in [
            "<script>",
            "<img src=x",
            "<svg",
            "<iframe",
            "<math",
            "<base",
            "<meta http-equiv",
            "<b>",
            "<b ",
            "href=\"javascript",
            "href=\"data",
            "href=\"http",
            "src=\"http",
            " style=",
            " onerror=window.xss=1 ",
        ] {
            assert!(!text.contains(mark), "{path}: {mark}");
        }
        // Only files of this server run.
        for script in between(&text, "<script", ">") {
            assert!(script.contains("src=\"/static/"), "{path}: {script}");
        }
        assert_eq!(page.header("x-content-type-options"), Some("nosniff"), "{path}");
        let policy = page.header("content-security-policy").unwrap();
        assert!(
            policy.contains("default-src 'none'") && policy.contains("script-src 'self'"),
            "{policy}"
        );
        assert!(
            !policy.contains("unsafe") && policy.contains("frame-ancestors 'none'"),
            "{policy}"
        );
        assert_eq!(page.header("referrer-policy"), Some("same-origin"), "{path}");
        assert_eq!(page.header("cross-origin-resource-policy"), Some("same-origin"), "{path}");
        seen += &text;
    }
    let seen = unescaped(&seen);
    for hostile in HOSTILE.iter().filter(|hostile| !hostile.contains('\u{202e}')) {
        assert!(seen.contains(hostile), "{hostile} is shown");
    }
    assert!(seen.contains("U+202E") && seen.contains("<b onclick=xss()>模型说"));
}

#[test]
fn a_picture_has_its_pairs_its_attempts_and_what_cleaning_changed() {
    let serving = serving();
    let ids = column(
        "select image_id from examples where split = 'train' and text like '%圆%' order by example_id limit 1",
    );
    let page = serving.get(&format!("/pictures/{}", ids[0])).text();
    let query = format!(
        "select pair_id from pairs join examples on pair_id = example_id where image_id = '{}'",
        ids[0]
    );
    assert_eq!(between(&page, "<li class=\"pair\">", "</li>").len(), column(&query).len());
    assert!(page.contains("src=\"/pixels/") && page.contains("?as=png\" alt=\""), "{page}");
    // What is said to show the same rows does.
    let shown = between(&page, "<pre><code>", "</code></pre>");
    assert!(shown.len() >= 5, "{page}");
    for query in shown {
        let query = unescaped(query);
        let output = tuwen(CORPUS.path(), &["sql", &query, "--format", "ndjson"]);
        assert!(output.status.success(), "{query}: {}", String::from_utf8_lossy(&output.stderr));
    }
    // A caption that was cleaned shows what went.
    let cleaned = column(
        "select image_id from examples join pairs on example_id = pair_id where image_id is not null and pairs.text <> examples.text \
         and pairs.text not like '%<%' limit 1",
    );
    let page = serving.get(&format!("/pictures/{}", cleaned[0])).text();
    assert!(page.contains("<del>"), "{page}");
    // A pair without a picture has a page; one with a picture leads there.
    let lost = column(
        "select example_id from examples where image_id is null and reject_reason = 'fetch_failed' limit 1",
    );
    let page = serving.get(&format!("/pairs/{}", lost[0])).text();
    assert!(
        page.contains("No attempt brought a picture") && page.contains("missing_file"),
        "{page}"
    );
    let pair = column("select example_id from examples where split = 'test' limit 1");
    let answer = serving.get(&format!("/pairs/{}?split=test", pair[0]));
    assert_eq!(answer.status, 303);
    assert!(answer.header("location").unwrap().starts_with("/pictures/"));
    // The ways to the pictures before and behind it are those of the gallery.
    let links = scrolled(&serving, "/?split=test");
    let page = serving.get(&links[1]).text();
    let ways: BTreeMap<&str, String> =
        between(&page, "<a class=\"button ghost\" rel=\"", "\" data-key")
            .into_iter()
            .map(|way| way.split_once("\" href=\"").unwrap())
            .map(|(rel, href)| (rel, unescaped(href)))
            .collect();
    assert_eq!(ways["prev"], links[0]);
    assert_eq!(ways["next"], links[2]);
}

#[test]
fn pixels_are_those_of_the_table_and_files_those_that_were_fetched() {
    let serving = serving();
    let rows = column(
        "select image_id || ' ' || cast(pixels_crc32 as varchar) from images where reject_reason is null order by image_id limit 5",
    );
    for row in rows {
        let (id, crc) = row.split_once(' ').unwrap();
        let png = serving.get(&format!("/pixels/{id}?as=png"));
        assert_eq!((png.status, png.header("content-type")), (200, Some("image/png")));
        let pixels = image::load_from_memory(&png.body).unwrap().into_rgb8().into_raw();
        assert_eq!(crc32fast::hash(&pixels).to_string(), crc);
        let jpeg = serving.get(&format!("/pixels/{id}"));
        let size = image::load_from_memory(&jpeg.body).unwrap().into_rgb8().dimensions();
        assert_eq!((size, jpeg.header("content-type")), ((224, 224), Some("image/jpeg")));
        let tag = jpeg.header("etag").unwrap();
        let again = serving.ask("GET", &format!("/pixels/{id}"), &[("if-none-match", tag)], "");
        assert_eq!((again.status, again.body.len()), (304, 0));

        let file = serving.get(&format!("/originals/{id}"));
        assert_eq!(file.status, 200);
        let digest: String =
            Sha256::digest(&file.body).iter().take(16).map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(digest, id);
        assert!(file.header("content-disposition").unwrap().starts_with("attachment; filename=\""));
        assert!(file.header("content-security-policy").unwrap().contains("sandbox"));
        assert_eq!(file.header("x-content-type-options"), Some("nosniff"));
    }
}

#[test]
fn what_cannot_be_is_said_and_nothing_breaks() {
    let serving = serving();
    let nobody = "0".repeat(32);
    let long = "x".repeat(600);
    for (path, status) in [
        ("/?after=x", 400),
        ("/?after=1-99999999999", 400),
        ("/?after=0-4000000000", 200),
        ("/?after=999-1", 200),
        ("/?q=", 200),
        ("/?split=a&split=b", 400),
        ("/?where=n_tokens%20%3E%20'x'", 400),
        ("/?where=nothing%20%3D%201", 400),
        ("/?where=true)%20or%20(true", 200),
        ("/?where=true%3B%20select%201", 400),
        ("/?where=(", 400),
        ("/?where=%00%FF", 400),
        (&format!("/?q={long}"), 400),
        ("/?part=1&after=x", 400),
        ("/pictures/x", 404),
        (&format!("/pictures/{nobody}"), 404),
        (&format!("/pictures/{nobody}?at=x"), 400),
        (&format!("/pairs/{nobody}"), 404),
        ("/pairs/..%2F..%2Fetc", 404),
        (&format!("/pixels/{nobody}"), 404),
        ("/pixels/%ff", 400),
        (&format!("/pixels/{nobody}?as=svg"), 400),
        (&format!("/originals/{nobody}"), 404),
        ("/static/00000000/page.css", 200),
        ("/static/0/../../mod.rs", 404),
        ("/nothing", 404),
    ] {
        let answer = serving.get(path);
        assert_eq!(answer.status, status, "{path}: {}", answer.text());
        if status != 200 {
            assert!(answer.text().contains("role=\"alert\""), "{path}: {}", answer.text());
            assert_eq!(answer.header("content-type"), Some("text/html; charset=utf-8"), "{path}");
        }
    }
    // As `tuwen sql` says it: the line, the place, the name that was meant.
    let page = unescaped(&serving.get("/?where=n_tokens%20%3E%203%20and%20widht%20%3C%209").text());
    assert!(
        page.contains("column `widht` does not exist\nn_tokens > 3 and widht < 9\n                 ^\nhint: did you mean `width`?"),
        "{page}"
    );
    for method in ["POST", "PUT", "DELETE", "TRACE"] {
        assert_eq!(serving.ask(method, "/", &[], "").status, 405, "{method}");
    }
}

#[test]
fn another_site_reads_nothing() {
    let serving = serving();
    let host = serving.host();
    let asked = |headers: &[(&str, &str)]| serving.ask("GET", "/", headers, "").status;
    for (headers, status) in [
        (&[][..], 200),
        (&[("host", "localhost:1234")], 200),
        (&[("host", "evil.example")], 403),
        (&[("host", "127.0.0.1.evil.example:8080")], 403),
        (&[("host", "")], 403),
        (&[("sec-fetch-site", "same-origin")], 200),
        (&[("sec-fetch-site", "none")], 200),
        (&[("sec-fetch-site", "cross-site")], 403),
        (
            &[
                ("sec-fetch-site", "same-site"),
                ("sec-fetch-mode", "no-cors"),
                ("sec-fetch-dest", "image"),
            ],
            403,
        ),
        (
            &[
                ("sec-fetch-site", "cross-site"),
                ("sec-fetch-mode", "navigate"),
                ("sec-fetch-dest", "iframe"),
            ],
            403,
        ),
        // A link that somebody follows.
        (
            &[
                ("sec-fetch-site", "cross-site"),
                ("sec-fetch-mode", "navigate"),
                ("sec-fetch-dest", "document"),
            ],
            200,
        ),
        (&[("origin", "https://evil.example")], 403),
        (&[("origin", "null")], 403),
        (&[("origin", &format!("http://{host}"))], 200),
    ] {
        assert_eq!(asked(headers), status, "{headers:?}");
    }
    let refused = serving.ask("GET", "/", &[("host", "evil.example")], "");
    assert!(refused.header("content-security-policy").is_some());
    assert!(!refused.text().contains("tiles"));
}

#[test]
fn a_token_is_asked_for_where_one_is_set() {
    const TOKEN: &str = "0123456789abcdef0123456789abcdef";
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("token");
    fs::write(&file, TOKEN).unwrap();
    let serving = Serving::start(CORPUS.path(), &["--token-file", &file.display().to_string()]);
    let html = ("accept", "text/html");
    for path in ["/", "/pictures/0", "/pixels/0", "/originals/0"] {
        assert_eq!(serving.get(path).status, 401, "{path}");
        let door = serving.ask("GET", path, &[html], "");
        assert_eq!((door.status, door.header("location")), (303, Some("/login")), "{path}");
    }
    assert_eq!(serving.get("/login").status, 200);
    let bearer = format!("Bearer {TOKEN}");
    assert_eq!(serving.ask("GET", "/", &[("authorization", &bearer)], "").status, 200);
    assert_eq!(serving.ask("GET", "/", &[("authorization", "Bearer x")], "").status, 401);
    let form = ("content-type", "application/x-www-form-urlencoded");
    let wrong = serving.ask("POST", "/login", &[form], "token=0123456789abcdef");
    assert_eq!((wrong.status, wrong.header("set-cookie")), (401, None));
    let right = serving.ask("POST", "/login", &[form], &format!("token={TOKEN}"));
    assert_eq!(right.status, 303);
    let cookie = right.header("set-cookie").unwrap().to_owned();
    assert!(
        cookie.contains("HttpOnly") && cookie.contains("SameSite=Lax") && !cookie.contains(TOKEN)
    );
    let cookie = cookie.split(';').next().unwrap();
    assert_eq!(serving.ask("GET", "/", &[("cookie", cookie)], "").status, 200);
    assert_eq!(serving.ask("GET", "/", &[("cookie", "tuwen_pass=x")], "").status, 401);
    let forged = [form, ("origin", "https://evil.example")];
    assert_eq!(serving.ask("POST", "/login", &forged, &format!("token={TOKEN}")).status, 403);
}

#[test]
fn pages_speak_two_languages() {
    let serving = serving();
    let lang = |answer: &Answer| between(&answer.text(), "<html lang=\"", "\"")[0].to_owned();
    assert_eq!(lang(&serving.get("/")), "en");
    assert_eq!(lang(&serving.ask("GET", "/", &[("accept-language", "zh-CN,zh")], "")), "zh-CN");
    let chosen = serving.get("/?lang=zh");
    assert_eq!(lang(&chosen), "zh-CN");
    assert!(chosen.text().contains("图片"));
    let cookie = chosen.header("set-cookie").unwrap().split(';').next().unwrap();
    assert_eq!(lang(&serving.ask("GET", "/nothing", &[("cookie", cookie)], "")), "zh-CN");
}

#[test]
fn a_corpus_without_examples_has_a_page() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("train.csv"), "text,filename\n红圆,a.jpg\n").unwrap();
    let fetched = tuwen(folder.path(), &["fetch", "train.csv", "--image-dir", ".", "--force"]);
    assert_eq!(fetched.status.code(), Some(0), "{}", String::from_utf8_lossy(&fetched.stderr));
    let serving = Serving::start(folder.path(), &[]);
    for path in ["/", "/?q=x", "/?where=true"] {
        let page = serving.get(path);
        assert_eq!(page.status, 200, "{path}: {}", page.text());
        assert!(page.text().contains("There are no rows yet"), "{path}");
    }
}
