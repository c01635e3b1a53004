//! `tuwen serve` as a process, and requests to it byte for byte: what a browser would never send too.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// A server of a corpus, until it is dropped.
pub(super) struct Serving {
    child: Child,
    /// `http://127.0.0.1:PORT`
    pub(super) base: String,
}

/// What came back.
pub(super) struct Answer {
    pub(super) status: u16,
    /// Names in lower case.
    headers: Vec<(String, String)>,
    pub(super) body: Vec<u8>,
}

impl Answer {
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    pub(super) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

impl Serving {
    /// Serves the corpus `corpus` in `folder`, at a port of the system's choice.
    pub(super) fn start(folder: &Path, more: &[&str]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tuwen"));
        for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("TUWEN_")) {
            command.env_remove(name);
        }
        command.args(["serve", "--page", "127.0.0.1:0", "--flight", "off"]).args(more);
        command.current_dir(folder).stderr(Stdio::piped()).stdout(Stdio::null());
        let mut child = command.spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map_while(Result::ok);
        let mut said = String::new();
        let base = lines.by_ref().find_map(|line| {
            said += &format!("{line}\n");
            let (_, url) = line.split_once("http://")?;
            Some(format!("http://{}", url.trim_end().trim_end_matches('/')))
        });
        // Whatever else it says is read, so that it need not wait.
        std::thread::spawn(move || lines.for_each(drop));
        Self { child, base: base.unwrap_or_else(|| panic!("it does not serve: {said}")) }
    }

    pub(super) fn host(&self) -> &str {
        self.base.trim_start_matches("http://")
    }

    pub(super) fn get(&self, path: &str) -> Answer {
        self.ask("GET", path, &[], "")
    }

    /// A request of these headers, which win over the usual ones.
    pub(super) fn ask(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> Answer {
        let mut stream = TcpStream::connect(self.host()).unwrap();
        let mut request = format!("{method} {path} HTTP/1.1\r\nconnection: close\r\n");
        if !headers.iter().any(|(name, _)| *name == "host") {
            request += &format!("host: {}\r\n", self.host());
        }
        for (name, value) in headers {
            request += &format!("{name}: {value}\r\n");
        }
        if !body.is_empty() {
            request += &format!("content-length: {}\r\n", body.len());
        }
        write!(stream, "{request}\r\n{body}").unwrap();
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).unwrap();
        let end = bytes.windows(4).position(|four| four == b"\r\n\r\n").expect("a head");
        let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
        let mut lines = head.lines();
        let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
        let headers = lines.filter_map(|line| line.split_once(':'));
        let headers: Vec<_> =
            headers.map(|(name, value)| (name.to_lowercase(), value.trim().to_owned())).collect();
        let is_chunked =
            headers.iter().any(|(name, value)| name == "transfer-encoding" && value == "chunked");
        assert!(!is_chunked, "{path}: pages are made whole");
        Answer { status, headers, body: bytes[end + 4..].to_vec() }
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A text of a page as it is seen.
pub(super) fn unescaped(text: &str) -> String {
    text.replace("&lt;", "<").replace("&gt;", ">").replace("&quot;", "\"").replace("&amp;", "&")
}
