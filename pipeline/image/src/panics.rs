//! Panics of decoders. In: work on one hostile file. Out: its result, or the panic's message. Decoders are written by many hands and
//! read what strangers send: one that gives up on a file must not end a crawl, even where a panic cannot be caught.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, PanicHookInfo, catch_unwind, set_hook, take_hook};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Once, mpsc};
use std::thread;

/// Threads that may be left behind, each with what its decoder held: a crawl has hardly one, an attack as many as it likes.
const MAX_LEFT_BEHIND: usize = 100;

static HOOK: Once = Once::new();

static LEFT_BEHIND: AtomicUsize = AtomicUsize::new(0);

type LastWords = Box<dyn FnOnce(String)>;

thread_local! {
    static IS_CAUGHT: Cell<bool> = const { Cell::new(false) };
    static MESSAGE: RefCell<Option<String>> = const { RefCell::new(None) };
    static LAST_WORDS: RefCell<Option<LastWords>> = const { RefCell::new(None) };
}

/// Does `work`, which leaves nothing behind that others use.
///
/// # Errors
/// It panicked: what it said and where. Nothing is printed.
pub(crate) fn caught<T>(work: impl FnOnce() -> T) -> Result<T, String> {
    set_up();
    let outer = IS_CAUGHT.replace(true);
    let result = catch_unwind(AssertUnwindSafe(work));
    IS_CAUGHT.set(outer);
    result.map_err(|_payload| MESSAGE.take().unwrap_or_else(|| "no message".to_owned()))
}

/// Does `work`, through which no panic can be caught since it calls Rust by C, on a thread of its own. One that panics stops there for
/// good, before its panic would end the process; from then on nobody can set another hook for panics.
///
/// # Errors
/// It panicked: what it said and where. Or no thread can be had, or too many were left behind before.
pub(crate) fn apart<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, String> {
    set_up();
    if LEFT_BEHIND.load(Ordering::Relaxed) >= MAX_LEFT_BEHIND {
        return Err(format!("the decoder panicked on {MAX_LEFT_BEHIND} files before this one"));
    }
    let (sender, receiver) = mpsc::channel();
    let words = sender.clone();
    let worker = thread::Builder::new().name("decoder".to_owned()).spawn(move || {
        // Nobody listens once the result is there, so that a failure to send is none.
        LAST_WORDS.set(Some(Box::new(move |message| drop(words.send(Err(message))))));
        let result = work();
        LAST_WORDS.take();
        drop(sender.send(Ok(result)));
    });
    let worker = worker.map_err(|error| format!("no thread for the decoder: {error}"))?;
    let result = receiver.recv().unwrap_or_else(|_| Err("the decoder's thread is gone".to_owned()));
    if result.is_ok() {
        drop(worker.join());
    }
    result
}

/// What a panic does, on all threads of the process: nothing is printed where it is caught.
fn set_up() {
    HOOK.call_once(|| {
        let others = take_hook();
        set_hook(Box::new(move |panic| {
            if let Some(last_words) = LAST_WORDS.take() {
                LEFT_BEHIND.fetch_add(1, Ordering::Relaxed);
                last_words(text(panic));
                loop {
                    thread::park();
                }
            } else if IS_CAUGHT.get() {
                MESSAGE.set(Some(text(panic)));
            } else {
                others(panic);
            }
        }));
    });
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

    /// As a library of C would be called.
    extern "C" fn empty_of(at: usize) -> u8 {
        let empty: Vec<u8> = Vec::new();
        empty[at]
    }

    /// In a process of its own, for the thread that is left behind holds what the harness asks for at its end.
    #[test]
    fn a_panic_through_c_ends_its_thread_and_not_the_process() {
        const NAME: &str = "panics::tests::a_panic_through_c_ends_its_thread_and_not_the_process";
        if std::env::var_os("TUWEN_TEST_APART").is_some() {
            let message = apart(|| empty_of(3)).unwrap_err();
            let is_told = message.starts_with("the decoder panicked: index out of bounds");
            std::process::exit(if is_told && apart(|| 8) == Ok(8) { 0 } else { 1 });
        }
        let mut again = std::process::Command::new(std::env::current_exe().unwrap());
        let status = again.args(["--exact", NAME]).env("TUWEN_TEST_APART", "1").status().unwrap();
        assert!(status.success(), "{status}");
    }

    #[test]
    fn a_panic_becomes_its_message_and_work_goes_on() {
        let empty: Vec<u8> = Vec::new();
        let message = caught(|| empty[3]).unwrap_err();
        assert!(message.starts_with("the decoder panicked: index out of bounds"), "{message}");
        assert!(message.contains("(panics.rs:"), "{message}");
        assert_eq!(caught(|| 7), Ok(7));
        assert_eq!(apart(|| 8), Ok(8));
        let nested = caught(|| caught(|| panic!("inner {}", 1)).unwrap_err().len());
        assert!(nested.is_ok());
    }
}
