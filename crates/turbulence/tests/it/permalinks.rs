//! Addresses of an old site, through all of the system.

use mongodb::bson::{DateTime, doc};

use crate::support::Site;

#[tokio::test]
async fn a_permalink_is_reachable_through_the_gateway() {
    let site = Site::new().await;
    let slugs = [
        "2015/02/hello-world",
        "/leading/",
        "CamelCase",
        "100%",
        "a%2Fb",
        "back\\slash",
        "Größe?#",
    ];
    let stories = slugs.map(|slug| {
        doc! {
            "title": "T", "content": "<p>x</p>", "slug": slug, "is_published": true,
            "createdDate": DateTime::from_millis(1_400_000_000_000),
        }
    });
    site.database.insert("stories", stories).await;
    let turbulence = site.up(&[]);
    let summary = turbulence.ready().await;
    let linked = async || summary.get("/stories?section=blog").await.1["total"] == slugs.len();
    test_support::eventually("the stories are linked", linked).await;
    for slug in slugs {
        let encoded: String = slug.bytes().map(|byte| format!("%{byte:02X}")).collect();
        let (status, item) = summary.get(&format!("/stories/slug/{encoded}")).await;
        assert_eq!((status.as_u16(), &item["slug"]), (200, &slug.into()), "{item}");
        let path = format!("/resolve?path=%2Fblog%2F{encoded}");
        let (status, answer) = summary.get(&path).await;
        assert_eq!((status.as_u16(), &answer["content"]), (200, &item), "{answer}");
    }
    let plain = summary.get("/resolve?path=/blog/2015/02/hello-world").await.1;
    assert_eq!(plain["canonical_path"], "/blog/2015/02/hello-world");
    assert_eq!(plain["content"]["slug"], "2015/02/hello-world");
    for refused in
        ["/stories/slug/..%2F..%2Finternal", "/stories/slug/a%2F%2E%2E", "/stories%2Fslug/a"]
    {
        // Sent unchanged, since the client would normalise it.
        let answer = raw(&summary.address, refused).await;
        assert!(answer.starts_with("HTTP/1.1 400 "), "{refused}: {answer}");
        assert!(answer.contains("invalid_path"), "{answer}");
    }
    turbulence.stop().await;
}

/// Returns the response to a path, byte for byte.
async fn raw(address: &str, path: &str) -> String {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let host = address.strip_prefix("http://").unwrap();
    let mut stream = tokio::net::TcpStream::connect(host).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}
