//! What a model wrote of each image, to be shown beside what people did. In: the rows of `sql/page/newest_captions.sql`. Out: the
//! caption of an image. Kept in memory, since a page shows images from all over the table: 12 bytes an image and the text.

use anyhow::Result;
use arrow::array::AsArray;
use tuwen_etl::sql::{Params, Session, statements};

use super::rows::key_of;
use crate::sql::rows::Rows;

/// Bytes of text that are kept; of a table with more, captions are on the pages of their pictures alone.
const MOST_BYTES: usize = 256 << 20;

/// The captions of one model.
#[derive(Default)]
pub(in crate::server::page) struct ModelCaptions {
    /// The folder of the model.
    pub(in crate::server::page) model: String,
    /// Hashes of ids, ascending, and where the caption of each begins in `texts`; its end is a zero.
    keys: Vec<u64>,
    starts: Vec<u32>,
    texts: String,
}

impl ModelCaptions {
    pub(super) async fn open(session: &Session) -> Result<Self> {
        let query = include_str!("../../../../../../sql/page/newest_captions.sql");
        let statement = statements(query)?.remove(0);
        let mut batches = Rows::of(session.prepare(&statement, &Params::default()).await?, None);
        let (mut places, mut kept) = (Vec::<(u64, u32)>::new(), Self::default());
        while let Some(batch) = batches.next().await? {
            let [ids, captions, models] = [0, 1, 2].map(|i| batch.column(i).as_string::<i32>());
            for i in 0..batch.num_rows() {
                if kept.texts.len() + captions.value(i).len() > MOST_BYTES {
                    tracing::warn!(
                        "page: captions of models take more than {MOST_BYTES} bytes, so the gallery is without them"
                    );
                    return Ok(Self::default());
                }
                places.push((key_of(ids.value(i)), kept.texts.len() as u32));
                kept.texts.push_str(captions.value(i));
                kept.texts.push('\0');
                if kept.model.is_empty() {
                    models.value(i).clone_into(&mut kept.model);
                }
            }
        }
        places.sort_unstable();
        (kept.keys, kept.starts) = places.into_iter().unzip();
        Ok(kept)
    }

    /// The caption of an image.
    pub(in crate::server::page) fn caption(&self, image_id: &str) -> Option<&str> {
        let place = self.keys.binary_search(&key_of(image_id)).ok()?;
        self.texts[self.starts[place] as usize..].split('\0').next()
    }
}
