//! What a URL asks. In: its values. Out: a query, values for its parameters, and how its rows are shown; what is none of ours is left
//! out, and a number that is none is the default.

use super::super::links::with_values;

/// Rows that a page shows, to choose from.
pub(super) const N_ROWS: [usize; 4] = [100, 500, 1_000, 5_000];

/// What the names of parameters begin with.
const PARAM: &str = "p.";

/// How two columns are drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Bars,
    Points,
    Line,
}

impl Kind {
    pub(super) const ALL: [Self; 3] = [Self::Bars, Self::Points, Self::Line];

    /// As the URL has it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Bars => "bars",
            Self::Points => "points",
            Self::Line => "line",
        }
    }
}

/// Two columns that are drawn.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Drawn {
    pub(super) kind: Kind,
    pub(super) x: String,
    pub(super) y: String,
}

/// A query and how it is answered.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Ask {
    pub(super) query: String,
    /// Name and value.
    pub(super) params: Vec<(String, String)>,
    pub(super) n_rows: usize,
    /// Whether the plan is wanted in the place of the rows.
    pub(super) explains: bool,
    pub(super) drawn: Option<Drawn>,
    /// The format of a file.
    pub(super) format: Option<String>,
}

impl Ask {
    /// What `values` of a URL ask.
    pub(super) fn of(values: Vec<(String, String)>) -> Self {
        let mut ask = Self { n_rows: N_ROWS[0], ..Self::default() };
        let (mut kind, mut x, mut y) = (None, String::new(), String::new());
        for (name, value) in values {
            match name.as_str() {
                // Forms send ends of lines as CRLF.
                "q" => ask.query = value.replace("\r\n", "\n"),
                "rows" => {
                    ask.n_rows =
                        value.parse().ok().filter(|n| N_ROWS.contains(n)).unwrap_or(N_ROWS[0])
                }
                "explain" => ask.explains = true,
                "plot" => kind = Kind::ALL.into_iter().find(|kind| kind.name() == value),
                "x" => x = value,
                "y" => y = value,
                "format" => ask.format = Some(value),
                name => {
                    if let Some(name) = name.strip_prefix(PARAM) {
                        ask.params.push((name.to_owned(), value));
                    }
                }
            }
        }
        ask.drawn = kind.map(|kind| Drawn { kind, x, y });
        ask
    }

    /// What was asked without how it is shown: names and values.
    pub(super) fn values(&self) -> Vec<(String, String)> {
        let params = self.params.iter().map(|(name, value)| (param_field(name), value.clone()));
        [("q".to_owned(), self.query.clone())].into_iter().chain(params).collect()
    }

    /// Where the rows are as a file.
    pub(super) fn download(&self, format: &str) -> String {
        let values = self.values();
        let values = values.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        with_values("/sql/download", values.chain([("format", format)]))
    }

    /// The value of a parameter, if it has one.
    pub(super) fn param(&self, name: &str) -> Option<&str> {
        self.params.iter().rfind(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

/// The field of a parameter in a form.
pub(super) fn param_field(name: &str) -> String {
    format!("{PARAM}{name}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_says_what_is_asked() {
        let of = |values: &[(&str, &str)]| {
            Ask::of(
                values
                    .iter()
                    .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                    .collect(),
            )
        };
        let ask = of(&[
            ("q", "select\r\n$a"),
            ("p.a", "1"),
            ("rows", "500"),
            ("plot", "line"),
            ("x", "a"),
            ("y", "b"),
            ("lang", "zh"),
        ]);
        assert_eq!(
            (ask.query.as_str(), ask.n_rows, ask.param("a")),
            ("select\n$a", 500, Some("1"))
        );
        assert_eq!(
            ask.drawn,
            Some(Drawn { kind: Kind::Line, x: "a".to_owned(), y: "b".to_owned() })
        );
        assert_eq!(ask.download("csv"), "/sql/download?q=select%0A%24a&p.a=1&format=csv");
        let odd = of(&[("rows", "-1"), ("plot", "<script>")]);
        assert_eq!((odd.n_rows, odd.drawn), (100, None));
    }
}
