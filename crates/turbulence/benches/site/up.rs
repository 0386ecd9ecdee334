//! The program as it is.

use std::{
    io::{BufRead, BufReader},
    process::{Child, Command, Stdio},
};

/// `turbulence up`, ended with this value.
pub(crate) struct Up {
    pub(crate) child: Child,
    pub(crate) address: String,
    output: std::sync::Mutex<BufReader<std::process::ChildStdout>>,
    _data_dir: tempfile::TempDir,
}

impl Up {
    pub(crate) fn start(uri: &str, database: &str, arguments: &[&str]) -> Self {
        Self::start_with(uri, database, arguments, &[("RUST_LOG", "off")])
    }

    /// Like [`Self::start`], with these environment variables. A log that they turn on is discarded.
    pub(crate) fn start_with(
        uri: &str,
        database: &str,
        arguments: &[&str],
        environment: &[(&str, &str)],
    ) -> Self {
        let data_dir = tempfile::tempdir().unwrap();
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let mut child = Command::new(env!("CARGO_BIN_EXE_turbulence"))
            .args(["up", "--mongodb-uri", uri, "--database", database, "--create"])
            .args(["--port", &port.to_string()])
            .arg("--data-dir")
            .arg(data_dir.path())
            .args(arguments)
            .env("TURBULENCE__RATE_LIMIT__REQUESTS_PER_SECOND", "0")
            .envs(environment.iter().copied())
            .stdout(Stdio::piped())
            .stderr(if environment.contains(&("RUST_LOG", "off")) {
                Stdio::inherit()
            } else {
                Stdio::null()
            })
            .spawn()
            .unwrap();
        let output = std::sync::Mutex::new(BufReader::new(child.stdout.take().unwrap()));
        Self { child, address: format!("http://127.0.0.1:{port}"), output, _data_dir: data_dir }
    }

    pub(crate) fn wait_until_ready(&self) {
        let mut output = self.output.lock().unwrap();
        let mut line = String::new();
        while !line.contains("Ctrl-C") {
            line.clear();
            assert!(output.read_line(&mut line).unwrap() > 0, "the process ended");
        }
    }
}

impl Drop for Up {
    fn drop(&mut self) {
        let pid = self.child.id().to_string();
        let _ = Command::new("kill").args(["-TERM", &pid]).status();
        let _ = self.child.wait();
    }
}
