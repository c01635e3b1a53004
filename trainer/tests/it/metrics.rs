//! Caption metrics against pycocoevalcap's, on captions that are near, far, empty, short, long and mixed.

use std::ffi::OsStr;

use serde_json::json;
use tuwen_trainer::metrics::{Captioned, score};

use crate::python;

/// Captions as crawls have them; the references of an image are variations of one of them.
const CAPTIONS: [&str; 8] = [
    "现代简约客厅沙发背景墙装修效果图",
    "2023新款夏季女装碎花连衣裙 a字裙",
    "一个穿着红色衣服的男人在篮球场上打篮球",
    "两只小猫在草地上玩耍，旁边有一只小狗。",
    "iPhone 12 Pro Max手机壳 硅胶全包防摔",
    "中间有一个红色的方形",
    "高清风景图片：日落时的海边 sunset",
    "好好好好好好好好",
];

/// Pseudo-random numbers (Knuth's linear congruential generator).
struct Random(u64);

impl Random {
    fn below(&mut self, n: usize) -> usize {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % n
    }

    /// `text` with some characters lost, doubled, changed or swapped.
    fn varied(&mut self, text: &str) -> String {
        let mut characters: Vec<char> = text.chars().collect();
        for _ in 0..self.below(8) {
            if characters.is_empty() {
                break;
            }
            let place = self.below(characters.len());
            match self.below(4) {
                0 => drop(characters.remove(place)),
                1 => characters.insert(place, characters[place]),
                2 => characters[place] = ['的', '红', 'A', 'z', ' ', '９'][self.below(6)],
                _ => characters.swap(place, 0),
            }
        }
        characters.into_iter().collect()
    }

    /// A string of few different characters, so that n-grams repeat.
    fn string(&mut self, longest: usize) -> String {
        (0..self.below(longest + 1)).map(|_| ['甲', '乙', '丙', 'x', ' '][self.below(5)]).collect()
    }

    /// A caption and one to five references.
    fn image(&mut self, random: bool) -> (String, Vec<String>) {
        let n = 1 + self.below(5);
        if random {
            // pycocoevalcap has no CIDEr-D of a set whose references are all empty: the first never is.
            let references = (0..n).map(|i| if i == 0 { "丁".to_owned() } else { String::new() });
            let references = references.map(|begin| begin + &self.string(20)).collect();
            return (self.string(20), references);
        }
        let text = CAPTIONS[self.below(CAPTIONS.len())];
        let references: Vec<_> = (0..n).map(|_| self.varied(text)).collect();
        let caption = match self.below(4) {
            0 => references[self.below(n)].clone(),
            1 => CAPTIONS[self.below(CAPTIONS.len())].to_owned(),
            _ => self.varied(text),
        };
        (caption, references)
    }
}

#[test]
fn scores_equal_pycocoevalcaps() {
    let folder = tempfile::tempdir().unwrap();
    let mut random = Random(7);
    let mut sets: Vec<Vec<(String, Vec<String>)>> = Vec::new();
    for n_images in [1, 2, 3, 10, 100, 400] {
        sets.push((0..n_images).map(|_| random.image(true)).collect());
        sets.push((0..n_images).map(|_| random.image(false)).collect());
    }
    let (nothing, something) = (String::new(), "一二三四五".to_owned());
    let both = vec![nothing.clone(), something.clone()];
    for caption in [nothing.clone(), something.clone()] {
        sets.push(vec![(caption.clone(), vec![something.clone()])]);
        let others = [(nothing.clone(), vec![nothing.clone()]), (something.clone(), both.clone())];
        sets.push([&[(caption, both.clone())], &others[..]].concat());
    }

    let mut files = Vec::new();
    for (number, set) in sets.iter().enumerate() {
        let captioned: Vec<_> = set.iter().map(|(caption, r)| Captioned::new(caption, r)).collect();
        let image =
            |(caption, r): &(String, Vec<String>)| json!({"caption": caption, "references": r});
        let images: Vec<_> = set.iter().map(image).collect();
        let path = folder.path().join(format!("{number}.json"));
        let case = json!({"scores": score(&captioned), "images": images});
        std::fs::write(&path, case.to_string()).unwrap();
        files.push(path);
    }
    let files: Vec<&OsStr> = files.iter().map(|path| path.as_os_str()).collect();
    python::check("against_pycocoevalcap.py", &files);
}
