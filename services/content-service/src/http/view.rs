//! The members that the items of a list have.

use std::collections::BTreeSet;

use models::FieldError;
use mongodb::bson::{Document, oid, rawdoc};
use serde::Deserialize;
use serde_json::{Map, Value};
use service_kit::web::error::ApiError;
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{
        ArrayBuilder, ObjectBuilder, Ref, RefOr, Schema,
        schema::{SchemaType, Type},
    },
};

use crate::{
    domain::list::List,
    html::Summary,
    store::{
        kind::{Kind, Reading, SLUG},
        list::Form,
    },
};

/// The member with the text of an item.
const CONTENT: &str = "content";

/// The members that are made of the text.
const EXCERPT: &str = "excerpt";
const IMAGE_URL: &str = "image_url";

/// The stored fields that are read for each item, since they decide who sees it, where it is in a list
/// and where on the site.
const ALWAYS_READ: [&str; 13] = [
    "title",
    "is_published",
    "deleted",
    "status",
    "draft",
    "published",
    "visibility",
    "createdDate",
    "updatedDate",
    "date",
    "user_id",
    "section_id",
    IMAGE_URL,
];

/// The items of a list: in full, or as cards.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum View {
    /// All members of each item.
    Full,
    /// All members but the text, and in its place `excerpt` and `image_url`.
    Card,
}

/// Returns the members that items of a kind can have in a list.
pub(super) fn member_names<K: Kind>() -> Vec<String> {
    let mut names: Vec<_> = empty_item::<K>().into_iter().map(|(name, _)| name).collect();
    for name in [EXCERPT, IMAGE_URL] {
        if !names.iter().any(|one| one == name) {
            names.push(name.to_owned());
        }
    }
    names
}

/// Returns the members of an item without any values: each answer has all of them.
fn empty_item<K: Kind>() -> Map<String, Value> {
    let document = rawdoc! { "_id": oid::ObjectId::from_bytes([0; 12]) };
    let item = Reading::<K>::new(&document).ok().map(|reading| reading.item);
    members(item)
}

/// Returns `true` if the items of a kind have a member.
pub(super) fn has_member<K: Kind>(name: &str) -> bool {
    empty_item::<K>().contains_key(name)
}

fn members(item: Option<impl serde::Serialize>) -> Map<String, Value> {
    match item.map(serde_json::to_value) {
        Some(Ok(Value::Object(members))) => members,
        _ => Map::new(),
    }
}

/// An item with chosen members.
pub(super) type ItemPart = Map<String, Value>;

/// Returns the form of the items that a request asks for; `None` for the usual one.
pub(super) fn form<K: Kind>(
    view: Option<View>,
    fields: Option<&str>,
) -> Result<Option<Form<K, ItemPart>>, ApiError> {
    if view.is_none() && fields.is_none() {
        return Ok(None);
    }
    let names = member_names::<K>();
    let is_card = view == Some(View::Card);
    let own = empty_item::<K>();
    let is_shown = |name: &str| !is_card || name != CONTENT;
    let shown: BTreeSet<String> = match fields {
        Some(fields) => selected(fields, names.iter().filter(|name| is_shown(name)))?,
        None if is_card => names.into_iter().filter(|name| is_shown(name)).collect(),
        None => own.keys().cloned().collect(),
    };
    // Only in cards does the first picture of the text stand for the one that an editor can choose.
    let needs_picture = shown.contains(IMAGE_URL) && (is_card || !own.contains_key(IMAGE_URL));
    let needs_summary = needs_picture || shown.contains(EXCERPT);
    let reads_content = needs_summary || shown.contains(CONTENT);
    let mut projection = Document::new();
    if fields.is_some() {
        let others = own.keys().map(String::as_str).filter(|name| shown.contains(*name));
        for name in ALWAYS_READ.into_iter().chain([K::ADDRESS.field(), SLUG]).chain(others) {
            projection.insert(name, 1);
        }
        if reads_content {
            projection.insert(CONTENT, 1);
        }
    }
    let convert = move |mut item: K| {
        let content = item.take_content();
        let mut members = members(Some(item));
        if needs_summary {
            let Summary { excerpt, image_url } = Summary::of(&content);
            members.insert(EXCERPT.to_owned(), excerpt.into());
            if needs_picture && members.get(IMAGE_URL).is_none_or(Value::is_null) {
                members.insert(IMAGE_URL.to_owned(), image_url.into());
            }
        }
        if shown.contains(CONTENT) {
            members.insert(CONTENT.to_owned(), content.into());
        }
        members.retain(|name, _| shown.contains(name));
        members
    };
    Ok(Some(Form { projection, reads_content, convert: Box::new(convert) }))
}

/// Returns the members that a list of names selects.
fn selected<'a>(
    fields: &str,
    names: impl Iterator<Item = &'a String>,
) -> Result<BTreeSet<String>, ApiError> {
    let names: Vec<_> = names.collect();
    let is_known = |name: &str| names.iter().any(|one| *one == name);
    let Some(unknown) = fields.split(',').find(|name| !is_known(name)) else {
        return Ok(fields.split(',').map(str::to_owned).collect());
    };
    let names = names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
    let unknown: String = unknown.chars().take(50).collect();
    let message = match unknown.as_str() {
        "" => format!("must be names separated by commas, of {names}"),
        unknown => format!("has no member `{unknown}`; there are {names}"),
    };
    Err(ApiError::invalid(FieldError::invalid("fields", message)))
}

/// Returns the schema of the names of members of a kind, separated by commas.
pub(super) fn fields_schema<K: Kind>() -> ObjectBuilder {
    let names = member_names::<K>().join("|");
    ObjectBuilder::new()
        .schema_type(Type::String)
        .pattern(Some(format!("^({names})(,({names}))*$")))
}

/// Returns the name of the schema of a page with chosen members.
pub(super) fn page_name<K: Kind>() -> String {
    format!("List_{}", part_name::<K>())
}

fn part_name<K: Kind>() -> String {
    format!("{}Part", K::name())
}

/// Returns the schemas of a page whose items have chosen members, by their names.
pub(super) fn schemas<K: Kind>() -> Vec<(String, RefOr<Schema>)> {
    let mut known = Vec::new();
    K::schemas(&mut known);
    let mut part = ObjectBuilder::new().description(Some(format!(
        "A {} in a list with `view` or `fields`: the members that were asked for.",
        K::NAME.to_lowercase()
    )));
    let excerpt = ObjectBuilder::new().schema_type(Type::String).description(Some(
        "The beginning of the text, without markup: at most 200 characters, up to the end of a word.",
    ));
    let image_url = ObjectBuilder::new()
        .schema_type(SchemaType::from_iter([Type::String, Type::Null]))
        .description(Some(
            "The address of the picture of the item, else of the first in its text.",
        ));
    part = properties(&K::schema(), &known, part);
    part = part.property(EXCERPT, excerpt).property(IMAGE_URL, image_url);
    let mut page = List::<K::Card>::schema();
    if let RefOr::T(Schema::Object(page)) = &mut page {
        let items = ArrayBuilder::new()
            .items(Ref::from_schema_name(part_name::<K>()))
            .description(Some("The items of this page."));
        page.properties.insert("items".to_owned(), items.into());
    }
    vec![(part_name::<K>(), part.into()), (page_name::<K>(), page)]
}

/// Adds the properties of a schema, whose parts may be references to known ones.
fn properties(
    schema: &RefOr<Schema>,
    known: &[(String, RefOr<Schema>)],
    into: ObjectBuilder,
) -> ObjectBuilder {
    match schema {
        RefOr::Ref(reference) => {
            let name = reference.ref_location.rsplit('/').next();
            match known.iter().find(|(known, _)| Some(known.as_str()) == name) {
                Some((_, schema)) => properties(schema, known, into),
                None => into,
            }
        }
        RefOr::T(Schema::AllOf(all)) => {
            all.items.iter().fold(into, |into, part| properties(part, known, into))
        }
        RefOr::T(Schema::Object(object)) => object
            .properties
            .iter()
            .fold(into, |into, (name, property)| into.property(name, property.clone())),
        RefOr::T(_) => into,
    }
}
