//! The common properties of request bodies.

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
    /// The members of an answer that no request can change. They are accepted with their current
    /// values, so that an answer can be sent back.
    const READ_ONLY: &'static [&'static str] = &[];

    /// The read-only members that are accepted with any value. Every write changes them, or they are not
    /// stored.
    const IGNORED: &'static [&'static str] = &[];

    /// The members that a request must have although they are optional in the type. The type does not
    /// get a member that has its current value.
    const REQUIRED: &'static [&'static str] = &[];
}

/// Adds the read-only members of a body to its schema in an OpenAPI document, so that generated
/// clients can send back an answer.
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
    use serde::Deserialize;
    use serde_json::{Value, json};
    use utoipa::OpenApi;

    use super::*;
    use crate::{ErrorCode, Ids, Slug, Title};

    #[derive(Deserialize, ToSchema)]
    #[serde(deny_unknown_fields)]
    #[expect(dead_code, reason = "only its schema is read")]
    struct EventPatch {
        title: Title,
        slug: Slug,
        ids: Ids,
    }

    impl Body for EventPatch {
        const READ_ONLY: &'static [&'static str] = &["id", "updatedDate"];
        const IGNORED: &'static [&'static str] = &["updatedDate"];
    }

    #[derive(OpenApi)]
    #[openapi(components(schemas(ErrorCode, EventPatch)))]
    struct Document;

    fn schemas() -> Value {
        let mut document = Document::openapi();
        add_read_only_members::<EventPatch>(&mut document);
        serde_json::to_value(document).unwrap()["components"]["schemas"].take()
    }

    #[test]
    fn schemas_have_the_limits_of_their_types() {
        let schemas = schemas();
        assert_eq!(schemas["EventPatch"]["additionalProperties"], false);
        assert_eq!(schemas["Title"]["maxLength"], 200);
        assert_eq!(schemas["Ids"]["minItems"], 1);
        assert!(schemas["Ids"]["items"]["pattern"].is_string());
        assert_eq!(schemas["ErrorCode"]["enum"][0], "invalid_path");
    }

    #[test]
    fn the_schema_of_a_body_has_its_read_only_members() {
        let members = schemas()["EventPatch"]["properties"].take();
        for member in EventPatch::READ_ONLY {
            assert_eq!(members[member]["readOnly"], json!(true), "{member}");
        }
    }
}
