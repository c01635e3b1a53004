//! A bar chart that is a table as well: for screen readers, and where styles are not shown. In: names and numbers. Out: markup.

use indicatif::HumanCount;
use maud::{Markup, html};

use super::axis::short;
use super::colour;

/// A row with its bar.
pub(crate) struct Bar {
    name: String,
    /// Where its name leads.
    href: Option<String>,
    /// What it consists of, side by side.
    parts: Vec<f64>,
    /// What they are together.
    said: String,
}

impl Bar {
    /// One of counts.
    pub(crate) fn counts(name: impl Into<String>, parts: &[u64]) -> Self {
        let said = HumanCount(parts.iter().sum()).to_string();
        let parts = parts.iter().map(|n| *n as f64).collect();
        Self { name: name.into(), href: None, parts, said }
    }

    /// One of any number that is not negative; without a bar where it is none.
    pub(crate) fn number(name: impl Into<String>, value: f64) -> Self {
        let (parts, said) = match value.is_finite() {
            true => (vec![value], short(value)),
            false => (Vec::new(), String::new()),
        };
        Self { name: name.into(), href: None, parts, said }
    }

    /// The same with a name that leads somewhere.
    pub(crate) fn to(self, href: String) -> Self {
        Self { href: Some(href), ..self }
    }

    fn length(&self) -> f64 {
        self.parts.iter().sum()
    }
}

/// The bars, the longest as wide as there is room.
pub(crate) fn bars(bars: &[Bar]) -> Markup {
    let most = bars.iter().map(Bar::length).fold(f64::MIN_POSITIVE, f64::max);
    let percent = |length: f64| format!("{:.2}%", length / most * 100.0);
    html! {
        table.bars {
            tbody {
                @for bar in bars {
                    tr {
                        th scope="row" { @match &bar.href {
                            Some(href) => a href=(href) { (bar.name) },
                            None => (bar.name),
                        } }
                        td.number { (bar.said) }
                        td.bar {
                            svg aria-hidden="true" width="100%" height="14" {
                                @for (i, part) in bar.parts.iter().enumerate() {
                                    rect class=(colour(i)) x=(percent(bar.parts[..i].iter().sum())) width=(percent(*part)) height="14" {}
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}
