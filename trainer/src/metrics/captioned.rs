//! What all metrics compare. In: a caption and its references as text. Out: their characters. Never splits into words.

/// An image's generated caption and its references, as characters.
#[derive(Clone, Debug, PartialEq)]
pub struct Captioned {
    /// The generated caption.
    pub caption: Vec<char>,
    /// At least one.
    pub references: Vec<Vec<char>>,
}

impl Captioned {
    /// Splits captions into characters.
    ///
    /// # Panics
    /// Without a reference.
    pub fn new(caption: &str, references: &[String]) -> Self {
        assert!(!references.is_empty(), "caption `{caption}`: expected references, found none");
        let references = references.iter().map(|reference| characters(reference)).collect();
        Self { caption: characters(caption), references }
    }
}

/// The characters of a caption that are compared: without spaces and in lower case, since tokenizers may keep neither
/// (coco-caption lower-cases as well).
fn characters(caption: &str) -> Vec<char> {
    caption.to_lowercase().chars().filter(|c| !c.is_whitespace()).collect()
}
