//! The names of the environment variables of the settings, and names that look like them.
//!
//! The names are those of the fields of [`Settings`], which its `Deserialize` gives to any
//! deserializer: there is no second list.

use std::{collections::HashMap, fmt::Display};

use serde::{
    Deserialize, Deserializer,
    de::{
        DeserializeSeed, Error as _, MapAccess, Visitor,
        value::{BorrowedStrDeserializer, Error},
    },
    forward_to_deserialize_any,
};

use super::{ENVIRONMENT_PREFIX, FILE_SUFFIX, Settings};

/// The least likeness of two names, from 0 to 1, for one to be suggested in place of the other: about
/// one wrong letter in three.
const MIN_LIKENESS: f64 = 0.65;

/// Returns the environment variable of a key with dots between its levels.
pub(super) fn name(key: &str) -> String {
    format!("{ENVIRONMENT_PREFIX}__{}", key.replace('.', "__")).to_uppercase()
}

/// Returns a warning for each variable that looks like a setting and is none.
pub(super) fn unknown(environment: &HashMap<String, String>) -> Vec<String> {
    let known = all();
    let mut given: Vec<_> = environment.keys().collect();
    given.sort();
    given.into_iter().filter_map(|given| warning(given, &known)).collect()
}

fn warning(given: &str, known: &[String]) -> Option<String> {
    let is_known = |name: &str| known.iter().any(|one| one == name);
    let upper = given.to_uppercase();
    // The value may be in a file.
    let in_file = upper.strip_suffix(FILE_SUFFIX).is_some_and(is_known);
    if in_file || is_known(&upper) || !upper.starts_with(&format!("{ENVIRONMENT_PREFIX}_")) {
        return None;
    }
    let plain = |name: &str| name.replace("__", "_");
    let nearest = match known.iter().find(|name| plain(name) == plain(&upper)) {
        Some(same_words) => Some(same_words),
        // Other programs may use the prefix with one underscore.
        None if !upper.starts_with(&format!("{ENVIRONMENT_PREFIX}__")) => return None,
        None => nearest(&upper, known),
    };
    Some(match nearest {
        Some(nearest) => {
            format!("the variable {given} is no setting and is ignored: did you mean {nearest}?")
        }
        None => format!(
            "the variable {given} is no setting and is ignored: docs/reference/settings.md lists all"
        ),
    })
}

/// Returns the known name that is most similar to another one.
fn nearest<'a>(given: &str, known: &'a [String]) -> Option<&'a String> {
    let likeness = |name: &str| {
        let without_prefix = |name: &str| name[ENVIRONMENT_PREFIX.len()..].to_owned();
        strsim::normalized_damerau_levenshtein(&without_prefix(given), &without_prefix(name))
    };
    let similar = known.iter().map(|name| (likeness(name), name));
    let similar = similar.filter(|(likeness, _)| *likeness >= MIN_LIKENESS);
    similar.max_by(|(one, _), (other, _)| one.total_cmp(other)).map(|(_, name)| name)
}

/// Returns the names of all variables.
fn all() -> Vec<String> {
    let mut names = Vec::new();
    collect(&mut Vec::new(), &mut names);
    names
}

fn collect(path: &mut Vec<&'static str>, names: &mut Vec<String>) {
    let mut fields = None;
    // Always an error: the values are missing.
    let _ = Settings::deserialize(FieldsAt { path, fields: &mut fields });
    let Some(fields) = fields else { return names.push(name(&path.join("."))) };
    for field in fields {
        path.push(field);
        collect(path, names);
        path.pop();
    }
}

/// A deserializer that finds the names of the fields of the struct at a path.
struct FieldsAt<'a> {
    path: &'a [&'static str],
    fields: &'a mut Option<&'static [&'static str]>,
}

impl<'de> Deserializer<'de> for FieldsAt<'_> {
    type Error = Error;

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        if self.path.is_empty() {
            *self.fields = Some(fields);
            return Err(no_value());
        }
        visitor.visit_map(self)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Error> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Error> {
        Err(no_value())
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit
        unit_struct seq tuple tuple_struct map enum identifier ignored_any
    }
}

impl<'de> MapAccess<'de> for FieldsAt<'_> {
    type Error = Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, Error> {
        let Some(first) = self.path.first() else { return Ok(None) };
        seed.deserialize(BorrowedStrDeserializer::new(first)).map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Error> {
        let path = self.path.get(1..).unwrap_or_default();
        seed.deserialize(FieldsAt { path, fields: self.fields })
    }
}

fn no_value() -> Error {
    Error::custom(&"only the names of the fields are read" as &dyn Display)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::settings::Sources;

    #[test]
    fn the_names_of_all_levels_are_found() {
        let all = all();
        for name in [
            "TURBULENCE__SERVER__PORT",
            "TURBULENCE__MONGODB__URI",
            "TURBULENCE__AUTH__STATIC_TOKEN",
            "TURBULENCE__AUTH__GOOGLE__AUDIENCE",
            "TURBULENCE__MIGRATIONS__LEASE_SECONDS",
            "TURBULENCE__ADMIN__EMAIL",
        ] {
            assert!(all.iter().any(|one| one == name), "{name} is not in {all:?}");
        }
        // Groups of settings are no settings.
        assert!(!all.iter().any(|one| one == "TURBULENCE__AUTH__GOOGLE"), "{all:?}");
    }

    #[test]
    fn a_misspelt_variable_is_reported_with_the_nearest_name() {
        let environment = [
            ("TURBULENCE__SERVER__PROT", Some("TURBULENCE__SERVER__PORT")),
            ("TURBULENCE__MONGO__URI", Some("TURBULENCE__MONGODB__URI")),
            ("TURBULENCE_MONGODB_URI", Some("TURBULENCE__MONGODB__URI")),
            ("TURBULENCE__AUTH__STATICTOKEN", Some("TURBULENCE__AUTH__STATIC_TOKEN")),
            ("turbulence__admin__mail", Some("TURBULENCE__ADMIN__EMAIL")),
            ("TURBULENCE__WEATHER_IN_OSLO", None),
        ];
        for (name, nearest) in environment {
            let warnings = unknown(&HashMap::from([(name.to_owned(), "x".to_owned())]));
            let [warning] = &warnings[..] else { panic!("{name}: {warnings:?}") };
            assert!(warning.contains(name), "{warning}");
            match nearest {
                Some(nearest) => assert!(warning.ends_with(&format!("{nearest}?")), "{warning}"),
                None => assert!(warning.ends_with("lists all"), "{warning}"),
            }
        }
    }

    #[test]
    fn settings_and_variables_of_other_programs_are_not_reported() {
        let names = [
            "TURBULENCE__SERVER__PORT",
            "TURBULENCE__MONGODB__URI_FILE",
            "turbulence__server__host",
            "TURBULENCE_MONGOD",
            "TURBULENCE_FAULT_ROUNDS",
            "PATH",
        ];
        let environment = names.map(|name| (name.to_owned(), "x".to_owned())).into();
        let sources = Sources { environment, ..Sources::default() };
        assert_eq!(sources.unknown_variables(), [""; 0]);
    }
}
