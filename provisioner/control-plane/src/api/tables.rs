//! What holds for the API server's own tables together: a row that nothing can match is a mistake.

use kprov_schema::decode::Target as Decoding;
use kprov_schema::{KINDS, Resource, Subresource};

use super::registry::Registry;
use super::review::REVIEWS;
use super::{actions, admission, authorize, lifecycle, subresource, tokens};

#[test]
fn every_row_is_about_a_kind_that_is_served() {
    let registry = Registry::built_in();
    let nodes: Vec<Resource> = authorize::rows().into_iter().map(|(resource, _)| resource).collect();
    for (table, rows) in [
        ("admission", admission::rows()),
        ("lifecycle", lifecycle::rows()),
        ("authorize", nodes),
        ("tokens", tokens::rows()),
    ] {
        assert!(!rows.is_empty(), "{table} has rows");
        for resource in rows {
            assert!(registry.of(&resource).is_some(), "{table}: {resource} is served");
        }
    }
}

#[test]
fn every_part_with_a_row_is_one_that_a_kind_has() {
    let has = |part: Subresource| KINDS.iter().any(|kind| subresource::has(kind, part));
    let parts = subresource::rows().into_iter().map(|(part, _)| part);
    for part in parts.chain(actions::rows().into_iter().map(|(part, _)| part)) {
        assert!(has(part), "{part:?}");
    }
    let registry = Registry::built_in();
    for (resource, part) in authorize::rows() {
        let kind = registry.of(&resource).unwrap();
        assert!(part.is_none_or(|part| subresource::has(kind, part)), "{resource} has {part:?}");
    }
}

#[test]
fn every_kind_that_is_spoken_is_published() {
    let parts = subresource::rows().into_iter().filter_map(|(_, speaks)| speaks);
    let actions = actions::rows().into_iter().map(|(_, speaks)| speaks);
    let reviews = REVIEWS.iter().map(|review| review.kind);
    for (group, version, kind) in parts.chain(actions).chain(reviews) {
        assert!(Decoding::published(group, version, kind).is_some(), "{group}/{version} {kind}");
    }
}
