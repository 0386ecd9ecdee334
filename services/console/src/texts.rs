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
    pub(crate) const PARTS: &str = "Parts of the navigation";
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
    pub(crate) const LEAD_HERE: &str = "Lead an old address here";
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

/// The pages of redirects.
pub(crate) mod redirects {
    pub(crate) const TITLE: &str = "Redirects";
    pub(crate) const INTRO: &str = "Old addresses that lead to what is there now. Renamed sections and \
        items need none: their former addresses lead to them already.";
    pub(crate) const NEW: &str = "New redirect";
    pub(crate) const FILE: &str = "From a CSV file";
    pub(crate) const EMPTY: &str = "There is no redirect yet. Add one for each address of a former site \
        that others link to, or all of them from a CSV file.";
    pub(crate) const EMPTY_FILTERED: &str =
        "No old path begins like that. Look for another beginning, or show everything.";
    pub(crate) const PREFIX: &str = "Old paths that begin with";
    pub(crate) const LIST: &str = "Old paths";
    pub(crate) const LEADS_TO: &str = "leads to";
    pub(crate) const NOW: &str = "now";
    pub(crate) const A_SECTION: &str = "a section";
    pub(crate) const FOR_A_TIME: &str = "For a time";
    pub(crate) const HIDDEN: &str = "Not used";
    pub(crate) const HIDDEN_HELP: &str = "A section or an item is at this path.";
    pub(crate) const LOST: &str = "Leads nowhere";
    pub(crate) const LOST_HELP: &str = "The target was deleted, or visitors do not see it.";
    pub(crate) const DELETE: &str = "Delete";
    pub(crate) const DELETED: &str = "The redirect was deleted:";
    pub(crate) const UNDO: &str = "Undo";
    pub(crate) const RESTORED: &str = "The redirect is back.";
    pub(crate) const SAVED: &str = "Saved.";
    pub(crate) const FROM: &str = "Old path";
    pub(crate) const FROM_HELP: &str = "It begins with a slash, such as /2015/02/hello.html. Capitals \
        matter; a query such as /index.php?id=7 is a part of it.";
    pub(crate) const TO: &str = "Leads to the address";
    pub(crate) const TO_HELP: &str = "A path of the site such as /about, or an address of the web. The \
        link “Lead an old address here” of an item writes the item here: the redirect then leads to it \
        wherever it is.";
    pub(crate) const SECTION: &str = "Or to the section";
    pub(crate) const SECTION_HELP: &str = "The redirect leads to it, whatever its address becomes.";
    pub(crate) const NO_SECTION: &str = "— none —";
    pub(crate) const STATUS: &str = "Kind";
    pub(crate) const FOR_GOOD: &str = "For good: browsers remember it (301)";
    pub(crate) const TEMPORARY: &str = "For a time (302)";
    pub(crate) const REPLACE: &str = "Replace redirects of the same path";
    pub(crate) const REPLACE_HELP: &str =
        "Otherwise an old path that leads elsewhere already is refused.";
    pub(crate) const ADD: &str = "Add the redirect";
    pub(crate) const ADD_ALL: &str = "Add the redirects";
    pub(crate) const NO_TARGET: &str = "Write an address here, or choose a section below.";
    pub(crate) const TWO_TARGETS: &str =
        "A redirect leads to one place: empty this field, or choose no section below.";
    pub(crate) const FILE_TITLE: &str = "Redirects from a CSV file";
    pub(crate) const FILE_INTRO: &str = "The first line names the columns, from,to,status: an old path, \
        where it leads, and 301 or 302. The status can be left out. Save the file of a spreadsheet as \
        “CSV UTF-8”. Up to 100 lines are added at once.";
    pub(crate) const CHOOSE: &str = "File";
    pub(crate) const LINES: &str = "Or its lines";
    pub(crate) const TARGETS_HELP: &str = "Targets are paths of the site, addresses of the web, \
        “sections/” with the id of a section, or the kind and the id of an item, such as “stories/…”.";
    pub(crate) const NO_LINES: &str = "Choose a file, or paste its lines here.";
    pub(crate) const TWO_FILES: &str = "Choose a file or paste lines, not both.";
    pub(crate) const NOT_UTF8: &str = "The file is no text in UTF-8. Save it again as “CSV UTF-8”: \
        otherwise letters such as “é” would be lost.";
    pub(crate) const CORRECT: &str = "Correct the lines that were refused, and send all of them again: the others stay as they are.";
    pub(crate) const OUTCOMES: &str = "Lines of the file";

    pub(crate) fn total(total: u64) -> String {
        match total {
            1 => "1 redirect".to_owned(),
            total => format!("{total} redirects"),
        }
    }

    pub(crate) fn delete(from: &str) -> String {
        format!("{DELETE}: {from}")
    }

    /// Returns the result of a file.
    pub(crate) fn imported(created: u64, changed: u64, unchanged: u64, refused: u64) -> String {
        format!(
            "Added: {created}. Replaced: {changed}. There before: {unchanged}. Refused: {refused}."
        )
    }

    pub(crate) fn line(number: u64) -> String {
        format!("Line {number}")
    }

    /// Returns the outcome of a line.
    pub(crate) fn outcome(word: &str) -> &'static str {
        match word {
            "created" => "added",
            "changed" => "replaced",
            "unchanged" => "was there before",
            _ => "refused",
        }
    }
}

/// The page with the facts that every page of the site shows.
pub(crate) mod site {
    pub(crate) const TITLE: &str = "Site settings";
    pub(crate) const INTRO: &str =
        "The facts that every page of the site can show, and that feeds and search engines read.";
    pub(crate) const URL: &str = "Address of the site:";
    pub(crate) const NO_URL: &str = "not known: the setting “site.url” names it, and without it there are no feeds and no sitemap";
    pub(crate) const LINKS_HELP: &str = "Profiles of the site elsewhere, one in each line: a name, a \
        space, and the address. At most 50.";
    pub(crate) const LOGO_HELP: &str =
        "An address of the web, or a path such as /uploads/logo.webp.";
    pub(crate) const LANGUAGE_HELP: &str =
        "The language of the texts, such as en, de-CH or zh-Hant.";
    pub(crate) const CONFLICT: &str = "Someone else has changed the site settings since you opened \
        them. Your changes are below, with what is stored now beside each field that differs. Save again \
        to replace it.";

    /// The fields of the form, as the API has them, with their labels.
    pub(crate) const FIELDS: [(&str, &str); 5] = [
        ("title", "Title"),
        ("description", "Description"),
        ("logo", "Address of the logo"),
        ("language", "Language"),
        ("social_links", "Profiles elsewhere"),
    ];

    pub(crate) fn in_line(number: usize, message: &str) -> String {
        format!("line {number}: {message}")
    }
}

/// The pages of pictures and videos.
pub(crate) mod media {
    pub(crate) const TITLE: &str = "Media";
    pub(crate) const A_SECTION: &str = "Section";
    pub(crate) const FILES: &str = "Pictures and videos";
    pub(crate) const FILES_HELP: &str = "JPEG, PNG, GIF, WebP and AVIF, MP4, WebM and QuickTime; up to \
        20 at once. Everyone who has the address of a file can see it.";
    pub(crate) const UPLOAD: &str = "Upload";
    pub(crate) const PROGRESS: &str = "Upload:";
    pub(crate) const UPLOADED: &str =
        "The files were uploaded. Select a picture to describe it for readers who do not see it.";
    pub(crate) const DELETED: &str = "The file was deleted.";
    pub(crate) const SEARCH: &str = "Part of a name, title or alternative text";
    pub(crate) const UNUSED: &str = "Only what nothing shows";
    pub(crate) const UNUSED_HELP: &str = "Files that no item, no section and no logo has.";
    pub(crate) const EMPTY: &str =
        "There is no file yet. Choose pictures or videos above, and upload them.";
    pub(crate) const MORE: &str = "Everything that was looked at is shown somewhere. Look further on \
        the next page.";
    pub(crate) const LIST: &str = "Files";
    pub(crate) const VIDEO: &str = "Video";
    pub(crate) const NO_ALT: &str = "No alternative text";
    pub(crate) const ALT: &str = "Alternative text";
    pub(crate) const ALT_HELP: &str =
        "For readers who do not see the picture: one sentence that says what it shows.";
    pub(crate) const NAME: &str = "Title";
    pub(crate) const NAME_HELP: &str = "For lists here; it is not shown to visitors by itself.";
    pub(crate) const CONFLICT: &str = "Someone else has changed this file since you opened it. Your \
        changes are below, with what is stored now beside each field that differs. Save again to \
        replace it.";
    pub(crate) const UPLOADED_AT: &str = "Uploaded:";
    pub(crate) const PLACES: &str = "Where it is shown";
    pub(crate) const NO_PLACE: &str = "Nothing shows it.";
    pub(crate) const IN_TRASH: &str = "In the trash";
    pub(crate) const DELETE: &str = "Delete the file now";
    pub(crate) const DELETE_HELP: &str = "It is removed in all its sizes, and nothing brings it back. A \
        file that something shows is not deleted.";

    pub(crate) fn total(total: u64) -> String {
        match total {
            1 => "1 file".to_owned(),
            total => format!("{total} files"),
        }
    }

    /// Returns a size, rounded up.
    pub(crate) fn size(bytes: u64) -> String {
        match bytes {
            0..1_000_000 => format!("{} kB", bytes.div_ceil(1_000)),
            bytes => format!("{} MB", bytes.div_ceil(1_000_000)),
        }
    }
}

/// The pages of webhooks.
pub(crate) mod webhooks {
    pub(crate) const TITLE: &str = "Webhooks";
    pub(crate) const INTRO: &str = "Addresses of other programs that are told of changes of what \
        visitors see, such as a frontend that keeps pages.";
    pub(crate) const NEW: &str = "New webhook";
    pub(crate) const EMPTY: &str = "There is no webhook yet. Add one if a frontend or another program \
        is to be told of changes at once.";
    pub(crate) const URL: &str = "Address";
    pub(crate) const URL_HELP: &str = "Messages are sent to it. It begins with https and is on the \
        public internet.";
    pub(crate) const DESCRIPTION: &str = "Purpose";
    pub(crate) const KINDS: &str = "Told of changes of";
    pub(crate) const EVENTS: &str = "Told when something is";
    pub(crate) const NONE_IS_ALL: &str = "None of them stands for all.";
    pub(crate) const ALL: &str = "all";
    pub(crate) const ENABLED: &str = "Enabled";
    pub(crate) const ENABLED_HELP: &str =
        "Otherwise it is told of nothing, and only tests are sent.";
    pub(crate) const YES: &str = "yes";
    pub(crate) const NO: &str = "no";
    pub(crate) const ADD: &str = "Add the webhook";
    pub(crate) const CREATED: &str = "The webhook was added. Send a test to see if it arrives.";
    pub(crate) const SECRET_HELP: &str = "This is the secret with which messages are signed. Copy it to \
        the program at the address now: it is not shown again.";
    pub(crate) const SECRET_REPLACED: &str = "The secret was replaced. For a day, messages are signed \
        with the former one, too.";
    pub(crate) const ACTIONS: &str = "Try and control it";
    pub(crate) const ACTIONS_HELP: &str = "A test is sent once, whether the webhook is enabled or not. A \
        new secret replaces the present one.";
    pub(crate) const TEST: &str = "Send a test";
    pub(crate) const ENABLE: &str = "Enable";
    pub(crate) const DISABLE: &str = "Disable";
    pub(crate) const RESUME: &str = "Resume";
    pub(crate) const SECRET: &str = "Make a new secret";
    pub(crate) const DELETED: &str = "The webhook was deleted.";
    pub(crate) const DELETE_HELP: &str = "Messages that wait are not sent any more, and those that were \
        sent are not listed any more. It cannot be brought back; to stop it for a time, disable it.";
    pub(crate) const DELETE_CONFIRM: &str = "Delete the webhook";
    pub(crate) const CONFLICT: &str = "Someone else has changed this webhook since you opened it. Your \
        changes are below, with what is stored now beside each field that differs. Save again to \
        replace it.";
    pub(crate) const MESSAGES: &str = "Messages";
    pub(crate) const STATES: &str = "States of messages";
    pub(crate) const NO_MESSAGES: &str =
        "Nothing was sent in the last week. Send a test to see if messages arrive.";
    pub(crate) const NONE_OF_STATE: &str = "There is no such message.";
    pub(crate) const NEXT_ATTEMPT: &str = "next attempt";
    pub(crate) const BODY: &str = "The message";
    pub(crate) const REDELIVER: &str = "Send again";

    /// The parts of the list of messages, as the API names them.
    pub(crate) const MESSAGE_STATES: [(&str, &str); 4] =
        [("", "All"), ("pending", "Waiting"), ("delivered", "Delivered"), ("failed", "Failed")];

    pub(crate) fn message_state(word: &str) -> &'static str {
        let known = MESSAGE_STATES.into_iter().find(|(state, _)| *state == word);
        known.map_or("Unknown", |(_, name)| name)
    }

    pub(crate) fn status(word: &str) -> &'static str {
        match word {
            "active" => "Active",
            "failing" => "Failing",
            "disabled" => "Disabled",
            _ => "Unknown",
        }
    }

    pub(crate) fn waiting(count: u64) -> String {
        match count {
            0 => "No message waits".to_owned(),
            1 => "1 message waits".to_owned(),
            count => format!("{count} messages wait"),
        }
    }

    pub(crate) fn attempts(count: u64) -> String {
        match count {
            1 => "1 attempt".to_owned(),
            count => format!("{count} attempts"),
        }
    }

    pub(crate) fn answered(status: u64) -> String {
        format!("the address answered {status}")
    }

    pub(crate) fn redeliver(kind: &str) -> String {
        format!("{REDELIVER}: {kind}")
    }

    /// Returns the result of an action, by its word in addresses.
    pub(crate) fn done(word: &str) -> Option<&'static str> {
        Some(match word {
            "save" => super::section::SAVED,
            "no" => super::section::UNCHANGED,
            "test" => "A test is being sent. Its result appears below.",
            "redeliver" => "The message is being sent again. Its result appears below.",
            "enable" => "The webhook is enabled.",
            "disable" => "The webhook is disabled.",
            _ => return None,
        })
    }
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

    pub(crate) fn rate(documents: f64) -> String {
        format!("{documents:.0} documents a second")
    }

    /// Returns the time that is left, rounded up.
    pub(crate) fn time_left(seconds: f64) -> String {
        const UNITS: [(f64, f64, &str); 3] =
            [(60.0, 1.0, "second"), (7_200.0, 60.0, "minute"), (f64::INFINITY, 3_600.0, "hour")];
        let of_unit = UNITS.into_iter().find(|(below, _, _)| seconds <= *below);
        let (_, length, unit) = of_unit.unwrap_or(UNITS[2]);
        let count = (seconds / length).ceil();
        let plural = if count > 1.0 { "s" } else { "" };
        format!("about {count:.0} {unit}{plural} left")
    }

    /// Returns the reason for which a migration is slow, by the word of the API.
    pub(crate) fn throttled(word: &str) -> Option<&'static str> {
        Some(match word {
            "rate_limit" => "slowed down by the limit of the settings",
            "duty_cycle" => "slowed down since the site is in use",
            "flow_control" => "slowed down by the flow control of the database",
            "replication" => "waits for the replicas of the database",
            _ => return None,
        })
    }

    pub(crate) fn set_aside(documents: f64) -> String {
        let plural = if documents > 1.0 { "s" } else { "" };
        format!("{documents:.0} document{plural} set aside")
    }

    /// Returns the explanation of a state of a migration.
    pub(crate) fn state_help(word: &str) -> Option<&'static str> {
        Some(match word {
            "waiting_dependency" => {
                "It waits for another service, and continues by itself when that answers."
            }
            "failed_retryable" => "It is tried again by itself.",
            "failed_fatal" => {
                "It stopped. Remove the reason that the log of the service names, then use “turbulence \
                 migrate retry”."
            }
            "paused" => "Someone paused it. “turbulence migrate resume” continues it.",
            _ => return None,
        })
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
