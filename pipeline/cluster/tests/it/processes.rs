//! The processes of a cluster, which end with the test.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU16, Ordering};
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// The longest that something takes to be as it is expected.
const PATIENCE: Duration = Duration::from_secs(300);

/// A command without what the environment of this process says of settings.
pub(crate) fn command(folder: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tuwen-cluster"));
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("TUWEN_")) {
        command.env_remove(name);
    }
    command.current_dir(folder).args(args);
    command
}

pub(crate) fn tuwen(folder: &Path, args: &[&str]) -> Output {
    command(folder, args).output().unwrap()
}

/// Waits until `is_so`.
pub(crate) fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let patience = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < patience, "{what}: not within {PATIENCE:?}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A process that is killed when it is dropped, and what it said.
pub(crate) struct Process {
    child: Child,
    said: PathBuf,
}

impl Process {
    pub(crate) fn start(mut command: Command, said: PathBuf) -> Self {
        let file = std::fs::File::create(&said).unwrap();
        let child = command.stdout(file.try_clone().unwrap()).stderr(file).spawn().unwrap();
        Self { child, said }
    }

    pub(crate) fn said(&self) -> String {
        std::fs::read_to_string(&self.said).unwrap_or_default()
    }

    /// SIGKILL.
    pub(crate) fn kill(&mut self) {
        // One that has ended is as good as killed.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    pub(crate) fn signal(&self, name: &str) {
        let sent = Command::new("kill").args([name, &self.child.id().to_string()]).status();
        assert!(sent.unwrap().success());
    }

    /// The exit code, once it ends.
    pub(crate) fn code(&mut self) -> Option<i32> {
        let mut code = None;
        until("the end of a process", || {
            code = self.child.try_wait().unwrap();
            code.is_some()
        });
        code.unwrap().code()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A scheduler and executors of one core each.
pub(crate) struct Cluster {
    folder: TempDir,
    pub(crate) address: String,
    pub(crate) scheduler: Process,
    pub(crate) executors: Vec<Process>,
}

impl Cluster {
    /// With `n` executors, whose environment `set` completes.
    pub(crate) fn start(n: usize, set: impl Fn(&mut Command)) -> Self {
        let folder = TempDir::new().unwrap();
        let address = format!("127.0.0.1:{}", free_port());
        let mut scheduler = command(
            folder.path(),
            &["-vv", "scheduler", "--bind", &address, "--executor-timeout", "15"],
        );
        set(&mut scheduler);
        let said = folder.path().join("scheduler.log");
        let scheduler = Process::start(scheduler, said);
        until("the scheduler", || TcpStream::connect(&address).is_ok());
        let mut cluster = Self { folder, address, scheduler, executors: Vec::new() };
        for _ in 0..n {
            let address = cluster.address.clone();
            cluster.add(&address, &set);
        }
        until("the executors", || {
            get(&cluster.address, "/executors").matches("\"vcores\":1").count() == n
        });
        cluster
    }

    /// One more executor, whose scheduler is at `address`.
    pub(crate) fn add(&mut self, address: &str, set: impl Fn(&mut Command)) {
        let port = free_port().to_string();
        let args = ["-vv", "executor", "--scheduler", address, "--vcores", "1", "--port", &port];
        let mut executor = command(self.folder.path(), &args);
        executor.args(["--memory", "1G"]);
        set(&mut executor);
        let said = self.folder.path().join(format!("executor-{}.log", self.executors.len()));
        self.executors.push(Process::start(executor, said));
    }

    /// What all of them said.
    pub(crate) fn said(&self) -> String {
        self.executors.iter().map(Process::said).collect()
    }
}

/// A port that is free, and stays so until it is listened at: another each time, and below those that the system gives of itself.
pub(crate) fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    // Two runs of these tests at once begin elsewhere.
    let first = 21_000 + (std::process::id() % 200) as u16 * 50;
    let mut ports = std::iter::repeat_with(|| first + NEXT.fetch_add(1, Ordering::Relaxed));
    ports.find(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok()).unwrap()
}

/// The body of an answer.
pub(crate) fn get(address: &str, path: &str) -> String {
    let Ok(mut stream) = TcpStream::connect(address) else { return String::new() };
    let head = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    let mut answer = String::new();
    // An answer that breaks off is asked for again.
    let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.read_to_string(&mut answer));
    answer
}

/// A way to `to` that can be closed for a while.
pub(crate) struct Way {
    pub(crate) address: String,
    closed: Arc<AtomicBool>,
}

impl Way {
    pub(crate) fn to(to: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let closed = Arc::new(AtomicBool::new(false));
        let (to, shut) = (to.to_owned(), Arc::clone(&closed));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let Ok(other) = TcpStream::connect(&to) else { continue };
                for (from, to) in [(&stream, &other), (&other, &stream)] {
                    let (from, to) = (from.try_clone().unwrap(), to.try_clone().unwrap());
                    let shut = Arc::clone(&shut);
                    std::thread::spawn(move || carry(from, to, &shut));
                }
            }
        });
        Self { address, closed }
    }

    pub(crate) fn close_for(&self, time: Duration) {
        self.closed.store(true, Ordering::Release);
        std::thread::sleep(time);
        self.closed.store(false, Ordering::Release);
    }
}

/// Carries bytes until one side ends; while the way is shut they wait.
fn carry(mut from: TcpStream, mut to: TcpStream, shut: &AtomicBool) -> Option<()> {
    let mut bytes = vec![0; 64 << 10];
    loop {
        let n = from.read(&mut bytes).ok().filter(|n| *n > 0)?;
        while shut.load(Ordering::Acquire) {
            std::thread::sleep(Duration::from_millis(10));
        }
        to.write_all(&bytes[..n]).ok()?;
    }
}

/// What is run without waiting for its end.
pub(crate) fn begin(folder: &Path, name: &str, args: &[&str]) -> Process {
    let mut command = command(folder, args);
    command.stdin(Stdio::null());
    Process::start(command, folder.join(format!("{name}.log")))
}
