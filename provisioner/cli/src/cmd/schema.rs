//! `kprov schema`: what files may hold, for editors.

use anyhow::{Context, bail};
use kprov::cluster;
use kprov_schema::discovery::{self, Entry};
use kprov_schema::openapi;
use kprov_schema::structure::schema;
use kprov_schema::version;
use serde_json::{Value, json};

use crate::args::Schema;

pub(crate) fn run(options: &Schema) -> anyhow::Result<()> {
    if let Some(provider) = &options.example {
        let example = cluster::example(provider)
            .with_context(|| format!("there is no example for {provider:?}: there are `local` and `eks`"))?;
        print!("{example}");
        return Ok(());
    }
    let found = match &options.kind {
        Some(name) => of_kind(name)?,
        None => cluster::json_schema(),
    };
    println!("{found:#}");
    Ok(())
}

/// The JSON schema of a kind, by its name, its plural or a short name.
fn of_kind(name: &str) -> anyhow::Result<Value> {
    let wanted = name.to_ascii_lowercase();
    let mut found: Vec<_> = schema()
        .kinds()
        .iter()
        .filter(|kind| {
            kind.kind.to_ascii_lowercase() == wanted
                || kind.plural == wanted
                || kind.short_names.contains(&wanted.as_str())
        })
        .collect();
    // A kind in several versions is shown in the one that clients prefer; core and apps stand before events and others.
    found.sort_by_key(|kind| std::cmp::Reverse(discovery::version_rank(kind.version)));
    let Some(kind) = found.first() else {
        let kinds = schema().kinds().iter();
        let near = kprov::nearest(name, kinds.clone().map(|kind| kind.kind).chain(kinds.map(|kind| kind.plural)));
        let mend = near.map_or_else(
            || "write a kind, its plural or its short name, such as `Deployment`, `deployments` or `deploy`".to_owned(),
            |near| format!("did you mean `{near}`?"),
        );
        bail!("there is no kind {name:?} in Kubernetes {}: {mend}", version::MINOR);
    };
    let entry = Entry::published(kind.group, kind.version, kind.kind).context("the kind is not published")?;
    let document = if kind.group.is_empty() {
        format!("api/{}", kind.version)
    } else {
        format!("apis/{}/{}", kind.group, kind.version)
    };
    let made = openapi::document(&[entry], &document).context("the kind has no document")?;
    let mut definitions = made["components"]["schemas"].clone();
    point_to_definitions(&mut definitions);
    Ok(json!({
        "$schema": "http://json-schema.org/draft-07/schema#",
        "$ref": format!("#/definitions/{}", kind.structure.name),
        "definitions": definitions,
    }))
}

/// References of OpenAPI as JSON schema has them.
fn point_to_definitions(value: &mut Value) {
    match value {
        Value::String(text) => {
            if let Some(name) = text.strip_prefix("#/components/schemas/") {
                *text = format!("#/definitions/{name}");
            }
        }
        Value::Array(items) => items.iter_mut().for_each(point_to_definitions),
        Value::Object(map) => map.values_mut().for_each(point_to_definitions),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_are_found_by_every_name() {
        let schema = of_kind("deploy").unwrap();
        assert_eq!(schema, of_kind("Deployment").unwrap());
        assert_eq!(schema["$ref"], "#/definitions/io.k8s.api.apps.v1.Deployment");
        let definitions = &schema["definitions"];
        assert!(definitions["io.k8s.api.core.v1.Container"]["properties"]["image"].is_object());
        assert!(!definitions.to_string().contains("#/components"));
        for (name, mend) in [
            ("Deploymant", "did you mean `Deployment`?"),
            ("ingreses", "did you mean `ingresses`?"),
            ("Bookshop", "write a kind, its plural or its short name"),
        ] {
            let said = of_kind(name).unwrap_err().to_string();
            assert!(said.starts_with(&format!("there is no kind {name:?}")) && said.contains(mend), "{said}");
        }
    }
}
