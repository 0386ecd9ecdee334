//! The body of a client's request, while it is being forwarded.

use std::{
    io,
    sync::{Arc, Mutex as StdMutex, PoisonError},
    time::Duration,
};

use actix_web::{
    HttpRequest,
    error::PayloadError,
    http::header::{CONTENT_LENGTH, TRANSFER_ENCODING},
    web::{self, Bytes},
};
use futures_util::{StreamExt, TryStreamExt, stream};
use models::ErrorCode;
use service_kit::web::{
    error::ApiError,
    upstream::{AttemptError, BoxError, Held, RequestBody, hold, streamed_body, whole_body},
};
use tokio::{sync::Mutex, task::JoinHandle};

use super::body::{BodyReceiver, CopyError, Truncated, body_channel, copy_body};

/// The body of a client's request.
#[derive(Debug)]
pub(super) enum Upload {
    /// There is none.
    None,
    /// All of it, which can be sent again.
    Held(Bytes),
    /// It is copied while it arrives.
    Streamed(Streamed),
}

/// The result of copying a body.
type Copied = Result<(), CopyError<PayloadError>>;

#[derive(Debug)]
pub(super) struct Streamed {
    /// The body until an attempt starts to send it. An attempt without a connection leaves it to the
    /// next one.
    body: Arc<StdMutex<Option<BodyReceiver>>>,
    /// The task that copies the body, until it is done. Only one attempt at a time waits for it.
    copy: Mutex<Option<JoinHandle<Copied>>>,
}

/// The reason why the body of a request did not reach the service, other than the service.
#[derive(Debug)]
pub(super) enum UploadError {
    /// The client did not send the whole body.
    Incomplete(CopyError<PayloadError>),
    /// A fault of the gateway.
    Internal(BoxError),
}

impl UploadError {
    pub(super) fn into_api_error(self) -> ApiError {
        match self {
            Self::Incomplete(error) => {
                let reason = match &error {
                    CopyError::Source(PayloadError::Io(error))
                        if error.kind() == io::ErrorKind::TimedOut =>
                    {
                        "it did not arrive in time".to_owned()
                    }
                    CopyError::Source(PayloadError::EncodingCorrupted | PayloadError::Io(_)) => {
                        "its chunks are malformed".to_owned()
                    }
                    _ => error.to_string(),
                };
                let detail = format!("The body of the request is not complete: {reason}.");
                ApiError::new(ErrorCode::BadRequest, detail)
            }
            Self::Internal(error) => ApiError::internal(error),
        }
    }
}

impl Upload {
    /// Holds a small body, and starts to copy a larger or slower one.
    pub(super) async fn start(
        request: &HttpRequest,
        payload: web::Payload,
        idle: Duration,
    ) -> Result<Self, UploadError> {
        let headers = request.headers();
        let length = headers.get(CONTENT_LENGTH);
        // RFC 9112 §6.3
        let has_body =
            headers.contains_key(TRANSFER_ENCODING) || length.is_some_and(|length| length != "0");
        if !has_body {
            return Ok(Self::None);
        }
        let length = length.and_then(|length| length.to_str().ok()?.parse().ok());
        match hold(payload, length).await {
            Ok(Held::Whole(bytes)) => Ok(Self::Held(bytes)),
            Ok(Held::Part(first, rest)) => {
                let (sender, body) = body_channel();
                let source = stream::iter([Ok(first)]).chain(rest);
                // On this thread, which the server's bodies cannot leave.
                let copy = tokio::task::spawn_local(copy_body(source, sender, idle));
                let body = Arc::new(StdMutex::new(Some(body)));
                Ok(Self::Streamed(Streamed { body, copy: Mutex::new(Some(copy)) }))
            }
            Err(error) => Err(UploadError::Incomplete(CopyError::Source(error))),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        matches!(self, Self::None)
    }

    /// Returns `true` if the whole body is there for any number of attempts.
    pub(super) fn is_held(&self) -> bool {
        !matches!(self, Self::Streamed(_))
    }

    /// Returns the body for one attempt.
    pub(super) fn body(&self) -> RequestBody {
        match self {
            Self::None => whole_body(Bytes::new()),
            Self::Held(bytes) => whole_body(bytes.clone()),
            Self::Streamed(Streamed { body, .. }) => {
                let body = Arc::clone(body);
                let at_first_poll = async move {
                    body.lock().unwrap_or_else(PoisonError::into_inner).take().ok_or(Truncated)
                };
                streamed_body(stream::once(at_first_poll).try_flatten())
            }
        }
    }

    /// Waits until no response can be expected any more: the client has not sent the whole body, the
    /// service does not take it, or the service has it and is silent for `response_head`.
    pub(super) async fn failure(&self, response_head: Duration) -> AttemptError<UploadError> {
        if let Self::Streamed(Streamed { copy, .. }) = self {
            let mut copy = copy.lock().await;
            if let Some(task) = &mut *copy {
                match task.await {
                    Ok(Ok(())) => *copy = None,
                    Ok(Err(error @ (CopyError::Source(_) | CopyError::SourceIdle(_)))) => {
                        return AttemptError::Other(UploadError::Incomplete(error));
                    }
                    Ok(Err(CopyError::ReceiverIdle(_))) => return AttemptError::Timeout,
                    // The connection to the service is closed, or it needs no more of the body.
                    Ok(Err(CopyError::ReceiverGone)) => *copy = None,
                    Err(panic) => return AttemptError::Other(UploadError::Internal(panic.into())),
                }
            }
        }
        tokio::time::sleep(response_head).await;
        AttemptError::Timeout
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_that_is_late_malformed_or_cut_is_told_apart() {
        for (error, reason) in [
            (PayloadError::Io(io::ErrorKind::TimedOut.into()), "did not arrive in time"),
            (PayloadError::EncodingCorrupted, "malformed"),
            (PayloadError::Incomplete(None), "the sender closed the connection"),
        ] {
            let error = UploadError::Incomplete(CopyError::Source(error)).into_api_error();
            assert!(format!("{error:?}").contains(reason), "{error:?}: {reason}");
        }
    }
}
