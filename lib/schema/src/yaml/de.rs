//! From what was read to typed values.

use std::fmt;

use serde::de::value::StrDeserializer;
use serde::de::{
    DeserializeOwned, DeserializeSeed, Deserializer, EnumAccess, Error as _, MapAccess, SeqAccess, Unexpected,
    VariantAccess, Visitor,
};
use serde::forward_to_deserialize_any;

use super::{Content, Entry, Meaning, Node, Span, YamlError};

/// Reads a document; `None` reads as null.
pub(super) fn read<T: DeserializeOwned>(node: Option<&Node>, text: &str) -> Result<T, YamlError> {
    let empty =
        Node { span: Span::default(), content: Content::Scalar { text: String::new(), meaning: Meaning::Null } };
    T::deserialize(Reader(node.unwrap_or(&empty))).map_err(|error| match error.span {
        Some(span) if span != Span::default() => YamlError::at(text, span, error.to_string()),
        _ => YamlError::new(error.to_string()),
    })
}

/// Why a value does not fit, with the path that leads to it.
#[derive(Debug)]
struct Misfit {
    message: String,
    path: String,
    span: Option<Span>,
}

impl fmt::Display for Misfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.path.trim_start_matches('.') {
            "" => f.write_str(&self.message),
            path => write!(f, "{path}: {}", self.message),
        }
    }
}

impl std::error::Error for Misfit {}

impl serde::de::Error for Misfit {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self { message: message.to_string(), path: String::new(), span: None }
    }
}

impl Misfit {
    /// The same error as seen one step further out.
    fn within(mut self, step: &str, span: Span) -> Self {
        self.path.insert_str(0, step);
        self.span.get_or_insert(span);
        self
    }
}

#[derive(Clone, Copy)]
struct Reader<'a>(&'a Node);

impl<'de> Deserializer<'de> for Reader<'_> {
    type Error = Misfit;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Misfit> {
        match &self.0.content {
            Content::Scalar { meaning: Meaning::Null, .. } => visitor.visit_unit(),
            Content::Scalar { meaning: Meaning::Bool(truth), .. } => visitor.visit_bool(*truth),
            Content::Scalar { meaning: Meaning::Number(number), .. } => {
                number.deserialize_any(visitor).map_err(Misfit::custom)
            }
            Content::Scalar { text, meaning: Meaning::Text } => visitor.visit_str(text),
            Content::List(items) => visitor.visit_seq(Items { items, next: 0 }),
            Content::Map(entries) => visitor.visit_map(Entries { entries, next: 0 }),
        }
    }

    // Who wants a text gets what is written: 012345678901 is an account, not a number.
    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Misfit> {
        match &self.0.content {
            Content::Scalar { meaning: Meaning::Null, .. } => visitor.visit_unit(),
            Content::Scalar { text, .. } => visitor.visit_str(text),
            _ => self.deserialize_any(visitor),
        }
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Misfit> {
        self.deserialize_str(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Misfit> {
        if self.0.is_null() { visitor.visit_none() } else { visitor.visit_some(self) }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, Misfit> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Misfit> {
        match &self.0.content {
            Content::Scalar { text, .. } => visitor.visit_enum(StrDeserializer::<Misfit>::new(text)),
            Content::Map(entries) if entries.len() == 1 => visitor.visit_enum(Variant(&entries[0])),
            _ => Err(Misfit::invalid_type(Unexpected::Other("a list or a map"), &"the name of a variant")),
        }
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char bytes byte_buf unit unit_struct seq tuple
        tuple_struct map struct identifier ignored_any
    }
}

struct Items<'a> {
    items: &'a [Node],
    next: usize,
}

impl<'de> SeqAccess<'de> for Items<'_> {
    type Error = Misfit;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Misfit> {
        let Some(item) = self.items.get(self.next) else { return Ok(None) };
        let step = format!("[{}]", self.next);
        self.next += 1;
        seed.deserialize(Reader(item)).map(Some).map_err(|error| error.within(&step, item.span))
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.items.len() - self.next)
    }
}

struct Entries<'a> {
    entries: &'a [Entry],
    next: usize,
}

impl<'de> MapAccess<'de> for Entries<'_> {
    type Error = Misfit;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Misfit> {
        let Some(entry) = self.entries.get(self.next) else { return Ok(None) };
        seed.deserialize(StrDeserializer::<Misfit>::new(&entry.key))
            .map(Some)
            .map_err(|error| error.within("", entry.at))
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Misfit> {
        let entry = &self.entries[self.next];
        self.next += 1;
        let step = format!(".{}", entry.key);
        seed.deserialize(Reader(&entry.value)).map_err(|error| error.within(&step, entry.value.span))
    }
}

/// An enum's variant with content: a map of one entry.
struct Variant<'a>(&'a Entry);

impl<'de, 'a> EnumAccess<'de> for Variant<'a> {
    type Error = Misfit;
    type Variant = Reader<'a>;

    fn variant_seed<V: DeserializeSeed<'de>>(self, seed: V) -> Result<(V::Value, Reader<'a>), Misfit> {
        let name = seed.deserialize(StrDeserializer::<Misfit>::new(&self.0.key))?;
        Ok((name, Reader(&self.0.value)))
    }
}

impl<'de> VariantAccess<'de> for Reader<'_> {
    type Error = Misfit;

    fn unit_variant(self) -> Result<(), Misfit> {
        if self.0.is_null() { Ok(()) } else { Err(Misfit::custom("the variant takes no value")) }
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value, Misfit> {
        let span = self.0.span;
        seed.deserialize(self).map_err(|error| error.within("", span))
    }

    fn tuple_variant<V: Visitor<'de>>(self, _: usize, visitor: V) -> Result<V::Value, Misfit> {
        self.deserialize_any(visitor)
    }

    fn struct_variant<V: Visitor<'de>>(self, _: &'static [&'static str], visitor: V) -> Result<V::Value, Misfit> {
        match &self.0.content {
            Content::Map(entries) => visitor.visit_map(Entries { entries, next: 0 }),
            _ => self.deserialize_any(visitor),
        }
    }
}
