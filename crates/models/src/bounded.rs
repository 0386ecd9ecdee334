//! Lists with a maximum length.

use std::{fmt, marker::PhantomData};

use serde::{
    Deserialize, Deserializer,
    de::{Error, IgnoredAny, SeqAccess, Visitor},
};

/// Reads a list with a maximum length. A longer list fails with the error as soon as the length is
/// exceeded, so that its memory is bounded.
pub fn at_most<'de, T, D>(
    deserializer: D,
    max_length: usize,
    error: impl fmt::Display,
) -> Result<Vec<T>, D::Error>
where
    T: Deserialize<'de>,
    D: Deserializer<'de>,
{
    deserializer.deserialize_seq(List { max_length, error, items: PhantomData })
}

struct List<T, E> {
    max_length: usize,
    error: E,
    items: PhantomData<T>,
}

impl<'de, T: Deserialize<'de>, E: fmt::Display> Visitor<'de> for List<T, E> {
    type Value = Vec<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a sequence")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Vec<T>, A::Error> {
        let mut items = Vec::new();
        while items.len() < self.max_length {
            match sequence.next_element()? {
                Some(item) => items.push(item),
                None => return Ok(items),
            }
        }
        match sequence.next_element::<IgnoredAny>()? {
            Some(_) => Err(A::Error::custom(self.error)),
            None => Ok(items),
        }
    }
}
