//! A headless Chromium, by its own protocol (DevTools) over a pipe: no driver, no port, no library. In: what a person would do. Out:
//! what they would see, every request that the page made, and whatever it ran that it should not have.

use std::cell::RefCell;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;

/// How long something may take to be seen.
const PATIENCE: Duration = Duration::from_secs(180);

/// Names under which it is installed.
const NAMES: [&str; 4] = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"];

/// A browser with one page, until it is dropped.
pub(crate) struct Chromium {
    child: Child,
    pipe: RefCell<Pipe>,
    session: String,
    _profile: TempDir,
}

struct Pipe {
    send: ChildStdin,
    receive: BufReader<ChildStdout>,
    n_sent: u64,
    /// What the page did, as the browser says it.
    events: Vec<Value>,
}

impl Chromium {
    /// Starts one; none if it is not installed, which is said: it is a program of its own, that not every machine can have.
    pub(crate) fn start() -> Option<Self> {
        let is_there = |name: &&&str| {
            Command::new("sh")
                .args(["-c", &format!("command -v {name}")])
                .output()
                .is_ok_and(|found| found.status.success())
        };
        let Some(name) = NAMES.iter().find(is_there) else {
            eprintln!("no Chromium: the page is not looked at; `make test` installs it for root");
            return None;
        };
        let profile = TempDir::new().unwrap();
        let mut command = Command::new("sh");
        // It reads its commands at 3 and answers at 4.
        command.args(["-c", "exec \"$@\" 3<&0 4>&1 </dev/null >/dev/null 2>&1", "sh", name]);
        command.args([
            "--headless=new",
            "--remote-debugging-pipe",
            "--no-sandbox",
            "--disable-gpu",
        ]);
        command.args(["--disable-dev-shm-usage", "--no-first-run", "--disable-extensions"]);
        command.args([
            "--disable-background-networking",
            "--disable-component-update",
            "--hide-scrollbars",
        ]);
        command.arg("--window-size=1280,900");
        command.arg(format!("--user-data-dir={}", profile.path().display())).arg("about:blank");
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let (send, receive) =
            (child.stdin.take().unwrap(), BufReader::new(child.stdout.take().unwrap()));
        let pipe = RefCell::new(Pipe { send, receive, n_sent: 0, events: Vec::new() });
        let mut browser = Self { child, pipe, session: String::new(), _profile: profile };
        let target = browser.call("Target.createTarget", json!({ "url": "about:blank" }));
        let attached = browser.call(
            "Target.attachToTarget",
            json!({ "targetId": target["targetId"], "flatten": true }),
        );
        browser.session = attached["sessionId"].as_str().unwrap().to_owned();
        for domain in ["Page", "Runtime", "Network", "Log"] {
            browser.call(&format!("{domain}.enable"), json!({}));
        }
        Some(browser)
    }

    /// Sends a command and waits for its answer.
    pub(crate) fn call(&self, method: &str, params: Value) -> Value {
        let mut pipe = self.pipe.borrow_mut();
        pipe.n_sent += 1;
        let id = pipe.n_sent;
        let mut message = json!({ "id": id, "method": method, "params": params });
        if !self.session.is_empty() && !method.starts_with("Target.") {
            message["sessionId"] = json!(self.session);
        }
        write!(pipe.send, "{message}\0").unwrap();
        pipe.send.flush().unwrap();
        loop {
            let mut bytes = Vec::new();
            let n = pipe.receive.read_until(0, &mut bytes).unwrap();
            assert!(n > 0, "{method}: the browser is gone");
            let answer: Value = serde_json::from_slice(&bytes[..n - 1]).unwrap();
            if answer["id"] == json!(id) {
                assert!(answer["error"].is_null(), "{method}: {}", answer["error"]);
                return answer["result"].clone();
            }
            pipe.events.push(answer);
        }
    }

    /// Opens an address, and waits until the page and its pictures are there.
    pub(crate) fn open(&self, url: &str) {
        self.call("Page.navigate", json!({ "url": url }));
        self.arrived();
    }

    /// Waits for a page.
    pub(crate) fn arrived(&self) {
        self.wait("document.readyState === 'complete' && location.protocol === 'http:'");
    }

    /// What an expression is, once it has come about.
    pub(crate) fn eval(&self, expression: &str) -> Value {
        let params =
            json!({ "expression": expression, "returnByValue": true, "awaitPromise": true });
        let answer = self.call("Runtime.evaluate", params);
        assert!(
            answer["exceptionDetails"].is_null(),
            "{expression}: {}",
            answer["exceptionDetails"]
        );
        answer["result"]["value"].clone()
    }

    /// Waits until an expression is true.
    pub(crate) fn wait(&self, expression: &str) {
        let clock = Instant::now();
        let params =
            json!({ "expression": format!("Boolean({expression})"), "returnByValue": true });
        // Between two pages there is nothing to ask.
        while self.call("Runtime.evaluate", params.clone())["result"]["value"] != json!(true) {
            assert!(
                clock.elapsed() < PATIENCE,
                "waited for {expression}; there is {}",
                self.eval("document.body.innerText")
            );
            std::thread::yield_now();
        }
    }

    /// Presses a key: its name, and the text that it types if it types any.
    pub(crate) fn press(&self, key: &str) {
        let code = match key {
            "Enter" => 13,
            "Tab" => 9,
            "Escape" => 27,
            "ArrowLeft" => 37,
            "ArrowUp" => 38,
            "ArrowRight" => 39,
            "ArrowDown" => 40,
            _ => 0,
        };
        let text = match key {
            "Enter" => "\r",
            key if key.chars().count() == 1 => key,
            _ => "",
        };
        let mut down = json!({ "type": "keyDown", "key": key, "windowsVirtualKeyCode": code });
        if !text.is_empty() {
            down["text"] = json!(text);
        }
        self.call("Input.dispatchKeyEvent", down);
        self.call(
            "Input.dispatchKeyEvent",
            json!({ "type": "keyUp", "key": key, "windowsVirtualKeyCode": code }),
        );
    }

    /// The window's width.
    pub(crate) fn resize(&self, width: u32) {
        let params =
            json!({ "width": width, "height": 900, "deviceScaleFactor": 1, "mobile": false });
        self.call("Emulation.setDeviceMetricsOverride", params);
    }

    /// Colours for the dark, or for the light.
    pub(crate) fn prefer(&self, scheme: &str) {
        let feature = json!([{ "name": "prefers-color-scheme", "value": scheme }]);
        self.call("Emulation.setEmulatedMedia", json!({ "features": feature }));
    }

    /// What the browser said of itself under `method`, from the beginning.
    pub(crate) fn events(&self, method: &str) -> Vec<Value> {
        // Whatever it has not said yet comes before this answer.
        self.eval("0");
        let pipe = self.pipe.borrow();
        let of_method = pipe.events.iter().filter(|event| event["method"] == json!(method));
        of_method.map(|event| event["params"].clone()).collect()
    }
}

impl Drop for Chromium {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
