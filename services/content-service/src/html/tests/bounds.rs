//! The bounds of the cost of a text.

use super::{HtmlError, assert_survives, clean, sanitised};
use crate::domain::html_content::HtmlContent;

#[test]
fn what_keeps_a_parser_busy_is_refused() {
    for (piece, error) in [
        ("<div>", HtmlError::TooDeep),
        ("<b>", HtmlError::TooDeep),
        ("<ul><li>", HtmlError::TooDeep),
        ("<table><tr><td>", HtmlError::TooDeep),
        ("<math><mi>", HtmlError::TooDeep),
    ] {
        assert_eq!(sanitised(&piece.repeat(20_000)).err(), Some(error), "{piece}");
    }
    for piece in [
        "<p>",
        "<li>",
        "<br>",
        "<b>x</b>",
        "<div><p>x</div>",
        "<i><p>x",
        "<p><font color=red>x",
        "&lt;",
        "<",
        "a < b <c",
    ] {
        assert!(sanitised(&piece.repeat(2_000)).is_ok(), "{piece}");
    }
    let nested = format!("{}{}", "<div>".repeat(400), "</div>".repeat(400));
    assert_survives(&[&nested]);
}

#[test]
fn elements_that_the_parser_repeats_are_refused_before_they_are_made() {
    let distinct: String = (0..480).map(|number| format!("<b a={number}>")).collect();
    let text = format!("<p>{distinct}{}", "<p>x".repeat(3_000));
    assert_eq!(sanitised(&text).err(), Some(HtmlError::TooManyAttributes));
    let nested = "<p><b><i><u><s><tt><em><strong><code><small><big><font>";
    let text = format!("{nested}{}", "<p>x".repeat(3_000));
    assert_eq!(sanitised(&text).err(), Some(HtmlError::TooManyNodes));
    let attributes: String = (0..90).map(|number| format!(" title{number}=a")).collect();
    let text = format!("<p><b{attributes}>{}", "<p>x".repeat(9_000));
    assert_eq!(sanitised(&text).err(), Some(HtmlError::TooManyAttributes));
    // A few are what people write.
    let text = format!("<p><b>{}", "<p>x".repeat(3_000));
    assert_eq!(clean(&text).matches("<b>").count(), 3_001);
}

#[test]
fn a_tag_with_too_many_attributes_is_refused_before_they_are_compared() {
    let names = |count: u32| -> String {
        let name = |number| char::from_u32(0x4E00 + number).unwrap();
        (0..count).map(|number| format!(" {}", name(number))).collect()
    };
    assert!(sanitised(&format!("<p{}>x</p>", names(100))).is_ok());
    let many = names(20_000);
    for text in [
        format!("<p{}>x</p>", names(101)),
        format!("<p{many}>x</p>"),
        format!("<p{many}"),
        format!("&<p title=\">\"{many}>x</p>"),
        format!("a & b</p{many}>"),
        format!("<title></title{many}>"),
        format!("<p{}>", many.replace(' ', "/")),
        format!("<p{}>", many.replace(' ', " a=\"\"")),
    ] {
        let error = sanitised(&text).err();
        assert_eq!(error, Some(HtmlError::TooManyTagAttributes), "{text:.20}");
    }
    // Long, but one attribute.
    assert_survives(&[
        &format!("<p title=\"{}\">x</p>", "a b".repeat(2_000)),
        &format!("<img src=\"data:image/png;base64,{}\">", "////".repeat(1_500)),
    ]);
    let comment = format!("<!--{}-->", " <a b c>".repeat(20_000));
    assert_eq!(clean(&comment), "");
}

#[test]
fn attributes_of_one_element_that_is_repeated_are_not_written_without_end() {
    let title = "t".repeat(5_000);
    let text = format!("<p><b title={title}>{}", "<p>x".repeat(5_000));
    assert_eq!(sanitised(&text).err(), Some(HtmlError::TooLong));
}

#[test]
fn texts_of_all_lengths_that_may_be_saved_are_sanitised() {
    let paragraph = "<p>Ein <strong>Satz</strong> mit <a href=\"https://a.example/b\">Link</a> und Umlaut ü.</p>\n";
    for length in [175_000, HtmlContent::MAX_LENGTH] {
        let text = paragraph.repeat(length / paragraph.chars().count());
        assert_survives(&[&text]);
    }
    let cell = "<tr><td>1</td><td>2</td></tr>";
    let table = format!("<table><tbody>{}</tbody></table>", cell.repeat(450_000 / cell.len()));
    assert_survives(&[&table]);
}

#[test]
fn characters_that_are_escaped_cost_no_more_than_others() {
    // The serializer looks through the rest of a text for each of them.
    for character in ["a&amp;", "&nbsp;", "&lt;", "\u{c2}"] {
        let text = character.repeat(300_000 / character.len());
        assert_survives(&[&text]);
    }
    let value = "&amp;".repeat(50_000);
    for text in [format!("<p title=\"{value}\">x</p>"), format!("<a href=\"/?{value}\">x</a>")] {
        assert_eq!(sanitised(&text).err(), Some(HtmlError::TooComplex));
    }
    let value = "a&amp;".repeat(200);
    assert_survives(&[&format!("<p title=\"{value}\">x</p>")]);
}

#[test]
fn what_is_stored_is_accepted_when_it_is_sent_back() {
    // A comment adds to what a text may cost, and is not in the result.
    let comment = format!("<!--{}-->", "x".repeat(300_000));
    let mut accepted = Vec::new();
    for count in [1_000, 2_000, 4_000, 8_000, 16_000] {
        let text = format!("{comment}<p title=\"{}\">x</p>", "&amp;".repeat(count));
        let result = sanitised(&text);
        accepted.push(result.is_ok());
        if let Ok(once) = result {
            assert_survives(&[&once.html]);
        }
    }
    assert!(accepted[0] && !accepted[4], "{accepted:?}");
}

#[test]
fn a_list_of_images_costs_what_its_images_cost() {
    // Commas within an address separate nothing.
    let address = "calc(,".repeat(30_000);
    let srcset = format!("<img src=\"/\" srcset=\"{address}a\">");
    assert_survives(&[&srcset]);
}

#[test]
fn elements_nested_against_the_rules_settle_or_are_refused() {
    for piece in [
        "<li><table><tr>",
        "<a><table><td>",
        "<table><a>",
        "<b><p></b>",
        "<form><table><form>",
        "<nobr><table>",
    ] {
        for count in [1, 3, 10, 100] {
            let text = piece.repeat(count);
            if let Ok(once) = sanitised(&text) {
                assert_eq!(sanitised(&once.html).map(|again| again.html), Ok(once.html), "{text}");
            }
        }
    }
    assert!(sanitised(&"<li><table><tr>".repeat(3)).is_ok());
}

#[test]
fn messages_say_what_is_too_much() {
    for error in [
        HtmlError::TooDeep,
        HtmlError::TooManyNodes,
        HtmlError::TooManyAttributes,
        HtmlError::TooManyTagAttributes,
        HtmlError::TooComplex,
        HtmlError::TooLong,
        HtmlError::Unstable,
    ] {
        let message = error.to_string();
        assert!(message.len() > 20 && !message.contains('\n'), "{message}");
    }
}
