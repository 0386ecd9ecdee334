//! Checks the text of a body in one pass, without a copy of it.

use std::{
    fmt,
    hash::{BuildHasher, RandomState},
};

use serde::{
    Deserializer,
    de::{DeserializeSeed, MapAccess, SeqAccess, Visitor},
};

use crate::web::field_error::truncated;

/// Checks that a text is JSON that is not nested too deeply, and in which no object has a name twice:
/// parsers differ in which of the two values they use (RFC 8259 §4).
///
/// Needs 8 bytes a member in addition to the text, and memory for the longest string with escapes:
/// names are compared by a keyed hash of 64 bits. Among a million different names, two have the same
/// hash once in 30 million bodies.
pub(super) fn check_json(text: &str) -> serde_json::Result<()> {
    let mut names = Names::default();
    check(text, &mut names)?;
    match names.duplicate() {
        None => Ok(()),
        // Reads the text again for the name and its position.
        Some(hash) => check(text, &mut Names { reported: Some(hash), ..names }),
    }
}

fn check(text: &str, names: &mut Names) -> serde_json::Result<()> {
    let mut deserializer = serde_json::Deserializer::from_str(text);
    Value(&mut *names).deserialize(&mut deserializer)?;
    deserializer.end()
}

/// The names of all objects of a text.
#[derive(Default)]
struct Names {
    hasher: RandomState,
    /// The hash of each name together with the number of its object.
    hashes: Vec<u64>,
    /// The number of the last object that began.
    object: usize,
    /// The hash of the duplicate name, in the pass that reports it.
    reported: Option<u64>,
    was_seen: bool,
}

impl Names {
    /// Returns the hash of a name that an object has twice.
    fn duplicate(&mut self) -> Option<u64> {
        self.hashes.sort_unstable();
        let twice = self.hashes.windows(2).find(|pair| pair.first() == pair.last());
        let duplicate = twice.and_then(|pair| pair.first().copied());
        self.hashes = Vec::new();
        self.object = 0;
        duplicate
    }

    /// Adds a name of an object. Returns `true` if it has to be reported.
    fn add(&mut self, object: usize, name: &str) -> bool {
        let hash = self.hasher.hash_one((object, name));
        let Some(reported) = self.reported else {
            self.hashes.push(hash);
            return false;
        };
        reported == hash && std::mem::replace(&mut self.was_seen, true)
    }
}

/// A value of any type.
struct Value<'a>(&'a mut Names);

impl<'de> DeserializeSeed<'de> for Value<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        // Not `deserialize_ignored_any`, which accepts numbers and escapes that no parser can use.
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Value<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        while items.next_element_seed(Value(&mut *self.0))?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<(), A::Error> {
        self.0.object += 1;
        let object = self.0.object;
        while members.next_key_seed(Name { names: &mut *self.0, object })?.is_some() {
            members.next_value_seed(Value(&mut *self.0))?;
        }
        Ok(())
    }
}

/// A name of an object.
struct Name<'a> {
    names: &'a mut Names,
    object: usize,
}

impl<'de> DeserializeSeed<'de> for Name<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for Name<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name")
    }

    fn visit_str<E: serde::de::Error>(self, name: &str) -> Result<(), E> {
        if self.names.add(self.object, name) {
            let name = truncated(name);
            return Err(E::custom(format_args!("the name {name:?} is given twice")));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn error(text: &str) -> String {
        check_json(text).unwrap_err().to_string()
    }

    #[test]
    fn a_name_that_an_object_has_twice_is_reported_with_its_place() {
        for text in [
            r#"{"a":1,"a":2}"#,
            r#"{"a":1,"\u0061":2}"#,
            r#"{"x":{"a":0},"y":[{"b":{},"a":{"a":1},"b":1}]}"#,
            r#"{"":1,"":2}"#,
        ] {
            assert!(error(text).contains("is given twice at line 1 column "), "{text}");
        }
        assert!(error(r#"{"x": {"a": 1}, "a": 2, "a": 3}"#).contains(r#""a" is given twice at"#));
        assert!(error(&format!(r#"{{"{0}":1,"{0}":2}}"#, "n".repeat(9_000))).len() < 1_000);
    }

    #[test]
    fn objects_may_share_names() {
        for text in
            [r#"[{"a":1},{"a":1}]"#, r#"{"a":{"a":{"a":[]}}}"#, r#"{"a":1,"A":2,"á":3,"a ":4}"#]
        {
            assert!(check_json(text).is_ok(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn duplicates_are_found_wherever_they_are(
            names in prop::collection::vec("[a-c]{0,2}", 0..12),
            around in 0usize..4,
        ) {
            let members: Vec<_> = names.iter().map(|name| format!("{name:?}:{{}}")).collect();
            let object = format!("{{{}}}", members.join(","));
            let text = format!("{}{object}{}", "[{\"a\":".repeat(around), "}]".repeat(around));
            let is_unique = names.iter().collect::<std::collections::HashSet<_>>().len() == names.len();
            prop_assert_eq!(check_json(&text).is_ok(), is_unique);
        }
    }
}
