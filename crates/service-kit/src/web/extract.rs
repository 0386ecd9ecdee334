//! Extractors that parse the address of a request into typed values.

use std::{
    collections::HashSet,
    future::{Ready, ready},
};

use actix_web::{FromRequest, HttpRequest, dev::Payload};
use models::{ErrorCode, FieldError, ObjectId};
use serde::de::DeserializeOwned;

use super::{error::ApiError, field_error::field_error};

/// The parsed query of the address. `T` should deny unknown fields, so that a mistyped parameter is an
/// error.
#[derive(Debug)]
pub struct Query<T>(pub T);

impl<T: DeserializeOwned> FromRequest for Query<T> {
    type Error = ApiError;
    type Future = Ready<Result<Self, ApiError>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        ready(parse_query(request.query_string()).map(Self))
    }
}

/// An empty query: every parameter is an error.
#[derive(Debug)]
pub struct NoQuery;

impl FromRequest for NoQuery {
    type Error = ApiError;
    type Future = Ready<Result<Self, ApiError>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        #[derive(serde::Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Nothing {}
        ready(parse_query::<Nothing>(request.query_string()).map(|Nothing {}| Self))
    }
}

fn parse_query<T: DeserializeOwned>(query: &str) -> Result<T, ApiError> {
    let pairs = url::form_urlencoded::parse(query.as_bytes());
    let mut names = HashSet::new();
    for (name, _) in pairs {
        if let Some(field) = names.replace(name.clone()) {
            return Err(ApiError::invalid(FieldError::invalid(field, "given more than once")));
        }
    }
    let deserializer = serde_urlencoded::Deserializer::new(pairs);
    serde_path_to_error::deserialize(deserializer).map_err(|error| {
        let path = error.path().to_string();
        ApiError::invalid(field_error(&path, &error.into_inner().to_string()))
    })
}

/// Parses the id in a path such as `/stories/{id}`. `thing` names it in the error: `Invalid story ID
/// format`.
pub fn object_id(text: &str, thing: &str) -> Result<ObjectId, ApiError> {
    text.parse().map_err(|_| {
        ApiError::new(ErrorCode::InvalidId, format!("Invalid {} ID format", thing.to_lowercase()))
    })
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU8;

    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields, default)]
    struct Paging {
        limit: NonZeroU8,
        offset: u32,
    }

    impl Default for Paging {
        fn default() -> Self {
            Self { limit: NonZeroU8::MIN, offset: 0 }
        }
    }

    #[test]
    fn a_missing_parameter_has_its_default() {
        let paging: Paging = parse_query("offset=20").unwrap();
        assert_eq!((paging.limit.get(), paging.offset), (1, 20));
    }

    #[test]
    fn a_wrong_or_unknown_parameter_is_named() {
        for (query, field, code) in [
            ("limit=0", "limit", "invalid"),
            ("limit=256", "limit", "invalid"),
            ("limit=ten", "limit", "invalid"),
            ("limit=", "limit", "invalid"),
            ("offset=-1", "offset", "invalid"),
            ("offset=99999999999999999999", "offset", "invalid"),
            ("limit=1&limit=2", "limit", "invalid"),
            ("limti=1", "limti", "unknown"),
            ("limit[$gt]=1", "limit[$gt]", "unknown"),
        ] {
            let error = parse_query::<Paging>(query).unwrap_err();
            let text = format!("{error:?}");
            assert!(text.contains(&format!("field: {field:?}")), "{query}: {text}");
            assert!(text.contains(&format!("code: {code:?}")), "{query}: {text}");
        }
    }
}
