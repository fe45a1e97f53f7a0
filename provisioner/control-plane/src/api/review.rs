//! Questions that are posted and answered on the spot: who am I, may somebody do this, whose token is that.

use k8s_openapi::api::rbac::v1::PolicyRule;
use kprov_schema::decode::Target as Decoding;
use kprov_schema::{FieldError, Object, Status};
use serde_json::{Map, Value, json};

use super::authorize::{self, Attributes};
use super::core::Core;
use super::errors;
use super::owners;
use super::path::Place;
use super::query::WriteOptions;
use super::user::User;

/// A kind of question.
pub(crate) struct Review {
    /// Group, version and kind.
    pub(crate) kind: (&'static str, &'static str, &'static str),
    plural: &'static str,
    namespaced: bool,
    /// The question with its answer.
    run: fn(&Call<'_>) -> Result<Value, Status>,
}

/// Who asks what.
struct Call<'a> {
    core: &'a Core,
    user: &'a User,
    /// The namespace of the path.
    namespace: &'a str,
    question: &'a Object,
}

const ACCESS: &str = "authorization.k8s.io";
const IDENTITY: &str = "authentication.k8s.io";

/// Every kind of question.
pub(crate) const REVIEWS: &[Review] = &[
    Review {
        kind: (IDENTITY, "v1", "SelfSubjectReview"),
        plural: "selfsubjectreviews",
        namespaced: false,
        run: |call| Ok(json!({"userInfo": shown(call.user)})),
    },
    Review { kind: (IDENTITY, "v1", "TokenReview"), plural: "tokenreviews", namespaced: false, run: token },
    Review {
        kind: (ACCESS, "v1", "LocalSubjectAccessReview"),
        plural: "localsubjectaccessreviews",
        namespaced: true,
        run: local,
    },
    Review {
        kind: (ACCESS, "v1", "SelfSubjectAccessReview"),
        plural: "selfsubjectaccessreviews",
        namespaced: false,
        run: own,
    },
    Review {
        kind: (ACCESS, "v1", "SelfSubjectRulesReview"),
        plural: "selfsubjectrulesreviews",
        namespaced: false,
        run: own_rules,
    },
    Review {
        kind: (ACCESS, "v1", "SubjectAccessReview"),
        plural: "subjectaccessreviews",
        namespaced: false,
        run: access,
    },
];

/// The kind of question that a path is for.
pub(crate) fn find(place: &Place) -> Option<&'static Review> {
    let fits = |review: &&Review| {
        let (group, version, _) = review.kind;
        (group, version, review.plural) == (place.group.as_str(), place.version.as_str(), place.plural.as_str())
            && review.namespaced != place.namespace.is_empty()
            && place.name.is_empty()
    };
    REVIEWS.iter().find(fits)
}

impl Review {
    /// How its body is decoded.
    pub(crate) fn decoding(&self) -> Result<Decoding, Status> {
        let (group, version, kind) = self.kind;
        Decoding::published(group, version, kind).ok_or_else(|| errors::internal(format!("{kind} is not published")))
    }

    /// Answers a question.
    pub(crate) fn answer(
        &self,
        core: &Core,
        user: &User,
        namespace: &str,
        mut question: Object,
        options: &WriteOptions,
    ) -> Result<Value, Status> {
        let (group, version, kind) = self.kind;
        let mut managers = None;
        if let Some(structure) = kprov_schema::structure::schema().structure(group, version, kind) {
            kprov_schema::canonical::structured(&structure, question.map_mut());
            managers = owners::of_question(core, options, structure, &format!("{group}/{version}"), &question);
        }
        let status = (self.run)(&Call { core, user, namespace, question: &question })?;
        let mut answer = Map::new();
        answer.insert("kind".to_owned(), kind.into());
        answer.insert("apiVersion".to_owned(), format!("{group}/{version}").into());
        let mut metadata = question.at(&["metadata"]).cloned().unwrap_or_else(|| json!({}));
        if kind == "SelfSubjectReview" {
            metadata = json!({"creationTimestamp": errors::seconds(core.world.clock.now())});
        } else if let Some(managers) = managers {
            metadata["managedFields"] = managers;
        }
        answer.insert("metadata".to_owned(), metadata);
        if let Some(spec) = question.at(&["spec"]) {
            answer.insert("spec".to_owned(), spec.clone());
        }
        answer.insert("status".to_owned(), status);
        Ok(answer.into())
    }
}

fn invalid(errors: &[FieldError]) -> Status {
    errors::invalid_as(ACCESS, "", "", errors)
}

/// A user as answers show one.
fn shown(user: &User) -> Value {
    let mut info = Map::new();
    info.insert("username".to_owned(), user.name.as_str().into());
    if !user.uid.is_empty() {
        info.insert("uid".to_owned(), user.uid.as_str().into());
    }
    if !user.groups.is_empty() {
        info.insert("groups".to_owned(), json!(user.groups));
    }
    let mut extra: Map<String, Value> = Map::new();
    for (key, value) in &user.extra {
        let values = extra.entry(key.clone()).or_insert_with(|| json!([]));
        if let Value::Array(values) = values {
            values.push(value.as_str().into());
        }
    }
    if !extra.is_empty() {
        info.insert("extra".to_owned(), extra.into());
    }
    info.into()
}

fn texts(object: &Object, path: &[&str]) -> Vec<String> {
    let items = object.at(path).and_then(Value::as_array).into_iter().flatten();
    items.filter_map(Value::as_str).map(str::to_owned).collect()
}

fn token(call: &Call<'_>) -> Result<Value, Status> {
    let token = call.question.text(&["spec", "token"]).unwrap_or_default();
    if token.is_empty() {
        return Err(errors::bad_request("token is required for TokenReview in authentication"));
    }
    let mut audiences = texts(call.question, &["spec", "audiences"]);
    if audiences.is_empty() {
        audiences.push(call.core.tokens.audience().to_owned());
    }
    let now = call.core.world.clock.now().as_second();
    Ok(match call.core.tokens.verify_for(token, now, &call.core.store, &audiences) {
        Some((user, audiences)) => json!({"authenticated": true, "user": shown(&user), "audiences": audiences}),
        None => json!({"user": {}, "error": "invalid bearer token"}),
    })
}

/// What a question about access is about.
fn wanted(question: &Object) -> Result<Attributes, FieldError> {
    let spec = |part: &str| question.at(&["spec", part]).filter(|value| !value.is_null());
    let text = |value: &Value, field: &str| value[field].as_str().unwrap_or_default().to_owned();
    match (spec("resourceAttributes"), spec("nonResourceAttributes")) {
        (Some(_), Some(path)) => {
            let why = "cannot be specified in combination with resourceAttributes";
            Err(FieldError::invalid("spec.nonResourceAttributes", path, why))
        }
        (None, None) => {
            let why = "exactly one of nonResourceAttributes or resourceAttributes must be specified";
            Err(FieldError::invalid("spec.resourceAttributes", &Value::Null, why))
        }
        (None, Some(path)) => {
            Ok(Attributes { verb: text(path, "verb").into(), path: text(path, "path"), ..Attributes::default() })
        }
        (Some(resource), None) => {
            let place = Place {
                group: text(resource, "group"),
                version: text(resource, "version"),
                namespace: text(resource, "namespace"),
                plural: text(resource, "resource"),
                name: text(resource, "name"),
                subresource: text(resource, "subresource"),
                ..Place::default()
            };
            Ok(Attributes { verb: text(resource, "verb").into(), place, resource: true, ..Attributes::default() })
        }
    }
}

/// The user that a question names.
fn subject(question: &Object) -> User {
    User {
        name: question.text(&["spec", "user"]).unwrap_or_default().to_owned(),
        uid: question.text(&["spec", "uid"]).unwrap_or_default().to_owned(),
        groups: texts(question, &["spec", "groups"]),
        extra: Vec::new(),
    }
}

fn judged(core: &Core, user: &User, wanted: &Attributes) -> Value {
    match authorize::decide(core, user, wanted) {
        None => json!({"allowed": false}),
        Some(reason) if reason.is_empty() => json!({"allowed": true}),
        Some(reason) => json!({"allowed": true, "reason": reason}),
    }
}

fn own(call: &Call<'_>) -> Result<Value, Status> {
    let wanted = wanted(call.question).map_err(|error| invalid(&[error]))?;
    Ok(judged(call.core, call.user, &wanted))
}

fn access(call: &Call<'_>) -> Result<Value, Status> {
    let (wanted, mut wrong) = match wanted(call.question) {
        Ok(wanted) => (wanted, Vec::new()),
        Err(error) => (Attributes::default(), vec![error]),
    };
    let user = subject(call.question);
    if user.name.is_empty() && user.groups.is_empty() {
        wrong.push(FieldError::invalid_text("spec.user", "", "at least one of user or group must be specified"));
    }
    if !wrong.is_empty() {
        return Err(invalid(&wrong));
    }
    Ok(judged(call.core, &user, &wanted))
}

fn local(call: &Call<'_>) -> Result<Value, Status> {
    let of = call.question.text(&["spec", "resourceAttributes", "namespace"]).unwrap_or_default();
    if call.question.at(&["spec", "nonResourceAttributes"]).is_some_and(|value| !value.is_null()) {
        let shown = call.question.at(&["spec", "nonResourceAttributes"]).cloned().unwrap_or_default();
        let why = "disallowed on this kind of request";
        return Err(invalid(&[FieldError::invalid("spec.nonResourceAttributes", &shown, why)]));
    }
    if of != call.namespace {
        let why = format!("spec.resourceAttributes.namespace must match namespace: {}", call.namespace);
        return Err(errors::bad_request(why));
    }
    access(call)
}

fn own_rules(call: &Call<'_>) -> Result<Value, Status> {
    let namespace = call.question.text(&["spec", "namespace"]).unwrap_or_default();
    if namespace.is_empty() {
        return Err(errors::bad_request("no namespace on request"));
    }
    let view = call.core.roles.view(&call.core.store).map_err(errors::unreadable)?;
    let filled = |all: &Option<Vec<String>>| all.as_ref().is_some_and(|all| !all.is_empty());
    let rules: Vec<&PolicyRule> = view.rules(call.user, namespace).collect();
    let on_resources: Vec<Value> =
        rules.iter().filter(|rule| filled(&rule.resources)).map(|rule| json!(rule)).collect();
    let on_paths: Vec<Value> =
        rules.iter().filter(|rule| filled(&rule.non_resource_urls)).map(|rule| json!(rule)).collect();
    let mut status = json!({"resourceRules": on_resources, "nonResourceRules": on_paths, "incomplete": false});
    if call.user.node_name().is_some() {
        status["incomplete"] = true.into();
        status["evaluationError"] = "node authorizer does not support user rule resolution".into();
    }
    Ok(status)
}
