//! A flow of pairs. In: ways with their numbers. Out: nodes and what runs between them. What flows into a node, and out of one that
//! is no end, is what the node counts; all ends together are all pairs.

use std::collections::BTreeMap;

use super::super::answers::Answer;
use super::super::links::{literal, to_reason, to_split, with_values};

/// Sources that are shown by their names; the others together.
const MOST_SOURCES: usize = 8;

/// Rows of an example query.
const EXAMPLES: usize = 100;

/// A column of the flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Stage {
    Source,
    Fetch,
    Decode,
    Curate,
}

impl Stage {
    pub(super) const ALL: [Self; 4] = [Self::Source, Self::Fetch, Self::Decode, Self::Curate];
}

/// Pairs of which a stage says the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Node {
    pub(super) stage: Stage,
    /// A source, `got`, `decoded`, a split, or a reason.
    pub(super) name: String,
    pub(super) pairs: u64,
    /// Whether no pair goes further.
    pub(super) is_end: bool,
    /// Whether it is a split.
    pub(super) is_kept: bool,
    /// Whether it stands for sources that are not named.
    pub(super) is_rest: bool,
    /// Whether curate has made rows, which are what the gallery shows.
    pub(super) is_curated: bool,
}

/// Pairs on their way between two nodes, by their places in [`Flow::nodes`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Link {
    pub(super) from: usize,
    pub(super) to: usize,
    pub(super) pairs: u64,
}

/// All of it.
pub(super) struct Flow {
    /// Stage by stage; first what goes on or is kept, then by the number of pairs.
    pub(super) nodes: Vec<Node>,
    /// By `from`, then by `to`.
    pub(super) links: Vec<Link>,
    pub(super) pairs: u64,
    pub(super) n_sources: usize,
}

impl Flow {
    /// Adds up what sql/page/flow.sql answers.
    pub(super) fn of(answer: &Answer) -> Self {
        let mut sources: BTreeMap<&str, u64> = BTreeMap::new();
        for row in &answer.rows {
            *sources.entry(answer.text(row, "source")).or_default() += answer.count(row, "pairs");
        }
        let n_sources = sources.len();
        let mut by_pairs: Vec<(&str, u64)> = sources.into_iter().collect();
        by_pairs.sort_by_key(|(name, pairs)| (std::cmp::Reverse(*pairs), *name));
        // One that is left over has a name, too.
        let n_named = if n_sources > MOST_SOURCES { MOST_SOURCES - 1 } else { n_sources };
        let named: Vec<&str> = by_pairs[..n_named].iter().map(|(name, _)| *name).collect();

        let mut nodes: BTreeMap<(Stage, String), Node> = BTreeMap::new();
        let mut links: BTreeMap<[(Stage, String); 2], u64> = BTreeMap::new();
        let mut all = 0;
        for row in &answer.rows {
            let pairs = answer.count(row, "pairs");
            all += pairs;
            let source = answer.text(row, "source");
            let is_rest = !named.contains(&source);
            let source =
                if is_rest { format!("+ {}", n_sources - n_named) } else { source.to_owned() };
            let later = [
                (Stage::Fetch, answer.text(row, "fetched")),
                (Stage::Decode, answer.text(row, "decoded")),
                (Stage::Curate, answer.text(row, "ended")),
            ];
            let later = later.into_iter().filter(|(_, name)| !name.is_empty());
            let later = later.map(|(stage, name)| (stage, name.to_owned()));
            let way: Vec<(Stage, String)> =
                [(Stage::Source, source)].into_iter().chain(later).collect();
            for (i, key) in way.iter().enumerate() {
                let is_end = i + 1 == way.len();
                let node = nodes.entry(key.clone()).or_insert_with(|| Node {
                    stage: key.0,
                    name: key.1.clone(),
                    pairs: 0,
                    is_end,
                    is_kept: key.0 == Stage::Curate && answer.text(row, "is_kept") == "true",
                    is_rest: is_rest && key.0 == Stage::Source,
                    is_curated: false,
                });
                node.pairs += pairs;
            }
            for step in way.windows(2) {
                *links.entry([step[0].clone(), step[1].clone()]).or_default() += pairs;
            }
        }
        let mut nodes: Vec<Node> = nodes.into_values().collect();
        nodes.sort_by_key(|node| {
            let is_out = node.is_end && !node.is_kept;
            (node.stage, is_out, node.is_rest, std::cmp::Reverse(node.pairs), node.name.clone())
        });
        let is_curated =
            nodes.iter().any(|node| node.stage == Stage::Curate && node.name != "not_curated");
        nodes.iter_mut().for_each(|node| node.is_curated = is_curated);
        let place = |key: &(Stage, String)| {
            let found = nodes.iter().position(|node| node.stage == key.0 && node.name == key.1);
            found.expect("links are between nodes")
        };
        let mut links: Vec<Link> = links
            .iter()
            .map(|([from, to], pairs)| Link { from: place(from), to: place(to), pairs: *pairs })
            .collect();
        links.sort_by_key(|link| (link.from, link.to));
        Self { nodes, links, pairs: all, n_sources }
    }
}

impl Node {
    /// Where the gallery shows just its pairs; none where the gallery has no such filter, as of what became of an attempt, or no rows yet.
    pub(super) fn gallery(&self) -> Option<String> {
        match self.stage {
            _ if !self.is_curated => None,
            Stage::Source if !self.is_rest => {
                let condition = format!("source = {}", literal(&self.name));
                Some(with_values("/", [("where", condition.as_str())]))
            }
            _ if !self.is_end => None,
            _ if self.is_kept => Some(to_split(&self.name)),
            Stage::Curate if self.name == "not_curated" => None,
            Stage::Curate => Some(to_reason(&self.name)),
            Stage::Decode if self.name == "not_decoded" => Some(to_reason(&self.name)),
            // What was said of them is no longer there.
            _ if matches!(self.name.as_str(), "fetch_failed" | "image_rejected") => None,
            Stage::Decode => {
                let name = literal(&self.name);
                let of_image = format!(
                    "image_id in (select image_id from images where reject_reason = {name})"
                );
                Some(with_values("/", [("reason", "image_rejected"), ("where", of_image.as_str())]))
            }
            Stage::Fetch if is_of_examples(&self.name) => Some(to_reason(&self.name)),
            Stage::Fetch | Stage::Source => None,
        }
    }

    /// A query for some of its pairs.
    pub(super) fn query(&self) -> String {
        let name = literal(&self.name);
        let of_examples = |condition: &str| {
            format!(
                "select e.image_id, e.text, p.text as crawled, p.url, p.filename, p.source, p.source_line\n\
                 from examples as e\ninner join pairs as p on e.example_id = p.pair_id\nwhere {condition}\nlimit {EXAMPLES}"
            )
        };
        match (self.stage, self.name.as_str()) {
            (Stage::Source, _) if self.is_rest => {
                "select source, count(*) as pairs\nfrom pairs\ngroup by source\norder by pairs desc"
                    .to_owned()
            }
            (Stage::Source, _) => format!(
                "select text, url, filename, source_line\nfrom pairs\nwhere source = {name}\norder by source_line\nlimit {EXAMPLES}"
            ),
            (Stage::Fetch, "got") => of_examples("e.image_id is not null"),
            (Stage::Fetch, "malformed_line") => format!(
                "select source, source_line, malformed\nfrom pairs\nwhere malformed is not null\norder by source, source_line\nlimit {EXAMPLES}"
            ),
            (Stage::Fetch, reason) if is_of_examples(reason) => {
                of_examples(&format!("e.reject_reason = {name}"))
            }
            (Stage::Fetch, _) => format!(
                "with refused as (\n    select id, detail from rejects where stage = 'fetch' and reason = {name}\n),\n\n\
                 asked as (\n    select *, url as locator from pairs where url is not null\n    union all\n    \
                 select *, 'file:' || filename as locator from pairs where filename is not null\n)\n\n\
                 select a.text, a.locator, r.detail, a.source, a.source_line\n\
                 from refused as r\ninner join asked as a on r.id = a.locator\n\
                 left join examples as e on a.pair_id = e.example_id\n\
                 where e.example_id is null or e.reject_reason = 'fetch_failed'\nlimit {EXAMPLES}"
            ),
            (Stage::Decode, "decoded") => {
                "select image_id, width, height, format, pixels\nfrom images\nwhere reject_reason is null\nlimit 20"
                    .to_owned()
            }
            (Stage::Decode, "not_decoded") => of_examples("e.reject_reason = 'not_decoded'"),
            (Stage::Decode, _) => format!(
                "select i.image_id, i.format, i.width, i.height, i.detail, e.text\n\
                 from images as i\ninner join examples as e on i.image_id = e.image_id\n\
                 where i.reject_reason = {name}\nlimit {EXAMPLES}"
            ),
            (Stage::Curate, "not_curated") => format!(
                "select p.text, p.url, p.filename, p.source, p.source_line\n\
                 from pairs as p\nleft join examples as e on p.pair_id = e.example_id\n\
                 where e.example_id is null\nlimit {EXAMPLES}"
            ),
            (Stage::Curate, _) if self.is_kept => format!(
                "select image_id, text, n_tokens\nfrom examples\nwhere split = {name}\nlimit {EXAMPLES}"
            ),
            (Stage::Curate, _) => of_examples(&format!("e.reject_reason = {name}")),
        }
    }
}

/// Reasons of fetch that stand in `examples`, where an outcome is `fetch_failed`.
fn is_of_examples(reason: &str) -> bool {
    matches!(reason, "malformed_line" | "no_locator" | "not_fetched" | "fetch_failed")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Ways of a crawl: of source, fetched, decoded, ended, is_kept, pairs.
    fn answer(ways: &[[&str; 6]]) -> Answer {
        let columns = ["source", "fetched", "decoded", "ended", "is_kept", "pairs"];
        let cell = |text: &&str| Some((*text).to_owned()).filter(|text| !text.is_empty());
        Answer {
            columns: columns.map(str::to_owned).to_vec(),
            rows: ways.iter().map(|way| way.iter().map(cell).collect()).collect(),
            ..Answer::default()
        }
    }

    #[test]
    fn nothing_is_lost_between_stages() {
        let mut ways = vec![
            ["a.csv", "got", "decoded", "train", "true", "1000"],
            ["a.csv", "got", "decoded", "leak", "false", "3"],
            ["a.csv", "got", "corrupt", "", "", "5"],
            ["a.csv", "timeout", "", "", "", "7"],
            ["b.csv", "got", "decoded", "train", "true", "11"],
            ["b.csv", "malformed_line", "", "", "", "13"],
        ];
        let more: Vec<String> = (0..9).map(|i| format!("<{i}>.csv")).collect();
        ways.extend(more.iter().map(|name| [name, "got", "decoded", "test", "true", "1"]));
        let flow = Flow::of(&answer(&ways));
        assert_eq!((flow.pairs, flow.n_sources), (1048, 11));
        let ends = flow.nodes.iter().filter(|node| node.is_end);
        assert_eq!(ends.map(|node| node.pairs).sum::<u64>(), flow.pairs);
        for (i, node) in flow.nodes.iter().enumerate() {
            let sum = |is: &dyn Fn(&Link) -> bool| -> u64 {
                flow.links.iter().filter(|link| is(link)).map(|link| link.pairs).sum()
            };
            let (into, out) = (sum(&|link| link.to == i), sum(&|link| link.from == i));
            assert_eq!(into, if node.stage == Stage::Source { 0 } else { node.pairs }, "{node:?}");
            assert_eq!(out, if node.is_end { 0 } else { node.pairs }, "{node:?}");
        }
        let of = |stage| flow.nodes.iter().filter(move |node| node.stage == stage);
        assert_eq!(of(Stage::Source).count(), MOST_SOURCES);
        assert_eq!(of(Stage::Source).next_back().unwrap().name, "+ 4");
        let names: Vec<&str> = of(Stage::Curate).map(|node| node.name.as_str()).collect();
        assert_eq!(names, ["train", "test", "leak"]);
        // The gallery shows all of a part, or is not led to.
        let gallery = |name: &str| {
            let node = flow.nodes.iter().find(|node| node.name == name);
            node.and_then(Node::gallery).unwrap_or_default()
        };
        assert!(gallery("corrupt").contains("where=image_id%20in%20"), "{}", gallery("corrupt"));
        assert_eq!(gallery("timeout"), "");
        let decoded = Flow::of(&answer(&[
            ["a.csv", "got", "decoded", "not_curated", "false", "2"],
            ["a.csv", "got", "corrupt", "", "", "5"],
        ]));
        assert!(decoded.nodes.iter().all(|node| node.gallery().is_none()));
        assert_eq!(Flow::of(&answer(&[])).pairs, 0);
    }
}
