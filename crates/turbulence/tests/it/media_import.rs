//! `turbulence media import`: the files of a former site get into the store under their names.

use std::{
    collections::BTreeMap,
    fs,
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    sync::{Arc, Mutex},
    thread,
};

use mongodb::bson::{Document, doc};
use serde_json::json;
use test_support::eventually;

use crate::{
    media::{photograph, video},
    support::{Site, Turbulence},
};

/// A picture of one pixel.
const PNG: &[u8] = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\x01\0\0\0\x01\x08\x06\0\0\0\x1f\x15\xc4\x89\0\0\0\x0dIDATx\x9cc\xf8\xcf\xc0\xf0\x1f\0\x05\0\x01\xff\x56\xc7\x2f\x0d\0\0\0\0IEND\xaeB`\x82";

/// The former site has these files. Content refers to all but the last.
fn files() -> BTreeMap<&'static str, Vec<u8>> {
    BTreeMap::from([
        ("20210102_030405_abcd1234.jpg", photograph()),
        ("20210102_030405_abcd1234_750.jpg", photograph()),
        ("2021/12/logo.png", PNG.to_vec()),
        ("clip.mp4", video(3_000_000)),
        ("unused.png", PNG.to_vec()),
    ])
}

/// Creates a site whose content refers to the files, to some that do not exist, and to others.
async fn site() -> Site {
    let site = Site::new().await;
    site.run(&["migrate", "up"]).await.success();
    let content = "<img src=\"/uploads/20210102_030405_abcd1234.jpg\" \
        srcset=\"/uploads/20210102_030405_abcd1234.jpg 1200w, /uploads/20210102_030405_abcd1234_750.jpg 750w\">\
        <a href=\"https://other.example.com/uploads/not-ours.png\">other</a>";
    site.database
        .insert("stories", [
            doc! { "title": "One", "slug": "one", "content": content, "is_published": true },
            doc! { "title": "Draft", "content": "<video src='/uploads/clip.mp4'>", "is_published": false },
            doc! { "title": "Gone", "content": "<img src=/uploads/gone.png>", "deleted": true },
        ])
        .await;
    let project = doc! { "title": "Two", "content": "/uploads/page.png", "image_url": "/uploads/2021/12/logo.png" };
    site.database.insert("projects", [project]).await;
    site
}

async fn documents(site: &Site) -> Vec<Document> {
    use futures_util::TryStreamExt;
    let media = site.database.collection("media");
    let found = media.find(doc! {}).sort(doc! { "name": 1 });
    found.await.unwrap().try_collect().await.unwrap()
}

fn stored(site: &Site, name: &str) -> Option<Vec<u8>> {
    fs::read(site.folder.path(".turbulence/media").join(name)).ok()
}

#[tokio::test]
async fn a_copy_of_the_bucket_is_stored_as_it_is() {
    let site = site().await;
    for (name, content) in files() {
        site.folder.write(&format!("bucket/{name}"), content);
    }
    site.folder.write("bucket/page.png", "<!doctype html><p>an error page</p>");
    site.folder.write("bucket/clip.png", video(100));
    site.folder.write("bucket/a picture.png", PNG);
    site.folder.write("bucket/.DS_Store", "of a file manager");

    let ended = site.run(&["media", "import", "bucket", "--dry-run"]).await;
    assert_eq!(ended.status.code(), Some(6), "{ended:#?}");
    assert!(!site.folder.path(".turbulence/media").exists());
    assert_eq!(documents(&site).await.len(), 0);

    let ended = site.run(&["media", "import", "bucket"]).await;
    assert_eq!(ended.status.code(), Some(6), "{ended:#?}");
    insta::assert_snapshot!(ended.stdout);
    for (name, content) in files() {
        assert!(stored(&site, name) == Some(content), "{name}");
    }
    assert_eq!(stored(&site, "page.png"), None);
    let names = |documents: &[Document]| -> Vec<String> {
        documents.iter().map(|one| one.get_str("name").unwrap().to_owned()).collect()
    };
    let first = documents(&site).await;
    // A smaller width belongs to the whole picture.
    let expected = ["2021/12/logo.png", "20210102_030405_abcd1234.jpg", "clip.mp4", "unused.png"];
    assert_eq!(names(&first), expected);
    assert_eq!(first[1].get_array("smaller_widths").unwrap().len(), 1);
    assert_eq!(["width", "height"].map(|side| first[0].get_i64(side).unwrap()), [1, 1]);

    // Again: nothing is stored and nothing is changed.
    let ended = site.run(&["media", "import", "bucket"]).await;
    assert!(ended.stdout.starts_with("Stored 0 files"), "{ended:#?}");
    assert_eq!(documents(&site).await, first);

    let turbulence = site.up(&[]);
    let summary = turbulence.ready().await;
    let (status, list) = summary.get_as_editor("/media").await;
    assert_eq!((status.as_u16(), &list["total"]), (200, &json!(4)), "{list}");
    let (_, unused) = summary.get_as_editor("/media?unused=true").await;
    assert_eq!(unused["items"].as_array().unwrap().len(), 1, "{unused}");
    let address = &summary.address;
    for (path, content) in [
        ("20210102_030405_abcd1234.jpg?size=750", photograph()),
        // There is no smaller one.
        ("2021/12/logo.png?size=500", PNG.to_vec()),
        ("clip.mp4", video(3_000_000)),
    ] {
        let client =
            service_kit::web::http_client::service_client(std::time::Duration::from_secs(60));
        let answer = client.unwrap().get(format!("{address}/uploads/{path}")).send().await.unwrap();
        assert_eq!(answer.status(), 200, "{path}");
        assert!(answer.bytes().await.unwrap() == content, "{path}");
    }
    turbulence.stop().await;
}

/// The bucket of a former site, which notes the paths that are requested.
struct Bucket {
    address: String,
    requested: Arc<Mutex<Vec<String>>>,
}

impl Bucket {
    /// `answer` writes the answer to a request of a path.
    fn start(answer: impl Fn(&str, &mut TcpStream) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let requested = Arc::<Mutex<Vec<String>>>::default();
        let (answer, noted) = (Arc::new(answer), Arc::clone(&requested));
        thread::spawn(move || {
            for stream in listener.incoming() {
                let (answer, noted) = (Arc::clone(&answer), Arc::clone(&noted));
                thread::spawn(move || {
                    let mut stream = stream.unwrap();
                    let mut head = Vec::new();
                    let mut byte = [0];
                    while !head.ends_with(b"\r\n\r\n")
                        && stream.read(&mut byte).is_ok_and(|read| read > 0)
                    {
                        head.push(byte[0]);
                    }
                    let head = String::from_utf8(head).unwrap();
                    let path = head.split(' ').nth(1).unwrap().to_owned();
                    noted.lock().unwrap().push(path.clone());
                    answer(&path, &mut stream);
                });
            }
        });
        Self { address, requested }
    }

    fn requested(&self) -> Vec<String> {
        let mut all = std::mem::take(&mut *self.requested.lock().unwrap());
        all.sort();
        all
    }
}

/// Writes an answer. Fails if the client has left.
fn send(stream: &mut TcpStream, status: &str, headers: &str, body: &[u8]) {
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n{headers}\r\n",
        body.len()
    );
    let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body));
}

#[tokio::test]
async fn what_content_refers_to_is_fetched_from_a_bucket() {
    let site = site().await;
    // One is there already, one is too large, and one leads in circles.
    site.folder.write(".turbulence/media/2021/12/logo.png", PNG);
    let more = "/uploads/large.mp4 /uploads/circle.png /uploads/error.png /uploads/moved.png";
    site.database.insert("pages", [doc! { "title": "More", "content": more }]).await;
    let bucket = Bucket::start(|path, stream| match path.strip_prefix("/bucket/uploads/") {
        Some("large.mp4") => send(stream, "200 OK", "", &video(1_100_000)),
        Some("circle.png") => {
            send(stream, "302 Found", "Location: /bucket/uploads/circle.png\r\n", b"");
        }
        Some("moved.png") => send(stream, "302 Found", "Location: /elsewhere.png\r\n", b""),
        Some("error.png") => send(stream, "503 Service Unavailable", "", b"later"),
        Some("page.png") => {
            send(stream, "200 OK", "Content-Type: image/png\r\n", b"<!doctype html>");
        }
        Some(name) if files().contains_key(name) && name != "clip.mp4" => {
            send(stream, "200 OK", "", &files()[name]);
        }
        Some("clip.mp4") => send(stream, "200 OK", "", &video(900_000)),
        _ if path == "/elsewhere.png" => send(stream, "200 OK", "", PNG),
        _ => send(stream, "404 Not Found", "", b"none"),
    });
    let url = format!("{}/bucket/uploads/", bucket.address);
    let mut command = site.command(&["media", "import", &url]);
    command.env("TURBULENCE__MEDIA__MAX_VIDEO_BYTES", "1000000");
    command.env("TURBULENCE__MEDIA__MAX_PICTURE_BYTES", "1000000");
    let ended = Turbulence::spawn(command).ended().await;
    assert_eq!(ended.status.code(), Some(6), "{ended:#?}");
    insta::assert_snapshot!(ended.stdout.replace(&bucket.address, "[bucket]"));
    let mut requested = bucket.requested();
    requested.dedup();
    let expected = [
        "20210102_030405_abcd1234.jpg",
        "20210102_030405_abcd1234_750.jpg",
        "circle.png",
        "clip.mp4",
        "error.png",
        "gone.png",
        "large.mp4",
        "moved.png",
        "page.png",
    ];
    let expected = expected.map(|name| format!("/bucket/uploads/{name}"));
    assert_eq!(requested, [&expected[..], &["/elsewhere.png".to_owned()]].concat());
    assert!(stored(&site, "moved.png").as_deref() == Some(PNG));
    assert!(stored(&site, "clip.mp4") == Some(video(900_000)));
    let left = fs::read_dir(site.folder.path(".turbulence/media")).unwrap();
    let staged =
        left.filter(|entry| entry.as_ref().unwrap().file_name().to_string_lossy().contains('#'));
    assert_eq!(staged.count(), 0);
}

#[tokio::test]
async fn an_import_of_media_that_was_killed_is_continued() {
    let site = site().await;
    let bucket = Bucket::start(|path, stream| match path.strip_prefix('/') {
        // Half of it arrives, until the client has left.
        Some("clip.mp4") => {
            let clip = video(3_000_000);
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", clip.len());
            let _ = stream.write_all(head.as_bytes());
            let _ = stream.write_all(&clip[..clip.len() / 2]);
            let _ = stream.read(&mut [0]);
        }
        Some(name) if files().contains_key(name) => send(stream, "200 OK", "", &files()[name]),
        _ => send(stream, "404 Not Found", "", b"none"),
    });
    let import = Turbulence::spawn(site.command(&["media", "import", &bucket.address]));
    eventually("the other files are stored", async || {
        let others = ["20210102_030405_abcd1234.jpg", "2021/12/logo.png"];
        let staged = fs::read(site.folder.path(".turbulence/media/clip.mp4#1"));
        others.iter().all(|name| stored(&site, name).is_some())
            && staged.is_ok_and(|half| !half.is_empty())
    })
    .await;
    import.signal("KILL");
    drop(import.ended().await);
    assert_eq!(stored(&site, "clip.mp4"), None);
    assert_eq!(documents(&site).await.len(), 0);
    drop(bucket.requested());

    for (name, content) in files() {
        site.folder.write(&format!("bucket/{name}"), content);
    }
    let ended = site.run(&["media", "import", "bucket"]).await;
    assert_eq!(ended.status.code(), Some(6), "{ended:#?}");
    assert!(stored(&site, "clip.mp4") == Some(video(3_000_000)));
    assert!(!site.folder.path(".turbulence/media/clip.mp4#1").exists());
    assert_eq!(documents(&site).await.len(), 4);
}

#[tokio::test]
async fn a_source_that_is_none_is_refused() {
    let site = Site::new().await;
    site.folder.write("file.png", PNG);
    for (source, code, words) in [
        ("nowhere", 1, "cannot read nowhere"),
        ("file.png", 2, "is not a folder"),
        ("https://", 2, "is not the address of a folder"),
        ("https://example.com/?a=1", 2, "is not the address of a folder"),
    ] {
        let ended = site.run(&["media", "import", source]).await;
        assert!(ended.failure(code).contains(words), "{source}: {ended:#?}");
    }
}
