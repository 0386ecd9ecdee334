//! Support for the tests of media-service: the service with a folder, forms, and files of each format.

use std::{fs, io::Cursor, path::PathBuf};

use image::{DynamicImage, ImageFormat, RgbImage};
use serde_json::Value;
use tempfile::TempDir;
use test_support::{Answer, Service, TOKEN, TestDatabase, settings};

/// A running service with its folder.
pub(crate) struct Site {
    pub(crate) database: TestDatabase,
    pub(crate) service: Service,
    pub(crate) api: test_support::Api,
    pub(crate) client: reqwest::Client,
    folder: TempDir,
}

/// A file of a form: the name of its field, its own name, and its content.
pub(crate) type File<'a> = (&'a str, &'a str, &'a [u8]);

const BOUNDARY: &str = "----WebKitFormBoundary7MA4YWxkTrZu0gW";

/// The content type of [`form`].
pub(crate) const FORM: &str = "multipart/form-data; boundary=----WebKitFormBoundary7MA4YWxkTrZu0gW";

impl Site {
    pub(crate) async fn new() -> Self {
        Self::with(&[]).await
    }

    pub(crate) async fn with(others: &[(&str, &str)]) -> Self {
        Self::on(TestDatabase::new().await, others).await
    }

    /// Starts the service on this database.
    pub(crate) async fn on(database: TestDatabase, others: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = folder.path().join("media").display().to_string();
        let others = [others, &[("media.store", &*store)]].concat();
        let service = Service::media(&settings(&database, &others)).await;
        service.migrated().await;
        let api = test_support::Api::new(&*service.url);
        Self {
            database,
            service,
            api,
            client: service_kit::web::http_client::service_client(std::time::Duration::from_secs(
                60,
            ))
            .unwrap(),
            folder,
        }
    }

    /// Uploads files.
    pub(crate) async fn upload(&self, files: &[File<'_>]) -> Answer {
        self.send(FORM, form(files), Some(TOKEN)).await
    }

    /// Sends a body to `/uploads`.
    pub(crate) async fn send(
        &self,
        content_type: &str,
        body: Vec<u8>,
        token: Option<&str>,
    ) -> Answer {
        let request = self.client.post(format!("{}/uploads", self.service.url));
        let mut request = request.header("content-type", content_type).body(body);
        if let Some(token) = token {
            request = request.bearer_auth(token);
        }
        let response = request.send().await.unwrap();
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        Answer { status, headers, body: response.json().await.unwrap_or(Value::Null) }
    }

    /// Uploads one file, and returns its address.
    pub(crate) async fn address(&self, name: &str, content: &[u8]) -> String {
        let answer = self.upload(&[("files", name, content)]).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.body["urls"][0].as_str().unwrap().to_owned()
    }

    /// Requests a path with these headers.
    pub(crate) async fn get(&self, path: &str, headers: &[(&str, &str)]) -> reqwest::Response {
        let mut request = self.client.get(format!("{}{path}", self.service.url));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.send().await.unwrap()
    }

    /// Returns the names of the stored files, those that are being written included.
    pub(crate) fn stored(&self) -> Vec<String> {
        let entries = fs::read_dir(self.folder()).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }

    pub(crate) fn folder(&self) -> PathBuf {
        self.folder.path().join("media")
    }

    /// Returns the number of documents.
    pub(crate) async fn documents(&self) -> u64 {
        let collection = self.database.database().collection::<mongodb::bson::Document>("media");
        collection.count_documents(mongodb::bson::doc! {}).await.unwrap()
    }

    /// Asserts that nothing is stored.
    pub(crate) async fn is_empty(&self, why: &str) {
        assert_eq!(self.stored(), [""; 0], "{why}");
        assert_eq!(self.documents().await, 0, "{why}");
    }
}

/// Returns a form with files, as browsers send it.
pub(crate) fn form(files: &[File<'_>]) -> Vec<u8> {
    let mut body = Vec::new();
    for (field, name, content) in files {
        let head = format!(
            "--{BOUNDARY}\r\ncontent-disposition: form-data; name=\"{field}\"; \
             filename=\"{name}\"\r\ncontent-type: application/octet-stream\r\n\r\n"
        );
        body.extend(head.bytes());
        body.extend(*content);
        body.extend(b"\r\n");
    }
    body.extend(format!("--{BOUNDARY}--\r\n").bytes());
    body
}

/// Returns a picture of one colour.
pub(crate) fn picture(format: ImageFormat, width: u32, height: u32) -> Vec<u8> {
    let picture = RgbImage::from_pixel(width, height, image::Rgb([200, 30, 30]));
    let mut file = Cursor::new(Vec::new());
    DynamicImage::from(picture).write_to(&mut file, format).unwrap();
    file.into_inner()
}

/// Returns a box of an MP4 file.
fn boxed(kind: &[u8; 4], content: &[u8]) -> Vec<u8> {
    let size = u32::try_from(content.len() + 8).unwrap().to_be_bytes();
    [&size, &kind[..], content].concat()
}

/// Returns a file that begins as a video does, with this number of bytes of data.
pub(crate) fn video(brand: &[u8; 4], bytes: usize) -> Vec<u8> {
    let data: Vec<u8> = (0..=255).cycle().take(bytes).collect();
    let head = [&brand[..], &[0, 0, 2, 0], b"isommp42"].concat();
    [boxed(b"ftyp", &head), boxed(b"mdat", &data)].concat()
}
