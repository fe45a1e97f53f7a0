//! Policies with their bindings, compiled once for as long as none of them changes.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use k8s_openapi::api::admissionregistration::v1::{
    MatchResources, ParamKind, ValidatingAdmissionPolicy, ValidatingAdmissionPolicyBinding,
    ValidatingAdmissionPolicySpec, Validation,
};
use kprov_schema::cel::{Expression, Failure, Input, Names, Outcome, Returns};
use kprov_schema::{Revision, Status, Typed};
use serde_json::Value;

use super::{Denial, Request};
use crate::api::core::Core;
use crate::api::errors;
use crate::store::Stored;

/// The longest message that an expression may make, in bytes.
const MAX_MESSAGE: usize = 5 * 1024;

/// The policies that are bound, as of when they were last asked.
#[derive(Default)]
pub(crate) struct Policies(Mutex<Known>);

#[derive(Default)]
struct Known {
    /// What the hooks were made of.
    of: Vec<(String, Revision)>,
    hooks: Arc<Vec<Hook>>,
}

/// A policy with its bindings.
pub(super) struct Hook {
    pub(super) policy: Policy,
    pub(super) bindings: Vec<ValidatingAdmissionPolicyBinding>,
}

impl Policies {
    /// Every policy that is bound, by name.
    pub(super) fn hooks(&self, core: &Core) -> Result<Arc<Vec<Hook>>, Status> {
        let bindings = core.all::<ValidatingAdmissionPolicyBinding>()?;
        if bindings.is_empty() {
            return Ok(Arc::default());
        }
        let policies = core.all::<ValidatingAdmissionPolicy>()?;
        let of: Vec<(String, Revision)> =
            policies.iter().chain(&bindings).map(|stored| (stored.object.name().to_owned(), stored.revision)).collect();
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.of != of {
            known.hooks = Arc::new(hooks(&policies, &bindings)?);
            known.of = of;
        }
        Ok(known.hooks.clone())
    }
}

fn hooks(policies: &[Arc<Stored>], bindings: &[Arc<Stored>]) -> Result<Vec<Hook>, Status> {
    let mut by_policy: BTreeMap<String, Vec<ValidatingAdmissionPolicyBinding>> = BTreeMap::new();
    for stored in bindings {
        let binding = ValidatingAdmissionPolicyBinding::from_object(&stored.object).map_err(errors::internal)?;
        by_policy.entry(binding.spec.policy_name.clone()).or_default().push(binding);
    }
    let mut hooks = Vec::new();
    for stored in policies {
        if let Some(bindings) = by_policy.remove(stored.object.name()) {
            let policy = ValidatingAdmissionPolicy::from_object(&stored.object).map_err(errors::internal)?;
            hooks.push(Hook { policy: Policy::of(policy), bindings });
        }
    }
    Ok(hooks)
}

/// A policy whose expressions are compiled, or the reason why they can't be.
pub(super) struct Policy {
    name: String,
    spec: ValidatingAdmissionPolicySpec,
    compiled: Result<Compiled, String>,
}

struct Compiled {
    conditions: Vec<Expression>,
    variables: Vec<(String, Expression)>,
    validations: Vec<(Validation, Expression, Option<Expression>)>,
    annotations: Vec<Expression>,
}

/// What a policy says of a request.
#[derive(Default)]
pub(super) struct Verdict {
    /// What the request breaks.
    pub(super) denials: Vec<Denial>,
    /// Values of annotations that could not be worked out: that denies a request whatever the binding says.
    pub(super) unreadable: Vec<Denial>,
}

impl Policy {
    fn of(policy: ValidatingAdmissionPolicy) -> Self {
        let spec = policy.spec.unwrap_or_default();
        Self { name: policy.metadata.name.unwrap_or_default(), compiled: compile(&spec), spec }
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn constraints(&self) -> Option<&MatchResources> {
        self.spec.match_constraints.as_ref()
    }

    pub(super) fn param_kind(&self) -> Option<&ParamKind> {
        self.spec.param_kind.as_ref()
    }

    /// Whether a request is denied when the policy can't be asked.
    pub(super) fn fails(&self) -> bool {
        self.spec.failure_policy.as_deref() != Some("Ignore")
    }

    /// What can't be worked out denies a request, or does not.
    fn broken(&self, why: String) -> Vec<Denial> {
        self.fails().then(|| Denial::broken(why)).into_iter().collect()
    }

    /// What the policy says of a request, as it is seen in `values`, with a parameter.
    pub(super) fn judge(&self, request: &Request<'_>, values: Value, param: Value) -> Verdict {
        let all = |denials| Verdict { denials, ..Verdict::default() };
        let compiled = match &self.compiled {
            Ok(compiled) => compiled,
            Err(why) => return all(self.broken(why.clone())),
        };
        let mut input = Input::new(values);
        input.set("params", param);
        let (authorizer, wanted) = request.authorizer();
        input.authorize(authorizer, wanted);
        match self.meets(compiled, &mut input) {
            Ok(true) => {}
            Ok(false) => return Verdict::default(),
            Err(why) => return all(self.broken(why)),
        }
        input.set("namespaceObject", request.namespace_value());
        self.outcomes(compiled, &mut input).unwrap_or_else(|spent| all(self.broken(spent.to_string())))
    }

    /// Whether the conditions hold: one that does not counts more than one that can't be worked out.
    fn meets(&self, compiled: &Compiled, input: &mut Input) -> Result<bool, String> {
        let mut failed = Vec::new();
        for condition in &compiled.conditions {
            match input.evaluate(condition) {
                Ok(Outcome::Bool(false)) => return Ok(false),
                Ok(_) => {}
                Err(why) => failed.push(why.to_string()),
            }
        }
        match failed.as_slice() {
            [] => Ok(true),
            _ if !self.fails() => Ok(false),
            [one] => Err(one.clone()),
            all => Err(format!("[{}]", all.join(", "))),
        }
    }

    fn outcomes(&self, compiled: &Compiled, input: &mut Input) -> Result<Verdict, Failure> {
        for (name, expression) in &compiled.variables {
            input.define(name, expression)?;
        }
        let mut verdict = Verdict::default();
        for (validation, expression, message) in &compiled.validations {
            match input.evaluate(expression) {
                Ok(Outcome::Bool(true)) => {}
                Ok(_) => verdict.denials.push(denial(validation, expression, message.as_ref(), input)?),
                Err(Failure::Budget) => return Err(Failure::Budget),
                Err(why) => verdict.denials.extend(self.broken(why.to_string())),
            }
        }
        for expression in &compiled.annotations {
            match input.evaluate(expression) {
                Ok(Outcome::Text(_) | Outcome::Null) => {}
                Ok(other) => verdict.unreadable.push(Denial::broken(wrong_value(expression, &other))),
                Err(Failure::Budget) => return Err(Failure::Budget),
                Err(why) => verdict.unreadable.extend(self.broken(why.to_string())),
            }
        }
        Ok(verdict)
    }
}

fn wrong_value(expression: &Expression, value: &Outcome) -> String {
    let type_ = match value {
        Outcome::Bool(_) => "bool",
        Outcome::Other(name) => name,
        Outcome::Text(_) => "string",
        Outcome::Null => "null_type",
    };
    let text = expression.text();
    format!(
        "valueExpression '{text}' resulted in unsupported return type: {type_}. Return type must be either string or null."
    )
}

/// What is told of a validation that does not hold: its own message, as long as that is one line.
fn denial(
    validation: &Validation,
    expression: &Expression,
    message: Option<&Expression>,
    input: &mut Input,
) -> Result<Denial, Failure> {
    let made = match message.map(|message| input.evaluate(message)) {
        Some(Ok(Outcome::Text(text))) => Some(text.trim().to_owned()),
        Some(Err(Failure::Budget)) => {
            return Ok(Denial::broken(format!("failed messageExpression: {}", Failure::Budget)));
        }
        _ => None,
    };
    let fits = |text: &String| !text.is_empty() && text.len() <= MAX_MESSAGE && !text.contains('\n');
    let given = || validation.message.as_ref().map(|text| text.trim().to_owned()).filter(|text| !text.is_empty());
    let shown = || format!("failed expression: {}", expression.text().trim());
    let message = made.filter(fits).or_else(given).unwrap_or_else(shown);
    Ok(Denial { message, reason: validation.reason.clone().unwrap_or_else(|| "Invalid".to_owned()) })
}

fn compile(spec: &ValidatingAdmissionPolicySpec) -> Result<Compiled, String> {
    let params = spec.param_kind.is_some();
    let conditions = spec.match_conditions.iter().flatten();
    let plain = Names { params, authorizer: true, variables: None };
    let conditions = conditions.map(|one| Expression::compile(one.expression.trim(), &plain, Returns::Bool));
    let all: Vec<&str> = spec.variables.iter().flatten().map(|variable| variable.name.as_str()).collect();
    let mut variables = Vec::new();
    for (index, variable) in spec.variables.iter().flatten().enumerate() {
        let names = Names { params, authorizer: true, variables: Some(&all[..index]) };
        variables.push((variable.name.clone(), Expression::compile(&variable.expression, &names, Returns::Anything)?));
    }
    let names = Names { params, authorizer: true, variables: (!all.is_empty()).then_some(&all[..]) };
    let told = Names { authorizer: false, ..names };
    let validation = |validation: &Validation| {
        let message = validation.message_expression.as_deref().filter(|text| !text.trim().is_empty());
        let message = message.map(|text| Expression::compile(text, &told, Returns::Text)).transpose()?;
        let expression = Expression::compile(&validation.expression, &names, Returns::Bool)?;
        Ok::<_, String>((validation.clone(), expression, message))
    };
    let annotations = spec.audit_annotations.iter().flatten();
    let annotations =
        annotations.map(|one| Expression::compile(one.value_expression.trim(), &names, Returns::TextOrNull));
    Ok(Compiled {
        conditions: conditions.collect::<Result<_, _>>()?,
        variables,
        validations: spec.validations.iter().flatten().map(validation).collect::<Result<_, _>>()?,
        annotations: annotations.collect::<Result<_, _>>()?,
    })
}
