//! Expressions in CEL that policies ask of a request: whether they can be, what they come to, what they cost.
//!
//! Source: <https://kubernetes.io/docs/reference/using-api/cel/>

use std::collections::HashMap;
use std::sync::Arc;

use kube_cel::KubeCelExt;
use kube_cel::cel::common::ast::Expr;
use kube_cel::cel::objects::{Key, Map};
use kube_cel::cel::{Context, ExecutionError, Program, Value as Cel};
use serde_json::Value;

mod authorizer;
pub(crate) mod budget;
mod compile;
mod names;

pub use authorizer::{Authorizer, Wanted};
pub use names::{Names, Returns};

use budget::{BUDGET, Scope, Sizes};

/// Why an expression can't be, in upstream's words; `None` when it can.
///
/// ```
/// use kprov_schema::cel::{Names, Returns, wrong};
///
/// assert_eq!(wrong("object.metadata.name != 'x'", &Names::default(), Returns::Bool), None);
/// let told = wrong("params.x > 1", &Names::default(), Returns::Bool).unwrap();
/// assert!(told.contains("undeclared reference to 'params'"), "{told}");
/// ```
#[must_use]
pub fn wrong(text: &str, names: &Names<'_>, returns: Returns) -> Option<String> {
    match Program::compile(text) {
        Err(error) => Some(format!("compilation failed: {}", error.to_string().replace("\n| ", "\n | "))),
        Ok(program) => compile::wrong(&program.expression().expr, text, names, returns),
    }
}

/// An expression that can be evaluated.
pub struct Expression {
    text: String,
    program: Program,
}

impl Expression {
    /// Compiles an expression. Errors are those of [`wrong`].
    pub fn compile(text: &str, names: &Names<'_>, returns: Returns) -> Result<Self, String> {
        match wrong(text, names, returns) {
            Some(why) => Err(why),
            None => Program::compile(text)
                .map(|program| Self { text: text.to_owned(), program })
                .map_err(|error| error.to_string()),
        }
    }

    fn expr(&self) -> &Expr {
        &self.program.expression().expr
    }

    /// The expression as it was written.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }
}

/// What an expression comes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// A truth.
    Bool(bool),
    /// A text.
    Text(String),
    /// Nothing.
    Null,
    /// Something of another type, by its name.
    Other(String),
}

/// Why an expression comes to nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// It can't be worked out for these values.
    #[error("expression '{text}' resulted in error: {why}")]
    Evaluation {
        /// The expression.
        text: String,
        /// What went wrong.
        why: String,
    },
    /// It might take longer than everything about one object may; nothing more is asked.
    #[error("validation failed due to running out of cost budget, no further validation rules will be run")]
    Budget,
}

/// The values that expressions about one request see, with what they may still cost.
///
/// ```
/// use kprov_schema::cel::{Expression, Input, Names, Outcome, Returns};
/// use serde_json::json;
///
/// let names = Names { variables: Some(&["n"]), ..Names::default() };
/// let many = Expression::compile("size(object.items)", &names, Returns::Anything).unwrap();
/// let few = Expression::compile("variables.n < 3", &names, Returns::Bool).unwrap();
/// let mut input = Input::new(json!({"object": {"items": [1, 2]}}));
/// input.define("n", &many).unwrap();
/// assert_eq!(input.evaluate(&few), Ok(Outcome::Bool(true)));
/// ```
pub struct Input {
    values: Value,
    context: Context<'static>,
    variables: HashMap<Key, Cel>,
    /// Variables that come to nothing, and why.
    failed: HashMap<String, String>,
    left: u64,
}

impl Input {
    /// The values by their names, such as `object`.
    #[must_use]
    pub fn new(values: Value) -> Self {
        let mut context = Context::default().with_all();
        for (name, value) in values.as_object().into_iter().flatten() {
            context.add_variable_from_value(name.as_str(), seen(value));
        }
        let mut input = Self { values, context, variables: HashMap::new(), failed: HashMap::new(), left: BUDGET };
        input.tell_variables();
        input
    }

    /// Another value, or one in place of another.
    pub fn set(&mut self, name: &str, value: Value) {
        self.context.add_variable_from_value(name, seen(&value));
        if let Value::Object(values) = &mut self.values {
            values.insert(name.to_owned(), value);
        }
    }

    /// Lets expressions ask who may do what; `request` is what the request itself is about.
    pub fn authorize(&mut self, authorizer: Arc<dyn Authorizer>, request: Wanted) {
        authorizer::register(&mut self.context, authorizer, request);
    }

    /// Defines what `variables.NAME` is. That it comes to nothing is told by the expressions that use it.
    pub fn define(&mut self, name: &str, expression: &Expression) -> Result<(), Failure> {
        match self.resolve(expression) {
            Ok(value) => {
                self.variables.insert(Key::String(Arc::new(name.to_owned())), value);
                self.tell_variables();
            }
            Err(Failure::Evaluation { why, .. }) => {
                self.failed.insert(name.to_owned(), why);
            }
            Err(spent @ Failure::Budget) => return Err(spent),
        }
        Ok(())
    }

    fn tell_variables(&mut self) {
        let map = Map { map: Arc::new(self.variables.clone()) };
        self.context.add_variable_from_value("variables", Cel::Map(map));
    }

    /// What an expression comes to.
    pub fn evaluate(&mut self, expression: &Expression) -> Result<Outcome, Failure> {
        self.resolve(expression).map(|value| match value {
            Cel::Bool(truth) => Outcome::Bool(truth),
            Cel::String(text) => Outcome::Text(text.to_string()),
            Cel::Null => Outcome::Null,
            other => Outcome::Other(other.type_of().to_string()),
        })
    }

    fn resolve(&mut self, expression: &Expression) -> Result<Cel, Failure> {
        let sizes = Sizes::default();
        let names = self.values.as_object().into_iter().flatten().map(|(name, value)| (name.as_str(), Some(value)));
        let steps = Scope::new(&self.values, &sizes, names).with("variables").steps(expression.expr());
        self.left = self.left.checked_sub(steps).ok_or(Failure::Budget)?;
        let why = match expression.program.execute(&self.context) {
            Ok(value) => return Ok(value),
            Err(ExecutionError::NoSuchKey(key)) => match self.failed.get(key.as_str()) {
                Some(why) => format!("composited variable {key:?} fails to evaluate: {why}"),
                None => format!("no such key: {key}"),
            },
            Err(ExecutionError::NoSuchOverload) => "no such overload".to_owned(),
            Err(other) => other.to_string(),
        };
        Err(Failure::Evaluation { text: expression.text.clone(), why })
    }
}

/// A value as expressions see it: whole numbers are signed.
fn seen(value: &Value) -> Cel {
    match value {
        Value::Null => Cel::Null,
        Value::Bool(truth) => Cel::Bool(*truth),
        Value::Number(number) => match (number.as_i64(), number.as_u64()) {
            (Some(number), _) => Cel::Int(number),
            (None, Some(number)) => Cel::UInt(number),
            (None, None) => Cel::Float(number.as_f64().unwrap_or_default()),
        },
        Value::String(text) => Cel::String(Arc::new(text.clone())),
        Value::Array(items) => Cel::List(Arc::new(items.iter().map(seen).collect())),
        Value::Object(map) => {
            let map = map.iter().map(|(key, value)| (Key::String(Arc::new(key.clone())), seen(value)));
            Cel::Map(Map { map: Arc::new(map.collect()) })
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// Allows `get` of everything, and whatever the account `ns/a` wants with paths.
    struct Allowing;

    impl Authorizer for Allowing {
        fn allows(&self, wanted: &Wanted) -> Option<String> {
            let is_account = wanted.account == Some(("ns".to_owned(), "a".to_owned())) && wanted.path.is_some();
            let Wanted { group, resource, subresource, namespace, name, .. } = wanted;
            let shown = || format!("{group}/{resource}/{subresource} {namespace}/{name}");
            (wanted.verb == "get" || is_account).then(shown)
        }
    }

    fn evaluated(text: &str) -> Result<Outcome, String> {
        let names = Names { params: true, authorizer: true, variables: Some(&["n", "bad", "uses"]) };
        let compiled = |text: &str| Expression::compile(text, &names, Returns::Anything).unwrap();
        let mut input =
            Input::new(json!({"object": {"a": 1, "list": vec![1; 10_000]}, "oldObject": null, "params": null}));
        let request = Wanted { resource: "pods".to_owned(), name: "p".to_owned(), ..Wanted::default() };
        input.authorize(Arc::new(Allowing), request);
        for (name, text) in [("n", "object.a + 1"), ("bad", "object.none"), ("uses", "variables.n + 1")] {
            input.define(name, &compiled(text)).unwrap();
        }
        input.evaluate(&compiled(text)).map_err(|failure| failure.to_string())
    }

    #[test]
    fn expressions_come_to_something_or_say_why_not() {
        for (text, want) in [
            ("object.a == 1", Ok(Outcome::Bool(true))),
            ("oldObject == null && params == null", Ok(Outcome::Bool(true))),
            ("variables.uses == 3", Ok(Outcome::Bool(true))),
            ("'a' + string(variables.n)", Ok(Outcome::Text("a2".to_owned()))),
            ("oldObject", Ok(Outcome::Null)),
            ("variables.n", Ok(Outcome::Other("int".to_owned()))),
            ("object.none == 1", Err("expression 'object.none == 1' resulted in error: no such key: none")),
            (
                "variables.bad == 1",
                Err("expression 'variables.bad == 1' resulted in error: composited variable \"bad\" fails to \
                     evaluate: no such key: none"),
            ),
            ("authorizer.requestResource.check('get').allowed()", Ok(Outcome::Bool(true))),
            ("authorizer.requestResource.check('list').allowed()", Ok(Outcome::Bool(false))),
            ("authorizer.requestResource.check('get').reason()", Ok(Outcome::Text("/pods/ /p".to_owned()))),
            (
                "authorizer.group('apps').resource('d').subresource('scale').namespace('n').name('x').check('get').reason()",
                Ok(Outcome::Text("apps/d/scale n/x".to_owned())),
            ),
            ("authorizer.serviceAccount('ns', 'a').path('/healthz').check('post').allowed()", Ok(Outcome::Bool(true))),
            ("authorizer.path('/healthz').check('post').errored()", Ok(Outcome::Bool(false))),
            ("authorizer.group('apps').check('get').allowed()", Err("no such overload")),
            ("object.list.all(x, object.list.all(y, object.list.exists(z, x + y == z)))", Err("cost budget")),
        ] {
            let got = evaluated(text);
            match (&got, &want) {
                (Err(got), Err(want)) => assert!(got.contains(want), "{text}: {got}"),
                (got, want) => assert_eq!(got.as_ref().ok(), want.as_ref().ok(), "{text}"),
            }
        }
    }
}
