//! Query parameters, read into options with upstream's complaints about them.

use std::borrow::Cow;

use kprov_schema::status::FieldErrorKind;
use kprov_schema::{FieldError, Revision, Status};
use serde_json::{Value, json};

use super::errors;
use super::path;
use crate::client::{DeleteOptions, PatchKind, Preconditions, Propagation};

/// The parameters of a request, in their order.
#[derive(Clone, Debug, Default)]
pub(crate) struct Query(Vec<(String, String)>);

impl Query {
    /// Reads the part of a URL behind the question mark.
    pub(crate) fn parse(text: &str) -> Self {
        let plain = |text: &str| -> String {
            let spaced: Cow<'_, str> = if text.contains('+') { text.replace('+', " ").into() } else { text.into() };
            path::decode(&spaced).into_owned()
        };
        let pair = |part: &str| {
            let (key, value) = part.split_once('=').unwrap_or((part, ""));
            (plain(key), plain(value))
        };
        Self(text.split('&').filter(|part| !part.is_empty()).map(pair).collect())
    }

    /// The first value of a parameter.
    pub(crate) fn get(&self, key: &str) -> Option<&str> {
        self.0.iter().find(|(one, _)| one == key).map(|(_, value)| value.as_str())
    }

    /// All values of a parameter.
    pub(crate) fn all(&self, key: &str) -> impl Iterator<Item = &str> {
        self.0.iter().filter(move |(one, _)| one == key).map(|(_, value)| value.as_str())
    }

    /// A flag: anything but `false` and `0` turns it on.
    pub(crate) fn flag(&self, key: &str) -> bool {
        self.maybe_flag(key).unwrap_or_default()
    }

    /// A flag that may be left out.
    pub(crate) fn maybe_flag(&self, key: &str) -> Option<bool> {
        self.get(key).map(|value| !value.eq_ignore_ascii_case("false") && value != "0")
    }

    /// A whole number.
    pub(crate) fn number(&self, key: &str) -> Result<Option<i64>, Status> {
        let Some(text) = self.get(key) else { return Ok(None) };
        if text.is_empty() {
            return Ok(None);
        }
        text.parse().map(Some).map_err(|_| {
            errors::bad_request(format!("strconv.ParseInt: parsing {}: invalid syntax", Value::from(text)))
        })
    }

    /// Whether the answer shall be indented.
    pub(crate) fn pretty(&self) -> Option<bool> {
        self.maybe_flag("pretty")
    }
}

/// How unknown or repeated fields are taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum FieldValidation {
    /// They are dropped.
    Ignore,
    /// They are dropped, and the answer says so.
    #[default]
    Warn,
    /// They are an error.
    Strict,
}

/// Options of creating, updating and patching.
#[derive(Clone, Debug, Default)]
pub(crate) struct WriteOptions {
    /// Everything but the write itself.
    pub(crate) dry_run: bool,
    /// How unknown fields are taken.
    pub(crate) validation: FieldValidation,
    /// Who becomes the owner of what is written.
    pub(crate) manager: String,
    /// Whether an apply takes fields from other owners.
    pub(crate) force: bool,
}

/// The longest name of a manager, in bytes.
const MANAGER_MAX: usize = 128;

/// The manager that a request names, or the first part of its user agent.
fn manager(query: &Query, agent: &str) -> String {
    if let Some(named) = query.get("fieldManager").filter(|named| !named.is_empty()) {
        return named.to_owned();
    }
    let mut manager = String::new();
    for one in agent.split('/').next().unwrap_or_default().chars().filter(|one| !one.is_control()) {
        if manager.len() + one.len_utf8() > MANAGER_MAX {
            break;
        }
        manager.push(one);
    }
    manager
}

fn dry_run(query: &Query, errors: &mut Vec<FieldError>) -> bool {
    let values: Vec<&str> = query.all("dryRun").filter(|value| !value.is_empty()).collect();
    if values.iter().any(|value| *value != "All") {
        errors.push(FieldError::not_supported("dryRun", &json!(values), &["All"]));
    }
    !values.is_empty()
}

fn field_manager(query: &Query, errors: &mut Vec<FieldError>) {
    let Some(manager) = query.get("fieldManager") else { return };
    if manager.len() > MANAGER_MAX {
        let detail = "may not be more than 128 bytes";
        errors.push(FieldError::new(FieldErrorKind::TooLong, "fieldManager", detail));
    }
    if let Some((at, bad)) = manager.chars().enumerate().find(|(_, one)| one.is_control()) {
        let shown = format!("\"{}\"", manager.escape_default().to_string().replace("\\u{0}", "\\x00"));
        let detail = format!("{shown}: invalid character U+{:04X} (at position {at})", u32::from(bad));
        errors.push(FieldError::new(FieldErrorKind::Invalid, "fieldManager", detail));
    }
}

fn field_validation(query: &Query, errors: &mut Vec<FieldError>) -> FieldValidation {
    match query.get("fieldValidation") {
        None | Some("" | "Warn") => FieldValidation::Warn,
        Some("Ignore") => FieldValidation::Ignore,
        Some("Strict") => FieldValidation::Strict,
        Some(other) => {
            let supported = &["", "Ignore", "Strict", "Warn"];
            errors.push(FieldError::not_supported("fieldValidation", &json!(other), supported));
            FieldValidation::Warn
        }
    }
}

fn checked<T>(options: T, kind: &str, errors: &[FieldError]) -> Result<T, Status> {
    if errors.is_empty() { Ok(options) } else { Err(errors::invalid_as("meta.k8s.io", kind, "", errors)) }
}

impl WriteOptions {
    /// Options of a creation or an update; `kind` is `CreateOptions` or `UpdateOptions`.
    pub(crate) fn read(query: &Query, agent: &str, kind: &str) -> Result<Self, Status> {
        let mut errors = Vec::new();
        field_manager(query, &mut errors);
        let dry_run = dry_run(query, &mut errors);
        let validation = field_validation(query, &mut errors);
        checked(Self { dry_run, validation, manager: manager(query, agent), force: false }, kind, &errors)
    }

    /// Options of a patch; `None` is server-side apply.
    pub(crate) fn read_patch(query: &Query, agent: &str, kind: Option<PatchKind>) -> Result<Self, Status> {
        let mut errors = Vec::new();
        if kind.is_some() && query.maybe_flag("force").is_some() {
            errors.push(FieldError::forbidden("force", "may not be specified for non-apply patch"));
        }
        if kind.is_none() && query.get("fieldManager").unwrap_or_default().is_empty() {
            errors.push(FieldError::required("fieldManager", "is required for apply patch"));
        }
        field_manager(query, &mut errors);
        let dry_run = dry_run(query, &mut errors);
        let validation = field_validation(query, &mut errors);
        let force = query.flag("force");
        checked(Self { dry_run, validation, manager: manager(query, agent), force }, "PatchOptions", &errors)
    }
}

/// How to delete, with whether to do it at all.
#[derive(Clone, Debug, Default)]
pub(crate) struct Deletion {
    /// The options as a client in process gives them.
    pub(crate) options: DeleteOptions,
    /// Everything but the write itself.
    pub(crate) dry_run: bool,
}

impl Deletion {
    /// Options from the query, or from a body of kind `DeleteOptions`, which then counts alone.
    pub(crate) fn read(query: &Query, body: Option<&Value>) -> Result<Self, Status> {
        let from_query = || -> Result<Value, Status> {
            let mut value = json!({});
            if let Some(seconds) = query.number("gracePeriodSeconds")? {
                value["gracePeriodSeconds"] = seconds.into();
            }
            if let Some(policy) = query.get("propagationPolicy") {
                value["propagationPolicy"] = policy.into();
            }
            if let Some(orphan) = query.maybe_flag("orphanDependents") {
                value["orphanDependents"] = orphan.into();
            }
            value["dryRun"] = query.all("dryRun").collect();
            Ok(value)
        };
        match body {
            Some(body) => Self::of(body),
            None => Self::of(&from_query()?),
        }
    }

    fn of(value: &Value) -> Result<Self, Status> {
        let mut errors = Vec::new();
        let policy = value["propagationPolicy"].as_str();
        let orphan = value["orphanDependents"].as_bool();
        if let (Some(policy), Some(_)) = (policy, orphan) {
            let detail = "orphanDependents and deletionPropagation cannot be both set";
            errors.push(FieldError::invalid("propagationPolicy", &json!(policy), detail));
        }
        let propagation = match policy {
            None | Some("") => orphan.map(|orphan| if orphan { Propagation::Orphan } else { Propagation::Background }),
            Some("Foreground") => Some(Propagation::Foreground),
            Some("Background") => Some(Propagation::Background),
            Some("Orphan") => Some(Propagation::Orphan),
            Some(other) => {
                let supported = &["Foreground", "Background", "Orphan", "nil"];
                errors.push(FieldError::not_supported("propagationPolicy", &json!(other), supported));
                None
            }
        };
        let dry: Vec<&str> = value["dryRun"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        if dry.iter().any(|one| *one != "All") {
            errors.push(FieldError::not_supported("dryRun", &json!(dry), &["All"]));
        }
        let text = |field: &str| value["preconditions"][field].as_str().map(str::to_owned);
        let options = DeleteOptions {
            grace_seconds: value["gracePeriodSeconds"].as_i64(),
            preconditions: Preconditions { uid: text("uid"), resource_version: text("resourceVersion") },
            propagation,
        };
        checked(Self { options, dry_run: !dry.is_empty() }, "DeleteOptions", &errors)
    }
}

/// Which moment of the log a list may show.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Moment {
    /// The newest.
    #[default]
    Newest,
    /// This one or a later one.
    NotOlder(Revision),
    /// This one.
    Exact(Revision),
}

/// Options of listing and watching.
#[derive(Clone, Debug, Default)]
pub(crate) struct ListOptions {
    /// Label selector.
    pub(crate) labels: String,
    /// Field selector.
    pub(crate) fields: String,
    /// Whether it is a watch.
    pub(crate) watch: bool,
    /// The moment for a list.
    pub(crate) moment: Moment,
    /// `resourceVersion` as given; for a watch.
    pub(crate) from: Option<Revision>,
    /// At most so many.
    pub(crate) limit: Option<usize>,
    /// Go on behind an earlier page.
    pub(crate) next: Option<String>,
    /// End the watch after so many seconds.
    pub(crate) timeout_seconds: Option<u64>,
    /// Whether bookmarks may be sent.
    pub(crate) bookmarks: bool,
    /// Whether a watch begins with what is there.
    pub(crate) initial_events: Option<bool>,
}

/// Reads a `resourceVersion`; empty is none.
pub(crate) fn revision(text: &str) -> Result<Option<Revision>, Status> {
    if text.is_empty() {
        return Ok(None);
    }
    text.parse().map(|number| Some(Revision(number))).map_err(|_| {
        let shown = Value::from(text);
        errors::bad_request(format!(
            "invalid resource version: resourceVersion: Invalid value: {shown}: strconv.ParseUint: parsing {shown}: invalid syntax"
        ))
    })
}

impl ListOptions {
    /// Reads the options; `watch` says that the path is of the old `/watch/` form.
    pub(crate) fn read(query: &Query, watch: bool) -> Result<Self, Status> {
        let watch = watch || query.flag("watch");
        let limit = query.number("limit")?;
        let timeout = query.number("timeoutSeconds")?;
        let initial_events = query.maybe_flag("sendInitialEvents");
        let given = query.get("resourceVersion").unwrap_or_default();
        let matching = query.get("resourceVersionMatch").unwrap_or_default();
        let next = query.get("continue").filter(|next| !next.is_empty());
        let errors = if watch {
            watch_errors(matching, initial_events)
        } else {
            list_errors(given, matching, next.is_some(), initial_events)
        };
        let mut options = checked(Self::default(), "ListOptions", &errors)?;
        if next.is_some() && !given.is_empty() && given != "0" {
            return Err(errors::bad_request("specifying resource version is not allowed when using continue"));
        }
        options.from = revision(given)?;
        options.moment = match (options.from, matching) {
            (Some(from), "Exact") => Moment::Exact(from),
            (Some(from), "") if limit.is_some_and(|limit| limit > 0) && from.0 > 0 => Moment::Exact(from),
            (Some(from), _) if from.0 > 0 => Moment::NotOlder(from),
            _ => Moment::Newest,
        };
        options.labels = query.get("labelSelector").unwrap_or_default().to_owned();
        options.fields = query.get("fieldSelector").unwrap_or_default().to_owned();
        options.watch = watch;
        options.limit = limit.and_then(|limit| usize::try_from(limit).ok()).filter(|limit| *limit > 0);
        options.next = next.map(str::to_owned);
        options.timeout_seconds = timeout.and_then(|timeout| u64::try_from(timeout).ok());
        options.bookmarks = query.flag("allowWatchBookmarks");
        options.initial_events = initial_events;
        Ok(options)
    }
}

const MATCH: &str = "resourceVersionMatch";

fn list_errors(given: &str, matching: &str, continued: bool, initial_events: Option<bool>) -> Vec<FieldError> {
    let mut errors = Vec::new();
    if initial_events.is_some() {
        errors.push(FieldError::forbidden("sendInitialEvents", "sendInitialEvents is forbidden for list"));
    }
    if matching.is_empty() {
        return errors;
    }
    if given.is_empty() {
        let detail = "resourceVersionMatch is forbidden unless resourceVersion is provided";
        errors.push(FieldError::forbidden(MATCH, detail));
    }
    if continued {
        errors.push(FieldError::forbidden(MATCH, "resourceVersionMatch is forbidden when continue is provided"));
    }
    if !["Exact", "NotOlderThan"].contains(&matching) {
        errors.push(FieldError::not_supported(MATCH, &json!(matching), &["Exact", "NotOlderThan", ""]));
    }
    if matching == "Exact" && given == "0" {
        let detail = "resourceVersionMatch \"exact\" is forbidden for resourceVersion \"0\"";
        errors.push(FieldError::forbidden(MATCH, detail));
    }
    errors
}

fn watch_errors(matching: &str, initial_events: Option<bool>) -> Vec<FieldError> {
    let mut errors = Vec::new();
    if initial_events.is_none() && !matching.is_empty() {
        let detail = "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided";
        errors.push(FieldError::forbidden(MATCH, detail));
    }
    if initial_events.is_some() && matching != "NotOlderThan" {
        let detail = "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan";
        errors.push(FieldError::forbidden(MATCH, detail));
    }
    if !["", "NotOlderThan"].contains(&matching) {
        errors.push(FieldError::not_supported(MATCH, &json!(matching), &["NotOlderThan"]));
    }
    errors
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_parameters() {
        let query = Query::parse("labelSelector=a%3Db,c&limit=3&watch=maybe&x");
        assert_eq!(query.get("labelSelector"), Some("a=b,c"));
        assert_eq!(query.number("limit").unwrap(), Some(3));
        assert!(query.flag("watch"));
        assert!(!Query::parse("watch=false").flag("watch"));
        let error = Query::parse("limit=x").number("limit").unwrap_err();
        assert_eq!(error.message, "strconv.ParseInt: parsing \"x\": invalid syntax");
    }

    #[test]
    fn knows_the_moments_of_a_list() {
        for (query, moment) in [
            ("", Moment::Newest),
            ("resourceVersion=0", Moment::Newest),
            ("resourceVersion=5", Moment::NotOlder(Revision(5))),
            ("resourceVersion=5&limit=2", Moment::Exact(Revision(5))),
            ("resourceVersion=5&resourceVersionMatch=Exact", Moment::Exact(Revision(5))),
            ("resourceVersion=5&resourceVersionMatch=NotOlderThan&limit=1", Moment::NotOlder(Revision(5))),
        ] {
            assert_eq!(ListOptions::read(&Query::parse(query), false).unwrap().moment, moment, "{query}");
        }
    }

    #[test]
    fn complains_as_upstream_does() {
        for (query, message) in [
            (
                "dryRun=Maybe",
                "CreateOptions.meta.k8s.io \"\" is invalid: dryRun: Unsupported value: [\"Maybe\"]: supported values: \"All\"",
            ),
            (
                "fieldManager=a%00b",
                "CreateOptions.meta.k8s.io \"\" is invalid: fieldManager: Invalid value: \"a\\x00b\": invalid character U+0000 (at position 1)",
            ),
        ] {
            let error = WriteOptions::read(&Query::parse(query), "", "CreateOptions").unwrap_err();
            assert_eq!(error.message, message);
        }
    }
}
