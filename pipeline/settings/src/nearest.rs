//! What a person may have meant. In: a name that is no setting. Out: the setting or the section
//! whose name is like it, or none.

use strsim::levenshtein;

use crate::key::{keys, sections};

/// The most similar name of a setting, which may lack its section, or of a section, as in
/// `[decode]`; none if all are too far.
pub(crate) fn nearest(name: &str) -> Option<String> {
    let name = name.to_lowercase();
    let settings = keys().map(|key| {
        let whole = levenshtein(&name, key.name);
        (whole.min(levenshtein(&name, key.short_name())), key.name.to_owned())
    });
    let sections = sections()
        .filter(|section| !section.name.is_empty())
        .map(|section| (levenshtein(&name, section.name), format!("[{}]", section.name)));
    let (distance, meant) = settings.chain(sections).min_by_key(|(distance, _)| *distance)?;
    // A third of the letters may be wrong; of a very short name none.
    (distance <= name.chars().count() / 3).then_some(meant)
}
