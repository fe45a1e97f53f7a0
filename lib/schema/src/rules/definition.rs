//! CustomResourceDefinitions: kinds that are defined at run time.
//!
//! Source: apiextensions-apiserver `registry/customresourcedefinition`, `apis/apiextensions/validation`.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceConversion, CustomResourceDefinition, CustomResourceDefinitionStatus,
};
use serde_json::Value;

use super::fields::{fill, list};
use super::parts;
use crate::custom::format;
use crate::kind::{Column, Reset, Rules, STATUS_ALONE, Subresource, Write};
use crate::meta::MetaRules;
use crate::status::FieldError;
use crate::table;

mod columns;
mod names;
mod schema;
mod spec;

impl Rules for CustomResourceDefinition {
    const META: MetaRules = MetaRules { unconditional: false, ..MetaRules::COMMON };
    const SUBRESOURCES: &'static [Subresource] = &[Subresource::Status];
    const RESETS: &'static [(Write, Reset)] = STATUS_ALONE;
    const COLUMNS: &'static [Column<Self>] = &[
        table::name(),
        Column {
            name: "Created At",
            kind: "date",
            format: "",
            priority: 0,
            description: table::CREATED,
            cell: |it, _| it.metadata.creation_timestamp.as_ref().map_or(Value::Null, |time| time.0.to_string().into()),
        },
    ];

    fn fill_defaults(&mut self) {
        let names = &mut self.spec.names;
        fill(&mut names.singular, &names.kind.to_ascii_lowercase());
        if !names.kind.is_empty() {
            fill(&mut names.list_kind, &format!("{}List", names.kind));
        }
        let conversion = self
            .spec
            .conversion
            .get_or_insert_with(|| CustomResourceConversion { strategy: "None".to_owned(), webhook: None });
        let service = conversion.webhook.as_mut().and_then(|webhook| webhook.client_config.as_mut());
        if let Some(service) = service.and_then(|client| client.service.as_mut()) {
            service.port.get_or_insert(443);
        }
        if self.status.as_ref().is_none_or(|status| list(&status.stored_versions).is_empty()) {
            note_storage(self);
        }
    }

    fn prepare(&mut self, old: Option<&Self>, write: Write) {
        match (old, write) {
            (None, _) => {
                self.status = None;
                self.metadata.generation = Some(1);
                note_storage(self);
            }
            (Some(old), Write::Status) => {
                self.spec.clone_from(&old.spec);
                parts::keep_metadata(&mut self.metadata, &old.metadata);
            }
            (Some(old), Write::Main | Write::Other(_)) => {
                self.status.clone_from(&old.status);
                let generation = old.metadata.generation.unwrap_or_default();
                self.metadata.generation = Some(generation + i64::from(self.spec != old.spec));
                note_storage(self);
            }
        }
    }

    fn validate(&self, old: Option<&Self>, write: Write) -> Vec<FieldError> {
        if write == Write::Status && old.is_some() {
            return names::status(self);
        }
        let mut errors: Vec<FieldError> = names::own(self).into_iter().collect();
        errors.extend(spec::check(self, old));
        errors.extend(names::status(self));
        errors.extend(names::stored_versions(self));
        errors.extend(preserving(self, old));
        errors
    }

    fn warnings(&self, old: Option<&Self>) -> Vec<String> {
        let formats = |definition: &Self| {
            let mut found = Vec::new();
            for version in &definition.spec.versions {
                let schema = version.schema.as_ref().and_then(|schema| serde_json::to_value(schema).ok());
                unknown_formats(&schema.unwrap_or_default()["openAPIV3Schema"], &mut found);
            }
            found
        };
        let before = old.map(formats).unwrap_or_default();
        let new = formats(self).into_iter().filter(|format| !before.contains(format));
        new.map(|format| format!("unrecognized format {format:?}")).collect()
    }
}

/// Notes that objects are stored in the storage version from now on.
fn note_storage(definition: &mut CustomResourceDefinition) {
    let Some(version) = definition.spec.versions.iter().find(|version| version.storage) else { return };
    let status: &mut CustomResourceDefinitionStatus = definition.status.get_or_insert_default();
    let stored = status.stored_versions.get_or_insert_default();
    if !stored.contains(&version.name) {
        stored.push(version.name.clone());
    }
}

/// Unknown fields are kept where a schema says so, never in general.
fn preserving(definition: &CustomResourceDefinition, old: Option<&CustomResourceDefinition>) -> Option<FieldError> {
    const WHY: &str =
        "cannot set to true, set x-kubernetes-preserve-unknown-fields to true in spec.versions[*].schema instead";
    let preserves = |one: &CustomResourceDefinition| one.spec.preserve_unknown_fields == Some(true);
    let new = preserves(definition) && !old.is_some_and(preserves);
    new.then(|| FieldError::invalid("spec.preserveUnknownFields", &Value::Bool(true), WHY))
}

fn unknown_formats(schema: &Value, found: &mut Vec<String>) {
    match schema {
        Value::Object(map) => {
            if let Some(format) = map.get("format").and_then(Value::as_str).filter(|format| !format::is_known(format)) {
                found.push(format.to_owned());
            }
            map.iter()
                .filter(|(name, _)| !["default", "enum", "example"].contains(&name.as_str()))
                .for_each(|(_, inner)| unknown_formats(inner, found));
        }
        Value::Array(items) => items.iter().for_each(|inner| unknown_formats(inner, found)),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::kind::KINDS;
    use crate::object::Object;

    fn mistakes(change: impl FnOnce(&mut Value)) -> Vec<String> {
        let mut definition = json!({
            "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
            "metadata": {"name": "widgets.example.com"},
            "spec": {
                "group": "example.com", "scope": "Namespaced", "names": {"plural": "widgets", "kind": "Widget"},
                "versions": [{"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": {
                    "type": "object", "properties": {"spec": {"type": "object", "properties": {
                        "list": {"type": "array", "items": {"type": "string"}}, "size": {"type": "integer"}}}}}}}],
            },
        });
        change(&mut definition);
        let kind = KINDS.iter().find(|kind| kind.kind == "CustomResourceDefinition").unwrap();
        let mut object = Object::try_from(definition).unwrap();
        kind.fill_defaults(&mut object).unwrap();
        kind.prepare(&mut object, None, Write::Main).unwrap();
        kind.validate(&object, None, Write::Main).unwrap().iter().map(ToString::to_string).collect()
    }

    const SPEC: &str = "/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties";

    #[test]
    fn a_definition_is_complete_and_structural() {
        let at = |path: &'static str, value: Value| move |one: &mut Value| *one.pointer_mut(path).unwrap() = value;
        let within =
            |name: &'static str, schema: Value| move |one: &mut Value| one.pointer_mut(SPEC).unwrap()[name] = schema;
        let prefix = "spec.validation.openAPIV3Schema.properties[spec].properties";
        assert!(mistakes(|_| ()).is_empty());
        let cases: Vec<(Vec<String>, Vec<String>)> = vec![
            (
                mistakes(at("/spec/names/kind", json!(""))),
                vec![
                    "spec.names.singular: Required value".into(),
                    "spec.names.kind: Required value".into(),
                    "spec.names.listKind: Required value".into(),
                ],
            ),
            (
                mistakes(at("/spec/versions/0/name", json!("1"))),
                vec![
                    "spec.versions[0].name: Invalid value: \"1\": a DNS-1035 label must consist of lower case \
                     alphanumeric characters or '-', start with an alphabetic character, and end with an alphanumeric \
                     character (e.g. 'my-name',  or 'abc-123', regex used for validation is '[a-z]([-a-z0-9]*[a-z0-9])?')"
                        .into(),
                ],
            ),
            (
                mistakes(within("list", json!({"type": "array"}))),
                vec![format!("{prefix}[list].items: Required value: must be specified")],
            ),
            (
                mistakes(within("any", json!({"nullable": true}))),
                vec![format!("{prefix}[any].type: Required value: must not be empty for specified object fields")],
            ),
            (
                mistakes(within("ref", json!({"type": "string", "$ref": "#/x"}))),
                vec![format!("{prefix}[ref].$ref: Forbidden: $ref is not supported")],
            ),
            (
                mistakes(within("many", json!({"type": "string", "anyOf": [{"type": "string"}]}))),
                vec![format!("{prefix}[many].anyOf[0].type: Forbidden: must be empty to be structural")],
            ),
            (
                mistakes(within("map", json!({"type": "object", "properties": {"a": {"type": "string"}},
                    "additionalProperties": {"type": "string"}}))),
                vec![format!(
                    "{prefix}[map].additionalProperties: Forbidden: additionalProperties and properties are mutual exclusive"
                )],
            ),
            (
                mistakes(within("set", json!({"type": "array", "x-kubernetes-list-type": "set",
                    "items": {"type": "string", "nullable": true}}))),
                vec![format!(
                    "{prefix}[set].items.nullable: Forbidden: cannot be nullable when x-kubernetes-list-type is set"
                )],
            ),
        ];
        for (said, wanted) in cases {
            assert_eq!(said, wanted);
        }
    }

    #[test]
    fn an_unknown_format_is_told() {
        let typed = |format: &str| -> CustomResourceDefinition {
            serde_json::from_value(
                json!({"spec": {"group": "a.b", "scope": "Cluster", "names": {"plural": "a", "kind": "A"},
                "versions": [{"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema":
                    {"type": "object", "properties": {"x": {"type": "string", "format": format}}}}}]}}),
            )
            .unwrap()
        };
        assert_eq!(typed("nope").warnings(None), ["unrecognized format \"nope\""]);
        assert!(typed("nope").warnings(Some(&typed("nope"))).is_empty());
        assert!(typed("date-time").warnings(None).is_empty());
    }
}
