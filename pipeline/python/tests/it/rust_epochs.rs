//! Epochs as Rust streams them. In: the shared corpus. Out: `rust_epochs.json`: for each set of options and two epochs the batches,
//! with ids, sums of the pixels, and labels. `test_stream.py` compares.

use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tuwen_stream::{Shuffle, Stream, StreamOptions};

use crate::package::shared;

/// Options as Python has them, and the same as Rust has them.
fn cases() -> Vec<(Value, StreamOptions)> {
    let base = StreamOptions { batch_size: 16, pad_id: -100, ..StreamOptions::default() };
    vec![
        (json!({ "batch_size": 16 }), base.clone()),
        (
            json!({ "batch_size": 16, "seed": 5, "readers": 3, "prefetch": 1 }),
            StreamOptions { seed: 5, ..base.clone() },
        ),
        (
            json!({ "batch_size": 16, "shuffle": "none", "split": "test" }),
            StreamOptions { shuffle: Shuffle::None, split: "test".to_owned(), ..base.clone() },
        ),
        (
            json!({ "batch_size": 16, "shuffle": "window", "window_row_groups": 2, "drop_last": true }),
            StreamOptions {
                shuffle: Shuffle::Window { row_groups: 2 },
                drop_last: true,
                ..base.clone()
            },
        ),
        (
            json!({ "batch_size": 7, "rank": 1, "world": 3, "drop_last": false, "where": "n_tokens > 12" }),
            StreamOptions {
                batch_size: 7,
                rank: 1,
                world: 3,
                predicate: Some("n_tokens > 12".to_owned()),
                ..base.clone()
            },
        ),
        (
            json!({ "batch_size": 16, "flip": 0.5, "random_resized_crop": true, "group_by_length": true }),
            StreamOptions {
                flip: 0.5,
                random_resized_crop: Some(Default::default()),
                group_by_length: true,
                ..base
            },
        ),
    ]
}

pub(crate) fn write() {
    let Some(shared) = shared() else { return };
    let cases: Vec<Value> = cases()
        .into_iter()
        .map(|(python, options)| {
            let stream = Stream::open(shared.join("corpus").to_str().unwrap(), options).unwrap();
            let epochs: Vec<Value> = (0..2).map(|epoch| batches(&stream, epoch)).collect();
            json!({ "options": python, "epochs": epochs })
        })
        .collect();
    std::fs::write(shared.join("rust_epochs.json"), json!(cases).to_string()).unwrap();
}

fn batches(stream: &Stream, epoch: u64) -> Value {
    let batches = stream.epoch(epoch, 0).unwrap().map(|batch| {
        let batch = batch.unwrap();
        let ids: Vec<String> = batch.example_ids.iter().map(ToString::to_string).collect();
        let sum: String =
            Sha256::digest(&batch.pixels).iter().map(|byte| format!("{byte:02x}")).collect();
        let labels: Vec<&[i64]> = batch.input_ids.chunks(batch.width_tokens.max(1)).collect();
        json!({ "ids": ids, "pixels": sum, "labels": labels, "lengths": batch.lengths })
    });
    Value::Array(batches.collect())
}
