//! Detection of duplicate `_id`s before anything is written.

use std::collections::HashSet;

use mongodb::bson::RawBsonRef;
use ring::digest::{Context, SHA256};

/// The `_id`s of a collection. Each takes 16 bytes, however long it is: the first half of its
/// SHA-256, long enough to exclude a collision by chance.
#[derive(Default)]
pub(super) struct UniqueIds(HashSet<u128>);

impl UniqueIds {
    /// Adds an `_id`. Returns `false` if MongoDB considers it equal to one that was added before.
    pub(super) fn insert(&mut self, id: RawBsonRef<'_>) -> bool {
        let mut digest = Context::new(&SHA256);
        add(&mut digest, id);
        let mut half = [0; 16];
        half.copy_from_slice(&digest.finish().as_ref()[..16]);
        self.0.insert(u128::from_le_bytes(half))
    }
}

/// Adds a value in a form that is the same for values which MongoDB considers equal: integers of all
/// numeric types, strings and symbols. (Fractions of different types, such as a decimal and a double
/// of 0.5, are left to the index of the server, which rejects the second one as well.)
fn add(digest: &mut Context, value: RawBsonRef<'_>) {
    let mut put = |kind: u8, bytes: &[u8]| {
        digest.update(&[kind]);
        digest.update(&(bytes.len() as u64).to_le_bytes());
        digest.update(bytes);
    };
    match value {
        RawBsonRef::Int32(number) => put(b'n', &i64::from(number).to_le_bytes()),
        RawBsonRef::Int64(number) => put(b'n', &number.to_le_bytes()),
        RawBsonRef::Double(number) => match integer(number) {
            Some(number) => put(b'n', &number.to_le_bytes()),
            None if number.is_nan() => put(b'f', b"NaN"),
            None => put(b'f', &number.to_le_bytes()),
        },
        RawBsonRef::Decimal128(number) => match number.to_string() {
            text if text == "NaN" => put(b'f', b"NaN"),
            text => match parse_integer(&text) {
                Some(number) => put(b'n', &number.to_le_bytes()),
                None => put(b'd', text.as_bytes()),
            },
        },
        RawBsonRef::String(text) | RawBsonRef::Symbol(text) => put(b's', text.as_bytes()),
        RawBsonRef::ObjectId(id) => put(b'o', &id.bytes()),
        RawBsonRef::Document(document) => {
            put(b'{', &[]);
            // Malformed values have been rejected before.
            for (name, value) in document.iter().flatten() {
                digest.update(&(name.len() as u64).to_le_bytes());
                digest.update(name.as_str().as_bytes());
                add(digest, value);
            }
            digest.update(b"}");
        }
        other => put(other.element_type() as u8, format!("{other:?}").as_bytes()),
    }
}

/// Converts a double to an integer. Returns `None` for a fraction or beyond 64 bits.
fn integer(number: f64) -> Option<i64> {
    /// 2^63, the smallest double that is too large.
    const LIMIT: f64 = 9_223_372_036_854_775_808.0;
    #[expect(clippy::cast_possible_truncation, reason = "checked: an integer within the range")]
    (number.fract() == 0.0 && (-LIMIT..LIMIT).contains(&number)).then_some(number as i64)
}

/// Parses an integer from the text form of a BSON decimal, such as `10`, `10.0` or `1E+1`.
fn parse_integer(text: &str) -> Option<i64> {
    let (digits, exponent) = match text.split_once('E') {
        Some((digits, exponent)) => (digits, exponent.parse::<i32>().ok()?),
        None => (text, 0),
    };
    let (before, after) = digits.split_once('.').unwrap_or((digits, ""));
    let after = after.trim_end_matches('0');
    let shift = usize::try_from(exponent.checked_sub(i32::try_from(after.len()).ok()?)?);
    let zeros = match shift {
        Ok(zeros) if zeros <= 19 => "0".repeat(zeros),
        _ => {
            let is_zero = digits.chars().all(|c| matches!(c, '0' | '.' | '-'));
            return is_zero.then_some(0);
        }
    };
    format!("{before}{after}{zeros}").parse().ok()
}

#[cfg(test)]
mod tests {
    use mongodb::bson::{Bson, Decimal128, RawBson, doc, oid::ObjectId};

    use super::*;

    #[test]
    fn ids_that_mongodb_considers_equal_are_duplicates() {
        let decimal = |text: &str| Bson::Decimal128(text.parse::<Decimal128>().unwrap());
        let same = [
            vec![
                1.into(),
                1i64.into(),
                1.0.into(),
                decimal("1.0"),
                decimal("1"),
                decimal("0.1E+1"),
            ],
            vec![0.into(), (-0.0).into(), decimal("0E-20"), decimal("-0")],
            vec![10.into(), decimal("1E1")],
            vec![(-5).into(), decimal("-5.00")],
            vec![i64::MAX.into(), decimal("9223372036854775807")],
            vec![f64::NAN.into(), decimal("NaN")],
            vec!["1".into(), Bson::Symbol("1".to_owned())],
            vec![doc! { "a": 1 }.into(), doc! { "a": 1.0 }.into()],
            vec![doc! { "a": { "b": 1 } }.into()],
            vec![doc! { "a": {}, "b": 1 }.into()],
            vec![1.5.into()],
            vec![decimal("1.51")],
            vec![decimal("1E+40")],
            vec![9.3e18.into()],
            vec![true.into()],
            vec![Bson::Null],
            vec!["".into()],
            vec![ObjectId::from_bytes([1; 12]).into()],
            vec![ObjectId::from_bytes([2; 12]).into()],
            vec![mongodb::bson::DateTime::from_millis(1).into()],
        ];
        let mut ids = UniqueIds::default();
        for group in same {
            for (place, id) in group.iter().enumerate() {
                let raw = RawBson::try_from(id.clone()).unwrap();
                assert_eq!(ids.insert(raw.as_raw_bson_ref()), place == 0, "{id}");
            }
        }
    }
}
