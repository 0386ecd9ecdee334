//! What is written about content: separate bodies to create, replace and patch.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{
    Body, Content, ContentIds, ContentType, Moment, NewContent, ObjectId, PageType, Patch, Summary,
    Technologies, Title, WebUrl, patch::not_null,
};

/// The read-only members whose value does not matter.
const IGNORED: &[&str] = &["updatedDate", "sanitized"];

/// Declares the three bodies of a kind of content. The kinds differ in their own fields alone:
/// `nullable` ones can be null, `plain` ones cannot.
///
/// A field that a body leaves out keeps its value, in a replacement too: existing frontends send
/// what their forms have.
macro_rules! bodies {
    (
        $(#[$create_doc:meta])+ $create:ident,
        $(#[$replace_doc:meta])+ $replace:ident,
        $(#[$patch_doc:meta])+ $patch:ident,
        read_only: [$($read_only:literal),+],
        nullable: { $($(#[$nullable_doc:meta])+ $nullable:ident: $nullable_type:ident,)* },
        plain: { $($(#[$plain_doc:meta])+ $plain:ident: $plain_type:ident,)* }
    ) => {
        bodies!(@body { $(#[$create_doc])+ } $create,
            {
                /// The title.
                title: Title,
                /// The text, as HTML; it is sanitised.
                content: NewContent,
                /// When it was created; now unless said otherwise.
                #[serde(rename = "createdDate", default, skip_serializing_if = "Patch::is_absent")]
                #[schema(value_type = Option<Moment>)]
                created_date: Patch<Moment>,
            },
            { $($(#[$nullable_doc])+ $nullable: $nullable_type,)* },
            { $($(#[$plain_doc])+ $plain: $plain_type,)* }
        );
        bodies!(@body { $(#[$replace_doc])+ } $replace,
            {
                /// The title.
                #[serde(default, deserialize_with = "not_null", skip_serializing_if = "Option::is_none")]
                #[schema(value_type = Title, required = true)]
                title: Option<Title>,
                /// The text, as HTML; it is sanitised.
                #[serde(default, deserialize_with = "not_null", skip_serializing_if = "Option::is_none")]
                #[schema(value_type = Content, required = true)]
                content: Option<Content>,
                /// When it was created; at most a day ahead of now.
                #[serde(
                    rename = "createdDate",
                    default,
                    deserialize_with = "not_null",
                    skip_serializing_if = "Option::is_none"
                )]
                #[schema(value_type = Moment, required = false)]
                created_date: Option<Moment>,
            },
            { $($(#[$nullable_doc])+ $nullable: $nullable_type,)* },
            { $($(#[$plain_doc])+ $plain: $plain_type,)* }
        );
        bodies!(@body { $(#[$patch_doc])+ } $patch,
            {
                /// The title.
                #[serde(default, deserialize_with = "not_null", skip_serializing_if = "Option::is_none")]
                #[schema(value_type = Title, required = false)]
                title: Option<Title>,
                /// The text, as HTML; it is sanitised.
                #[serde(default, deserialize_with = "not_null", skip_serializing_if = "Option::is_none")]
                #[schema(value_type = Content, required = false)]
                content: Option<Content>,
                /// When it was created; at most a day ahead of now.
                #[serde(
                    rename = "createdDate",
                    default,
                    deserialize_with = "not_null",
                    skip_serializing_if = "Option::is_none"
                )]
                #[schema(value_type = Moment, required = false)]
                created_date: Option<Moment>,
            },
            { $($(#[$nullable_doc])+ $nullable: $nullable_type,)* },
            { $($(#[$plain_doc])+ $plain: $plain_type,)* }
        );

        impl Body for $create {}

        impl Body for $replace {
            const READ_ONLY: &'static [&'static str] = &[$($read_only),+];
            const IGNORED: &'static [&'static str] = IGNORED;
            const REQUIRED: &'static [&'static str] = &["title", "content"];
        }

        impl Body for $patch {
            const READ_ONLY: &'static [&'static str] = &[$($read_only),+];
            const IGNORED: &'static [&'static str] = IGNORED;
        }

        impl From<$replace> for $patch {
            fn from(body: $replace) -> Self {
                Self {
                    title: body.title,
                    content: body.content,
                    created_date: body.created_date,
                    is_published: body.is_published,
                    section_id: body.section_id,
                    $($nullable: body.$nullable,)*
                    $($plain: body.$plain,)*
                }
            }
        }

        impl From<$create> for $patch {
            fn from(body: $create) -> Self {
                Self {
                    title: Some(body.title),
                    content: Some(body.content.into()),
                    created_date: body.created_date.value(),
                    is_published: body.is_published,
                    section_id: body.section_id,
                    $($nullable: body.$nullable,)*
                    $($plain: body.$plain,)*
                }
            }
        }
    };
    (
        @body { $(#[$doc:meta])+ } $name:ident,
        { $($(#[$own:meta])+ $field:ident: $type:ty,)+ },
        { $($(#[$nullable_doc:meta])+ $nullable:ident: $nullable_type:ident,)* },
        { $($(#[$plain_doc:meta])+ $plain:ident: $plain_type:ident,)* }
    ) => {
        #[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
        #[serde(deny_unknown_fields)]
        $(#[$doc])+
        pub struct $name {
            $($(#[$own])+ pub $field: $type,)+
            /// Whether the public sees it.
            #[serde(default, deserialize_with = "not_null", skip_serializing_if = "Option::is_none")]
            #[schema(value_type = bool, required = false)]
            pub is_published: Option<bool>,
            /// The section it belongs to. A new item without one gets the default section of its
            /// type; null is "no section".
            #[serde(default, skip_serializing_if = "Patch::is_absent")]
            #[schema(value_type = Option<ObjectId>)]
            pub section_id: Patch<ObjectId>,
            $(
                $(#[$nullable_doc])+
                #[serde(default, skip_serializing_if = "Patch::is_absent")]
                #[schema(value_type = Option<$nullable_type>)]
                pub $nullable: Patch<$nullable_type>,
            )*
            $(
                $(#[$plain_doc])+
                #[serde(default, deserialize_with = "not_null", skip_serializing_if = "Option::is_none")]
                #[schema(value_type = $plain_type, required = false)]
                pub $plain: Option<$plain_type>,
            )*
        }
    };
}

bodies! {
    /// A new story.
    #[schema(examples(json!({"title": "First light", "content": "<p>It works.</p>", "is_published": true})))]
    StoryCreate,
    /// What a story is to be. What it leaves out stays as it is.
    #[schema(examples(json!({"title": "First light", "content": "<p>It works.</p>"})))]
    StoryReplace,
    /// Changes of a story.
    #[schema(examples(json!({"title": "First light, again"})))]
    StoryPatch,
    read_only: ["id", "slug", "updatedDate", "deleted", "user_id", "sanitized"],
    nullable: {
        /// The date that the author gave it.
        date: Moment,
    },
    plain: {}
}

bodies! {
    /// A new project.
    #[schema(examples(json!({"title": "Lamp log", "content": "<p>How it is made.</p>", "summary": "Listens to a lamp.", "technologies": ["Rust"], "is_published": true})))]
    ProjectCreate,
    /// What a project is to be. What it leaves out stays as it is.
    #[schema(examples(json!({"title": "Lamp log", "content": "<p>How it is made.</p>", "technologies": ["Rust"]})))]
    ProjectReplace,
    /// Changes of a project.
    #[schema(examples(json!({"is_featured": true})))]
    ProjectPatch,
    read_only: ["id", "slug", "updatedDate", "deleted", "user_id", "sanitized"],
    nullable: {
        /// A sentence or two for the card.
        summary: Summary,
        /// The picture on the card.
        image_url: WebUrl,
        /// Where its source is.
        github_url: WebUrl,
        /// Where it runs.
        live_url: WebUrl,
    },
    plain: {
        /// What it is made with.
        technologies: Technologies,
        /// Whether the site shows it first.
        is_featured: bool,
    }
}

bodies! {
    /// A new page.
    #[schema(examples(json!({"title": "About", "content": "<p>Who we are.</p>", "page_type": "about", "is_published": true})))]
    PageCreate,
    /// What a page is to be. What it leaves out stays as it is.
    #[schema(examples(json!({"title": "About", "content": "<p>Who we are.</p>"})))]
    PageReplace,
    /// Changes of a page.
    #[schema(examples(json!({"content": "<p>Who we are now.</p>"})))]
    PagePatch,
    read_only: ["id", "updatedDate", "deleted", "user_id", "sanitized"],
    nullable: {
        /// Which page of the site it is, such as `about`.
        page_type: PageType,
    },
    plain: {}
}

/// Moves content to a section: all of it or none.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ContentMove {
    /// The kind of content. The section has to be one for it.
    pub content_type: ContentType,
    /// Which content.
    pub content: MovedContent,
    /// The section that it is to belong to.
    pub section_id: ObjectId,
}

/// Which content is moved.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum MovedContent {
    /// The items with these ids.
    Ids(ContentIds),
    /// Everything that belongs to this section.
    SectionId(ObjectId),
}

impl Body for ContentMove {}

/// What came of moving content.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ContentMoved {
    /// How many items were moved. Those that were in the section already are not counted.
    pub moved: u64,
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read<T: Body>(body: &serde_json::Value) -> Result<T, String> {
        T::deserialize(body).map_err(|error| error.to_string())
    }

    #[test]
    fn what_the_existing_frontend_sends_is_a_story() {
        let body = json!({
            "title": "A day", "content": "<p>x</p>", "is_published": true,
            "createdDate": "2026-05-01T09:30:00.000Z",
        });
        let story: StoryCreate = read(&body).unwrap();
        assert_eq!(story.is_published, Some(true));
        assert_eq!(story.section_id, Patch::Absent);
        assert_eq!(serde_json::to_value(&story).unwrap(), body);
    }

    #[test]
    fn a_patch_tells_null_from_absent() {
        let patch: ProjectPatch = read(&json!({ "live_url": null })).unwrap();
        assert_eq!((patch.live_url, patch.github_url), (Patch::Null, Patch::Absent));
        assert_eq!((patch.title, patch.is_featured), (None, None));
    }

    #[test]
    fn what_cannot_be_null_refuses_it() {
        for field in ["title", "content", "is_published", "technologies", "is_featured"] {
            assert!(read::<ProjectPatch>(&json!({ field: null })).is_err(), "{field}");
        }
    }

    #[test]
    fn unknown_fields_and_operators_are_refused() {
        for body in [
            json!({ "slug": "x" }),
            json!({ "views": 1 }),
            json!({ "title": { "$gt": "" } }),
            json!({ "section_id": { "$ne": null } }),
            json!({ "$set": {} }),
        ] {
            assert!(read::<StoryPatch>(&body).is_err(), "{body}");
        }
    }

    #[test]
    fn content_is_moved_by_ids_or_by_section() {
        let id = "626e3e0035b0bc65bb5e1545";
        let body =
            |content| json!({ "content_type": "story", "content": content, "section_id": id });
        for content in [json!({ "ids": [id] }), json!({ "section_id": id })] {
            assert!(read::<ContentMove>(&body(content)).is_ok());
        }
        for content in [
            json!({}),
            json!({ "ids": [] }),
            json!({ "ids": [id, id] }),
            json!({ "ids": [id], "section_id": id }),
            json!(null),
        ] {
            assert!(read::<ContentMove>(&body(content.clone())).is_err(), "{content}");
        }
    }
}
