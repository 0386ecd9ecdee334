//! All texts that the console shows, in English.

/// The frame of all pages.
pub(crate) mod frame {
    pub(crate) const NAME: &str = "Turbulence";
    pub(crate) const SKIP: &str = "Skip to the content";
    pub(crate) const PAGES: &str = "Pages of the console";
    pub(crate) const NAVIGATION: &str = "Navigation";
    pub(crate) const SIGN_OUT: &str = "Sign out";
    pub(crate) const NEVER: &str = "never";
}

/// Errors that any page can have.
pub(crate) mod error {
    pub(crate) const TITLE: &str = "This did not work";
    pub(crate) const NOT_FOUND_TITLE: &str = "Not found";
    pub(crate) const NOT_FOUND: &str =
        "There is no such page, or what it showed was deleted in the meantime.";
    pub(crate) const GONE: &str = "This was deleted in the meantime, and cannot be saved. What you typed \
        is below: copy it, or have it restored and save again.";
    pub(crate) const UNREACHABLE: &str = "The site could not be reached, or did not answer in time. \
        Nothing that you typed is lost: try again in a moment.";
    pub(crate) const SIGNED_OUT: &str = "You are signed out. Sign in, then send this again.";
    pub(crate) const KEPT: &str =
        "What you typed is kept: go back to the form after you have signed in, and send it again.";
    pub(crate) const SIGN_IN_ELSEWHERE: &str = "Sign in in another tab";
    pub(crate) const FORGED: &str = "This form is not one of your session. Open the page again, and \
        send it from there.";
    pub(crate) const TOO_LARGE: &str = "That is longer than the site accepts.";
    pub(crate) const UNREADABLE_FORM: &str = "The form arrived incomplete. Send it again.";
    pub(crate) const METHOD: &str = "This address cannot be used like that.";
    pub(crate) const CHECK: &str = "Correct the fields that are marked, then save again.";
    pub(crate) const TRY_AGAIN: &str = "Try again";
    pub(crate) const BACK: &str = "Back to the navigation";
}

/// The page that signs in.
pub(crate) mod sign_in {
    pub(crate) const TITLE: &str = "Sign in";
    pub(crate) const TOKEN: &str = "Token";
    pub(crate) const SUBMIT: &str = "Sign in";
    pub(crate) const HELP_STATIC: &str = "The token of the site. “turbulence up” prints it when it \
        starts, and keeps it in the file “token” of its data folder; elsewhere it is the setting \
        “auth.static_token”.";
    pub(crate) const HELP_PROVIDER: &str = "A token that the identity provider of the site issued to \
        you. For now, the console cannot get one by itself: paste it here.";
    pub(crate) const REFUSED: &str = "This token is not valid, or it has expired.";
    pub(crate) const CODE_USED: &str =
        "This link works once, and for ten minutes. Sign in with the token instead.";
    pub(crate) const EMPTY: &str = "Paste the token here.";
    pub(crate) const TOO_LONG: &str = "A token of that length does not fit into a cookie.";
    pub(crate) const UNPRINTABLE: &str = "A token has only printable ASCII characters.";
    pub(crate) const FORGED: &str = "The form was sent from another site. Sign in here instead.";
    pub(crate) const UNREACHABLE: &str =
        "The site could not be reached, or did not answer in time. Try again in a moment.";
    pub(crate) const SIGNED_OUT: &str = "You are signed out.";
}

/// The page with the tree of sections.
pub(crate) mod navigation {
    pub(crate) const TITLE: &str = "Navigation";
    pub(crate) const INTRO: &str =
        "The sections of the site, in the order in which visitors see them.";
    pub(crate) const HELP: &str = "Drag a section by its handle, or focus it and press Alt with an \
        arrow key: up and down change the order, right puts it below the section before it, and left \
        takes it out again.";
    pub(crate) const NEW: &str = "New section";
    pub(crate) const TREE: &str = "Sections";
    pub(crate) const DETACHED: &str = "Not reachable";
    pub(crate) const DETACHED_HELP: &str = "The section above these is missing, or they are below each \
        other. Open one, and move it to a place.";
    pub(crate) const EMPTY: &str =
        "There is no section yet. Add the first one: a blog, for example.";
    pub(crate) const DRAFT: &str = "Hidden";
    pub(crate) const HOME: &str = "Home";
    pub(crate) const FOOTER: &str = "Footer";
    pub(crate) const NOT_IN_MENUS: &str = "Not in menus";
    pub(crate) const UP: &str = "Move up";
    pub(crate) const DOWN: &str = "Move down";
    pub(crate) const HIDE: &str = "Hide";
    pub(crate) const PUBLISH: &str = "Publish";
    pub(crate) const DRAG: &str = "Drag to move";
    pub(crate) const DELETED: &str = "The section was deleted.";
    pub(crate) const UNDO: &str = "Undo";
    pub(crate) const RESTORED: &str = "The section is back.";
    pub(crate) const CREATED: &str = "The section was added.";
    pub(crate) const MOVED: &str = "Moved.";
    pub(crate) const MOVED_TO: &str = "“{title}” is number {index} of {count} below {parent}.";
    pub(crate) const AT_THE_TOP: &str = "the top";
    pub(crate) const NO_STEP: &str = "It cannot be moved further in that direction.";
    pub(crate) const GONE: &str =
        "The sections were changed by someone else in the meantime. Open the page again.";
    pub(crate) const ORDER_FAILED: &str =
        "The section has a new place, but its position there could not be set:";
}

/// The pages of one section.
pub(crate) mod section {
    pub(crate) const NEW_TITLE: &str = "New section";
    pub(crate) const TITLE: &str = "Title";
    pub(crate) const TITLE_HELP: &str = "Visitors see it in menus.";
    pub(crate) const SLUG: &str = "Slug";
    pub(crate) const SLUG_HELP: &str = "The last part of the address: lower-case letters, digits and \
        hyphens.";
    pub(crate) const SLUG_NEW_HELP: &str = "Leave it empty to make it from the title.";
    pub(crate) const ADDRESS: &str = "Address:";
    pub(crate) const ADDRESS_HELP: &str = "A new slug changes the address of this section and of \
        everything below it. The former addresses lead to the new ones.";
    pub(crate) const PARENT: &str = "Below";
    pub(crate) const TOP: &str = "— the top —";
    pub(crate) const PLACE: &str = "Place in menus";
    pub(crate) const PLACE_MAIN: &str = "Main menu";
    pub(crate) const PLACE_FOOTER: &str = "Footer";
    pub(crate) const PLACE_HIDDEN: &str = "In no menu; the address works";
    pub(crate) const KIND: &str = "Kind of content";
    pub(crate) const KIND_HELP: &str = "It can be changed while the section is empty.";
    pub(crate) const LINK_URL: &str = "Address of a link";
    pub(crate) const LINK_HELP: &str = "For links: an address of the web, mailto: or tel:, or a path of \
        the site. Or choose the section that the link leads to.";
    pub(crate) const LINK_SECTION: &str = "Section that a link leads to";
    pub(crate) const NO_TARGET: &str = "— none —";
    pub(crate) const LINK_TAB: &str = "A link opens in a new tab";
    pub(crate) const DISPLAY: &str = "Presentation";
    pub(crate) const DISPLAY_USUAL: &str = "As usual for the kind of content";
    pub(crate) const DISPLAY_FEED: &str = "Feed: a list";
    pub(crate) const DISPLAY_CARDS: &str = "Grid of cards";
    pub(crate) const DISPLAY_PAGE: &str = "A single page";
    pub(crate) const ORDER: &str = "Order of its content";
    pub(crate) const ORDER_USUAL: &str = "Newest first";
    pub(crate) const PUBLISHED: &str = "Published";
    pub(crate) const PUBLISHED_HELP: &str =
        "Otherwise visitors see neither the section nor anything below it.";
    pub(crate) const HOME: &str = "Home of the site";
    pub(crate) const HOME_HELP: &str =
        "The address / shows it, in place of the section that was home.";
    pub(crate) const SAVE: &str = "Save";
    pub(crate) const ADD: &str = "Add the section";
    pub(crate) const SAVED: &str = "Saved.";
    pub(crate) const SAVED_ADDRESS: &str =
        "Saved. The address is another one now; the former one leads here.";
    pub(crate) const UNCHANGED: &str = "Nothing was changed.";
    pub(crate) const CONFLICT: &str = "Someone else has changed this section since you opened it. Your \
        changes are below, with what is stored now beside each field that differs. Save again to \
        replace it.";
    pub(crate) const STORED: &str = "Stored now:";
    pub(crate) const MOVE_TITLE: &str = "Move";
    pub(crate) const POSITION: &str = "Position";
    pub(crate) const LAST: &str = "Last";
    pub(crate) const POSITION_HELP: &str =
        "The position is among the sections there now; below another section it becomes the last.";
    pub(crate) const MOVE: &str = "Move the section";
    pub(crate) const MOVED: &str = "The section was moved.";
    pub(crate) const CHANGED: &str = "Last change:";
    pub(crate) const CREATED: &str = "Created:";
    pub(crate) const DELETE: &str = "Delete…";
    pub(crate) const DELETE_HELP: &str =
        "A section can be deleted once it is empty. It can be restored afterwards.";
    pub(crate) const DELETE_CONFIRM: &str = "Delete the section";
    pub(crate) const CANCEL: &str = "Cancel";
    pub(crate) const BELOW: &str = "The sections below it";
    pub(crate) const BELOW_RESTRICT: &str =
        "are not touched: nothing is deleted while there are any";
    pub(crate) const BELOW_REPARENT: &str = "take its place";
    pub(crate) const BELOW_CASCADE: &str = "are deleted with it, if all of them are empty";

    pub(crate) fn delete_title(title: &str) -> String {
        format!("Delete “{title}”?")
    }

    pub(crate) fn before(title: &str) -> String {
        format!("Before “{title}”")
    }
}

/// The lists of content.
pub(crate) mod content {
    pub(crate) const TITLE: &str = "Content";
    pub(crate) const KINDS: &str = "Kinds of content";
    pub(crate) const SEARCH: &str = "Words";
    pub(crate) const SECTION: &str = "Section";
    pub(crate) const ANY_SECTION: &str = "All sections";
    pub(crate) const NO_SECTION: &str = "No section";
    pub(crate) const USUAL_SECTION: &str = "The usual one for its kind";
    pub(crate) const STATE: &str = "State";
    pub(crate) const ALL: &str = "Published and drafts";
    pub(crate) const PUBLIC: &str = "Only what visitors see";
    pub(crate) const TAG: &str = "Tag";
    pub(crate) const AFTER: &str = "Created from";
    pub(crate) const BEFORE: &str = "Created before";
    pub(crate) const ORDER: &str = "Order";
    pub(crate) const ORDER_USUAL: &str = "As visitors see it";
    pub(crate) const FILTER: &str = "Show";
    pub(crate) const RESET: &str = "Show everything";
    pub(crate) const SEARCH_HELP: &str =
        "With words, the best matches come first, and tag, dates and order do not count.";
    pub(crate) const EMPTY: &str = "There is nothing here yet.";
    pub(crate) const EMPTY_FILTERED: &str =
        "Nothing matches. Change what you look for, or show everything.";
    pub(crate) const SELECT_ALL: &str = "Select everything on this page";
    pub(crate) const PUBLISH: &str = "Publish";
    pub(crate) const UNPUBLISH: &str = "Make drafts";
    pub(crate) const TRASH: &str = "Delete";
    pub(crate) const MOVE: &str = "Move";
    pub(crate) const MOVE_TO: &str = "Move to";
    pub(crate) const SELECTED: &str = "With what is selected:";
    pub(crate) const DRAFT: &str = "Draft";
    pub(crate) const FEATURED: &str = "Featured";
    pub(crate) const CREATED: &str = "Created";
    pub(crate) const CHANGED: &str = "Changed";
    pub(crate) const NEXT: &str = "Next page";
    pub(crate) const PREVIOUS: &str = "Previous page";
    pub(crate) const FIRST: &str = "First page";
    pub(crate) const PAGES: &str = "Pages of the list";
    pub(crate) const NOTHING_SELECTED: &str = "Nothing is selected.";
    pub(crate) const UNDO: &str = "Undo";
    pub(crate) const UNTITLED: &str = "Without a title";
    pub(crate) const MANY: &str = "More is selected than a page has.";

    pub(crate) fn new(kind: &str) -> String {
        format!("New {kind}")
    }

    pub(crate) fn select(title: &str) -> String {
        format!("Select “{title}”")
    }

    pub(crate) fn total(total: u64) -> String {
        match total {
            1 => "1 item".to_owned(),
            total => format!("{total} items"),
        }
    }

    /// Returns the result of an action on several items.
    pub(crate) fn done(action: &str, count: usize) -> String {
        let what = match action {
            "publish" => "published",
            "unpublish" if count == 1 => "made a draft",
            "unpublish" => "made drafts",
            "trash" => "deleted",
            "restore" => "restored",
            _ => "moved",
        };
        match count {
            1 => format!("1 item was {what}."),
            count => format!("{count} items were {what}."),
        }
    }

    pub(crate) fn failed(count: usize) -> String {
        match count {
            1 => "1 item was not:".to_owned(),
            count => format!("{count} items were not:"),
        }
    }
}

/// The pages of one item.
pub(crate) mod item {
    pub(crate) const SAVE: &str = "Save";
    pub(crate) const CREATE: &str = "Add";
    pub(crate) const CREATED: &str = "Added.";
    pub(crate) const CONTENT_HELP: &str = "HTML. If you change it, the site keeps what its sanitiser \
        allows.";
    pub(crate) const LIST_HELP: &str = "One in each line.";
    pub(crate) const DATE_HELP: &str = "In UTC, such as 2026-05-01T12:00:00Z, or only the day.";
    pub(crate) const MOMENT_HELP: &str = "Empty for never. Browsers without scripts show it in UTC, such as \
        2026-05-01T12:00:00Z.";
    pub(crate) const SLUG_HELP: &str =
        "The last part of the address. The former address leads to the new one.";
    pub(crate) const PUBLISHED_HELP: &str = "Otherwise it is a draft, which visitors do not see.";
    pub(crate) const CONFLICT: &str = "Someone else has changed this item since you opened it. Your \
        changes are below, with what is stored now beside each field that differs. Save again to \
        replace it.";
    pub(crate) const ADDRESS: &str = "Address:";
    pub(crate) const NO_ADDRESS: &str = "none";
    pub(crate) const PREVIEW: &str = "As it is stored";
    pub(crate) const PREVIEW_HELP: &str = "Pictures of other hosts are not loaded here.";
    pub(crate) const LINK: &str = "Make a preview link";
    pub(crate) const LINK_HELP: &str = "Shows this item to anyone who has the link, a draft too, for a \
        day. It is the part of the address behind that of the gateway.";
    pub(crate) const LINK_READY: &str = "The preview link, which works until";
    pub(crate) const DELETE: &str = "Delete";
    pub(crate) const REMOVED: &str = "The sanitiser removed from the text:";

    /// The fields of items, in the order of the form, with their labels. What the answer of the API has
    /// and this list has not, no form shows, and no form changes.
    pub(crate) const FIELDS: [(&str, &str); 21] = [
        ("title", "Title"),
        ("slug", "Slug"),
        ("section_id", "Section"),
        ("is_published", "Published"),
        ("publish_at", "Publish by itself at"),
        ("unpublish_at", "Unpublish by itself at"),
        ("is_featured", "Featured"),
        ("page_type", "Type of the page"),
        ("summary", "Summary"),
        ("content", "Text"),
        ("tags", "Tags"),
        ("technologies", "Technologies"),
        ("image_url", "Address of the picture"),
        ("github_url", "Address of the source"),
        ("live_url", "Address of the result"),
        ("date", "Date"),
        ("createdDate", "Created"),
        ("description", super::facts::DESCRIPTION),
        ("social_image", super::facts::SOCIAL_IMAGE),
        ("canonical", super::facts::CANONICAL),
        ("noindex", super::facts::NOINDEX),
    ];
}

/// The trash.
pub(crate) mod trash {
    pub(crate) const TITLE: &str = "Trash";
    pub(crate) const INTRO: &str =
        "Deleted content. It can be restored; visitors do not see it until then.";
    pub(crate) const KINDS: &str = "Kinds of content";
    pub(crate) const ALL: &str = "Everything";
    pub(crate) const EMPTY: &str = "The trash is empty. What you delete on the page “Content” comes \
        here, so that you can bring it back.";
    pub(crate) const EMPTY_KIND: &str = "Nothing of this kind is in the trash.";
    pub(crate) const END: &str = "There is nothing more.";
    pub(crate) const PAGES: &str = "Pages of the trash";
    pub(crate) const FIRST: &str = "First page";
    pub(crate) const NEXT: &str = "Next page";
    pub(crate) const DELETED: &str = "Deleted";
    pub(crate) const BY: &str = "by";
    pub(crate) const UNNAMED: &str = "a user without a name";
    pub(crate) const UNKNOWN_TIME: &str = "Deleted before this site kept the time";
    pub(crate) const DRAFT: &str = "Draft";
    pub(crate) const BLOCKED: &str = "It cannot be restored now.";
    pub(crate) const NOT_SHOWN: &str = "Visitors would not see it.";
    pub(crate) const RESTORE: &str = "Restore";
    pub(crate) const RESTORED: &str = "It is restored, as it was before.";
    pub(crate) const DELETE: &str = "Delete for good…";
    pub(crate) const CONFIRM: &str =
        "It will be removed with everything that is kept about it. Nothing can bring it back.";
    pub(crate) const DELETE_NOW: &str = "Delete for good now";
    pub(crate) const DELETED_FOR_GOOD: &str = "It is deleted for good.";
}

/// The state of the site.
pub(crate) mod health {
    pub(crate) const TITLE: &str = "Health";
    pub(crate) const PARTS: &str = "Parts of the site";
    pub(crate) const OK: &str = "In order";
    pub(crate) const NOT_OK: &str = "Not in order";
    pub(crate) const HEALTHY: &str = "answers";
    pub(crate) const UNHEALTHY: &str = "is not used";
    pub(crate) const MIGRATIONS: &str = "Migrations";
    pub(crate) const COMMANDS: &str = "Control them with “turbulence migrate pause”, “resume” and “retry”, \
        followed by the name; “turbulence migrate status” shows more.";
    pub(crate) const DATA: &str = "Data";
    pub(crate) const DATA_HELP: &str = "What is wrong with what is stored, and how to correct it.";
    pub(crate) const NO_FINDINGS: &str = "Nothing is wrong with the data.";
    pub(crate) const REPAIR: &str = "“turbulence doctor --repair” can repair this.";

    pub(crate) fn applied(applied: u64, total: u64) -> String {
        format!("{applied} of {total} applied")
    }

    pub(crate) fn documents(done: u64, total: u64) -> String {
        format!("{done} of {total} documents")
    }

    pub(crate) fn more(count: u64) -> String {
        format!("and {count} more")
    }
}

/// The facts of pages for search engines and previews of links.
pub(crate) mod facts {
    pub(crate) const DESCRIPTION: &str = "Description for search engines";
    pub(crate) const SOCIAL_IMAGE: &str = "Picture for previews of links";
    pub(crate) const CANONICAL: &str = "Address for search engines, if it is another one";
    pub(crate) const NOINDEX: &str = "Not in search engines";
}

/// The words for values of the API.
pub(crate) mod words {
    use models::{ContentType, SectionType, Sort};

    pub(crate) fn section_type(section_type: SectionType) -> String {
        section_type.content().map_or_else(|| "Link".to_owned(), kinds)
    }

    pub(crate) fn kinds(kind: ContentType) -> String {
        capitalised(kind.collection())
    }

    /// Returns a word of the API with a capital letter.
    pub(crate) fn capitalised(word: &str) -> String {
        let mut letters = word.chars();
        letters
            .next()
            .map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
    }

    pub(crate) const fn sort(sort: Sort) -> &'static str {
        match sort {
            Sort::OldestCreated => "Oldest first",
            Sort::NewestCreated => "Newest first",
            Sort::EarliestDate => "By date, oldest first",
            Sort::LatestDate => "By date, newest first",
            Sort::OldestUpdated => "Least recently changed first",
            Sort::NewestUpdated => "Recently changed first",
            Sort::FirstTitle => "By title, A to Z",
            Sort::LastTitle => "By title, Z to A",
        }
    }
}
