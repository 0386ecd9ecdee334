//! The files of a form, which are passed on to the gateway while they arrive.

use std::io;

use actix_multipart::{Field, Multipart};
use actix_web::{
    HttpRequest,
    rt::spawn,
    web::{Bytes, Payload},
};
use futures_util::{StreamExt, stream};
use reqwest::Body;
use tokio::sync::mpsc::{self, Sender};
use uuid::Uuid;

use crate::form::Form;

/// The longest mark of a form that is read, in bytes: some ten times of what one has.
const MAX_MARK_BYTES: usize = 1_024;

/// The longest name of a file that is passed on, in characters: that of file systems.
const MAX_NAME_CHARACTERS: usize = 255;

/// The chunks that wait for the gateway: each has some kilobytes.
const MAX_WAITING_CHUNKS: usize = 8;

/// A form with files. Its first field is the mark, so that no file is read before that is checked.
pub(crate) struct FileForm {
    /// The fields before the files.
    pub(crate) fields: Form,
    parts: Multipart,
}

impl FileForm {
    /// Reads the mark of a form. Returns `None` if the form does not begin with one.
    pub(crate) async fn begin(request: &HttpRequest, payload: Payload) -> Option<Self> {
        // The library asks for more after the end.
        let mut parts = Multipart::new(request.headers(), payload.fuse());
        let mut first = parts.next().await?.ok()?;
        if first.name() != Some("mark") {
            return None;
        }
        let mut mark = Vec::new();
        while let Some(chunk) = first.next().await {
            mark.extend_from_slice(&chunk.ok()?);
            if mark.len() > MAX_MARK_BYTES {
                return None;
            }
        }
        drop(first);
        let fields = Form::with("mark", &String::from_utf8(mark).ok()?);
        Some(Self { fields, parts })
    }

    /// Returns the media type and the body of a request with the files.
    pub(crate) fn into_body(self) -> (String, Body) {
        let boundary = format!("turbulence-{}", Uuid::new_v4().simple());
        let media_type = format!("multipart/form-data; boundary={boundary}");
        let (sender, receiver) = mpsc::channel(MAX_WAITING_CHUNKS);
        // On this thread, to which the connection belongs.
        spawn(pass_on(self.parts, boundary, sender));
        let chunks = stream::unfold(receiver, |mut receiver| async move {
            Some((receiver.recv().await?, receiver))
        });
        (media_type, Body::wrap_stream(chunks))
    }
}

type Chunks = Sender<io::Result<Bytes>>;

async fn pass_on(mut parts: Multipart, boundary: String, chunks: Chunks) {
    match copy(&mut parts, &boundary, &chunks).await {
        Ok(true) => {}
        // The answer came before the end: browsers read it once they have sent everything.
        Ok(false) => {
            while let Some(Ok(part)) = parts.next().await {
                skip(part).await;
            }
        }
        // The request breaks off like the form.
        Err(error) => _ = chunks.send(Err(error)).await,
    }
}

/// Copies the files. Returns `false` if the rest is not wanted.
async fn copy(parts: &mut Multipart, boundary: &str, chunks: &Chunks) -> io::Result<bool> {
    let send = async |bytes: Bytes| chunks.send(Ok(bytes)).await.is_ok();
    while let Some(part) = parts.next().await {
        let mut part = part.map_err(|error| broken(&error))?;
        let name = part.content_disposition().and_then(|one| one.get_filename()).map(file_name);
        // A field without a file has one without a name.
        let Some(name) = name.filter(|name| !name.is_empty()) else {
            skip(part).await;
            continue;
        };
        let head = format!(
            "--{boundary}\r\nContent-Disposition: form-data; name=\"files\"; filename=\"{name}\"\r\n\r\n"
        );
        let mut is_wanted = send(head.into()).await;
        while let Some(chunk) = part.next().await {
            is_wanted = is_wanted && send(chunk.map_err(|error| broken(&error))?).await;
        }
        if !(is_wanted && send(Bytes::from_static(b"\r\n")).await) {
            return Ok(false);
        }
    }
    Ok(send(format!("--{boundary}--\r\n").into()).await)
}

fn broken(error: &actix_multipart::MultipartError) -> io::Error {
    io::Error::other(error.to_string())
}

/// Reads the rest of a part.
async fn skip(mut part: Field) {
    while let Some(Ok(_)) = part.next().await {}
}

/// Returns the name of a file as it can stand in a header.
fn file_name(name: &str) -> String {
    let plain = |c: char| if c.is_control() || matches!(c, '"' | '\\') { '_' } else { c };
    name.chars().take(MAX_NAME_CHARACTERS).map(plain).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_a_file_ends_no_header() {
        assert_eq!(file_name("Größe 1.jpg"), "Größe 1.jpg");
        assert_eq!(file_name("a\"; x=\"\r\nB: c\\"), "a_; x=___B: c_");
        assert_eq!(file_name(&"é".repeat(300)).chars().count(), MAX_NAME_CHARACTERS);
    }
}
