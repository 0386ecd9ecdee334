//! Serving files.

use image::ImageFormat;

use crate::support::{Site, picture, video};

#[tokio::test]
async fn a_file_is_answered_as_it_is_with_its_headers() {
    let site = Site::new().await;
    let sent = video(b"isom", 600_000);
    let path = site.address("clip.mp4", &sent).await;
    let response = site.get(&path, &[]).await;
    assert_eq!(response.status(), 200);
    let header = |name: &str| {
        response.headers().get(name).map_or("", |value| value.to_str().unwrap()).to_owned()
    };
    assert_eq!(header("content-type"), "video/mp4");
    assert_eq!(header("content-length"), sent.len().to_string());
    assert_eq!(header("cache-control"), "public, max-age=31536000, immutable");
    assert_eq!(header("accept-ranges"), "bytes");
    assert_eq!(header("x-content-type-options"), "nosniff");
    assert!(header("content-security-policy").contains("sandbox"));
    assert!(!header("transfer-encoding").contains("chunked"));
    let tag = header("etag");
    assert!(tag.starts_with('"'), "{tag}");
    assert!(response.bytes().await.unwrap() == sent);

    let known = site.get(&path, &[("if-none-match", &tag)]).await;
    assert_eq!((known.status().as_u16(), &*known.text().await.unwrap()), (304, ""));
    let head = site.client.head(format!("{}{path}", site.service.url)).send().await.unwrap();
    assert_eq!(head.headers()["content-length"], sent.len().to_string());
    assert_eq!(head.headers()["etag"], tag);
}

#[tokio::test]
async fn files_larger_than_the_memory_of_all_responses_are_downloaded_at_once() {
    let site = Site::new().await;
    let length = 70 * 1024 * 1024;
    let file = std::fs::File::create(site.folder().join("large.mp4")).unwrap();
    file.set_len(length).unwrap();
    let url = format!("{}/uploads/large.mp4", site.service.url);
    let mut responses = Vec::new();
    for _ in 0..3 {
        let response = site.client.get(&url).send().await.unwrap();
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["content-length"], length.to_string());
        responses.push(response);
    }
    let head = site.client.head(&url).send().await.unwrap();
    assert_eq!(head.status(), 200);
    assert_eq!(head.headers()["content-length"], length.to_string());
    for mut response in responses {
        let mut bytes = 0;
        while let Some(chunk) = response.chunk().await.unwrap() {
            bytes += chunk.len() as u64;
        }
        assert_eq!(bytes, length);
    }
}

#[tokio::test]
async fn parts_of_a_file_are_answered() {
    let site = Site::new().await;
    let sent = video(b"isom", 600_000);
    let path = site.address("clip.mp4", &sent).await;
    let length = sent.len();
    let tag = site.get(&path, &[]).await.headers()["etag"].to_str().unwrap().to_owned();
    for (range, part) in [
        ("bytes=0-0", 0..1),
        ("bytes=1000-299999", 1_000..300_000),
        ("bytes=500000-", 500_000..length),
        ("bytes=-77", length - 77..length),
        ("bytes=0-99999999", 0..length),
    ] {
        for if_range in [None, Some(&*tag)] {
            let mut headers = vec![("range", range)];
            headers.extend(if_range.map(|tag| ("if-range", tag)));
            let response = site.get(&path, &headers).await;
            assert_eq!(response.status(), 206, "{range}");
            let expected = format!("bytes {}-{}/{length}", part.start, part.end - 1);
            assert_eq!(response.headers()["content-range"], expected);
            assert_eq!(response.headers()["content-length"], part.len().to_string());
            assert!(response.bytes().await.unwrap() == sent[part.clone()], "{range}");
        }
    }
    let response = site.get(&path, &[("range", "bytes=9999999-")]).await;
    assert_eq!(response.status(), 416);
    assert_eq!(response.headers()["content-range"], format!("bytes */{length}"));
    assert_eq!(response.headers()["cache-control"], "no-store");
    assert!(!response.headers().contains_key("etag"));
    for range in ["bytes=0-1", "bytes=9999999-"] {
        let head = site.client.head(format!("{}{path}", site.service.url)).header("range", range);
        let response = head.send().await.unwrap();
        assert_eq!(response.status(), 200, "{range}");
        assert_eq!(response.headers()["content-length"], length.to_string());
    }
    for headers in [
        &[("range", "bytes=0-1, 4-5")][..],
        &[("range", "bytes=0-1"), ("if-range", "\"other\"")],
        &[("range", "items=0-1")],
    ] {
        let response = site.get(&path, headers).await;
        assert_eq!(response.status(), 200);
        assert_eq!(response.bytes().await.unwrap().len(), length);
    }
}

#[tokio::test]
async fn a_width_is_that_of_the_picture_or_the_next_larger_one() {
    let site = Site::new().await;
    let large = site.address("a.png", &picture(ImageFormat::Png, 1300, 10)).await;
    let medium = site.address("a.png", &picture(ImageFormat::Png, 600, 10)).await;
    let moving = site.address("a.mp4", &video(b"isom", 10)).await;
    for (path, size, width) in [
        (&large, "", 1200),
        (&large, "?size=1200", 1200),
        (&large, "?size=750", 750),
        (&large, "?size=500", 500),
        (&medium, "?size=1200", 600),
        (&medium, "?size=750", 600),
        (&medium, "?size=500", 500),
    ] {
        let file = site.get(&format!("{path}{size}"), &[]).await.bytes().await.unwrap();
        assert_eq!(image::load_from_memory(&file).unwrap().width(), width, "{path}{size}");
    }
    assert_eq!(site.get(&format!("{moving}?size=500"), &[]).await.status(), 200);
    for query in ["?size=600", "?size=", "?width=500", "?size=500&size=750"] {
        assert_eq!(site.get(&format!("{large}{query}"), &[]).await.status(), 422, "{query}");
    }
}

#[tokio::test]
async fn no_name_leads_out_of_the_folder() {
    let site = Site::new().await;
    std::fs::write(site.folder().parent().unwrap().join("secret.png"), "secret").unwrap();
    std::fs::write(site.folder().join(".hidden.png"), "secret").unwrap();
    std::fs::write(site.folder().join("half.png#1"), "secret").unwrap();
    for path in [
        "/uploads/../secret.png",
        "/uploads/..%2fsecret.png",
        "/uploads/%2e%2e/secret.png",
        "/uploads/%2e%2e%2fsecret.png",
        "/uploads/..%5csecret.png",
        "/uploads/x/../../secret.png",
        "/uploads/.hidden.png",
        "/uploads/half.png%231",
        "/uploads//secret.png",
        "/uploads/",
        "/uploads/%00",
        "/uploads/20241201_123456_abc12345.webp",
    ] {
        let request = format!("GET {path} HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n");
        let answer = raw(&site, &request).await;
        assert!(answer.starts_with("HTTP/1.1 40"), "{path}: {answer}");
        assert!(!answer.contains("secret\r\n") && !answer.ends_with("secret"), "{path}: {answer}");
    }
    // Put there by hand: not shown as a page.
    std::fs::write(site.folder().join("page.html"), "<script>alert(1)</script>").unwrap();
    let response = site.get("/uploads/page.html", &[]).await;
    assert_eq!(response.headers()["content-type"], "application/octet-stream");
    assert_eq!(response.headers()["content-disposition"], "attachment");
}

#[tokio::test]
async fn there_is_no_file_below_a_file() {
    let site = Site::new().await;
    let path = site.address("clip.mp4", &video(b"isom", 10)).await;
    for below in ["x", "x/y.mp4"] {
        assert_eq!(site.get(&format!("{path}/{below}"), &[]).await.status(), 404, "{below}");
    }
    assert_eq!(site.get(&path, &[]).await.status(), 200);
}

#[tokio::test]
async fn other_files_are_at_the_fallback() {
    let site = Site::with(&[("media.fallback_url", "https://old.example/bucket/")]).await;
    let client = site.client.clone();
    for (path, location) in [
        (
            "20150101_000000_abcdefgh.jpg",
            Some("https://old.example/bucket/20150101_000000_abcdefgh.jpg"),
        ),
        (
            "2015/M%C3%BCller%20(1).jpg",
            Some("https://old.example/bucket/2015/M%C3%BCller%20(1).jpg"),
        ),
        ("%2e%2e%2fother/x.jpg", None),
    ] {
        let url = format!("{}/uploads/{path}", site.service.url);
        let response = client.get(url).send().await.unwrap();
        let found = response.headers().get("location").map(|value| value.to_str().unwrap());
        assert_eq!(found, location, "{path}");
        assert_eq!(response.status().as_u16(), if location.is_some() { 302 } else { 404 });
    }
    let path = site.address("a.png", &picture(ImageFormat::Png, 9, 9)).await;
    assert_eq!(site.get(&path, &[]).await.status(), 200);
}

#[tokio::test]
async fn a_store_that_cannot_be_used_ends_the_start() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let store = file.path().join("below").display().to_string();
    let database = test_support::TestDatabase::new().await;
    let settings = test_support::settings(&database, &[("media.store", &store)]);
    let error = media_service::run(settings, tokio_util::sync::CancellationToken::new()).await;
    let text = error.unwrap_err().to_string();
    assert!(text.contains("`media.store`") && text.contains(&store), "{text}");
}

/// Sends exactly these bytes, and returns the answer.
async fn raw(site: &Site, request: &str) -> String {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let address = site.service.url.strip_prefix("http://").unwrap();
    let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    String::from_utf8_lossy(&answer).into_owned()
}
