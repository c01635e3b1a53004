//! Events and summaries in the wire format of protocol buffers. In: values. Out: bytes. Never reads one. Field numbers are
//! those of tensorboard/compat/proto: event.proto, summary.proto, tensor.proto, types.proto.

use anyhow::{Context, Result, ensure};

// Event.
pub(super) const WALL_TIME: u32 = 1;
pub(super) const STEP: u32 = 2;
pub(super) const FILE_VERSION: u32 = 3;
pub(super) const SUMMARY: u32 = 5;
pub(super) const SESSION_LOG: u32 = 7;
// SessionLog.
pub(super) const SESSION_STATUS: u32 = 1;
pub(super) const SESSION_START: u64 = 1;
// Summary and Summary.Value.
const VALUE: u32 = 1;
const TAG: u32 = 1;
const SIMPLE_VALUE: u32 = 2;
const IMAGE: u32 = 4;
const TENSOR: u32 = 8;
const METADATA: u32 = 9;
// Summary.Image.
const HEIGHT: u32 = 1;
const WIDTH: u32 = 2;
const COLORSPACE: u32 = 3;
const ENCODED_IMAGE: u32 = 4;
const RGB: u64 = 3;
// SummaryMetadata and its PluginData.
const PLUGIN_DATA: u32 = 1;
const PLUGIN_NAME: u32 = 1;
// TensorProto.
const DTYPE: u32 = 1;
const TENSOR_SHAPE: u32 = 2;
const STRING_VAL: u32 = 8;
const DT_STRING: u64 = 7;

/// The value of a tag at a step. A tag must keep to one kind of value: TensorBoard shows only the first kind it finds.
pub enum Value<'a> {
    /// A figure; TensorBoard keeps 32 bits of it.
    Scalar(f64),
    /// A square picture, RGB, `[side, side, 3]`.
    Picture {
        /// The levels.
        rgb: &'a [u8],
        /// Pixels a side.
        side: usize,
    },
    /// Markdown.
    Text(&'a str),
}

/// A message that is being written, field after field.
#[derive(Default)]
pub(super) struct Message(Vec<u8>);

impl Message {
    const VARINT: u32 = 0;
    const FIXED64: u32 = 1;
    const DELIMITED: u32 = 2;
    const FIXED32: u32 = 5;

    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    pub(super) fn number(&mut self, field: u32, value: u64) {
        self.key(field, Self::VARINT);
        self.varint(value);
    }

    pub(super) fn double(&mut self, field: u32, value: f64) {
        self.key(field, Self::FIXED64);
        self.0.extend_from_slice(&value.to_le_bytes());
    }

    fn float(&mut self, field: u32, value: f32) {
        self.key(field, Self::FIXED32);
        self.0.extend_from_slice(&value.to_le_bytes());
    }

    pub(super) fn bytes(&mut self, field: u32, value: &[u8]) {
        self.key(field, Self::DELIMITED);
        self.varint(value.len() as u64);
        self.0.extend_from_slice(value);
    }

    pub(super) fn message(&mut self, field: u32, fill: impl FnOnce(&mut Self)) {
        let mut inner = Self::default();
        fill(&mut inner);
        self.bytes(field, &inner.0);
    }

    fn key(&mut self, field: u32, wire_type: u32) {
        self.varint(u64::from(field << 3 | wire_type));
    }

    fn varint(&mut self, mut value: u64) {
        while value >= 128 {
            self.0.push(value as u8 | 128);
            value >>= 7;
        }
        self.0.push(value as u8);
    }
}

/// A Summary of tagged values.
pub(super) fn summary(values: &[(String, Value)]) -> Result<Vec<u8>> {
    let mut summary = Message::default();
    for (tag, value) in values {
        let png = match value {
            Value::Picture { rgb, side } => png(rgb, *side).with_context(|| tag.clone())?,
            _ => Vec::new(),
        };
        summary.message(VALUE, |message| {
            message.bytes(TAG, tag.as_bytes());
            match value {
                Value::Scalar(figure) => message.float(SIMPLE_VALUE, *figure as f32),
                Value::Picture { side, .. } => picture(message, &png, *side as u64),
                Value::Text(text) => string(message, text),
            }
        });
    }
    Ok(summary.0)
}

fn picture(value: &mut Message, png: &[u8], side: u64) {
    value.message(IMAGE, |image| {
        image.number(HEIGHT, side);
        image.number(WIDTH, side);
        image.number(COLORSPACE, RGB);
        image.bytes(ENCODED_IMAGE, png);
    });
}

/// A tensor of one string, for the text dashboard.
fn string(value: &mut Message, text: &str) {
    value.message(TENSOR, |tensor| {
        tensor.number(DTYPE, DT_STRING);
        tensor.message(TENSOR_SHAPE, |_| ()); // a scalar
        tensor.bytes(STRING_VAL, text.as_bytes());
    });
    value.message(METADATA, |metadata| {
        metadata.message(PLUGIN_DATA, |plugin| plugin.bytes(PLUGIN_NAME, b"text"));
    });
}

fn png(rgb: &[u8], side: usize) -> Result<Vec<u8>> {
    ensure!(
        rgb.len() == side * side * 3,
        "expected a picture of {side} px, found {} bytes",
        rgb.len()
    );
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, side as u32, side as u32);
    encoder.set_color(png::ColorType::Rgb);
    encoder.set_depth(png::BitDepth::Eight);
    let mut writer = encoder.write_header()?;
    writer.write_image_data(rgb)?;
    writer.finish()?;
    Ok(bytes)
}
