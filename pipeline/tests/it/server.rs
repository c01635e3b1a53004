//! A server on 127.0.0.1 for the tests of fetch: serves bytes by path and counts how often each was asked for.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

/// What a path answers.
#[derive(Clone)]
pub(crate) enum Answer {
    Body(Vec<u8>),
    Status(u16),
    Redirect(String),
}

pub(crate) struct Server {
    server: Arc<tiny_http::Server>,
    hits: Arc<Mutex<HashMap<String, usize>>>,
    thread: Option<std::thread::JoinHandle<()>>,
    pub(crate) base: String,
}

impl Server {
    pub(crate) fn start(answers: HashMap<String, Answer>) -> Self {
        let server = Arc::new(tiny_http::Server::http("127.0.0.1:0").unwrap());
        let base = format!("http://{}", server.server_addr());
        let hits = Arc::new(Mutex::new(HashMap::new()));
        let thread = std::thread::spawn({
            let (server, hits) = (Arc::clone(&server), Arc::clone(&hits));
            move || {
                for request in server.incoming_requests() {
                    let path = request.url().to_owned();
                    *hits.lock().unwrap().entry(path.clone()).or_insert(0) += 1;
                    let answer = answers.get(&path).cloned().unwrap_or(Answer::Status(404));
                    // A client that hung up is the client's business.
                    let _ = match answer {
                        Answer::Body(body) => request.respond(tiny_http::Response::from_data(body)),
                        Answer::Status(status) => {
                            request.respond(tiny_http::Response::empty(status))
                        }
                        Answer::Redirect(to) => {
                            request.respond(tiny_http::Response::empty(302).with_header(
                                tiny_http::Header::from_bytes("location", to).unwrap(),
                            ))
                        }
                    };
                }
            }
        });
        Self { server, hits, thread: Some(thread), base }
    }

    /// How often each path was asked for.
    pub(crate) fn hits(&self) -> HashMap<String, usize> {
        self.hits.lock().unwrap().clone()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.server.unblock();
        self.thread.take().unwrap().join().unwrap();
    }
}
