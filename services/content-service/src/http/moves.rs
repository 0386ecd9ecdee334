//! Moving content between sections.

use actix_web::web::{Data, Json};
use data_service::changes::Answer;
use models::{Body, ContentType, ObjectId};
use serde::{Deserialize, Serialize};
use service_kit::{
    auth::{caller::Caller, extract::Authenticated},
    web::{body::JsonBody, error::ApiError, extract::NoQuery},
};
use utoipa::ToSchema;

use super::{
    error_sets::MoveErrors,
    errors::not_moved,
    sections::{Sections, require_fitting, require_free_path},
};
use crate::{domain::content::MovedContent, kinds::Collections};

/// Moves content to a section: all of it or none.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ContentMove {
    /// The kind of content. The section has to be one for it.
    content_type: ContentType,
    /// The content that is moved.
    content: MovedContent,
    /// The section that it is to belong to.
    section_id: ObjectId,
}

impl Body for ContentMove {}

/// The result of moving content.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
pub(super) struct ContentMoved {
    /// The number of items that were moved. Those that were in the section already are not counted.
    moved: u64,
}

/// Moves content to a section, all of it or none.
///
/// The content is named by its ids or by the section that it belongs to. The section that it is
/// moved to has to be for content of this kind.
#[utoipa::path(
    post,
    path = "/content/move",
    tag = "content",
    operation_id = "content_move",
    request_body = ContentMove,
    responses((status = 200, description = "The content is moved.", body = ContentMoved), MoveErrors),
    security(("bearer" = []))
)]
pub(super) async fn move_content(
    signed: Authenticated<Caller, (JsonBody<ContentMove>, NoQuery)>,
    sections: Data<Sections>,
    collections: Data<Collections>,
    answer: Answer,
) -> Result<Json<ContentMoved>, ApiError> {
    let Authenticated(caller, (JsonBody(body), NoQuery)) = signed;
    let collection = collections.of(body.content_type);
    let directory = sections.now().await?;
    require_fitting(&directory, body.section_id, collection)?;
    // An author moves their own items alone.
    let may = |owner: Option<&str>| caller.require_owner(owner);
    let guard = |slug: &str| require_free_path(&directory, body.section_id, slug);
    let user_id = caller.signed_in_user();
    let moved = collection.move_to(&body.content, body.section_id, &may, &guard, user_id).await;
    let moved = moved.map_err(not_moved)?;
    answer.add_keys(moved.keys);
    Ok(Json(ContentMoved { moved: moved.value }))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn content_is_moved_by_ids_or_by_section() {
        let id = "626e3e0035b0bc65bb5e1545";
        let body =
            |content| json!({ "content_type": "story", "content": content, "section_id": id });
        for content in [json!({ "ids": [id] }), json!({ "section_id": id })] {
            assert!(ContentMove::deserialize(&body(content)).is_ok());
        }
        for content in [
            json!({}),
            json!({ "ids": [] }),
            json!({ "ids": [id, id] }),
            json!({ "ids": [id, id.to_uppercase()] }),
            json!({ "ids": [id], "section_id": id }),
            json!(null),
        ] {
            assert!(ContentMove::deserialize(&body(content.clone())).is_err(), "{content}");
        }
    }
}
