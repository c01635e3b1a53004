//! The functions that come with tuwen. In: settings. Out: a session that has them, and what a person should know of each. A value that
//! cannot be worked with, a damaged picture say, gives null: it is data.

use anyhow::Result;
use datafusion::prelude::SessionContext;
use serde_json::json;
use tuwen_corpus::report::Progress;
use tuwen_settings::Settings;

use crate::bound::saying;
use crate::curate::{caption_rules, caption_udfs, distance_udfs};
use crate::decode::decode_udf;

mod bounded;
mod length;
mod pictures;
mod text;
mod tokens;

pub(crate) use pictures::picture_udfs;
pub use pictures::{thumbnail, thumbnail_of};
pub(crate) use tokens::token_udfs_of;

/// A function as a person sees it.
pub struct Function {
    /// How it is called: `resize(bytes, size)`.
    pub call: &'static str,
    /// What it gives.
    pub gives: &'static str,
}

impl Function {
    /// Its name.
    pub fn name(&self) -> &'static str {
        self.call.split('(').next().unwrap_or(self.call)
    }
}

const fn function(call: &'static str, gives: &'static str) -> Function {
    Function { call, gives }
}

/// All of them; DataFusion's come on top.
pub const FUNCTIONS: [Function; 18] = [
    function("caption_rules(text)", "the names of the rules that change the caption, a list"),
    function(
        "cjk_ratio(text)",
        "share of the letters that are Chinese, Japanese or Korean, 0 to 1; 0 without letters",
    ),
    function("clean_caption(text)", "the caption as curate cleans it"),
    function("decode_image(bytes)", "a struct with the columns that decode writes into images"),
    function(
        "detokenize(ids)",
        "the text of token ids, without special tokens (needs curate.tokenizer)",
    ),
    function("dhash(picture)", "difference hash, 64 bits; picture is pixels or a picture file"),
    function("hamming(a, b)", "bits in which two numbers differ, as two dhash do, 0 to 64"),
    function("hash_distance(a, b)", "the same as hamming(a, b)"),
    function(
        "image_format(bytes)",
        "format by content: jpeg, png, webp, …; null if it is no picture",
    ),
    function("n_chars(text)", "characters, as curate.min_chars and max_chars count them"),
    function(
        "near_difference(thumb, look, thumb, look)",
        "how much two images differ, one laid on the other; 0 if not at all, null if clearly",
    ),
    function("octet_length(value)", "bytes of a binary value or of a text"),
    function("registered_domain(url)", "the part of a URL's host that its owner has registered"),
    function(
        "resize(picture, size)",
        "pixels of size x size, RGB, row-major; picture is pixels or a picture file",
    ),
    function("thumb_distance(thumb, thumb)", "mean difference of two 8x8 thumbnails, 0 to 255"),
    function("thumbnail(picture)", "a JPEG of 96 pixels as a data URI, for HTML and notebooks"),
    function("to_png(picture)", "a PNG file of the pixels"),
    function(
        "tokenize(text)",
        "the token ids of a caption, special tokens included (needs curate.tokenizer)",
    ),
];

/// Registers the functions with `ctx`, under `settings`; those of DataFusion that make as much as they are told to are bounded.
///
/// # Errors
/// The settings name no caption rules, or `ctx` lacks a function of DataFusion.
pub fn register_functions(ctx: &SessionContext, settings: &Settings) -> Result<()> {
    ctx.register_udf(decode_udf(settings.decode.clone(), Progress::hidden()));
    let of_captions = caption_udfs(caption_rules(&settings.curate)?);
    let own = [length::octet_length_udf()];
    let of_pictures = picture_udfs(&settings.decode).map(|function| {
        let said = settings.decode.clone();
        saying(function, move || json!({ "pictures": said }))
    });
    let functions = distance_udfs()
        .into_iter()
        .chain(of_captions)
        .chain(own)
        .chain(text::text_udfs())
        .chain(of_pictures)
        .chain(tokens::token_udfs(&settings.curate))
        .chain(bounded::bounded_udfs(ctx)?);
    for udf in functions {
        ctx.register_udf(udf);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use tuwen_corpus::{Rows, bare_session};

    #[test]
    fn every_function_that_datafusion_lacks_is_described() {
        let names = |ctx: &SessionContext| -> std::collections::BTreeSet<String> {
            ctx.state().scalar_functions().keys().cloned().collect()
        };
        let theirs = names(&SessionContext::new());
        let ctx = bare_session(Rows::Light).unwrap();
        register_functions(&ctx, &Settings::default()).unwrap();
        let ours = names(&ctx);
        let described: std::collections::BTreeSet<String> =
            FUNCTIONS.iter().map(|function| function.name().to_owned()).collect();
        assert_eq!(described.len(), FUNCTIONS.len());
        let missing: Vec<_> = described.difference(&ours).collect();
        assert!(missing.is_empty(), "{missing:?}");
        let internal = ["id128", "id_key"];
        let silent: Vec<_> = ours
            .difference(&theirs)
            .filter(|name| !described.contains(*name) && !internal.contains(&name.as_str()))
            .collect();
        assert!(silent.is_empty(), "{silent:?}");
    }
}
