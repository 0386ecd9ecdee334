//! Texts made from a grammar, in a process of their own whose memory is measured.
//!
//! `cargo test` has a short form; `just fuzz-html` runs for a minute, in release, where the limit
//! of time holds. Text number n is the same each time: a failure names it.

use std::{fmt::Write, fs, process::Command, time::Instant};

use super::{attacks::assert_tree_is_safe, sanitiser};

/// The variable that marks the child process, with the number of seconds that it runs.
const SECONDS: &str = "TURBULENCE_FUZZ_CHILD_SECONDS";

/// The length of most texts, in bytes.
const LENGTH: usize = 100_000;

/// The most time of a text of [`LENGTH`], of the processor. A debug build is about twenty times
/// slower.
const MAX_MILLISECONDS: u64 = if cfg!(debug_assertions) { 6_000 } else { 300 };

/// The most memory that the process takes for a text, in kB.
const MAX_KILOBYTES: u64 = 50_000;

#[test]
fn no_text_of_100_kb_takes_long_or_much() {
    let seconds = std::env::var("TURBULENCE_FUZZ_SECONDS").unwrap_or_else(|_| "4".to_owned());
    let output = Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "html::tests::fuzz::child",
            "--ignored",
            "--nocapture",
            "--test-threads=1",
        ])
        .env(SECONDS, seconds)
        .output()
        .unwrap();
    let text = format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(output.status.success() && text.contains("1 passed"), "{text}");
    let report = text.lines().find(|line| line.contains("texts:")).unwrap();
    println!("{report}");
}

#[test]
#[ignore = "the child of the test above"]
fn child() {
    let Ok(seconds) = std::env::var(SECONDS) else { return };
    let (start, seconds) = (Instant::now(), seconds.parse().unwrap());
    let sanitiser = sanitiser();
    sanitiser.sanitise("<p>a</p>").unwrap();
    let before = memory("VmRSS");
    let (mut number, mut refused) = (0, 0);
    let (mut slowest, mut largest) = ((0, 0), (0, 0));
    while start.elapsed().as_secs() < seconds {
        let text = text(number);
        // Peak memory is counted anew.
        fs::write("/proc/self/clear_refs", "5").unwrap();
        let busy = busy_milliseconds();
        let result = sanitiser.sanitise(&text);
        let (time, kilobytes) =
            (busy_milliseconds() - busy, memory("VmHWM").saturating_sub(before));
        slowest = slowest.max((time, number));
        largest = largest.max((kilobytes, number));
        let head: String = text.chars().take(300).collect();
        assert!(time <= MAX_MILLISECONDS, "text {number}: {time} ms, {kilobytes} kB: {head}");
        assert!(kilobytes <= MAX_KILOBYTES, "text {number}: {kilobytes} kB: {head}");
        match result {
            Ok(safe) => {
                assert_tree_is_safe(&safe.html);
                let again = sanitiser.sanitise(&safe.html);
                assert!(
                    again.is_ok_and(|again| again.html == safe.html && again.removed.is_empty()),
                    "text {number}: not stable: {head}"
                );
            }
            Err(_) => refused += 1,
        }
        number += 1;
    }
    println!(
        "{number} texts: {refused} refused; slowest {} ms (text {}), largest {} kB (text {})",
        slowest.0, slowest.1, largest.0, largest.1
    );
}

/// A value of this process, in kB.
fn memory(key: &str) -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with(key)).unwrap();
    line.split_ascii_whitespace().nth(1).unwrap().parse().unwrap()
}

/// The time that this thread has had a processor.
fn busy_milliseconds() -> u64 {
    let times = fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    times.split_ascii_whitespace().next().unwrap().parse::<u64>().unwrap() / 1_000_000
}

/// Numbers that follow from the first one (SplitMix64).
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }

    fn pick<'a>(&mut self, list: &[&'a str]) -> &'a str {
        list[usize::try_from(self.below(list.len() as u64)).unwrap()]
    }
}

const ELEMENTS: [&str; 76] = [
    "a",
    "b",
    "i",
    "font",
    "nobr",
    "code",
    "em",
    "p",
    "div",
    "span",
    "li",
    "ul",
    "ol",
    "dl",
    "dd",
    "dt",
    "table",
    "tbody",
    "tr",
    "td",
    "th",
    "caption",
    "colgroup",
    "col",
    "tfoot",
    "select",
    "option",
    "optgroup",
    "form",
    "button",
    "input",
    "label",
    "h1",
    "pre",
    "listing",
    "textarea",
    "title",
    "style",
    "script",
    "noscript",
    "noembed",
    "noframes",
    "iframe",
    "xmp",
    "plaintext",
    "template",
    "svg",
    "foreignObject",
    "desc",
    "math",
    "mi",
    "mtext",
    "mglyph",
    "malignmark",
    "annotation-xml",
    "annotation",
    "semantics",
    "body",
    "html",
    "head",
    "frameset",
    "br",
    "hr",
    "img",
    "image",
    "video",
    "source",
    "picture",
    "object",
    "embed",
    "ruby",
    "rt",
    "details",
    "summary",
    "applet",
    "marquee",
];

const ATTRIBUTES: [&str; 24] = [
    "id=top",
    "class='hljs a'",
    "style='color:red;position:fixed'",
    "style='width:calc((((1px))))'",
    "href='javascript:x'",
    "href='//a/../b'",
    "href=#top",
    "src=x",
    "src='data:image/png;base64,AAAA'",
    "srcset='a 1x,b 2x, c'",
    "src=https://youtube.com/embed/a",
    "onclick=a",
    "title='<p>\"'",
    "name=a",
    "colspan=9",
    "encoding=text/html",
    "type=checkbox",
    "type=hidden",
    "for=a",
    "xlink:href=a",
    "xmlns=a",
    "color=red",
    "target=_blank",
    "rel=a",
];

const TEXTS: [&str; 20] = [
    "x",
    " ",
    "\n",
    "&lt;",
    "&#10;",
    "&amp",
    "&",
    "<",
    ">",
    "\"",
    "'",
    "<!--",
    "-->",
    "--!>",
    "<![CDATA[",
    "]]>",
    "<?a",
    "</",
    "\0",
    "ü\u{a0}",
];

/// A tag or a piece of text; some with a number, so that no two are equal.
fn piece(numbers: &mut Numbers) -> String {
    let mut piece = String::new();
    match numbers.below(10) {
        0..=4 => {
            let _ = write!(piece, "<{}", numbers.pick(&ELEMENTS));
            for _ in 0..numbers.below(4) {
                match numbers.below(3) {
                    0 => piece.push_str(" a%=%"),
                    _ => {
                        let _ = write!(piece, " {}", numbers.pick(&ATTRIBUTES));
                    }
                }
            }
            piece.push_str(numbers.pick(&[">", ">", ">", ">", "/>", ""]));
        }
        5..=6 => {
            let _ = write!(piece, "</{}>", numbers.pick(&ELEMENTS));
        }
        _ => piece.push_str(numbers.pick(&TEXTS)),
    }
    piece
}

fn pieces(numbers: &mut Numbers, most: u64) -> String {
    (0..=numbers.below(most)).map(|_| piece(numbers)).collect()
}

/// Repeats a unit; each `%` becomes the number of the repetition.
fn repeat(text: &mut String, unit: &str, count: usize, length: usize) {
    for number in 0..count {
        if text.len() >= length {
            return;
        }
        text.push_str(&unit.replace('%', &number.to_string()));
    }
}

/// The beginnings of attributes with long values, and what may be in these.
const LONG_ATTRIBUTES: [&str; 8] = [
    "<p title='",
    "<p style='",
    "<img src=/ srcset='",
    "<p class='",
    "<a href='",
    "<td headers='",
    "<iframe src=//youtube.com/ allow='",
    "<p ",
];
const VALUES: [&str; 24] = [
    "a",
    "%",
    " ",
    ",",
    ";",
    ":",
    "/",
    "../",
    "?",
    "#",
    "\\",
    "&amp;",
    "color:red;",
    "calc(",
    "(",
    ")",
    "/*",
    "a.png 1x,",
    "//h/",
    "hljs ",
    "data:image/png;base64,AAAA",
    "ü",
    "\"",
    "a%=%",
];

/// Text number n: a mix, one unit again and again, one unit after a number of another, or tags
/// with long values.
fn text(number: u64) -> String {
    let mut numbers = Numbers(number);
    let mut text = String::new();
    if number == 0 {
        // What ended a process before there were limits.
        text.push_str("<p>");
        repeat(&mut text, "<b a=%>", 480, LENGTH);
        repeat(&mut text, "<p>x", 3_000, LENGTH);
        return text;
    }
    let length = if numbers.below(4) == 0 { 1_000 } else { LENGTH };
    match numbers.below(5) {
        4 => {
            let tag = numbers.pick(&LONG_ATTRIBUTES);
            let unit: String = (0..=numbers.below(4)).map(|_| numbers.pick(&VALUES)).collect();
            let count = [3, 100, 10_000, 200_000][usize::try_from(numbers.below(4)).unwrap()];
            while text.len() < length {
                text.push_str(tag);
                repeat(&mut text, &unit, count, length);
                text.push_str("'>");
            }
        }
        0 => {
            while text.len() < length {
                text.push_str(&piece(&mut numbers).replace('%', "1"));
            }
        }
        1 => {
            let unit = pieces(&mut numbers, 4);
            repeat(&mut text, &unit, usize::MAX, length);
        }
        _ => {
            let (opening, unit) = (pieces(&mut numbers, 3), pieces(&mut numbers, 4));
            text.push_str(numbers.pick(&[
                "",
                "<p>",
                "<table>",
                "<svg>",
                "<math><mi>",
                "<b><i><a>",
            ]));
            let count = usize::try_from(numbers.below(700)).unwrap();
            repeat(&mut text, &opening, count, length);
            repeat(&mut text, &unit, usize::MAX, length);
        }
    }
    while text.len() > LENGTH {
        text.pop();
    }
    text
}
