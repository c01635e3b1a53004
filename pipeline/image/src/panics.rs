//! Panics of decoders. In: work on one hostile file. Out: its result, or the panic's message. Decoders are written by many hands and
//! read what strangers send: one that gives up on a file must not end a crawl.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, PanicHookInfo, catch_unwind, set_hook, take_hook};
use std::sync::Once;

static HOOK: Once = Once::new();

thread_local! {
    static IS_CAUGHT: Cell<bool> = const { Cell::new(false) };
    static MESSAGE: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Does `work`, which leaves nothing behind that others use.
///
/// # Errors
/// It panicked: what it said and where. Nothing is printed.
pub(crate) fn caught<T>(work: impl FnOnce() -> T) -> Result<T, String> {
    HOOK.call_once(|| {
        let others = take_hook();
        set_hook(Box::new(move |panic| {
            if IS_CAUGHT.get() {
                MESSAGE.set(Some(text(panic)));
            } else {
                others(panic);
            }
        }));
    });
    let outer = IS_CAUGHT.replace(true);
    let result = catch_unwind(AssertUnwindSafe(work));
    IS_CAUGHT.set(outer);
    result.map_err(|_payload| MESSAGE.take().unwrap_or_else(|| "no message".to_owned()))
}

fn text(panic: &PanicHookInfo<'_>) -> String {
    let payload: &dyn Any = panic.payload();
    let said = payload.downcast_ref::<&str>().copied();
    let said = said.or_else(|| payload.downcast_ref::<String>().map(String::as_str));
    // The path of the source on the machine that compiled it says nothing; the file does.
    let place = panic.location().map(|place| {
        let file = place.file().rsplit('/').next().unwrap_or_default();
        format!(" ({file}:{})", place.line())
    });
    format!("the decoder panicked: {}{}", said.unwrap_or("?"), place.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_becomes_its_message_and_work_goes_on() {
        let empty: Vec<u8> = Vec::new();
        let message = caught(|| empty[3]).unwrap_err();
        assert!(message.starts_with("the decoder panicked: index out of bounds"), "{message}");
        assert!(message.contains("(panics.rs:"), "{message}");
        assert_eq!(caught(|| 7), Ok(7));
        let nested = caught(|| caught(|| panic!("inner {}", 1)).unwrap_err().len());
        assert!(nested.is_ok());
    }
}
