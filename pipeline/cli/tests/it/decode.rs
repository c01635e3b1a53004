//! `decode_image` against what PIL made of the files in `tests/decode/files` (see `tests/decode/make.py`), and, where the
//! repository's `.venv` has PIL, against PIL itself. The first tests need no Python.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use serde::Deserialize;
use tuwen_image::fault::FAULT;
use tuwen_image::{
    DecodedImage, Header, RejectReason, Rejected, decode_image, decode_stored, encode_stored,
    resize_into,
};
use tuwen_schemas::{COMMENT, schema};
use tuwen_settings::{DecodeSettings, PixelCodec, ResizeFilter};

use crate::cli::{stdout, tuwen};
use crate::corpus::png;
use crate::python::python_with;

/// Side of the stored square.
const SIZE: usize = 224;
/// Sampled pixels along each side.
const SPOTS: usize = 16;

/// One entry of `expected.json`: a good file, or a bad one with its reason.
#[derive(Deserialize)]
#[serde(untagged)]
enum Expected {
    Good(Golden),
    Bad { file: String, reject_reason: String },
}

/// What PIL makes of a file.
#[derive(Deserialize)]
struct Golden {
    file: String,
    format: String,
    color: String,
    width: u32,
    height: u32,
    frames: u32,
    orientation: u8,
    /// Levels of 255 by which a pixel may differ.
    tolerance: u8,
    /// `[16, 16, 3]` u8 in hexadecimal: the pixels at rows and columns i * 223 / 15.
    grid: String,
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/decode")
}

fn expected() -> Vec<Expected> {
    let json = std::fs::read_to_string(folder().join("expected.json")).unwrap();
    serde_json::from_str(&json).unwrap()
}

fn goldens() -> Vec<Golden> {
    let good = |entry| match entry {
        Expected::Good(golden) => Some(golden),
        Expected::Bad { .. } => None,
    };
    expected().into_iter().filter_map(good).collect()
}

fn decoded(file: &str) -> Result<DecodedImage, Rejected> {
    let bytes = std::fs::read(folder().join("files").join(file)).unwrap();
    decode_image(&bytes, &DecodeSettings::default())
}

/// The largest difference between the sampled pixels and the golden ones.
fn difference(pixels: &[u8], golden: &Golden) -> u8 {
    let level = |i: usize| u8::from_str_radix(&golden.grid[2 * i..2 * i + 2], 16).unwrap();
    let spot = |i: usize| i * (SIZE - 1) / (SPOTS - 1);
    let at = |i: usize| (spot(i / 3 / SPOTS) * SIZE + spot(i / 3 % SPOTS)) * 3 + i % 3;
    (0..SPOTS * SPOTS * 3).map(|i| pixels[at(i)].abs_diff(level(i))).max().unwrap()
}

fn assert_none(wrong: &[String]) {
    assert!(wrong.is_empty(), "{} files:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn pixels_are_those_of_pil() {
    let goldens = goldens();
    assert!(goldens.len() >= 60);
    let judge = |golden: &Golden| match decoded(&golden.file) {
        Ok(image) => {
            assert_eq!(image.pixels.len(), SIZE * SIZE * 3);
            let found = difference(&image.pixels, golden);
            let allowed = golden.tolerance;
            (found > allowed).then(|| format!("{}: differs by {found}, not {allowed}", golden.file))
        }
        Err(rejected) => Some(format!("{}: {rejected}", golden.file)),
    };
    assert_none(&goldens.iter().filter_map(judge).collect::<Vec<_>>());
}

#[test]
fn headers_are_those_of_pil() {
    let judge = |golden: &Golden| {
        let found = decoded(&golden.file).ok()?.header;
        let Header { width, height, format, color, orientation, frames } = found;
        let found = (format, color, width, height, orientation, frames);
        let g = golden;
        let wanted = (&*g.format, &*g.color, g.width, g.height, g.orientation, g.frames);
        (found != wanted).then(|| format!("{}: expected {wanted:?}, found {found:?}", golden.file))
    };
    assert_none(&goldens().iter().filter_map(judge).collect::<Vec<_>>());
}

#[test]
fn bad_files_have_their_reason() {
    let mut wrong = Vec::new();
    let mut n_bad = 0;
    for entry in expected() {
        let Expected::Bad { file, reject_reason } = entry else { continue };
        n_bad += 1;
        let found = match decoded(&file) {
            Ok(_) => "pixels".to_owned(),
            Err(rejected) if rejected.reason.to_string() == reject_reason => continue,
            Err(rejected) => rejected.to_string(),
        };
        wrong.push(format!("{file}: expected {reject_reason}, found {found}"));
    }
    assert!(n_bad >= 10);
    assert_none(&wrong);
}

/// The table of reasons in the docs lists those of the code, and so does the contract of `images`.
#[test]
fn the_docs_list_the_reasons_of_the_code() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/outcomes.md");
    let docs = std::fs::read_to_string(path).unwrap();
    let (_, decode) = docs.split_once("\n## Decode\n").unwrap();
    let rows = decode.lines().filter_map(|line| line.strip_prefix("| `"));
    let listed: Vec<&str> = rows.filter_map(|row| row.split('`').next()).collect();
    let reasons = RejectReason::ALL.map(RejectReason::name);
    assert_eq!(listed, reasons);
    let images = schema("images");
    let comment = &images.field_with_name("reject_reason").unwrap().metadata()[COMMENT];
    for reason in reasons {
        assert!(comment.contains(reason), "schemas/images.sql, reject_reason: no {reason}");
    }
}

/// Every pixel of every file, where the repository's `.venv` has PIL.
#[test]
fn every_pixel_is_that_of_the_pil_at_hand() {
    let Some(python) = python_with("PIL, numpy") else { return };
    let raw = tempfile::tempdir().unwrap();
    for golden in goldens() {
        if let Ok(image) = decoded(&golden.file) {
            std::fs::write(raw.path().join(format!("{}.rgb", golden.file)), image.pixels).unwrap();
        }
    }
    let mut check = Command::new(&python);
    check.args(["-W", "ignore"]).arg(folder().join("check.py"));
    let output = check.arg(folder().join("files")).arg(raw.path()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let wrong: Vec<&str> = said
        .lines()
        .filter(|line| line.contains("more than") || line.contains("missing"))
        .collect();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}\n{errors}", wrong.join("\n"));
}

/// Codec jpeg: near the raw pixels, and its bytes decode to what PIL makes of them, where the repository's `.venv` has PIL.
#[test]
fn a_stored_jpeg_is_near_raw_and_decodes_as_pil_does() {
    let settings = DecodeSettings { codec: PixelCodec::Jpeg, ..DecodeSettings::default() };
    let raw_folder = tempfile::tempdir().unwrap();
    let mut ours = Vec::new();
    for golden in goldens().iter().filter(|golden| golden.width > 64) {
        let Ok(image) = decoded(&golden.file) else { continue };
        let stored = encode_stored(&image.pixels, &settings).unwrap();
        let mut pixels = vec![0; image.pixels.len()];
        decode_stored(settings.codec, &stored, &mut pixels).unwrap();
        let squares =
            image.pixels.iter().zip(&pixels).map(|(a, b)| f64::from(a.abs_diff(*b)).powi(2));
        let mean = squares.sum::<f64>() / pixels.len() as f64;
        let psnr_db = 10.0 * (255.0_f64.powi(2) / mean).log10();
        assert!(psnr_db > 30.0, "{}: {psnr_db:.1} dB", golden.file);
        std::fs::write(raw_folder.path().join(format!("{:03}.jpg", ours.len())), &stored).unwrap();
        ours.push(pixels);
    }
    assert!(ours.len() > 20);
    let Some(python) = python_with("PIL, numpy") else { return };
    let program = "import pathlib, sys; from PIL import Image\n\
        for path in sorted(pathlib.Path(sys.argv[1]).iterdir()):\n    \
        sys.stdout.buffer.write(Image.open(path).convert('RGB').tobytes())";
    let output =
        Command::new(&python).args(["-c", program]).arg(raw_folder.path()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let ours = ours.concat();
    assert_eq!(ours.len(), output.stdout.len());
    let furthest = ours.iter().zip(&output.stdout).map(|(a, b)| a.abs_diff(*b)).max().unwrap();
    // Another version of libjpeg-turbo may round otherwise.
    assert!(furthest <= 2, "{furthest} levels of 255");
}

/// Sides of pictures: alone, at the stored size and beside it, far wider and far taller (where PIL takes the vertical pass first), and
/// large.
const SIDES: [(u32, u32); 16] = [
    (1, 1),
    (1, 9_000),
    (9_000, 1),
    (2, 3),
    (48, 48),
    (64, 64),
    (100, 224),
    (223, 225),
    (224, 100),
    (224, 224),
    (225, 223),
    (37, 1_999),
    (658, 987),
    (500, 375),
    (1_080, 2_400),
    (1_500, 1_001),
];

/// The resize alone, bit for bit, over sizes, filters and noise of all levels and of only the lowest and highest.
#[test]
fn a_resize_is_that_of_the_pil_at_hand() {
    let Some(python) = python_with("PIL, numpy") else { return };
    let folder = tempfile::tempdir().unwrap();
    let mut state = 1_u64;
    let mut level = || {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 56) as u8
    };
    let mut n_squares = 0;
    for (width, height) in SIDES {
        let noise: Vec<u8> = (0..width as usize * height as usize * 3).map(|_| level()).collect();
        let extreme: Vec<u8> =
            noise.iter().map(|level| if *level > 127 { 255 } else { 0 }).collect();
        for (kind, pixels) in [("noise", noise), ("extreme", extreme)] {
            let name = format!("{width}_{height}_{kind}");
            std::fs::write(folder.path().join(format!("{name}.raw")), &pixels).unwrap();
            for filter in [ResizeFilter::Bilinear, ResizeFilter::Bicubic, ResizeFilter::Lanczos] {
                for size in [224, 48, 7, 1] {
                    let mut square = vec![0; size as usize * size as usize * 3];
                    resize_into(&pixels, width, height, size, filter, &mut square).unwrap();
                    let name = format!("{name}_{}_{size}.square", filter.name());
                    std::fs::write(folder.path().join(name), square).unwrap();
                    n_squares += 1;
                }
            }
        }
    }
    let program = "import pathlib, sys, numpy; from PIL import Image\n\
        same = 0\n\
        for path in sorted(pathlib.Path(sys.argv[1]).glob('*.square')):\n    \
        width, height, kind, name, size = path.stem.split('_')\n    \
        raw = numpy.fromfile(path.with_name(f'{width}_{height}_{kind}.raw'), numpy.uint8)\n    \
        picture = Image.fromarray(raw.reshape(int(height), int(width), 3))\n    \
        wanted = picture.resize((int(size), int(size)), Image.Resampling[name.upper()]).tobytes()\n    \
        if wanted == path.read_bytes(): same += 1\n    \
        else: print(path.stem)\n\
        print(same, 'are the same')";
    let output = Command::new(&python).args(["-c", program]).arg(folder.path()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(said.trim(), format!("{n_squares} are the same"));
}

/// A whole `tuwen decode`, in a process of its own, in which the decoder panics on one file of the crawl.
#[test]
fn a_decoder_that_panics_costs_its_picture_alone() {
    const NAME: &str = "decode::a_decoder_that_panics_costs_its_picture_alone";
    // Without the prefix of settings, for tuwen refuses variables that are none.
    const WITH_FAULT: &str = "DECODE_WITH_FAULT";
    if std::env::var_os(WITH_FAULT).is_some() {
        FAULT.set(|bytes| assert!(bytes != png(60), "a fault on purpose")).unwrap();
        let code = ::tuwen::cli::main_of(&["tuwen".into(), "decode".into()]);
        assert_eq!(code, ExitCode::SUCCESS);
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    let mut rows = "text,filename\n".to_owned();
    for level in (0..160).step_by(20) {
        std::fs::write(at.join(format!("{level}.png")), png(level)).unwrap();
        rows.push_str(&format!("红圆,{level}.png\n"));
    }
    std::fs::write(at.join("crawl.csv"), rows).unwrap();
    let fetch = tuwen(at, &["fetch", "crawl.csv", "--image-dir", "."]);
    assert_eq!(fetch.status.code(), Some(0), "{}", String::from_utf8_lossy(&fetch.stderr));

    let mut decode = Command::new(std::env::current_exe().unwrap());
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("TUWEN_")) {
        decode.env_remove(name);
    }
    // A test's thread has a quarter of the stack that a command has.
    decode.args(["--exact", NAME]).env(WITH_FAULT, "1").env("RUST_MIN_STACK", "8388608");
    let output = decode.current_dir(at).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    let query = "select coalesce(reject_reason, 'decoded'), count(*), count(pixels), max(detail)
        from images group by 1 order by 1";
    let images = stdout(&tuwen(at, &["sql", query, "--format", "csv"]));
    let images: Vec<&str> = images.lines().skip(1).collect();
    let [corrupt, decoded] = images[..] else { panic!("{images:?}") };
    let expected = "corrupt,1,0,the decoder panicked: a fault on purpose (decode.rs:";
    assert!(corrupt.starts_with(expected), "{corrupt}");
    assert_eq!(decoded, "decoded,7,7,");

    // There is nothing left to do, until somebody with a better decoder asks for it.
    for (flags, n) in [(&[][..], 0), (&["--retry-rejected", "corrupt"][..], 1)] {
        let again = tuwen(at, &[&["decode", "--json"][..], flags].concat());
        assert_eq!(again.status.code(), Some(0), "{}", String::from_utf8_lossy(&again.stderr));
        let summary: serde_json::Value = serde_json::from_str(&stdout(&again)).unwrap();
        for figure in ["rows_in", "rows_out", "commits"] {
            assert_eq!(summary["stages"][0][figure], n, "{figure}: {summary}");
        }
    }
}
