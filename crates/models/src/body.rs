//! What the bodies of requests have in common.

use serde::de::DeserializeOwned;
use utoipa::{
    Modify,
    openapi::{
        OpenApi, RefOr, Schema,
        schema::{AdditionalProperties, AnyOfBuilder, ObjectBuilder, SchemaType},
    },
};

use crate::{
    PagePatch, PageReplace, ProjectPatch, ProjectReplace, SectionPatch, SectionReplace, StoryPatch,
    StoryReplace,
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

/// Completes the schemas of the bodies in an OpenAPI document: their read-only members, that an enum
/// has one member, and that an empty list is one of anything.
#[derive(Debug, Clone, Copy)]
pub struct ReadOnlyMembers;

impl Modify for ReadOnlyMembers {
    fn modify(&self, openapi: &mut OpenApi) {
        add::<SectionReplace>(openapi, "SectionReplace");
        add::<SectionPatch>(openapi, "SectionPatch");
        add::<StoryReplace>(openapi, "StoryReplace");
        add::<StoryPatch>(openapi, "StoryPatch");
        add::<ProjectReplace>(openapi, "ProjectReplace");
        add::<ProjectPatch>(openapi, "ProjectPatch");
        add::<PageReplace>(openapi, "PageReplace");
        add::<PagePatch>(openapi, "PagePatch");
        close_variants(openapi, "MovedContent");
        overlap(openapi, "ResolvedContent");
    }
}

fn add<T: Body>(openapi: &mut OpenApi, name: &str) {
    let schemas = openapi.components.as_mut().map(|components| &mut components.schemas);
    if let Some(RefOr::T(Schema::Object(object))) = schemas.and_then(|all| all.get_mut(name)) {
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

/// A value of an enum has the member of its variant and no other one; the derived schema forgets it.
fn close_variants(openapi: &mut OpenApi, name: &str) {
    let schemas = openapi.components.as_mut().map(|components| &mut components.schemas);
    if let Some(RefOr::T(Schema::OneOf(variants))) = schemas.and_then(|all| all.get_mut(name)) {
        for variant in &mut variants.items {
            if let RefOr::T(Schema::Object(object)) = variant {
                object.additional_properties =
                    Some(Box::new(AdditionalProperties::FreeForm(false)));
            }
        }
    }
}

/// A value can be one of several variants at once, as an empty list is.
fn overlap(openapi: &mut OpenApi, name: &str) {
    let schemas = openapi.components.as_mut().map(|components| &mut components.schemas);
    let Some(schema) = schemas.and_then(|all| all.get_mut(name)) else { return };
    if let RefOr::T(Schema::OneOf(variants)) = schema {
        let any_of = AnyOfBuilder::new().description(variants.description.take());
        let any_of = variants.items.drain(..).fold(any_of, AnyOfBuilder::item);
        *schema = RefOr::T(Schema::AnyOf(any_of.build()));
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};
    use utoipa::OpenApi;

    use super::*;
    use crate::{
        ContentMove, ErrorCode, Resolution, SectionCreate, SectionNode, SectionOrder, Story,
    };

    #[derive(OpenApi)]
    #[openapi(
        components(schemas(
            ContentMove, ErrorCode, PagePatch, ProjectReplace, Resolution, SectionCreate, SectionOrder, SectionPatch, SectionNode,
            Story, StoryReplace
        )),
        modifiers(&ReadOnlyMembers)
    )]
    struct Document;

    fn schemas() -> Value {
        serde_json::to_value(Document::openapi()).unwrap()["components"]["schemas"].take()
    }

    #[test]
    fn the_schemas_say_what_is_checked() {
        let schemas = schemas();
        let replace = &schemas["StoryReplace"];
        assert_eq!(replace["additionalProperties"], false);
        assert_eq!(replace["required"], json!(["title", "content"]));
        assert_eq!(schemas["Title"]["maxLength"], 200);
        assert_eq!(schemas["WebUrl"]["maxLength"], 2048);
        assert_eq!(schemas["Ids"]["minItems"], 1);
        assert!(schemas["ObjectId"]["pattern"].is_string());
        assert_eq!(schemas["Moment"]["format"], "date-time");
        assert!(replace["description"].is_string());
        assert_eq!(schemas["MovedContent"]["oneOf"][0]["additionalProperties"], false);
        assert_eq!(schemas["ErrorCode"]["enum"][0], "invalid_path");
        assert_eq!(schemas["ResolvedContent"]["anyOf"].as_array().map(Vec::len), Some(6));
    }

    #[test]
    fn what_is_answered_can_be_sent_back_by_the_schema_too() {
        let schemas = schemas();
        let replace = &schemas["StoryReplace"]["properties"];
        for member in StoryReplace::READ_ONLY {
            assert_eq!(replace[member]["readOnly"], true, "{member}");
        }
        assert!(schemas["SectionPatch"]["properties"]["children"].is_object());
    }
}
