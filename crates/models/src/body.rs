//! What the bodies of requests have in common.

use serde::de::DeserializeOwned;
use utoipa::{
    Modify,
    openapi::{
        OpenApi, RefOr, Schema,
        schema::{AdditionalProperties, ObjectBuilder, SchemaType},
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

/// Completes the schemas of the bodies in an OpenAPI document: their read-only members, and that an
/// enum has one member.
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
    }

    #[test]
    fn the_kind_of_an_answer_to_a_path_says_which_schema_it_has() {
        let schemas = schemas();
        let schema = |reference: &Value| {
            let name =
                reference.as_str().and_then(|text| text.strip_prefix("#/components/schemas/"));
            (name.unwrap_or_default().to_owned(), &schemas[name.unwrap_or_default()])
        };
        let resolution = &schemas["Resolution"];
        assert_eq!(resolution["discriminator"]["propertyName"], "kind");
        let mapping = resolution["discriminator"]["mapping"].as_object().unwrap();
        assert_eq!(mapping.keys().collect::<Vec<_>>(), ["item", "moved", "section"]);
        assert_eq!(resolution["oneOf"].as_array().map(Vec::len), Some(mapping.len()));
        let mut contents = Vec::new();
        for (kind, reference) in mapping {
            assert!(
                resolution["oneOf"].as_array().unwrap().contains(&json!({ "$ref": reference }))
            );
            let (name, joined) = schema(reference);
            let one = json!([{ "$ref": format!("#/components/schemas/{name}") }]);
            let of_kind = joined.get("oneOf").unwrap_or(&one).as_array().unwrap();
            for reference in of_kind {
                let (_, answer) = schema(&reference["$ref"]);
                assert_eq!(answer["properties"]["kind"]["enum"], json!([kind]), "{answer}");
                assert!(answer["required"].as_array().unwrap().contains(&"kind".into()));
                if kind == "moved" {
                    continue;
                }
                let section = &answer["properties"]["section"]["allOf"];
                assert_eq!(schema(&section[0]["$ref"]).0, "Section");
                let (content, described) = schema(&answer["properties"]["content"]["$ref"]);
                assert!(described.is_object(), "{content}");
                contents.push((
                    kind.as_str(),
                    section[1]["properties"]["content_type"]["enum"][0].clone(),
                    content,
                ));
            }
        }
        let expected = [
            ("item", "story", "Story"),
            ("item", "project", "Project"),
            ("item", "page", "Page"),
            ("section", "story", "List_Story"),
            ("section", "project", "List_ProjectCard"),
            ("section", "page", "List_Page"),
        ];
        let expected =
            expected.map(|(kind, content_type, name)| (kind, content_type.into(), name.to_owned()));
        assert_eq!(contents, expected);
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
