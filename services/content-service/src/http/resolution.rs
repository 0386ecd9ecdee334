//! The answer to a path of the site.
//!
//! Its schemas are built here, so that `kind` tells the type of `content`: one schema for each value
//! of `kind` and each kind of content, those of a value joined, and a discriminator over the values.
//! A client that is generated from them narrows an answer by `kind`.

use models::{Breadcrumb, DisplayType, Section};
use serde::Serialize;
use serde_json::value::RawValue;
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{
        OpenApi, Ref, RefOr, Schema,
        schema::{AllOfBuilder, Discriminator, ObjectBuilder, OneOfBuilder, Type},
    },
};

use crate::{domain::list::List, store::kind::Kind};

/// The answer to a path of the site.
#[derive(Debug, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub(super) enum Resolution {
    /// A section and the first page of its content.
    Section(Resolved),
    /// An item of a section: one that the path names, or the only one of a static page.
    Item(Resolved),
    /// The new path of a section or an item that was moved.
    Moved {
        /// The path.
        moved_to: String,
    },
}

/// A section or an item of it.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Resolved {
    /// The section.
    pub(super) section: Section,
    /// The sections from the top to this one, which is the last.
    pub(super) breadcrumbs: Vec<Breadcrumb>,
    /// The one path of the section or item, percent-encoded.
    pub(super) canonical_path: String,
    /// The way in which the section presents its content.
    pub(super) display_type: DisplayType,
    /// The first page of the section's content, or the item.
    #[schema(value_type = Object)]
    pub(super) content: Box<RawValue>,
}

/// The schema of one value of `kind`.
struct Variant {
    /// The value.
    kind: &'static str,
    /// The name of the schema.
    schema: &'static str,
    description: &'static str,
}

const SECTION: Variant = Variant {
    kind: "section",
    schema: "ResolvedSection",
    description: "A section and the first page of its content.",
};

const ITEM: Variant = Variant {
    kind: "item",
    schema: "ResolvedItem",
    description: "An item of a section: one that the path names, or the only one of a static page.",
};

const MOVED: Variant = Variant {
    kind: "moved",
    schema: "ResolvedMove",
    description: "The new path of a section or an item that was moved.",
};

impl PartialSchema for Resolution {
    fn schema() -> RefOr<Schema> {
        let variants = || [SECTION, ITEM, MOVED].into_iter();
        let reference = |variant: &Variant| Ref::from_schema_name(variant.schema);
        let mapping = variants().map(|variant| (variant.kind, reference(&variant).ref_location));
        let one_of = OneOfBuilder::new()
            .description(Some("The answer to a path of the site; `kind` names its type."))
            .discriminator(Some(Discriminator::with_mapping("kind", mapping)));
        variants().map(|variant| reference(&variant)).fold(one_of, OneOfBuilder::item).into()
    }
}

impl ToSchema for Resolution {
    fn schemas(schemas: &mut Vec<(String, RefOr<Schema>)>) {
        let moved_to = ObjectBuilder::new()
            .schema_type(Type::String)
            .description(Some("The path, percent-encoded."));
        let moved = ObjectBuilder::new()
            .description(Some(MOVED.description))
            .property("kind", constant(MOVED.kind))
            .required("kind")
            .property("moved_to", moved_to)
            .required("moved_to");
        schemas.push((MOVED.schema.to_owned(), moved.into()));
        schemas.push((Section::name().into_owned(), Section::schema()));
        Resolved::schemas(schemas);
    }
}

/// Adds the schemas of the answers with content of a kind.
pub(super) fn describe<K: Kind>(document: &mut OpenApi) {
    let schemas = &mut document.components.get_or_insert_default().schemas;
    let collection = K::TYPE.collection();
    let mut add = |variant: Variant, name: String, description: String, content: String| {
        let schema = answer::<K>(&variant, description, &content);
        let reference = RefOr::Ref(Ref::from_schema_name(&name));
        schemas.insert(name, schema);
        let joined = schemas
            .entry(variant.schema.to_owned())
            .or_insert_with(|| OneOfBuilder::new().description(Some(variant.description)).into());
        if let RefOr::T(Schema::OneOf(one_of)) = joined {
            one_of.items.push(reference);
        }
    };
    add(
        SECTION,
        format!("Resolved{}", capitalised(collection)),
        format!("A section of {collection}, with the first page of them."),
        format!("List_{}", K::Card::name()),
    );
    let item = K::name();
    add(
        ITEM,
        format!("Resolved{item}"),
        format!("A {} of a section.", K::NAME.to_lowercase()),
        item.into_owned(),
    );
    schemas.insert(format!("List_{}", K::Card::name()), List::<K::Card>::schema());
}

/// Returns the schema of an answer: its common members, with the values and the content of a kind.
fn answer<K: Kind>(variant: &Variant, description: String, content: &str) -> RefOr<Schema> {
    let mut schema = Resolved::schema();
    if let RefOr::T(Schema::Object(object)) = &mut schema {
        let content_type = ObjectBuilder::new()
            .property("content_type", constant(K::TYPE.as_str()))
            .required("content_type");
        let section = AllOfBuilder::new()
            .item(Ref::from_schema_name(Section::name()))
            .item(content_type)
            .description(Some("The section."));
        object.description = Some(description);
        object.required.push("kind".to_owned());
        object.properties.insert("kind".to_owned(), constant(variant.kind));
        object.properties.insert("section".to_owned(), section.into());
        object.properties.insert("content".to_owned(), Ref::from_schema_name(content).into());
    }
    schema
}

/// Returns the schema of a text that is always the same.
pub(super) fn constant(text: &str) -> RefOr<Schema> {
    ObjectBuilder::new().schema_type(Type::String).enum_values(Some([text])).into()
}

/// Returns a word with a capital letter.
pub(super) fn capitalised(word: &str) -> String {
    let mut characters = word.chars();
    let first = characters.next().map(|first| first.to_ascii_uppercase());
    first.into_iter().chain(characters).collect()
}
