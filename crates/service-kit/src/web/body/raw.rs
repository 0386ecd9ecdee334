//! Deserializes values from their JSON text, without a tree of values in between: a list in the wrong
//! place is refused at its bracket, and a list that is too long as soon as it is.

use std::{borrow::Cow, fmt, marker::PhantomData};

use serde::{
    Deserializer,
    de::{
        self, DeserializeSeed, Error as _, Expected, IgnoredAny, IntoDeserializer, MapAccess,
        SeqAccess, Unexpected, Visitor,
        value::{MapAccessDeserializer, MapDeserializer, StringDeserializer},
    },
    forward_to_deserialize_any,
};
use serde_json::{Value, value::RawValue};

use crate::web::field_error::MESSAGE_MAX_CHARS;

/// The largest number up to which a float represents every integer exactly (RFC 8259 §6).
const EXACT_MAX: f64 = 9_007_199_254_740_991.0;

/// The reason why a value does not fit a type. The message is short, however long the value is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct InvalidValue(String);

impl fmt::Display for InvalidValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for InvalidValue {}

impl de::Error for InvalidValue {
    fn custom<T: fmt::Display>(message: T) -> Self {
        let mut short = TruncatedText::default();
        // An error means that the text was truncated.
        let _ = fmt::write(&mut short, format_args!("{message}"));
        Self(short.text)
    }

    // Null and floats are named as in JSON.
    fn invalid_type(unexpected: Unexpected<'_>, expected: &dyn Expected) -> Self {
        match unexpected {
            Unexpected::Unit => {
                Self::custom(format_args!("invalid type: null, expected {expected}"))
            }
            other => Self::custom(format_args!("invalid type: {other}, expected {expected}")),
        }
    }
}

/// A text that keeps the beginning of what is written to it.
#[derive(Default)]
struct TruncatedText {
    text: String,
    characters: usize,
}

impl fmt::Write for TruncatedText {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for character in text.chars() {
            if self.characters == MESSAGE_MAX_CHARS {
                self.text.push('…');
                return Err(fmt::Error);
            }
            self.text.push(character);
            self.characters += 1;
        }
        Ok(())
    }
}

/// The checked JSON text of one value, without white space around it.
#[derive(Debug, Clone, Copy)]
pub(super) struct RawJson<'de>(pub(super) &'de str);

impl<'de> RawJson<'de> {
    /// Returns `true` if the text represents this value, however it is written.
    pub(super) fn is(self, value: &Value) -> bool {
        SameValue(value).deserialize(&mut serde_json::Deserializer::from_str(self.0)).is_ok()
    }

    fn string(self) -> Result<Cow<'de, str>, InvalidValue> {
        let quoted = self.0.strip_prefix('"').and_then(|text| text.strip_suffix('"'));
        match quoted {
            Some(text) if !text.contains('\\') => Ok(Cow::Borrowed(text)),
            _ => serde_json::from_str(self.0).map(Cow::Owned).map_err(InvalidValue::custom),
        }
    }

    /// Returns the member of an object with exactly one.
    fn single_member(self) -> Option<(String, Self)> {
        serde_json::Deserializer::from_str(self.0).deserialize_map(SingleMember).ok()
    }

    /// Deserializes a list or an object item by item.
    fn items<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, InvalidValue> {
        let mut result = None;
        let items = ItemVisitor { visitor, result: &mut result };
        let ended = serde_json::Deserializer::from_str(self.0).deserialize_any(items);
        match (result, ended) {
            // The type stopped at an error; the rest is not read.
            (Some(Err(error)), _) => Err(error),
            (Some(Ok(value)), Ok(())) => Ok(value),
            _ => Err(InvalidValue::custom("has more items than are expected")),
        }
    }
}

impl<'de> IntoDeserializer<'de, InvalidValue> for RawJson<'de> {
    type Deserializer = Self;

    fn into_deserializer(self) -> Self {
        self
    }
}

impl<'de> Deserializer<'de> for RawJson<'de> {
    type Error = InvalidValue;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, InvalidValue> {
        match self.0.as_bytes().first() {
            Some(b'[' | b'{') => self.items(visitor),
            Some(b'"') => match self.string()? {
                Cow::Borrowed(text) => visitor.visit_borrowed_str(text),
                Cow::Owned(text) => visitor.visit_string(text),
            },
            _ => match serde_json::from_str(self.0).map_err(InvalidValue::custom)? {
                Value::Bool(value) => visitor.visit_bool(value),
                Value::Number(number) => visit_number(&number, visitor),
                _ => visitor.visit_unit(),
            },
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, InvalidValue> {
        if self.0 == "null" { visitor.visit_none() } else { visitor.visit_some(self) }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, InvalidValue> {
        visitor.visit_newtype_struct(self)
    }

    /// Deserializes an enum as `serde_json` does: from the name of a variant, or from an object with
    /// that name as its only member.
    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, InvalidValue> {
        match self.0.as_bytes().first() {
            Some(b'"') => visitor.visit_enum(StringDeserializer::new(self.string()?.into_owned())),
            Some(b'{') => {
                let member = self.single_member().ok_or_else(|| {
                    let expected = &"map with a single key";
                    InvalidValue::invalid_value(Unexpected::Map, expected)
                })?;
                let member = MapDeserializer::new(std::iter::once(member));
                visitor.visit_enum(MapAccessDeserializer::new(member))
            }
            _ => self.deserialize_any(RefuseAll("string or map", PhantomData)),
        }
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(
        self,
        visitor: V,
    ) -> Result<V::Value, InvalidValue> {
        visitor.visit_unit()
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit
        unit_struct seq tuple tuple_struct map struct identifier
    }
}

/// Visits a number. JSON has one type of numbers: 2.0 and 2e0 are 2 (JSON Schema, "integer").
fn visit_number<'de, V: Visitor<'de>>(
    number: &serde_json::Number,
    visitor: V,
) -> Result<V::Value, InvalidValue> {
    match (number.as_u64(), number.as_i64(), number.as_f64()) {
        (Some(number), _, _) => visitor.visit_u64(number),
        (_, Some(number), _) => visitor.visit_i64(number),
        (_, _, Some(number)) => match whole(number) {
            Some(number) => visitor.visit_i64(number),
            None => visitor.visit_f64(number),
        },
        _ => visitor.visit_unit(),
    }
}

/// Returns a float as an integer if it is one exactly.
fn whole(number: f64) -> Option<i64> {
    (number.fract() == 0.0 && number.abs() <= EXACT_MAX).then_some(number as i64)
}

/// Refuses every value, with this text as the expectation.
struct RefuseAll<T>(&'static str, PhantomData<T>);

impl<T> Visitor<'_> for RefuseAll<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

/// An object with one member.
struct SingleMember;

impl<'de> Visitor<'de> for SingleMember {
    type Value = (String, RawJson<'de>);

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("map with a single key")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Self::Value, A::Error> {
        let first = members.next_entry::<String, &'de RawValue>()?;
        match (first, members.next_key::<IgnoredAny>()?) {
            (Some((name, value)), None) => Ok((name, RawJson(value.get()))),
            _ => Err(de::Error::invalid_type(Unexpected::Map, &self)),
        }
    }
}

/// Passes the items of a list or the members of an object, as [`RawJson`], to the visitor of a type.
struct ItemVisitor<'a, V, T> {
    visitor: V,
    /// Not the result of the parser, which is an error if items are left unread.
    result: &'a mut Option<Result<T, InvalidValue>>,
}

impl<'de, V: Visitor<'de>> Visitor<'de> for ItemVisitor<'_, V, V::Value> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.visitor.expecting(f)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, items: A) -> Result<(), A::Error> {
        *self.result = Some(self.visitor.visit_seq(RawItems(items)));
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, members: A) -> Result<(), A::Error> {
        *self.result = Some(self.visitor.visit_map(RawItems(members)));
        Ok(())
    }
}

struct RawItems<A>(A);

impl<'de, A: SeqAccess<'de>> SeqAccess<'de> for RawItems<A> {
    type Error = InvalidValue;

    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, InvalidValue> {
        let item = self.0.next_element::<&'de RawValue>().map_err(InvalidValue::custom)?;
        item.map(|item| seed.deserialize(RawJson(item.get()))).transpose()
    }
}

impl<'de, A: MapAccess<'de>> MapAccess<'de> for RawItems<A> {
    type Error = InvalidValue;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, InvalidValue> {
        let name = self.0.next_key::<String>().map_err(InvalidValue::custom)?;
        name.map(|name| seed.deserialize(StringDeserializer::new(name))).transpose()
    }

    fn next_value_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<T::Value, InvalidValue> {
        let value = self.0.next_value::<&'de RawValue>().map_err(InvalidValue::custom)?;
        seed.deserialize(RawJson(value.get()))
    }
}

/// Deserializes nothing, and fails unless the input is this value.
struct SameValue<'a>(&'a Value);

impl SameValue<'_> {
    fn or_fail<E: de::Error>(is_same: bool) -> Result<(), E> {
        if is_same { Ok(()) } else { Err(E::custom("another value")) }
    }
}

impl<'de> DeserializeSeed<'de> for SameValue<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for SameValue<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the same value")
    }

    fn visit_unit<E: de::Error>(self) -> Result<(), E> {
        Self::or_fail(self.0.is_null())
    }

    fn visit_bool<E: de::Error>(self, value: bool) -> Result<(), E> {
        Self::or_fail(*self.0 == value)
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<(), E> {
        Self::or_fail(*self.0 == value)
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<(), E> {
        Self::or_fail(*self.0 == value)
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<(), E> {
        Self::or_fail(match whole(value) {
            Some(whole) => *self.0 == whole,
            None => *self.0 == value,
        })
    }

    fn visit_str<E: de::Error>(self, value: &str) -> Result<(), E> {
        Self::or_fail(self.0 == value)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        let expected = self.0.as_array().ok_or_else(|| A::Error::custom("another value"))?;
        for item in expected {
            Self::or_fail(items.next_element_seed(SameValue(item))?.is_some())?;
        }
        Self::or_fail(items.next_element::<IgnoredAny>()?.is_none())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<(), A::Error> {
        let expected = self.0.as_object().ok_or_else(|| A::Error::custom("another value"))?;
        let mut count = 0;
        while let Some(name) = members.next_key::<Cow<'_, str>>()? {
            let value = expected.get(&*name).ok_or_else(|| A::Error::custom("another value"))?;
            members.next_value_seed(SameValue(value))?;
            count += 1;
        }
        Self::or_fail(count == expected.len())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde::Deserialize;
    use serde_json::json;

    use super::*;

    #[derive(Debug, PartialEq, Deserialize)]
    #[serde(rename_all = "snake_case")]
    enum Shape {
        Dot,
        Circle(f64),
        Box { width: u32, sides: Vec<Option<i8>> },
    }

    fn read<'de, T: serde::Deserialize<'de>>(text: &'de str) -> Result<T, String> {
        T::deserialize(RawJson(text)).map_err(|error| error.to_string())
    }

    /// The type reads a text as it reads a tree of values, and refuses it in the same words.
    fn reads_as_from_a_tree<T: serde::de::DeserializeOwned + PartialEq + fmt::Debug>(text: &str) {
        let tree: Value = serde_json::from_str(text).unwrap();
        let expected = T::deserialize(&tree).map_err(|error| error.to_string());
        assert_eq!(read::<T>(text), expected, "{text}");
    }

    #[test]
    fn values_are_read_and_refused_as_from_a_tree() {
        for text in [
            "null",
            "true",
            "7",
            "-7",
            "18446744073709551615",
            "2.5",
            "\"dot\"",
            "\"d\\u006ft\"",
            "\"none\"",
            "\"\"",
            "[]",
            "[1, null]",
            "[[1]]",
            "[\"a\", \"b\"]",
            "{}",
            "{\"circle\": 2.5}",
            "{\"circle\": []}",
            "{\"dot\": null}",
            "{\"dot\": 1}",
            "{\"box\": {\"width\": 1, \"sides\": [1, null, -3]}}",
            "{\"box\": {\"width\": 1}}",
            "{\"box\": {\"width\": 1, \"sides\": [300]}}",
            "{\"circle\": 1.5, \"dot\": null}",
            "{\"a\": {\"b\": [1, {}]}}",
        ] {
            reads_as_from_a_tree::<Shape>(text);
            reads_as_from_a_tree::<Option<Shape>>(text);
            reads_as_from_a_tree::<Vec<Shape>>(text);
            reads_as_from_a_tree::<String>(text);
            reads_as_from_a_tree::<Option<String>>(text);
            reads_as_from_a_tree::<Vec<String>>(text);
            reads_as_from_a_tree::<bool>(text);
            reads_as_from_a_tree::<i32>(text);
            reads_as_from_a_tree::<Option<u64>>(text);
            reads_as_from_a_tree::<f64>(text);
            reads_as_from_a_tree::<()>(text);
            reads_as_from_a_tree::<Value>(text);
            reads_as_from_a_tree::<(u8, Option<u8>)>(text);
            reads_as_from_a_tree::<std::collections::BTreeMap<String, Value>>(text);
        }
    }

    #[test]
    fn a_list_with_more_items_than_its_type_reads_is_refused() {
        assert!(read::<(u8, u8)>("[1, 2, 3]").is_err());
        assert_eq!(read::<(u8, u8)>("[1, 2]"), Ok((1, 2)));
    }

    #[test]
    fn a_message_has_no_more_than_the_beginning_of_a_value() {
        let text = format!("\"{}\"", "\u{7f}".repeat(1_000_000));
        let message = read::<bool>(&text).unwrap_err();
        assert_eq!(message.chars().count(), MESSAGE_MAX_CHARS + 1);
        assert!(message.starts_with("invalid type: string \"\\u{7f}") && message.ends_with('…'));
    }

    #[test]
    fn a_value_is_the_same_however_it_is_written() {
        for (text, value) in [
            ("null", json!(null)),
            ("2.0", json!(2)),
            ("2e1", json!(20)),
            ("-0.0", json!(0)),
            ("2.5", json!(2.5)),
            ("\"\\u0061\"", json!("a")),
            ("[ 1 , [] ]", json!([1, []])),
            ("{\"b\": 1, \"\\u0061\": {}}", json!({ "a": {}, "b": 1 })),
        ] {
            assert!(RawJson(text).is(&value), "{text}");
        }
        for (text, value) in [
            ("null", json!(false)),
            ("0", json!("")),
            ("\"1\"", json!(1)),
            ("[1]", json!([])),
            ("[]", json!([1])),
            ("[1,2]", json!([2, 1])),
            ("{}", json!([])),
            ("{\"a\":1}", json!({})),
            ("{}", json!({ "a": 1 })),
            ("{\"a\":1}", json!({ "b": 1 })),
        ] {
            assert!(!RawJson(text).is(&value), "{text}");
        }
    }

    fn value() -> impl Strategy<Value = Value> {
        let scalar = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            ".{0,3}".prop_map(Value::from),
        ];
        scalar.prop_recursive(3, 12, 3, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
                prop::collection::btree_map("[ab\"]{0,2}", inner, 0..3)
                    .prop_map(|members| Value::Object(members.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn a_value_is_itself_and_no_other_one(one in value(), other in value()) {
            prop_assert!(RawJson(&one.to_string()).is(&one));
            prop_assert_eq!(RawJson(&one.to_string()).is(&other), one == other);
            prop_assert_eq!(read::<Value>(&one.to_string()), Ok(one));
        }
    }
}
