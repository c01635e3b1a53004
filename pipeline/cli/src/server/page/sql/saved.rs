//! Queries to begin with: the files of sql/queries. Out: each with a name in two languages and its text.

use super::super::lang::Lang;

/// A query that is there.
pub(super) struct Saved {
    /// Of its file.
    pub(super) file: &'static str,
    names: [&'static str; 2],
    pub(super) text: &'static str,
}

impl Saved {
    pub(super) fn name(&self, lang: Lang) -> &'static str {
        lang.say(self.names[0], self.names[1])
    }
}

macro_rules! saved {
    ($($file:literal: $en:literal, $zh:literal;)+) => {
        /// All of them.
        pub(super) const SAVED: &[Saved] = &[$(Saved {
            file: $file,
            names: [$en, $zh],
            text: include_str!(concat!("../../../../../../sql/queries/", $file, ".sql")),
        }),+];
    };
}

saved! {
    "splits_and_reasons": "Where pairs ended", "各对的终点";
    "reasons_by_stage": "What each stage rejected", "各阶段拒绝了什么";
    "size_outliers": "Pictures of odd sizes", "尺寸异常的图片";
    "formats": "Formats and colours", "格式与颜色";
    "languages": "Scripts of captions", "描述的文字种类";
    "phrases": "Frequent phrases", "常见词组";
    "caption_rules": "What cleaning changed", "清洗改动了什么";
    "captions_of_many_images": "Captions of many images", "多图共用的描述";
    "near_groups": "Near-identical images", "几乎相同的图片";
    "beside_human_captions": "A model's captions beside the human ones", "模型描述与人工描述对照";
    "doubtful_pairs": "Pairs that may not belong together", "可能不匹配的图文对";
    "history": "Runs", "运行记录";
    "commits": "Commits", "提交记录";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_of_queries_is_here() {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../sql/queries");
        let mut files: Vec<String> = std::fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().path().file_stem().unwrap().to_string_lossy().into_owned())
            .collect();
        files.sort();
        let mut saved: Vec<&str> = SAVED.iter().map(|saved| saved.file).collect();
        saved.sort_unstable();
        assert_eq!(saved, files);
    }
}
