//! Receiving files.

use std::{num::NonZeroUsize, sync::Arc, thread::available_parallelism, time::Duration};

use actix_multipart::Multipart;
use actix_web::{
    HttpRequest, HttpResponse,
    http::header::{CACHE_CONTROL, CONTENT_TYPE},
    web::{Data, Payload},
};
use futures_util::StreamExt;
use models::ErrorCode;
use serde::Serialize;
use service_kit::{
    auth::{caller::Caller, extract::Authenticated},
    runtime::{offload::Offload, settings},
    web::{error::ApiError, extract::NoQuery},
};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::timeout,
};
use utoipa::ToSchema;

use super::{error_sets::UploadErrors, receive::Upload};
use crate::{
    domain::{name::FileName, picture::memory_limit},
    store::{document::StoredMedia, files::Files, media::MediaStore},
};

/// The unit in which memory is counted, in bytes.
const MEMORY_UNIT: u64 = 1024;

/// The number of pictures of the largest size that are in memory before they are rendered: a sixth of the
/// 256 MiB of a process, with the default limits.
const MAX_HELD_PICTURES: u64 = 8;

/// The longest time that an upload waits for others. Load balancers wait for a minute for an answer.
const MAX_WAIT: Duration = Duration::from_secs(45);

/// The value of `Retry-After` if uploads take too long: as long as some pictures take.
const RETRY_AFTER_SECONDS: u32 = 5;

/// Everything that an upload needs, shared by the workers of the service.
#[derive(Debug)]
pub(crate) struct Uploads {
    pub(super) files: Files,
    pub(super) media: MediaStore,
    pub(super) limits: Limits,
    /// The threads that render pictures, at a low priority: readers come first.
    pub(super) rendering: Offload,
    /// The memory of files that are being received.
    received: Memory,
    /// The memory of pictures that are being rendered.
    rendered: Memory,
}

/// The limits of files.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    pub(super) picture_bytes: u64,
    pub(super) video_bytes: u64,
    pub(super) pixels: u64,
}

/// Memory that uploads share.
#[derive(Debug)]
struct Memory {
    free: Arc<Semaphore>,
    units: u32,
}

impl Memory {
    fn new(bytes: u64) -> Self {
        let units = u32::try_from(bytes / MEMORY_UNIT + 1).unwrap_or(u32::MAX);
        let places = usize::try_from(units).unwrap_or(usize::MAX).min(Semaphore::MAX_PERMITS);
        Self { free: Arc::new(Semaphore::new(places)), units }
    }

    /// Waits for memory. One that wants more than there is gets all of it: a part of a video, if pictures
    /// have to be very small. Pictures that take more are refused before.
    async fn take(&self, bytes: u64) -> Result<OwnedSemaphorePermit, ApiError> {
        let wanted = u32::try_from(bytes / MEMORY_UNIT + 1).unwrap_or(u32::MAX).min(self.units);
        let taken = timeout(MAX_WAIT, Arc::clone(&self.free).acquire_many_owned(wanted)).await;
        match taken {
            Ok(taken) => taken.map_err(ApiError::internal),
            Err(_) => Err(overloaded()),
        }
    }
}

fn overloaded() -> ApiError {
    let detail = "There are more uploads than can be processed. Try again in a few seconds.";
    ApiError::new(ErrorCode::Overloaded, detail).retry_after_seconds(RETRY_AFTER_SECONDS)
}

impl Uploads {
    pub(crate) fn new(settings: &settings::Media, files: Files, media: MediaStore) -> Self {
        let limits = Limits {
            picture_bytes: settings.max_picture_bytes.get(),
            video_bytes: settings.max_video_bytes.get(),
            pixels: settings.max_pixels.get(),
        };
        let threads = available_parallelism().map_or(1, NonZeroUsize::get);
        Self {
            files,
            media,
            limits,
            rendering: Offload::new(threads).with_low_priority(),
            received: Memory::new(limits.picture_bytes * MAX_HELD_PICTURES),
            rendered: Memory::new(memory_limit(limits.pixels)),
        }
    }

    /// Waits for the memory of a file that is being received.
    pub(super) async fn receiving(&self, bytes: u64) -> Result<OwnedSemaphorePermit, ApiError> {
        self.received.take(bytes).await
    }

    /// Waits for the memory of a picture that is being rendered.
    pub(super) async fn rendering_memory(
        &self,
        bytes: u64,
    ) -> Result<OwnedSemaphorePermit, ApiError> {
        self.rendered.take(bytes).await
    }

    /// Removes a file and its document. What fails is tried again by a later upload.
    pub(super) async fn discard(&self, media: &StoredMedia) {
        let removed = async {
            let name: FileName = media.name.parse().map_err(ApiError::internal)?;
            for width in &media.smaller_widths {
                let smaller = name.with_width(u32::try_from(*width).unwrap_or_default());
                self.files.delete(&smaller).await.map_err(ApiError::internal)?;
            }
            self.files.delete(&name).await.map_err(ApiError::internal)?;
            self.media.forget(media.id).await.map_err(ApiError::internal)
        };
        if let Err(error) = removed.await {
            tracing::warn!(%error, name = media.name, "a file cannot be removed");
        }
    }

    /// Removes what is left of interrupted uploads and removals.
    pub(super) async fn discard_abandoned(&self) {
        match self.media.abandoned().await {
            Ok(abandoned) => {
                for media in &abandoned {
                    self.discard(media).await;
                }
            }
            Err(error) => tracing::debug!(%error, "abandoned files cannot be looked up"),
        }
    }
}

/// The form of an upload.
#[derive(Debug, ToSchema)]
#[expect(dead_code, reason = "only its schema is used")]
pub(super) struct UploadForm {
    /// The files: JPEG, PNG, GIF, WebP and AVIF pictures, and MP4, WebM and QuickTime videos.
    #[schema(value_type = Vec<String>, format = Binary, min_items = 1, max_items = 20)]
    files: Vec<Vec<u8>>,
}

/// The files of an upload. The three lists have one entry for each file, in the order of the form.
#[derive(Debug, Default, Serialize, ToSchema)]
#[schema(examples(json!({
    "urls": ["/uploads/20241201_123456_abc12345.webp"],
    "srcsets": ["/uploads/20241201_123456_abc12345.webp 1200w, /uploads/20241201_123456_abc12345_750.webp 750w, /uploads/20241201_123456_abc12345_500.webp 500w"],
    "dimensions": [{"width": 1200, "height": 800}]
})))]
pub(super) struct Uploaded {
    /// The addresses.
    urls: Vec<String>,
    /// The values for `srcset`; empty for videos.
    srcsets: Vec<String>,
    /// The sizes in pixels.
    dimensions: Vec<Dimensions>,
}

/// The size of a picture in pixels; null for videos.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Dimensions {
    width: Option<i64>,
    height: Option<i64>,
}

impl Uploaded {
    fn new(all: &[StoredMedia]) -> Self {
        let mut uploaded = Self::default();
        for media in all {
            uploaded.urls.push(media.address());
            uploaded.srcsets.push(media.srcset());
            uploaded.dimensions.push(Dimensions { width: media.width, height: media.height });
        }
        uploaded
    }
}

/// Uploads pictures and videos.
///
/// All files are stored, or none. The format of a file is recognised by its content. Pictures become
/// WebP in the widths 1200, 750 and 500, upright and without metadata, and are never enlarged; animations
/// keep their format and size; AVIF and videos stay as they are. An uploaded file is public for everyone
/// who knows its address, also while the content that shows it is a draft.
#[utoipa::path(
    post,
    operation_id = "uploads_create",
    path = "/uploads",
    tag = "media",
    request_body(content = UploadForm, content_type = "multipart/form-data"),
    responses((status = 200, description = "The files.", body = Uploaded), UploadErrors),
    security(("bearer" = []))
)]
pub(super) async fn upload(
    request: HttpRequest,
    Authenticated(caller, (NoQuery, payload)): Authenticated<Caller, (NoQuery, Payload)>,
    uploads: Data<Uploads>,
) -> Result<HttpResponse, ApiError> {
    let content_type = request.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let media_type = content_type.and_then(|value| value.split(';').next()).unwrap_or_default();
    if !media_type.trim().eq_ignore_ascii_case("multipart/form-data") {
        let detail = "Send the files as `multipart/form-data`, in the field `files`.";
        return Err(ApiError::new(ErrorCode::UnsupportedMediaType, detail));
    }
    uploads.discard_abandoned().await;
    // The library asks for more after the end.
    let form = Multipart::new(request.headers(), payload.fuse());
    let stored = Upload::new(&uploads, caller.user_id()).store(form).await?;
    let answer =
        HttpResponse::Ok().insert_header((CACHE_CONTROL, "no-store")).json(Uploaded::new(&stored));
    Ok(answer)
}
