//! Splits the text of a body into its members, without a copy of the values.

use std::{fmt, marker::PhantomData, ops::Range};

use models::Body;
use serde::{
    Deserializer,
    de::{DeserializeSeed, Error as _, MapAccess, Visitor, value::Error as ProbeError},
    forward_to_deserialize_any,
};
use serde_json::value::RawValue;

use crate::web::field_error::truncated;

/// A member of a body.
#[derive(Debug)]
pub(super) enum Member {
    /// A member of the type, and the range of its value in the text.
    Known(&'static str, Range<usize>),
    /// A member that the type does not have.
    Unknown(String),
}

/// The members of a body.
#[derive(Debug)]
pub(super) struct Members {
    /// In the order of the body, with at most so many unknown ones as were asked for.
    pub(super) listed: Vec<Member>,
    /// The number of unknown members beyond those.
    pub(super) more_unknown: usize,
}

/// Splits an object into the members that the type has, and at most `unknown_max` others.
pub(super) fn split<T: Body>(text: &str, unknown_max: usize) -> serde_json::Result<Members> {
    let mut splitter = Splitter {
        text,
        fields: fields::<T>(),
        unknown_max,
        members: Members { listed: Vec::new(), more_unknown: 0 },
        body: PhantomData::<T>,
    };
    serde_json::Deserializer::from_str(text).deserialize_map(&mut splitter)?;
    Ok(splitter.members)
}

struct Splitter<'a, T> {
    text: &'a str,
    fields: &'static [&'static str],
    unknown_max: usize,
    members: Members,
    body: PhantomData<T>,
}

impl<'de, T: Body> Visitor<'de> for &mut Splitter<'_, T> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<(), A::Error> {
        let mut unknown = 0;
        while let Some(name) = members.next_key_seed(NameOf::<T>(self.fields, PhantomData))? {
            let value = members.next_value::<&RawValue>()?.get();
            match name {
                Ok(name) => {
                    // The value is a part of the text.
                    let start = value.as_ptr().addr() - self.text.as_ptr().addr();
                    self.members.listed.push(Member::Known(name, start..start + value.len()));
                }
                Err(name) if unknown < self.unknown_max => {
                    unknown += 1;
                    self.members.listed.push(Member::Unknown(name));
                }
                Err(_) => self.members.more_unknown += 1,
            }
        }
        Ok(())
    }
}

/// Parses a name as a member of the type, or else as the beginning of an unknown name.
struct NameOf<T>(&'static [&'static str], PhantomData<T>);

impl<'de, T: Body> DeserializeSeed<'de> for NameOf<T> {
    type Value = Result<&'static str, String>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<T: Body> Visitor<'_> for NameOf<T> {
    type Value = Result<&'static str, String>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name")
    }

    fn visit_str<E>(self, name: &str) -> Result<Self::Value, E> {
        let known = self.0.iter().chain(T::READ_ONLY).find(|known| **known == name);
        Ok(known.copied().ok_or_else(|| truncated(name).into_owned()))
    }
}

/// Returns the names of the members that a type reads, as its derived `Deserialize` names them.
pub(super) fn fields<T: Body>() -> &'static [&'static str] {
    struct Probe<'a>(&'a mut &'static [&'static str]);

    impl<'de> Deserializer<'de> for Probe<'_> {
        type Error = ProbeError;

        fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, ProbeError> {
            Err(ProbeError::custom("a body is read from an object"))
        }

        fn deserialize_struct<V: Visitor<'de>>(
            self,
            _: &'static str,
            fields: &'static [&'static str],
            visitor: V,
        ) -> Result<V::Value, ProbeError> {
            *self.0 = fields;
            self.deserialize_any(visitor)
        }

        forward_to_deserialize_any! {
            bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf
            option unit unit_struct newtype_struct seq tuple tuple_struct map enum identifier
            ignored_any
        }
    }

    let mut fields: &'static [&'static str] = &[];
    // Always fails: the probe has no value, only the request for the fields matters.
    drop(T::deserialize(Probe(&mut fields)));
    fields
}
