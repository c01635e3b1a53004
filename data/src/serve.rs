//! An HTTP server for the pictures. In: a folder. Out: its files at `http://127.0.0.1:PORT/NAME`,
//! whatever query follows; 404 for every other name. Every file is called `image/jpeg`, as careless
//! servers do. Never a file outside the folder.
//!
//! One thread a connection, connections stay open. (`tiny_http` leaves connections waiting that come
//! in a burst while others are idle: its pool wakes one thread for several of them.)

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use anyhow::{Context, Result, ensure};

/// Bytes of a request's head; more is no request of ours.
const MAX_HEAD_BYTES: u64 = 16 << 10;

/// Connections at once; further ones are closed.
const MAX_CONNECTIONS: usize = 512;

/// A running server; it stops when dropped.
pub struct FileServer {
    port: u16,
    stopping: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl FileServer {
    /// Serves `folder` on 127.0.0.1; port 0 takes a free one.
    ///
    /// # Errors
    /// There is no such folder, or the port is taken.
    pub fn start(folder: &Path, port: u16) -> Result<FileServer> {
        ensure!(folder.is_dir(), "{}: expected a folder of pictures, found none", folder.display());
        let listener = TcpListener::bind(("127.0.0.1", port));
        let listener = listener.with_context(|| format!("listening on 127.0.0.1:{port}"))?;
        let port = listener.local_addr().context("the port that was taken")?.port();
        let stopping = Arc::new(AtomicBool::new(false));
        let (folder, stop) = (folder.to_path_buf(), Arc::clone(&stopping));
        let thread = std::thread::spawn(move || accept(&listener, &folder, &stop));
        Ok(FileServer { port, stopping, thread: Some(thread) })
    }

    /// `http://127.0.0.1:PORT`.
    pub fn base_url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Serves until the process ends.
    pub fn wait(mut self) {
        self.join();
    }

    fn join(&mut self) {
        if let Some(thread) = self.thread.take() {
            // If it panicked it has said so on stderr, and there is nothing left to stop.
            let _ = thread.join();
        }
    }
}

impl Drop for FileServer {
    fn drop(&mut self) {
        self.stopping.store(true, Ordering::Release);
        // A connection of our own wakes the thread that accepts them; it fails if that has ended.
        let _ = TcpStream::connect(("127.0.0.1", self.port));
        self.join();
    }
}

/// Answers every connection on a thread of its own until told to stop; then closes them all.
fn accept(listener: &TcpListener, folder: &Path, stopping: &AtomicBool) {
    let open: Mutex<Vec<(usize, TcpStream)>> = Mutex::new(Vec::new());
    let streams = || open.lock().unwrap_or_else(PoisonError::into_inner);
    std::thread::scope(|scope| {
        for (number, stream) in listener.incoming().enumerate() {
            if stopping.load(Ordering::Acquire) {
                break;
            }
            // A connection that broke before it was accepted is the other side's affair.
            let Ok(stream) = stream else { continue };
            let Ok(handle) = stream.try_clone() else { continue };
            let mut connections = streams();
            if connections.len() >= MAX_CONNECTIONS {
                continue;
            }
            connections.push((number, handle));
            drop(connections);
            scope.spawn(move || {
                // The other side hung up: it has its own record of that.
                let _ = answer_all(&stream, folder);
                streams().retain(|(other, _)| *other != number);
            });
        }
        for (_, stream) in streams().iter() {
            let _ = stream.shutdown(Shutdown::Both);
        }
    });
}

/// Answers the requests of one connection, one after the other.
fn answer_all(stream: &TcpStream, folder: &Path) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let mut reader = BufReader::new(stream);
    loop {
        let mut head = Vec::new();
        let mut limited = reader.by_ref().take(MAX_HEAD_BYTES);
        while !head.ends_with(b"\r\n\r\n") {
            if limited.read_until(b'\n', &mut head)? == 0 {
                return if head.is_empty() { Ok(()) } else { Err(ErrorKind::InvalidData.into()) };
            }
        }
        let head = String::from_utf8_lossy(&head);
        let path = head.strip_prefix("GET ").and_then(|rest| rest.split(' ').next());
        let file =
            path.and_then(|path| file_of(path, folder)).and_then(|file| std::fs::read(file).ok());
        let (status, kind, body) = match &file {
            Some(bytes) => ("200 OK", "image/jpeg", bytes.as_slice()),
            None => ("404 Not Found", "text/plain", b"not found\n".as_slice()),
        };
        let length = body.len();
        let head_out = format!(
            "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\n\r\n"
        );
        (&*stream).write_all(&[head_out.as_bytes(), body].concat())?;
        if head.to_ascii_lowercase().contains("\r\nconnection: close\r\n") {
            return Ok(());
        }
    }
}

/// The file that a request's path names: a plain name, no folders.
fn file_of(path: &str, folder: &Path) -> Option<PathBuf> {
    let name = path.strip_prefix('/')?.split(['?', '#']).next()?;
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    let fine = !name.is_empty() && !name.starts_with('.') && name.chars().all(plain);
    fine.then(|| folder.join(name))
}
