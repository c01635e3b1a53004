//! How much of a text is Chinese, Japanese or Korean. In: a text. Out: the share of its letters that are, by the scripts' blocks in
//! Unicode.

/// Han, kana, bopomofo and hangul, with their extensions, and the repetition marks that count as letters.
const BLOCKS: [(char, char); 14] = [
    ('\u{1100}', '\u{11FF}'),   // hangul jamo
    ('\u{3005}', '\u{3007}'),   // 々, 〆, 〇
    ('\u{3040}', '\u{30FF}'),   // hiragana, katakana
    ('\u{3100}', '\u{312F}'),   // bopomofo
    ('\u{3130}', '\u{318F}'),   // hangul compatibility jamo
    ('\u{31A0}', '\u{31BF}'),   // bopomofo extended
    ('\u{31F0}', '\u{31FF}'),   // katakana phonetic extensions
    ('\u{3400}', '\u{4DBF}'),   // CJK extension A
    ('\u{4E00}', '\u{9FFF}'),   // CJK unified ideographs
    ('\u{A960}', '\u{A97F}'),   // hangul jamo extended A
    ('\u{AC00}', '\u{D7FF}'),   // hangul syllables, jamo extended B
    ('\u{F900}', '\u{FAFF}'),   // CJK compatibility ideographs
    ('\u{FF66}', '\u{FFDC}'),   // halfwidth katakana and hangul
    ('\u{20000}', '\u{323AF}'), // CJK extensions B to H
];

/// Share of the letters of `text` that are Chinese, Japanese or Korean; 0 if it has no letters.
pub fn cjk_ratio(text: &str) -> f64 {
    let letters = text.chars().filter(|c| c.is_alphabetic());
    let (n_letters, n_cjk) = letters.fold((0_u32, 0_u32), |(n_letters, n_cjk), c| {
        (n_letters + 1, n_cjk + u32::from(is_cjk(c)))
    });
    f64::from(n_cjk) / f64::from(n_letters.max(1))
}

fn is_cjk(c: char) -> bool {
    BLOCKS.iter().any(|(first, last)| (*first..=*last).contains(&c))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_are_counted_and_nothing_else() {
        for (text, expected) in [
            ("", 0.0),
            ("2024!", 0.0),
            ("红圆", 1.0),
            ("红圆, 2024!", 1.0),
            ("ab红圆", 0.5),
            ("かわいい", 1.0),
            ("カー々", 1.0),
            ("빨간", 1.0),
            ("Кошка", 0.0),
            ("𠀀a", 0.5),
        ] {
            assert_eq!(cjk_ratio(text), expected, "{text}");
        }
    }
}
