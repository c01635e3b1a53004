//! New rows for a nightly run. In: their number. Out: a CSV (`text,url,filename`) that names as many distinct small JPEGs, and an
//! HTTP server on 127.0.0.1 that has them. All are made before it answers, so that they cost nothing while others are measured;
//! it says its address on stdout then, and ends when stdin is closed. One thread a connection, connections stay open.

use std::collections::HashSet;
use std::io::{BufRead, BufReader, BufWriter, ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use image::RgbImage;
use image::codecs::jpeg::JpegEncoder;

use crate::caption;
use crate::random::{Of, SplitMix};

/// Width and height of a picture, in pixels.
const PICTURE_PX: (u32, u32) = (32, 24);

/// Quality of the JPEGs.
const QUALITY: u8 = 85;

/// Test rows of 1,000.
const TEST_ROWS: u64 = 19;

/// Bytes of a request's head; more is no request of ours.
const MAX_HEAD_BYTES: u64 = 16 << 10;

/// Writes `csv` and serves the pictures of its `n_rows` rows until stdin is closed.
pub(crate) fn serve(n_rows: u64, csv: &Path, seed: u64) -> Result<()> {
    let pictures = (0..n_rows).map(|n| picture(n, seed)).collect::<Result<Vec<_>>>()?;
    let n_distinct = pictures.iter().collect::<HashSet<_>>().len();
    ensure!(n_distinct == pictures.len(), "of {n_rows} pictures only {n_distinct} are distinct");
    let listener = TcpListener::bind(("127.0.0.1", 0)).context("listening on 127.0.0.1")?;
    let address = format!("http://{}", listener.local_addr()?);
    write_rows(n_rows, csv, &address, seed)
        .with_context(|| format!("writing {}", csv.display()))?;
    std::thread::spawn(move || accept(&listener, &Arc::new(pictures)));
    let mut out = std::io::stdout();
    writeln!(out, "{address}")?;
    out.flush()?;
    std::io::copy(&mut std::io::stdin(), &mut std::io::sink())?;
    Ok(())
}

fn write_rows(n_rows: u64, csv: &Path, address: &str, seed: u64) -> Result<()> {
    let mut out = BufWriter::new(std::fs::File::create(csv)?);
    writeln!(out, "text,url,filename")?;
    for n in 0..n_rows {
        let mut random = SplitMix::new(seed, Of::Night, n);
        let split = if random.below(1_000) < TEST_ROWS { "test" } else { "train" };
        // Neither captions nor URLs have commas or quotes in them.
        let (text, sign) = (caption::crawled(&mut random), random.next());
        writeln!(out, "{text},{address}/{n}.jpg?sign={sign:016x},{split}-{n}.jpg")?;
    }
    Ok(out.flush()?)
}

/// Noise, so that no two are alike.
fn picture(n: u64, seed: u64) -> Result<Vec<u8>> {
    let mut random = SplitMix::new(!seed, Of::Night, n);
    let (width, height) = PICTURE_PX;
    let pixels = RgbImage::from_fn(width, height, |_, _| {
        image::Rgb([random.next(), random.next(), random.next()].map(|level| level as u8))
    });
    let mut jpeg = Vec::new();
    JpegEncoder::new_with_quality(&mut jpeg, QUALITY).encode_image(&pixels)?;
    Ok(jpeg)
}

fn accept(listener: &TcpListener, pictures: &Arc<Vec<Vec<u8>>>) {
    // A connection that broke before it was accepted is the other side's affair.
    for stream in listener.incoming().flatten() {
        let pictures = Arc::clone(pictures);
        // So is one that breaks later.
        std::thread::spawn(move || answer_all(&stream, &pictures));
    }
}

/// Answers the requests of one connection, one after the other.
fn answer_all(stream: &TcpStream, pictures: &[Vec<u8>]) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let mut reader = BufReader::new(stream);
    loop {
        let mut head = Vec::new();
        let mut limited = reader.by_ref().take(MAX_HEAD_BYTES);
        while !head.ends_with(b"\r\n\r\n") {
            if limited.read_until(b'\n', &mut head)? == 0 {
                return if head.is_empty() { Ok(()) } else { Err(ErrorKind::InvalidData.into()) };
            }
        }
        let asked = number(&String::from_utf8_lossy(&head));
        let found = asked.and_then(|n| pictures.get(n));
        let (status, body) =
            found.map_or(("404 Not Found", [].as_slice()), |jpeg| ("200 OK", jpeg));
        let length = body.len();
        let head = format!(
            "HTTP/1.1 {status}\r\nContent-Type: image/jpeg\r\nContent-Length: {length}\r\n\r\n"
        );
        let mut stream = stream;
        stream.write_all(&[head.as_bytes(), body].concat())?;
    }
}

/// The number of the picture that a request asks for: `GET /17.jpg?… HTTP/1.1`.
fn number(head: &str) -> Option<usize> {
    let (number, _) = head.strip_prefix("GET /")?.split_once(".jpg")?;
    number.parse().ok()
}
