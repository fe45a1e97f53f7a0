//! One datum of a message as a JSON value.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use jiff::fmt::strtime;
use serde_json::{Map, Value};

use super::wire::{Datum, Reader, text};
use super::{Room, drop_unset, message_into};
use crate::quantity;
use crate::structure::{Node, Other, Ref, Shape};

/// Puts a datum into a field: lists and maps grow by it, a struct that comes in parts is merged, anything else is replaced.
pub(super) fn field(shape: &Shape, datum: &Datum<'_>, slot: &mut Value, room: Room) -> Result<(), String> {
    match shape {
        Shape::List(item) => {
            if !slot.is_array() {
                *slot = Value::Array(Vec::new());
            }
            let Value::Array(items) = slot else { return Ok(()) };
            return append(item, datum, items, room);
        }
        Shape::Map(item) => {
            if !slot.is_object() {
                *slot = Value::Object(Map::new());
            }
            let Value::Object(entries) = slot else { return Ok(()) };
            let (key, value) = entry(item, datum.bytes()?, room)?;
            entries.insert(key, value);
        }
        Shape::Struct(inner) => {
            if !slot.is_object() {
                *slot = Value::Object(Map::new());
            }
            let Value::Object(map) = slot else { return Ok(()) };
            message_into(inner, datum.bytes()?, map, room)?;
        }
        _ => *slot = single(shape, datum, room)?,
    }
    Ok(())
}

/// Numbers of a list may come one by one or packed into one datum.
fn append(item: &Node, datum: &Datum<'_>, items: &mut Vec<Value>, room: Room) -> Result<(), String> {
    let numeric = matches!(item.shape, Shape::Int32 | Shape::Int64 | Shape::Bool);
    match datum {
        Datum::Bytes(packed) if numeric => {
            let mut rest = *packed;
            while !rest.is_empty() {
                let end = rest.iter().position(|byte| byte & 0x80 == 0).ok_or("a packed number does not end")?;
                let value = rest[..=end].iter().rev().fold(0_u64, |sum, byte| sum << 7 | u64::from(byte & 0x7f));
                items.push(single(&item.shape, &Datum::Varint(value), room)?);
                rest = &rest[end + 1..];
            }
        }
        _ => items.push(single(&item.shape, datum, room)?),
    }
    Ok(())
}

fn entry(item: &Node, message: &[u8], room: Room) -> Result<(String, Value), String> {
    let (mut key, mut value) = (String::new(), Value::Null);
    for one in Reader::new(message) {
        match one? {
            (1, datum) => key = text(datum.bytes()?)?,
            (2, datum) => field(&item.shape, &datum, &mut value, room)?,
            _ => {}
        }
    }
    if value.is_null() {
        value = crate::canonical::zero(item);
    }
    Ok((key, value))
}

fn single(shape: &Shape, datum: &Datum<'_>, room: Room) -> Result<Value, String> {
    Ok(match shape {
        Shape::Text => Value::from(text(datum.bytes()?)?),
        Shape::Bool => Value::from(datum.whole()? != 0),
        Shape::Int32 | Shape::Int64 => Value::from(datum.whole()?),
        Shape::Double => match datum {
            Datum::Fixed64(bits) => crate::decode::double(f64::from_bits(*bits)).map_or(Value::Null, Value::Number),
            other => return Err(format!("a number of 64 bits is expected, not {other:?}")),
        },
        Shape::Bytes => Value::from(STANDARD.encode(datum.bytes()?)),
        Shape::Time => time(datum.bytes()?, "%Y-%m-%dT%H:%M:%SZ")?,
        Shape::MicroTime => time(datum.bytes()?, "%Y-%m-%dT%H:%M:%S.%6fZ")?,
        Shape::Duration => Value::from(crate::decode::go_duration(number_at(datum.bytes()?, 1)?.into())),
        Shape::Quantity => amount(datum.bytes()?)?,
        Shape::IntOrText => int_or_text(datum.bytes()?)?,
        Shape::Any => raw(datum.bytes()?)?,
        Shape::Wrapped => Value::from(texts_at(datum.bytes()?, 1)?),
        Shape::Struct(inner) => Value::Object(message(inner, datum.bytes()?, room)?),
        Shape::SchemaOr(other, schema) => schema_or(*other, schema, datum.bytes()?, room)?,
        Shape::List(_) | Shape::Map(_) => {
            let mut value = Value::Null;
            field(shape, datum, &mut value, room)?;
            value
        }
    })
}

fn message(structure: &Ref, bytes: &[u8], room: Room) -> Result<Map<String, Value>, String> {
    let mut map = Map::new();
    message_into(structure, bytes, &mut map, room)?;
    drop_unset(structure, &mut map);
    Ok(map)
}

fn number_at(message: &[u8], tag: u32) -> Result<i64, String> {
    let mut found = 0;
    for one in Reader::new(message) {
        let (number, datum) = one?;
        if number == tag {
            found = datum.whole()?;
        }
    }
    Ok(found)
}

fn bytes_at(message: &[u8], tag: u32) -> Result<Option<&[u8]>, String> {
    let mut found = None;
    for one in Reader::new(message) {
        let (number, datum) = one?;
        if number == tag {
            found = Some(datum.bytes()?);
        }
    }
    Ok(found)
}

fn texts_at(message: &[u8], tag: u32) -> Result<Vec<String>, String> {
    let mut found = Vec::new();
    for one in Reader::new(message) {
        let (number, datum) = one?;
        if number == tag {
            found.push(text(datum.bytes()?)?);
        }
    }
    Ok(found)
}

/// A time without content is one that was never set.
fn time(message: &[u8], format: &str) -> Result<Value, String> {
    if message.is_empty() {
        return Ok(Value::Null);
    }
    let (seconds, nanos) = (number_at(message, 1)?, number_at(message, 2)?);
    let nanos = i32::try_from(nanos).map_err(|error| error.to_string())?;
    let instant = Timestamp::new(seconds, nanos).map_err(|error| error.to_string())?;
    strtime::format(format, instant).map(Value::from).map_err(|error| error.to_string())
}

fn amount(message: &[u8]) -> Result<Value, String> {
    let text = text(bytes_at(message, 1)?.unwrap_or_default())?;
    let text = if text.is_empty() { "0" } else { text.as_str() };
    quantity::canonical(text).map(Value::from).map_err(|error| error.to_string())
}

fn int_or_text(message: &[u8]) -> Result<Value, String> {
    if number_at(message, 1)? == 1 {
        return Ok(Value::from(text(bytes_at(message, 3)?.unwrap_or_default())?));
    }
    Ok(Value::from(number_at(message, 2)?))
}

fn raw(message: &[u8]) -> Result<Value, String> {
    match bytes_at(message, 1)? {
        None | Some([]) => Ok(Value::Null),
        Some(json) => serde_json::from_slice(json).map_err(|error| error.to_string()),
    }
}

fn schema_or(other: Other, schema: &Ref, bytes: &[u8], room: Room) -> Result<Value, String> {
    let tag_of_schema = if other == Other::Bool { 2 } else { 1 };
    if let Some(inner) = bytes_at(bytes, tag_of_schema)? {
        return Ok(Value::Object(message(schema, inner, room)?));
    }
    match other {
        Other::Bool => Ok(Value::from(number_at(bytes, 1)? != 0)),
        Other::Texts => Ok(Value::from(texts_at(bytes, 2)?)),
        Other::Schemas => {
            let mut schemas = Vec::new();
            for one in Reader::new(bytes) {
                if let (2, datum) = one? {
                    schemas.push(Value::Object(message(schema, datum.bytes()?, room)?));
                }
            }
            Ok(Value::Array(schemas))
        }
    }
}
