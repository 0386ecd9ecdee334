//! HTML that the text of a site needs.

use super::{Removed, assert_becomes, assert_survives, removed, with};

#[test]
fn the_text_of_a_rich_text_editor_survives() {
    assert_survives(&[
        "<h1>One</h1><h2>Two</h2><h6>Six</h6>",
        "<p>a <strong>b</strong> <em>c</em> <u>d</u> <s>e</s> <mark>f</mark> <sub>g</sub></p>",
        "<ul><li>a<ol start=\"3\" reversed=\"\" type=\"a\"><li>b</li></ol></li></ul>",
        "<blockquote cite=\"https://a.example/b\"><p>a</p></blockquote><hr>",
        "<pre><code class=\"language-rust\">fn main() {}\n</code></pre>",
        "<pre class=\"language-c++\">int a;</pre>",
        "<figure><img src=\"https://site.example/a.png\" alt=\"A\" width=\"4\" height=\"3\">\
         <figcaption>b</figcaption></figure>",
        "<img src=\"/images/a.png\" alt=\"\" loading=\"lazy\">",
        "<table><caption>t</caption><colgroup><col span=\"2\" width=\"10\"></colgroup><thead><tr>\
         <th scope=\"col\">a</th></tr></thead><tbody><tr><td colspan=\"2\" rowspan=\"2\">b</td>\
         </tr></tbody></table>",
        "a &amp; b &lt; c &nbsp; 日本語",
        "<p title=\"a &gt; b\">c</p>",
        "<section><article><header>a</header><main>b</main><aside>c</aside><footer>d</footer>\
         </article></section>",
        "<center><font color=\"red\" face=\"Arial\" size=\"2\">a</font></center><p align=\"right\">b</p>",
    ]);
}

#[test]
fn ids_titles_and_languages_survive_and_so_do_footnotes() {
    assert_survives(&[
        "<p id=\"intro\" dir=\"rtl\" lang=\"ar\" title=\"t\">a</p>",
        "<a name=\"part-2\"></a><a href=\"#part-2\">x</a>",
        "<sup id=\"fnref:1\"><a href=\"#fn:1\" class=\"footnote-ref\" role=\"doc-noteref\">1</a></sup>\
         <ol><li id=\"fn:1\">a <a href=\"#fnref:1\">↩</a></li></ol>",
        "<p id=\"größe\" aria-label=\"b\">a</p>",
        // Of the page around the text.
        "<a href=\"#top\">up</a><a href=\"#comments\">c</a>",
        "<a href=\"/about#location\">x</a>",
        "<table><tbody><tr><th id=\"h1\">a</th><td headers=\"h1 h2\">b</td></tr></tbody></table>",
    ]);
}

#[test]
fn an_id_that_a_script_could_mean_gets_a_prefix_together_with_its_links() {
    assert_becomes(&[
        (
            "<h2 id=\"location\">a</h2><a href=\"#location\">b</a>",
            "<h2 id=\"content-location\">a</h2><a href=\"#content-location\">b</a>",
        ),
        (
            "<a name=\"top\"></a><a href=\"#top\">b</a>",
            "<a name=\"content-top\"></a><a href=\"#content-top\">b</a>",
        ),
        (
            // As Word writes them.
            "<a href=\"#_ftn1\" name=\"_ftnref1\">1</a><a href=\"#_ftnref1\" name=\"_ftn1\">1</a>",
            "<a href=\"#content-_ftn1\" name=\"content-_ftnref1\">1</a>\
             <a href=\"#content-_ftnref1\" name=\"content-_ftn1\">1</a>",
        ),
        (
            "<label for=\"submit\">a</label><input type=\"checkbox\" id=\"submit\">",
            "<label for=\"content-submit\">a</label>\
             <input type=\"checkbox\" id=\"content-submit\" disabled=\"\">",
        ),
        (
            "<table><tbody><tr><th id=\"name\">a</th><td headers=\"name x\">b</td></tr></tbody></table>",
            "<table><tbody><tr><th id=\"content-name\">a</th>\
             <td headers=\"content-name x\">b</td></tr></tbody></table>",
        ),
        (
            "<p id=\"title\">a</p><p aria-labelledby=\"title\" aria-describedby=\"title x\">b</p>",
            "<p id=\"content-title\">a</p>\
             <p aria-labelledby=\"content-title\" aria-describedby=\"content-title x\">b</p>",
        ),
        // A link to a heading that was saved before.
        (
            "<h2 id=\"content-history\">a</h2><a href=\"#history\">b</a>",
            "<h2 id=\"content-history\">a</h2><a href=\"#content-history\">b</a>",
        ),
        (
            "<map name=\"images\"><area href=\"/a\" alt=\"a\"></map><img src=\"/b\" usemap=\"#images\">",
            "<map name=\"content-images\"><area href=\"/a\" alt=\"a\"></map><img src=\"/b\" usemap=\"#content-images\">",
        ),
    ]);
    for name in [
        "config",
        "__NEXT_DATA__",
        "$",
        "currentUser",
        "APP_CONFIG",
        "getElementById",
        "URL",
        "onclick",
        "constructor",
    ] {
        assert_becomes(&[(
            &format!("<p id=\"{name}\">a</p>"),
            &format!("<p id=\"content-{name}\">a</p>"),
        )]);
        assert_eq!(removed(&format!("<p id=\"{name}\">a</p>")), [""; 0]);
    }
}

#[test]
fn pictures_for_different_screens_and_media_survive() {
    assert_survives(&[
        "<img src=\"a.jpg\" srcset=\"a-300.jpg 300w, https://cdn.example/a-1024.jpg 1024w\" \
         sizes=\"(max-width: 600px) 100vw, 600px\" class=\"wp-image-7 alignleft size-large\" alt=\"\">",
        "<picture><source srcset=\"/a.avif 1x, /a2.avif 2x\" type=\"image/avif\" media=\"(min-width: 9em)\">\
         <img src=\"/a.jpg\" alt=\"a\"></picture>",
        "<video controls=\"\" width=\"640\" poster=\"/p.jpg\" preload=\"none\"><source src=\"/v.mp4\" \
         type=\"video/mp4\"><track src=\"/v.vtt\" kind=\"captions\" srclang=\"en\" label=\"English\" default=\"\"></video>",
        "<audio controls=\"\" src=\"https://a.example/b.mp3\"></audio>",
        "<video src=\"//cdn.example/v.mp4\" autoplay=\"\" muted=\"\" loop=\"\" playsinline=\"\"></video>",
    ]);
    assert_becomes(&[
        (
            "<video><source src=\"javascript:x\"><source src=\"/v.mp4\"></video>",
            "<video><source src=\"/v.mp4\"></video>",
        ),
        ("<p>a<video src=\"data:video/mp4;base64,AAAA\">b</video></p>", "<p>a</p>"),
        ("<p><img srcset=\"javascript:x 1x, /b.png 2x\"></p>", "<p><img srcset=\"/b.png 2x\"></p>"),
        ("<source src=\"/a\"><track src=\"/b\">", ""),
    ]);
}

#[test]
fn elements_with_a_state_or_a_value_keep_it() {
    assert_survives(&[
        "<details open=\"\"><summary>a</summary>b</details>",
        "<time datetime=\"2015-02-01\">February</time>",
        "<a href=\"/a.pdf\" download=\"b.pdf\">c</a>",
        "<progress value=\"3\" max=\"4\">a</progress><meter value=\"1\" min=\"0\" max=\"2\" low=\"1\" high=\"2\" optimum=\"1\">b</meter>",
        "<table><thead><tr><th>a</th></tr></thead><tbody><tr><td>b</td></tr></tbody><tfoot><tr><td>c</td></tr></tfoot></table>",
        "<table><tfoot><tr><td>c</td></tr></tfoot><tbody><tr><td>b</td></tr></tbody></table>",
        "<ol><li value=\"7\">a</li></ol>",
        "<table><colgroup><col style=\"width: 25px\"><col></colgroup><tbody><tr><td colspan=\"1\" colwidth=\"200,100\">a</td></tr></tbody></table>",
        "<ruby>漢<rp>(</rp><rt>kan</rt><rp>)</rp></ruby>",
        "<del datetime=\"2015-02-01\" cite=\"/why\">a</del><ins>b</ins><q cite=\"https://a.example/\">c</q>",
    ]);
}

#[test]
fn task_lists_survive_with_boxes_that_nobody_can_tick() {
    assert_survives(&[
        "<ul data-type=\"taskList\"><li data-checked=\"true\" data-type=\"taskItem\"><label>\
         <input type=\"checkbox\" checked=\"\" disabled=\"\"><span></span></label><div><p>a</p></div></li></ul>",
        "<ul class=\"contains-task-list\"><li class=\"task-list-item\">\
         <input type=\"checkbox\" class=\"task-list-item-checkbox\" disabled=\"\"> a</li></ul>",
    ]);
    assert_becomes(&[
        (
            "<input type=\"CHECKBOX\" name=\"a\" onclick=\"b\">",
            "<input type=\"CHECKBOX\" disabled=\"\">",
        ),
        (
            "a<input><input type=\"text\" value=\"b\"><input type=\"image\" src=\"/c\"><input type=\"hidden\">",
            "a",
        ),
        // A click on it would be a click on an element of the page.
        ("<label for=\"delete-account\">a</label>", "<label>a</label>"),
    ]);
    assert_eq!(removed("<input type=\"checkbox\">"), [""; 0]);
}

#[test]
fn formulas_survive_without_what_is_not_mathml() {
    assert_survives(&[
        "<math xmlns=\"http://www.w3.org/1998/Math/MathML\" display=\"block\"><semantics><mrow>\
         <msup><mi mathvariant=\"normal\">x</mi><mn>2</mn></msup><mo stretchy=\"false\">+</mo>\
         <mfrac><mn>1</mn><mspace width=\"1em\"></mspace></mfrac></mrow>\
         <annotation encoding=\"application/x-tex\">x^2 &lt; 3</annotation></semantics></math>",
        "<p>a <span data-type=\"inline-math\" data-latex=\"x^2 &lt; \\frac{1}{2}\"></span></p>",
        "<span class=\"ql-formula\" data-value=\"e=mc^2\">a</span>",
    ]);
    assert_becomes(&[
        (
            "<math><semantics><mi>x</mi><annotation-xml encoding=\"text/html\"><p>a</p>\
             <img src=\"x\" onerror=\"y\"></annotation-xml></semantics></math>",
            "<math><semantics><mi>x</mi></semantics></math>",
        ),
        ("<math><mi>a<mglyph src=\"x\"></mglyph></mi></math>", "<math><mi>a</mi></math>"),
        (
            "<math href=\"javascript:x\"><mi xlink:href=\"javascript:x\">a</mi></math>",
            "<math><mi>a</mi></math>",
        ),
        (
            "<math><maction actiontype=\"statusline\"><mi>a</mi></maction></math>",
            "<math><mi>a</mi></math>",
        ),
        ("<math><mtext>a<b>c</b></mtext></math>", "<math><mtext>ac</mtext></math>"),
    ]);
}

#[test]
fn styles_survive_as_far_as_they_only_look() {
    assert_survives(&[
        "<p style=\"text-align:center\">a</p>",
        "<span style=\"color: #f00; background-color: rgba(1, 2, 3, .5)\">a</span>",
        "<img src=\"/a\" style=\"float: left; width: 50%; height: auto; margin: 0 1em 1em 0\">",
        "<p style=\"margin-left: 40px;\">a</p>",
        "<p style=\"font-family: &quot;Times New Roman&quot;, serif; color: var(--wp--preset--color--red)\">a</p>",
        "<p style=\"width: calc(100% - 2em); color: red !important\">a</p>",
        "<p style=\"\">a</p>",
    ]);
    assert_becomes(&[
        ("<p style=\"position:fixed;color:red\">x</p>", "<p style=\"color:red\">x</p>"),
        ("<p style=\"position:fixed\">x</p>", "<p>x</p>"),
        ("<p style=\"background:url(//evil.example)\">x</p>", "<p>x</p>"),
        ("<p style=\"background-color:url(//evil.example)\">x</p>", "<p>x</p>"),
        ("<p style=\"color:u\\72l(x); width: 1px\">x</p>", "<p style=\"width: 1px\">x</p>"),
        ("<p style=\"color:expression(alert(1))\">x</p>", "<p>x</p>"),
        ("<p style=\"c\\6flor:red\">x</p>", "<p>x</p>"),
        ("<p style=\"margin-left:-9999px;margin:calc(1px - 9px)\">x</p>", "<p>x</p>"),
        ("<p style=\"color:red;}body{display:none\">x</p>", "<p style=\"color:red\">x</p>"),
        ("<p style=\"color:/**/red\">x</p>", "<p>x</p>"),
        (
            "<p style=\"width:1px;@import 'x';height:2px\">x</p>",
            "<p style=\"width:1px; height:2px\">x</p>",
        ),
    ]);
    assert_eq!(removed("<p style=\"position:fixed;color:red\">x</p>"), ["p[style] 1"]);
}

#[test]
fn links_keep_what_their_author_wrote_about_them() {
    assert_survives(&[
        "<a href=\"https://a.example/?b=c&amp;d\" rel=\"nofollow sponsored\">x</a>",
        "<a href=\"https://a.example/\">x</a>",
        "<a href=\"mailto:a@b.example\">x</a><a href=\"tel:+49-30-1\">x</a>",
        "<a href=\"/about#us\" target=\"_blank\">x</a>",
        "<a href=\"\">x</a><a href=\"#\">x</a><a href=\"?page=2\">x</a><a href=\"../a/b.html\">x</a>",
        "<a href=\"https://a.example/\" target=\"_blank\" rel=\"NoOpener\">x</a>",
        "<a>x</a>",
    ]);
    assert_becomes(&[
        (
            "<a href=\"https://a.example/\" target=\"_blank\">x</a>",
            "<a href=\"https://a.example/\" target=\"_blank\" rel=\"noopener\">x</a>",
        ),
        (
            "<a href=\"//a.example/\" target=\"_BLANK\" rel=\"nofollow\">x</a>",
            "<a href=\"//a.example/\" target=\"_BLANK\" rel=\"nofollow noopener\">x</a>",
        ),
        ("<a href=\"/a\" target=\"top\">x</a>", "<a href=\"/a\">x</a>"),
    ]);
}

#[test]
fn classes_survive_by_their_beginnings() {
    assert_survives(&[
        "<code class=\"language-rust hljs hljs-keyword\">a</code>",
        "<p class=\"aligncenter has-text-align-center wp-block-image ql-indent-1\">a</p>",
        "<img src=\"/a\" class=\"responsive-image\">",
        "<p class=\"\">a</p>",
    ]);
    assert_becomes(&[
        ("<p class=\"modal ql-size-huge  admin\">a</p>", "<p class=\"ql-size-huge\">a</p>"),
        ("<code class=\"evil language-\">a</code>", "<code>a</code>"),
        ("<p class=\"wp-[url(x)]\">a</p>", "<p>a</p>"),
    ]);
    assert_eq!(removed("<p class=\"modal ql-size-huge\">a</p>"), ["p[class] 1"]);
    let own = with(&[("html.classes", "my-,note")]);
    let html = "<p class=\"my-a note notes hljs\">a</p>";
    assert_eq!(own.sanitise(html).unwrap().html, "<p class=\"my-a note notes\">a</p>");
}

#[test]
fn embeds_of_known_hosts_survive() {
    assert_survives(&[
        "<iframe src=\"https://www.youtube-nocookie.com/embed/x?start=1\" width=\"560\" height=\"315\" \
         title=\"v\" allowfullscreen=\"\" loading=\"lazy\" frameborder=\"0\" \
         allow=\"accelerometer; autoplay; clipboard-write; picture-in-picture\" \
         referrerpolicy=\"strict-origin-when-cross-origin\"></iframe>",
        "<iframe src=\"https://player.vimeo.com/video/1\" style=\"width:100%\"></iframe>",
        "<iframe src=\"https://www.loom.com/embed/a\"></iframe>",
        "<iframe src=\"https://codepen.io/a/embed/b\"></iframe>",
        "<iframe src=\"https://codesandbox.io/embed/a\"></iframe>",
        "<iframe src=\"https://open.spotify.com/embed/track/a\"></iframe>",
        "<iframe src=\"https://w.soundcloud.com/player/?url=a\"></iframe>",
        "<iframe src=\"https://www.google.com/maps/embed?pb=a\"></iframe>",
        "<iframe src=\"https://www.openstreetmap.org/export/embed.html?bbox=a\"></iframe>",
        "<div data-youtube-video=\"\"><iframe src=\"https://www.youtube.com/embed/x\"></iframe></div>",
    ]);
    let youtube = "<iframe src=\"https://www.youtube.com/embed/x\"></iframe>";
    assert_becomes(&[
        ("<iframe src=\"http://www.youtube.com/embed/x\"></iframe>", youtube),
        ("<iframe src=\"//www.youtube.com/embed/x\"></iframe>", youtube),
        ("<iframe src=\" HTTPS://WWW.YouTube.com:443/a/../embed/x \"></iframe>", youtube),
        (
            "<iframe src=\"https://www.youtube.com/embed/x\" srcdoc=\"a\" name=\"b\">Your browser</iframe>",
            youtube,
        ),
    ]);
    assert_eq!(removed("<iframe src=\"http://www.youtube.com/embed/x\"></iframe>"), [""; 0]);
    for address in [
        "https:/www.youtube.com/../admin",
        "https:www.youtube.com/admin",
        "https://evil.example/",
        "https://www.youtube.com.evil.example/",
        "https://www.youtube.com@evil.example/",
        "https://user@www.youtube.com/",
        "https://www.youtube.com:8443/",
        "https://www.youtube.com./embed",
        "https://www.google.com/search",
        "https://www.google.com/maps/../search",
        "https://www.google.com/mapsx",
        "/admin",
        "javascript:alert(1)",
        "data:text/html,a",
        "blob:https://www.youtube.com/a",
        "https://www.youtube.com\\@evil.example/",
        "",
        "https://",
    ] {
        let html = format!("<p>a<iframe src=\"{address}\">b</iframe></p>");
        // A backslash is a slash: the host is the one before it.
        let right = if address.contains('\\') {
            "<p>a<iframe src=\"https://www.youtube.com/@evil.example/\"></iframe></p>"
        } else {
            "<p>a</p>"
        };
        assert_becomes(&[(&html, right)]);
    }
    let own = with(&[("html.embed_hosts", "video.example")]);
    let html =
        "<iframe src=\"//video.example/a\"></iframe><iframe src=\"https://youtube.com/\"></iframe>";
    assert_eq!(
        own.sanitise(html).unwrap().html,
        "<iframe src=\"https://video.example/a\"></iframe>"
    );
}

#[test]
fn raster_images_in_the_text_survive_up_to_a_size() {
    const PIXEL: &str = "R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7";
    let image = |address: &str| format!("<img src=\"{address}\">");
    for format in ["png", "jpeg", "gif", "webp", "avif"] {
        assert_survives(&[&image(&format!("data:image/{format};base64,{PIXEL}"))]);
    }
    let spaced = image(&format!(" DATA:image/GIF;base64,{}\n {} ", &PIXEL[..10], &PIXEL[10..]));
    assert_becomes(&[(&spaced, &image(&format!("data:image/gif;base64,{PIXEL}")))]);
    for address in [
        "data:image/svg+xml;base64,PHN2Zz4=",
        "data:image/png,abc",
        "data:image/png;base64,%%%",
        "data:image/png;base64,",
        "data:text/html;base64,PHA+",
        "data:,a",
    ] {
        assert_becomes(&[(&image(address), "")]);
    }
    let sized =
        |bytes: usize| image(&format!("data:image/png;base64,{}", "AAAA".repeat(bytes / 3)));
    let small = with(&[("html.max_data_image_bytes", "300")]);
    assert_eq!(small.sanitise(&sized(300)).unwrap().html, sized(300));
    assert_eq!(small.sanitise(&sized(303)).unwrap().html, "");
    assert_survives(&[&sized(65_535)]);
    assert_becomes(&[
        (&sized(65_538), ""),
        (&format!("<a href=\"data:image/gif;base64,{PIXEL}\">a</a>"), "<a>a</a>"),
    ]);
}

#[test]
fn removed_elements_leave_no_source_and_no_fallback() {
    assert_becomes(&[
        ("<noscript><img src=\"/a.jpg\" alt=\"b\"></noscript>", "<img src=\"/a.jpg\" alt=\"b\">"),
        ("a<video>Your browser does not support…</video>", "a"),
        (
            "<video src=\"/v.mp4\">Your browser does <b>not</b> support…<a href=\"/v.mp4\">x</a></video>",
            "<video src=\"/v.mp4\"></video>",
        ),
        (
            "<audio><source src=\"/a.mp3\"><p>No sound</p></audio>",
            "<audio><source src=\"/a.mp3\"></audio>",
        ),
        ("a<script>b</script><style>c</style><title>d</title><textarea>e</textarea>", "a"),
        ("a<noembed><img src=x></noembed><noframes><p>b</p></noframes>", "a"),
        ("a<object data=\"x\"><param name=\"b\"><embed src=\"y\">No plug-in</object>", "a"),
        ("a<canvas>No canvas</canvas><svg><text>b</text></svg>", "a"),
        ("a<template><p>b</p></template><select><option>c</option></select>", "a"),
        ("<iframe><img src=x></iframe><iframe src=\"//evil.example\">No frames</iframe>", ""),
        // What is for readers stays.
        ("<form action=\"/a\"><p>b</p><button>c</button></form>", "<p>b</p>c"),
        ("<my-box>a <o:p>b</o:p></my-box>", "a b"),
        ("<xmp><b>a</b></xmp><listing>c</listing>", "<pre>&lt;b&gt;a&lt;/b&gt;</pre><pre>c</pre>"),
        ("a<plaintext><b>c", "a"),
    ]);
}

#[test]
fn blank_lines_of_code_survive() {
    let pre = |breaks: usize| format!("<pre>{}x</pre>", "\n".repeat(breaks));
    for breaks in [0, 2, 4, 9, 100] {
        assert_survives(&[&pre(breaks)]);
    }
    assert_becomes(&[
        // A parser leaves the first one out.
        (&pre(1), "<pre>x</pre>"),
        ("<pre><!-- a -->\nx</pre>", "<pre>\n\nx</pre>"),
        ("<pre><code>\n\nx</code></pre>", "<pre><code>\n\nx</code></pre>"),
        ("<pre>a\r\n\r\nb</pre>", "<pre>a\n\nb</pre>"),
        ("<pre>&#10;&#10;x</pre>", "<pre>\n\nx</pre>"),
    ]);
}

#[test]
fn two_pastes_from_word_are_saved() {
    let exceptions = "<w:LsdException Locked=\"false\" Name=\"heading 1\"/>\n".repeat(376);
    let paste = format!(
        "<!--[if gte mso 9]><xml><w:LatentStyles>{exceptions}</w:LatentStyles></xml><![endif]-->\
         <p class=\"MsoNormal\" style=\"mso-margin-top-alt:auto;text-align:justify\">a<o:p></o:p></p>"
    );
    assert_becomes(&[(&paste.repeat(2), &"<p style=\"text-align:justify\">a</p>".repeat(2))]);
    assert_eq!(removed(&paste.repeat(2)), ["o:p 2", "p[class] 2", "p[style] 2"]);
}

#[test]
fn what_was_removed_is_counted_by_name() {
    for (html, right) in [
        (
            "<p onclick=\"a\">b</p><p onclick=\"c\">d</p><script>e</script>",
            &["p[onclick] 2", "script 1"][..],
        ),
        ("<p><a href=\"javascript:x\">b</a></p>", &["a[href] 1"]),
        ("<img src=\"javascript:x\">", &["img 1"]),
        ("<svg><path d=\"a\"/><path/></svg>", &["path 2", "svg 1"]),
        ("<html><body onload=\"a\"><tr><td>b", &["body 1", "html 1", "td 1", "tr 1"]),
        // Once, however often the parser opens it again.
        ("<p><b onclick=\"a\">b<p>c<p>d", &["b[onclick] 1"]),
        ("<p><blink>a<p>b</blink>", &["blink 1"]),
        ("<img src=a.png alt=b>", &[]),
        ("<!-- a --><p>b", &[]),
    ] {
        assert_eq!(removed(html), right, "{html}");
    }
    let many: String = (0..1_000).map(|number| format!("<x-{number}></x-{number}>")).collect();
    let many = super::sanitised(&many).unwrap().removed;
    assert_eq!(many.len(), Removed::MAX_ENTRIES);
    assert_eq!(many.iter().map(|removed| removed.count).sum::<u64>(), 1_000);
    let long = super::sanitised(&format!("<{}>", "x".repeat(1_000))).unwrap().removed;
    assert_eq!(long[0].element, "x".repeat(Removed::MAX_NAME_LENGTH));
}
