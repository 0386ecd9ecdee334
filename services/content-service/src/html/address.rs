//! Addresses: parsed as browsers do, judged by scheme and host, and written back normalised.

use std::{borrow::Cow, sync::LazyLock};

use base64::{
    Engine, alphabet,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use service_kit::runtime::settings::html::EmbedHosts;
use url::Url;

use super::limits::Limits;

/// The address of a page that has the text, as a browser would know it: a site with https. The
/// name is reserved (RFC 2606); the path is deep enough for `../` and ends in no page of a site.
static BASE: LazyLock<Url> = LazyLock::new(|| {
    let base = Url::parse("https://site.invalid/1/2/3/4/5/6/7/8/9/10/11/12/--page--");
    #[expect(clippy::expect_used, reason = "the address is a constant")]
    base.expect("the base is an address")
});

/// The steps of parsing an address and checking the result.
pub(super) const STEPS: u64 = 500;

/// The raster formats that a `data:` image may have. Others (SVG) may have scripts.
const RASTER_TYPES: [&str; 6] = ["png", "jpeg", "jpg", "gif", "webp", "avif"];

/// Decodes base64 as browsers do, which accept missing padding and unused last bits that are set.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

/// Returns the address of a link: `http`, `https`, `mailto`, `tel` or relative.
pub(super) fn link(text: &str) -> Option<String> {
    let text = cleaned(text);
    if text.is_empty() {
        return Some(String::new());
    }
    let url = BASE.join(&text).ok()?;
    match url.scheme() {
        "mailto" | "tel" => Some(url.into()),
        _ => web(&text, &url),
    }
}

/// Returns the address of a resource that is loaded or cited: `http`, `https` or relative.
pub(super) fn resource(text: &str) -> Option<String> {
    let text = cleaned(text);
    if text.is_empty() {
        return None;
    }
    web(&text, &BASE.join(&text).ok()?)
}

/// Returns the address of an image: that of a [`resource`], or a raster image in a `data:` address
/// of limited length in bytes.
pub(super) fn image(text: &str, max_data_bytes: usize) -> Option<String> {
    let text = cleaned(text);
    if !text.get(..5).is_some_and(|scheme| scheme.eq_ignore_ascii_case("data:")) {
        return resource(&text);
    }
    let (header, payload) = text[5..].split_once(',')?;
    let header = header.to_ascii_lowercase();
    let mut parts = header.split(';').map(str::trim);
    let format = parts.next()?.strip_prefix("image/")?;
    let is_base64 = parts.next_back()? == "base64";
    // Four characters hold three bytes.
    let is_small = payload.len() / 4 * 3 <= max_data_bytes + 3;
    if !is_base64 || !is_small || !RASTER_TYPES.contains(&format) {
        return None;
    }
    let payload: String = payload.chars().filter(|c| !c.is_ascii_whitespace()).collect();
    let size = BASE64.decode(&payload).ok()?.len();
    let address = || format!("data:image/{format};base64,{payload}");
    (size > 0 && size <= max_data_bytes).then(address)
}

/// Returns the address of an embed: `https` at one of the hosts. `http:` and `//` become `https:`.
pub(super) fn embed(text: &str, hosts: &EmbedHosts) -> Option<String> {
    let mut url = BASE.join(&cleaned(text)).ok()?;
    if url.scheme() == "http" {
        url.set_scheme("https").ok()?;
    }
    let is_plain = url.scheme() == "https" && url.port().is_none() && !has_credentials(&url);
    (is_plain && hosts.contain(url.host_str()?, url.path())).then(|| url.into())
}

/// Returns a list of images for different screens, or `None` if it has no valid image (HTML,
/// §4.8.4.2.3). The second value is `true` if an image was removed. Stops if a limit is exceeded.
pub(super) fn srcset(text: &str, max_data_bytes: usize, limits: &Limits) -> (Option<String>, bool) {
    /// The maximum number of images in a list. Plugins write about twelve.
    const MAX_CANDIDATES: usize = 64;
    let is_separator = |c: char| c.is_ascii_whitespace() || c == ',';
    let mut kept = Vec::new();
    let mut has_removed = false;
    let mut rest = text.trim_start_matches(is_separator);
    while !rest.is_empty() && limits.check().is_ok() {
        limits.spend(STEPS);
        let end = rest.find(|c: char| c.is_ascii_whitespace()).unwrap_or(rest.len());
        let (address, after) = rest.split_at(end);
        let bare = address.trim_end_matches(',');
        let (descriptor, after) = if bare.len() < address.len() {
            ("", after)
        } else {
            after.split_once(',').unwrap_or((after, ""))
        };
        rest = after.trim_start_matches(is_separator);
        let candidate = image(bare, max_data_bytes)
            .filter(|address| !address.starts_with(',') && !address.ends_with(','))
            .filter(|_| kept.len() < MAX_CANDIDATES)
            .and_then(|address| candidate(address, descriptor.trim()));
        match candidate {
            Some(candidate) => kept.push(candidate),
            None => has_removed = true,
        }
        if kept.len() == MAX_CANDIDATES && !rest.is_empty() {
            has_removed = true;
            break;
        }
    }
    ((!kept.is_empty()).then(|| kept.join(", ")), has_removed)
}

/// Returns a candidate if its descriptors are widths, densities or heights.
fn candidate(address: String, descriptors: &str) -> Option<String> {
    let is_number = |text: &str| {
        !text.is_empty()
            && text.parse::<f64>().is_ok_and(|number| number > 0.0 && number.is_finite())
    };
    let is_descriptor = |text: &str| text.strip_suffix(['w', 'x', 'h']).is_some_and(is_number);
    if descriptors.is_empty() {
        return Some(address);
    }
    let descriptors: Vec<_> = descriptors.split_ascii_whitespace().collect();
    let is_known = descriptors.iter().all(|text| is_descriptor(text));
    is_known.then(|| format!("{address} {}", descriptors.join(" ")))
}

/// Removes what browsers remove before they parse: control characters and spaces at both ends,
/// tabs and line breaks everywhere (URL Standard, §4.4).
fn cleaned(text: &str) -> Cow<'_, str> {
    let text = text.trim_matches(|c: char| c <= ' ');
    if text.contains(['\t', '\n', '\r']) {
        Cow::Owned(text.replace(['\t', '\n', '\r'], ""))
    } else {
        Cow::Borrowed(text)
    }
}

fn has_credentials(url: &Url) -> bool {
    !url.username().is_empty() || url.password().is_some()
}

/// Returns the normalised form of an `http(s)` address: relative if it was relative. The result
/// resolves to the same page as `url`.
fn web(text: &str, url: &Url) -> Option<String> {
    if !matches!(url.scheme(), "http" | "https") {
        return None;
    }
    let is_slash = |c: char| c == '/' || c == '\\';
    if url.origin() == BASE.origin() {
        return relative(text, url);
    }
    let is_relative_to_scheme = text.chars().take_while(|c| is_slash(*c)).count() >= 2;
    let written = url.as_str();
    let written = match written.strip_prefix("https:") {
        Some(rest) if is_relative_to_scheme => rest,
        _ => written,
    };
    leads_to(written, url).then(|| written.to_owned())
}

/// Returns an address within the site, with the prefix (`/`, `./`, `../`) that its author chose.
fn relative(text: &str, url: &Url) -> Option<String> {
    let after_path = &url[url::Position::AfterPath..];
    let written = match text.chars().next()? {
        '#' => format!("#{}", url.fragment().unwrap_or_default()),
        '?' => after_path.to_owned(),
        '/' | '\\' => url[url::Position::BeforePath..].to_owned(),
        // `https:/page` is a path from the root, `https:page` one from here.
        _ if text.split_once(':').is_some_and(|(scheme, rest)| {
            scheme.eq_ignore_ascii_case("https") && rest.starts_with(['/', '\\'])
        }) =>
        {
            url[url::Position::BeforePath..].to_owned()
        }
        _ => BASE.make_relative(url)?,
    };
    // `a:b` would be another scheme.
    [format!("./{written}"), written].into_iter().rev().find(|written| leads_to(written, url))
}

/// Returns `true` if `written` resolves to `url` from every page of a site, with http and https.
fn leads_to(written: &str, url: &Url) -> bool {
    let is_same = |base: &Url| {
        base.join(written).is_ok_and(|other| {
            other == *url
                || (other.scheme() == "http"
                    && url.scheme() == "https"
                    && other[url::Position::BeforeUsername..]
                        == url[url::Position::BeforeUsername..])
        })
    };
    let mut insecure = BASE.clone();
    is_same(&BASE) && insecure.set_scheme("http").is_ok() && is_same(&insecure)
}
