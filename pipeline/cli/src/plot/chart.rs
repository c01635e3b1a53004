//! Charts with two axes. In: numbers, or names with numbers. Out: one SVG. Never collects: what is drawn was counted by whoever asks.

use maud::{Markup, html};

use super::axis::{Scale, Ticks, short};
use super::colour;

/// The picture, in units of its own; the page says how wide it is shown.
const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 320.0;

/// Room for the ticks of the y axis, the title above, and ticks and name of the x axis.
const LEFT: f64 = 64.0;
const TOP: f64 = 28.0;
const RIGHT: f64 = 16.0;
const BOTTOM: f64 = 48.0;

/// Points that say their values when they are pointed at.
const MOST_TITLES: usize = 2_000;

/// Names below columns that have room beside each other.
const MOST_NAMES: usize = 14;

/// What an axis shows.
#[derive(Clone)]
pub(crate) struct Axis {
    pub(crate) name: String,
    pub(crate) scale: Scale,
}

/// How points are drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mark {
    Points,
    Line,
}

/// Points of one colour.
pub(crate) struct Series {
    pub(crate) name: String,
    pub(crate) points: Vec<(f64, f64)>,
}

/// Points in the plane.
pub(crate) struct Chart {
    pub(crate) title: String,
    pub(crate) x: Axis,
    pub(crate) y: Axis,
    pub(crate) mark: Mark,
    pub(crate) series: Vec<Series>,
}

/// A chart of points or lines; none if there is no point that has a place. What is not finite, or not positive on an axis of powers,
/// is left out.
pub(crate) fn chart(chart: &Chart) -> Option<Markup> {
    let has_place =
        |value: f64, axis: &Axis| value.is_finite() && (axis.scale != Scale::Log || value > 0.0);
    let is_shown =
        |point: &(f64, f64)| has_place(point.0, &chart.x) && has_place(point.1, &chart.y);
    let shown: Vec<Vec<(f64, f64)>> = chart
        .series
        .iter()
        .map(|series| series.points.iter().copied().filter(is_shown).collect())
        .collect();
    let all = || shown.iter().flatten();
    let (x_least, x_most) = ends(all().map(|point| point.0))?;
    let (y_least, y_most) = ends(all().map(|point| point.1))?;
    let x = Ticks::of(chart.x.scale, x_least, x_most);
    // Lengths are compared from zero, where it is not far away.
    let is_from_zero = chart.y.scale == Scale::Linear && y_least > 0.0 && y_least < y_most / 2.0;
    let y = Ticks::of(chart.y.scale, if is_from_zero { 0.0 } else { y_least }, y_most);
    let at = |point: &(f64, f64)| (left_of(x.place(point.0)), top_of(y.place(point.1)));
    let has_titles = all().count() <= MOST_TITLES;
    let title = |name: &str, point: &(f64, f64)| {
        let name = if name.is_empty() { String::new() } else { format!("{name}: ") };
        format!("{name}{}, {}", said(point.0, chart.x.scale), said(point.1, chart.y.scale))
    };
    let points = html! {
        @for (i, (series, points)) in chart.series.iter().zip(&shown).enumerate() {
            g class=(colour(i)) {
                @if chart.mark == Mark::Line {
                    polyline.line points=(points.iter().map(|point| { let (x, y) = at(point); format!("{x:.1},{y:.1}") }).collect::<Vec<_>>().join(" ")) {}
                }
                @for point in points.iter().filter(|_| chart.mark == Mark::Points || has_titles) {
                    circle cx=(px(at(point).0)) cy=(px(at(point).1)) r=(if chart.mark == Mark::Points { "3.5" } else { "2.5" }) {
                        @if has_titles { title { (title(&series.name, point)) } }
                    }
                }
            }
        }
    };
    let x_ticks = x.marks.iter().map(|(value, text)| (left_of(x.place(*value)), text.clone()));
    Some(frame(
        &chart.title,
        (&chart.x.name, &x_ticks.collect::<Vec<_>>()),
        (&chart.y.name, &y),
        &points,
        &legend(&chart.series),
    ))
}

/// Columns side by side, each with a name below it; none if there are none.
pub(crate) fn columns(title: &str, x: &str, y: &str, columns: &[(String, u64)]) -> Option<Markup> {
    let most = columns.iter().map(|(_, n)| *n).max()?;
    let ticks = Ticks::of(Scale::Linear, 0.0, most.max(1) as f64);
    let slot = (WIDTH - LEFT - RIGHT) / columns.len() as f64;
    let every = columns.len().div_ceil(MOST_NAMES);
    let names: Vec<(f64, String)> = columns
        .iter()
        .enumerate()
        .step_by(every)
        .map(|(i, (name, _))| (LEFT + (i as f64 + 0.5) * slot, name.clone()))
        .collect();
    let drawn = html! {
        g.s1 {
            @for (i, (name, n)) in columns.iter().enumerate() {
                @let top = top_of(ticks.place(*n as f64));
                rect x=(px(LEFT + i as f64 * slot + slot * 0.06)) y=(px(top)) width=(px(slot * 0.88)) height=(px(top_of(0.0) - top)) {
                    title { (name) ": " (indicatif::HumanCount(*n)) }
                }
            }
        }
    };
    Some(frame(title, (x, &names), (y, &ticks), &drawn, &html! {}))
}

/// Axes with their names and lines around what is drawn.
fn frame(
    title: &str,
    (x_name, x_ticks): (&str, &[(f64, String)]),
    (y_name, y): (&str, &Ticks),
    drawn: &Markup,
    legend: &Markup,
) -> Markup {
    html! {
        svg.plot viewBox={ "0 0 " (WIDTH) " " (HEIGHT) } role="img" {
            title { (title) }
            g.grid {
                @for (value, text) in &y.marks {
                    @let top = px(top_of(y.place(*value)));
                    line x1=(LEFT) x2=(WIDTH - RIGHT) y1=(top) y2=(top) {}
                    text x=(LEFT - 8.0) y=(top) dy="0.32em" text-anchor="end" { (text) }
                }
                @for (left, text) in x_ticks {
                    text x=(px(*left)) y=(HEIGHT - BOTTOM + 18.0) text-anchor=(if *left > WIDTH - RIGHT - 24.0 { "end" } else { "middle" }) { (text) }
                }
            }
            g.names {
                text x=(LEFT) y="16" { (y_name) }
                text x=(WIDTH - RIGHT) y=(HEIGHT - 8.0) text-anchor="end" { (x_name) }
            }
            (drawn)
            (legend)
        }
    }
}

/// What the colours mean, at the top on the right; nothing where there is one.
fn legend(series: &[Series]) -> Markup {
    /// Units that a letter takes, about.
    const LETTER: f64 = 7.0;
    const GAP: f64 = 30.0;
    let widths = series.iter().map(|series| series.name.chars().count() as f64 * LETTER + GAP);
    let mut left = WIDTH - RIGHT - widths.clone().sum::<f64>();
    let places: Vec<f64> = widths
        .map(|width| {
            left += width;
            left - width
        })
        .collect();
    html! {
        @if series.len() > 1 {
            g.names {
                @for (i, (series, left)) in series.iter().zip(places).enumerate() {
                    rect class=(colour(i)) x=(px(left)) y="7" width="10" height="10" rx="2" {}
                    text x=(px(left + 14.0)) y="16" { (series.name) }
                }
            }
        }
    }
}

fn said(value: f64, scale: Scale) -> String {
    match scale {
        Scale::Time => chrono::DateTime::from_timestamp(value as i64, 0)
            .map_or_else(String::new, |time| time.format("%Y-%m-%d %H:%M:%S").to_string()),
        Scale::Linear | Scale::Log => short(value),
    }
}

fn ends(values: impl Iterator<Item = f64>) -> Option<(f64, f64)> {
    values.fold(None, |ends, value| match ends {
        None => Some((value, value)),
        Some((least, most)) => Some((value.min(least), value.max(most))),
    })
}

fn left_of(place: f64) -> f64 {
    LEFT + place * (WIDTH - LEFT - RIGHT)
}

fn top_of(place: f64) -> f64 {
    TOP + (1.0 - place) * (HEIGHT - TOP - BOTTOM)
}

fn px(value: f64) -> String {
    format!("{value:.1}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(points: Vec<(f64, f64)>, y: Scale) -> Option<String> {
        let axis = |name: &str, scale| Axis { name: name.to_owned(), scale };
        let series = vec![Series { name: "<s>".to_owned(), points }];
        let (x, y) = (axis("x", Scale::Linear), axis("y", y));
        let made = Chart { title: "<t>".to_owned(), x, y, mark: Mark::Points, series };
        chart(&made).map(Markup::into_string)
    }

    #[test]
    fn what_has_no_place_is_left_out_and_names_stay_text() {
        let points =
            vec![(1.0, 1.0), (2.0, f64::NAN), (3.0, -1.0), (f64::INFINITY, 1.0), (4.0, 100.0)];
        let svg = of(points.clone(), Scale::Log).unwrap();
        assert_eq!(svg.matches("<circle").count(), 2);
        assert!(svg.contains("<title>&lt;t&gt;</title>") && !svg.contains("<s>"), "{svg}");
        assert!(!svg.contains("NaN") && !svg.contains("inf"), "{svg}");
        assert_eq!(of(points, Scale::Linear).unwrap().matches("<circle").count(), 3);
        assert_eq!(of(vec![(0.0, 0.0)], Scale::Log), None);
        assert_eq!(of(Vec::new(), Scale::Linear), None);
        assert!(of(vec![(5.0, 5.0)], Scale::Linear).is_some());
    }

    #[test]
    fn columns_are_as_high_as_their_numbers() {
        let made = columns(
            "t",
            "x",
            "y",
            &[("a".to_owned(), 0), ("b".to_owned(), 50), ("c".to_owned(), 100)],
        );
        let svg = made.unwrap().into_string();
        // 244 units are 100.
        for height in ["height=\"0.0\"", "height=\"122.0\"", "height=\"244.0\""] {
            assert!(svg.contains(height), "{height}: {svg}");
        }
        assert!(columns("t", "x", "y", &[]).is_none());
    }
}
