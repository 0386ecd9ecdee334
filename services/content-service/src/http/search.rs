//! The search.

use std::{
    collections::{HashMap, HashSet},
    sync::LazyLock,
    time::Duration,
};

use actix_web::{HttpRequest, HttpResponse, web::Data};
use chrono::{DateTime, Utc};
use data_service::{changes::Answer, database_error};
use models::{ContentType, ErrorCode, FieldError, ObjectId, schema::schema};
use mongodb::{bson::Bson, error::Error};
use serde::{Deserialize, Deserializer, Serialize, de::Error as _};
use service_kit::{
    auth::caller::Caller,
    web::{conditional::json_response, error::ApiError, extract::Query},
};
use tokio::{sync::Semaphore, time::timeout};
use utoipa::{
    IntoParams, ToSchema,
    openapi::schema::{Object, ObjectBuilder, Type},
};

use super::{
    error_sets::SearchErrors,
    sections::{Sections, audience, paths},
};
use crate::{
    domain::{
        audience::{Audience, Hidden},
        item_paths::ItemPaths,
        list::{Filter, Limit},
        pagination::{id_from_text, id_to_text},
        search::ExcerptPart,
        words::words,
    },
    kinds::Collections,
    store::search::{Candidate, Hit, NoIndex, SEARCH_KEY, SearchQuery, SearchStore},
};

/// The longest query, in characters: a long sentence.
const MAX_QUERY: usize = 200;

/// The most words of a query; further ones are not looked for. Each costs a look into the index.
const MAX_WORDS: usize = 16;

/// The fewest candidates that are compared with their items at once.
const MIN_COMPARED: usize = 20;

/// The most queries at the same time: one for a word of very many items occupies the database for some
/// tenths of a second.
const MAX_QUERIES: usize = 8;

/// The longest wait for another query to end.
const MAX_WAIT: Duration = Duration::from_secs(1);

static QUERIES: LazyLock<Semaphore> = LazyLock::new(|| Semaphore::new(MAX_QUERIES));

/// The query of a search.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct SearchParameters {
    /// The words to look for: items that have all of them, in their titles or texts.
    #[param(min_length = 1, max_length = 200)]
    q: String,
    /// The kinds of content, separated by commas, such as `stories,projects`; the default is all.
    #[param(value_type = Option<ContentKinds>, nullable = false)]
    kind: Option<String>,
    /// The slug of a section: only its content.
    #[param(nullable = false)]
    section: Option<String>,
    /// The largest number of items of a page.
    #[serde(default)]
    #[param(value_type = Limit, required = false)]
    limit: Limit,
    /// A `next_cursor` of an earlier answer.
    #[serde(default)]
    #[param(value_type = String, required = false, pattern = "^[A-Za-z0-9_-]+$")]
    cursor: Cursor,
    /// `true` for drafts as well. Needs a token.
    #[serde(default)]
    #[param(required = false)]
    include_drafts: bool,
}

/// Kinds of content, separated by commas.
pub(super) struct ContentKinds;

schema!(ContentKinds, {
    let kinds = ContentType::ALL.map(ContentType::collection).join("|");
    ObjectBuilder::new()
        .schema_type(Type::String)
        .description(Some("Kinds of content, separated by commas."))
        .pattern(Some(format!("^({kinds})(,({kinds}))*$")))
});

/// The last item before a page; `None` for the first page. It is not the number of candidates before
/// it, which would tell of items that the caller does not see.
#[derive(Debug, Clone, Default)]
struct Cursor(Option<LastItem>);

#[derive(Debug, Clone)]
struct LastItem {
    kind: ContentType,
    id: Bson,
}

impl<'de> Deserialize<'de> for Cursor {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let item = text.split_once('-').and_then(|(kind, id)| {
            Some(LastItem { kind: ContentType::of_collection(kind)?, id: id_from_text(id)? })
        });
        let invalid = || D::Error::custom("must be a `next_cursor` of an earlier answer");
        item.map(|item| Self(Some(item))).ok_or_else(invalid)
    }
}

impl Cursor {
    /// Returns the place among the candidates at which the page begins.
    fn start(&self, candidates: &[Candidate]) -> Result<usize, ApiError> {
        let Some(LastItem { kind, id }) = &self.0 else { return Ok(0) };
        let is_last = |one: &Candidate| one.content_type == *kind && one.id == *id;
        let last = candidates.iter().position(is_last).ok_or_else(|| {
            let message = "leads to an item that is not found any more; search without a cursor";
            ApiError::invalid(FieldError::invalid("cursor", message))
        });
        Ok(last? + 1)
    }

    fn encode(last: &Candidate) -> Option<String> {
        Some(format!("{}-{}", last.content_type.collection(), id_to_text(&last.id)?))
    }
}

fn kind() -> Object {
    let names = ContentType::ALL.map(ContentType::collection);
    ObjectBuilder::new().schema_type(Type::String).enum_values(Some(names)).build()
}

/// An item that was found.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct SearchResult {
    /// The kind of the item, named like its collection.
    #[schema(schema_with = kind)]
    kind: &'static str,
    /// The id of the item.
    id: String,
    /// The title of the item.
    title: String,
    /// The slug of the item; empty if it has none.
    slug: String,
    /// The id of its section.
    #[schema(required = true)]
    section_id: Option<String>,
    /// `true` if it is published.
    is_published: bool,
    /// Its path on the site; null if no path leads to it. A draft has the path at which it will be
    /// published.
    #[schema(required = true)]
    path: Option<String>,
    /// A part of its text, as plain text, with the words of the query marked.
    excerpt: Vec<ExcerptPart>,
    /// The date of its creation.
    #[serde(rename = "createdDate", serialize_with = "models::rfc3339::serialize")]
    #[schema(required = true)]
    created_date: Option<DateTime<Utc>>,
    /// The date of its last change.
    #[serde(rename = "updatedDate", serialize_with = "models::rfc3339::serialize")]
    #[schema(required = true)]
    updated_date: Option<DateTime<Utc>>,
}

/// A page of the items that were found, the best first.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct SearchResults {
    /// The items of this page.
    items: Vec<SearchResult>,
    /// The largest number of items of a page.
    limit: u32,
    /// The value of `cursor` that returns the next page; null on the last one.
    #[schema(required = true)]
    next_cursor: Option<String>,
}

/// Finds items by words of their titles and texts.
///
/// Items of every kind, those first that have more of the words in their titles, then those of whose text
/// the rarest word is a larger part. Case and accents do not matter; words are compared whole, without
/// regard to a language. Of scripts without spaces, any two characters or more are found. Only what the
/// caller may see is found; with `include_drafts` and a token also what is not published.
#[utoipa::path(
    get,
    operation_id = "search",
    path = "/search",
    tag = "content",
    params(
        SearchParameters,
        ("If-None-Match" = Option<String>, Header, nullable = false,
            description = "The state that the caller has.")
    ),
    responses(
        (status = 200, description = "The page.", body = SearchResults,
            headers(("ETag", description = "The state of the page."))),
        (status = 304, description = "The page has not changed."),
        SearchErrors
    ),
    security((), ("bearer" = []))
)]
pub(super) async fn search(
    request: HttpRequest,
    query: Query<SearchParameters>,
    store: Data<SearchStore>,
    sections: Data<Sections>,
    collections: Data<Collections>,
    answer: Answer,
) -> Result<HttpResponse, ApiError> {
    let Query(SearchParameters { q, kind, section, limit, cursor, include_drafts }) = query;
    if include_drafts {
        Caller::of(&request).await?;
    }
    let words = query_words(&q)?;
    let kinds = kinds(kind.as_deref())?;
    let directory = sections.latest(&answer).await?;
    answer.add_keys([SEARCH_KEY.to_owned()]);
    let (mut audiences, mut item_paths) = (HashMap::new(), HashMap::new());
    for content_type in &kinds {
        let collection = collections.of(*content_type);
        answer.add_keys([collection.kind().keys().list()]);
        let audience = audience(&directory, collection, &answer, include_drafts).await?;
        audiences.insert(*content_type, audience);
        let paths = paths(Some(directory.clone()), collection, &answer).await?;
        item_paths.insert(*content_type, paths);
    }
    let section = match section {
        Some(slug) => {
            let audience = match include_drafts {
                true => Audience::Editors,
                false => Audience::Public(Hidden::nothing()),
            };
            Some(sections.by_slug(&slug, &audience, &answer).await?.id)
        }
        None => None,
    };
    let place = timeout(MAX_WAIT, QUERIES.acquire()).await;
    let _place = place.ok().and_then(Result::ok).ok_or_else(overloaded)?;
    let search = Search { collections: &collections, audiences, section, words };
    let query = SearchQuery { words: search.words.clone(), kinds, section };
    let candidates = store.candidates(&query).await.map_err(not_searched)?;
    let (hits, next) = search.page(&candidates, cursor.start(&candidates)?, limit).await?;
    let results = hits.into_iter();
    let items = results.map(|(kind, hit)| result(kind, hit, item_paths.get(&kind))).collect();
    let next_cursor = next.and_then(Cursor::encode);
    json_response(&request, &SearchResults { items, limit: limit.get(), next_cursor })
}

/// Returns the words of a query, each once.
fn query_words(query: &str) -> Result<Vec<String>, ApiError> {
    let invalid = |message: String| Err(ApiError::invalid(FieldError::invalid("q", message)));
    if query.chars().count() > MAX_QUERY {
        return invalid(format!("must have at most {MAX_QUERY} characters"));
    }
    let mut known = HashSet::new();
    let words = words(query).map(|word| word.text);
    let words: Vec<_> = words.filter(|word| known.insert(word.clone())).take(MAX_WORDS).collect();
    if words.is_empty() {
        return invalid("must have a word: a letter or a digit".to_owned());
    }
    Ok(words)
}

/// Returns the kinds of content that a text names, or all.
fn kinds(text: Option<&str>) -> Result<Vec<ContentType>, ApiError> {
    let Some(text) = text else { return Ok(ContentType::ALL.to_vec()) };
    let kind = |name: &str| {
        ContentType::of_collection(name.trim()).ok_or_else(|| {
            let all = ContentType::ALL.map(ContentType::collection).join(", ");
            let message = format!("must be one of {all}, or several of them, separated by commas");
            ApiError::invalid(FieldError::invalid("kind", message))
        })
    };
    text.split(',').map(kind).collect()
}

fn overloaded() -> ApiError {
    let detail = "Too many searches are made at the same time. Try again in a second.";
    ApiError::new(ErrorCode::Overloaded, detail).retry_after_seconds(1)
}

fn not_searched(error: Error) -> ApiError {
    if error.get_custom::<NoIndex>().is_some() {
        let detail = "The search is being prepared: its index is built by a migration.";
        return ApiError::new(ErrorCode::NotReady, detail).retry_after_seconds(5);
    }
    database_error(error)
}

/// A search of a caller.
struct Search<'a> {
    collections: &'a Collections,
    /// The audience of each kind.
    audiences: HashMap<ContentType, Audience>,
    section: Option<ObjectId>,
    words: Vec<String>,
}

impl Search<'_> {
    /// Returns the items of a page that begins after some candidates, and the last of them if there are
    /// more.
    async fn page<'c>(
        &self,
        candidates: &'c [Candidate],
        start: usize,
        limit: Limit,
    ) -> Result<(Vec<(ContentType, Hit)>, Option<&'c Candidate>), ApiError> {
        let limit = limit.get() as usize;
        let (mut found, mut last) = (Vec::new(), None);
        let mut at = start.min(candidates.len());
        while at < candidates.len() {
            let length = (limit + 1 - found.len()).max(MIN_COMPARED);
            let chunk = &candidates[at..candidates.len().min(at + length)];
            for (place, hit) in self.compare(chunk).await?.into_iter().enumerate() {
                let Some(hit) = hit else { continue };
                if found.len() == limit {
                    return Ok((found, last));
                }
                found.push((chunk[place].content_type, hit));
                last = Some(&chunk[place]);
            }
            at += chunk.len();
        }
        Ok((found, None))
    }

    /// Returns those of these candidates that the caller may see and that have the words.
    async fn compare(&self, chunk: &[Candidate]) -> Result<Vec<Option<Hit>>, ApiError> {
        let mut hits: Vec<Option<Hit>> = chunk.iter().map(|_| None).collect();
        for (content_type, audience) in &self.audiences {
            let of_kind = chunk.iter().enumerate();
            let of_kind = of_kind.filter(|(_, one)| one.content_type == *content_type);
            let (places, ids): (Vec<usize>, Vec<Bson>) =
                of_kind.map(|(place, one)| (place, one.id.clone())).unzip();
            if ids.is_empty() {
                continue;
            }
            let filter = Filter::new(self.section, audience.clone());
            let collection = self.collections.of(*content_type);
            let found = collection.hits(&ids, &filter, &self.words).await;
            for (place, hit) in places.into_iter().zip(found.map_err(database_error)?) {
                hits[place] = hit;
            }
        }
        Ok(hits)
    }
}

/// Returns an item that was found as the API answers it.
fn result(content_type: ContentType, hit: Hit, paths: Option<&ItemPaths>) -> SearchResult {
    let path = hit.section.as_deref().zip(paths);
    let path = path.and_then(|(section, paths)| paths.path_in(section, &hit.id, &hit.slug));
    SearchResult {
        kind: content_type.collection(),
        id: hit.id,
        title: hit.title,
        slug: hit.slug,
        section_id: hit.section,
        is_published: hit.is_published,
        path,
        excerpt: hit.excerpt,
        created_date: hit.created_date,
        updated_date: hit.updated_date,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_has_some_words_each_once() {
        let words = |query: &str| query_words(query).ok();
        assert_eq!(words("The lamp, the LÂMP").unwrap(), ["the", "lamp"]);
        assert_eq!(words("-lamp \"$where\" a|b").unwrap(), ["lamp", "where", "a", "b"]);
        let many: String = (0..50).map(|number| format!("{number} ")).collect();
        assert_eq!(words(&many).unwrap().len(), MAX_WORDS);
        for wrong in ["", " ", "!?", "🗼", &"x".repeat(201)] {
            assert!(query_words(wrong).is_err(), "{wrong}");
        }
        assert!(query_words(&"é".repeat(200)).is_ok());
    }

    #[test]
    fn kinds_are_named_like_their_collections() {
        assert_eq!(kinds(None).unwrap(), ContentType::ALL);
        assert_eq!(kinds(Some("pages, stories")).unwrap(), [ContentType::Page, ContentType::Story]);
        for wrong in ["", "story", "users", "stories,", "Stories"] {
            assert!(kinds(Some(wrong)).is_err(), "{wrong}");
        }
    }
}
