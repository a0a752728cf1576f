//! The list that stands for an edit, read and written. A sender's mistakes are said in its own terms.

use std::fmt;

use operational_transform::{Operation, OperationSeq};
use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{self, SeqAccess, Visitor},
};

use super::{MAX_PARTS, MAX_REACH, TextOps};

impl Serialize for TextOps {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.ops().iter().map(Part))
    }
}

/// One part on its way out.
struct Part<'a>(&'a Operation);

impl Serialize for Part<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Operation::Retain(count) => serializer.serialize_u64(*count),
            Operation::Delete(count) => serializer.serialize_i64(0_i64.saturating_sub_unsigned(*count)),
            Operation::Insert(text) => serializer.serialize_str(text),
        }
    }
}

impl<'de> Deserialize<'de> for TextOps {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(ListVisitor)
    }
}

struct ListVisitor;

impl<'de> Visitor<'de> for ListVisitor {
    type Value = TextOps;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of whole numbers and strings that edits a text")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<TextOps, A::Error> {
        let mut ops = OperationSeq::default();
        let mut parts = 0;
        while let Some(ReadPart(part)) = list.next_element()? {
            parts += 1;
            if parts > MAX_PARTS {
                return Err(de::Error::custom(format_args!("an edit of a text has at most {MAX_PARTS} parts")));
            }
            match part {
                Operation::Retain(count) => ops.retain(count),
                Operation::Delete(count) => ops.delete(count),
                Operation::Insert(text) => ops.insert(&text),
            }
            if ops.base_len() > MAX_REACH {
                return Err(de::Error::custom(format_args!(
                    "the numbers in an edit of a text, without their signs, add up to more than {MAX_REACH}"
                )));
            }
        }
        Ok(TextOps::canonical(ops))
    }
}

/// One part on its way in; its number is within [`MAX_REACH`] and not 0.
struct ReadPart(Operation);

impl<'de> Deserialize<'de> for ReadPart {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(PartVisitor).map(Self)
    }
}

struct PartVisitor;

impl Visitor<'_> for PartVisitor {
    type Value = Operation;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a positive whole number (keep so many), a negative one (delete so many) or a string (insert it)")
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<Operation, E> {
        count(number).map(Operation::Retain)
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<Operation, E> {
        // Some formats hand over positive numbers as signed ones, too.
        let kind = if number > 0 { Operation::Retain } else { Operation::Delete };
        count(number.unsigned_abs()).map(kind)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Operation, E> {
        Ok(Operation::Insert(text.to_owned()))
    }

    fn visit_string<E: de::Error>(self, text: String) -> Result<Operation, E> {
        Ok(Operation::Insert(text))
    }
}

/// A number without its sign.
fn count<E: de::Error>(number: u64) -> Result<u64, E> {
    if number == 0 {
        return Err(E::custom("0 is no part of an edit of a text: it neither keeps nor deletes anything"));
    }
    if number > MAX_REACH as u64 {
        return Err(E::custom(format_args!("{number} is too far for an edit of a text: {MAX_REACH} is the limit")));
    }
    Ok(number)
}
