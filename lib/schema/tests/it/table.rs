//! What must be true of every row of the table.

use std::collections::BTreeSet;

use kprov_schema::decode::{Media, Validation, decode};
use kprov_schema::structure::{Served, schema};
use kprov_schema::{KINDS, Kind, canonical};

use crate::recordings::{served, steps};

#[test]
fn rows_are_unique_and_in_order() {
    let names: Vec<_> = KINDS.iter().map(|kind| (&kind.resource.group, &kind.kind)).collect();
    assert!(names.is_sorted(), "rows go by group, then by kind: {names:?}");
    let unique: BTreeSet<_> = KINDS.iter().map(|kind| (&kind.resource, &kind.kind)).collect();
    assert_eq!(unique.len(), KINDS.len());
}

#[test]
fn rows_agree_with_the_published_schema() {
    for kind in KINDS {
        let published = schema().resource(&kind.resource).unwrap_or_else(|| panic!("{} is not published", kind.kind));
        assert_eq!(published.kind, kind.kind, "{}", kind.resource);
        assert_eq!(published.namespaced, kind.is_namespaced(), "{}", kind.kind);
        let stored = kind.stored_resource();
        // Upstream still writes definitions in a version that it no longer serves: objects here are written as served.
        assert_eq!(published.storage.map(|(group, _)| group), Some(&*stored.group), "{}", kind.kind);
    }
}

#[test]
fn every_row_begins_its_table_with_columns() {
    for kind in KINDS {
        let columns = kind.columns();
        assert!(columns.iter().any(|column| column.name == "Name" && column.format == "name"), "{}", kind.kind);
        for column in columns {
            // Upstream describes the handler of a runtime class by a field that there is not.
            let described = !column.description.is_empty() || column.name == "Handler";
            assert!(described, "{} {}", kind.kind, column.name);
            assert!([0, 1].contains(&column.priority), "{} {}", kind.kind, column.name);
        }
    }
}

/// Objects that were recorded as created, each with the row of its kind.
#[test]
fn defaults_and_canonical_form_are_idempotent() {
    for step in steps(Some("create")) {
        let Some(kind) = served(&step.path).and_then(row) else { continue };
        if step.method != "POST" || step.code != 201 {
            continue;
        }
        let body = step.body.to_string();
        let mut once = decode(kind, body.as_bytes(), Media::Json, Validation::Ignore).unwrap().object;
        kind.fill_defaults(&mut once).unwrap();
        canonical::canonicalise(kind, &mut once);
        let mut twice = once.clone();
        kind.fill_defaults(&mut twice).unwrap();
        canonical::canonicalise(kind, &mut twice);
        assert_eq!(once, twice, "{}", step.scenario);
    }
}

fn row(served: &Served) -> Option<&'static Kind> {
    KINDS.iter().find(|kind| {
        let resource = &kind.resource;
        resource.group == served.group && resource.version == served.version && resource.plural == served.plural
    })
}
