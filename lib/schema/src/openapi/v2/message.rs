//! A v2 document, or pieces of one, as the protobuf messages of gnostic.
//!
//! Source: <https://github.com/google/gnostic-models/blob/main/openapiv2/OpenAPIv2.proto>

use serde_json::{Map, Value};

/// A message: where its members go.
struct Message {
    members: &'static [Member],
    /// Where members go whose names begin with `x-`.
    extensions: Option<u32>,
}

/// Name, field number, form.
type Member = (&'static str, u32, Form);

enum Form {
    Text,
    Flag,
    Whole,
    Double,
    Texts,
    /// Something of any kind, written as YAML, of which JSON is a part.
    Any,
    Anys,
    One(&'static Message),
    /// The field of a message that holds nothing else.
    Within(u32, &'static Form),
    /// A map: a message whose field of this number holds its members by name.
    Map(u32, &'static Form),
    /// A list of parameters, whose messages differ by where they stand.
    Parameters,
    /// Requirements by name.
    Requirements,
}

static DOCUMENT: Message = Message {
    members: &[
        ("swagger", 1, Form::Text),
        ("info", 2, Form::One(&INFO)),
        ("paths", 8, Form::Map(2, &Form::One(&PATH_ITEM))),
        ("definitions", 9, Form::Map(1, &Form::One(&SCHEMA))),
        ("security", 12, Form::Requirements),
        ("securityDefinitions", 13, Form::Map(1, &Form::Within(2, &Form::One(&API_KEY)))),
    ],
    extensions: Some(16),
};

static INFO: Message = Message { members: &[("title", 1, Form::Text), ("version", 2, Form::Text)], extensions: None };

static API_KEY: Message =
    Message { members: &[("type", 1, Form::Text), ("name", 2, Form::Text), ("in", 3, Form::Text)], extensions: None };

static PATH_ITEM: Message = Message {
    members: &[
        ("get", 2, Form::One(&OPERATION)),
        ("put", 3, Form::One(&OPERATION)),
        ("post", 4, Form::One(&OPERATION)),
        ("delete", 5, Form::One(&OPERATION)),
        ("patch", 8, Form::One(&OPERATION)),
        ("parameters", 9, Form::Parameters),
    ],
    extensions: Some(10),
};

static OPERATION: Message = Message {
    members: &[
        ("produces", 6, Form::Texts),
        ("consumes", 7, Form::Texts),
        ("parameters", 8, Form::Parameters),
        ("responses", 9, Form::Map(1, &Form::Within(1, &Form::One(&RESPONSE)))),
    ],
    extensions: Some(13),
};

static RESPONSE: Message = Message {
    members: &[("description", 1, Form::Text), ("schema", 2, Form::Within(1, &Form::One(&SCHEMA)))],
    extensions: Some(5),
};

static BODY: Message = Message {
    members: &[
        ("name", 2, Form::Text),
        ("in", 3, Form::Text),
        ("required", 4, Form::Flag),
        ("schema", 5, Form::One(&SCHEMA)),
    ],
    extensions: Some(6),
};

static QUERY: Message = Message {
    members: &[
        ("in", 2, Form::Text),
        ("name", 4, Form::Text),
        ("type", 6, Form::Text),
        ("uniqueItems", 20, Form::Flag),
    ],
    extensions: Some(23),
};

static IN_PATH: Message = Message {
    members: &[
        ("required", 1, Form::Flag),
        ("in", 2, Form::Text),
        ("name", 4, Form::Text),
        ("type", 5, Form::Text),
        ("uniqueItems", 19, Form::Flag),
    ],
    extensions: Some(22),
};

static SCHEMA: Message = Message {
    members: &[
        ("$ref", 1, Form::Text),
        ("format", 2, Form::Text),
        ("title", 3, Form::Text),
        ("description", 4, Form::Text),
        ("multipleOf", 6, Form::Double),
        ("maximum", 7, Form::Double),
        ("exclusiveMaximum", 8, Form::Flag),
        ("minimum", 9, Form::Double),
        ("exclusiveMinimum", 10, Form::Flag),
        ("maxLength", 11, Form::Whole),
        ("minLength", 12, Form::Whole),
        ("pattern", 13, Form::Text),
        ("maxItems", 14, Form::Whole),
        ("minItems", 15, Form::Whole),
        ("uniqueItems", 16, Form::Flag),
        ("maxProperties", 17, Form::Whole),
        ("minProperties", 18, Form::Whole),
        ("required", 19, Form::Texts),
        ("enum", 20, Form::Anys),
        ("additionalProperties", 21, Form::Within(1, &Form::One(&SCHEMA))),
        ("type", 22, Form::Within(1, &Form::Text)),
        ("items", 23, Form::Within(1, &Form::One(&SCHEMA))),
        ("properties", 25, Form::Map(1, &Form::One(&SCHEMA))),
        ("example", 30, Form::Any),
    ],
    extensions: Some(31),
};

/// A document, or pieces of one: written one after the other they are the document.
pub(super) fn document(document: &Value) -> Vec<u8> {
    encoded(&DOCUMENT, document)
}

/// The fields of a message, one after the other.
#[derive(Default)]
struct Fields(Vec<u8>);

impl Fields {
    fn bytes(&mut self, number: u32, bytes: &[u8]) {
        self.number(u64::from(number << 3 | 2));
        self.number(bytes.len() as u64);
        self.0.extend(bytes);
    }

    fn whole(&mut self, number: u32, value: u64) {
        self.number(u64::from(number << 3));
        self.number(value);
    }

    fn double(&mut self, number: u32, value: f64) {
        self.number(u64::from(number << 3 | 1));
        self.0.extend(value.to_le_bytes());
    }

    fn number(&mut self, mut value: u64) {
        while value > 0x7f {
            self.0.push((value & 0x7f) as u8 | 0x80);
            value >>= 7;
        }
        self.0.push((value & 0x7f) as u8);
    }
}

fn encoded(message: &Message, value: &Value) -> Vec<u8> {
    let mut fields = Fields::default();
    for (name, value) in value.as_object().into_iter().flatten() {
        if let Some((_, number, form)) = message.members.iter().find(|(member, ..)| member == name) {
            put(&mut fields, *number, form, value);
        } else if let Some(number) = message.extensions.filter(|_| name.starts_with("x-")) {
            fields.bytes(number, &named(name, &any(value)));
        }
    }
    fields.0
}

fn put(fields: &mut Fields, number: u32, form: &Form, value: &Value) {
    match form {
        Form::Text => fields.bytes(number, value.as_str().unwrap_or_default().as_bytes()),
        Form::Flag => fields.whole(number, value.as_bool().unwrap_or_default().into()),
        Form::Whole => fields.whole(number, value.as_u64().unwrap_or_default()),
        Form::Double => fields.double(number, value.as_f64().unwrap_or_default()),
        Form::Any => fields.bytes(number, &any(value)),
        Form::Anys => items(value).for_each(|one| fields.bytes(number, &any(one))),
        Form::Texts => items(value).for_each(|one| put(fields, number, &Form::Text, one)),
        Form::One(message) => fields.bytes(number, &encoded(message, value)),
        Form::Within(inner, form) => {
            let mut within = Fields::default();
            // The only other thing that stands where a schema may is whether there may be anything.
            match value {
                Value::Bool(flag) => within.whole(2, (*flag).into()),
                _ => put(&mut within, *inner, form, value),
            }
            fields.bytes(number, &within.0);
        }
        Form::Map(entry, form) => fields.bytes(number, &map(*entry, form, value)),
        Form::Parameters => items(value).for_each(|one| fields.bytes(number, &parameter(one))),
        Form::Requirements => items(value).for_each(|one| fields.bytes(number, &map(1, &Form::Texts, one))),
    }
}

fn items(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

/// Something of any kind: YAML.
fn any(value: &Value) -> Vec<u8> {
    let mut any = Fields::default();
    any.bytes(2, value.to_string().as_bytes());
    any.0
}

fn named(name: &str, value: &[u8]) -> Vec<u8> {
    let mut named = Fields::default();
    named.bytes(1, name.as_bytes());
    named.bytes(2, value);
    named.0
}

fn map(entry: u32, form: &Form, value: &Value) -> Vec<u8> {
    let none = Map::new();
    let mut members = Fields::default();
    for (name, value) in value.as_object().unwrap_or(&none) {
        let mut one = Fields::default();
        one.bytes(1, name.as_bytes());
        match form {
            Form::Texts => one.bytes(2, &{
                let mut texts = Fields::default();
                put(&mut texts, 1, form, value);
                texts.0
            }),
            _ => put(&mut one, 2, form, value),
        }
        members.bytes(entry, &one.0);
    }
    members.0
}

/// A parameter in the messages around it, which say where it stands.
fn parameter(value: &Value) -> Vec<u8> {
    let within = |number: u32, bytes: &[u8]| {
        let mut fields = Fields::default();
        fields.bytes(number, bytes);
        fields.0
    };
    let parameter = match value["in"].as_str() {
        Some("body") => within(1, &encoded(&BODY, value)),
        Some("path") => within(2, &within(4, &encoded(&IN_PATH, value))),
        _ => within(2, &within(3, &encoded(&QUERY, value))),
    };
    within(1, &parameter)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn lengths_of_more_than_one_byte_are_written_low_bits_first() {
        let mut fields = Fields::default();
        fields.bytes(13, &[7; 300]);
        assert_eq!(fields.0[..3], [0x6a, 0xac, 0x02]);
        assert_eq!(fields.0.len(), 303);
    }

    #[test]
    fn a_definition_is_a_named_schema() {
        let definition = json!({"definitions": {"A": {"type": "object", "properties": {"b": {"$ref": "#/c"}}}}});
        let name = [0x0a, 1, b'A'];
        let kind: &[u8] = &[0xb2, 0x01, 8, 0x0a, 6, b'o', b'b', b'j', b'e', b'c', b't'];
        let property: &[u8] = &[0x0a, 10, 0x0a, 1, b'b', 0x12, 5, 0x0a, 3, b'#', b'/', b'c'];
        let mut properties = vec![0xca, 0x01, u8::try_from(property.len()).unwrap()];
        properties.extend(property);
        let schema = [&properties[..], kind].concat();
        let value = [&[0x12, u8::try_from(schema.len()).unwrap()], &schema[..]].concat();
        let named = [&name[..], &value].concat();
        let entry = [&[0x0a, u8::try_from(named.len()).unwrap()], &named[..]].concat();
        let wanted = [&[0x4a, u8::try_from(entry.len()).unwrap()], &entry[..]].concat();
        assert_eq!(document(&definition), wanted);
    }
}
