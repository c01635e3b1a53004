//! Settings of the ingest of sources, which `tuwen fetch` and `tuwen run` begin with.

use serde::{Deserialize, Serialize};

use crate::allowed::Allowed::{FilledText, Line};
use crate::key::settings;

settings! {
    /// Settings of the ingest of sources, which `tuwen fetch` and `tuwen run` begin with.
    pub struct IngestSettings("ingest.", settings => settings.ingest) {
        /// Columns that are called otherwise. As text=caption,url=link,filename=name; by numbers,
        /// from 1, where a file has no header: url=1,text=2. Empty: the usual names.
        columns: String = String::new(), Line;
        /// Encoding of the sources. Auto tells UTF-8, UTF-16, GB18030 (GBK) and Big5 from each
        /// other and refuses what it is not sure of; else a name of the WHATWG's standard, such as
        /// gb18030, big5 or shift_jis. A byte order mark is obeyed in any case.
        encoding: String = "auto".to_owned(), FilledText;
    }
}
