//! HTML that must never pass.

use html5ever::{local_name, ns};
use proptest::prelude::*;

use super::{
    super::{limits::Limits, removed::RemovedCounts, tree},
    assert_becomes, clean, sanitised,
};

#[test]
fn what_runs_or_deceives_does_not_survive() {
    for html in [
        "<script>alert(1)</script>",
        "<SCRIPT SRC=//evil.example></SCRIPT>",
        "<img src=x onerror=alert(1)>",
        "<svg onload=alert(1)></svg>",
        "<svg><script>alert(1)</script></svg>",
        "<math><mtext><table><mglyph><style><!--</style><img title=\"--&gt;&lt;img src=1 onerror=alert(1)&gt;\">",
        "<noscript><p title=\"</noscript><img src=x onerror=alert(1)>\">",
        "<a href=\"javascript:alert(1)\">x</a>",
        "<a href=\" java\nscript:alert(1)\">x</a>",
        "<a href=\"&#106;avascript:alert(1)\">x</a>",
        "<a href=\"data:text/html,<script>alert(1)</script>\">x</a>",
        "<a href=\"vbscript:x\">x</a>",
        "<p style=\"position:fixed\">x</p>",
        "<style>p{}</style>",
        "<link rel=stylesheet href=//evil.example>",
        "<meta http-equiv=refresh content=0>",
        "<base href=//evil.example>",
        "<form action=//evil.example><input name=a><button>b</button></form>",
        "<object data=x></object><embed src=x>",
        "<iframe src=\"https://evil.example\"></iframe>",
        "<iframe src=\"https://www.youtube.com.evil.example\"></iframe>",
        "<iframe src=\"https://www.youtube.com@evil.example\"></iframe>",
        "<iframe src=\"//evil.example\"></iframe>",
        "<iframe src=\"javascript:alert(1)\"></iframe>",
        "<iframe srcdoc=\"<script>alert(1)</script>\"></iframe>",
        "<iframe src=\"https://www.youtube.com/embed/x\" onload=alert(1)></iframe>",
        "<iframe><img src=x onerror=alert(1)></iframe>",
        "<iframe src=\"https://www.youtube.com/embed/x\"><img src=x onerror=alert(1)></iframe>",
        "<iframe title=\" src=&quot;&gt;\"><img src=x onerror=alert(1)></iframe>",
        "<p title=\"<iframe src=\">a</p><img src=x onerror=alert(1)>",
        "<code class=\"evil language-\">x</code>",
        "<div name=\"x\" class=\"modal\">x</div>",
        "<button formaction=javascript:alert(1)>x</button>",
        "<svg><a xlink:href=\"javascript:alert(1)\">x</a></svg>",
        "<svg><foreignObject><iframe srcdoc=\"<script>x</script>\"></iframe></foreignObject></svg>",
        "<details ontoggle=alert(1) open>x</details>",
        "<video onloadstart=alert(1) src=/v></video>",
        "<input type=checkbox autofocus onfocus=alert(1)>",
    ] {
        let clean = clean(html).to_lowercase();
        for harm in [
            "<script",
            "onerror=alert(1)>",
            "onload",
            "javascript:",
            "vbscript:",
            "data:",
            "style",
            "evil",
            "<svg",
            "<form",
            "<meta",
            "<base",
            "<link",
            "<object",
            "<embed",
            "srcdoc",
            " name=",
            "class=",
            "ontoggle",
            "onfocus",
            "autofocus",
            "xlink",
        ] {
            assert!(!clean.contains(harm), "{html}\n{clean}");
        }
    }
}

/// Texts that are harmless when they are read once, and run when their copy is read.
#[test]
fn a_text_that_is_read_in_two_ways_is_safe_in_both() {
    for html in [
        "<math><mtext><table><mglyph><style><math><img src=x onerror=alert(1)></style></mglyph></table></mtext></math>",
        "<form><math><mtext></form><form><mglyph><style></math><img src=x onerror=alert(1)>",
        "<svg></p><style><a id=\"</style><img src=1 onerror=alert(1)>\">",
        "<svg><p><style><a title=\"</style><img src=x onerror=alert(1)>\">",
        "<math></br><style><!--</style><img src=x onerror=alert(1)>--></math>",
        "<math><annotation-xml encoding=\"text/html\"><style><img src=x onerror=alert(1)></style></annotation-xml></math>",
        "<svg><desc><noscript><![CDATA[</noscript><img src=x onerror=alert(1)>]]></desc></svg>",
        "<svg><![CDATA[><img src=x onerror=alert(1)>]]></svg>",
        "<![CDATA[><img src=x onerror=alert(1)>]]>",
        "<math><mi><![CDATA[<img src=x onerror=alert(1)>]]></mi></math>",
        "<math><mi>&lt;img src=x onerror=alert(1)&gt;</mi></math>",
        "<template><img src=x onerror=alert(1)></template>",
        "<template><s><template><s><img src=x onerror=alert(1)>@shafigullin</s></template></s></template>",
        "<noscript><style></noscript><img src=x onerror=alert(1)></style>",
        "<noscript><!--</noscript><img src=x onerror=alert(1)>--></noscript>",
        "<!--><img src=x onerror=alert(1)>-->",
        "<!--!><img src=x onerror=alert(1)>--!>",
        "<!-- --!><img src=x onerror=alert(1)>",
        "<?<img src=x onerror=alert(1)>?>",
        "</ <img src=x onerror=alert(1)>>",
        "<plaintext><img src=x onerror=alert(1)>",
        "<textarea></textarea><img src=x onerror=alert(1)>",
        "<textarea><p title=\"</textarea><img src=x onerror=alert(1)>\">",
        "<title><p title=\"</title><img src=x onerror=alert(1)>\">",
        "<xmp><p title=\"</xmp><img src=x onerror=alert(1)>\">",
        "<noembed><p title=\"</noembed><img src=x onerror=alert(1)>\">",
        "<select><iframe></select><img src=x onerror=alert(1)>",
        "<table><td><select><math><style></select><img src=x onerror=alert(1)>",
        "<a><table><td><a><img src=x onerror=alert(1)></a></td></table></a>",
        "<p title=\"`<img src=x onerror=alert(1)>`\">x</p>",
        "<img alt=\"\u{a0}&quot;><img src=x onerror=alert(1)>\" src=y>",
        "<svg><title><style></title><img src=x onerror=alert(1)></style></svg>",
        "<math><mtext><h1><a><h6></a></h6><mglyph><svg><mtext><style><a title=\"</style><img src=x onerror=alert(1)>\"></style></h1>",
        "<div><math><mi></div><img src=x onerror=alert(1)><mglyph><style>",
        "<table><math><mi><td><style><img src=x onerror=alert(1)>",
        "<svg><style>&lt;img src=x onerror=alert(1)&gt;</style></svg>",
        "<b><p><math><b></p><mtext></b><img src=x onerror=alert(1)>",
    ] {
        let Ok(once) = sanitised(html) else { continue };
        assert_tree_is_safe(&once.html);
        assert_eq!(clean(html), once.html);
    }
}

/// Looks at the tree, not at the text, with a list of its own.
pub(super) fn assert_tree_is_safe(html: &str) {
    let nodes = tree::Nodes::new();
    let limits = Limits::new(10_000_000);
    let root = tree::parse(html, &nodes, &limits, &mut RemovedCounts::default()).unwrap();
    let mut open: Vec<_> = root.children().collect();
    while let Some(node) = open.pop() {
        open.extend(node.children());
        let tree::Data::Element(element) = &node.data else { continue };
        let name = &*element.name.local;
        let is_known = match element.name.ns {
            ns!(html) => !matches!(
                name,
                "script"
                    | "style"
                    | "template"
                    | "noscript"
                    | "textarea"
                    | "title"
                    | "xmp"
                    | "plaintext"
                    | "noembed"
                    | "noframes"
                    | "object"
                    | "embed"
                    | "form"
                    | "base"
                    | "meta"
                    | "link"
                    | "svg"
            ),
            ns!(mathml) => {
                !matches!(name, "annotation-xml" | "mglyph" | "malignmark" | "maction" | "style")
            }
            _ => false,
        };
        assert!(is_known, "{name}: {html}");
        for attribute in &element.attributes {
            let (local, value) = (&*attribute.name.local, attribute.value.to_lowercase());
            assert!(
                !local.starts_with("on") && !matches!(local, "srcdoc" | "action" | "formaction"),
                "{local}: {html}"
            );
            if matches!(
                attribute.name.local,
                local_name!("href") | local_name!("src") | local_name!("cite")
            ) {
                let url = url::Url::parse("https://a.example/").unwrap().join(&value);
                let scheme = url.map(|url| url.scheme().to_owned()).unwrap_or_default();
                assert!(
                    matches!(&*scheme, "http" | "https" | "mailto" | "tel" | "data"),
                    "{value}: {html}"
                );
                assert!(scheme != "data" || value.starts_with("data:image/"), "{value}: {html}");
            }
        }
    }
}

#[test]
fn elements_of_the_page_cannot_be_replaced() {
    assert_becomes(&[
        (
            "<a id=\"defaultView\" href=\"/x\">a</a>",
            "<a id=\"content-defaultView\" href=\"/x\">a</a>",
        ),
        ("<img src=\"/x\" name=\"cookie\">", "<img src=\"/x\">"),
        ("<form id=\"forms\" name=\"body\">a</form>", "a"),
        (
            "<iframe name=\"opener\" src=\"https://youtube.com/embed/a\"></iframe>",
            "<iframe src=\"https://youtube.com/embed/a\"></iframe>",
        ),
        (
            "<input type=\"checkbox\" name=\"action\" id=\"attributes\">",
            "<input type=\"checkbox\" id=\"content-attributes\" disabled=\"\">",
        ),
    ]);
}

fn fragments() -> impl Strategy<Value = String> {
    let pieces = [
        "<p>",
        "</p>",
        "<b",
        "<table><tr>",
        "<iframe ",
        "</iframe>",
        "<a href=\"",
        "\">",
        "javascript:",
        "<svg>",
        "<math><mi>",
        "<style>",
        "<!--",
        "-->",
        "<![CDATA[",
        "<pre>\n",
        "\n",
        "&lt;",
        "<code class='language-a b'>",
        "<textarea>",
        "<img src=x onerror=y>",
        "<li>",
        "<noscript>",
        "<template>",
        "<select>",
        "<p id=top style='",
        "srcset='",
        "'",
    ];
    let piece = prop_oneof![3 => proptest::sample::select(pieces.to_vec()).prop_map(str::to_owned), 1 => ".{0,8}"];
    proptest::collection::vec(piece, 0..20).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn sanitising_twice_is_sanitising_once(html in fragments()) {
        if let Ok(once) = sanitised(&html) {
            let again = sanitised(&once.html).unwrap();
            prop_assert_eq!(&again.html, &once.html, "{}", html);
            prop_assert_eq!(&again.removed, &[], "{}", html);
            assert_tree_is_safe(&once.html);
        }
    }
}
