//! Custom resources: a CustomResourceDefinition as a row of the table, made at run time.

use std::borrow::Cow;
use std::sync::Arc;

use jiff::Timestamp;
use regex::Regex;
use serde_json::{Map, Value};

use crate::key::Resource;
use crate::kind::{Behaviour, ColumnHead, Kind, Made, MadeNames, Row, Scope, StoredAs, Subresource, Write};
use crate::meta::{self, MetaRules};
use crate::object::Object;
use crate::status::{FieldError, FieldErrorKind};
use crate::structure::Ref;
use crate::table;

mod check;
mod defaults;
pub(crate) mod format;
pub mod jsonpath;
mod prune;
#[cfg(feature = "cel")]
mod rules;
#[cfg(not(feature = "cel"))]
#[path = "custom/no_rules.rs"]
mod rules;
mod tree;

use jsonpath::Path;

/// Where the numbers of a scale stand in a custom resource.
#[derive(Clone, Debug)]
pub struct ScalePaths {
    /// Path of the wanted number, such as `.spec.replicas`.
    pub spec_replicas: String,
    /// Path of the number there is.
    pub status_replicas: String,
    /// Path of a label selector as text, if there is one.
    pub label_selector: Option<String>,
}

/// Makes the row of one version of a definition.
///
/// Errors are texts of what the definition asks for and is not supported, or what is malformed in it.
pub fn kind(definition: &Object, version: &str) -> Result<Kind, String> {
    let spec = definition.at(&["spec"]).ok_or("spec is missing")?;
    let versions = spec["versions"].as_array().into_iter().flatten();
    let found = versions
        .into_iter()
        .find(|one| one["name"] == version)
        .ok_or_else(|| format!("there is no version {version}"))?;
    let names = &spec["names"];
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let kind = text(&names["kind"]);
    let group = text(&spec["group"]);
    let resource = |version: &str| Resource {
        group: group.clone().into(),
        version: version.to_owned().into(),
        plural: text(&names["plural"]).into(),
    };
    let versions = spec["versions"].as_array().into_iter().flatten();
    let stored = versions.into_iter().find(|one| one["storage"] == Value::Bool(true)).unwrap_or(found);
    let deprecated = (found["deprecated"] == Value::Bool(true)).then(|| {
        let own = found["deprecationWarning"].as_str().map(str::to_owned);
        own.unwrap_or_else(|| format!("{group}/{version} {kind} is deprecated"))
    });
    let custom = Custom::of(&kind, spec["scope"] == "Namespaced", found)?;
    let parts = &found["subresources"];
    let subresources = [("status", Subresource::Status), ("scale", Subresource::Scale)];
    Ok(Kind::made(
        Made {
            resource: resource(version),
            stored_as: StoredAs {
                resource: resource(stored["name"].as_str().unwrap_or_default()),
                write: |kind, object| object.set(&["apiVersion"], kind.stored_resource().api_version().into()),
                read: |kind, object| {
                    object.set(&["apiVersion"], kind.resource.api_version().into());
                    kind.reread(object);
                },
            },
            deprecated,
            list_kind: names["listKind"].as_str().map_or_else(|| format!("{kind}List"), ToOwned::to_owned),
            names: MadeNames {
                singular: names["singular"].as_str().map_or_else(|| kind.to_ascii_lowercase(), ToOwned::to_owned),
                short: words(&names["shortNames"]),
                categories: words(&names["categories"]),
            },
            kind,
            scope: if spec["scope"] == "Namespaced" { Scope::Namespaced } else { Scope::Cluster },
            subresources: subresources
                .into_iter()
                .filter(|(name, _)| parts.get(name).is_some())
                .map(|(_, part)| part)
                .collect(),
        },
        Arc::new(custom),
    ))
}

fn words(value: &Value) -> Vec<String> {
    value.as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
}

/// The behaviour of a custom resource.
struct Custom {
    schema: Value,
    structure: Ref,
    patterns: check::Patterns,
    rules: Option<rules::Rules>,
    namespaced: bool,
    columns: Vec<(ColumnHead, Path)>,
    selectable: Vec<(String, Path)>,
    has_status: bool,
    scale: Option<ScalePaths>,
}

/// How the metadata of custom resources is judged.
pub(crate) const META: MetaRules = MetaRules { unconditional: false, ..MetaRules::COMMON };

const NAME_PATH: &str = ".metadata.name";
const CREATED_PATH: &str = ".metadata.creationTimestamp";

impl Custom {
    fn of(kind: &str, namespaced: bool, version: &Value) -> Result<Self, String> {
        let schema = version["schema"]["openAPIV3Schema"].clone();
        let mut patterns = check::Patterns::new();
        survey(&schema, "", &mut patterns)?;
        let selectable = version["selectableFields"].as_array().into_iter().flatten();
        let selectable = selectable
            .filter_map(|one| one["jsonPath"].as_str())
            .map(|path| Ok((path.trim_start_matches('.').to_owned(), Path::parse(path)?)));
        let scale = &version["subresources"]["scale"];
        let path = |name: &str| scale[name].as_str().map(ToOwned::to_owned);
        Ok(Self {
            structure: tree::structure(kind, &schema),
            patterns,
            rules: has_rules(&schema).then(|| rules::Rules::compile(&schema)).transpose()?,
            namespaced,
            columns: columns(version)?,
            selectable: selectable.collect::<Result<_, String>>()?,
            has_status: version["subresources"].get("status").is_some(),
            scale: scale.is_object().then(|| ScalePaths {
                spec_replicas: path("specReplicasPath").unwrap_or_default(),
                status_replicas: path("statusReplicasPath").unwrap_or_default(),
                label_selector: path("labelSelectorPath"),
            }),
            schema,
        })
    }
}

/// Why one of the rules in CEL that stand in a schema itself is not understood.
pub(crate) fn rule_error(schema: &Value, index: usize) -> Option<String> {
    rules::wrong(schema, index)
}

/// Why an expression in CEL over some variables is not understood, as far as that is known without their types.
pub(crate) fn expression_error(expression: &str, variables: &[&str]) -> Option<String> {
    rules::expression_error(expression, variables)
}

/// Defaults that the schema itself would not take, or that have fields it does not know.
pub(crate) fn wrong_defaults(schema: &Value, at: &str) -> Vec<FieldError> {
    let mut errors = Vec::new();
    if let Some(default) = schema.get("default") {
        let here = format!("{at}.default");
        let mut pruned = default.clone();
        prune::prune(schema, &mut pruned);
        if pruned != *default {
            errors.push(FieldError::invalid(here.clone(), default, "must not have unknown fields"));
        }
        let mut patterns = check::Patterns::new();
        // A pattern that does not compile has been complained about before.
        if survey(schema, "", &mut patterns).is_ok() {
            let wrong = check::check(schema, default, None, &patterns);
            errors.extend(wrong.into_iter().map(|error| match error.field.as_str() {
                "" | "<nil>" => FieldError { field: here.clone(), ..error },
                below => FieldError { field: format!("{here}.{below}"), ..error },
            }));
        }
    }
    if schema["items"].is_object() {
        errors.extend(wrong_defaults(&schema["items"], &format!("{at}.items")));
    }
    for (name, inner) in schema["properties"].as_object().into_iter().flatten() {
        errors.extend(wrong_defaults(inner, &format!("{at}.properties[{name}]")));
    }
    errors
}

/// Whether a schema has rules in CEL anywhere.
fn has_rules(schema: &Value) -> bool {
    match schema {
        Value::Object(map) => {
            map.get("x-kubernetes-validations").and_then(Value::as_array).is_some_and(|rules| !rules.is_empty())
                || map.iter().any(|(name, inner)| name != "default" && has_rules(inner))
        }
        Value::Array(items) => items.iter().any(has_rules),
        _ => false,
    }
}

/// Compiles the patterns of a schema.
fn survey(schema: &Value, path: &str, patterns: &mut check::Patterns) -> Result<(), String> {
    if let Some(pattern) = schema["pattern"].as_str() {
        let regex = Regex::new(pattern).map_err(|error| format!("{path}.pattern: {error}"))?;
        patterns.insert(pattern.to_owned(), regex);
    }
    for (name, inner) in schema["properties"].as_object().into_iter().flatten() {
        survey(inner, &format!("{path}.properties[{name}]"), patterns)?;
    }
    for name in ["items", "additionalProperties", "not"] {
        if schema[name].is_object() {
            survey(&schema[name], &format!("{path}.{name}"), patterns)?;
        }
    }
    for name in ["allOf", "anyOf", "oneOf"] {
        for inner in schema[name].as_array().into_iter().flatten() {
            survey(inner, &format!("{path}.{name}"), patterns)?;
        }
    }
    Ok(())
}

fn columns(version: &Value) -> Result<Vec<(ColumnHead, Path)>, String> {
    let head = |name: &str, kind: &str, format: &str, priority: i32, description: String| ColumnHead {
        name: name.to_owned().into(),
        kind: kind.to_owned().into(),
        format: format.to_owned().into(),
        priority,
        description: description.into(),
    };
    let mut columns = vec![(head("Name", "string", "name", 0, table::NAME.to_owned()), Path::parse(NAME_PATH)?)];
    let own = version["additionalPrinterColumns"].as_array().filter(|own| !own.is_empty());
    let Some(own) = own else {
        columns.push((head("Age", "date", "", 0, table::CREATED.to_owned()), Path::parse(CREATED_PATH)?));
        return Ok(columns);
    };
    for column in own {
        let text = |name: &str| column[name].as_str().unwrap_or_default();
        let path = text("jsonPath");
        let described = column["description"].as_str().filter(|text| !text.is_empty()).map(ToOwned::to_owned);
        let description =
            described.unwrap_or_else(|| format!("Custom resource definition column (in JSONPath format): {path}"));
        let priority =
            column["priority"].as_i64().and_then(|priority| i32::try_from(priority).ok()).unwrap_or_default();
        columns.push((head(text("name"), text("type"), text("format"), priority, description), Path::parse(path)?));
    }
    Ok(columns)
}

/// A cell: the first value that its path leads to, as the column's type shows it.
fn cell(kind: &str, path: &Path, object: &Value, now: Timestamp) -> Value {
    let found = path.find(object).into_iter().next();
    match (kind, found) {
        (_, None | Some(Value::Null)) => Value::Null,
        ("string", Some(Value::String(text))) => Value::from(text.as_str()),
        ("string", Some(other)) => Value::from(other.to_string()),
        ("integer", Some(Value::Number(number))) => {
            #[allow(clippy::cast_possible_truncation, reason = "a column of whole numbers shows no fraction")]
            let whole = number.as_i64().or_else(|| number.as_f64().map(|value| value as i64));
            whole.map_or(Value::Null, Value::from)
        }
        ("number", Some(value @ Value::Number(_))) | ("boolean", Some(value @ Value::Bool(_))) => value.clone(),
        ("date", Some(Value::String(text))) => match text.parse::<Timestamp>() {
            Ok(time) => Value::from(table::duration(now.as_second() - time.as_second())),
            Err(_) => Value::from("<invalid>"),
        },
        _ => Value::Null,
    }
}

/// An object without what does not count as its specification.
fn specification(object: &Object, has_status: bool) -> Map<String, Value> {
    let mut map = object.map().clone();
    map.remove("metadata");
    if has_status {
        map.remove("status");
    }
    map
}

const UNCHECKED: &str = "some validation rules were not checked because the object was invalid; \
    correct the existing errors to complete validation";

/// Whether a mistake is of a sort that rules can't be asked about.
fn blocks(error: &FieldError) -> bool {
    use FieldErrorKind::{NotSupported, Required, TooLong, TooMany, TypeInvalid};
    matches!(error.kind, NotSupported | Required | TooLong | TooMany | TypeInvalid)
}

impl Custom {
    fn metadata_blocks(&self, object: &Object, old: Option<&Object>) -> bool {
        let errors = match old {
            None => meta::validate_create(object, META, self.namespaced),
            Some(old) => meta::validate_update(object, old, META, self.namespaced),
        };
        errors.iter().any(blocks)
    }
}

impl Behaviour for Custom {
    fn structure(&self) -> Ref {
        self.structure.clone()
    }

    fn fill_defaults(&self, object: &mut Object) -> Result<(), String> {
        let mut value = Value::Object(std::mem::take(object.map_mut()));
        defaults::fill(&self.schema, &mut value);
        if let Value::Object(map) = value {
            *object.map_mut() = map;
        }
        Ok(())
    }

    fn reread(&self, object: &mut Object) {
        let mut value = Value::Object(std::mem::take(object.map_mut()));
        prune::prune_object(&self.schema, &mut value);
        defaults::fill(&self.schema, &mut value);
        if let Value::Object(map) = value {
            *object.map_mut() = map;
        }
    }

    fn prepare(&self, object: &mut Object, old: Option<&Object>, write: Write) -> Result<(), String> {
        match (old, write) {
            (None, _) => {
                if self.has_status {
                    object.remove(&["status"]);
                }
                object.set(&["metadata", "generation"], Value::from(1));
            }
            (Some(old), Write::Status) => {
                let status = object.remove(&["status"]);
                let managed = object.at(&["metadata", "managedFields"]).cloned();
                let version = object.at(&["metadata", "resourceVersion"]).cloned();
                *object = old.clone();
                let kept = [
                    (&["status"][..], status),
                    (&["metadata", "managedFields"], managed),
                    (&["metadata", "resourceVersion"], version),
                ];
                for (path, value) in kept {
                    object.remove(path);
                    if let Some(value) = value {
                        object.set(path, value);
                    }
                }
            }
            (Some(old), Write::Main | Write::Other(_)) => {
                if self.has_status {
                    object.remove(&["status"]);
                    if let Some(status) = old.at(&["status"]) {
                        object.set(&["status"], status.clone());
                    }
                }
                let changed = specification(object, self.has_status) != specification(old, self.has_status);
                object.set(&["metadata", "generation"], Value::from(old.generation() + i64::from(changed)));
            }
        }
        Ok(())
    }

    fn validate(&self, object: &Object, old: Option<&Object>, _: Write) -> Result<Vec<FieldError>, String> {
        let value = |object: &Object| Value::Object(object.map().clone());
        let (new, before) = (value(object), old.map(value));
        let mut errors = check::check(&self.schema, &new, before.as_ref(), &self.patterns);
        let Some(rules) = &self.rules else { return Ok(errors) };
        if errors.iter().any(blocks) || self.metadata_blocks(object, old) {
            errors.push(FieldError::invalid("<nil>", &Value::Null, UNCHECKED));
        } else {
            errors.extend(rules.check(&new, before.as_ref()));
        }
        Ok(errors)
    }

    fn warnings(&self, _: &Object, _: Option<&Object>) -> Result<Vec<String>, String> {
        Ok(Vec::new())
    }

    fn columns(&self) -> Vec<ColumnHead> {
        self.columns.iter().map(|(head, _)| head.clone()).collect()
    }

    fn row(&self, object: &Object, now: Timestamp) -> Result<Row, String> {
        let value = Value::Object(object.map().clone());
        let cells = self.columns.iter().map(|(head, path)| cell(&head.kind, path, &value, now)).collect();
        Ok(Row { cells, conditions: Vec::new() })
    }

    fn selectable(&self) -> Vec<Cow<'static, str>> {
        self.selectable.iter().map(|(name, _)| Cow::Owned(name.clone())).collect()
    }

    fn field(&self, object: &Object, field: &str) -> Option<String> {
        let (_, path) = self.selectable.iter().find(|(name, _)| name == field)?;
        let value = Value::Object(object.map().clone());
        Some(match path.find(&value).first() {
            None | Some(Value::Null) => String::new(),
            Some(Value::String(text)) => text.clone(),
            Some(other) => other.to_string(),
        })
    }

    fn open_api(&self) -> Option<&Value> {
        Some(&self.schema)
    }

    fn scale_paths(&self) -> Option<&ScalePaths> {
        self.scale.as_ref()
    }
}
