//! A server on 127.0.0.1 for the tests of fetch: serves bytes by path and counts how often each was asked for.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

/// What a path answers.
#[derive(Clone)]
pub(crate) enum Answer {
    Body(Vec<u8>),
    Status(u16),
    Redirect(String),
    /// Whatever the function writes, before the connection is closed.
    Raw(Handler),
}

/// Answers a request on the connection that it came by.
pub(crate) type Handler =
    Arc<dyn Fn(&Request, &mut TcpStream) -> std::io::Result<()> + Send + Sync>;

/// A request.
pub(crate) struct Request {
    /// How often its path was asked for, this time included.
    pub(crate) nth: usize,
    /// Names in lower case.
    pub(crate) headers: HashMap<String, String>,
}

type Hits = Arc<Mutex<HashMap<String, usize>>>;

/// One thread a connection, one request a connection.
pub(crate) struct Server {
    hits: Hits,
    stopped: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
    address: std::net::SocketAddr,
    pub(crate) base: String,
}

impl Server {
    pub(crate) fn start(answers: HashMap<String, Answer>) -> Self {
        Self::start_at("127.0.0.1", answers)
    }

    /// At an address of this machine, of which there are many: 127.0.0.0/8.
    pub(crate) fn start_at(address: &str, answers: HashMap<String, Answer>) -> Self {
        Self::answering(address, move |path| {
            answers.get(path).cloned().unwrap_or(Answer::Status(404))
        })
    }

    /// The same, where the path says what it answers.
    pub(crate) fn answering(
        address: &str,
        answer_of: impl Fn(&str) -> Answer + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind((address, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let (hits, stopped) = (Hits::default(), Arc::new(AtomicBool::new(false)));
        let thread = std::thread::spawn({
            let (hits, stopped, answer_of) =
                (Arc::clone(&hits), Arc::clone(&stopped), Arc::new(answer_of));
            move || {
                for stream in listener.incoming() {
                    if stopped.load(Ordering::SeqCst) {
                        return;
                    }
                    let (hits, answer_of) = (Arc::clone(&hits), Arc::clone(&answer_of));
                    // A client that hangs up is the client's business.
                    std::thread::spawn(move || {
                        stream.and_then(|stream| answer(stream, &*answer_of, &hits))
                    });
                }
            }
        });
        Self { hits, stopped, thread: Some(thread), address, base: format!("http://{address}") }
    }

    /// How often each path was asked for.
    pub(crate) fn hits(&self) -> HashMap<String, usize> {
        self.hits.lock().unwrap().clone()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stopped.store(true, Ordering::SeqCst);
        // The listener wakes up for a connection, and sees that it should stop.
        drop(TcpStream::connect(self.address));
        self.thread.take().unwrap().join().unwrap();
    }
}

fn answer(
    mut stream: TcpStream,
    answer_of: &impl Fn(&str) -> Answer,
    hits: &Hits,
) -> std::io::Result<()> {
    let mut lines = BufReader::new(stream.try_clone()?).lines();
    let request = lines.next().transpose()?.unwrap_or_default();
    let mut headers = HashMap::new();
    for line in lines {
        let line = line?;
        if line.is_empty() {
            break;
        }
        if let Some((name, value)) = line.split_once(':') {
            headers.insert(name.to_lowercase(), value.trim().to_owned());
        }
    }
    let path = request.split(' ').nth(1).unwrap_or_default().to_owned();
    let nth = {
        let mut hits = hits.lock().unwrap();
        let n = hits.entry(path.clone()).or_insert(0);
        *n += 1;
        *n
    };
    let (status, header, body) = match answer_of(&path) {
        Answer::Body(body) => (200, String::new(), body),
        Answer::Status(status) => (status, String::new(), Vec::new()),
        Answer::Redirect(to) => (302, format!("location: {to}\r\n"), Vec::new()),
        Answer::Raw(handler) => return handler(&Request { nth, headers }, &mut stream),
    };
    let length = body.len();
    write!(
        stream,
        "HTTP/1.1 {status} .\r\n{header}content-length: {length}\r\nconnection: close\r\n\r\n"
    )?;
    stream.write_all(&body)?;
    stream.flush()
}
