//! Plots as markup that needs no script: of the report and of the page. In: names and numbers. Out: SVG, or a table with bars in it,
//! whose colours are classes (`s1`, `s2`, …) that the style of a page paints by day and by night. `axis.rs` says where ticks stand.

mod axis;
mod bars;
mod chart;

pub(crate) use self::axis::Scale;
pub(crate) use self::bars::{Bar, bars};
pub(crate) use self::chart::{Axis, Chart, Mark, Series, chart, columns};

/// Colours that a style paints; what comes after the last begins anew.
const COLOURS: usize = 8;

/// The class of the series in place `i`.
pub(crate) fn colour(i: usize) -> String {
    format!("s{}", i % COLOURS + 1)
}
