//! The trainer's model against transformers' `VisionEncoderDecoderModel`: files, logits, losses, gradients, optimizer steps,
//! captions. Random small models; the other side runs in `.venv`, and without it there is nothing to compare with.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};
use tch::{Device, Kind, Tensor, no_grad};
use tuwen_settings::{Precision, TrainSettings};
use tuwen_trainer::captioner::{Captioner, IGNORED, Input};
use tuwen_trainer::checkpoint::write_model;
use tuwen_trainer::config::{Activation, ModelConfig};
use tuwen_trainer::model::Model;
use tuwen_trainer::names::Part;
use tuwen_trainer::optimizer::{AdamW, clip_divisor};
use tuwen_trainer::pixels::Normalise;
use tuwen_trainer::ranks::Ranks;
use tuwen_trainer::recompute::Pass;
use tuwen_trainer::schedule::Schedule;
use tuwen_trainer::text::Text;
use tuwen_trainer::weights::{self, Resize};

use crate::generation::{generated, processed_scores};
use crate::python;
use crate::python::python;

const BATCH: i64 = 4;

const PASS: Pass = Pass {
    label_smoothing: 0.0,
    freeze_encoder: false,
    scale: 1.0,
    seed: 1,
    gradient_checkpointing: false,
};

fn here(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// A random model: wide weights, so that its captions differ.
pub(crate) fn random_model(seed: i64, change: impl Fn(&mut ModelConfig)) -> Model {
    tch::set_num_threads(1); // the tests run side by side, and the models are small
    let text = Text::open(&here("tests/it/tokenizer.json")).unwrap();
    let settings = TrainSettings {
        image_size: 32,
        patch_size: 8,
        encoder_width: 32,
        encoder_heads: 4,
        encoder_layers: 2,
        encoder_mlp: 48,
        decoder_width: 48,
        decoder_heads: 4,
        decoder_layers: 2,
        decoder_positions: 24,
        decoder_dropout: 0.0,
        initializer_range: 0.25,
        vocab_size: 0,
        ..TrainSettings::default()
    };
    let mut config = ModelConfig::from_settings(&settings, text.vocab_size(), text.ids).unwrap();
    change(&mut config);
    let captioner = Captioner::new(&config);
    let flat = captioner.layout.init(seed);
    // Biases and norms are initialised to zeros and ones, which would hide mistakes.
    let flat = &flat + Tensor::randn_like(&flat) * 0.05;
    Model {
        captioner,
        flat,
        text,
        normalise: Normalise::default(),
        device: Device::Cpu,
        precision: Precision::F32,
    }
}

fn random_batch(model: &Model) -> (Tensor, Tensor) {
    let size = model.captioner.config.encoder.image_size;
    let pixels = Tensor::randn([BATCH, 3, size, size], (Kind::Float, Device::Cpu));
    let vocab = model.captioner.config.decoder.vocab_size;
    let labels = Tensor::randint(vocab, [BATCH, 9], (Kind::Int64, Device::Cpu));
    for (row, length) in [9, 7, 4, 2].into_iter().enumerate() {
        let _ = labels.get(row as i64).narrow(0, length, 9 - length).fill_(IGNORED);
    }
    (pixels, labels)
}

fn given(model: &Model, pixels: &Tensor, labels: &Tensor) -> Vec<(String, Tensor)> {
    let captioner = &model.captioner;
    let leaves = captioner.layout.leaves(&model.values());
    let views = &leaves.views;
    let padded = labels.masked_fill(&labels.eq(IGNORED), captioner.config.ids.pad);
    let loss = captioner.loss(views, pixels, labels, 0.0, false) / n_tokens(labels);
    loss.backward();
    let loss_with_padding = captioner.loss(views, pixels, &padded, 0.0, false).detach();
    let mut all = vec![
        ("pixels".to_owned(), pixels.shallow_clone()),
        ("labels".to_owned(), labels.shallow_clone()),
        ("logits".to_owned(), captioner.logits(views, pixels, labels, false).detach()),
        ("loss".to_owned(), loss.detach()),
        ("loss_with_padding".to_owned(), loss_with_padding / n_tokens(&padded)),
    ];
    let grad = leaves.grad();
    for named in captioner.layout.named() {
        let part = grad.narrow(0, named.offset, named.numel).reshape(&named.shape[..]).copy();
        all.push((format!("grad.{}", named.name), part));
    }
    all
}

fn of(pixels: &Tensor) -> Input {
    Input::Pixels(pixels.shallow_clone())
}

/// Labels that count in the loss.
fn n_tokens(labels: &Tensor) -> f64 {
    labels.not_equal(IGNORED).sum(Kind::Double).double_value(&[])
}

/// 20 optimizer steps on the two halves of one batch, the encoder frozen in the first `frozen_steps` of them.
fn trained(model: &mut Model, pixels: &Tensor, labels: &Tensor, frozen_steps: usize) -> Value {
    let before = model.flat.detach().copy();
    let settings =
        TrainSettings { lr: 1e-3, warmup_steps: 4, weight_decay: 0.1, ..TrainSettings::default() };
    let schedule = Schedule::new(&settings, 20);
    let mut optimizer =
        AdamW::new(&model.flat, &model.captioner.layout, &settings, &Ranks::alone());
    let mut losses = Vec::new();
    for step in 0..20 {
        optimizer.freeze_encoder = step < frozen_steps;
        let mut total = 0.0;
        let leaves = model.captioner.layout.leaves(&model.values());
        for (pixels, labels) in pixels.chunk(2, 0).iter().zip(labels.chunk(2, 0)) {
            let pass = Pass { freeze_encoder: optimizer.freeze_encoder, ..PASS };
            total +=
                model.backward(&leaves, &of(pixels), &labels, &pass).unwrap().double_value(&[]);
        }
        let (mut grad, tokens) = (leaves.grad(), n_tokens(labels));
        let divisor = clip_divisor(&(grad.norm() / tokens), settings.max_grad_norm) * tokens;
        let lr = schedule.lr_at(step as u64);
        optimizer.step(&mut model.flat, &mut grad, &divisor, lr).unwrap();
        total /= tokens;
        losses.push(total);
    }
    model.flat = before;
    json!({
        "frozen_steps": frozen_steps,
        "lr": settings.lr, "warmup_steps": settings.warmup_steps, "weight_decay": settings.weight_decay,
        "max_grad_norm": settings.max_grad_norm, "losses": losses,
    })
}

/// Pictures of another size than the checkpoint's, and the logits of the model loaded for it.
fn of_larger_pictures(model: &Path, labels: &Tensor) -> [(String, Tensor); 2] {
    const SIZE: i64 = 48;
    let settings = TrainSettings {
        model: model.display().to_string(),
        encoder_image_size: SIZE,
        ..TrainSettings::default()
    };
    let (model, _) = Model::start(&settings, "", Device::Cpu).unwrap();
    let pixels = Tensor::randn([BATCH, 3, SIZE, SIZE], (Kind::Float, Device::Cpu));
    let logits = no_grad(|| model.captioner.logits(&model.views(), &pixels, labels, false));
    [("larger.pixels".to_owned(), pixels), ("larger.logits".to_owned(), logits)]
}

fn check_against_transformers(seed: i64, change: impl Fn(&mut ModelConfig)) {
    let Some(python) = python() else { return };
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let mut model = random_model(seed, change);
    std::fs::create_dir(folder.join("model")).unwrap();
    write_model(&folder.join("model"), &model, &TrainSettings::default()).unwrap();
    let (pixels, labels) = random_batch(&model);
    let mut tensors = given(&model, &pixels, &labels);
    tensors.extend(of_larger_pictures(&folder.join("model"), &labels));
    let processed = processed_scores(&model, seed as u64, &mut tensors);
    Tensor::write_safetensors(&tensors, folder.join("given.safetensors")).unwrap();
    let ids = model.captioner.config.ids;
    let sample: Vec<i64> = (0..model.text.vocab_size()).collect();
    let runs = [0, 7].map(|frozen| trained(&mut model, &pixels, &labels, frozen));
    let cases = json!({
        "n_parameters": model.captioner.layout.len(),
        "ids": [ids.start, ids.eos, ids.pad],
        "generate": no_grad(|| generated(&model, &pixels, seed as u64)),
        "processed": processed,
        "text": [{"ids": sample, "text": model.text.decode(&sample).unwrap()}],
        "runs": runs,
    });
    std::fs::write(folder.join("cases.json"), cases.to_string()).unwrap();

    let output = Command::new(python)
        .arg(here("tests/it/against_transformers.py"))
        .arg(folder)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    check_other_forms(folder, &model.captioner, &model.flat);
}

/// Weights in the forms that transformers wrote are read back to the same values.
fn check_other_forms(folder: &Path, captioner: &Captioner, expected: &Tensor) {
    let tied = captioner.config.decoder.tie_word_embeddings;
    for (form, part, tolerance) in [
        ("model", Part::Whole, 0.0),
        ("sharded", Part::Whole, 0.0),
        ("pickled", Part::Whole, 0.0),
        ("pickled-plain", Part::Whole, 1e-3),
        ("bf16", Part::Whole, 1e-2),
        ("encoder", Part::Encoder, 1e-3),
        ("decoder", Part::Decoder, 0.0),
    ] {
        let flat = Tensor::full([captioner.layout.len()], f64::NAN, (Kind::Float, Device::Cpu));
        let loaded = weights::load(
            &folder.join(form),
            part,
            &captioner.layout,
            &flat,
            tied,
            Resize::Nothing,
        )
        .unwrap();
        let mut missing = BTreeMap::new();
        for named in captioner.layout.named() {
            let [ours, theirs] = [&flat, expected].map(|t| t.narrow(0, named.offset, named.numel));
            let worst = (ours - theirs).abs().max().double_value(&[]);
            if worst.is_nan() {
                missing.insert(named.name, ());
            } else {
                assert!(worst <= tolerance, "{form}: {}: {worst}", named.name);
            }
        }
        let all_missing = loaded.missing.iter().all(|name| missing.contains_key(name));
        let others = missing.keys().filter(|name| match part {
            Part::Whole => true,
            Part::Encoder => name.starts_with("encoder."),
            Part::Decoder => name.starts_with("decoder."),
        });
        assert!(
            all_missing && others.count() == loaded.missing.len(),
            "{form}: {:?} reported, {missing:?} found",
            loaded.missing
        );
        match part {
            Part::Whole => assert_eq!(loaded.missing, Vec::<String>::new(), "{form}"),
            Part::Encoder => assert_eq!(loaded.unused.len(), 2, "{:?}", loaded.unused),
            Part::Decoder => assert_eq!(loaded.missing.len(), 8 * 2, "{:?}", loaded.missing),
        }
    }
}

#[test]
fn different_widths() {
    check_against_transformers(1, |_| {});
}

#[test]
fn equal_widths_and_other_options() {
    check_against_transformers(2, |config| {
        config.decoder.n_embd = 32;
        config.decoder.n_inner = Some(40);
        config.decoder.activation_function = Activation::Relu;
        config.decoder.scale_attn_by_inverse_layer_idx = true;
        config.encoder.qkv_bias = false;
        config.encoder.hidden_act = Activation::GeluNew;
        config.encoder.layer_norm_eps = 1e-6;
    });
}

#[test]
fn an_output_layer_of_its_own() {
    check_against_transformers(3, |config| {
        config.decoder.tie_word_embeddings = false;
        config.decoder.scale_attn_weights = false;
        // Unscaled scores of wide weights saturate the softmax; gradients near zero then make Adam amplify rounding.
        config.decoder.initializer_range = 0.1;
    });
}

#[test]
fn tensors_that_do_not_fit_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let model = random_model(4, |_| {});
    write_model(folder.path(), &model, &TrainSettings::default()).unwrap();
    for (change, expected) in [
        (
            json!({"n_layer": 3}),
            "decoder.transformer.h.2.attn.c_attn.weight: missing, expected shape [48, 144]",
        ),
        (json!({"n_layer": 1}), "decoder.transformer.h.1.ln_1.bias: unexpected, shape [48]"),
        (
            json!({"n_positions": 30}),
            "decoder.transformer.wpe.weight: expected shape [30, 48], found [24, 48]",
        ),
    ] {
        let mut config = model.captioner.config.to_json();
        for (key, value) in change.as_object().unwrap() {
            config["decoder"][key] = value.clone();
        }
        std::fs::write(folder.path().join("config.json"), config.to_string()).unwrap();
        let error = Model::open(folder.path(), Precision::F32, Device::Cpu).err().unwrap();
        assert!(format!("{error:#}").contains(expected), "{error:#}");
    }
}

#[test]
fn activation_checkpointing_gives_the_same_gradients() {
    for (seed, same_width) in [(5, false), (6, true)] {
        let model = random_model(seed, |config| {
            if same_width {
                config.decoder.n_embd = config.encoder.hidden_size;
            }
        });
        let (pixels, labels) = random_batch(&model);
        let run = |pass: &Pass| {
            let leaves = model.captioner.layout.leaves(&model.values());
            let loss = model.backward(&leaves, &of(&pixels), &labels, pass).unwrap();
            (loss.double_value(&[]), leaves.grad())
        };
        for freeze_encoder in [false, true] {
            let pass = Pass { label_smoothing: 0.1, freeze_encoder, scale: 3.0, ..PASS };
            let (loss, grad) = run(&pass);
            let (again, recomputed) = run(&Pass { gradient_checkpointing: true, ..pass });
            assert_eq!(loss, again);
            let difference = (recomputed - &grad).norm().double_value(&[]);
            assert!(difference <= 1e-6 * grad.norm().double_value(&[]), "{difference}");
        }
    }
}

#[test]
fn recomputed_layers_repeat_their_dropout() {
    // libtorch has one generator a process, and other tests draw from it at the same time.
    const ALONE: &str = "TEST_ALONE";
    if std::env::var_os(ALONE).is_none() {
        let output = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "equality::recomputed_layers_repeat_their_dropout"])
            .env(ALONE, "1")
            .output()
            .unwrap();
        let texts = [&output.stdout, &output.stderr].map(|text| String::from_utf8_lossy(text));
        assert!(output.status.success(), "{}\n{}", texts[0], texts[1]);
        return;
    }
    let mut model = random_model(7, |config| {
        config.decoder.resid_pdrop = 0.2;
        config.decoder.attn_pdrop = 0.2;
        config.decoder.embd_pdrop = 0.2;
        config.encoder.hidden_dropout_prob = 0.2;
    });
    let (pixels, labels) = random_batch(&model);
    let run = |model: &Model, seed| {
        let pass = Pass { seed, gradient_checkpointing: true, ..PASS };
        let leaves = model.captioner.layout.leaves(&model.values());
        let loss = model.backward(&leaves, &of(&pixels), &labels, &pass).unwrap();
        (loss.double_value(&[]), leaves.grad())
    };
    let (loss, grad) = run(&model, 1);
    assert_ne!(loss, run(&model, 2).0);
    // Along the gradient the loss changes by its squared norm, if both passes drew the same numbers.
    let step = 1e-3 / grad.norm().double_value(&[]);
    model.flat = &model.flat - &grad * step;
    let expected = -step * grad.norm().double_value(&[]).powi(2);
    let found = run(&model, 1).0 - loss;
    assert!((found - expected).abs() < 0.05 * expected.abs(), "{found} against {expected}");
}

/// Weights as they are published, where a folder with a ViT lies beside the project.
#[test]
fn published_weights_if_available() {
    let encoder = here("../../shared/data/vit-s14-224");
    if !encoder.exists() {
        eprintln!("{}: not there, nothing to compare", encoder.display());
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let settings = TrainSettings {
        encoder: encoder.display().to_string(),
        tokenizer: here("tests/it/tokenizer.json").display().to_string(),
        decoder_width: 48,
        decoder_heads: 4,
        decoder_layers: 2,
        decoder_positions: 24,
        initializer_range: 0.25,
        vocab_size: 0,
        ..TrainSettings::default()
    };
    let (model, _) = Model::start(&settings, "", Device::Cpu).unwrap();
    let (pixels, labels) = random_batch(&model);
    let logits = no_grad(|| model.captioner.logits(&model.views(), &pixels, &labels, false));
    std::fs::create_dir(folder.path().join("model")).unwrap();
    write_model(&folder.path().join("model"), &model, &settings).unwrap();
    let given = [("pixels", &pixels), ("labels", &labels), ("logits", &logits)];
    Tensor::write_safetensors(&given, folder.path().join("given.safetensors")).unwrap();
    python::check("real_encoder.py", &[folder.path().as_os_str(), encoder.as_os_str()]);
}
