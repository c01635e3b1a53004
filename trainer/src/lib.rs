//! ViT-GPT2 image captioning on libtorch: trains from a corpus's stream, evaluates, captions; a drop-in for transformers'
//! `VisionEncoderDecoderModel`. In: a tuwen corpus or picture files, Hugging Face folders. Out: Hugging Face folders,
//! captions. Never decodes, cleans or splits: that is the pipeline's.
//!
//! Modules in the order in which a run meets them: [`cli`] - [`libtorch`], `shim`, [`ranks`], `json`, `generation_file`,
//! [`config`], [`text`], [`preprocessor`], [`params`], the model (`layers`, `vit`, `gpt2`, [`captioner`]), [`names`], [`hub`],
//! [`weights`], [`model`] - [`feed`], `labels`, [`pixels`], [`schedule`], [`optimizer`], [`loss_scale`], [`recompute`],
//! `encoder_cache`, `step`, `losses`, `progress`, [`train`], [`bench`] - [`generate`], [`metrics`], [`evaluate`], [`best`],
//! [`checkpoint`], [`tensorboard`], [`caption`], [`fingerprint`], [`caption_stage`], [`caption_corpus`], [`score_rows`],
//! [`score_stage`], `neutral`, [`score`], [`score_corpus`].

pub mod bench;
pub mod best;
pub mod caption;
pub mod caption_corpus;
pub mod caption_stage;
pub mod captioner;
pub mod checkpoint;
pub mod cli;
pub mod config;
mod encoder_cache;
pub mod evaluate;
pub mod feed;
pub mod fingerprint;
pub mod generate;
mod generation_file;
mod gpt2;
pub mod hub;
mod json;
mod labels;
mod layers;
pub mod libtorch;
pub mod loss_scale;
mod losses;
pub mod metrics;
pub mod model;
pub mod names;
mod neutral;
pub mod optimizer;
pub mod params;
mod pickle;
pub mod pixels;
pub mod preprocessor;
mod progress;
pub mod ranks;
pub mod recompute;
pub mod schedule;
pub mod score;
pub mod score_corpus;
pub mod score_rows;
pub mod score_stage;
mod shim;
mod step;
pub mod tensorboard;
pub mod text;
pub mod train;
mod vit;
pub mod weights;
mod work_list;
