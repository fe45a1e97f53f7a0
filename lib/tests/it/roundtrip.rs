//! Objects of every kind that are made up from their structure: what is written is read again as the same.

use kprov::diff::changes;
use kprov::{Bundle, yaml};
use kprov_schema::Object;
use kprov_schema::structure::{Node, Ownership, Shape, schema};
use proptest::prelude::*;
use serde_json::{Map, Value, json};

/// Numbers from a seed, so that a failure can be had again.
struct Dice(u64);

impl Dice {
    fn throw(&mut self, sides: usize) -> usize {
        // Source: xorshift64*, which is enough to make up objects.
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % sides
    }

    fn text(&mut self) -> String {
        const TEXTS: &[&str] = &[
            "web",
            "yes",
            "n",
            "0644",
            "08",
            "012345678901",
            "1e3",
            "~",
            "",
            " a",
            "a: b",
            "# c",
            "- x",
            "line\nline\n",
            "a\n\n\n",
            "\ttab",
            "10.96.0.1",
            "10.0.0.0/16",
            "{{ x }}",
            "ä\u{1f600}",
            "null",
            "0x1f",
            "=",
            "2001-01-01",
            "a\"b'c\\d",
            "*",
            "&a",
            "!b",
            "%c",
            "@d",
            "`e",
            "|",
            ">",
            "--flag=true",
            "trailing ",
            "1:30",
            "...",
            "---",
        ];
        TEXTS[self.throw(TEXTS.len())].to_owned()
    }
}

fn value(node: &Node, dice: &mut Dice, depth: usize) -> Value {
    match &node.shape {
        Shape::Bool => json!(dice.throw(2) == 0),
        Shape::Int32 | Shape::Int64 => json!(dice.throw(70_000)),
        Shape::Double => json!(0.5),
        Shape::Quantity => json!(["1", "500m", "1Gi", "0.5"][dice.throw(4)]),
        Shape::IntOrText if dice.throw(2) == 0 => json!(dice.throw(100)),
        Shape::Bytes => json!("aGVsbG8="),
        Shape::Time | Shape::MicroTime => json!("2026-01-31T12:00:00Z"),
        Shape::Struct(inner) if depth > 0 => {
            let mut map = Map::new();
            for field in &inner.fields {
                if dice.throw(3) == 0 {
                    map.insert(field.name.to_string(), value(&field.node, dice, depth - 1));
                }
            }
            Value::Object(map)
        }
        Shape::List(item) if depth > 0 => (0..dice.throw(3)).map(|_| value(item, dice, depth - 1)).collect(),
        Shape::Map(item) if depth > 0 => {
            let pairs = (0..dice.throw(3)).map(|_| (dice.text(), value(item, dice, depth - 1)));
            Value::Object(pairs.collect::<Map<_, _>>())
        }
        Shape::Struct(_) | Shape::Map(_) => json!({}),
        Shape::List(_) | Shape::Wrapped => json!([]),
        _ => json!(dice.text()),
    }
}

/// One object of every kind that Kubernetes serves.
fn objects(dice: &mut Dice) -> Vec<Object> {
    let kinds = schema().kinds().iter();
    kinds
        .map(|kind| {
            let node = Node { ownership: Ownership::Granular, ..Node::of(Shape::Struct(kind.structure.clone())) };
            let mut object = Object::try_from(value(&node, dice, 7)).unwrap();
            let version = if kind.group.is_empty() {
                kind.version.to_owned()
            } else {
                format!("{}/{}", kind.group, kind.version)
            };
            object.set(&["apiVersion"], json!(version));
            object.set(&["kind"], json!(kind.kind));
            object
        })
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn every_kind_survives_being_written_and_read(seed in 1..u64::MAX) {
        let mut bundle = Bundle::new("b");
        for object in objects(&mut Dice(seed)) {
            bundle.add_object(object);
        }
        let text = bundle.to_yaml().unwrap();
        let again = Bundle::from_yaml("b", &text).unwrap();
        prop_assert_eq!(again.objects().len(), bundle.objects().len());
        for (one, other) in bundle.objects().iter().zip(again.objects()) {
            prop_assert_eq!(one, other, "{}", yaml::to_string(one).unwrap());
            prop_assert!(changes(one, other).is_empty());
        }
        let list = json!({"apiVersion": "v1", "kind": "List", "items": bundle.objects()}).to_string();
        let listed = Bundle::from_yaml("b", &list).unwrap();
        prop_assert_eq!(listed.objects(), bundle.objects());
        // Whatever is in them, looking at them ends, and every problem has a place.
        prop_assert!(again.check().iter().all(|problem| problem.at.is_some()));
    }
}
