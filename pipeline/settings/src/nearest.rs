//! What a person may have meant. In: a name that is no setting. Out: the setting or the section
//! whose name is like it, or none.

use crate::key::{keys, sections};

/// The most similar name of a setting, which may lack its section, or of a section, as in
/// `[decode]`; none if all are too far.
pub(crate) fn nearest(name: &str) -> Option<String> {
    let name = name.to_lowercase();
    let settings = keys().map(|key| {
        let whole = edit_distance(&name, key.name);
        (whole.min(edit_distance(&name, key.short_name())), key.name.to_owned())
    });
    let sections = sections()
        .filter(|section| !section.name.is_empty())
        .map(|section| (edit_distance(&name, section.name), format!("[{}]", section.name)));
    let (distance, meant) = settings.chain(sections).min_by_key(|(distance, _)| *distance)?;
    // A third of the letters may be wrong; of a very short name none.
    (distance <= name.chars().count() / 3).then_some(meant)
}

/// Letters to insert, remove or replace to make `b` of `a` (Levenshtein).
fn edit_distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    // Distances of the letters of `a` so far to the beginnings of `b`.
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, letter) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, other) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(letter != *other);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances() {
        for (a, b, expected) in [
            ("", "", 0),
            ("", "abc", 3),
            ("size", "sise", 1),
            ("kitten", "sitting", 3),
            ("红", "绿", 1),
        ] {
            assert_eq!((edit_distance(a, b), edit_distance(b, a)), (expected, expected), "{a} {b}");
        }
    }
}
