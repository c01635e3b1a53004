//! A small corpus for the stream's tests. In: a layout. Out: the tables `examples` and `images` in a temporary folder, and what
//! they hold, computed anew.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{
    ArrayRef, BinaryArray, BooleanArray, Int32Array, Int32Builder, Int64Array, ListBuilder,
    RecordBatch, StringArray, new_null_array,
};
use arrow::datatypes::{Field, SchemaRef};
use deltalake::DeltaTable;
use deltalake::protocol::SaveMode;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::schema::types::ColumnPath;
use tempfile::TempDir;
use url::Url;

/// Side of the pictures: some lines of a cache for each place at which they are copied.
pub(super) const SIZE_PX: usize = 36;

/// Bytes of a picture.
pub(super) const PIXEL_BYTES: usize = SIZE_PX * SIZE_PX * 3;

/// Rows of `images`; every seventh is rejected.
pub(super) const N_IMAGES: u64 = 300;

/// How `images` lies in Parquet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Layout {
    /// The stream's own: one value a page, uncompressed and plain.
    Direct,
    /// The parquet crate's defaults with Zstd: many rows a page.
    Zstd,
    /// Dictionary pages, no offset index.
    Dictionary,
    /// As `Direct`, the pixels as JPEG.
    Jpeg,
    /// As `Zstd`, the pixels as JPEG.
    JpegZstd,
    /// As `Direct`, every third image as JPEG.
    Mixed,
}

impl Layout {
    fn is_jpeg(self, image: u64) -> bool {
        match self {
            Self::Direct | Self::Zstd | Self::Dictionary => false,
            Self::Jpeg | Self::JpegZstd => true,
            Self::Mixed => image.is_multiple_of(3),
        }
    }

    /// What stands in `pixels` for `image`.
    fn stored(self, image: u64) -> Vec<u8> {
        if !self.is_jpeg(image) {
            return pixels_of(image);
        }
        let (pixels, size) = (pixels_of(image), SIZE_PX);
        let format = turbojpeg::PixelFormat::RGB;
        let picture = turbojpeg::Image {
            pixels: &pixels[..],
            width: size,
            pitch: size * 3,
            height: size,
            format,
        };
        turbojpeg::compress(picture, 90, turbojpeg::Subsamp::Sub2x2).unwrap().to_vec()
    }

    /// The pixels that the stream must give for `image`: for a JPEG what libjpeg-turbo's own one-call interface gives.
    fn pixels(self, image: u64) -> Vec<u8> {
        match self.is_jpeg(image) {
            false => pixels_of(image),
            true => {
                let format = turbojpeg::PixelFormat::RGB;
                turbojpeg::decompress(&self.stored(image), format).unwrap().pixels
            }
        }
    }
}

/// What the stream must hand out for an example.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Expected {
    pub(super) pixels: Vec<u8>,
    pub(super) tokens: Vec<i64>,
}

/// A corpus in a folder that goes with it.
pub(super) struct Fixture {
    folder: TempDir,
}

impl Fixture {
    /// `images` in three commits, `examples` in one.
    pub(super) fn new(layout: Layout) -> Self {
        Self::with(layout, images)
    }

    /// As if `images` were of a writer that knows no checksums.
    pub(super) fn without_checksums() -> Self {
        Self::with(Layout::Direct, |layout, rows| {
            let batch = images(layout, rows);
            let place = batch.schema().index_of("pixels_crc32").unwrap();
            let mut columns = batch.columns().to_vec();
            columns[place] = new_null_array(columns[place].data_type(), batch.num_rows());
            RecordBatch::try_new(batch.schema(), columns).unwrap()
        })
    }

    fn with(layout: Layout, images: impl Fn(Layout, std::ops::Range<u64>) -> RecordBatch) -> Self {
        let fixture = Self { folder: tempfile::tempdir().unwrap() };
        for part in 0..3 {
            let rows = part * N_IMAGES / 3..(part + 1) * N_IMAGES / 3;
            fixture.write("images", images(layout, rows), properties(layout), SaveMode::Append);
        }
        fixture.write_examples(0);
        fixture
    }

    /// A larger one, whose `images` are in one commit: for what grows with the corpus.
    pub(super) fn large(n_images: u64) -> Self {
        let fixture = Self { folder: tempfile::tempdir().unwrap() };
        let images = images(Layout::Direct, 0..n_images);
        fixture.write("images", images, properties(Layout::Direct), SaveMode::Append);
        let properties = WriterProperties::builder().build();
        let examples = examples(&rows_of(n_images, 0), 0);
        fixture.write("examples", examples, properties, SaveMode::Append);
        fixture
    }

    pub(super) fn location(&self) -> &str {
        self.folder.path().to_str().unwrap()
    }

    /// Replaces `examples`; another `generation` has other captions.
    pub(super) fn write_examples(&self, generation: u64) {
        let properties = WriterProperties::builder().build();
        let examples = examples(&rows(generation), generation);
        self.write("examples", examples, properties, SaveMode::Overwrite);
    }

    /// Data files of `images`, by path.
    pub(super) fn image_files(&self) -> Vec<PathBuf> {
        let entries = std::fs::read_dir(self.folder.path().join("images")).unwrap();
        let mut files: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
        files.retain(|path| path.extension().is_some_and(|extension| extension == "parquet"));
        files.sort();
        files
    }

    /// Flips one bit of the pixels of `image`, wherever they lie; the layout must not compress them. The file's name.
    pub(super) fn flip(&self, image: u64) -> String {
        for path in self.image_files() {
            let mut bytes = std::fs::read(&path).unwrap();
            if let Some(start) = position(&bytes, &pixels_of(image)) {
                bytes[start + 100] ^= 0x10;
                std::fs::write(&path, bytes).unwrap();
                return path.file_name().unwrap().to_str().unwrap().to_owned();
            }
        }
        panic!("image {image} is in no file");
    }

    pub(super) fn write(
        &self,
        name: &str,
        batch: RecordBatch,
        properties: WriterProperties,
        mode: SaveMode,
    ) {
        let folder = self.folder.path().join(name);
        std::fs::create_dir_all(&folder).unwrap();
        let url = Url::from_directory_path(folder).unwrap();
        runtime().block_on(async {
            let table = DeltaTable::try_from_url(url).await.unwrap();
            let write =
                table.write([batch]).with_save_mode(mode).with_writer_properties(properties);
            write.await.unwrap();
        });
    }
}

pub(super) fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

/// The writer properties of `layout`, with several row groups a file.
pub(super) fn properties(layout: Layout) -> WriterProperties {
    let pixels = ColumnPath::from("pixels");
    let builder = WriterProperties::builder().set_max_row_group_row_count(Some(32));
    match layout {
        Layout::Direct | Layout::Jpeg | Layout::Mixed => builder
            .set_write_batch_size(1)
            .set_column_data_page_size_limit(pixels.clone(), 1)
            .set_column_dictionary_enabled(pixels.clone(), false)
            .set_column_statistics_enabled(pixels, EnabledStatistics::None)
            .build(),
        Layout::Zstd | Layout::JpegZstd => builder
            .set_compression(Compression::ZSTD(ZstdLevel::try_new(1).unwrap()))
            .set_column_dictionary_enabled(pixels, false)
            .build(),
        Layout::Dictionary => builder
            .set_offset_index_disabled(true)
            .set_statistics_enabled(EnabledStatistics::None)
            .build(),
    }
}

/// Numbers that look random and are always the same.
fn scatter(number: u64) -> u64 {
    let mixed = (number ^ (number >> 31)).wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    (mixed ^ (mixed >> 29)).wrapping_mul(0xBF58_476D_1CE4_E5B9)
}

fn id(kind: u64, number: u64) -> String {
    format!("{:016x}{:016x}", scatter(number * 2 + kind), scatter(number) ^ kind)
}

fn is_rejected(image: u64) -> bool {
    image % 7 == 3
}

fn pixels_of(image: u64) -> Vec<u8> {
    (0..PIXEL_BYTES as u64).map(|place| (scatter(image * 10_007 + place) >> 40) as u8).collect()
}

/// Width of the original of `image`.
fn width_of(image: u64) -> i32 {
    100 + (image % 50) as i32
}

/// CRC-32 bit by bit, as its polynomial says (IEEE 802.3, reflected).
fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |crc: u32, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| {
            crc >> 1 ^ 0xEDB8_8320 & (crc & 1).wrapping_neg()
        })
    })
}

fn position(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes.windows(wanted.len()).position(|window| window == wanted)
}

/// The images whose pixels lie in `file`, which is uncompressed.
pub(super) fn images_in(file: &Path) -> BTreeSet<u64> {
    let bytes = std::fs::read(file).unwrap();
    let is_in =
        |image: &u64| !is_rejected(*image) && position(&bytes, &pixels_of(*image)).is_some();
    (0..N_IMAGES).filter(is_in).collect()
}

/// Ids of the examples of `images`, whatever their split.
pub(super) fn examples_of(images: &BTreeSet<u64>) -> BTreeSet<String> {
    rows(0).into_iter().filter(|row| images.contains(&row.image)).map(|row| row.id).collect()
}

fn images(layout: Layout, rows: std::ops::Range<u64>) -> RecordBatch {
    let good = |image: &u64| !is_rejected(*image);
    let numbers: Vec<u64> = rows.collect();
    let pixels: Vec<Option<Vec<u8>>> =
        numbers.iter().map(|i| good(i).then(|| layout.stored(*i))).collect();
    let ints = |value: fn(u64) -> i32| -> ArrayRef {
        Arc::new(numbers.iter().map(|image| Some(value(*image))).collect::<Int32Array>())
    };
    let texts = |value: &dyn Fn(&u64) -> Option<String>| -> ArrayRef {
        Arc::new(numbers.iter().map(value).collect::<StringArray>())
    };
    let schema = tuwen_schemas::schema("images");
    let column = |field: &Arc<Field>| -> ArrayRef {
        match field.name().as_str() {
            "image_id" => texts(&|image| Some(id(0, *image))),
            "width" => ints(width_of),
            "height" => ints(|_| 80),
            "orientation" | "frames" => ints(|_| 1),
            "size_px" => ints(|_| SIZE_PX as i32),
            "format" => texts(&|_| Some("png".to_owned())),
            "color" => texts(&|_| Some("rgb".to_owned())),
            "dhash" => Arc::new(
                numbers.iter().map(|i| good(i).then_some(*i as i64)).collect::<Int64Array>(),
            ),
            "thumb" | "look" => Arc::new(BinaryArray::from_opt_vec(vec![None; numbers.len()])),
            "codec" => texts(&|image| {
                let codec = if layout.is_jpeg(*image) { "jpeg" } else { "raw" };
                good(image).then(|| codec.to_owned())
            }),
            "pixels" => {
                Arc::new(BinaryArray::from_opt_vec(pixels.iter().map(Option::as_deref).collect()))
            }
            "pixels_crc32" => Arc::new(
                pixels
                    .iter()
                    .map(|pixels| pixels.as_ref().map(|pixels| i64::from(crc32(pixels))))
                    .collect::<Int64Array>(),
            ),
            "reject_reason" => texts(&|image| (!good(image)).then(|| "corrupt".to_owned())),
            "detail" => texts(&|_| None),
            "filter" => texts(&|_| Some("bilinear".to_owned())),
            "speed" => texts(&|_| Some("exact".to_owned())),
            "oriented" => Arc::new(BooleanArray::from(vec![false; numbers.len()])),
            other => panic!("column `{other}` of images is new"),
        }
    };
    let columns = schema.fields().iter().map(column).collect();
    RecordBatch::try_new(schema, columns).unwrap()
}

/// One example in the tables of the corpus.
struct Row {
    id: String,
    image: u64,
    split: Option<&'static str>,
    tokens: Vec<i32>,
}

/// Two captions for every image; those of rejected images are rejected, every tenth is in the test split.
fn rows_of(n_images: u64, generation: u64) -> Vec<Row> {
    (0..2 * n_images)
        .map(|number| {
            let image = number / 2;
            let split = if number % 10 == 0 { "test" } else { "train" };
            let n_tokens = (scatter(number) >> 50) % 20;
            let token = |place| ((scatter(number * 31 + place + generation) >> 33) % 21_128) as i32;
            Row {
                id: id(1, number),
                image,
                split: (!is_rejected(image)).then_some(split),
                tokens: (0..n_tokens).map(token).collect(),
            }
        })
        .collect()
}

/// Those of the usual corpus.
fn rows(generation: u64) -> Vec<Row> {
    rows_of(N_IMAGES, generation)
}

fn text_of(example_id: &str, generation: u64) -> String {
    format!("{example_id} 一只猫 {generation}")
}

/// The examples of `split` by id: their images and texts.
pub(super) fn captions(split: &str, generation: u64) -> BTreeMap<String, (String, String)> {
    let rows = rows(generation).into_iter().filter(|row| row.split == Some(split));
    rows.map(|row| (row.id.clone(), (id(0, row.image), text_of(&row.id, generation)))).collect()
}

fn examples(rows: &[Row], generation: u64) -> RecordBatch {
    let schema: SchemaRef = tuwen_schemas::schema("examples");
    let element = Field::new("element", arrow::datatypes::DataType::Int32, true);
    let mut tokens = ListBuilder::new(Int32Builder::new()).with_field(element);
    for row in rows {
        if row.split.is_some() {
            tokens.values().append_slice(&row.tokens);
        }
        tokens.append(row.split.is_some());
    }
    let tokens = tokens.finish();
    let good = |row: &Row| row.split.is_some();
    let column = |field: &Arc<Field>| -> ArrayRef {
        match field.name().as_str() {
            "example_id" => {
                Arc::new(rows.iter().map(|row| Some(row.id.clone())).collect::<StringArray>())
            }
            "image_id" => {
                Arc::new(rows.iter().map(|row| Some(id(0, row.image))).collect::<StringArray>())
            }
            "split" => Arc::new(rows.iter().map(|row| row.split).collect::<StringArray>()),
            "text" => {
                let texts = rows.iter().map(|row| Some(text_of(&row.id, generation)));
                Arc::new(texts.collect::<StringArray>())
            }
            "input_ids" => Arc::new(tokens.clone()),
            "n_tokens" => Arc::new(
                rows.iter()
                    .map(|row| good(row).then_some(row.tokens.len() as i32))
                    .collect::<Int32Array>(),
            ),
            "reject_reason" => Arc::new(
                rows.iter().map(|row| (!good(row)).then_some("image")).collect::<StringArray>(),
            ),
            "near_group" => new_null_array(field.data_type(), rows.len()),
            other => panic!("column `{other}` of examples is new"),
        }
    };
    let columns = schema.fields().iter().map(column).collect();
    RecordBatch::try_new(Arc::clone(&schema), columns).unwrap()
}

/// What a stream over `split` must hand out, by example id; `keep` is told each image's width and number of tokens.
pub(super) fn expected(
    split: &str,
    generation: u64,
    keep: impl Fn(i32, usize) -> bool,
) -> BTreeMap<String, Expected> {
    expected_of(Layout::Direct, split, generation, keep)
}

/// As [`expected`], of a corpus in `layout`.
pub(super) fn expected_of(
    layout: Layout,
    split: &str,
    generation: u64,
    keep: impl Fn(i32, usize) -> bool,
) -> BTreeMap<String, Expected> {
    rows(generation)
        .into_iter()
        .filter(|row| row.split == Some(split) && keep(width_of(row.image), row.tokens.len()))
        .map(|row| {
            let tokens = row.tokens.into_iter().map(i64::from).collect();
            (row.id, Expected { pixels: layout.pixels(row.image), tokens })
        })
        .collect()
}
