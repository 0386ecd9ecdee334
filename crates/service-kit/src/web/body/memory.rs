//! Measures the memory that bodies take, each in a process of its own.

use std::{fs, io::Write, process::Command, thread};

use actix_web::{
    FromRequest, HttpRequest,
    dev::Payload,
    error::PayloadError,
    http::header::{CONTENT_LENGTH, CONTENT_TYPE},
    test::TestRequest,
    web::Bytes,
};
use futures_util::{future::LocalBoxFuture, stream};
use models::{Body, ErrorCode};
use serde_json::json;

use super::{
    BodyLimit, JsonBody, PARSED_AT_ONCE_BYTES, PatchBody,
    samples::{ContentMove, ProjectCreate, SectionOrder, SectionPatch, StoryCreate, StoryPatch},
};
use crate::{runtime::settings::MAX_BODY_BYTES, web::error::ApiError};

/// The memory that is allowed on top of three times the body, in bytes: for the chunk that has just
/// arrived, stacks, and the allocator.
const OVERHEAD_BYTES: usize = 1024 * 1024;

/// The size of the chunks in which a body arrives.
const CHUNK_BYTES: usize = 64 * 1024;

/// The variable that names the shape that this test binary has to measure.
const SHAPE: &str = "TURBULENCE_TEST_BODY_SHAPE";

/// The text before the figures in the output of that process.
const FIGURES: &str = "size, peak, code: ";

/// A body of the largest size.
struct Shape {
    name: &'static str,
    /// The type that reads it.
    reader: Reader,
    start: &'static str,
    /// Repeated until the size is reached; `#` is the number of the repetition.
    piece: &'static str,
    end: &'static str,
    expected: Option<ErrorCode>,
}

#[derive(Clone, Copy)]
enum Reader {
    StoryCreate,
    StoryPatch,
    ProjectCreate,
    SectionPatch,
    SectionOrder,
    ContentMove,
}

const fn shape(
    name: &'static str,
    reader: Reader,
    [start, piece, end]: [&'static str; 3],
    expected: Option<ErrorCode>,
) -> Shape {
    Shape { name, reader, start, piece, end, expected }
}

const SHAPES: &[Shape] = {
    use Reader::*;
    const INVALID: Option<ErrorCode> = Some(ErrorCode::ValidationFailed);
    const MALFORMED: Option<ErrorCode> = Some(ErrorCode::MalformedJson);
    &[
        // Lists and objects where a text belongs.
        shape("brackets", StoryCreate, [r#"{"title":[["#, "],[", "]]}"], INVALID),
        shape("brackets kept", StoryPatch, [r#"{"title":[["#, "],[", "]]}"], INVALID),
        shape("nested brackets", StoryCreate, [r#"{"title":[0"#, ",[[[[[]]]]]", "]}"], INVALID),
        shape("deep brackets", StoryCreate, [r#"{"title":"#, "[", ""], MALFORMED),
        shape("deep braces", StoryCreate, ["", r#"{"title":"#, ""], MALFORMED),
        shape("braces", StoryCreate, [r#"{"content":[0"#, ",{}", "]}"], INVALID),
        shape("objects", StoryCreate, [r#"{"content":[0"#, r#",{"":0}"#, "]}"], INVALID),
        shape(
            "members within",
            StoryCreate,
            [r#"{"content":{"a":0"#, r##","#":0"##, "}}"],
            INVALID,
        ),
        shape("a flag that is a list", StoryPatch, [r#"{"is_published":[0"#, ",0", "]}"], INVALID),
        // Lists that are too long or have other items.
        shape("numbers", ProjectCreate, [r#"{"technologies":[0"#, ",0", "]}"], INVALID),
        shape("floats", ProjectCreate, [r#"{"technologies":[0"#, ",1e9", "]}"], INVALID),
        shape("strings", ProjectCreate, [r#"{"technologies":["a""#, r#","a""#, "]}"], INVALID),
        shape("empty strings", ProjectCreate, [r#"{"technologies":["""#, r#","""#, "]}"], INVALID),
        shape("lists", ProjectCreate, [r#"{"technologies":["a""#, ",[]", "]}"], INVALID),
        shape(
            "ids",
            SectionOrder,
            [r#"{"ids":["000000000000000000000000""#, r#","000000000000000000000000""#, "]}"],
            INVALID,
        ),
        shape("moved brackets", ContentMove, [r#"{"content":{"ids":[[]"#, ",[]", "]}}"], INVALID),
        shape(
            "moved members",
            ContentMove,
            [r#"{"content":{"ids":[]"#, r##","#":[]"##, "}}"],
            INVALID,
        ),
        // Members.
        shape("unknown members", StoryCreate, [r#"{"a":0"#, r##","#":0"##, "}"], INVALID),
        shape("unknown members kept", StoryPatch, [r#"{"a":0"#, r##","#":0"##, "}"], INVALID),
        shape(
            "long names",
            StoryCreate,
            [r#"{"a":0"#, r##","# is a name with an escape \n":0"##, "}"],
            INVALID,
        ),
        shape("unknown brackets", StoryPatch, [r#"{"x":[[]"#, ",[]", "]}"], INVALID),
        shape("unknown objects", StoryPatch, [r#"{"x":[[]"#, r#",{"a":{"a":0}}"#, "]}"], INVALID),
        shape("duplicates", StoryCreate, [r#"{"a":0"#, r#","a":0"#, "}"], MALFORMED),
        shape("empty names", StoryCreate, [r#"{"":0"#, r#","":0"#, "}"], MALFORMED),
        shape("ignored brackets", SectionPatch, [r#"{"children":[[]"#, ",[]", "]}"], None),
        shape("ignored objects", SectionPatch, [r#"{"children":[0"#, r#",{"a":{}}"#, "]}"], None),
        // Texts and numbers.
        shape("a long text", StoryCreate, [r#"{"title":""#, "x", "\"}"], INVALID),
        shape("an escape", StoryCreate, [r#"{"title":"\n"#, "x", "\"}"], INVALID),
        shape("escapes", StoryCreate, [r#"{"title":""#, r"\n", "\"}"], INVALID),
        shape("escapes of emoji", StoryPatch, [r#"{"content":""#, r"\ud83c\udf55", "\"}"], None),
        shape("a content that is too long", StoryPatch, [r#"{"content":"\t"#, "ä", "\"}"], INVALID),
        shape("a text for a flag", StoryCreate, [r#"{"is_published":""#, "\u{7f}", "\"}"], INVALID),
        shape(
            "escapes for a flag",
            StoryCreate,
            [r#"{"is_published":""#, r"\u007f", "\"}"],
            INVALID,
        ),
        shape(
            "a text for a list",
            ProjectCreate,
            [r#"{"technologies":"\n"#, "\u{7f}", "\"}"],
            INVALID,
        ),
        shape(
            "a text for a kind",
            ContentMove,
            [r#"{"content_type":"\n"#, "\u{7f}", "\"}"],
            INVALID,
        ),
        shape("a text for a date", StoryCreate, [r#"{"createdDate":"\n"#, "1", "\"}"], INVALID),
        shape("a text for an id", StoryPatch, [r#"{"section_id":"\n"#, "1", "\"}"], INVALID),
        shape("a long name", StoryCreate, [r#"{"\n"#, "x", "\":0}"], INVALID),
        shape("a long name within", ContentMove, [r#"{"content":{"\n"#, "x", "\":0}}"], INVALID),
        shape("digits", SectionPatch, [r#"{"sort_order":0."#, "1", "}"], INVALID),
        shape("a number without bounds", SectionPatch, [r#"{"sort_order":1"#, "1", "}"], MALFORMED),
        // Others.
        shape("white space", StoryPatch, ["{", " \n", "}"], None),
        shape("a list", StoryCreate, ["[0", ",[]", "]"], INVALID),
        shape("a text", StoryCreate, ["\"", r"\u0001", "\""], INVALID),
        shape("no end", StoryCreate, [r#"{"title":[0"#, ",[]", ""], MALFORMED),
    ]
};

impl Shape {
    /// Returns a body of about this size, in pieces that are made when they are asked for.
    fn chunks(&'static self, size: usize) -> impl Iterator<Item = Bytes> + 'static {
        let Self { start, piece, end, .. } = *self;
        // Without those that are valid: a content has 500,000 characters at most.
        let most = if self.expected.is_none() { 250_000 } else { usize::MAX };
        let mut left = (size - start.len() - end.len()).min(most.saturating_mul(piece.len()));
        let mut number = 0;
        let pieces = std::iter::from_fn(move || {
            let mut chunk = Vec::with_capacity(CHUNK_BYTES + 64);
            while chunk.len() < CHUNK_BYTES {
                let before = chunk.len();
                for (index, part) in piece.split('#').enumerate() {
                    if index > 0 {
                        write!(chunk, "{number}").unwrap();
                    }
                    chunk.extend_from_slice(part.as_bytes());
                }
                number += 1;
                match left.checked_sub(chunk.len() - before) {
                    Some(rest) => left = rest,
                    None => {
                        left = 0;
                        chunk.truncate(before);
                        break;
                    }
                }
            }
            (!chunk.is_empty()).then(|| Bytes::from(chunk))
        });
        let edge = |text: &'static str| std::iter::once(Bytes::from_static(text.as_bytes()));
        edge(start).chain(pieces).chain(edge(end))
    }

    /// Reads a body of about this size, as a server does. Returns its size, and the code of the
    /// error.
    async fn read(&'static self, size: usize) -> (usize, Option<ErrorCode>) {
        let exact = self.chunks(size).map(|chunk| chunk.len()).sum();
        let (request, _) = TestRequest::post()
            .app_data(BodyLimit::default())
            .insert_header((CONTENT_TYPE, "application/json"))
            .insert_header((CONTENT_LENGTH, exact))
            .to_http_parts();
        let chunks = stream::iter(self.chunks(size).map(Ok::<_, PayloadError>));
        let payload: Payload = Payload::Stream { payload: Box::pin(chunks) };
        let read = match self.reader {
            Reader::StoryCreate => json::<StoryCreate>,
            Reader::StoryPatch => members::<StoryPatch>,
            Reader::ProjectCreate => json::<ProjectCreate>,
            Reader::SectionPatch => json::<SectionPatch>,
            Reader::SectionOrder => json::<SectionOrder>,
            Reader::ContentMove => json::<ContentMove>,
        };
        (exact, read(request, payload).await.err().map(|error| error.code()))
    }
}

type Reading = LocalBoxFuture<'static, Result<(), ApiError>>;

fn json<T: Body + 'static>(request: HttpRequest, mut payload: Payload) -> Reading {
    Box::pin(async move { JsonBody::<T>::from_request(&request, &mut payload).await.map(drop) })
}

fn members<T: Body + 'static>(request: HttpRequest, mut payload: Payload) -> Reading {
    Box::pin(async move {
        let members = PatchBody::<T>::from_request(&request, &mut payload).await?;
        let stored = json!({ "title": "A day", "content": "<p>x</p>", "section_id": null });
        assert!(!members.is_unchanged("content", &stored));
        members.changes_of(&stored).map(drop)
    })
}

/// A figure of this process in bytes, such as `VmHWM` (proc(5)).
fn memory(figure: &str) -> usize {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(figure)).unwrap();
    let kilobytes = line.trim_matches([':', '\t', ' ']).strip_suffix(" kB").unwrap();
    kilobytes.trim().parse::<usize>().unwrap() * 1024
}

/// Reads a body in a process of its own. Returns its size, the memory that was needed for it, in
/// bytes, and the code of the error.
fn measure(shape: &Shape) -> (usize, usize, String) {
    let test = "web::body::memory::a_body_takes_three_times_its_size_at_most";
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "--nocapture", test])
        .env(SHAPE, shape.name)
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let figures = text.lines().find_map(|line| line.split_once(FIGURES)).map(|(_, rest)| rest);
    let figures = figures.unwrap_or_else(|| panic!("{}: {output:?}", shape.name));
    let [size, peak, code] = figures.splitn(3, ' ').collect::<Vec<_>>()[..] else {
        panic!("{figures}");
    };
    (size.parse().unwrap(), peak.parse().unwrap(), code.to_owned())
}

#[actix_web::test]
async fn a_body_takes_three_times_its_size_at_most() {
    if let Ok(name) = std::env::var(SHAPE) {
        let shape = SHAPES.iter().find(|shape| shape.name == name).unwrap();
        // The program itself is read into memory where it first runs: also that part which reads larger
        // bodies off the workers, with the thread that does it.
        for other in SHAPES {
            other.read(1_000).await;
        }
        shape.read(PARSED_AT_ONCE_BYTES + 1).await;
        let before = memory("VmRSS");
        // Sets the peak to the present size (proc(5)).
        fs::write("/proc/self/clear_refs", "5").unwrap();
        let (size, code) = shape.read(MAX_BODY_BYTES).await;
        println!("{FIGURES}{size} {} {code:?}", memory("VmHWM").saturating_sub(before));
        return;
    }
    let halves = SHAPES.split_at(SHAPES.len() / 2);
    let wrong = thread::scope(|scope| {
        let other = scope.spawn(|| wrong(halves.1));
        [wrong(halves.0), other.join().unwrap()].concat()
    });
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// Measures these, and names those that take too much or are answered in another way.
fn wrong(shapes: &[Shape]) -> Vec<String> {
    let mut wrong = Vec::new();
    for shape in shapes {
        let (size, peak, code) = measure(shape);
        let times = peak as f64 / size as f64;
        println!("{times:4.1} × {size:7} bytes = {peak:8} for {}: {code}", shape.name);
        if peak > 3 * size + OVERHEAD_BYTES || code != format!("{:?}", shape.expected) {
            wrong.push(format!("{}: {peak} bytes for {size}, {code}", shape.name));
        }
    }
    wrong
}
