//! What people see of settings.

use super::*;

#[test]
fn the_table_has_a_line_a_setting_of_at_most_100_columns() {
    let table = resolved(&Input::default()).unwrap().table().unwrap();
    let long: Vec<&str> = table.lines().filter(|line| line.chars().count() > 100).collect();
    assert!(long.is_empty(), "{long:#?}");
    let lines = table.lines().filter(|line| !line.is_empty() && !line.starts_with('[')).count();
    assert_eq!(lines, keys().count(), "{table}");
    assert!(table.contains("\n[decode] How bytes become pixels.\nsize "), "{table}");

    let long =
        "a/very/long/path/of/a/corpus/that/does/not/fit/into/a/line/with/its/help/at/all/图文";
    let input =
        Input { flags: &[("corpus", long)], sets: &["train.preset=tiny"], ..Input::default() };
    let table = resolved(&input).unwrap().table().unwrap();
    assert!(table.contains(&format!("\"{long}\"  flag\n")), "{table}");
    assert!(table.contains("  preset tiny  "), "{table}");
}

#[test]
fn the_reference_has_a_row_a_setting() {
    let reference = reference_markdown();
    let committed = include_str!("../../../../docs/settings.md");
    assert_eq!(committed, reference, "tuwen config --reference > docs/settings.md");
    let rows = reference.lines().filter(|line| line.starts_with("| `"));
    assert_eq!(rows.count(), keys().count());
    let size = "| `decode.size` | `224` | 1 to 4096 | Side of the stored square, in pixels. |\n";
    assert!(reference.contains(size), "{reference}");
    for line in reference.lines().filter(|line| line.starts_with('|')) {
        assert_eq!(line.replace("\\|", "").matches('|').count(), 5, "{line}");
    }
}

#[test]
fn every_setting_has_a_help_of_sentences() {
    for key in keys() {
        assert!(key.help.ends_with('.') && !key.help.contains("  "), "{}: {}", key.name, key.help);
    }
}
