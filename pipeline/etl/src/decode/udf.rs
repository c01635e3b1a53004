//! `decode_image(bytes)` for SQL. In: a column of picture files. Out: a struct per row with the columns of `images`; a bad
//! file is a row with `reject_reason`, never an error.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, AsArray, BinaryBuilder, Int32Builder, Int64Builder, StringBuilder, StructArray,
};
use arrow::datatypes::{DataType, Field, Fields};
use datafusion::common::{DataFusionError, Result};
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use serde_json::json;
use tuwen_schemas::schema;

use tuwen_corpus::report::Progress;
use tuwen_image::{DecodedImage, Rejected, decode_image, encode_stored};
use tuwen_settings::DecodeSettings;

use crate::bound::saying;

/// The columns of `images` that come out of a decode.
const COLUMNS: [&str; 14] = [
    "width",
    "height",
    "format",
    "color",
    "orientation",
    "frames",
    "dhash",
    "thumb",
    "look",
    "codec",
    "pixels",
    "pixels_crc32",
    "reject_reason",
    "detail",
];

/// `decode_image(binary) -> struct`, with the settings bound in; each picture is told to `progress`.
pub fn decode_udf(settings: DecodeSettings, progress: Progress) -> ScalarUDF {
    let images = schema("images");
    let fields = COLUMNS.iter().map(|name| {
        let field = images.field_with_name(name).expect("schemas/images.sql has the column");
        Field::new(*name, field.data_type().clone(), true)
    });
    let said = settings.clone();
    let function = ScalarUDF::new_from_impl(DecodeImage {
        signature: Signature::exact(vec![DataType::Binary], Volatility::Immutable),
        fields: fields.collect(),
        bound: Bound { settings, progress },
    });
    saying(function, move || json!({ "decode": said }))
}

/// What is bound into the function. A session registers one, so any two of its calls have the same.
#[derive(Debug, Clone)]
struct Bound {
    settings: DecodeSettings,
    progress: Progress,
}

impl PartialEq for Bound {
    fn eq(&self, _other: &Self) -> bool {
        true
    }
}
impl Eq for Bound {}
impl std::hash::Hash for Bound {
    fn hash<H: std::hash::Hasher>(&self, _state: &mut H) {}
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct DecodeImage {
    signature: Signature,
    fields: Fields,
    bound: Bound,
}

impl ScalarUDFImpl for DecodeImage {
    fn name(&self) -> &str {
        "decode_image"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arguments: &[DataType]) -> Result<DataType> {
        Ok(DataType::Struct(self.fields.clone()))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let files = args.args[0].to_array(args.number_rows)?;
        let files = files.as_binary::<i32>();
        let mut columns = Columns::default();
        for file in files {
            let decoded = decode_image(file.unwrap_or_default(), &self.bound.settings);
            columns
                .push(decoded, &self.bound.settings)
                .map_err(|error| DataFusionError::External(error.into()))?;
            self.bound.progress.add(1);
        }
        let decoded = StructArray::try_new(self.fields.clone(), columns.finish(), None)?;
        Ok(ColumnarValue::Array(Arc::new(decoded)))
    }
}

#[derive(Default)]
struct Columns {
    width: Int32Builder,
    height: Int32Builder,
    format: StringBuilder,
    color: StringBuilder,
    orientation: Int32Builder,
    frames: Int32Builder,
    dhash: Int64Builder,
    thumb: BinaryBuilder,
    look: BinaryBuilder,
    codec: StringBuilder,
    pixels: BinaryBuilder,
    pixels_crc32: Int64Builder,
    reject_reason: StringBuilder,
    detail: StringBuilder,
}

impl Columns {
    fn push(
        &mut self,
        decoded: Result<DecodedImage, Rejected>,
        settings: &DecodeSettings,
    ) -> anyhow::Result<()> {
        let (image, rejected) = match decoded {
            Ok(image) => (Some(image), None),
            Err(rejected) => (None, Some(rejected)),
        };
        let header = match (&image, &rejected) {
            (Some(image), _) => Some(&image.header),
            (_, Some(rejected)) => rejected.header.as_ref(),
            _ => None,
        };
        self.width.append_option(header.map(|header| header.width as i32));
        self.height.append_option(header.map(|header| header.height as i32));
        self.format.append_option(header.map(|header| header.format));
        self.color.append_option(header.map(|header| header.color));
        self.orientation.append_option(header.map(|header| i32::from(header.orientation)));
        self.frames.append_option(header.map(|header| header.frames as i32));
        self.dhash.append_option(image.as_ref().map(|image| image.dhash));
        self.thumb.append_option(image.as_ref().map(|image| image.thumb));
        self.look.append_option(image.as_ref().map(|image| image.look));
        self.codec.append_option(image.as_ref().map(|_| settings.codec.name()));
        let stored = image.as_ref().map(|image| encode_stored(&image.pixels, settings));
        let stored = stored.transpose()?;
        let crc32 = stored.as_ref().map(|stored| i64::from(crc32fast::hash(stored)));
        self.pixels_crc32.append_option(crc32);
        self.pixels.append_option(stored);
        self.reject_reason.append_option(rejected.as_ref().map(|r| r.reason.to_string()));
        self.detail.append_option(rejected.as_ref().map(|r| &r.detail));
        Ok(())
    }

    /// In the order of [`COLUMNS`].
    fn finish(mut self) -> Vec<ArrayRef> {
        vec![
            Arc::new(self.width.finish()),
            Arc::new(self.height.finish()),
            Arc::new(self.format.finish()),
            Arc::new(self.color.finish()),
            Arc::new(self.orientation.finish()),
            Arc::new(self.frames.finish()),
            Arc::new(self.dhash.finish()),
            Arc::new(self.thumb.finish()),
            Arc::new(self.look.finish()),
            Arc::new(self.codec.finish()),
            Arc::new(self.pixels.finish()),
            Arc::new(self.pixels_crc32.finish()),
            Arc::new(self.reject_reason.finish()),
            Arc::new(self.detail.finish()),
        ]
    }
}
