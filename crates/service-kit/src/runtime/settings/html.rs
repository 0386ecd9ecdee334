//! The settings of the HTML of content: the classes, embeds and images that a text may have.

use serde::{Deserialize, Deserializer, de};
use smart_default::SmartDefault;
use url::{Host, Url};

use super::comma_separated::CommaSeparated;

/// The largest value of [`Html::max_data_image_bytes`]: larger images do not fit into a text.
const DATA_IMAGE_MAX_BYTES: usize = 256 * 1024;

/// The classes of editors, highlighters and WordPress.
const CLASSES: [&str; 35] = [
    "align",
    "aligncenter",
    "blocks-gallery",
    "caption",
    "code-",
    "contains-task-list",
    "embed-",
    "figure",
    "footnote",
    "gallery",
    "has-",
    "highlight",
    "hljs",
    "image",
    "is-",
    "katex",
    "lang-",
    "language-",
    "line-numbers",
    "math",
    "media",
    "more-link",
    "pullquote",
    "ql-",
    "responsive-image",
    "size-",
    "table",
    "task-list",
    "text-align-",
    "text-left",
    "text-right",
    "tiptap",
    "todo-list",
    "token",
    "wp-",
];

/// Sites that people embed, with the path of the player if the site has other pages too.
const EMBED_HOSTS: [&str; 17] = [
    "www.youtube.com",
    "youtube.com",
    "m.youtube.com",
    "www.youtube-nocookie.com",
    "youtube-nocookie.com",
    "player.vimeo.com",
    "www.loom.com",
    "loom.com",
    "codepen.io",
    "codesandbox.io",
    "open.spotify.com",
    "w.soundcloud.com",
    "www.google.com/maps",
    "google.com/maps",
    "maps.google.com",
    "www.openstreetmap.org",
    "openstreetmap.org",
];

/// The HTML that content may have, beyond what every text may have.
#[derive(Debug, Clone, SmartDefault, Deserialize)]
#[serde(default)]
pub struct Html {
    /// The classes that elements may have, by their prefixes.
    #[default(ClassPrefixes(CLASSES.map(str::to_owned).to_vec()))]
    pub classes: ClassPrefixes,
    /// The hosts whose pages may be shown in an `iframe`.
    #[default(EmbedHosts(EMBED_HOSTS.map(EmbedHost::split).to_vec()))]
    pub embed_hosts: EmbedHosts,
    /// The largest image in a `data:` address, in bytes of the image; 0 for none.
    #[default(64 * 1024)]
    #[serde(deserialize_with = "data_image_bytes")]
    pub max_data_image_bytes: usize,
}

fn data_image_bytes<'de, D: Deserializer<'de>>(deserializer: D) -> Result<usize, D::Error> {
    let bytes = usize::deserialize(deserializer)?;
    if bytes > DATA_IMAGE_MAX_BYTES {
        return Err(de::Error::custom(format!("{bytes} is more than {DATA_IMAGE_MAX_BYTES}")));
    }
    Ok(bytes)
}

/// Prefixes of class names, such as `language-`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClassPrefixes(Vec<String>);

impl ClassPrefixes {
    /// Returns `true` if the class begins with one of the prefixes and has only letters, digits and
    /// `+ # - _ .`. A prefix that ends in `-` needs something after it.
    pub fn contain(&self, class: &str) -> bool {
        let begins_with = |prefix: &String| {
            class
                .strip_prefix(&**prefix)
                .is_some_and(|rest| !rest.is_empty() || !prefix.ends_with('-'))
        };
        is_class(class) && self.0.iter().any(begins_with)
    }
}

fn is_class(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_alphanumeric() || "+#-_.".contains(c))
}

impl<'de> Deserialize<'de> for ClassPrefixes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let CommaSeparated(prefixes) = CommaSeparated::deserialize(deserializer)?;
        if let Some(wrong) = prefixes.iter().find(|prefix| !is_class(prefix)) {
            return Err(de::Error::custom(format!(
                "{wrong:?} is not a prefix of a class name: letters, digits and + # - _ . only"
            )));
        }
        Ok(Self(prefixes))
    }
}

/// The hosts whose pages may be shown in an `iframe`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EmbedHosts(Vec<EmbedHost>);

/// A host and a prefix of its paths.
#[derive(Debug, Clone, PartialEq, Eq)]
struct EmbedHost {
    host: String,
    /// The prefix, without a slash at the end; empty for all paths.
    path: String,
}

impl EmbedHosts {
    /// Returns `true` if a page may be shown. `host` and `path` are those of a parsed address.
    pub fn contain(&self, host: &str, path: &str) -> bool {
        self.0.iter().any(|known| {
            let rest = path.strip_prefix(&*known.path);
            known.host == host && rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        })
    }
}

impl EmbedHost {
    /// Splits `host/path` without checking either.
    fn split(text: &str) -> Self {
        let (host, path) = text.split_once('/').unwrap_or((text, ""));
        let path = path.trim_end_matches('/');
        let path = if path.is_empty() { String::new() } else { format!("/{path}") };
        Self { host: host.to_owned(), path }
    }
}

impl std::str::FromStr for EmbedHost {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = || format!("{text:?} is not of the form host or host/path");
        let url = Url::parse(&format!("https://{text}")).map_err(|_| wrong())?;
        let this = Self::split(text);
        let is_domain = matches!(url.host(), Some(Host::Domain(domain)) if domain == this.host);
        if !is_domain || url.path().trim_end_matches('/') != this.path {
            return Err(wrong());
        }
        Ok(this)
    }
}

impl<'de> Deserialize<'de> for EmbedHosts {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let CommaSeparated(texts) = CommaSeparated::deserialize(deserializer)?;
        let hosts = texts.iter().map(|text| text.parse().map_err(de::Error::custom));
        hosts.collect::<Result<_, _>>().map(Self)
    }
}

#[cfg(test)]
mod tests {
    use crate::runtime::settings::{Settings, Sources};

    use super::{CLASSES, EMBED_HOSTS, Html};

    fn html(classes: &str, embed_hosts: &str) -> Html {
        let command_line = vec![
            ("html.classes", classes.to_owned()),
            ("html.embed_hosts", embed_hosts.to_owned()),
        ];
        Settings::load(5003, &Sources { command_line, ..Sources::default() }).unwrap().html
    }

    #[test]
    fn a_class_is_known_by_its_beginning() {
        let classes = html("language-, note", "").classes;
        for class in ["language-c++", "language-x", "note", "notes", "note_1"] {
            assert!(classes.contain(class), "{class}");
        }
        for class in ["language-", "language", "Note", "a-note", "note(1)", "note:hover", ""] {
            assert!(!classes.contain(class), "{class}");
        }
    }

    #[test]
    fn an_embed_is_known_by_its_host_and_the_beginning_of_its_path() {
        let hosts = html("a", "video.example, maps.example/embed/").embed_hosts;
        for (host, path) in [
            ("video.example", "/"),
            ("video.example", "/a/b"),
            ("maps.example", "/embed"),
            ("maps.example", "/embed/a"),
        ] {
            assert!(hosts.contain(host, path), "{host}{path}");
        }
        for (host, path) in [
            ("a.video.example", "/"),
            ("video.example.", "/"),
            ("maps.example", "/"),
            ("maps.example", "/embedded"),
            ("maps.example", "/a/embed"),
        ] {
            assert!(!hosts.contain(host, path), "{host}{path}");
        }
    }

    #[test]
    fn the_defaults_are_values_that_could_be_set() {
        let defaults = Settings::load(5003, &Sources::default()).unwrap().html;
        let set = html(&CLASSES.join(","), &EMBED_HOSTS.join(","));
        assert_eq!((defaults.classes, defaults.embed_hosts), (set.classes, set.embed_hosts));
        assert_eq!(defaults.max_data_image_bytes, 65_536);
    }
}
