//! Writes objects as protobuf, by the numbers in the structure: the reader's other half.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use kprov_schema::structure::{Other, Shape, Struct};
use serde_json::Value;

pub(crate) fn varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

pub(crate) fn bytes(out: &mut Vec<u8>, tag: u32, content: &[u8]) {
    varint(out, u64::from(tag) << 3 | 2);
    varint(out, content.len() as u64);
    out.extend(content);
}

fn number(out: &mut Vec<u8>, tag: u32, value: i64) {
    varint(out, u64::from(tag) << 3);
    varint(out, value as u64);
}

pub(crate) fn message(structure: &Struct, value: &Value) -> Vec<u8> {
    let mut out = Vec::new();
    for field in structure.fields.iter().filter(|field| field.tag != 0) {
        if let Some(value) = value.get(field.name.as_ref()).filter(|value| !value.is_null()) {
            put(&mut out, field.tag, &field.node.shape, value);
        }
    }
    for (tag, embedded) in &structure.embedded {
        bytes(&mut out, *tag, &message(embedded, value));
    }
    out
}

fn put(out: &mut Vec<u8>, tag: u32, shape: &Shape, value: &Value) {
    match shape {
        Shape::List(item) => value.as_array().unwrap().iter().for_each(|one| put(out, tag, &item.shape, one)),
        Shape::Map(item) => {
            for (key, one) in value.as_object().unwrap() {
                let mut entry = Vec::new();
                bytes(&mut entry, 1, key.as_bytes());
                put(&mut entry, 2, &item.shape, one);
                bytes(out, tag, &entry);
            }
        }
        Shape::Bool => number(out, tag, i64::from(value.as_bool().unwrap())),
        Shape::Int32 | Shape::Int64 => number(out, tag, value.as_i64().unwrap()),
        Shape::Double => {
            varint(out, u64::from(tag) << 3 | 1);
            out.extend(value.as_f64().unwrap().to_le_bytes());
        }
        _ => bytes(out, tag, &content(shape, value)),
    }
}

/// What stands inside a value that has a length of its own.
fn content(shape: &Shape, value: &Value) -> Vec<u8> {
    let mut out = Vec::new();
    match shape {
        Shape::Text => return value.as_str().unwrap().as_bytes().to_vec(),
        Shape::Bytes => return STANDARD.decode(value.as_str().unwrap()).unwrap(),
        Shape::Struct(inner) => return message(inner, value),
        Shape::Time | Shape::MicroTime => {
            let instant: jiff::Timestamp = value.as_str().unwrap().parse().unwrap();
            number(&mut out, 1, instant.as_second());
            number(&mut out, 2, instant.subsec_nanosecond().into());
        }
        Shape::Quantity => bytes(&mut out, 1, value.as_str().unwrap().as_bytes()),
        Shape::IntOrText => match value {
            Value::String(text) => {
                number(&mut out, 1, 1);
                number(&mut out, 2, 0);
                bytes(&mut out, 3, text.as_bytes());
            }
            other => {
                number(&mut out, 1, 0);
                number(&mut out, 2, other.as_i64().unwrap());
                bytes(&mut out, 3, b"");
            }
        },
        Shape::Any => bytes(&mut out, 1, value.to_string().as_bytes()),
        Shape::Wrapped => {
            value.as_array().unwrap().iter().for_each(|one| bytes(&mut out, 1, one.as_str().unwrap().as_bytes()))
        }
        Shape::SchemaOr(other, schema) => match value {
            Value::Object(_) => bytes(&mut out, if *other == Other::Bool { 2 } else { 1 }, &message(schema, value)),
            Value::Bool(flag) => number(&mut out, 1, i64::from(*flag)),
            list => {
                for one in list.as_array().unwrap() {
                    let inner = if *other == Other::Texts {
                        one.as_str().unwrap().as_bytes().to_vec()
                    } else {
                        message(schema, one)
                    };
                    bytes(&mut out, 2, &inner);
                }
            }
        },
        other => panic!("{other:?} has no length of its own"),
    }
    out
}
