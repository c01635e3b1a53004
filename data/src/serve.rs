//! An HTTP server for the pictures. In: a folder. Out: its files at `http://127.0.0.1:PORT/NAME`, whatever query follows;
//! 404 for every other name. Every file is called `image/jpeg`, as careless servers do. Never a file outside the folder.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;

use anyhow::{Context, Result, anyhow};
use tiny_http::{Header, Request, Response, Server};

/// Threads that answer requests: reading a file from the page cache takes them microseconds.
const THREADS: usize = 4;

/// A running server; it stops when dropped.
pub struct FileServer {
    server: Arc<Server>,
    threads: Vec<JoinHandle<()>>,
    port: u16,
}

impl FileServer {
    /// Serves `folder` on 127.0.0.1; port 0 takes a free one.
    pub fn start(folder: &Path, port: u16) -> Result<FileServer> {
        anyhow::ensure!(folder.is_dir(), "serve: {} is not a folder", folder.display());
        let server = Server::http(("127.0.0.1", port))
            .map_err(|error| anyhow!("port {port} of 127.0.0.1: {error}"))?;
        let port =
            server.server_addr().to_ip().context("an address of 127.0.0.1 has a port")?.port();
        let server = Arc::new(server);
        let threads = (0..THREADS)
            .map(|_| {
                let (server, folder) = (Arc::clone(&server), folder.to_path_buf());
                std::thread::spawn(move || {
                    server.incoming_requests().for_each(|request| answer(request, &folder))
                })
            })
            .collect();
        Ok(FileServer { server, threads, port })
    }

    /// `http://127.0.0.1:PORT`.
    pub fn base_url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Serves until the process ends.
    pub fn wait(mut self) {
        for thread in self.threads.drain(..) {
            // A panicked thread has said so on stderr; the others go on.
            let _ = thread.join();
        }
    }
}

impl Drop for FileServer {
    fn drop(&mut self) {
        // One call wakes one waiting thread.
        self.threads.iter().for_each(|_| self.server.unblock());
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

fn answer(request: Request, folder: &Path) {
    let sent = match file_of(request.url(), folder).and_then(|path| std::fs::read(path).ok()) {
        Some(bytes) => {
            let kind = Header::from_bytes("Content-Type", "image/jpeg")
                .expect("a plain ASCII header is valid");
            request.respond(Response::from_data(bytes).with_header(kind))
        }
        None => request.respond(Response::from_string("not found\n").with_status_code(404)),
    };
    // The other side hung up: it has its own record of that.
    let _ = sent;
}

/// The file that a request's path names: a plain name, no folders.
fn file_of(url: &str, folder: &Path) -> Option<PathBuf> {
    let name = url.strip_prefix('/')?.split(['?', '#']).next()?;
    let plain = !name.is_empty()
        && !name.starts_with('.')
        && name.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c));
    plain.then(|| folder.join(name))
}
