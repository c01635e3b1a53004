//! Where ticks stand, and what they say. In: the smallest and the largest value, and a scale. Out: a range that begins and ends at a
//! tick, a place between 0 and 1 for each value, and a few round numbers or times.

use chrono::{DateTime, Datelike, Months, NaiveDate, Utc};

/// Ticks that there are about.
const TICKS: f64 = 5.0;

/// Steps between times, in seconds: up to a fortnight. Months come after them.
const TIME_STEPS: [i64; 17] = [
    1, 5, 15, 30, 60, 300, 900, 1_800, 3_600, 10_800, 21_600, 43_200, 86_400, 172_800, 345_600,
    604_800, 1_209_600,
];

const DAY_SECS: i64 = 86_400;

/// How values lie along an axis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scale {
    Linear,
    /// Of positive values.
    Log,
    /// Seconds since 1970, UTC.
    Time,
}

/// An axis with its ticks.
pub(super) struct Ticks {
    scale: Scale,
    from: f64,
    to: f64,
    /// Values and what stands beside them.
    pub(super) marks: Vec<(f64, String)>,
}

impl Ticks {
    /// For values between `least` and `most`, which are finite.
    pub(super) fn of(scale: Scale, least: f64, most: f64) -> Self {
        match scale {
            Scale::Linear => Self::linear(least, most),
            Scale::Log => Self::log(least, most),
            Scale::Time => Self::time(least, most),
        }
    }

    /// Where `value` is: 0 at the beginning, 1 at the end.
    pub(super) fn place(&self, value: f64) -> f64 {
        let along = |value: f64| if self.scale == Scale::Log { value.log10() } else { value };
        (along(value) - along(self.from)) / (along(self.to) - along(self.from))
    }

    fn linear(least: f64, most: f64) -> Self {
        let step = round_step((most - least) / TICKS, most.abs().max(least.abs()));
        let (first, last) = ((least / step).floor(), (most / step).ceil());
        let last = if last > first { last } else { first + 1.0 };
        let n = (last - first).round() as usize;
        let marks = (0..=n).map(|i| (first + i as f64) * step);
        let decimals = (-step.log10().floor()).max(0.0) as usize;
        let marks = marks.map(|value| (value, with_decimals(value, step, decimals)));
        let (scale, marks) = (Scale::Linear, marks.collect());
        Self { scale, from: first * step, to: last * step, marks }
    }

    fn log(least: f64, most: f64) -> Self {
        let first = least.log10().floor() as i32;
        let last = (most.log10().ceil() as i32).max(first + 1);
        let every = ((last - first) as f64 / TICKS / 1.5).ceil().max(1.0) as usize;
        let marks = (first..=last).step_by(every).map(|power| {
            let value = 10f64.powi(power);
            (value, short(value))
        });
        let (from, to) = (10f64.powi(first), 10f64.powi(last));
        Self { scale: Scale::Log, from, to, marks: marks.collect() }
    }

    fn time(least: f64, most: f64) -> Self {
        let (from, to) = if most > least { (least, most) } else { (least - 1.0, least + 1.0) };
        let wanted = (to - from) / TICKS;
        let step = TIME_STEPS.iter().find(|step| **step as f64 >= wanted);
        let marks = match step {
            Some(step) => {
                let first = (from / *step as f64).ceil() as i64;
                let last = (to / *step as f64).floor() as i64;
                (first..=last).map(|i| ((i * step) as f64, time_text(i * step, *step))).collect()
            }
            None => months(from, to, (wanted / (30.0 * DAY_SECS as f64)).ceil() as u32),
        };
        Self { scale: Scale::Time, from, to, marks }
    }
}

/// 1, 2 or 5 times a power of ten, not less than `wanted`; of values that are all the same, which are at most `size`, some step.
fn round_step(wanted: f64, size: f64) -> f64 {
    let wanted = match wanted > 0.0 {
        true => wanted,
        false if size > 0.0 => size / TICKS,
        false => 1.0 / TICKS,
    };
    let power = 10f64.powf(wanted.log10().floor());
    let steps = [1.0, 2.0, 5.0, 10.0].map(|step| step * power);
    // What is all but a step is that step.
    steps.into_iter().find(|step| *step >= wanted * (1.0 - 1e-9)).unwrap_or(10.0 * power)
}

fn with_decimals(value: f64, step: f64, decimals: usize) -> String {
    match () {
        () if value == 0.0 => "0".to_owned(),
        () if step >= 1.0 || decimals > 6 => short(value),
        () => format!("{value:.decimals$}"),
    }
}

/// The firsts of every `n` months, or of years where `n` is many.
fn months(from: f64, to: f64, n: u32) -> Vec<(f64, String)> {
    let n = [1, 2, 3, 6, 12, 24, 60].into_iter().find(|months| *months >= n).unwrap_or(120);
    let Some(start) = DateTime::from_timestamp(from as i64, 0) else { return Vec::new() };
    let years = (n / 12).max(1) as i32;
    let first = NaiveDate::from_ymd_opt(start.year().div_euclid(years) * years, 1, 1);
    let dates = std::iter::successors(first, |date| date.checked_add_months(Months::new(n)));
    let dates = dates
        .map(|date| (date, date.and_time(chrono::NaiveTime::MIN).and_utc().timestamp() as f64));
    let dates = dates.skip_while(|(_, secs)| *secs < from).take_while(|(_, secs)| *secs <= to);
    let format = if n >= 12 { "%Y" } else { "%Y-%m" };
    dates.map(|(date, secs)| (secs, date.format(format).to_string())).collect()
}

/// A time as exact as a step of `step` seconds asks for.
fn time_text(secs: i64, step: i64) -> String {
    let time: DateTime<Utc> = DateTime::from_timestamp(secs, 0).unwrap_or_default();
    let format = match step {
        ..60 => "%H:%M:%S",
        60..DAY_SECS => "%m-%d %H:%M",
        _ => "%Y-%m-%d",
    };
    time.format(format).to_string()
}

/// `1,234` as it is, `12k`, `1.4M`, `0.01`.
pub(crate) fn short(value: f64) -> String {
    let size = value.abs();
    for (unit, name) in [(1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")] {
        // What would be rounded to a thousand of the smaller unit is one of this.
        if size >= unit * 0.9995 && (unit > 1e3 || size >= 1e4) {
            return format!("{}{name}", three(value / unit));
        }
    }
    if size.round() >= 1e3 {
        let whole = indicatif::HumanCount(size.round() as u64).to_string();
        return if value < 0.0 { format!("-{whole}") } else { whole };
    }
    match size {
        0.0 => "0".to_owned(),
        0.001.. => three(value),
        _ => format!("{value:.0e}"),
    }
}

/// Three digits, without zeros at the end.
fn three(value: f64) -> String {
    let decimals = (2 - value.abs().log10().floor() as i32).clamp(0, 5) as usize;
    let text = format!("{value:.decimals$}");
    match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
        false => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(scale: Scale, least: f64, most: f64) -> String {
        let ticks = Ticks::of(scale, least, most);
        let texts: Vec<String> = ticks.marks.iter().map(|(_, text)| text.clone()).collect();
        let places = ticks.marks.iter().map(|(value, _)| ticks.place(*value));
        assert!(places.clone().all(|place| (-1e-9..=1.0 + 1e-9).contains(&place)), "{texts:?}");
        texts.join(" ")
    }

    #[test]
    fn ticks_are_round() {
        for (least, most, expected) in [
            (0.0, 97.0, "0 20 40 60 80 100"),
            (0.0, 1.0, "0 0.2 0.4 0.6 0.8 1.0"),
            (-3.0, 4.0, "-4 -2 0 2 4"),
            (0.0, 1_400_000.0, "0 500k 1M 1.5M"),
            (0.0, 0.0, "0 0.2"),
            (7.0, 7.0, "6 8"),
            (0.0, 4_100.0, "0 1,000 2,000 3,000 4,000 5,000"),
        ] {
            assert_eq!(texts(Scale::Linear, least, most), expected, "{least} to {most}");
        }
        assert_eq!(texts(Scale::Log, 3.0, 250_000.0), "1 10 100 1,000 10k 100k 1M");
        assert_eq!(texts(Scale::Log, 0.02, 0.02), "0.01 0.1");
    }

    #[test]
    fn times_are_those_of_a_calendar() {
        let secs = |text: &str| text.parse::<DateTime<Utc>>().unwrap().timestamp() as f64;
        for (from, to, expected) in [
            (
                "2026-11-30T08:00:00Z",
                "2026-11-30T08:00:20Z",
                "08:00:00 08:00:05 08:00:10 08:00:15 08:00:20",
            ),
            (
                "2026-11-29T20:10:00Z",
                "2026-11-30T09:00:00Z",
                "11-29 21:00 11-30 00:00 11-30 03:00 11-30 06:00 11-30 09:00",
            ),
            (
                "2026-01-05T00:00:00Z",
                "2026-01-08T00:00:00Z",
                "2026-01-05 2026-01-06 2026-01-07 2026-01-08",
            ),
            ("2025-11-20T00:00:00Z", "2026-06-10T00:00:00Z", "2026-01 2026-03 2026-05"),
            ("1999-11-20T00:00:00Z", "2026-06-10T00:00:00Z", "2000 2010 2020"),
        ] {
            assert_eq!(texts(Scale::Time, secs(from), secs(to)), expected, "{from} to {to}");
        }
        assert_eq!(texts(Scale::Time, 0.0, 0.0), "23:59:59 00:00:00 00:00:01");
    }

    #[test]
    fn numbers_are_short() {
        for (value, expected) in [
            (0.0, "0"),
            (12.0, "12"),
            (999.9, "1,000"),
            (1234.0, "1,234"),
            (-1234.0, "-1,234"),
            (12_345.0, "12.3k"),
            (999_700.0, "1M"),
            (1_400_000.0, "1.4M"),
            (0.0123, "0.0123"),
            (0.00001, "1e-5"),
        ] {
            assert_eq!(short(value), expected);
        }
    }
}
