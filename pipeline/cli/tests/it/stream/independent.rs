//! What the stream hands out against pyarrow, which shares no code with it: `independent.py` reads the same tables.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use sha2::{Digest, Sha256};
use tuwen_stream::{Stream, StreamOptions};

use super::fixture::{Fixture, Layout};
use super::{READ_PATHS, drain, options};
use crate::python::python_with;

#[test]
fn pixels_and_tokens_under_an_id_are_those_that_pyarrow_reads() {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let Some(python) = python_with("pyarrow") else { return };
    for layout in [Layout::Direct, Layout::Zstd] {
        let fixture = Fixture::new(layout);
        let mut script = Command::new(&python);
        script.arg(here.join("tests/it/stream/independent.py")).arg(fixture.location());
        let output = script.arg("train").output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let by_pyarrow: BTreeMap<String, (String, Vec<i64>)> =
            serde_json::from_slice(&output.stdout).unwrap();
        assert!(by_pyarrow.len() > 400);
        for read_path in READ_PATHS {
            let options = StreamOptions { verify: true, ..options() };
            let stream = Stream::open_by(fixture.location(), options, read_path).unwrap();
            let rows = drain(stream.epoch(0, 0).unwrap());
            let streamed: BTreeMap<String, (String, Vec<i64>)> = rows
                .into_iter()
                .map(|(id, row)| {
                    let sum = Sha256::digest(&row.pixels);
                    (id, (sum.iter().map(|byte| format!("{byte:02x}")).collect(), row.tokens))
                })
                .collect();
            assert!(streamed == by_pyarrow, "{layout:?} by {read_path:?} differs");
        }
    }
}
