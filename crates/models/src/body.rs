//! What the bodies of requests have in common.

use serde::de::DeserializeOwned;
use utoipa::{
    ToSchema,
    openapi::{
        OpenApi, RefOr, Schema,
        schema::{ObjectBuilder, SchemaType},
    },
};

/// The body of a request: a JSON object. Its type denies unknown fields.
pub trait Body: DeserializeOwned {
    /// Members that an answer has and that no request can change. They are accepted with their
    /// present value, so that what was read can be sent back.
    const READ_ONLY: &'static [&'static str] = &[];

    /// The read-only members that are accepted with any value: every write changes them, or they
    /// are no member of what is stored.
    const IGNORED: &'static [&'static str] = &[];

    /// Members that a request needs although its type does without them: they are passed over where
    /// they are what is there already.
    const REQUIRED: &'static [&'static str] = &[];
}

/// Adds the read-only members of a body to its schema in an OpenAPI document, so that generated
/// clients may send back what they have read.
pub fn add_read_only_members<T: Body + ToSchema>(openapi: &mut OpenApi) {
    let schemas = openapi.components.as_mut().map(|components| &mut components.schemas);
    if let Some(RefOr::T(Schema::Object(object))) =
        schemas.and_then(|all| all.get_mut(T::name().as_ref()))
    {
        for member in T::READ_ONLY {
            let description = if T::IGNORED.contains(member) {
                "As it was answered; ignored."
            } else {
                "As it was answered; another value is refused."
            };
            let read_only = ObjectBuilder::new()
                .schema_type(SchemaType::AnyValue)
                .read_only(Some(true))
                .description(Some(description));
            object.properties.insert((*member).to_owned(), read_only.into());
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;
    use utoipa::OpenApi;

    use super::*;
    use crate::{ErrorCode, SectionCreate, SectionNode, SectionOrder, SectionPatch};

    #[derive(OpenApi)]
    #[openapi(components(schemas(
        ErrorCode,
        SectionCreate,
        SectionNode,
        SectionOrder,
        SectionPatch
    )))]
    struct Document;

    fn schemas() -> Value {
        let mut document = Document::openapi();
        add_read_only_members::<SectionPatch>(&mut document);
        serde_json::to_value(document).unwrap()["components"]["schemas"].take()
    }

    #[test]
    fn the_schemas_say_what_is_checked() {
        let schemas = schemas();
        let create = &schemas["SectionCreate"];
        assert_eq!(create["additionalProperties"], false);
        assert_eq!(schemas["Title"]["maxLength"], 200);
        assert_eq!(schemas["Ids"]["minItems"], 1);
        assert!(schemas["ObjectId"]["pattern"].is_string());
        assert!(create["description"].is_string());
        assert_eq!(schemas["ErrorCode"]["enum"][0], "invalid_path");
    }

    #[test]
    fn what_is_answered_can_be_sent_back_by_the_schema_too() {
        let schemas = schemas();
        let patch = &schemas["SectionPatch"]["properties"];
        for member in SectionPatch::READ_ONLY {
            assert_eq!(patch[member]["readOnly"], true, "{member}");
        }
        assert!(patch["children"].is_object());
    }
}
