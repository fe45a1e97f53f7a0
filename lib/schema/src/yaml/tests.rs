//! What is read and written, as tables.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

#[test]
fn reads_documents_lists_and_json() {
    for (text, want) in [
        ("a: 1\n---\n---\nb: 2\n", json!([{"a": 1}, {"b": 2}])),
        ("mode: 0644", json!([{"mode": 420}])),
        ("- 1\n- yes\n", json!([[1, true]])),
        ("{\"a\": \"\\/\"}\n{\"b\": [1, 2.5, null]}", json!([{"a": "/"}, {"b": [1, 2.5, null]}])),
        ("image: tomcat\t\nport: 80\n", json!([{"image": "tomcat", "port": 80}])),
        ("# nothing\n", json!([])),
    ] {
        assert_eq!(Value::Array(documents(text).unwrap()), want, "{text}");
    }
}

#[test]
fn mistakes_name_their_place() {
    let deep = format!("a: {}", "[".repeat(300));
    for (text, place, words) in [
        ("a: 1\na: 2\n", "line 2, column 1", "duplicate key \"a\": it stands on line 1 already"),
        ("{\"a\": 1,\n \"a\": 2}", "line 2, column 2", "duplicate key \"a\""),
        ("a: 1\n---\nb: [1\n", "line 3, column 4", "unclosed"),
        ("a: .nan\n", "line 1, column 4", "no number that JSON can hold"),
        ("{{ a }}: 1", "line 1", "must be quoted"),
        (&deep, "line 1", ""),
    ] {
        let error = documents(text).unwrap_err();
        assert!(error.in_one_line().starts_with(place), "{}", error.in_one_line());
        assert!(error.message.contains(words) && !error.excerpt.is_empty(), "{error}");
    }
}

#[test]
fn a_mistake_does_not_hide_the_documents_after_it() {
    let read: Vec<bool> = nodes("a: 1\n---\nb: [\n---\nc: 3\n").iter().map(Result::is_ok).collect();
    assert_eq!(read, [true, false, true]);
}

#[test]
fn a_bomb_of_aliases_is_refused() {
    let mut text = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..10 {
        let before = format!("*a{}, ", level - 1).repeat(10);
        text += &format!("a{level}: &a{level} [{before}]\n");
    }
    let error = documents(&text).unwrap_err();
    assert!(error.message.contains("split the file"), "{error}");
}

#[test]
fn a_bomb_of_long_texts_is_refused() {
    let long = "x".repeat(1 << 20);
    let keys: String = (0..1_000).map(|at| format!("{}{at}: 1, ", "k".repeat(1_000))).collect();
    for text in [
        format!("a: &a {long}\nb: [{}]\n", "*a, ".repeat(64)),
        format!("a: &a {{{keys}}}\nb: [{}]\n", "*a, ".repeat(64)),
        // Each anchor keeps what stands in it.
        format!("{}{long}{}", (0..64).map(|level| format!("&a{level} [")).collect::<String>(), "]".repeat(64)),
    ] {
        let message = documents(&text).err().map(|error| error.message).unwrap_or_default();
        assert!(message.contains("split the file"), "{message}");
    }
}

#[test]
fn texts_keep_their_digits_where_texts_are_wanted() {
    #[derive(Debug, PartialEq, serde::Deserialize)]
    #[serde(rename_all = "kebab-case")]
    enum Sort {
        Big,
        Sized(u8),
    }
    #[derive(Debug, PartialEq, serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Account {
        id: String,
        short: Option<String>,
        on: Option<bool>,
        sorts: Vec<Sort>,
    }
    let read: Account = from_str("id: 012345678901\nshort: 08\n'on': yes\nsorts: [big, sized: 3]\n").unwrap();
    let sorts = vec![Sort::Big, Sort::Sized(3)];
    assert_eq!(read, Account { id: "012345678901".into(), short: Some("08".into()), on: Some(true), sorts });
    let error = from_str::<Account>("id: a\nsorts:\n- sized: much\n").unwrap_err();
    assert!(error.in_one_line().starts_with("line 3, column 10: sorts[0]: "), "{error}");
    let error = from_str::<Account>("id: a\nsorts: []\nidd: b\n").unwrap_err();
    assert!(error.in_one_line().starts_with("line 3, column 1: unknown field `idd`"), "{error}");
    let error = from_str::<Account>("a: 1\n---\nb: 1\n").unwrap_err();
    assert!(error.in_one_line().starts_with("line 3, column 1: a second document"), "{error}");
}

#[test]
fn paths_lead_to_places() {
    let text = "spec:\n  containers:\n  - name: a\n    env: []\nmetadata:\n  labels: {a.b/c: d}\n";
    let node = nodes(text).remove(0).unwrap();
    for (path, place, whole) in [
        ("spec.containers[0].name", (3, 5), true),
        ("spec.containers[0].image", (3, 5), false),
        ("spec.containers[1]", (2, 3), false),
        ("metadata.labels.a.b/c", (6, 12), true),
        ("metadata.labels[a.b/c]", (6, 12), true),
        ("", (1, 1), true),
    ] {
        let found = node.find(path);
        assert_eq!((found.at.start.line, found.at.start.column, found.whole), (place.0, place.1, whole), "{path}");
    }
}

#[test]
fn writes_for_every_reader() {
    for (value, want) in [
        (json!({"v": "yes"}), "v: \"yes\"\n"),
        (json!({"v": "012345678901"}), "v: \"012345678901\"\n"),
        (json!({"v": "1:30"}), "v: \"1:30\"\n"),
        (json!({"v": "2001-12-14"}), "v: \"2001-12-14\"\n"),
        (json!({"v": "--port=80"}), "v: --port=80\n"),
        (json!({"v": "10.96.0.1"}), "v: 10.96.0.1\n"),
        (json!({"v": "a: b"}), "v: \"a: b\"\n"),
        (json!({"v": "a\nb\n"}), "v: |\n  a\n  b\n"),
        (json!({"v": "a\n\nb"}), "v: |-\n  a\n\n  b\n"),
        (json!({"v": " a\nb"}), "v: \" a\\nb\"\n"),
        (json!({"yes": [], "v": {}, "w": null}), "v: {}\nw: null\n\"yes\": []\n"),
        (json!({"v": [[1, 2], [{"a": 1, "b": [2]}]]}), "v:\n- - 1\n  - 2\n- - a: 1\n    b:\n    - 2\n"),
        (
            json!({"kind": "A", "data": {"kind": 1, "a": 2}, "apiVersion": "v1"}),
            "apiVersion: v1\nkind: A\ndata:\n  a: 2\n  kind: 1\n",
        ),
    ] {
        assert_eq!(to_string(&value).unwrap(), want);
    }
    let long = json!({"v": "word ".repeat(100) + "end"});
    assert_eq!(to_string(&long).unwrap().lines().count(), 1, "long texts are not folded");
}

fn texts() -> impl Strategy<Value = String> {
    prop_oneof![
        "[ -~\t\n]{0,12}",
        "[-+.0-9:_eExob]{1,8}",
        "(yes|no|on|off|null|true|~|=|<<|y|N|\\.inf|---|- a|a: b|# c|a #b|\\{\\{|0o7)",
        "\\PC{0,6}",
        "[a\n \t#:]{0,10}",
        any::<String>(),
    ]
}

fn values() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        texts().prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 32, 5, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map(texts(), inner, 0..4).prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn what_is_written_is_read_again(value in values()) {
        let text = to_string(&value).unwrap();
        let read = super::value(&text, EqualKeys::Refuse);
        prop_assert_eq!(read.as_ref(), Ok(&value), "{}", text);
    }
}
