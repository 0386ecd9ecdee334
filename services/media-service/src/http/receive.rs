//! One upload: the files of a form, from the first byte to the last document.

use actix_multipart::{Field, Multipart, MultipartError};
use bytes::{Bytes, BytesMut};
use futures_util::{StreamExt, stream::Fuse};
use models::{ErrorCode, FieldError};
use mongodb::bson::oid;
use service_kit::{runtime::printable::printable, web::error::ApiError};

use super::upload::Uploads;
use crate::{
    domain::{
        format::{ACCEPTED, FileKind, Format, SIGNATURE_BYTES},
        name::FileName,
        picture::{Picture, PictureError, Rendered},
    },
    store::{
        document::{StoredMedia, stored_date},
        files::PART_BYTES,
    },
};

/// The field of the form with the files.
const FIELD: &str = "files";

/// The most files of an upload.
const MAX_FILES: usize = 20;

/// The longest name that a file had before, in characters; the rest is cut off.
const MAX_ORIGINAL_NAME: usize = 200;

/// The number of bytes that are read after an error, so that a client that sends before it reads gets
/// the answer: browsers do. It is four of the largest pictures.
const MAX_DRAINED_BYTES: u64 = 20 * 1024 * 1024;

/// An upload in progress.
pub(super) struct Upload<'a> {
    uploads: &'a Uploads,
    user_id: Option<String>,
    /// The files so far.
    stored: Vec<StoredMedia>,
}

/// The content of a file of a form.
struct Incoming<'a> {
    /// The library must not be asked for more after the end.
    field: Fuse<&'a mut Field>,
    /// The name of the file in messages.
    shown: String,
    original_name: Option<String>,
    begin: BytesMut,
}

impl<'a> Upload<'a> {
    pub(super) fn new(uploads: &'a Uploads, user_id: Option<&str>) -> Self {
        Self { uploads, user_id: user_id.map(str::to_owned), stored: Vec::new() }
    }

    /// Stores all files of a form, or none.
    pub(super) async fn store(mut self, form: Multipart) -> Result<Vec<StoredMedia>, ApiError> {
        let mut form = form.fuse();
        let Err(error) = self.store_each(&mut form).await else {
            // After an error, the files may be published all the same: they stay. Those that are not
            // are removed by an upload a day later.
            self.uploads.media.publish(&self.stored).await?;
            return Ok(self.stored);
        };
        for media in &self.stored {
            self.uploads.discard(media).await;
        }
        // A form that cannot be read has no more parts.
        if error.code() != ErrorCode::BadRequest {
            drain(form).await;
        }
        Err(error)
    }

    async fn store_each(&mut self, form: &mut Fuse<Multipart>) -> Result<(), ApiError> {
        while let Some(field) = form.next().await {
            let mut field = field.map_err(|error| unreadable_form(&error))?;
            match field.name() {
                Some(FIELD) => {}
                Some(other) => {
                    let message = format!("unknown: send the files in the field `{FIELD}`");
                    let error = FieldError::unknown(printable(other), message);
                    return Err(ApiError::invalid(error));
                }
                None => return Err(invalid("a part of the form has no name")),
            }
            if self.stored.len() == MAX_FILES {
                return Err(invalid(format!("at most {MAX_FILES} files can be sent at once")));
            }
            self.store_file(&mut field).await?;
        }
        if self.stored.is_empty() {
            return Err(ApiError::invalid(FieldError::missing(FIELD)));
        }
        Ok(())
    }

    async fn store_file(&mut self, field: &mut Field) -> Result<(), ApiError> {
        let mut incoming = Incoming::new(field);
        while incoming.begin.len() < SIGNATURE_BYTES {
            let Some(chunk) = incoming.next().await? else { break };
            incoming.begin.extend_from_slice(&chunk);
        }
        if incoming.begin.is_empty() {
            return Err(invalid(format!("{} is empty", incoming.shown)));
        }
        let Some(format) = Format::of(&incoming.begin) else {
            let detail =
                format!("{} has another format: {ACCEPTED} can be uploaded.", incoming.shown);
            return Err(ApiError::new(ErrorCode::UnsupportedMediaType, detail));
        };
        match format.kind() {
            FileKind::Picture => self.store_picture(incoming, format).await,
            FileKind::Video => self.store_video(incoming, format).await,
        }
    }

    async fn store_picture(
        &mut self,
        mut incoming: Incoming<'_>,
        format: Format,
    ) -> Result<(), ApiError> {
        let limits = self.uploads.limits;
        let memory = self.uploads.receiving(limits.picture_bytes).await?;
        let file = incoming.all(limits.picture_bytes).await?;
        let bytes_before = file.len();
        let shown = &incoming.shown;
        let refused = |error| refused(shown, &error);
        let picture = Picture::inspect(file, format, limits.pixels).map_err(refused)?;
        let rendering = self.uploads.rendering_memory(picture.memory()).await?;
        let rendered = self.uploads.rendering.run(move || {
            let rendered = picture.render();
            drop(rendering);
            rendered
        });
        let rendered = rendered.await.map_err(ApiError::internal)?.map_err(refused)?;
        tracing::debug!(bytes_before, bytes = rendered.file.len(), "picture rendered");
        self.keep_picture(incoming.original_name, rendered).await?;
        drop(memory);
        Ok(())
    }

    async fn keep_picture(
        &mut self,
        original_name: Option<String>,
        rendered: Rendered,
    ) -> Result<(), ApiError> {
        let Rendered { format, width, height, file, smaller } = rendered;
        let (name, mut media) = self.new_media(format, original_name)?;
        media.bytes = i64::try_from(file.len()).map_err(ApiError::internal)?;
        (media.width, media.height) = (Some(width.into()), Some(height.into()));
        media.smaller_widths = smaller.iter().map(|(width, _)| i64::from(*width)).collect();
        self.begin(media).await?;
        let files = &self.uploads.files;
        for (width, file) in smaller {
            files.put(&name.with_width(width), file).await.map_err(ApiError::internal)?;
        }
        files.put(&name, file).await.map_err(ApiError::internal)
    }

    async fn store_video(
        &mut self,
        mut incoming: Incoming<'_>,
        format: Format,
    ) -> Result<(), ApiError> {
        let (name, media) = self.new_media(format, incoming.original_name.take())?;
        self.begin(media).await?;
        let limit = self.uploads.limits.video_bytes;
        let _memory = self.uploads.receiving(PART_BYTES as u64).await?;
        let mut writer = self.uploads.files.writer(&name).await.map_err(ApiError::internal)?;
        let copied = async {
            let mut chunk = Some(incoming.begin.split().freeze());
            let mut bytes = 0;
            while let Some(some) = chunk {
                bytes += some.len() as u64;
                if bytes > limit {
                    return Err(incoming.too_large(bytes, limit).await);
                }
                writer.write(&some).await.map_err(ApiError::internal)?;
                chunk = incoming.next().await?;
            }
            Ok(bytes)
        };
        let bytes = match copied.await {
            Ok(bytes) => bytes,
            Err(error) => {
                writer.abort().await;
                return Err(error);
            }
        };
        writer.finish().await.map_err(ApiError::internal)?;
        if let Some(media) = self.stored.last_mut() {
            media.bytes = i64::try_from(bytes).map_err(ApiError::internal)?;
        }
        Ok(())
    }

    /// Adds the document of a file. From now on the file is removed if the upload fails.
    async fn begin(&mut self, media: StoredMedia) -> Result<(), ApiError> {
        self.stored.push(media.clone());
        self.uploads.media.begin(&media).await.map_err(data_service::database_error)
    }

    fn new_media(
        &self,
        format: Format,
        original_name: Option<String>,
    ) -> Result<(FileName, StoredMedia), ApiError> {
        let now = self.uploads.media.clock.now();
        let name =
            FileName::new(now, format).map_err(|_| ApiError::internal("no random numbers"))?;
        let date = stored_date(now);
        let media = StoredMedia {
            id: oid::ObjectId::new(),
            name: name.as_str().to_owned(),
            media_type: format.media_type().to_owned(),
            bytes: 0,
            width: None,
            height: None,
            smaller_widths: Vec::new(),
            original_name,
            title: None,
            alt: None,
            user_id: self.user_id.clone(),
            is_pending: true,
            created_date: date,
            updated_date: date,
        };
        Ok((name, media))
    }
}

impl<'a> Incoming<'a> {
    fn new(field: &'a mut Field) -> Self {
        let name = field.content_disposition().and_then(|disposition| disposition.get_filename());
        let name = name.map(|name| name.chars().take(MAX_ORIGINAL_NAME).collect::<String>());
        let shown = match &name {
            Some(name) => format!("`{}`", printable(name)),
            None => "The file".to_owned(),
        };
        Self { field: field.fuse(), shown, original_name: name, begin: BytesMut::new() }
    }

    /// Returns the next bytes, or `None` at the end of the file.
    async fn next(&mut self) -> Result<Option<Bytes>, ApiError> {
        self.field.next().await.transpose().map_err(|error| unreadable_form(&error))
    }

    /// Returns the whole file.
    async fn all(&mut self, limit: u64) -> Result<Bytes, ApiError> {
        let mut file = self.begin.split();
        loop {
            if file.len() as u64 > limit {
                return Err(self.too_large(file.len() as u64, limit).await);
            }
            let Some(chunk) = self.next().await? else { return Ok(file.freeze()) };
            file.extend_from_slice(&chunk);
        }
    }

    /// Returns the error of a file that is larger than allowed, with its size if that is found soon.
    async fn too_large(&mut self, mut bytes: u64, limit: u64) -> ApiError {
        let last = bytes.saturating_add(MAX_DRAINED_BYTES);
        let size = loop {
            match self.field.next().await {
                Some(Ok(chunk)) => bytes += chunk.len() as u64,
                Some(Err(error)) => return unreadable_form(&error),
                None => break format!("{bytes} bytes"),
            }
            if bytes > last {
                break format!("more than {last} bytes");
            }
        };
        let detail = format!("{} has {size}: at most {limit} bytes are allowed.", self.shown);
        ApiError::new(ErrorCode::PayloadTooLarge, detail)
    }
}

/// Reads what is left of a form, up to a limit.
async fn drain(mut form: Fuse<Multipart>) {
    let mut left = MAX_DRAINED_BYTES;
    while let Some(Ok(mut field)) = form.next().await {
        while let Some(Ok(chunk)) = field.next().await {
            let Some(rest) = left.checked_sub(chunk.len() as u64) else { return };
            left = rest;
        }
    }
}

fn invalid(message: impl Into<String>) -> ApiError {
    ApiError::invalid(FieldError::invalid(FIELD, message))
}

/// Returns the error of a file that becomes no picture.
fn refused(shown: &str, error: &PictureError) -> ApiError {
    match error {
        PictureError::Damaged(_) => invalid(format!("{shown} {error}")),
        PictureError::TooManyPixels { .. } | PictureError::TooMuchMemory { .. } => {
            ApiError::new(ErrorCode::PayloadTooLarge, format!("{shown} {error}."))
        }
    }
}

/// Returns the error of a form that cannot be read to its end.
fn unreadable_form(error: &MultipartError) -> ApiError {
    let detail = match error {
        MultipartError::Incomplete | MultipartError::Payload(_) => {
            "The body of the request is not complete."
        }
        MultipartError::BoundaryMissing | MultipartError::ContentTypeParse => {
            "The header `content-type` names no boundary of the parts of the form: leave the header to \
             the library that makes the form."
        }
        _ => "The body of the request is no form: send `multipart/form-data`.",
    };
    ApiError::new(ErrorCode::BadRequest, detail).because(error.to_string())
}
