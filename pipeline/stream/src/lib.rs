//! The stream: batches for a device that must not wait. In: a corpus, and which examples in which order. Out: batches of
//! pixels and token ids, in exactly that order. Never writes to the corpus, and never looks at a later version of it.
//!
//! The modules, each of which only uses those before it: [`random`], [`id`], [`options`] and [`batch`] are what all others speak
//! of. [`read`] reads the bytes of files, [`select`] asks which examples there are and where their images' rows lie, and
//! [`order`] says who stands where in an epoch. [`opened`] is a corpus with its selection and its files, [`deliver`] builds
//! batches of it on threads, and [`stream`] is what a consumer opens. [`references`] says what the corpus says of images, and
//! [`image_pixels`] reads images without their examples.

mod batch;
mod deliver;
mod id;
mod image_pixels;
mod opened;
mod options;
mod order;
mod random;
mod read;
mod references;
mod select;
mod stream;

pub use self::batch::{Batch, Skipped, StreamState};
pub use self::deliver::{Batches, WaitStats};
pub use self::id::ExampleId;
pub use self::image_pixels::{ImagePixels, ImageRows};
pub use self::options::{RandomResizedCrop, Shuffle, StreamOptions, Versions};
pub use self::random::mix;
pub use self::references::ImageReferences;
pub use self::select::asked_examples;
pub use self::stream::Stream;
pub use tuwen_settings::{OnBadImage, ReadPath};
