//! One request from its path to its answer.

use std::borrow::Cow;
use std::sync::Arc;

use http::header::{CACHE_CONTROL, HeaderName, HeaderValue, USER_AGENT, WARNING};
use http::{HeaderMap, Method, Request, Response};
use hyper::upgrade::OnUpgrade;
use kprov_schema::decode::Target as Decoding;
use kprov_schema::{Key, Kind, Status, Subresource};
use serde_json::Value;

use super::actions::{self, Call};
use super::authenticate::authenticate;
use super::authorize::{Attributes, authorize};
use super::body::Body;
use super::body_in::{self, Incoming};
use super::core::Core;
use super::documents;
use super::encode::{self, Include, View};
use super::errors;
use super::impersonate::impersonated;
use super::lifecycle;
use super::logs;
use super::media::{Format, Wanted};
use super::owners::Owners;
use super::path::{self, Path, Place};
use super::proxy;
use super::query::{self, Deletion, ListOptions, Query, WriteOptions};
use super::review::{self, Review};
use super::stream;
use super::streaming;
use super::subresource;
use super::target::Target;
use super::user::User;
use super::verbs::Written;
use super::verbs::apply::apply;
use super::verbs::create::create;
use super::verbs::delete::{Deleted, delete};
use super::verbs::deletecollection::delete_collection;
use super::verbs::get::get;
use super::verbs::list::list;
use super::verbs::patch::patch;
use super::verbs::update::update;
use super::verbs::watch::watch;
use crate::client::PatchKind;

const AUDIT_ID: HeaderName = HeaderName::from_static("audit-id");

/// A request without its body.
pub(crate) struct Asked<'a> {
    pub(crate) method: &'a Method,
    pub(crate) path: &'a str,
    pub(crate) headers: &'a HeaderMap,
    pub(crate) query: Query,
    /// The query as it was sent.
    pub(crate) query_text: Option<&'a str>,
    /// The connection, where it may become another.
    pub(crate) upgrade: Option<OnUpgrade>,
}

impl Asked<'_> {
    /// What the client calls itself.
    fn agent(&self) -> &str {
        self.headers.get(USER_AGENT).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }
}

/// Answers a request. `certificate` is the user of the connection's client certificate.
pub(crate) async fn handle(
    core: &Arc<Core>,
    request: Request<impl Incoming>,
    certificate: Option<&User>,
) -> Response<Body> {
    let (parts, body) = request.into_parts();
    let asked = Asked {
        method: &parts.method,
        path: parts.uri.path(),
        headers: &parts.headers,
        query: Query::parse(parts.uri.query().unwrap_or_default()),
        query_text: parts.uri.query(),
        upgrade: parts.extensions.get().cloned(),
    };
    let mut body = std::pin::pin!(body);
    let mut response = match answer(core, &asked, body.as_mut(), certificate).await {
        Ok(response) => response,
        Err(status) => {
            body_in::discard(core, &parts.headers, body, &status).await;
            refused(&asked, &status)
        }
    };
    let given = parts.headers.get(AUDIT_ID).cloned();
    let audit = given.or_else(|| HeaderValue::try_from(core.world.uuid()).ok());
    let headers = response.headers_mut();
    headers.extend(audit.map(|id| (AUDIT_ID, id)));
    headers.entry(CACHE_CONTROL).or_insert(HeaderValue::from_static("no-cache, private"));
    response
}

async fn answer(
    core: &Arc<Core>,
    asked: &Asked<'_>,
    body: impl Incoming,
    certificate: Option<&User>,
) -> Result<Response<Body>, Status> {
    let mut user = authenticate(core, asked.headers, certificate)?;
    if let Some(other) = impersonated(core, &user, asked.headers)? {
        user = Cow::Owned(other);
    }
    let path = path::parse(asked.path);
    let verb = verb(asked, &path);
    let Path::Resource(place) = path else {
        authorize(core, &user, &Attributes::of_path(asked.path, verb))?;
        return documents::answer(core, asked, &path);
    };
    let mut wanted = Attributes { verb: verb.into(), place, ..Attributes::default() };
    wanted.select(asked.query.get("fieldSelector").unwrap_or_default());
    authorize(core, &user, &wanted)?;
    let place = wanted.place;
    if let Some(review) = review::find(&place) {
        return reviewed(core, asked, body, &user, &place, review).await;
    }
    let target = target(core, &place)?;
    let advice: Vec<String> = target.kind.deprecated.iter().map(ToString::to_string).collect();
    match dispatched(core, asked, body, &user, &place, target).await {
        Err(status) if !advice.is_empty() && !is_unreached(&status) => Ok(refused(asked, &status.advised(&advice))),
        Err(status) => Err(status),
        Ok(response) => Ok(warned_first(response, &advice)),
    }
}

/// A question that is answered and not kept.
async fn reviewed(
    core: &Arc<Core>,
    asked: &Asked<'_>,
    body: impl Incoming,
    user: &User,
    place: &Place,
    review: &Review,
) -> Result<Response<Body>, Status> {
    if *asked.method != Method::POST {
        return Err(errors::method_not_allowed());
    }
    let wanted = Wanted::read(asked.headers, &asked.query, true)?;
    let media = body_in::media(asked.headers)?;
    let body = body_in::read(core, body).await?;
    let options = WriteOptions::read(&asked.query, asked.agent(), "CreateOptions")?;
    let decoded = body_in::decode(&review.decoding()?, &body, media, options.validation)?;
    let answer = review.answer(core, user, &place.namespace, decoded.object, &options)?;
    Ok(warned(encode::value(201, &answer, wanted), &decoded.warnings))
}

/// Whether the request did not get as far as the kind: it has no such method, or no such patch.
fn is_unreached(status: &Status) -> bool {
    status.is_method_not_allowed() || status.code == 415
}

/// What a request for a kind asks for.
async fn dispatched(
    core: &Arc<Core>,
    asked: &Asked<'_>,
    body: impl Incoming,
    user: &User,
    place: &Place,
    target: Target,
) -> Result<Response<Body>, Status> {
    if !place.subresource.is_empty() {
        return part(core, asked, body, user, place, &target).await;
    }
    match (asked.method.as_str(), target.key.name.is_empty() || place.watch) {
        ("GET", false) => read(core, asked, &target).await,
        ("GET", true) => collection(core, asked, place, target).await,
        ("POST", true) if may_hold(&target) => made(core, asked, body, user, &target).await,
        ("PUT", false) => replaced(core, asked, body, user, &target).await,
        ("PATCH", false) => patched(core, asked, body, user, &target).await,
        ("DELETE", false) => deleted(core, asked, body, user, &target).await,
        ("DELETE", true) if may_hold(&target) => cleared(core, asked, body, user, &target).await,
        _ => Err(errors::method_not_allowed()),
    }
}

/// The verb that a request is authorized as.
fn verb(asked: &Asked<'_>, path: &Path) -> &'static str {
    let place = match path {
        Path::Resource(place) => place,
        _ => {
            return match *asked.method {
                Method::GET => "get",
                Method::POST => "post",
                Method::PUT => "put",
                Method::PATCH => "patch",
                Method::DELETE => "delete",
                _ => "other",
            };
        }
    };
    match (asked.method.as_str(), place.name.is_empty()) {
        ("GET", false) if !place.watch => "get",
        ("GET", _) if place.watch || asked.query.flag("watch") => "watch",
        ("GET", _) => "list",
        ("POST", _) => "create",
        ("PUT", _) => "update",
        ("PATCH", _) => "patch",
        ("DELETE", true) => "deletecollection",
        ("DELETE", false) => "delete",
        _ => "other",
    }
}

/// What a path is about; 404 when it names nothing that is served.
fn target(core: &Core, place: &Place) -> Result<Target, Status> {
    let registry = core.registry();
    let kind = registry.find(&place.group, &place.version, &place.plural).ok_or_else(errors::no_such_path)?;
    let named = !place.name.is_empty();
    let scoped = !place.namespace.is_empty();
    // A namespaced object is found in its namespace alone, another one in none.
    let fits = if kind.is_namespaced() { scoped || !named } else { !scoped };
    let part = match place.subresource.as_str() {
        "" => None,
        name => Some(
            Subresource::parse(name).filter(|part| subresource::has(kind, *part)).ok_or_else(errors::no_such_path)?,
        ),
    };
    // What is behind a proxy is a path of its own.
    if !fits || !(place.rest.is_empty() || part == Some(Subresource::Proxy)) {
        return Err(errors::no_such_path());
    }
    Ok(Target { kind: kind.clone(), key: Key::new(place.namespace.as_str(), place.name.as_str()), part })
}

/// Whether objects can be created in, or cleared from, the collection: not in all namespaces at once.
fn may_hold(target: &Target) -> bool {
    !target.kind.is_namespaced() || !target.key.namespace.is_empty()
}

fn view<'a>(core: &Core, asked: &Asked<'_>, kind: &'a Kind) -> Result<View<'a>, Status> {
    let wanted = Wanted::read(asked.headers, &asked.query, true)?;
    let include = Include::read(asked.query.get("includeObject"))?;
    Ok(View { kind, wanted, include, now: core.world.clock.now() })
}

/// A failure as an answer.
fn refused(asked: &Asked<'_>, status: &Status) -> Response<Body> {
    warned(encode::status(status, Wanted::plain(asked.headers, &asked.query)), status.warnings())
}

fn warned(mut response: Response<Body>, warnings: &[String]) -> Response<Body> {
    for warning in warnings {
        let quoted = warning.replace('\\', "\\\\").replace('"', "\\\"");
        if let Ok(value) = HeaderValue::try_from(format!("299 - \"{quoted}\"")) {
            response.headers_mut().append(WARNING, value);
        }
    }
    response
}

/// The same with advice that comes before what is there.
fn warned_first(mut response: Response<Body>, advice: &[String]) -> Response<Body> {
    if advice.is_empty() {
        return response;
    }
    let later: Vec<HeaderValue> = response.headers().get_all(WARNING).iter().cloned().collect();
    response.headers_mut().remove(WARNING);
    let mut response = warned(response, advice);
    for value in later {
        response.headers_mut().append(WARNING, value);
    }
    response
}

fn written(view: &View<'_>, code: u16, written: &Written) -> Response<Body> {
    warned(view.outcome(code, &written.outcome), &written.warnings)
}

async fn read(core: &Arc<Core>, asked: &Asked<'_>, target: &Target) -> Result<Response<Body>, Status> {
    let view = view(core, asked, &target.kind)?;
    let at_least = query::revision(asked.query.get("resourceVersion").unwrap_or_default())?;
    let stored = get(core, target, at_least.filter(|revision| revision.0 > 0)).await?;
    Ok(core.aside.run(stored.weight(), async { view.stored(200, &stored) }).await)
}

async fn collection(
    core: &Arc<Core>,
    asked: &Asked<'_>,
    place: &Place,
    mut target: Target,
) -> Result<Response<Body>, Status> {
    let mut options = ListOptions::read(&asked.query, place.watch)?;
    if !target.key.name.is_empty() {
        // The old form of watching one object.
        options.fields = format!("metadata.name={}", target.key.name);
        target.key.name.clear();
    }
    let view = view(core, asked, &target.kind)?;
    if !options.watch {
        let listing = list(core, &target, &options).await?;
        let weight = listing.items.iter().map(|stored| stored.weight()).sum();
        return Ok(core.aside.run(weight, async { view.list(&listing) }).await);
    }
    if view.wanted.format == Format::Yaml {
        return Err(errors::not_acceptable());
    }
    let told = watch(core, &target, &options)?;
    let lines = stream::lines(core.clone(), target.kind.clone(), view.wanted, view.include, told);
    let mut response = Response::new(Body::stream(lines));
    response.headers_mut().insert(http::header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Ok(response)
}

/// How heavy a body of a kind is, in bytes of one that no rules of a definition are asked about.
fn weight(kind: &Kind, body: &[u8]) -> usize {
    const RULES: usize = 16;
    if kind.is_custom() { body.len().saturating_mul(RULES) } else { body.len() }
}

async fn made(
    core: &Arc<Core>,
    asked: &Asked<'_>,
    body: impl Incoming,
    user: &User,
    target: &Target,
) -> Result<Response<Body>, Status> {
    let view = view(core, asked, &target.kind)?;
    let media = body_in::media(asked.headers)?;
    let body = body_in::read(core, body).await?;
    let options = WriteOptions::read(&asked.query, asked.agent(), "CreateOptions")?;
    let creating = async {
        let decoded = body_in::decode(&Decoding::of(&target.kind), &body, media, options.validation)?;
        let done = create(core, user, target, decoded.object, &options, Owners::Changed).await;
        let mut done = done.map_err(|status| status.advised(&decoded.warnings))?;
        done.warnings.splice(0..0, decoded.warnings);
        Ok(written(&view, 201, &done))
    };
    core.aside.run(weight(&target.kind, &body), creating).await
}

async fn replaced(
    core: &Arc<Core>,
    asked: &Asked<'_>,
    body: impl Incoming,
    user: &User,
    target: &Target,
) -> Result<Response<Body>, Status> {
    let view = view(core, asked, &target.kind)?;
    let media = body_in::media(asked.headers)?;
    let body = body_in::read(core, body).await?;
    let options = WriteOptions::read(&asked.query, asked.agent(), "UpdateOptions")?;
    let updating = async {
        let decoded = body_in::decode(&subresource::decoding(target)?, &body, media, options.validation)?;
        let done = update(core, user, target, decoded.object, &options).await;
        let mut done = done.map_err(|status| status.advised(&decoded.warnings))?;
        done.warnings.splice(0..0, decoded.warnings);
        Ok(shown(&view, target, 200, &done))
    };
    core.aside.run(weight(&target.kind, &body), updating).await
}

/// What a write left behind, as the part that it went through shows it.
fn shown(view: &View<'_>, target: &Target, code: u16, done: &Written) -> Response<Body> {
    match target.part.map(subresource::part) {
        Some(Ok(part)) if part.speaks.is_some() => {
            let object = (part.show)(&target.kind, done.outcome.object());
            let response = encode::value(code, &Value::from(object), view.wanted);
            warned(response, &done.warnings)
        }
        _ => written(view, code, done),
    }
}

/// The types of patches.
const PATCHES: &[(&str, Option<PatchKind>)] = &[
    ("application/json-patch+json", Some(PatchKind::Json)),
    ("application/merge-patch+json", Some(PatchKind::Merge)),
    ("application/strategic-merge-patch+json", Some(PatchKind::Strategic)),
    ("application/apply-patch+yaml", None),
];

async fn patched(
    core: &Arc<Core>,
    asked: &Asked<'_>,
    body: impl Incoming,
    user: &User,
    target: &Target,
) -> Result<Response<Body>, Status> {
    let media = body_in::media_type(asked.headers);
    // Lists of custom resources have no merge keys of the strategic sort.
    let custom = target.kind.is_custom();
    let fits = |how: &Option<PatchKind>| !custom || *how != Some(PatchKind::Strategic);
    let Some((_, how)) = PATCHES.iter().find(|(name, how)| *name == media && fits(how)) else {
        if !custom {
            return Err(errors::unsupported_patch());
        }
        // Only of custom resources does upstream look for the object first.
        get(core, target, None).await?;
        let names: Vec<&str> = PATCHES.iter().filter(|(_, how)| fits(how)).map(|(name, _)| *name).collect();
        return Err(errors::unknown_format(&names));
    };
    let view = view(core, asked, &target.kind)?;
    let body = body_in::read(core, body).await?;
    let options = WriteOptions::read_patch(&asked.query, asked.agent(), *how)?;
    let patching = async {
        let Some(how) = how else {
            let (done, made) = apply(core, user, target, &body, &options).await?;
            return Ok(shown(&view, target, if made { 201 } else { 200 }, &done));
        };
        let done = patch(core, user, target, *how, &body, &options).await?;
        Ok(shown(&view, target, 200, &done))
    };
    // A small patch of a large object takes as long as the object does.
    let there = core.store.get(&target.place()).map_or(0, |stored| stored.weight());
    core.aside.run(weight(&target.kind, &body).max(there), patching).await
}

async fn deletion(core: &Core, asked: &Asked<'_>, body: impl Incoming) -> Result<Deletion, Status> {
    let body = body_in::read(core, body).await?;
    let options = body_in::delete_options(&body, asked.headers)?;
    Deletion::read(&asked.query, options.as_ref())
}

async fn deleted(
    core: &Arc<Core>,
    asked: &Asked<'_>,
    body: impl Incoming,
    user: &User,
    target: &Target,
) -> Result<Response<Body>, Status> {
    let view = view(core, asked, &target.kind)?;
    let deletion = deletion(core, asked, body).await?;
    let mut advice = lifecycle::advice(&target.kind, &deletion.options);
    let done = delete(core, user, target, &deletion, &mut advice).await.map_err(|status| status.advised(&advice))?;
    let response = match done {
        Deleted::Stays(object) => view.object(200, &object),
        Deleted::Gone(object) if lifecycle::of(&target.kind).returns_object => view.object(200, &object),
        Deleted::Gone(object) => {
            let success = errors::success(None, Some(lifecycle::gone(&target.kind, &object)));
            encode::value(200, &success, view.wanted)
        }
    };
    Ok(warned(response, &advice))
}

async fn cleared(
    core: &Arc<Core>,
    asked: &Asked<'_>,
    body: impl Incoming,
    user: &User,
    target: &Target,
) -> Result<Response<Body>, Status> {
    let view = view(core, asked, &target.kind)?;
    let options = ListOptions::read(&asked.query, false)?;
    let deletion = deletion(core, asked, body).await?;
    let done = delete_collection(core, user, target, &options, &deletion).await?;
    let meta = encode::list_meta(&target.kind, done.revision, None, None);
    Ok(warned(view.objects(done.items.iter(), meta), &done.warnings))
}

/// A request for a part of an object.
async fn part(
    core: &Arc<Core>,
    asked: &Asked<'_>,
    body: impl Incoming,
    user: &User,
    place: &Place,
    target: &Target,
) -> Result<Response<Body>, Status> {
    let Some(named) = target.part else { return Err(errors::no_such_path()) };
    if named == Subresource::Proxy {
        return proxy::proxied(core, asked, body, target).await;
    }
    if let Some(streams) = streaming::find(named) {
        if !matches!(*asked.method, Method::GET | Method::POST) {
            return Err(errors::method_not_allowed());
        }
        return streaming::connect(streaming::Request { core, asked, user, place, target }, streams).await;
    }
    match (asked.method.as_str(), named) {
        ("GET", Subresource::Log) => logs::logs(core, target, &asked.query).await,
        ("POST", _) => acted(core, asked, body, user, target, named).await,
        ("GET", _) => {
            let part = subresource::part(named)?;
            if !part.readable {
                return Err(errors::method_not_allowed());
            }
            let stored = get(core, target, None).await?;
            let view = view(core, asked, &target.kind)?;
            if part.speaks.is_none() {
                return Ok(view.stored(200, &stored));
            }
            Ok(encode::value(200, &Value::from((part.show)(&target.kind, &stored.object)), view.wanted))
        }
        ("PUT", _) => {
            subresource::part(named)?;
            replaced(core, asked, body, user, target).await
        }
        ("PATCH", _) if subresource::part(named)?.patchable => patched(core, asked, body, user, target).await,
        _ => Err(errors::method_not_allowed()),
    }
}

async fn acted(
    core: &Arc<Core>,
    asked: &Asked<'_>,
    body: impl Incoming,
    user: &User,
    target: &Target,
    named: Subresource,
) -> Result<Response<Body>, Status> {
    let action = actions::action(named)?;
    let wanted = Wanted::read(asked.headers, &asked.query, true)?;
    let media = body_in::media(asked.headers)?;
    let body = body_in::read(core, body).await?;
    let options = WriteOptions::read(&asked.query, asked.agent(), "CreateOptions")?;
    let decoded = body_in::decode(&action.decoding()?, &body, media, options.validation)?;
    let call = Call { core, user, target, body: decoded.object, options: &options };
    let mut advice = decoded.warnings;
    let done = action.act(call, &mut advice).await.map_err(|status| status.advised(&advice))?;
    Ok(warned(encode::value(201, &done, wanted), &advice))
}
