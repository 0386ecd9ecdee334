//! nginx in the place of the gateway, with what the gateway does: a log in JSON, a limit of requests,
//! and an id of each request.

use std::{
    fs,
    net::TcpListener,
    process::{Child, Command, Stdio},
};

use crate::connection::Connection;

/// Answers that are kept for the time of a measurement.
const CACHE: &str =
    "proxy_ignore_headers Cache-Control; proxy_cache answers; proxy_cache_valid 200 10m;";

/// nginx before a server, ended with this value.
pub(super) struct Nginx {
    process: Child,
    pub(super) address: String,
    _directory: tempfile::TempDir,
}

impl Nginx {
    /// Starts it before a server, with or without `proxy_cache`. Returns `None` if it is not installed.
    pub(super) fn start(server: &str, is_caching: bool) -> Option<Self> {
        let directory = tempfile::tempdir().unwrap();
        let folder = directory.path().display();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let cache = if is_caching { CACHE } else { "" };
        let server = server.trim_start_matches("http://");
        let configuration = format!(
            r#"daemon off; worker_processes auto; pid {folder}/pid; error_log /dev/null;
events {{ worker_connections 1024; }}
http {{
  log_format json escape=json '{{"time":"$time_iso8601","id":"$request_id","client":"$remote_addr","method":"$request_method","path":"$uri","status":$status,"duration":$request_time}}';
  access_log /dev/null json;
  limit_req_zone $binary_remote_addr zone=one:10m rate=1000000r/s;
  proxy_cache_path {folder}/cache keys_zone=answers:64m;
  proxy_temp_path {folder}/proxy; client_body_temp_path {folder}/body;
  fastcgi_temp_path {folder}/f; uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
  upstream behind {{ server {server}; keepalive 32; keepalive_requests 100000000; }}
  server {{
    listen 127.0.0.1:{port} backlog=1024; keepalive_requests 100000000;
    location / {{
      limit_req zone=one burst=1000000 nodelay;
      proxy_pass http://behind; proxy_http_version 1.1; proxy_set_header Connection "";
      proxy_set_header X-Request-Id $request_id; add_header X-Request-Id $request_id;
      {cache}
    }}
  }}
}}"#
        );
        let path = directory.path().join("nginx.conf");
        fs::write(&path, configuration).unwrap();
        // Its workers, too, may write into this folder.
        Command::new("chmod").args(["-R", "a+rwX"]).arg(directory.path()).status().unwrap();
        let started = Command::new("nginx").arg("-c").arg(&path).stderr(Stdio::null()).spawn();
        let process = started.inspect_err(|_| eprintln!("nginx is not installed")).ok()?;
        let address = format!("http://127.0.0.1:{port}");
        Connection::await_server(&address);
        Some(Self { process, address, _directory: directory })
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        let _ = Command::new("kill").args(["-QUIT", &self.process.id().to_string()]).status();
        let _ = self.process.wait();
    }
}
