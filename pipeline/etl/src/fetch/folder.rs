//! Files of a folder that was downloaded before. In: `file:NAME` and the folder. Out: the bytes. Never leaves the folder.

use std::io::ErrorKind;
use std::path::{Component, Path};

use crate::fetch::FetchOutcome;
use crate::fetch::attempt::Failure;
use crate::fetch::budget::{Budget, Held};

/// Reads `name` below `folder`, when `budget` has the memory for `held`.
pub(super) async fn read(
    folder: &Path,
    name: &str,
    max_bytes: u64,
    budget: &Budget,
    held: &mut Held,
) -> Result<Vec<u8>, Failure> {
    let relative = Path::new(name);
    if !relative.components().all(|part| matches!(part, Component::Normal(_) | Component::CurDir)) {
        return Err(Failure::new(
            FetchOutcome::Unreadable,
            format!("`{name}` leads out of the folder"),
        ));
    }
    let path = folder.join(relative);
    let failed = |error: std::io::Error| {
        let outcome = match error.kind() {
            ErrorKind::NotFound => FetchOutcome::MissingFile,
            _ => FetchOutcome::Unreadable,
        };
        Failure::new(outcome, format!("{}: {error}", path.display()))
    };
    let length = tokio::fs::metadata(&path).await.map_err(failed)?.len();
    if length > max_bytes {
        let detail = format!("{length} bytes, fetch.max_bytes is {max_bytes}");
        return Err(Failure::new(FetchOutcome::TooLarge, detail));
    }
    budget.grow(held, length).await;
    tokio::fs::read(&path).await.map_err(failed)
}
