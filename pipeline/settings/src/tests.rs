//! What the layers make of what people write; of single values in `values.rs`, of tables for people
//! in `show.rs`. Nothing here reads this process's environment.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::Path;

use crate::*;

mod show;
mod values;

/// What a command is given; nothing by default.
#[derive(Default)]
struct Input<'a> {
    file: &'a str,
    variables: &'a [(&'a str, &'a str)],
    sets: &'a [&'a str],
    flags: &'a [(&'a str, &'a str)],
}

fn resolved(input: &Input<'_>) -> Result<Resolved> {
    let variables = input.variables.iter().map(|(name, value)| (name.into(), value.into()));
    let variables = layers::from_variables(variables)?;
    let file = layers::from_toml("tuwen.toml", input.file)?;
    let sets: Vec<String> = input.sets.iter().map(|set| (*set).to_owned()).collect();
    let flags: Vec<(String, String)> =
        input.flags.iter().map(|(key, text)| ((*key).to_owned(), (*text).to_owned())).collect();
    resolve_layers(file, variables, &sets, &flags)
}

fn message(input: &Input<'_>) -> String {
    let error = resolved(input).err().map(|error| format!("{error:#}"));
    error.unwrap_or_else(|| "no error".to_owned())
}

/// `value, from origin` of a key; the value as TOML.
fn in_force(resolved: &Resolved, key: &str) -> String {
    let rows = resolved.rows().unwrap();
    let row = rows.iter().find(|row| row.key.name == key).unwrap();
    format!("{}, from {}", row.value, row.origin)
}

#[test]
fn later_layers_win_and_origins_are_known() {
    let file = "corpus = \"a\"\ndecode.size = 128\n[train]\npreset = \"tiny\"\nepochs = 3";
    let variables = [("TUWEN_DECODE_SIZE", "64"), ("HOME", "/root"), ("TUWEN_CONFIG", "x.toml")];
    let sets = ["decode.size=32", "train.lr=1e-3", "train.lr = 2e-3", "fetch.attempts=3"];
    let flags = [("fetch.attempts", "4"), ("train.steps", "9")];
    for (input, key, expected) in [
        (Input::default(), "decode.size", "224, from default"),
        (Input { file, ..Input::default() }, "decode.size", "128, from tuwen.toml"),
        (Input { file, ..Input::default() }, "corpus", "\"a\", from tuwen.toml"),
        (Input { file, ..Input::default() }, "train.epochs", "3, from tuwen.toml"),
        (Input { file, ..Input::default() }, "train.preset", "\"tiny\", from tuwen.toml"),
        (Input { file, ..Input::default() }, "train.image_size", "64, from preset tiny"),
        (Input { file, ..Input::default() }, "train.patch_size", "16, from default"),
        (
            Input { file, sets: &["train.preset=seed"], ..Input::default() },
            "train.image_size",
            "224, from default",
        ),
        (
            Input { file, sets: &["train.preset=seed"], ..Input::default() },
            "train.decoder",
            "\"yuanzhoulvpi/gpt2_chinese\", from preset seed",
        ),
        (
            Input { file, variables: &variables, ..Input::default() },
            "decode.size",
            "64, from TUWEN_DECODE_SIZE",
        ),
        (
            Input { file, variables: &variables, sets: &sets, ..Input::default() },
            "decode.size",
            "32, from --set",
        ),
        // Of two --set of a key the later one wins; a dedicated flag wins over both.
        (Input { sets: &sets, ..Input::default() }, "train.lr", "0.002, from --set"),
        (
            Input { sets: &sets, flags: &flags, ..Input::default() },
            "fetch.attempts",
            "4, from flag for fetch.attempts",
        ),
    ] {
        assert_eq!(in_force(&resolved(&input).unwrap(), key), expected, "{key}");
    }
    let settings = resolved(&Input { file, sets: &sets, flags: &flags, ..Input::default() });
    let settings = settings.unwrap().settings;
    assert_eq!((settings.fetch.attempts, settings.train.steps), (4, 9));
    assert_eq!((settings.train.image_size, settings.train.lr), (64, 2e-3));
}

#[test]
fn a_wrong_value_is_an_error_in_every_layer_even_where_another_one_wins() {
    let size = "decode.size: expected 1 to 4096, found 0 (from";
    let good = [("decode.size", "64")];
    for (input, origin) in [
        (Input { file: "decode.size = 0", flags: &good, ..Input::default() }, "tuwen.toml)"),
        (
            Input { variables: &[("TUWEN_DECODE_SIZE", "0")], flags: &good, ..Input::default() },
            "TUWEN_DECODE_SIZE)",
        ),
        (Input { sets: &["decode.size=0"], flags: &good, ..Input::default() }, "--set)"),
        (Input { flags: &[("decode.size", "0")], ..Input::default() }, "flag for decode.size)"),
    ] {
        assert_eq!(message(&input), format!("{size} {origin}"));
    }
}

#[test]
fn unknown_names_get_the_nearest_known_one() {
    for (input, expected) in [
        (
            Input { file: "[decode]\nsise = 1", ..Input::default() },
            "decode.sise: no such setting (tuwen.toml)\nhint: did you mean decode.size?",
        ),
        (
            Input { variables: &[("TUWEN_DECODE_SISE", "1")], ..Input::default() },
            "decode.sise: no such setting (TUWEN_DECODE_SISE)\nhint: did you mean decode.size?",
        ),
        (
            Input { variables: &[("TUWEN_CORPUSS", "1")], ..Input::default() },
            "corpuss: no such setting (TUWEN_CORPUSS)\nhint: did you mean corpus?",
        ),
        (
            Input { sets: &["batchsize=3"], ..Input::default() },
            "batchsize: no such setting (--set)\nhint: did you mean train.batch_size?",
        ),
        (
            Input { flags: &[("train.nothing", "1")], ..Input::default() },
            "train.nothing: no such setting (flag for train.nothing)\n\
             hint: `tuwen config` lists all settings",
        ),
        (
            Input { file: "[decod]\nsize = 1", ..Input::default() },
            "decod: no such setting (tuwen.toml)\nhint: did you mean [decode]?",
        ),
    ] {
        assert_eq!(message(&input), expected);
    }
}

#[test]
fn files_that_are_not_settings_are_errors_of_one_line() {
    for (file, expected) in [
        (
            "corpus = 'a'\ndecode = 3",
            "decode: expected a table [decode], found 3 (from tuwen.toml)",
        ),
        ("corpus = 3", "corpus: expected a text that is not empty, found 3 (from tuwen.toml)"),
        (
            "[corpus]\na = 1",
            "corpus: expected a text that is not empty, found a table (from tuwen.toml)",
        ),
        (
            "[decode.size]\na = 1",
            "expected a whole number, 1 to 4096, found a table (from tuwen.toml)",
        ),
        ("corpus = 'a'\n红 = ", "tuwen.toml:2:"),
        ("corpus = 'a'\ncorpus = 'b'", "tuwen.toml:2:1: duplicate key"),
        ("[decode", "tuwen.toml:1:"),
    ] {
        let found = message(&Input { file, ..Input::default() });
        assert!(found.contains(expected) && !found.contains('\n'), "{file:?}: {found}");
    }
    let gone = layers::from_file(Some(Path::new("/nowhere/tuwen.toml"))).unwrap_err();
    assert!(format!("{gone:#}").starts_with("reading settings /nowhere/tuwen.toml: No such file"));
}

#[test]
fn only_variables_of_ours_matter_and_those_must_be_utf_8() {
    let variable = |name: &[u8], value: &[u8]| {
        [(OsString::from_vec(name.to_vec()), OsString::from_vec(value.to_vec()))]
    };
    for (name, value) in [
        (&b"PATH"[..], &b"\xff"[..]),
        (b"\xff", b"1"),
        (b"XTUWEN_DECODE_SIZE", b"0"),
        (b"TUWEN", b"1"),
        (b"TUWEN_CONFIG", b"\xff"),
        (b"TUWEN_TRAINER", b"\xff"),
    ] {
        assert!(layers::from_variables(variable(name, value)).unwrap().is_empty());
    }
    for (name, value, expected) in [
        (
            &b"TUWEN_X"[..],
            &b"\xff"[..],
            "TUWEN_X: expected a variable of UTF-8 text, found \"\\xFF\"",
        ),
        (
            b"TUWEN_CORPUS",
            b"a\xffb",
            "TUWEN_CORPUS: expected a variable of UTF-8 text, found \"a\\xFFb\"",
        ),
        (b"TUWEN_\xff", b"1", "TUWEN_\u{fffd}: expected a variable of UTF-8 text, found \"1\""),
    ] {
        let error = layers::from_variables(variable(name, value)).unwrap_err();
        assert_eq!(format!("{error:#}"), expected);
    }
    // Every key has a variable of its own.
    let mut variables: Vec<String> = keys().map(Key::variable).collect();
    variables.sort();
    variables.dedup();
    assert_eq!(variables.len(), keys().count());
}
