//! The bodies of requests that create, replace and change an item.

/// The members of an answer that no request can change. The four last ones are ignored.
pub(super) const READ_ONLY: &[&str] =
    &["id", "deleted", "user_id", "path", "author", "updatedDate", "sanitized", "draft_state"];

/// The read-only members that are accepted with any value: every write changes them, or they are not
/// stored.
pub(super) const IGNORED: &[&str] = &["author", "updatedDate", "sanitized", "draft_state"];

/// Declares the three bodies of a kind of content. The kinds differ in their own fields alone:
/// `nullable` ones can be null, `plain` ones cannot.
///
/// A field that a body leaves out keeps its value, in a replacement too: existing frontends send
/// only the fields of their forms.
macro_rules! bodies {
    (
        $(#[$create_doc:meta])+ $create:ident,
        $(#[$replace_doc:meta])+ $replace:ident,
        $(#[$patch_doc:meta])+ $patch:ident,
        read_only: $read_only:expr,
        nullable: $nullable:tt,
        plain: $plain:tt
    ) => {
        bodies!(@struct { $(#[$create_doc])+ } $create,
            {
                /// The title.
                title: models::Title,
                /// The text, as HTML; it is sanitised.
                content: $crate::domain::html_content::NewHtmlContent,
                /// The date of its creation; now unless it is given.
                #[serde(rename = "createdDate", default, skip_serializing_if = "Patch::is_absent")]
                #[schema(value_type = Option<Moment>)]
                created_date: Patch<Moment>,
            },
            $nullable, $plain
        );
        bodies!(@change { $(#[$replace_doc])+ } $replace, required = true, $nullable, $plain);
        bodies!(@change { $(#[$patch_doc])+ } $patch, required = false, $nullable, $plain);

        impl models::Body for $create {}

        impl models::Body for $replace {
            const READ_ONLY: &'static [&'static str] = $read_only;
            const IGNORED: &'static [&'static str] = $crate::kinds::bodies::IGNORED;
            const REQUIRED: &'static [&'static str] = &["title", "content"];
        }

        impl models::Body for $patch {
            const READ_ONLY: &'static [&'static str] = $read_only;
            const IGNORED: &'static [&'static str] = $crate::kinds::bodies::IGNORED;
        }

        impl $patch {
            /// Takes the members that all kinds have, and returns the changes that they make.
            fn take_common(&mut self) -> $crate::store::kind::Changes {
                $crate::store::kind::Changes {
                    title: self.title.take(),
                    content: self.content.take(),
                    created_date: self.created_date.take(),
                    date: std::mem::take(&mut self.date),
                    tags: self.tags.take(),
                    is_published: self.is_published.take(),
                    section: std::mem::take(&mut self.section_id),
                    page: models::PageMetaPatch::new(
                        std::mem::take(&mut self.description),
                        std::mem::take(&mut self.social_image),
                        std::mem::take(&mut self.canonical),
                        self.noindex.take(),
                    ),
                    schedule: $crate::domain::schedule::SchedulePatch {
                        publish_at: std::mem::take(&mut self.publish_at),
                        unpublish_at: std::mem::take(&mut self.unpublish_at),
                    },
                    default_section: None,
                    slug: Patch::Absent,
                    own: $crate::store::kind::OwnFields::default(),
                }
            }
        }

        bodies!(@into $replace, $patch, |body| body.title, body.content, body.created_date,
            $nullable, $plain);
        bodies!(@into $create, $patch,
            |body| Some(body.title), Some(body.content.into()), body.created_date.value(),
            $nullable, $plain);
    };
    (@change { $($doc:tt)+ } $name:ident, required = $required:tt, $nullable:tt, $plain:tt) => {
        bodies!(@struct { $($doc)+ } $name,
            {
                /// The title.
                #[serde(default, deserialize_with = "not_null", skip_serializing_if = "Option::is_none")]
                #[schema(value_type = Title, required = $required)]
                title: Option<models::Title>,
                /// The text, as HTML; it is sanitised.
                #[serde(default, deserialize_with = "not_null", skip_serializing_if = "Option::is_none")]
                #[schema(value_type = HtmlContent, required = $required)]
                content: Option<$crate::domain::html_content::HtmlContent>,
                /// The date of its creation; at most a day ahead of now.
                #[serde(
                    rename = "createdDate",
                    default,
                    deserialize_with = "not_null",
                    skip_serializing_if = "Option::is_none"
                )]
                #[schema(value_type = Moment, required = false)]
                created_date: Option<Moment>,
            },
            $nullable, $plain
        );
    };
    (
        @struct { $($doc:tt)+ } $name:ident,
        { $($(#[$own:meta])+ $field:ident: $type:ty,)+ },
        { $($(#[$nullable_doc:meta])+ $nullable:ident: $nullable_type:ident,)* },
        { $($(#[$plain_doc:meta])+ $plain:ident: $plain_type:ident,)* }
    ) => {
        #[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
        #[serde(deny_unknown_fields)]
        $($doc)+
        pub(crate) struct $name {
            $($(#[$own])+ pub(crate) $field: $type,)+
            /// `true` if the public sees it.
            #[serde(default, deserialize_with = "not_null", skip_serializing_if = "Option::is_none")]
            #[schema(value_type = bool, required = false)]
            pub(crate) is_published: Option<bool>,
            /// The section that it belongs to. A new item without one gets the default section of its
            /// kind; null is "no section".
            #[serde(default, skip_serializing_if = "Patch::is_absent")]
            #[schema(value_type = Option<models::ObjectId>)]
            pub(crate) section_id: Patch<models::ObjectId>,
            /// The date that the author gives it, which lists can be ordered by.
            #[serde(default, skip_serializing_if = "Patch::is_absent")]
            #[schema(value_type = Option<Moment>)]
            pub(crate) date: Patch<Moment>,
            /// The words that it has in common with other items, each once whatever its capital
            /// letters.
            #[serde(default, deserialize_with = "not_null", skip_serializing_if = "Option::is_none")]
            #[schema(value_type = $crate::domain::tag::ItemTags, required = false)]
            pub(crate) tags: Option<$crate::domain::tag::ItemTags>,
            /// A sentence or two about the page, as plain text, for search engines and previews of
            /// links.
            #[serde(default, skip_serializing_if = "Patch::is_absent")]
            #[schema(value_type = Option<models::PageDescription>)]
            pub(crate) description: Patch<models::PageDescription>,
            /// The address of the picture that previews of links show.
            #[serde(default, skip_serializing_if = "Patch::is_absent")]
            #[schema(value_type = Option<models::UrlOrPath>)]
            pub(crate) social_image: Patch<models::UrlOrPath>,
            /// The address at which search engines list the page; null for its own.
            #[serde(default, skip_serializing_if = "Patch::is_absent")]
            #[schema(value_type = Option<models::UrlOrPath>)]
            pub(crate) canonical: Patch<models::UrlOrPath>,
            /// `true` if search engines must not list the page.
            #[serde(default, deserialize_with = "not_null", skip_serializing_if = "Option::is_none")]
            #[schema(value_type = bool, required = false)]
            pub(crate) noindex: Option<bool>,
            /// The moment at which the draft is published by itself, in the future. A new item that has one
            /// is a draft until then.
            #[serde(default, skip_serializing_if = "Patch::is_absent")]
            #[schema(value_type = Option<Moment>)]
            pub(crate) publish_at: Patch<Moment>,
            /// The moment at which the item becomes a draft by itself, in the future and after
            /// `publish_at`.
            #[serde(default, skip_serializing_if = "Patch::is_absent")]
            #[schema(value_type = Option<Moment>)]
            pub(crate) unpublish_at: Patch<Moment>,
            $(
                $(#[$nullable_doc])+
                #[serde(default, skip_serializing_if = "Patch::is_absent")]
                #[schema(value_type = Option<$nullable_type>)]
                pub(crate) $nullable: Patch<$nullable_type>,
            )*
            $(
                $(#[$plain_doc])+
                #[serde(default, deserialize_with = "not_null", skip_serializing_if = "Option::is_none")]
                #[schema(value_type = $plain_type, required = false)]
                pub(crate) $plain: Option<$plain_type>,
            )*
        }
    };
    (
        @into $from:ident, $patch:ident, |$body:ident| $title:expr, $content:expr, $created:expr,
        { $($(#[$nullable_doc:meta])+ $nullable:ident: $nullable_type:ident,)* },
        { $($(#[$plain_doc:meta])+ $plain:ident: $plain_type:ident,)* }
    ) => {
        impl From<$from> for $patch {
            fn from($body: $from) -> Self {
                Self {
                    title: $title,
                    content: $content,
                    created_date: $created,
                    is_published: $body.is_published,
                    section_id: $body.section_id,
                    date: $body.date,
                    tags: $body.tags,
                    description: $body.description,
                    social_image: $body.social_image,
                    canonical: $body.canonical,
                    noindex: $body.noindex,
                    publish_at: $body.publish_at,
                    unpublish_at: $body.unpublish_at,
                    $($nullable: $body.$nullable,)*
                    $($plain: $body.$plain,)*
                }
            }
        }
    };
}

pub(super) use bodies;
