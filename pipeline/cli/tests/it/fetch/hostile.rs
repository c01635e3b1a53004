//! What servers answer, one case a line, and the outcome that each must have. All are asked in one crawl, in bounded time.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::{Duration, Instant};

use flate2::Compression;
use flate2::write::{DeflateEncoder, GzEncoder, ZlibEncoder};

use super::{crawl, ok, raw};
use crate::corpus::{Crawl, png};
use crate::server::{Answer, Request, Server};

/// `fetch.max_bytes` of the crawl.
const MAX_BYTES: usize = 1 << 20;

/// A JPEG that takes several packets.
fn jpeg() -> Vec<u8> {
    let picture = image::RgbImage::from_fn(300, 300, |x, y| {
        image::Rgb([(x * y % 251) as u8, (x * 7) as u8, (y * 11) as u8])
    });
    let mut bytes = std::io::Cursor::new(Vec::new());
    picture.write_to(&mut bytes, image::ImageFormat::Jpeg).unwrap();
    bytes.into_inner()
}

pub(super) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// A head with `headers`, and the body as it is; then the connection is closed.
fn answer(head: impl Into<String>, body: impl Into<Vec<u8>>) -> Answer {
    let (head, body) = (head.into(), body.into());
    raw(move |_, stream| {
        write!(stream, "{head}\r\n\r\n")?;
        stream.write_all(&body)
    })
}

/// Status 200 with the body's length and one more header line.
fn with_header(line: &str, body: &[u8]) -> Answer {
    answer(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n{line}", body.len()), body)
}

pub(super) fn encoded(name: &str, body: &[u8]) -> Answer {
    with_header(&format!("Content-Encoding: {name}"), body)
}

/// Answers that are whole pictures, however odd.
fn good() -> Vec<(&'static str, Answer)> {
    let (png, jpeg) = (png(7), jpeg());
    let mut zlib = ZlibEncoder::new(Vec::new(), Compression::default());
    zlib.write_all(&png).unwrap();
    let mut bare = DeflateEncoder::new(Vec::new(), Compression::default());
    bare.write_all(&png).unwrap();
    let headers: String = (0..120).map(|n| format!("X-Header-{n}: {n}\r\n")).collect();
    let svg = b"<?xml version='1.0'?><svg xmlns='http://www.w3.org/2000/svg'/>";
    let (whole, halves) = (jpeg.clone(), jpeg.clone());
    let (etag, other) = (jpeg.clone(), png.clone());
    vec![
        ("plain", Answer::Body(png.clone())),
        ("svg", Answer::Body(svg.to_vec())),
        ("heic", Answer::Body(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic".to_vec())),
        ("wrong_type", with_header("Content-Type: text/html", &png)),
        ("gzip", encoded("gzip", &gzip(&png))),
        ("x_gzip", encoded("x-gzip", &gzip(&png))),
        ("deflate_zlib", encoded("deflate", &zlib.finish().unwrap())),
        ("deflate_bare", encoded("deflate", &bare.finish().unwrap())),
        ("zstd", encoded("zstd", &zstd::stream::encode_all(png.as_slice(), 1).unwrap())),
        ("gzip_twice", encoded("gzip, gzip", &gzip(&gzip(&png)))),
        ("gzip_and_more", encoded("gzip", &[gzip(&png), b"\n\0".to_vec()].concat())),
        ("gzip_that_is_none", encoded("gzip", &png)),
        ("br_that_is_none", encoded("br", &png)),
        ("encoding_that_is_none", encoded("binary", &png)),
        ("encoding_empty", encoded("", &png)),
        ("php_warning", with_header("<b>Warning</b>  something in line 3", &png)),
        ("header_without_name", with_header(": nothing", &png)),
        ("header_with_blank", with_header("X-Odd : yes", &png)),
        ("header_folded", with_header("X-Long: one\r\n two", &png)),
        ("header_latin1", with_header("X-Name: \u{fc}", &png)),
        ("headers_120", with_header(&headers[..headers.len() - 2], &png)),
        (
            "http_1_0",
            answer(format!("HTTP/1.0 200 OK\r\nContent-Length: {}", png.len()), png.clone()),
        ),
        (
            "no_reason",
            answer(format!("HTTP/1.1 200\r\nContent-Length: {}", png.len()), png.clone()),
        ),
        (
            "odd_reason",
            answer(format!("HTTP/1.1 200 \u{597d}\r\nContent-Length: {}", png.len()), png.clone()),
        ),
        ("ends_by_closing", answer("HTTP/1.1 200 OK\r\nConnection: close", jpeg.clone())),
        (
            "chunked",
            raw(move |_, stream| {
                write!(stream, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")?;
                for part in halves.chunks(999) {
                    write!(stream, "{:x};extension=1\r\n", part.len())?;
                    stream.write_all(part)?;
                    write!(stream, "\r\n")?;
                }
                write!(stream, "0\r\nTrailer: yes\r\n\r\n")
            }),
        ),
        (
            "early_hints",
            raw({
                let png = png.clone();
                move |_, stream| {
                    write!(stream, "HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n")?;
                    ok(stream, &png)
                }
            }),
        ),
        (
            "garbage_behind",
            answer(
                format!("HTTP/1.1 200 OK\r\nContent-Length: {}", png.len()),
                [png.clone(), b"garbage".to_vec()].concat(),
            ),
        ),
        (
            "slow_but_live",
            raw(move |_, stream| {
                write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", whole.len())?;
                for part in whole.chunks(whole.len().div_ceil(6)) {
                    stream.write_all(part)?;
                    std::thread::sleep(Duration::from_millis(500));
                }
                Ok(())
            }),
        ),
        ("resumed", resumed("ETag: \"1\"", etag.clone(), etag)),
        (
            "resumed_by_date",
            resumed("Last-Modified: Mon, 02 Jan 2023 03:04:05 GMT", jpeg.clone(), jpeg.clone()),
        ),
        ("changed_meanwhile", resumed("ETag: \"1\"", jpeg.clone(), other)),
        ("redirected", Answer::Redirect("/plain".to_owned())),
        ("redirected_absolute_path", Answer::Redirect("./plain?x=\u{56fe}".to_owned())),
        ("five_redirects", Answer::Redirect("/four".to_owned())),
    ]
}

/// Breaks off in the middle the first time. Then gives the rest, if the new body is the old one, or the new one whole.
fn resumed(validator: &'static str, old: Vec<u8>, new: Vec<u8>) -> Answer {
    raw(move |request: &Request, stream: &mut TcpStream| {
        let length = old.len();
        if request.nth == 1 {
            write!(stream, "HTTP/1.1 200 OK\r\n{validator}\r\nContent-Length: {length}\r\n\r\n")?;
            return stream.write_all(&old[..length / 2]);
        }
        let range = request.headers.get("range").cloned().unwrap_or_default();
        let at: usize = range.trim_start_matches("bytes=").trim_end_matches('-').parse().unwrap();
        assert!(validator.ends_with(&request.headers["if-range"]), "{:?}", request.headers);
        if old != new {
            return ok(stream, &new);
        }
        write!(
            stream,
            "HTTP/1.1 206 Partial Content\r\nContent-Range: bytes {at}-{}/{length}\r\nContent-Length: {}\r\n\r\n",
            length - 1,
            length - at
        )?;
        stream.write_all(&old[at..])
    })
}

/// Answers that are none, with their outcome.
fn bad() -> Vec<(&'static str, &'static str, Answer)> {
    let (png, jpeg) = (png(8), jpeg());
    let bomb = gzip(&vec![0; 64 << 20]);
    let gzipped = gzip(&jpeg);
    let mut cases: Vec<(&'static str, &'static str, Answer)> = vec![
        ("missing", "http_status", Answer::Status(404)),
        ("forbidden", "http_status", Answer::Status(403)),
        ("not_found_page", "http_status", answer("HTTP/1.1 404 .\r\nContent-Length: 3", "no!")),
        ("no_content", "http_status", answer("HTTP/1.1 204 No Content", "")),
        ("not_modified", "http_status", answer("HTTP/1.1 304 Not Modified", "")),
        (
            "redirect_without_location",
            "http_status",
            answer("HTTP/1.1 302 .\r\nContent-Length: 0", ""),
        ),
        ("unavailable", "server_error", Answer::Status(503)),
        ("broken_inside", "server_error", Answer::Status(500)),
        ("bad_gateway", "server_error", Answer::Status(502)),
        ("request_timeout", "server_error", Answer::Status(408)),
        ("empty", "empty", Answer::Body(Vec::new())),
        ("page", "not_an_image", Answer::Body(b"<!DOCTYPE html><html>gone</html>".to_vec())),
        ("json", "not_an_image", Answer::Body(b"{\"error\": 404}".to_vec())),
        ("text", "not_an_image", Answer::Body("图片不存在".as_bytes().to_vec())),
        ("pdf", "not_an_image", Answer::Body(b"%PDF-1.4 ...".to_vec())),
        ("film", "not_an_image", Answer::Body(b"\0\0\0\x18ftypisom\0\0\0\0isommp42".to_vec())),
        ("noise", "not_an_image", Answer::Body(vec![0x5a; 3000])),
        (
            "cut_by_length",
            "truncated",
            answer("HTTP/1.1 200 OK\r\nContent-Length: 99999", png.clone()),
        ),
        (
            "cut_in_chunk",
            "truncated",
            answer("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked", "ffff\r\nabc"),
        ),
        (
            "cut_before_last_chunk",
            "truncated",
            answer("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked", "3\r\nabc\r\n"),
        ),
        (
            "chunk_that_is_none",
            "truncated",
            answer("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked", "xyz\r\nabc\r\n0\r\n\r\n"),
        ),
        (
            "cut_jpeg_by_closing",
            "truncated",
            answer("HTTP/1.1 200 OK\r\nConnection: close", &jpeg[..jpeg.len() / 2]),
        ),
        (
            "cut_in_resume",
            "truncated",
            raw(|request, stream| {
                if request.nth > 1 {
                    return write!(stream, "HTTP/1.1 404 .\r\nContent-Length: 0\r\n\r\n");
                }
                write!(stream, "HTTP/1.1 200 OK\r\nETag: \"1\"\r\nContent-Length: 9\r\n\r\nabc")
            }),
        ),
        ("gzip_cut", "broken", encoded("gzip", &gzipped[..gzipped.len() / 2])),
        ("br_broken", "broken", encoded("br", b"this is no brotli at all")),
        ("zstd_broken", "broken", encoded("zstd", b"this is no zstd at all")),
        ("no_http", "broken", answer("SSH-2.0-OpenSSH_9.2", "")),
        ("closed_at_once", "broken", raw(|_, _| Ok(()))),
        (
            "closed_in_head",
            "broken",
            raw(|_, stream| write!(stream, "HTTP/1.1 200 OK\r\nContent-Le")),
        ),
        (
            "two_lengths",
            "broken",
            answer("HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 4", "abcd"),
        ),
        (
            "endless_head",
            "broken",
            raw(|_, stream| {
                write!(stream, "HTTP/1.1 200 OK\r\n")?;
                for n in 0.. {
                    write!(stream, "X-{n}: {}\r\n", "a".repeat(1000))?;
                }
                Ok(())
            }),
        ),
        (
            "large_by_length",
            "too_large",
            answer(format!("HTTP/1.1 200 OK\r\nContent-Length: {}", MAX_BYTES + 1), png.clone()),
        ),
        (
            "endless",
            "too_large",
            raw(|_, stream| {
                write!(stream, "HTTP/1.1 200 OK\r\n\r\n")?;
                loop {
                    stream.write_all(&[0xff; 4096])?;
                }
            }),
        ),
        ("bomb", "too_large", encoded("gzip", &bomb)),
        ("loop", "too_many_redirects", Answer::Redirect("/loop".to_owned())),
        ("six_redirects", "too_many_redirects", Answer::Redirect("/five_redirects".to_owned())),
        ("to_a_file", "bad_url", Answer::Redirect("file:///etc/passwd".to_owned())),
        ("to_ftp", "bad_url", Answer::Redirect("ftp://127.0.0.1/a.png".to_owned())),
        ("to_mail", "bad_url", Answer::Redirect("http://127.0.0.1:25/".to_owned())),
        ("to_nothing", "bad_url", Answer::Redirect("http://".to_owned())),
        ("opted_out", "opted_out", with_header("X-Robots-Tag: noai", &png)),
        ("opted_out_among", "opted_out", with_header("X-Robots-Tag: nofollow, NoImageAI", &png)),
        (
            "opted_out_meanwhile",
            "opted_out",
            raw({
                let jpeg = jpeg.clone();
                move |request, stream| {
                    let (length, half) = (jpeg.len(), jpeg.len() / 2);
                    let (header, body) = match request.nth {
                        1 => ("ETag: \"1\"", &jpeg[..half]),
                        _ => ("X-Robots-Tag: noai", &jpeg[..]),
                    };
                    write!(
                        stream,
                        "HTTP/1.1 200 OK\r\n{header}\r\nContent-Length: {length}\r\n\r\n"
                    )?;
                    stream.write_all(body)
                }
            }),
        ),
        ("opted_out_by_name", "opted_out", with_header("X-Robots-Tag: tuwen: noai", &png)),
        (
            "silent_in_body",
            "timeout",
            raw(|_, stream| {
                write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nabc")?;
                wait_for_the_end(stream)
            }),
        ),
        (
            "slow_body",
            "timeout",
            raw(|_, stream| {
                write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")?;
                loop {
                    stream.write_all(b"abc")?;
                    std::thread::sleep(Duration::from_millis(300));
                }
            }),
        ),
    ];
    for (name, to) in [("four", "/three"), ("three", "/two"), ("two", "/one"), ("one", "/plain")] {
        cases.push((name, "ok", Answer::Redirect(to.to_owned())));
    }
    cases
}

/// What a host does with a connection.
type Act = fn(&mut TcpStream) -> std::io::Result<()>;

/// What a host does with a connection, where it would stand in the way of the others' cases: each is at an address of its own.
fn alone() -> Vec<(&'static str, &'static str, Act)> {
    vec![
        ("deaf", "timeout", wait_for_the_end),
        ("slow_head", "timeout", |stream| {
            let _ = stream.read(&mut [0; 1024])?;
            for byte in b"HTTP/1.1 200 OK\r\nX-Long: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\r\n\r\n" {
                stream.write_all(&[*byte])?;
                std::thread::sleep(Duration::from_millis(300));
            }
            Ok(())
        }),
        ("limited", "rate_limited", |stream| limit(stream, "429 .")),
        ("limited_by_503", "rate_limited", |stream| limit(stream, "503 .\r\nRetry-After: 1")),
    ]
}

fn limit(stream: &mut TcpStream, status: &str) -> std::io::Result<()> {
    let _ = stream.read(&mut [0; 1024])?;
    write!(stream, "HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n")
}

fn wait_for_the_end(stream: &mut TcpStream) -> std::io::Result<()> {
    let mut rest = [0; 1024];
    while stream.read(&mut rest)? > 0 {}
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn every_answer_has_its_outcome() {
    let mut own = Crawl::new();
    own.settings.fetch.max_bytes = MAX_BYTES as u64;
    // So long that whoever answers at all is in time on a busy machine.
    (own.settings.fetch.first_byte_timeout_secs, own.settings.fetch.connect_timeout_secs) = (5, 5);
    own.settings.fetch.read_timeout_secs = 5;
    let (good, bad) = (good(), bad());
    let mut expected: HashMap<String, &'static str> = HashMap::new();
    let answers = good
        .iter()
        .map(|(name, answer)| (format!("/{name}"), answer.clone()))
        .chain(bad.iter().map(|(name, _, answer)| (format!("/{name}"), answer.clone())))
        .chain([("/plain?x=%E5%9B%BE".to_owned(), Answer::Body(png(7)))]);
    let server = Server::start(answers.collect());
    let base = &server.base;
    expected.extend(good.iter().map(|(name, _)| (format!("{base}/{name}"), "ok")));
    expected.extend(bad.iter().map(|(name, outcome, _)| (format!("{base}/{name}"), *outcome)));

    for (n, (name, outcome, act)) in alone().into_iter().enumerate() {
        let listener = TcpListener::bind(format!("127.0.7.{}:0", n + 1)).unwrap();
        expected.insert(format!("http://{}/{name}", listener.local_addr().unwrap()), outcome);
        std::thread::spawn(move || {
            while let Ok((mut stream, _)) = listener.accept() {
                std::thread::spawn(move || act(&mut stream));
            }
        });
    }
    let closed = TcpListener::bind("127.0.8.1:0").unwrap().local_addr().unwrap();
    let port = base.rsplit(':').next().unwrap();
    for (url, outcome) in [
        (format!("http://{closed}/a.png"), "connect"),
        (format!("https://127.0.0.1:{port}/a.png"), "tls"),
        ("ftp://127.0.0.1/a.png".to_owned(), "bad_url"),
        ("javascript:alert(1)".to_owned(), "bad_url"),
        ("http://".to_owned(), "bad_url"),
        ("http://[::1/a.png".to_owned(), "bad_url"),
        ("http://127.0.0.1:22/a.png".to_owned(), "bad_url"),
        ("http://127.0.0.1:99999/a.png".to_owned(), "bad_url"),
        ("not a URL".to_owned(), "bad_url"),
        (format!("{}/plain#fragment", base.replace("http", "HTTP")), "ok"),
        (format!("http://someone:secret@127.0.0.1:{port}/plain"), "ok"),
    ] {
        expected.insert(url, outcome);
    }
    assert!(expected.len() >= 95, "{}", expected.len());

    let urls: Vec<String> = expected.keys().cloned().collect();
    let began = Instant::now();
    crawl(&own, &urls).await.unwrap();
    assert!(began.elapsed() < Duration::from_secs(240), "{:?}", began.elapsed());
    let rows = own.query("select locator, outcome, coalesce(detail, '') from originals").await;
    let mut wrong: Vec<String> = rows
        .iter()
        .filter(|row| expected[&row[0]] != row[1])
        .map(|row| {
            format!("{}: expected {}, found {}: {}", row[0], expected[&row[0]], row[1], row[2])
        })
        .collect();
    wrong.sort();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(rows.len(), expected.len());

    // What came whole is what was sent.
    let id = |bytes: &[u8]| tuwen_corpus::id::hex(tuwen_corpus::id::id_of(bytes));
    for (name, bytes) in [
        ("gzip", png(7)),
        ("gzip_and_more", png(7)),
        ("deflate_bare", png(7)),
        ("zstd", png(7)),
        ("chunked", jpeg()),
        ("slow_but_live", jpeg()),
        ("resumed", jpeg()),
        ("resumed_by_date", jpeg()),
        ("changed_meanwhile", png(7)),
        ("garbage_behind", png(7)),
    ] {
        let sql = format!("select image_id from originals where locator = '{base}/{name}'");
        assert_eq!(own.query(&sql).await, [[id(&bytes)]], "{name}");
    }
    let traced = own
        .query(&format!(
            "select http_status, final_url, address, wire_bytes > 0 from originals where locator = '{base}/five_redirects'"
        ))
        .await;
    assert_eq!(
        traced,
        [["200".to_owned(), format!("{base}/plain"), "127.0.0.1".to_owned(), "true".to_owned()]]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_never_answers_a_tls_handshake_ends_with_the_connection_s_limit() {
    let mut own = Crawl::new();
    let fetch = &mut own.settings.fetch;
    (fetch.connect_timeout_secs, fetch.first_byte_timeout_secs) = (2, 20);
    // Connections to it stand, and nobody says a word.
    let deaf = TcpListener::bind("127.0.9.1:0").unwrap();
    let deaf_url = format!("https://{}/a.png", deaf.local_addr().unwrap());
    let server = Server::start(HashMap::from([("/a.png".to_owned(), Answer::Body(png(7)))]));
    let report = crawl(&own, &[deaf_url.clone(), format!("{}/a.png", server.base)]).await.unwrap();
    assert_eq!((report.rows_in, report.rows_out), (2, 1), "{report:?}");
    let sql = format!(
        "select outcome, detail, elapsed_ms < 20000 from originals where locator = '{deaf_url}'"
    );
    let rows = own.query(&sql).await;
    assert_eq!((rows[0][0].as_str(), rows[0][2].as_str()), ("timeout", "true"), "{rows:?}");
    assert!(rows[0][1].starts_with("no connection with TLS within 2 s"), "{rows:?}");
}
