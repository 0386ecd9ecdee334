//! A site with a console, and a browser without scripts.

use console_service::Console;
use gateway::Gateway;
use reqwest::{
    Client, Method, Response,
    header::{COOKIE, HeaderMap, LOCATION, SET_COOKIE},
};
use serde_json::Value;
use service_kit::{
    runtime::settings::{Settings, secret::Secret, url::local_url},
    web::http_client::service_client,
};
use std::time::Duration;
use tempfile::TempDir;
use test_support::{Api, Service, TOKEN, TestDatabase, eventually, settings};
use tokio_util::sync::{CancellationToken, DropGuard};

/// The secret that the processes of the tests share.
pub(crate) const SECRET: &str = "a secret of the tests of the console";

/// A site with its console.
pub(crate) struct Site {
    pub(crate) database: TestDatabase,
    /// The API, with the token of the site.
    pub(crate) api: Api,
    /// A code that signs in once.
    pub(crate) code: String,
    /// The settings of the console.
    settings: Settings,
    services: (Service, Service),
    /// The service of pictures and videos, and their folder.
    _media: Option<(Service, TempDir)>,
    _stops_at_the_end: DropGuard,
}

impl Site {
    pub(crate) async fn start() -> Self {
        let database = TestDatabase::new().await;
        Self::on(database).await
    }

    /// Starts a site on a database with data.
    pub(crate) async fn on(database: TestDatabase) -> Self {
        Self::with(database, &[]).await
    }

    /// Starts a site with pictures and videos.
    pub(crate) async fn with_media() -> Self {
        let (database, folder) = (TestDatabase::new().await, tempfile::tempdir().unwrap());
        Self::build(database, &[], Some(folder)).await
    }

    /// Starts a site with these settings of its services.
    pub(crate) async fn with(database: TestDatabase, of_services: &[(&str, &str)]) -> Self {
        Self::build(database, of_services, None).await
    }

    async fn build(
        database: TestDatabase,
        of_services: &[(&str, &str)],
        folder: Option<TempDir>,
    ) -> Self {
        let secret = ("internal.secret", SECRET);
        let of_services = [&[secret], of_services].concat();
        let services = Service::both_with(&database, &of_services).await;
        let media = match &folder {
            Some(folder) => {
                let store = folder.path().join("media").display().to_string();
                let others = [secret, ("media.store", &*store), ("content.url", &services.1.url)];
                let media = Service::media(&settings(&database, &others)).await;
                media.migrated().await;
                Some(media)
            }
            None => None,
        };
        let of_console = settings(&database, &[secret]);
        let console = Console::bind(&of_console).unwrap();
        let console_url = local_url(console.address());
        let mut others = vec![
            secret,
            ("upstreams.sections", &*services.0.url),
            ("upstreams.content", &services.1.url),
            ("upstreams.console", &console_url),
        ];
        others.extend(media.as_ref().map(|media| ("upstreams.media", &*media.url)));
        let gateway = Gateway::bind(&settings(&database, &others)).await.unwrap();
        let url = local_url(gateway.address());
        let token: Secret = TOKEN.parse().unwrap();
        let code = console.sign_in_code(&token);
        let shutdown = CancellationToken::new();
        tokio::spawn(gateway.run(shutdown.clone()));
        tokio::spawn(console.run_beside(url.clone(), shutdown.clone()));
        let api = Api::new(&url);
        let ready = format!("{url}/health/ready");
        eventually("the console is ready", async || {
            let (_, body) = test_support::get(&ready, None).await;
            let check = &body["checks"]["console"];
            body["status"] == "ready" && check["replicas"][0]["status"] == "healthy"
        })
        .await;
        let _stops_at_the_end = shutdown.drop_guard();
        Self {
            database,
            api,
            code,
            settings: of_console,
            services,
            _media: media.zip(folder),
            _stops_at_the_end,
        }
    }

    /// Returns a browser of a person who is signed in.
    pub(crate) async fn signed_in(&self) -> Browser {
        let mut browser = self.browser();
        let page = browser.send("/console/sign-in", &[("token", TOKEN)]).await;
        assert_eq!((page.status, page.location()), (303, "/console"), "{}", page.body);
        browser
    }

    /// Returns a browser.
    pub(crate) fn browser(&self) -> Browser {
        Browser::at(&self.api.url)
    }

    /// Starts a second console, whose gateway cannot be reached. Returns its address.
    pub(crate) fn unreachable_console(&self) -> (String, DropGuard) {
        let console = Console::bind(&self.settings).unwrap();
        let (url, shutdown) = (local_url(console.address()), CancellationToken::new());
        // Nothing listens on this port.
        tokio::spawn(console.run_beside("http://127.0.0.1:9".to_owned(), shutdown.clone()));
        (url, shutdown.drop_guard())
    }

    /// Adds a section, and returns its id.
    pub(crate) async fn section(&self, body: Value) -> String {
        let added = self.api.call("POST", "/sections", body).await;
        assert_eq!(added.status, 201, "{added:?}");
        added.id()
    }

    /// Returns a section.
    pub(crate) async fn stored(&self, id: &str) -> Value {
        self.api.get(&format!("/sections/{id}?include_drafts=true")).await.body
    }

    /// Returns the slugs of the sections below one, in order.
    pub(crate) async fn below(&self, parent: &str) -> Vec<String> {
        let path = format!("/sections?include_drafts=true&parent_id={parent}");
        let all = self.api.get(&path).await.body;
        let all = all.as_array().unwrap().iter();
        all.map(|one| one["slug"].as_str().unwrap().to_owned()).collect()
    }

    /// Stops the services.
    pub(crate) async fn stop_services(self) {
        let (sections, content) = self.services;
        sections.stop().await.unwrap();
        content.stop().await.unwrap();
    }
}

/// A browser without scripts, which keeps the cookie of the console.
#[derive(Clone)]
pub(crate) struct Browser {
    pub(crate) url: String,
    pub(crate) client: Client,
    pub(crate) cookie: Option<String>,
}

/// A page.
pub(crate) struct Page {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: String,
}

impl Browser {
    pub(crate) fn at(url: &str) -> Self {
        let client = service_client(Duration::from_secs(60)).unwrap();
        Self { url: url.to_owned(), client, cookie: None }
    }

    /// Opens an address.
    pub(crate) async fn get(&mut self, path: &str) -> Page {
        self.request(Method::GET, path, &[], None).await
    }

    /// Opens an address with these headers.
    pub(crate) async fn get_with(&mut self, path: &str, headers: &[(&str, &str)]) -> Page {
        self.request(Method::GET, path, headers, None).await
    }

    /// Sends a form without a mark.
    pub(crate) async fn send(&mut self, path: &str, form: &[(&str, &str)]) -> Page {
        self.send_with(path, &[], form).await
    }

    /// Sends a form of these fields and files, as browsers do without scripts. A file is the name of its
    /// field, its own name, and its content.
    pub(crate) async fn send_files(
        &mut self,
        path: &str,
        form: &[(&str, &str)],
        files: &[(&str, &str, &[u8])],
    ) -> Page {
        let boundary = "----WebKitFormBoundary7MA4YWxkTrZu0gW";
        let disposition = "Content-Disposition: form-data; name=";
        let mut body = Vec::new();
        for (name, value) in form {
            let part = format!("--{boundary}\r\n{disposition}\"{name}\"\r\n\r\n{value}\r\n");
            body.extend(part.into_bytes());
        }
        for (name, file, content) in files {
            let head =
                format!("--{boundary}\r\n{disposition}\"{name}\"; filename=\"{file}\"\r\n\r\n");
            body.extend([head.as_bytes(), content, b"\r\n"].concat());
        }
        body.extend(format!("--{boundary}--\r\n").into_bytes());
        let kind = format!("multipart/form-data; boundary={boundary}");
        self.request(Method::POST, path, &[], Some((&kind, body))).await
    }

    /// Sends a form without a mark, with these headers.
    pub(crate) async fn send_with(
        &mut self,
        path: &str,
        headers: &[(&str, &str)],
        form: &[(&str, &str)],
    ) -> Page {
        let body = serde_urlencoded::to_string(form).unwrap().into_bytes();
        let kind = "application/x-www-form-urlencoded";
        self.request(Method::POST, path, headers, Some((kind, body))).await
    }

    /// Opens a page and sends a form of it with these fields in place of those that it has.
    pub(crate) async fn fill(&mut self, page: &str, action: &str, form: &[(&str, &str)]) -> Page {
        let opened = self.get(page).await;
        assert_eq!(opened.status, 200, "{page}: {}", opened.body);
        self.submit(&opened, action, form).await
    }

    /// Sends a form of a page with these fields in place of those that it has.
    pub(crate) async fn submit(
        &mut self,
        page: &Page,
        action: &str,
        form: &[(&str, &str)],
    ) -> Page {
        let mut fields = page.fields(action);
        for (name, value) in form {
            fields.retain(|(one, _)| one != name);
            // An empty box is not sent.
            if !(name.starts_with("is_") && value.is_empty()) {
                fields.push(((*name).to_owned(), (*value).to_owned()));
            }
        }
        let fields: Vec<_> = fields.iter().map(|(one, other)| (&**one, &**other)).collect();
        self.send(action, &fields).await
    }

    async fn request(
        &mut self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<(&str, Vec<u8>)>,
    ) -> Page {
        let mut request = self.client.request(method, format!("{}{path}", self.url));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if let Some(cookie) = &self.cookie {
            request = request.header(COOKIE, cookie);
        }
        if let Some((kind, body)) = body {
            request = request.header("content-type", kind).body(body);
        }
        let response: Response = request.send().await.unwrap();
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        for set in headers.get_all(SET_COOKIE) {
            let pair = set.to_str().unwrap().split(';').next().unwrap();
            self.cookie = (!pair.ends_with('=')).then(|| pair.to_owned());
        }
        let body = response.bytes().await.unwrap();
        Page { status, headers, body: String::from_utf8_lossy(&body).into_owned() }
    }
}

impl Page {
    /// Returns a header, or `""` if it is absent.
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// Returns the address to which the page leads.
    pub(crate) fn location(&self) -> &str {
        self.header(LOCATION.as_str())
    }

    /// Returns the fields of the form that is sent to this action, with their values.
    pub(crate) fn fields(&self, action: &str) -> Vec<(String, String)> {
        let begin = format!("action=\"{action}\"");
        let is_sent = |form: &&str| form.contains(&begin) && form.contains("method=\"post\"");
        let form = self.body.split("<form").find(is_sent);
        let form = form.unwrap_or_else(|| panic!("no form {action}: {}", self.body));
        let form = form.split("</form>").next().unwrap();
        let mut fields = Vec::new();
        let mut choice = String::new();
        for tag in form.split('<').skip(1) {
            let tag_end = tag_end(tag);
            let (tag, text) = (&tag[..tag_end], &tag[tag_end..]);
            let name = attribute(tag, "name").unwrap_or_default();
            let value = attribute(tag, "value").unwrap_or_default();
            let kind = attribute(tag, "type").unwrap_or_default();
            if tag.starts_with("select") {
                choice = name;
            } else if tag.starts_with("option") {
                let is_first = !fields.iter().any(|(one, _)| *one == choice);
                if is_first || tag.contains(" selected") {
                    fields.retain(|(one, _)| *one != choice);
                    fields.push((choice.clone(), value));
                }
            } else if tag.starts_with("textarea") {
                fields.push((name, decode(text[1..].strip_prefix('\n').unwrap_or(&text[1..]))));
            } else if tag.starts_with("input") {
                let is_box = kind == "checkbox" || kind == "radio";
                if !is_box || tag.contains(" checked") {
                    fields.push((name, value));
                }
            }
        }
        fields
    }

    /// Returns the value of a field.
    pub(crate) fn field(&self, action: &str, name: &str) -> String {
        let fields = self.fields(action);
        fields.into_iter().find(|(one, _)| one == name).map(|(_, value)| value).unwrap_or_default()
    }
}

/// Returns the length of a tag without the mark at its end, which a value may have, too.
fn tag_end(tag: &str) -> usize {
    let mut is_quoted = false;
    for (index, c) in tag.char_indices() {
        match c {
            '"' => is_quoted = !is_quoted,
            '>' if !is_quoted => return index,
            _ => {}
        }
    }
    tag.len()
}

fn attribute(tag: &str, name: &str) -> Option<String> {
    let rest = tag.split_once(&format!(" {name}=\""))?.1;
    Some(decode(rest.split('"').next()?))
}

/// Decodes the references that templates write.
pub(crate) fn decode(text: &str) -> String {
    text.replace("&lt;", "<").replace("&gt;", ">").replace("&quot;", "\"").replace("&amp;", "&")
}
