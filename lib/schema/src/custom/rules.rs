//! Rules of a custom resource in CEL, `x-kubernetes-validations`.

use kube_cel::cel::common::ast::{EntryExpr, Expr};
use kube_cel::{CompilationError, CompiledSchema, ErrorKind, ValidationError, Validator, compile_schema};
use serde_json::Value;

use crate::status::{FieldError, FieldErrorKind};

mod budget;

/// The rules of a schema, compiled.
pub(super) struct Rules(CompiledSchema);

impl Rules {
    /// Compiles the rules of a schema. Errors say which one is not understood.
    pub(super) fn compile(schema: &Value) -> Result<Self, String> {
        let compiled = compile_schema(schema);
        match compiled.compilation_errors().first() {
            Some(error) => Err(format!("x-kubernetes-validations: {error}")),
            None => Ok(Self(compiled)),
        }
    }

    /// The rules that an object breaks; rules that would take too long are not asked, which is an error, too. What an update leaves unchanged is not looked at again.
    pub(super) fn check(&self, object: &Value, old: Option<&Value>) -> Vec<FieldError> {
        if !budget::is_affordable(&self.0, object, old) {
            let detail = "\"object\": validation failed due to running out of cost budget, no further validation rules will be run";
            return vec![FieldError::new(FieldErrorKind::Invalid, "<nil>", detail.to_owned())];
        }
        let Err(errors) = Validator::new().validate_compiled(&self.0, object, old) else { return Vec::new() };
        let changed = |error: &ValidationError| {
            let path = pointer(&error.field_path);
            old.is_none_or(|old| old.pointer(&path).is_none() || old.pointer(&path) != object.pointer(&path))
        };
        errors.into_vec().iter().filter(|error| changed(error)).map(|error| told(error, object)).collect()
    }
}

/// `spec.ports[0].port` as a JSON pointer.
fn pointer(path: &str) -> String {
    let parts = path.split(['.', '[']).map(|part| part.trim_end_matches(']')).filter(|part| !part.is_empty());
    parts.fold(String::new(), |pointer, part| pointer + "/" + &part.replace('~', "~0").replace('/', "~1"))
}

fn told(error: &ValidationError, object: &Value) -> FieldError {
    let kind = match error.reason.as_deref() {
        Some("FieldValueRequired") => FieldErrorKind::Required,
        Some("FieldValueForbidden") => FieldErrorKind::Forbidden,
        Some("FieldValueDuplicate") => FieldErrorKind::Duplicate,
        _ => FieldErrorKind::Invalid,
    };
    let message = match error.kind {
        ErrorKind::ValidationFailure => error.message.clone(),
        _ => format!("{} evaluation error: {}", error.rule, error.message),
    };
    let value = object.pointer(&pointer(&error.field_path)).filter(|value| !value.is_object() && !value.is_array());
    let detail = match (kind, value) {
        (FieldErrorKind::Invalid, Some(value)) => format!("{value}: {message}"),
        _ => message,
    };
    let field = if error.field_path.is_empty() { "<nil>" } else { &error.field_path };
    FieldError::new(kind, field, detail)
}

/// Why one of the rules that stand in a schema itself is not understood, in upstream's words where they are known.
pub(super) fn wrong(schema: &Value, index: usize) -> Option<String> {
    let own = serde_json::json!({"x-kubernetes-validations": [schema["x-kubernetes-validations"][index]]});
    let compiled = compile_schema(&own);
    match compiled.validations.first()? {
        Err(CompilationError::Parse { source, .. } | CompilationError::MessageExpressionParse { source, .. }) => {
            Some(source.to_string().replace("\n| ", "\n | "))
        }
        Err(other) => Some(other.to_string()),
        Ok(result) => {
            let mut unknown = Vec::new();
            typed(&result.program.expression().expr, schema, &mut unknown);
            unknown.first().map(|field| undefined(&result.rule.rule, field))
        }
    }
}

/// Why an expression over some variables is not understood; what they are is not known.
pub(super) fn expression_error(expression: &str, variables: &[&str]) -> Option<String> {
    let own = serde_json::json!({"x-kubernetes-validations": [{"rule": expression}]});
    let compiled = compile_schema(&own);
    match compiled.validations.first()? {
        Err(CompilationError::Parse { source, .. }) => Some(source.to_string().replace("\n| ", "\n | ")),
        Err(other) => Some(other.to_string()),
        Ok(result) => {
            let mut known: Vec<&str> = variables.to_vec();
            undeclared(&result.program.expression().expr, &mut known).map(|name| {
                let why = format!("undeclared reference to '{name}' (in container '')");
                pointed(expression, &name, &why)
            })
        }
    }
}

/// The first name in an expression that stands for nothing.
fn undeclared<'a>(expr: &'a Expr, known: &mut Vec<&'a str>) -> Option<String> {
    match expr {
        Expr::Ident(name) => (!known.contains(&name.as_str())).then(|| name.clone()),
        Expr::Select(select) => undeclared(&select.operand.expr, known),
        Expr::Call(call) => {
            let mut parts = call.target.iter().map(|target| &target.expr).chain(call.args.iter().map(|one| &one.expr));
            parts.find_map(|inner| undeclared(inner, known))
        }
        Expr::List(list) => list.elements.iter().find_map(|one| undeclared(&one.expr, known)),
        Expr::Map(map) => map.entries.iter().find_map(|entry| match &entry.expr {
            EntryExpr::MapEntry(entry) => {
                undeclared(&entry.key.expr, known).or_else(|| undeclared(&entry.value.expr, known))
            }
            EntryExpr::StructField(_) => None,
        }),
        Expr::Comprehension(all) => {
            if let Some(name) = undeclared(&all.iter_range.expr, known) {
                return Some(name);
            }
            let own = [Some(&all.iter_var), all.iter_var2.as_ref(), Some(&all.accu_var)];
            let before = known.len();
            known.extend(own.into_iter().flatten().map(String::as_str));
            let parts = [&all.accu_init, &all.loop_cond, &all.loop_step, &all.result];
            let found = parts.into_iter().find_map(|inner| undeclared(&inner.expr, known));
            known.truncate(before);
            found
        }
        Expr::Unspecified | Expr::Literal(_) | Expr::Struct(_) => None,
    }
}

/// The schema of what an expression leads to, as far as it is known; fields that lead nowhere are noted.
fn typed<'a>(expr: &Expr, schema: &'a Value, unknown: &mut Vec<String>) -> Option<&'a Value> {
    match expr {
        Expr::Ident(name) => ["self", "oldSelf"].contains(&name.as_str()).then_some(schema),
        Expr::Select(select) => {
            let of = typed(&select.operand.expr, schema, unknown)?;
            let properties = of["properties"].as_object()?;
            let implied = ["metadata", "kind", "apiVersion"].contains(&select.field.as_str());
            // Names that CEL can't write are escaped.
            if implied || select.field.contains("__") || of["type"] != "object" {
                return properties.get(&select.field);
            }
            let found = properties.get(&select.field);
            if found.is_none() {
                unknown.push(select.field.clone());
            }
            found
        }
        Expr::Call(call) => {
            for inner in call.target.iter().map(|target| &target.expr).chain(call.args.iter().map(|one| &one.expr)) {
                typed(inner, schema, unknown);
            }
            None
        }
        Expr::List(list) => {
            for one in &list.elements {
                typed(&one.expr, schema, unknown);
            }
            None
        }
        Expr::Map(map) => {
            for entry in &map.entries {
                if let EntryExpr::MapEntry(entry) = &entry.expr {
                    typed(&entry.key.expr, schema, unknown);
                    typed(&entry.value.expr, schema, unknown);
                }
            }
            None
        }
        Expr::Comprehension(all) => {
            for inner in [&all.iter_range, &all.accu_init, &all.loop_cond, &all.loop_step, &all.result] {
                typed(&inner.expr, schema, unknown);
            }
            None
        }
        Expr::Unspecified | Expr::Literal(_) | Expr::Struct(_) => None,
    }
}

/// Where in a rule a field stands that the schema does not have.
fn undefined(rule: &str, field: &str) -> String {
    pointed(rule, &format!(".{field}"), &format!("undefined field '{field}'"))
}

/// A complaint about what stands at a text in an expression, with the line and a mark below it.
fn pointed(expression: &str, what: &str, why: &str) -> String {
    let lines = || expression.lines().enumerate();
    let found = lines().find_map(|(line, text)| Some((line, text, text.find(what)?)));
    let (line, text, column) = found.unwrap_or((0, expression, 0));
    let dots = ".".repeat(text[..column].chars().count());
    format!(
        "ERROR: <input>:{}:{}: {why}
 | {text}
 | {dots}^",
        line + 1,
        dots.len() + 1
    )
}
