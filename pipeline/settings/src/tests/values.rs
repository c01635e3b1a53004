//! Which values are taken, which are refused, and with which words.

use toml::Value;

use super::*;

#[test]
fn values_that_are_not_allowed_are_errors_that_name_key_value_and_origin() {
    for (set, expected) in [
        ("decode.size=0", "decode.size: expected 1 to 4096, found 0"),
        ("decode.size=-1", "decode.size: expected 1 to 4096, found -1"),
        ("decode.size=4294967520", "decode.size: expected 1 to 4096, found 4294967520"),
        ("decode.size=big", "decode.size: expected a whole number, 1 to 4096, found `big`"),
        ("decode.size=1.5", "decode.size: expected a whole number, 1 to 4096, found 1.5"),
        ("decode.size=", "decode.size: expected a whole number, 1 to 4096, found nothing"),
        ("decode.size=[1]", "decode.size: expected a whole number, 1 to 4096, found [1]"),
        ("decode.size={a=1}", "decode.size: expected a whole number, 1 to 4096, found a table"),
        (
            "decode.size=1\nx = 2",
            "decode.size: expected a whole number, 1 to 4096, found `1\\nx = 2`",
        ),
        ("decode.chunk_images=0", "decode.chunk_images: expected 1 to 1000000, found 0"),
        ("decode.jpeg_quality=0", "decode.jpeg_quality: expected 1 to 100, found 0"),
        ("decode.jpeg_quality=256", "decode.jpeg_quality: expected 1 to 100, found 256"),
        ("decode.codec=webp", "decode.codec: expected one of raw, jpeg, found `webp`"),
        ("decode.codec=1", "decode.codec: expected one of raw, jpeg, found 1"),
        (
            "fetch.chunk_bytes=3000000000",
            "fetch.chunk_bytes: expected 1 to 1073741824, found 3000000000",
        ),
        (
            "fetch.max_bytes=2147483648",
            "fetch.max_bytes: expected 1 to 133169152, found 2147483648",
        ),
        ("fetch.concurrency=0", "fetch.concurrency: expected 1 to 10000, found 0"),
        ("fetch.per_host=0", "fetch.per_host: expected 1 to 10000, found 0"),
        ("fetch.attempts=0", "fetch.attempts: expected 1 to 100, found 0"),
        ("fetch.timeout_secs=0", "fetch.timeout_secs: expected 1 to 86400, found 0"),
        ("fetch.connect_timeout_secs=0", "fetch.connect_timeout_secs: expected 1 to 3600, found 0"),
        ("fetch.user_agent=a\nb", "fetch.user_agent: expected a text of one line, found `a\\nb`"),
        (
            "fetch.shard=9/8",
            "fetch.shard: expected K/N with K from 1 to N, or nothing, found `9/8`",
        ),
        (
            "fetch.shard=0/8",
            "fetch.shard: expected K/N with K from 1 to N, or nothing, found `0/8`",
        ),
        ("fetch.metrics=9898", "fetch.metrics: expected ADDRESS:PORT, or nothing, found `9898`"),
        (
            "fetch.name_server=dns",
            "fetch.name_server: expected ADDRESS or ADDRESS:PORT, or nothing, found `dns`",
        ),
        ("fetch.retry_failed=yes", "fetch.retry_failed: expected true or false, found `yes`"),
        ("max_rejected_percent=101", "max_rejected_percent: expected 0 to 100, found 101"),
        ("max_rejected_percent=-0.1", "max_rejected_percent: expected 0 to 100, found -0.1"),
        ("max_rejected_percent=nan", "max_rejected_percent: expected 0 to 100, found nan"),
        ("max_rejected_percent=inf", "max_rejected_percent: expected 0 to 100, found inf"),
        (
            "max_rejected_percent=half",
            "max_rejected_percent: expected a number, 0 to 100, found `half`",
        ),
        ("corpus=", "corpus: expected a text that is not empty, found nothing"),
        (
            "curate.split=random",
            "curate.split: expected one of kept, auto, source, filename, hash, or sql: EXPRESSION, found `random`",
        ),
        (
            "curate.split_shares=train=2",
            "curate.split_shares: expected shares that are 1 together, such as train=0.98,validation=0.01,test=0.01, found `train=2`",
        ),
        ("ingest.encoding=", "ingest.encoding: expected a text that is not empty, found nothing"),
        ("curate.near_difference=9", "curate.near_difference: expected 0 to 0.3, found 9"),
        ("train.preset=huge", "train.preset: expected one of scratch, seed, tiny, found `huge`"),
        ("train.grad_accumulation=0", "train.grad_accumulation: expected 1 to 65536, found 0"),
        ("train.batch_size=0", "train.batch_size: expected 1 to 65536, found 0"),
        ("train.eval_batch_size=0", "train.eval_batch_size: expected 1 to 65536, found 0"),
        ("train.device=tpu", "train.device: expected cpu, cuda, cuda:N or auto, found `tpu`"),
        ("train.device=cuda:", "train.device: expected cpu, cuda, cuda:N or auto, found `cuda:`"),
        ("train.top_p=1.5", "train.top_p: expected 0 to 1, found 1.5"),
        ("train.beta1=1", "train.beta1: expected at least 0 and below 1, found 1"),
        ("train.lr=inf", "train.lr: expected at least 0, found inf"),
        ("train.temperature=0", "train.temperature: expected a number above 0, found 0"),
        (
            "train.crop_scale=[0, 1]",
            "expected [least, most] with 0 < least <= most <= 1, found [0, 1]",
        ),
        ("train.crop_ratio=[2, 1]", "expected [least, most] with 0 < least <= most, found [2, 1]"),
        (
            "train.crop_ratio=[1, inf]",
            "expected [least, most] with 0 < least <= most, found [1, inf]",
        ),
        ("train.early_stopping=soon", "expected one of true, false, never, found `soon`"),
        (
            "train.seed=18446744073709551615",
            "expected a whole number, 0 to 9223372036854775807, found",
        ),
        ("decode.size", "--set decode.size: expected KEY=VALUE, found no `=`"),
    ] {
        let found = message(&Input { sets: &[set], ..Input::default() });
        assert!(found.contains(expected), "{set:?}: {found}");
        assert!(!found.contains('\n') && found.contains("--set"), "{set:?}: {found}");
    }
    let together = Input { sets: &["curate.min_chars=300"], ..Input::default() };
    assert_eq!(
        message(&together),
        "curate.min_chars: expected at most curate.max_chars, which is 200 (from default), \
         found 300 (from --set)"
    );
}

#[test]
fn texts_are_taken_as_they_are_typed() {
    let texts = [
        "data[1]",
        "[a, b]",
        "100%",
        "a|b",
        "two words",
        " blanks ",
        "a=b=c",
        "# no comment",
        "it's",
        "\"quoted\"",
        "图文/语料",
        "a\nb",
        "true",
        "12",
        "1e3",
        "{}",
        "C:\\x",
        "''",
        "nan",
    ];
    for text in texts {
        let set = format!("corpus={text}");
        for input in [
            Input { sets: &[&set], ..Input::default() },
            Input { variables: &[("TUWEN_CORPUS", text)], ..Input::default() },
            Input { flags: &[("corpus", text)], ..Input::default() },
        ] {
            assert_eq!(resolved(&input).unwrap().settings.corpus, text);
        }
    }
    // An empty text is one too, and a word can be quoted.
    let sets =
        ["train.out=模型 1", "curate.tokenizer=", "decode.codec=\"jpeg\"", "train.predicate=n = 1"];
    let settings = resolved(&Input { sets: &sets, ..Input::default() }).unwrap().settings;
    assert_eq!((settings.train.out.as_str(), settings.curate.tokenizer.as_str()), ("模型 1", ""));
    assert_eq!(
        (settings.decode.codec, settings.train.predicate.as_str()),
        (PixelCodec::Jpeg, "n = 1")
    );
}

#[test]
fn values_that_are_no_texts_are_toml() {
    for (set, key, expected) in [
        ("decode.size= 64 ", "decode.size", "64"),
        ("fetch.max_bytes=1_000", "fetch.max_bytes", "1000"),
        ("train.lr=1e-4", "train.lr", "0.0001"),
        ("train.lr=.5", "train.lr", "0.5"),
        ("curate.near_difference=0", "curate.near_difference", "0.0"),
        (
            "train.repetition_penalty=1000000000000000000000",
            "train.repetition_penalty",
            "1000000000000000000000.0",
        ),
        ("train.crop_scale=[0.5, 1]", "train.crop_scale", "[0.5, 1.0]"),
        ("train.verify=false", "train.verify", "false"),
        ("train.precision=bf16", "train.precision", "\"bf16\""),
        ("train.metric_for_best_model=none", "train.metric_for_best_model", "\"none\""),
        ("train.early_stopping=true", "train.early_stopping", "true"),
        ("train.order= window ", "train.order", "\"window\""),
        ("train.early_stopping=never", "train.early_stopping", "\"never\""),
        ("train.device=cuda:1", "train.device", "\"cuda:1\""),
    ] {
        let resolved = resolved(&Input { sets: &[set], ..Input::default() }).unwrap();
        assert_eq!(in_force(&resolved, key), format!("{expected}, from --set"));
    }
    for (file, expected) in [("true", EarlyStopping::Yes), ("'false'", EarlyStopping::No)] {
        let file = format!("train.early_stopping = {file}");
        let resolved = resolved(&Input { file: &file, ..Input::default() }).unwrap();
        assert_eq!(resolved.settings.train.early_stopping, expected);
    }
}

/// What the table says fits the types: each end of a range, and each word, can be set, and is read
/// back.
#[test]
fn what_is_allowed_can_be_set() {
    let mut settings = Settings::default();
    for key in keys() {
        let default = key.value(&settings).unwrap();
        // A default may be an empty text that means "not given", never a value out of its range.
        assert!(key.allowed.admits(&default), "{}: {default}", key.name);
        let values: Vec<Value> = match key.allowed {
            Allowed::Whole { least, most } => vec![least.into(), most.into()],
            Allowed::OneOf(words) => words.iter().map(|word| (*word).into()).collect(),
            Allowed::Bool => vec![true.into(), false.into()],
            Allowed::Number { .. } => vec![Value::Float(0.5), Value::Integer(1)],
            Allowed::Interval { .. } => vec![vec![Value::Float(0.5), Value::Integer(1)].into()],
            _ => vec!["cpu".into()],
        };
        for value in values.into_iter().filter(|value| key.allowed.admits(value)) {
            key.set(&mut settings, value.clone()).unwrap();
            let read = key.value(&settings).unwrap();
            let same = read == value
                || read.to_string().trim_matches('"') == value.to_string().trim_matches('"');
            assert!(
                same || matches!(key.allowed, Allowed::Number { .. } | Allowed::Interval { .. }),
                "{}",
                key.name
            );
        }
    }
    for preset in PRESETS {
        let train = TrainSettings::preset(preset).unwrap();
        assert_eq!(train.preset, preset);
        let settings = Settings { train, ..Settings::default() };
        assert!(keys().all(|key| key.allowed.admits(&key.value(&settings).unwrap())), "{preset}");
    }
}

#[test]
fn words_are_the_names_of_variants() {
    for codec in PixelCodec::ALL {
        assert_eq!(PixelCodec::of(codec.name()), Some(codec));
        assert_eq!(Value::try_from(codec).unwrap(), codec.name().into());
    }
    assert_eq!(PixelCodec::of("webp"), None);
    assert_eq!((ReadPath::default(), OnBadImage::default()), (ReadPath::Fastest, OnBadImage::Fail));
}

#[test]
fn settings_read_back_from_toml() {
    let settings = Settings::default();
    let text = toml::to_string(&settings).unwrap();
    assert_eq!(toml::from_str::<Settings>(&text).unwrap(), settings);
    assert!(toml::from_str::<Settings>("decode.sise = 1").is_err());
}
