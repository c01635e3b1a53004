//! HTML tags. In: a text. Out: it without tags, comments, scripts and styles. For a tag it takes what HTML's tokenizer takes for one
//! and whose name an HTML element has: `a<b且c>d` and `<未完待续>` stay. A tag that the crawl cut off goes too.

use html5gum::emitters::callback::{CallbackEmitter, CallbackEvent};
use html5gum::{Span, Tokenizer};

/// Elements within a line: no blank where their tags were, as browsers show none.
const INLINE: &str = "\
    a abbr acronym b basefont bdi bdo big blink cite code data del dfn em font i ins kbd label \
    mark math mi mn mo mrow msub msup nobr output q rb rp rt rtc ruby s samp small span \
    strike strong sub sup tt u var wbr";

/// All others of HTML, today's and those it had once: they break the line, or stand for something that is seen.
const OTHERS: &str = "\
    address applet area article aside audio base bgsound blockquote body br button canvas \
    caption center col colgroup datalist dd details dialog dir div dl dt embed fieldset \
    figcaption figure footer form frame frameset h1 h2 h3 h4 h5 h6 head header hgroup hr html \
    iframe image img input isindex keygen legend li link listing main map marquee menu menuitem \
    meta meter multicol nav nextid noembed noframes noscript object ol optgroup option p param \
    picture plaintext pre progress script search section select slot source spacer style summary \
    svg table tbody td template textarea tfoot th thead time title tr track ul video xmp";

/// Of drawings (SVG): many are words, so they are tags only with an attribute or where they end.
const DRAWING: &str = "\
    circle clippath defs desc ellipse filter foreignobject g line lineargradient marker mask \
    path pattern polygon polyline radialgradient rect stop switch symbol text textpath tspan use \
    view";

/// Names that can be nothing else where a text ends right behind them.
const UNMISTAKABLE: &str = "br div font img li span strong td tr";

/// Longer than any element's name.
const MAX_NAME_BYTES: usize = 16;

const CDATA: &str = "<![CDATA[";
const END_OF_CDATA: &str = "]]>";
/// What HTML takes for a comment, and is no text by mistake: `<!好的>`, `</3` are one to it, too.
const COMMENTS: [&str; 6] = ["<!--", "<!doctype", "<?xml", "<?php", "<![if", "<![endif"];

pub(super) fn without_tags(text: &str) -> Option<String> {
    let mut clean = String::new();
    let mut rest = text;
    let mut from = 0;
    // Bytes that may be read in vain, so that time grows with the text's length.
    let mut patience = 16 * text.len();
    while let Some(at) = rest[from..].find('<').map(|at| at + from) {
        let markup = &rest[at..];
        if starts_with(markup, CDATA) {
            // In XML this is how text is written, so that is what stays.
            clean.push_str(&rest[..at]);
            let content = &markup[CDATA.len()..];
            let end = content.find(END_OF_CDATA).unwrap_or(content.len());
            clean.push_str(&content[..end]);
            rest = content[end..].strip_prefix(END_OF_CDATA).unwrap_or_default();
            from = 0;
            continue;
        }
        let found = if patience > 0 { markup_at(markup, &mut patience) } else { None };
        let Some(found) = found else {
            from = at + 1;
            continue;
        };
        clean.push_str(&rest[..at]);
        rest = &markup[found.n_bytes..];
        from = 0;
        let is_between = clean.chars().next_back().is_some_and(|c| !c.is_whitespace())
            && rest.chars().next().is_some_and(|c| !c.is_whitespace());
        if found.is_break && is_between {
            clean.push(' ');
        }
    }
    if rest.len() == text.len() {
        return None;
    }
    clean.push_str(rest);
    Some(clean)
}

/// A tag, a comment, or an element that is no text.
struct Markup {
    n_bytes: usize,
    /// Whether words before and after it are apart.
    is_break: bool,
}

/// What `text`, which begins with `<`, begins with.
fn markup_at(text: &str, patience: &mut usize) -> Option<Markup> {
    if COMMENTS.iter().any(|comment| starts_with(text, comment)) {
        let n_bytes = first_token(text, &[]).map_or(text.len(), |token| token.end);
        return Some(Markup { n_bytes, is_break: false });
    }
    let is_end = text.starts_with("</");
    let name = name_at(&text[if is_end { 2 } else { 1 }..])?;
    let is_inline = is_among(&name, INLINE) || is_of_office(&name);
    let is_drawing = is_among(&name, DRAWING);
    if !is_inline && !is_drawing && !is_among(&name, OTHERS) {
        return None;
    }
    let is_break = !is_inline && !is_drawing;
    let hidden = matches!(name.as_str(), "script" | "style") && !is_end;
    let Some(token) = first_token(text, if hidden { name.as_bytes() } else { &[] }) else {
        // It does not end in this text: cut off, or none.
        let is_cut_off = hidden && text.contains('>') || is_cut_off(text, &name, is_end);
        if !is_cut_off {
            *patience = patience.saturating_sub(text.len());
        }
        return is_cut_off.then_some(Markup { n_bytes: text.len(), is_break });
    };
    let has_value = token.attributes.iter().any(|name| has_value(text, *name));
    let is_tag = token.attributes.iter().all(|name| is_attribute(text, *name))
        // A name of one letter may be a variable: if a<b and c>d.
        && (name.len() > 1 || token.attributes.is_empty() || has_value)
        && (!is_drawing || is_end || has_value);
    if !is_tag {
        *patience = patience.saturating_sub(token.end);
        return None;
    }
    Some(Markup { n_bytes: token.end, is_break })
}

/// The name of a tag in lower case, if it is short enough to be an element's.
fn name_at(text: &str) -> Option<String> {
    let is_end = |byte: &u8| matches!(byte, b'\t' | b'\n' | b'\x0c' | b'\r' | b' ' | b'/' | b'>');
    let bytes = text.as_bytes();
    let n_bytes = bytes.iter().take(MAX_NAME_BYTES).position(is_end).unwrap_or(bytes.len());
    let is_name = (1..MAX_NAME_BYTES).contains(&n_bytes) && bytes[0].is_ascii_alphabetic();
    is_name.then(|| String::from_utf8_lossy(&bytes[..n_bytes]).to_ascii_lowercase())
}

/// What a word processor writes into pages: `<o:p>`, `<st1:place>`.
fn is_of_office(name: &str) -> bool {
    name.split_once(':').is_some_and(|(prefix, _)| matches!(prefix, "o" | "v" | "w" | "st1"))
}

fn is_among(name: &str, names: &str) -> bool {
    names.split(' ').any(|known| known == name)
}

/// A token of HTML's tokenizer: where it ends, and where the names of its attributes stand.
struct Token {
    end: usize,
    attributes: Vec<Span<usize>>,
}

/// The first token of `text`, which begins with one that is no text; up to the end of the element `hidden`, if it is named.
/// None if the text ends before it.
fn first_token(text: &str, hidden: &[u8]) -> Option<Token> {
    let mut attributes = Vec::new();
    let mut emitter =
        CallbackEmitter::new(|event: CallbackEvent<'_>, span: Span<usize>| match event {
            CallbackEvent::AttributeName { .. } => {
                attributes.push(span);
                None
            }
            CallbackEvent::CloseStartTag { .. } => hidden.is_empty().then_some(span.end),
            CallbackEvent::EndTag { name } => {
                (hidden.is_empty() || name == hidden).then_some(span.end)
            }
            CallbackEvent::Comment { .. } | CallbackEvent::Doctype { .. } => {
                hidden.is_empty().then_some(span.end)
            }
            _ => None,
        });
    // So that what stands in a script is not read as tags.
    emitter.naively_switch_states(!hidden.is_empty());
    let end = match Tokenizer::new_with_emitter(text, emitter).next()? {
        Ok(end) => end,
        Err(never) => match never {},
    };
    text.is_char_boundary(end).then_some(Token { end, attributes })
}

fn is_attribute(text: &str, name: Span<usize>) -> bool {
    let is_name = |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b'<' | b'&' | b',');
    text.get(name.start..name.end).is_some_and(|name| name.bytes().all(is_name))
}

fn has_value(text: &str, name: Span<usize>) -> bool {
    text.get(name.end..).is_some_and(|text| text.trim_start().starts_with('='))
}

/// Whether a tag that does not end was begun, and is not a comparison: an attribute follows its name, or it cannot be anything else.
fn is_cut_off(text: &str, name: &str, is_end: bool) -> bool {
    let rest = text[1 + usize::from(is_end) + name.len()..].trim_start();
    let attribute = rest
        .trim_start_matches(|c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | ':' | '_'));
    let has_attribute = attribute.len() < rest.len() && attribute.trim_start().starts_with('=');
    let is_all = rest.is_empty() || rest == "/";
    has_attribute || is_all && (is_end || is_among(name, UNMISTAKABLE))
}

fn starts_with(text: &str, start: &str) -> bool {
    text.get(..start.len()).is_some_and(|text| text.eq_ignore_ascii_case(start))
}
