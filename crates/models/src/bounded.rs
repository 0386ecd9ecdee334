//! Lists that are read no further than the longest one that is accepted.

use std::{fmt, marker::PhantomData};

use serde::{
    Deserialize, Deserializer,
    de::{Error, IgnoredAny, SeqAccess, Visitor},
};

/// Reads a list that has at most so many items. A longer one is refused with the error without its
/// rest being read, so that its memory is bounded too.
pub fn at_most<'de, T, D>(
    deserializer: D,
    longest: usize,
    error: impl fmt::Display,
) -> Result<Vec<T>, D::Error>
where
    T: Deserialize<'de>,
    D: Deserializer<'de>,
{
    deserializer.deserialize_seq(List { longest, error, items: PhantomData })
}

struct List<T, E> {
    longest: usize,
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
        while items.len() < self.longest {
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
