//! Kubernetes' protobuf bodies as JSON, read by the field numbers that the structure carries.
//!
//! helm, kubectl and typed Go clients send requests in this form. Numbers that the structure does not know are skipped,
//! as every protobuf reader does.
//! Source: <https://kubernetes.io/docs/reference/using-api/api-concepts/#protobuf-encoding>

use serde_json::{Map, Value};

use crate::depth;
use crate::structure::{Ref, Shape, Struct};

mod value;
mod wire;

use wire::{Datum, Reader};

const MAGIC: &[u8] = b"k8s\0";

/// The envelope around a protobuf body, `runtime.Unknown`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Envelope<'a> {
    /// `apiVersion`, empty when the client left it out.
    pub api_version: String,
    /// `kind`, empty when the client left it out.
    pub kind: String,
    /// The object's message.
    pub raw: &'a [u8],
}

/// Opens the envelope of a body. Errors say what is wrong with the bytes.
pub fn envelope(body: &[u8]) -> Result<Envelope<'_>, String> {
    let unknown = body
        .strip_prefix(MAGIC)
        .ok_or_else(|| format!("provided data does not appear to be a protobuf message, expected prefix {MAGIC:?}"))?;
    let mut envelope = Envelope::default();
    for field in Reader::new(unknown) {
        match field? {
            (1, Datum::Bytes(meta)) => type_meta(meta, &mut envelope)?,
            (2, Datum::Bytes(raw)) => envelope.raw = raw,
            (3 | 4, Datum::Bytes(text)) if !text.is_empty() => {
                return Err("content of another encoding is not read".to_owned());
            }
            _ => {}
        }
    }
    Ok(envelope)
}

fn type_meta(bytes: &[u8], envelope: &mut Envelope<'_>) -> Result<(), String> {
    for field in Reader::new(bytes) {
        match field? {
            (1, Datum::Bytes(text)) => envelope.api_version = wire::text(text)?,
            (2, Datum::Bytes(text)) => envelope.kind = wire::text(text)?,
            _ => {}
        }
    }
    Ok(())
}

/// Reads a message of a known structure. Errors say which field is malformed.
pub fn read(structure: &Ref, message: &[u8]) -> Result<Map<String, Value>, String> {
    let mut map = Map::new();
    message_into(structure, message, &mut map, Room(depth::DEEPEST))?;
    Ok(map)
}

/// How many more messages may stand inside each other.
#[derive(Clone, Copy)]
struct Room(usize);

impl Room {
    fn inside(self) -> Result<Self, String> {
        self.0.checked_sub(1).map(Self).ok_or_else(|| depth::TOO_DEEP.to_owned())
    }
}

fn message_into(structure: &Struct, message: &[u8], map: &mut Map<String, Value>, room: Room) -> Result<(), String> {
    let room = room.inside()?;
    for item in Reader::new(message) {
        let (tag, datum) = item?;
        if let Some((_, inner)) = structure.embedded.iter().find(|(number, _)| *number == tag) {
            message_into(inner, datum.bytes()?, map, room)?;
        } else if let Some(field) = structure.fields.iter().find(|field| field.tag == tag) {
            let inside = |error: String| format!("{}.{}: {error}", structure.short_name(), field.name);
            let slot = map.entry(field.name.clone().into_owned()).or_insert(Value::Null);
            value::field(&field.node.shape, &datum, slot, room).map_err(inside)?;
        }
    }
    drop_unset(structure, map);
    Ok(())
}

/// Drops what Go's encoder always writes and its reader takes for unset: empty texts and zeros of plain fields.
fn drop_unset(structure: &Struct, map: &mut Map<String, Value>) {
    map.retain(|name, value| {
        let plain = structure.field(name).is_some_and(|field| !field.presence.pointer && is_scalar(&field.node.shape));
        !(value.is_null() || plain && is_zero(value))
    });
}

fn is_scalar(shape: &Shape) -> bool {
    matches!(shape, Shape::Text | Shape::Bool | Shape::Int32 | Shape::Int64 | Shape::Double | Shape::Bytes)
}

fn is_zero(value: &Value) -> bool {
    match value {
        Value::Bool(flag) => !flag,
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::String(text) => text.is_empty(),
        _ => false,
    }
}
