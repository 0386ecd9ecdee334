//! Pictures and videos through the gateway, from a form to a page and back.

use std::time::Duration;

use reqwest::{Client, StatusCode};
use serde_json::{Value, json};
use service_kit::web::http_client::service_client;
use test_support::{Api, eventually};
use tokio::io::AsyncWriteExt;

use crate::support::{Site, Summary};

const BOUNDARY: &str = "----WebKitFormBoundary7MA4YWxkTrZu0gW";

/// A picture of 3 × 2 pixels, as a telephone makes them: lying on its side (Exif orientation 6), with the
/// place where it was taken.
pub(crate) fn photograph() -> Vec<u8> {
    include_bytes!("media/photograph.jpg").to_vec()
}

/// Returns a file that begins as a video does.
pub(crate) fn video(bytes: usize) -> Vec<u8> {
    let data: Vec<u8> = (0..=255).cycle().take(bytes).collect();
    let size = u32::try_from(bytes + 8).unwrap().to_be_bytes();
    let head = b"\0\0\0\x18ftypisom\0\0\x02\0isommp42";
    [&head[..], &size, b"mdat", &data].concat()
}

/// Returns a form as browsers send it.
fn form(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut body = Vec::new();
    for (name, content) in files {
        let head = format!(
            "--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"files\"; \
             filename=\"{name}\"\r\nContent-Type: application/octet-stream\r\n\r\n"
        );
        body.extend(head.bytes());
        body.extend(*content);
        body.extend(b"\r\n");
    }
    body.extend(format!("--{BOUNDARY}--\r\n").bytes());
    body
}

fn client() -> Client {
    service_client(Duration::from_secs(60)).unwrap()
}

async fn upload(summary: &Summary, body: Vec<u8>) -> (StatusCode, Value) {
    let request = client().post(format!("{}/uploads", summary.address));
    let request =
        request.header("content-type", format!("multipart/form-data; boundary={BOUNDARY}"));
    let response = request.bearer_auth(&summary.token).body(body).send().await.unwrap();
    (response.status(), response.json().await.unwrap())
}

/// Uploads a picture.
pub(crate) async fn upload_picture(summary: &Summary) -> (StatusCode, Value) {
    upload(summary, form(&[("photograph.jpg", &photograph())])).await
}

async fn bytes(summary: &Summary, path: &str) -> Vec<u8> {
    let response = client().get(format!("{}{path}", summary.address)).send().await.unwrap();
    assert_eq!(response.status(), 200, "{path}");
    response.bytes().await.unwrap().to_vec()
}

#[tokio::test]
async fn a_picture_and_a_video_go_from_a_form_to_a_page_and_back() {
    let site = Site::new().await;
    let turbulence = site.up(&[]);
    let summary = turbulence.ready().await;
    // Larger than any other body that the gateway takes.
    let sent = video(20_000_000);
    let (status, answer) =
        upload(&summary, form(&[("DSC_0001.JPG", &photograph()), ("clip.mp4", &sent)])).await;
    assert_eq!(status, 200, "{answer}");
    let [picture, clip] = [0, 1].map(|at| answer["urls"][at].as_str().unwrap().to_owned());
    assert_eq!(answer["srcsets"], json!([format!("{picture} 2w"), ""]));
    let sizes = json!([{ "width": 2, "height": 3 }, { "width": null, "height": null }]);
    assert_eq!(answer["dimensions"], sizes);

    let content = format!("<p><img src=\"{picture}\" srcset=\"{picture} 2w\" alt=\"x\"></p>");
    let api = Api::new(&summary.address);
    let headers = [("authorization", &*format!("Bearer {}", summary.token))];
    let body = json!({ "title": "With a picture", "content": content }).to_string();
    let story = api.clone().sent_by(None).send("POST", "/stories", &headers, Some(body)).await;
    assert_eq!(story.status, 201, "{story:?}");
    assert!(story.body["content"].as_str().unwrap().contains(&picture), "{story:?}");

    let shown = bytes(&summary, &picture).await;
    assert!(shown.starts_with(b"RIFF") && !shown.windows(5).any(|part| part == b"PLACE"));
    assert!(bytes(&summary, &clip).await == sent);
    let range = client().get(format!("{}{clip}", summary.address));
    let range = range.header("range", "bytes=-1000").send().await.unwrap();
    assert_eq!(range.status(), 206);
    assert!(range.bytes().await.unwrap() == sent[sent.len() - 1000..]);

    // A restart, as after a power failure.
    turbulence.signal("KILL");
    drop(turbulence.ended().await);
    let turbulence = site.up(&[]);
    let summary = turbulence.ready().await;
    assert!(bytes(&summary, &picture).await == shown);
    assert!(bytes(&summary, &clip).await == sent);
    turbulence.stop().await;
}

#[tokio::test]
async fn a_service_that_is_killed_during_an_upload_shows_nothing_of_it() {
    let site = Site::new().await;
    let turbulence = site.up(&[]);
    let summary = turbulence.ready().await;
    let body = form(&[("clip.mp4", &video(3_000_000))]);
    let address = summary.address.strip_prefix("http://").unwrap();
    let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
    let head = format!(
        "POST /uploads HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer {}\r\nContent-Type: \
         multipart/form-data; boundary={BOUNDARY}\r\nContent-Length: {}\r\n\r\n",
        summary.token,
        body.len()
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(&body[..body.len() - 100]).await.unwrap();
    let folder = site.folder.path(".turbulence/media");
    let stored = || -> Vec<String> {
        let entries = std::fs::read_dir(&folder).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    };
    eventually("a part of the file is there", async || !stored().is_empty()).await;
    turbulence.signal("KILL");
    drop(turbulence.ended_within(Duration::from_secs(60)).await);
    let left = stored();
    let [staged] = left.as_slice() else { panic!("{left:?}") };
    let name = staged.strip_suffix("#1").expect("the file is not under its own name");

    let turbulence = site.up(&[]);
    let summary = turbulence.ready().await;
    for path in [format!("/uploads/{name}"), format!("/uploads/{name}%231")] {
        assert_eq!(summary.get(&path).await.0, StatusCode::NOT_FOUND, "{path}");
    }
    turbulence.stop().await;
}
