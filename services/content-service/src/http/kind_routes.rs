//! The routes of a kind of content.

use data_service::revisions::{
    MAX_NUMBER, RevertQuery, RevisionList, RevisionQuery, RevisionView, RevisionsQuery,
};
use models::ObjectId;
use utoipa::{
    ToSchema,
    openapi::{ObjectBuilder, Ref, Type},
};

use super::{
    describe::{Described, Endpoint, operation},
    editing::{self, Editing, EditingQuery},
    error_sets::{
        AddressErrors, ChangeErrors, CreateErrors, DeleteErrors, ListErrors, PublishErrors,
        ReadErrors, RestoreErrors, RevertErrors, RevisionErrors,
    },
    item,
    item_drafts::{self, Drafted},
    list::{self, ListQuery},
    revisions, view,
    write::{self, Written},
};
use crate::{
    domain::list::List,
    store::kind::{Address, Kind},
};

const LOCATION: (&str, &str) =
    ("Content-Location", "The address of the item, if the request has a former one.");

const STATE: (&str, &str) = ("ETag", "The state of the item, for `If-Match`.");

const DRAFT_STATE: (&str, &str) = ("ETag", "The state of the draft, for `If-Match`.");

/// Returns the routes of a kind with their description. The look-up comes first: its path could be
/// taken for that of an item.
pub(super) fn endpoints<K: Kind>() -> [Endpoint; 10] {
    let collection = K::TYPE.collection();
    let address = K::ADDRESS;
    [
        Endpoint::new(format!("/{collection}/{}/{{{}}}", address.segment(), address.field()))
            .get(item::by_address::<K>, look_up::<K>()),
        Endpoint::new(format!("/{collection}"))
            .get(list::list::<K>, list_items::<K>())
            .post(write::create::<K>, create::<K>()),
        Endpoint::new(format!("/{collection}/{{id}}"))
            .get(item::by_id::<K>, by_id::<K>())
            .put(write::replace::<K>, replace::<K>())
            .patch(write::patch::<K>, patch::<K>())
            .delete(write::delete::<K>, delete::<K>()),
        Endpoint::new(format!("/{collection}/{{id}}/restore"))
            .post(write::restore::<K>, restore::<K>()),
        Endpoint::new(format!("/{collection}/{{id}}/draft"))
            .get(item_drafts::read::<K>, draft::<K>())
            .put(item_drafts::save::<K>, save_draft::<K>())
            .delete(item_drafts::drop_draft::<K>, drop_draft::<K>()),
        Endpoint::new(format!("/{collection}/{{id}}/publish"))
            .post(item_drafts::publish::<K>, publish::<K>()),
        Endpoint::new(format!("/{collection}/{{id}}/editing"))
            .put(editing::report::<K>, report_editing::<K>())
            .delete(editing::leave::<K>, leave_editing::<K>()),
        Endpoint::new(format!("/{collection}/{{id}}/revisions"))
            .get(revisions::list::<K>, list_revisions::<K>()),
        Endpoint::new(format!("/{collection}/{{id}}/revisions/{{number}}"))
            .get(revisions::read::<K>, revision::<K>()),
        Endpoint::new(format!("/{collection}/{{id}}/revisions/{{number}}/restore"))
            .post(revisions::restore::<K>, revert::<K>()),
    ]
}

fn look_up<K: Kind>() -> Described {
    let kind = K::NAME.to_lowercase();
    let summary = match K::ADDRESS {
        Address::Slug { .. } => format!("The published {kind} with this slug."),
        Address::Field { segment, .. } => format!("The published {kind} of this {segment}."),
    };
    let text =
        ObjectBuilder::new().schema_type(Type::String).pattern(Some(r"^[^\u0000-\u001F\u007F]+$"));
    describe::<K>(
        &format!("by_{}", K::ADDRESS.segment()),
        &summary,
        "Items that are unpublished or in a section that the public does not see are not found \
         without `include_drafts` and a token, and deleted ones never. The item that had a slug before it got another one is found by it too, unless another \
         item has it now. Slashes and other characters that an address cannot have are percent-encoded, as in \
         `2015%2F02%2Fhello-world`; the text is decoded once.",
    )
    .path(K::ADDRESS.field(), "The percent-encoded text by which the item is looked up.", text)
    .query::<item::LookUpQuery>()
    .if_none_match()
    .answer::<K>(200, "The item.", K::name().into_owned(), &[STATE, LOCATION])
    .empty_answer(304, "The item has not changed.")
    .errors::<AddressErrors>()
    .optional_token()
}

fn list_items<K: Kind>() -> Described {
    let described = describe::<K>(
        "list",
        "A page of the list, newest first unless `sort` says otherwise.",
        "Follow `next_cursor` with the other parameters unchanged to read the whole list. Without a \
         token the list has what the public sees; with `include_drafts` and a token also the items \
         that are not published.",
    )
    .query::<ListQuery>();
    let described = match view::has_member::<K>(list::FEATURED) {
        true => described.query_parameter(
            list::FEATURED,
            "`true` for items that the site shows first, `false` for the others.",
            ObjectBuilder::new().schema_type(Type::Boolean),
        ),
        false => described,
    };
    described
        .query_parameter(
            "fields",
            "The names of the members that the items have, separated by commas.",
            view::fields_schema::<K>(),
        )
        .if_none_match()
        .answer::<List<K::Card>>(
            200,
            "The page.",
            format!("List_{}", K::Card::name()),
            &[("ETag", "The state of the page.")],
        )
        .or_answer(200, view::page_name::<K>(), view::schemas::<K>())
        .empty_answer(304, "The page has not changed.")
        .errors::<ListErrors>()
        .optional_token()
}

fn by_id<K: Kind>() -> Described {
    describe::<K>(
        "by_id",
        "One item, drafts too.",
        "For editors: it needs a token, and finds items that are not published as well. Items in \
         the trash are not found.",
    )
    .id()
    .if_none_match()
    .answer::<K>(200, "The item.", K::name().into_owned(), &[STATE])
    .empty_answer(304, "The item has not changed.")
    .errors::<ReadErrors>()
    .token()
}

fn create<K: Kind>() -> Described {
    let key = ObjectBuilder::new()
        .min_length(Some(1))
        .max_length(Some(255))
        .pattern(Some("^[!-~]([ -~]*[!-~])?$"));
    describe::<K>(
        "create",
        "Adds an item.",
        "Without `section_id` it belongs to the default section of its kind. The HTML is sanitised. \
         Unless a slug is given, kinds that are looked up by slugs make it from the title. A slug that \
         another item has is refused.",
    )
    .header(
        "Idempotency-Key",
        "With the same key, the same request adds one item however often it is sent.",
        key,
    )
    .body::<K::Create>()
    .answer::<Written<K>>(
        201,
        "The new item.",
        written_name::<K>(),
        &[("Location", "The address of the item."), STATE],
    )
    .errors::<CreateErrors>()
    .token()
}

fn replace<K: Kind>() -> Described {
    describe::<K>(
        "replace",
        "Replaces an item.",
        "Members that the body leaves out stay as they are. A body that was read with `GET` can be \
         sent back; `If-Match` keeps it from overwriting a change that was made since.",
    )
    .id()
    .if_match("The state of the item that is replaced.")
    .body::<K::Replace>()
    .answer::<Written<K>>(200, "The item as it is now.", written_name::<K>(), &[STATE])
    .errors::<ChangeErrors>()
    .token()
}

fn patch<K: Kind>() -> Described {
    describe::<K>(
        "patch",
        "Changes some fields of an item.",
        "Members that the body leaves out stay as they are; null empties those that can be empty.",
    )
    .id()
    .if_match("The state of the item that is changed.")
    .body::<K::Patch>()
    .answer::<Written<K>>(200, "The item as it is now.", written_name::<K>(), &[STATE])
    .errors::<ChangeErrors>()
    .token()
}

fn delete<K: Kind>() -> Described {
    describe::<K>(
        "delete",
        "Puts an item into the trash.",
        "No other route finds it then, and it keeps its slug. Restoring it brings it back.",
    )
    .id()
    .if_match("The state of the item that is deleted.")
    .empty_answer(204, "The item is in the trash.")
    .errors::<DeleteErrors>()
    .token()
}

fn restore<K: Kind>() -> Described {
    describe::<K>(
        "restore",
        "Takes an item out of the trash.",
        "It comes back as it was, in the section in which it was.",
    )
    .id()
    .answer::<Written<K>>(200, "The item as it is now.", written_name::<K>(), &[STATE])
    .errors::<RestoreErrors>()
    .token()
}

fn draft<K: Kind>() -> Described {
    describe::<K>(
        "draft",
        "The draft of an item.",
        "The item as it will be once its draft is published, for those who may change it.",
    )
    .id()
    .answer::<Drafted<K>>(200, "The draft.", drafted_name::<K>(), &[DRAFT_STATE])
    .errors::<ReadErrors>()
    .token()
}

fn save_draft<K: Kind>() -> Described {
    describe::<K>(
        "save_draft",
        "Saves a draft of an item.",
        "The published text stays as it is until the draft is published. Members that the body leaves out \
         will stay as they are in the item; `is_published` is ignored. What was read can be sent back.",
    )
    .id()
    .if_match("The state of the draft that is replaced.")
    .header("If-None-Match", "`*` to save only if there is no draft.", ObjectBuilder::new())
    .body::<K::Replace>()
    .answer::<Drafted<K>>(200, "The draft as it is now.", drafted_name::<K>(), &[DRAFT_STATE])
    .errors::<ChangeErrors>()
    .token()
}

fn drop_draft<K: Kind>() -> Described {
    describe::<K>(
        "drop_draft",
        "Drops the draft of an item.",
        "The item stays as it is. A draft that was dropped cannot be brought back.",
    )
    .id()
    .if_match("The state of the draft that is dropped.")
    .empty_answer(204, "The item has no draft any more.")
    .errors::<DeleteErrors>()
    .token()
}

fn publish<K: Kind>() -> Described {
    describe::<K>(
        "publish",
        "Publishes an item, with the text of its draft if it has one.",
        "It does what `PUT` of the draft with `is_published` would do, and removes the draft with that. If \
         the published text was changed since the draft was begun, it is refused unless `If-Match` names \
         the present state of the item.",
    )
    .id()
    .if_match("The state of the item that is published.")
    .answer::<Written<K>>(200, "The item as it is now.", written_name::<K>(), &[STATE])
    .errors::<PublishErrors>()
    .token()
}

fn report_editing<K: Kind>() -> Described {
    describe::<K>(
        "report_editing",
        "Reports that the caller has an item open, and answers with the others who have.",
        "For those who may change the item. It is sent every 15 to 30 seconds while the item is open: who \
         does not report for 90 seconds has left.",
    )
    .id()
    .query::<EditingQuery>()
    .answer::<Editing>(200, "The others.", Editing::name().into_owned(), &[])
    .errors::<ReadErrors>()
    .token()
}

fn leave_editing<K: Kind>() -> Described {
    describe::<K>(
        "leave_editing",
        "Reports that the caller has closed an item.",
        "Others are not told any more that it is open.",
    )
    .id()
    .query::<EditingQuery>()
    .empty_answer(204, "The caller does not have the item open.")
    .errors::<ReadErrors>()
    .token()
}

fn list_revisions<K: Kind>() -> Described {
    describe::<K>(
        "revisions",
        "The changes of an item, newest first.",
        "Each of them has kept the item as it was before. For admins, and for authors of what is \
         theirs. Old revisions are removed as the settings say.",
    )
    .id()
    .query::<RevisionsQuery>()
    .answer::<RevisionList>(200, "The page.", RevisionList::name().into_owned(), &[])
    .errors::<RevisionErrors>()
    .token()
}

fn revision<K: Kind>() -> Described {
    describe::<K>(
        "revision",
        "An item as it was before a change, and the difference.",
        "For admins, and for authors of what is theirs.",
    )
    .id()
    .number()
    .query::<RevisionQuery>()
    .answer::<RevisionView<K>>(
        200,
        "The item as it was, and the difference.",
        format!("RevisionView_{}", K::name()),
        &[],
    )
    .errors::<RevisionErrors>()
    .token()
}

fn revert<K: Kind>() -> Described {
    describe::<K>(
        "revert",
        "Gives an item the values that it had before a change.",
        "That is a change as any other, which has a revision itself. The item stays published or a \
         draft as it is, and keeps its owner and the date of its creation.",
    )
    .id()
    .number()
    .query::<RevertQuery>()
    .if_match("The state of the item that is changed.")
    .answer::<Written<K>>(200, "The item as it is now.", written_name::<K>(), &[STATE])
    .errors::<RevertErrors>()
    .token()
}

fn describe<K: Kind>(name: &str, summary: &str, description: &str) -> Described {
    let tag = K::TYPE.collection();
    operation(tag, format!("{tag}_{name}"), summary, description)
}

fn written_name<K: Kind>() -> String {
    format!("Written_{}", K::name())
}

fn drafted_name<K: Kind>() -> String {
    format!("Drafted_{}", K::name())
}

impl Described {
    fn id(self) -> Self {
        let description = "The id of the item. An item of an existing site that is listed with \
                           another id is addressed by that one.";
        self.path("id", description, Ref::from_schema_name(ObjectId::name()))
    }

    fn number(self) -> Self {
        let number = ObjectBuilder::new().schema_type(Type::Integer).minimum(Some(1));
        self.path("number", "The number of the change.", number.maximum(Some(MAX_NUMBER)))
    }

    fn if_none_match(self) -> Self {
        self.header("If-None-Match", "The state that the caller has.", ObjectBuilder::new())
    }

    fn if_match(self, description: &str) -> Self {
        self.header("If-Match", description, ObjectBuilder::new())
    }
}
