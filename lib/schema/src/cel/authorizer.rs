//! `authorizer`: expressions that ask whether somebody may do something.
//!
//! Source: apiserver `cel/library/authz.go`.

use std::collections::HashMap;
use std::sync::Arc;

use kube_cel::cel::extractors::This;
use kube_cel::cel::objects::{Key, Map, Opaque};
use kube_cel::cel::{Context, ExecutionError, ResolveResult, Value as Cel};

/// What an expression asks about.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// Namespace and name of the service account that is asked about, in place of who makes the request.
    pub account: Option<(String, String)>,
    /// A path that is no resource.
    pub path: Option<String>,
    /// Group of the resource.
    pub group: String,
    /// Plural name of the resource.
    pub resource: String,
    /// Part of the object.
    pub subresource: String,
    /// Namespace of the object.
    pub namespace: String,
    /// Name of the object.
    pub name: String,
    /// What is to be done with it, such as `create`.
    pub verb: String,
}

/// Who knows who may do what.
pub trait Authorizer: Send + Sync {
    /// Why it is allowed, in words that may be empty; `None` when it is not.
    fn allows(&self, wanted: &Wanted) -> Option<String>;
}

/// A question that is not complete yet.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Question {
    /// About somebody.
    Who(Wanted),
    /// About a group of resources.
    Group(Wanted),
    /// About a resource or a path: it can be asked.
    What(Wanted),
}

impl Opaque for Question {
    fn runtime_type_name(&self) -> &str {
        match self {
            Self::Who(_) => "kubernetes.authorization.Authorizer",
            Self::Group(_) => "kubernetes.authorization.GroupCheck",
            Self::What(_) => "kubernetes.authorization.ResourceCheck",
        }
    }
}

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Decision(Option<String>);

impl Opaque for Decision {
    fn runtime_type_name(&self) -> &str {
        "kubernetes.authorization.Decision"
    }
}

/// The name of the field that holds the question about the request itself.
const REQUEST: &str = "requestResource";

/// Lets expressions ask; `request` is what the request itself is about.
pub(super) fn register(context: &mut Context<'_>, authorizer: Arc<dyn Authorizer>, request: Wanted) {
    let fields = HashMap::from([(Key::String(Arc::new(REQUEST.to_owned())), asking(Question::What(request)))]);
    context.add_variable_from_value("authorizer", Cel::Map(Map { map: Arc::new(fields) }));
    context.add_function("serviceAccount", |This(this): This<Cel>, namespace: Arc<String>, name: Arc<String>| {
        let account = Some((namespace.to_string(), name.to_string()));
        who(&this).map(|wanted| asking(Question::Who(Wanted { account, ..wanted })))
    });
    context.add_function("path", |This(this): This<Cel>, path: Arc<String>| {
        who(&this).map(|wanted| asking(Question::What(Wanted { path: Some(path.to_string()), ..wanted })))
    });
    context.add_function("group", |This(this): This<Cel>, group: Arc<String>| {
        who(&this).map(|wanted| asking(Question::Group(Wanted { group: group.to_string(), ..wanted })))
    });
    context.add_function("resource", |This(this): This<Cel>, resource: Arc<String>| match question(&this) {
        Some(Question::Group(wanted)) => {
            Ok(asking(Question::What(Wanted { resource: resource.to_string(), ..wanted.clone() })))
        }
        _ => Err(ExecutionError::NoSuchOverload),
    });
    narrowing(context, "subresource", |wanted, text| wanted.subresource = text);
    narrowing(context, "namespace", |wanted, text| wanted.namespace = text);
    narrowing(context, "name", |wanted, text| wanted.name = text);
    context.add_function("check", move |This(this): This<Cel>, verb: Arc<String>| -> ResolveResult {
        let wanted = Wanted { verb: verb.to_string(), ..what(&this)? };
        Ok(Cel::Opaque(Arc::new(Decision(authorizer.allows(&wanted)))))
    });
    context.add_function("allowed", |This(this): This<Cel>| decision(&this).map(|why| Cel::Bool(why.is_some())));
    context.add_function("reason", |This(this): This<Cel>| {
        decision(&this).map(|why| Cel::String(Arc::new(why.unwrap_or_default())))
    });
    // Roles that can't be read allow nothing: there is no third answer.
    context.add_function("errored", |This(this): This<Cel>| decision(&this).map(|_| Cel::Bool(false)));
    context.add_function("error", |This(this): This<Cel>| decision(&this).map(|_| Cel::String(Arc::default())));
}

fn narrowing(context: &mut Context<'_>, name: &str, set: fn(&mut Wanted, String)) {
    context.add_function(name, move |This(this): This<Cel>, text: Arc<String>| -> ResolveResult {
        let mut wanted = what(&this)?;
        set(&mut wanted, text.to_string());
        Ok(asking(Question::What(wanted)))
    });
}

fn asking(question: Question) -> Cel {
    Cel::Opaque(Arc::new(question))
}

fn question(value: &Cel) -> Option<&Question> {
    match value {
        Cel::Opaque(opaque) => opaque.downcast_ref(),
        _ => None,
    }
}

/// The question of `authorizer` itself, or of a service account.
fn who(value: &Cel) -> Result<Wanted, ExecutionError> {
    let is_itself = matches!(value, Cel::Map(map) if map.map.contains_key(&Key::String(Arc::new(REQUEST.to_owned()))));
    match question(value) {
        Some(Question::Who(wanted)) => Ok(wanted.clone()),
        _ if is_itself => Ok(Wanted::default()),
        _ => Err(ExecutionError::NoSuchOverload),
    }
}

fn what(value: &Cel) -> Result<Wanted, ExecutionError> {
    match question(value) {
        Some(Question::What(wanted)) => Ok(wanted.clone()),
        _ => Err(ExecutionError::NoSuchOverload),
    }
}

fn decision(value: &Cel) -> Result<Option<String>, ExecutionError> {
    let Cel::Opaque(opaque) = value else { return Err(ExecutionError::NoSuchOverload) };
    opaque.downcast_ref::<Decision>().map(|Decision(why)| why.clone()).ok_or(ExecutionError::NoSuchOverload)
}
