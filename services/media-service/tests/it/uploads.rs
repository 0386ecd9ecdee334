//! Uploading, and what is refused.

use image::ImageFormat;
use mongodb::bson::{DateTime, Document, doc, oid::ObjectId};
use serde_json::{Value, json};
use test_support::{TOKEN, eventually};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::support::{FORM, File, Site, form, picture, video};

/// A description, the files, and the expected status, code and words.
type Case<'a> = (&'a str, Vec<File<'a>>, u16, &'a str, &'a [&'a str]);

/// The limits of the settings, in bytes.
const PICTURE_BYTES: usize = 5 * 1024 * 1024;
const VIDEO_BYTES: usize = 100 * 1024 * 1024;

#[tokio::test]
async fn an_upload_is_answered_as_existing_frontends_expect() {
    let site = Site::new().await;
    let answer = site
        .upload(&[
            ("files", "Holiday.JPG", &picture(ImageFormat::Jpeg, 1500, 1000)),
            ("files", "clip.mp4", &video(b"isom", 70_000)),
            ("files", "small.png", &picture(ImageFormat::Png, 600, 30)),
        ])
        .await;
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(answer.header("content-type"), "application/json");
    let names: Vec<_> = (0..3)
        .map(|at| answer.body["urls"][at].as_str().unwrap().rsplit_once('.').unwrap().0.to_owned())
        .collect();
    let [large, clip, small] = names.as_slice() else { panic!("{answer:?}") };
    assert_eq!(
        answer.body,
        json!({
            "urls": [format!("{large}.webp"), format!("{clip}.mp4"), format!("{small}.webp")],
            "srcsets": [
                format!("{large}.webp 1200w, {large}_750.webp 750w, {large}_500.webp 500w"),
                "",
                format!("{small}.webp 600w, {small}_500.webp 500w"),
            ],
            "dimensions": [
                { "width": 1200, "height": 800 },
                { "width": null, "height": null },
                { "width": 600, "height": 30 },
            ],
        })
    );
    for name in &names {
        let digits = name.strip_prefix("/uploads/").unwrap();
        assert_eq!(digits.len(), "20241201_123456_abc12345".len(), "{name}");
    }
    assert_eq!(site.stored().len(), 6, "{:?}", site.stored());
    assert_eq!(site.documents().await, 3);
    for address in answer.body["srcsets"].as_array().unwrap() {
        for address in address.as_str().unwrap().split(", ").filter(|text| !text.is_empty()) {
            let (address, width) = address.split_once(' ').unwrap();
            let file = site.get(address, &[]).await.bytes().await.unwrap();
            let shown = image::load_from_memory_with_format(&file, ImageFormat::WebP).unwrap();
            assert_eq!(format!("{}w", shown.width()), width);
        }
    }
}

#[tokio::test]
async fn each_invalid_upload_has_its_status_and_detail_and_leaves_nothing() {
    let site = Site::new().await;
    let jpeg = picture(ImageFormat::Jpeg, 40, 40);
    let (png, half) = (picture(ImageFormat::Png, 40, 40), &jpeg[..jpeg.len() / 2]);
    let mut bomb = png.clone();
    for at in [16, 20] {
        bomb[at..at + 4].copy_from_slice(&60_000_u32.to_be_bytes());
    }
    let checksum = crc32(&bomb[12..29]);
    bomb[29..33].copy_from_slice(&checksum.to_be_bytes());
    let mut large = jpeg.clone();
    large.resize(PICTURE_BYTES + 1, 0);
    let svg = b"<svg xmlns=\"http://www.w3.org/2000/svg\"><script>alert(1)</script></svg>";
    let many = vec![("files", "a.png", &*png); 21];
    let cases: Vec<Case<'_>> = vec![
        ("no file", vec![], 422, "validation_failed", &["`files`", "is missing"]),
        (
            "another field",
            vec![("file", "a.png", &png)],
            422,
            "validation_failed",
            &["`file`", "`files`"],
        ),
        (
            "an empty file",
            vec![("files", "a.png", b"")],
            422,
            "validation_failed",
            &["`a.png`", "empty"],
        ),
        ("too many", many, 422, "validation_failed", &["at most 20 files"]),
        (
            "text",
            vec![("files", "a.png", b"hello")],
            415,
            "unsupported_media_type",
            &["`a.png`", "JPEG", "WebM"],
        ),
        ("SVG", vec![("files", "a.svg", svg)], 415, "unsupported_media_type", &["`a.svg`", "PNG"]),
        (
            "HTML",
            vec![("files", "a.jpg", b"<!doctype html><script>")],
            415,
            "unsupported_media_type",
            &["`a.jpg`"],
        ),
        (
            "a large picture",
            vec![("files", "a.jpg", &large)],
            413,
            "payload_too_large",
            &["`a.jpg`", "5242881 bytes", "at most 5242880 bytes"],
        ),
        (
            "a bomb",
            vec![("files", "a.png", &bomb)],
            413,
            "payload_too_large",
            &["60000 × 60000", "24000000"],
        ),
        (
            "half a picture",
            vec![("files", "a.jpg", half)],
            422,
            "validation_failed",
            &["`a.jpg`", "not complete or is damaged"],
        ),
        (
            "a bad file after good ones",
            vec![
                ("files", "a.jpg", &jpeg),
                ("files", "v.mp4", b"\0\0\0\x10ftypisom\0\0\0\0"),
                ("files", "\u{9b}31m.png", b"?"),
            ],
            415,
            "unsupported_media_type",
            &["\\u{9b}"],
        ),
    ];
    for (what, files, status, code, words) in cases {
        let answer = site.upload(&files).await;
        assert_eq!(answer.code(), (status, code), "{what}: {answer:?}");
        let detail = answer.body["detail"].as_str().unwrap();
        assert!(words.iter().all(|word| detail.contains(word)), "{what}: {detail}");
        site.is_empty(what).await;
    }
}

#[tokio::test]
async fn a_body_that_is_no_whole_form_is_refused() {
    let site = Site::new().await;
    let whole = form(&[("files", "a.png", &picture(ImageFormat::Png, 9, 9))]);
    for (what, content_type, body, token, expected) in [
        ("no token", FORM, whole.clone(), None, (401, "unauthorized")),
        ("a wrong token", FORM, whole.clone(), Some("wrong"), (401, "unauthorized")),
        ("JSON", "application/json", b"{}".to_vec(), Some(TOKEN), (415, "unsupported_media_type")),
        ("no boundary", "multipart/form-data", whole.clone(), Some(TOKEN), (400, "bad_request")),
        (
            "another boundary",
            "multipart/form-data; boundary=x",
            whole.clone(),
            Some(TOKEN),
            (400, "bad_request"),
        ),
        (
            "half a form",
            FORM,
            whole[..whole.len() - 40].to_vec(),
            Some(TOKEN),
            (400, "bad_request"),
        ),
        ("half a head", FORM, whole[..60].to_vec(), Some(TOKEN), (400, "bad_request")),
        ("nothing", FORM, Vec::new(), Some(TOKEN), (400, "bad_request")),
    ] {
        let answer = site.send(content_type, body, token).await;
        assert_eq!(answer.code(), expected, "{what}: {answer:?}");
        assert!(answer.body["detail"].is_string(), "{what}");
        site.is_empty(what).await;
    }
}

#[tokio::test]
async fn a_video_is_limited_while_it_arrives() {
    let site = Site::new().await;
    let large = video(b"qt  ", VIDEO_BYTES);
    let answer = site.upload(&[("files", "large.mov", &large)]).await;
    assert_eq!(answer.code(), (413, "payload_too_large"), "{answer:?}");
    let detail = answer.body["detail"].as_str().unwrap();
    let size = format!("{} bytes: at most {VIDEO_BYTES} bytes", large.len());
    assert!(detail.contains(&size), "{detail}");
    site.is_empty("a large video").await;
}

#[tokio::test]
async fn a_client_that_breaks_off_leaves_nothing() {
    let site = Site::new().await;
    for content in [picture(ImageFormat::Png, 300, 300), video(b"mp42", 3_000_000)] {
        let body = form(&[
            ("files", "first.png", &picture(ImageFormat::Png, 20, 20)),
            ("files", "x", &content),
        ]);
        let address = site.service.url.strip_prefix("http://").unwrap();
        let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
        let head = format!(
            "POST /uploads HTTP/1.1\r\nhost: h\r\nauthorization: Bearer {TOKEN}\r\ncontent-type: \
             {FORM}\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        stream.write_all(&body[..body.len() - 60]).await.unwrap();
        eventually("the first file is stored", async || site.documents().await > 0).await;
        drop(stream);
        eventually("nothing is left", async || {
            site.documents().await == 0 && site.stored().is_empty()
        })
        .await;
    }
}

#[tokio::test]
async fn files_that_may_be_published_stay_after_an_error() {
    let site = Site::new().await;
    let (first, last) = (video(b"mp42", 1_000), video(b"mp42", 100_000));
    let body = form(&[("files", "first.mp4", &first), ("files", "last.mp4", &last)]);
    let address = site.service.url.strip_prefix("http://").unwrap();
    let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
    let head = format!(
        "POST /uploads HTTP/1.1\r\nhost: h\r\nauthorization: Bearer {TOKEN}\r\nconnection: \
         close\r\ncontent-type: {FORM}\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    let (begin, rest) = body.split_at(body.len() - 60);
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(begin).await.unwrap();
    eventually("the last file has begun", async || site.documents().await == 2).await;
    // As a publication leaves it whose answer was lost.
    let collection = site.database.database().collection::<Document>("media");
    let published = doc! { "$unset": { "is_pending": "" } };
    collection.update_many(doc! {}, published).await.unwrap();
    stream.write_all(rest).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 500"), "{answer}");
    assert_eq!((site.documents().await, site.stored().len()), (2, 2));
}

#[tokio::test]
async fn what_an_interrupted_upload_left_is_removed_a_day_later() {
    let site = Site::new().await;
    let collection = site.database.database().collection::<Document>("media");
    for (name, hours) in
        [("20240101_000000_aaaaaaaa.mp4", 25), ("20240101_000000_bbbbbbbb.mp4", 23)]
    {
        let date = DateTime::from_millis(DateTime::now().timestamp_millis() - hours * 3_600_000);
        let left = doc! {
            "_id": ObjectId::new(), "name": name, "media_type": "video/mp4", "bytes": 0_i64,
            "is_pending": true, "createdDate": date, "updatedDate": date,
        };
        collection.insert_one(left).await.unwrap();
        std::fs::write(site.folder().join(format!("{name}#1")), "half").unwrap();
    }
    site.address("a.png", &picture(ImageFormat::Png, 9, 9)).await;
    let stored = site.stored();
    assert!(!stored.iter().any(|name| name.contains("aaaaaaaa")), "{stored:?}");
    assert!(stored.iter().any(|name| name.contains("bbbbbbbb")), "{stored:?}");
    assert_eq!(site.documents().await, 2);
}

#[tokio::test]
async fn a_hundred_uploads_at_once_are_stored() {
    let site = Site::new().await;
    // Small, since the tests of others run beside it.
    let file = picture(ImageFormat::Jpeg, 760, 60);
    let files: [File<'_>; 1] = [("files", "a.jpg", &file)];
    let answers = futures_util::future::join_all((0..100).map(|_| site.upload(&files))).await;
    let mut addresses: Vec<Value> = Vec::new();
    for answer in answers {
        assert_eq!(answer.status, 200, "{answer:?}");
        addresses.push(answer.body["urls"][0].clone());
    }
    addresses.sort_by_key(ToString::to_string);
    addresses.dedup();
    assert_eq!((addresses.len(), site.stored().len()), (100, 300));
}

#[tokio::test]
async fn the_limits_are_settings() {
    let site = Site::with(&[
        ("media.max_picture_bytes", "3000"),
        ("media.max_video_bytes", "4000"),
        ("media.max_pixels", "10000"),
    ])
    .await;
    site.address("fits.png", &picture(ImageFormat::Png, 100, 100)).await;
    site.address("fits.mp4", &video(b"isom", 3_000)).await;
    for (file, word) in [
        (picture(ImageFormat::Png, 101, 100), "101 × 100"),
        (video(b"isom", 4_000), "at most 4000 bytes"),
        ([picture(ImageFormat::Jpeg, 9, 9), vec![0; 3_000]].concat(), "at most 3000 bytes"),
    ] {
        let answer = site.upload(&[("files", "x", &file)]).await;
        assert_eq!(answer.status, 413, "{answer:?}");
        assert!(answer.body["detail"].as_str().unwrap().contains(word), "{answer:?}");
    }
}

/// Returns the checksum of a chunk of PNG (ISO 3309).
fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |state, byte| {
        (0..8).fold(state ^ u32::from(*byte), |state, _| {
            if state & 1 == 1 { state >> 1 ^ 0xedb8_8320 } else { state >> 1 }
        })
    })
}
