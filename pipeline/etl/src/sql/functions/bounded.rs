//! Functions of DataFusion that make as many values as they are told to: `range`, `repeat` and the like. In: such a function. Out: the
//! same, which works out beforehand how many bytes it makes of a batch, and refuses what is too much: no pool counts them.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, OffsetSizeTrait, new_null_array};
use arrow::compute::cast;
use arrow::datatypes::{
    DataType, Int64Type, IntervalMonthDayNano, IntervalMonthDayNanoType, TimeUnit,
};
use datafusion::common::Result;
use datafusion::execution::FunctionRegistry;
use datafusion::logical_expr::ScalarUDF;
use datafusion::prelude::SessionContext;

use crate::bound::checked;
use crate::sql::error::QueryError;
use crate::sql::functions::pictures::MOST_BYTES;

/// All of them.
const BOUNDED: [(&str, Makes); 7] = [
    ("array_repeat", Makes::Elements),
    ("array_resize", Makes::Filled),
    ("generate_series", Makes::Series),
    ("lpad", Makes::Padded),
    ("range", Makes::Series),
    ("repeat", Makes::Repeated),
    ("rpad", Makes::Padded),
];

/// Bytes of an integer, a time, or the place of an element in what it is copied from.
const WORD_BYTES: u128 = 8;

const HOUR_NS: i128 = 3_600_000_000_000;

/// Those of `ctx`, bounded.
///
/// # Errors
/// It lacks one.
pub(super) fn bounded_udfs(ctx: &SessionContext) -> Result<Vec<ScalarUDF>> {
    let bounded = BOUNDED.into_iter().map(|(name, makes)| {
        let function = ctx.udf(name)?.as_ref().clone();
        Ok(checked(function, move |arguments| {
            if makes.n_bytes(arguments)? > MOST_BYTES as u128 {
                let error = format!("{name}: the values of one batch take more than 1 GiB");
                let hint = "smaller ones need less, and so does a limit in a subquery";
                return Err(QueryError::new(error).hint(hint).into());
            }
            Ok(())
        }))
    });
    bounded.collect()
}

/// What a function makes of each row.
#[derive(Clone, Copy)]
enum Makes {
    /// A list of `(element, count)`.
    Elements,
    /// A list of `(list, size[, element])`.
    Filled,
    /// A list of `(stop)`, `(start, stop)` or `(start, stop, step)`, integers or times.
    Series,
    /// A text of `(text, count)`.
    Repeated,
    /// A text of `(text, characters[, padding])`.
    Padded,
}

impl Makes {
    /// Bytes that are made of `arguments`, about. Of what the function itself refuses, none.
    fn n_bytes(self, arguments: &[ArrayRef]) -> Result<u128> {
        match (self, arguments) {
            (Self::Elements, [elements, counts]) => Ok(of_elements(elements, counts)),
            (Self::Filled, [lists, sizes]) => Ok(match lists.data_type() {
                DataType::List(field) | DataType::LargeList(field) => {
                    of_elements(&new_null_array(field.data_type(), lists.len()), sizes)
                }
                _ => 0,
            }),
            (Self::Filled, [_, sizes, elements]) => Ok(of_elements(elements, sizes)),
            (Self::Series, arguments) => of_series(arguments),
            (Self::Repeated, [texts, counts]) => of_repeated(texts, counts),
            (Self::Padded, [texts, sizes]) => of_padded(texts, sizes, None),
            (Self::Padded, [texts, sizes, padding]) => of_padded(texts, sizes, Some(padding)),
            _ => Ok(0),
        }
    }
}

/// A number of things; none are fewer than none.
fn count(counts: &ArrayRef, row: usize) -> u128 {
    integer(counts, row).map_or(0, |n| n.max(0).unsigned_abs())
}

fn integer(integers: &ArrayRef, row: usize) -> Option<i128> {
    let integers = integers.as_primitive_opt::<Int64Type>()?;
    integers.is_valid(row).then(|| i128::from(integers.value(row)))
}

/// Each of `elements` as often as is asked for.
fn of_elements(elements: &ArrayRef, counts: &ArrayRef) -> u128 {
    let of_row = |row| match count(counts, row) {
        0 => 0,
        n => n * (bytes_of(&elements.slice(row, 1)) as u128 + WORD_BYTES),
    };
    (0..elements.len()).map(of_row).sum()
}

/// Bytes of `values`, which may be a part of a larger array.
fn bytes_of(values: &ArrayRef) -> usize {
    match values.data_type() {
        DataType::List(_) => {
            let lists = values.as_list::<i32>();
            of_lists(lists.value_offsets(), lists.values())
        }
        DataType::LargeList(_) => {
            let lists = values.as_list::<i64>();
            of_lists(lists.value_offsets(), lists.values())
        }
        DataType::FixedSizeList(..) => bytes_of(values.as_fixed_size_list().values()),
        DataType::Map(..) => {
            let maps = values.as_map();
            let entries: ArrayRef = Arc::new(maps.entries().clone());
            of_lists(maps.value_offsets(), &entries)
        }
        DataType::Struct(_) => values.as_struct().columns().iter().map(bytes_of).sum(),
        _ => {
            let slice = values.to_data().get_slice_memory_size();
            slice.unwrap_or_else(|_| values.get_array_memory_size())
        }
    }
}

/// Lists between `ends`, and what of `elements` lies in them.
fn of_lists<O: OffsetSizeTrait>(ends: &[O], elements: &ArrayRef) -> usize {
    let (first, last) = (ends[0].as_usize(), ends[ends.len() - 1].as_usize());
    size_of_val(ends) + bytes_of(&elements.slice(first, last - first))
}

/// From each start to its stop by its step.
fn of_series(arguments: &[ArrayRef]) -> Result<u128> {
    let (start, stop, step) = match arguments {
        [stop] => (None, stop, None),
        [start, stop] => (Some(start), stop, None),
        [start, stop, step] => (Some(start), stop, Some(step)),
        _ => return Ok(0),
    };
    if let (Some(start), Some(step)) = (start, step)
        && let Some(steps) = step.as_primitive_opt::<IntervalMonthDayNanoType>()
    {
        let ((starts, unit_ns), (stops, _)) = (times(start)?, times(stop)?);
        let of_row = |row| {
            let (start, stop) = (integer(&starts, row)?, integer(&stops, row)?);
            let step = steps.is_valid(row).then(|| shortest(steps.value(row)))?;
            Some(n_values(start * unit_ns, stop * unit_ns, step) * WORD_BYTES)
        };
        return Ok((0..stop.len()).filter_map(of_row).sum());
    }
    let of_row = |row| {
        let start = start.map_or(Some(0), |start| integer(start, row))?;
        let step = step.map_or(Some(1), |step| integer(step, row))?;
        Some(n_values(start, integer(stop, row)?, Some(step)) * WORD_BYTES)
    };
    Ok((0..stop.len()).filter_map(of_row).sum())
}

/// Dates or times as integers, and how many nanoseconds one of these is.
fn times(times: &ArrayRef) -> Result<(ArrayRef, i128)> {
    let (data_type, unit_ns) = match times.data_type() {
        DataType::Timestamp(_, zone) => {
            (DataType::Timestamp(TimeUnit::Nanosecond, zone.clone()), 1)
        }
        _ => (DataType::Date32, 24 * HOUR_NS),
    };
    Ok((cast(&cast(times, &data_type)?, &DataType::Int64)?, unit_ns))
}

/// The shortest that a step may be, in nanoseconds: months are of 28 to 31 days, days of 23 to 25 hours. None if it may lead nowhere, as
/// that of `1 month -30 days` does.
fn shortest(step: IntervalMonthDayNano) -> Option<i128> {
    let (months, days) = (i128::from(step.months), i128::from(step.days));
    let ns = i128::from(step.nanoseconds);
    let few = (months * 28).min(months * 31) + days;
    let many = (months * 28).max(months * 31) + days;
    let (hours_of_few, hours_of_many) =
        (if few < 0 { 25 } else { 23 }, if many < 0 { 23 } else { 25 });
    let least = few * hours_of_few * HOUR_NS + ns;
    let most = many * hours_of_many * HOUR_NS + ns;
    match (least, most) {
        (1.., _) | (0, 0) => Some(least),
        (_, ..=-1) => Some(most),
        _ => None,
    }
}

/// How many values there are at most from `start` to `stop`; a step of none has no end.
fn n_values(start: i128, stop: i128, step: Option<i128>) -> u128 {
    let Some(step) = step else { return u128::from(u64::MAX) };
    let span = if step < 0 { start - stop } else { stop - start };
    if step == 0 || span < 0 {
        return 0;
    }
    span.unsigned_abs() / step.unsigned_abs() + 1
}

fn of_repeated(texts: &ArrayRef, counts: &ArrayRef) -> Result<u128> {
    let texts = cast(texts, &DataType::Utf8View)?;
    let texts = texts.as_string_view().iter().enumerate();
    Ok(texts.map(|(row, text)| count(counts, row) * text.map_or(0, str::len) as u128).sum())
}

fn of_padded(texts: &ArrayRef, sizes: &ArrayRef, padding: Option<&ArrayRef>) -> Result<u128> {
    let texts = cast(texts, &DataType::Utf8View)?;
    let padding = padding.map(|padding| cast(padding, &DataType::Utf8View)).transpose()?;
    let of_row = |(row, text): (usize, Option<&str>)| {
        let Some(text) = text else { return 0 };
        let padding = match &padding {
            Some(padding) if padding.is_null(row) => "",
            Some(padding) => padding.as_string_view().value(row),
            None => " ",
        };
        let widest = padding.chars().map(char::len_utf8).max().unwrap_or(0) as u128;
        let n_padded = count(sizes, row).saturating_sub(text.chars().count() as u128);
        text.len() as u128 + n_padded * widest
    };
    Ok(texts.as_string_view().iter().enumerate().map(of_row).sum())
}

#[cfg(test)]
mod tests {
    use arrow::array::{ListArray, MapBuilder, StringBuilder};
    use arrow::datatypes::{Field, Int32Type};
    use tuwen_corpus::{Rows, bare_session};
    use tuwen_settings::Settings;

    use super::*;
    use crate::sql::register_functions;

    #[test]
    fn a_row_of_lists_counts_its_own_elements() {
        let rows = (0..2000).map(|i| Some(vec![Some(i), Some(i)]));
        let lists: ArrayRef = Arc::new(ListArray::from_iter_primitive::<Int32Type, _, _>(rows));
        let field = Arc::new(Field::new("item", DataType::Int32, true));
        let mut maps = MapBuilder::new(None, StringBuilder::new(), StringBuilder::new());
        for _ in 0..2000 {
            maps.keys().append_value("图");
            maps.values().append_value("文");
            maps.append(true).unwrap();
        }
        let maps: ArrayRef = Arc::new(maps.finish());
        for array in [
            cast(&lists, &DataType::LargeList(Arc::clone(&field))).unwrap(),
            cast(&lists, &DataType::FixedSizeList(field, 2)).unwrap(),
            lists,
            maps,
        ] {
            let row = bytes_of(&array.slice(7, 1));
            assert!((8..100).contains(&row), "{row} bytes of {}", array.data_type());
        }
    }

    #[test]
    fn a_step_of_mixed_sign_is_bounded_unless_it_may_lead_nowhere() {
        let day_ns = 23 * HOUR_NS;
        for (months, days, ns, expected) in [
            (0, 0, 0, Some(0)),
            (1, 1, 0, Some(29 * day_ns)),
            (-1, 0, -5, Some(-28 * day_ns - 5)),
            (1, -1, 0, Some(27 * day_ns)),
            (-1, 1, 0, Some(-27 * day_ns)),
            (0, 1, -5, Some(day_ns - 5)),
            (1, -28, 0, None),
            (1, -30, 0, None),
            (0, 1, -24 * 3_600_000_000_000, None),
        ] {
            let step = IntervalMonthDayNano::new(months, days, ns);
            assert_eq!(shortest(step), expected, "{step:?}");
        }
    }

    #[tokio::test]
    async fn what_takes_too_much_is_refused_before_it_is_made() {
        let ctx = bare_session(Rows::Light).unwrap();
        register_functions(&ctx, &Settings::default()).unwrap();
        let day = "arrow_cast('2026-01-01', 'Timestamp(Second, None)')";
        let to_day = format!("{day}, {day} + interval '1 day'");
        let by_microseconds = format!("generate_series({to_day}, interval '1 microsecond')");
        let to_nowhere = format!("range({to_day}, interval '1 month -31 days')");
        for call in [
            by_microseconds.as_str(),
            to_nowhere.as_str(),
            "range(200000000)",
            "range(value, -200000000, -1)",
            "range(0, 200000 * value)",
            "generate_series(1, 200000000)",
            "array_repeat(null, 200000000)",
            "array_repeat('图图图图图图图图', 50000000)",
            "list_repeat(make_array(1, 2, 3), 50000000 + value)",
            "array_resize(make_array(value), 200000000)",
            "list_resize(make_array(1), 200000000, 7)",
            "repeat('图图', 200000000)",
            "repeat('图图图图图图图图图图', 50000 * value)",
            "lpad('a', 1100000000)",
            "rpad('图', 300000 * value, '图')",
        ] {
            let query = format!("select {call} from generate_series(1, 2000) as t(value)");
            let made = ctx.sql(&query).await.unwrap().collect().await;
            let said = made.map(|_| ()).unwrap_err().to_string();
            let name = call.split('(').next().unwrap().replace("list_", "array_");
            let expected = format!("{name}: the values of one batch take more than 1 GiB");
            assert!(said.contains(&expected), "{call}: {said}");
        }
    }
}
