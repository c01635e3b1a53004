//! What a person may have meant. In: a name that is none, and those there are. Out: the one that is most like it.

/// The name among `names` that is most like `name`; none if all are too far.
pub(super) fn nearest<'a>(name: &str, names: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let name = name.to_lowercase();
    let near =
        names.into_iter().map(|other| (strsim::osa_distance(&name, &other.to_lowercase()), other));
    // Of names as near the first in the alphabet, so that it is the same each time.
    let (distance, found) = near.min()?;
    // A third of the letters may be wrong, of a short name one, of a single letter none.
    let n_letters = name.chars().count();
    (distance <= (n_letters / 3).max(1) && distance < n_letters).then_some(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_of_the_keyboard_are_known() {
        let names = ["images", "count", "cot", "n_tokens", "上"];
        for (name, expected) in [
            ("image", Some("images")),
            ("IMAGES", Some("images")),
            ("cuont", Some("count")),
            ("ntokens", Some("n_tokens")),
            ("pictures", None),
            ("", None),
            ("下", None),
        ] {
            assert_eq!(nearest(name, names), expected, "{name}");
        }
    }
}
