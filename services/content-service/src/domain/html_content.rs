//! The texts of items: HTML, before and after it is sanitised.

models::text! {
    /// The text of an item of content that is there already, as HTML. Existing sites hold texts of
    /// up to 175,000 characters, which have to stay editable.
    pub(crate) HtmlContent as "Content" = prose, 500_000, "<p>The lamp was lit at dusk.</p>"
}

models::text! {
    /// The text of a new item of content, as HTML: some fifty pages of a book.
    pub(crate) NewHtmlContent as "NewContent" = prose, 100_000, "<p>The lamp was lit at dusk.</p>"
}

impl From<NewHtmlContent> for HtmlContent {
    fn from(content: NewHtmlContent) -> Self {
        Self(content.0)
    }
}

#[cfg(test)]
mod tests {
    use models::InvalidText;

    use super::*;

    #[test]
    fn a_long_text_can_be_kept_and_not_added() {
        let text = "x".repeat(173_099);
        assert!(HtmlContent::try_from(text.clone()).is_ok());
        assert_eq!(NewHtmlContent::try_from(text), Err(InvalidText::TooLong(100_000)));
    }
}
