//! Who owns which fields, as `metadata.managedFields` says it.

use serde_json::{Map, Value, json};

use super::set::Set;

/// How a manager came to own fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Operation {
    /// By server-side apply.
    Apply,
    /// By any other write.
    Update,
}

impl Operation {
    const fn name(self) -> &'static str {
        match self {
            Self::Apply => "Apply",
            Self::Update => "Update",
        }
    }
}

/// One manager with what it owns.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// Name of the manager.
    pub manager: String,
    /// How it came to own the fields.
    pub operation: Operation,
    /// The subresource that it wrote; empty for the object itself.
    pub subresource: String,
    /// The version that the fields are of, such as `apps/v1`.
    pub api_version: String,
    /// When it last changed something, as `metadata` writes times; null when that is not known.
    pub time: Value,
    /// What it owns.
    pub fields: Set,
}

impl Entry {
    /// Whether two entries are of one manager: what is applied is so whatever the version, what is updated by version.
    #[must_use]
    pub fn is_of(&self, other: &Self) -> bool {
        self.manager == other.manager
            && self.operation == other.operation
            && self.subresource == other.subresource
            && (self.operation == Operation::Apply || self.api_version == other.api_version)
    }

    /// The manager as conflicts name it. Example: `"kubectl" with subresource "status" using v1`.
    #[must_use]
    pub fn named(&self) -> String {
        let mut text = format!("{:?}", self.manager);
        if !self.subresource.is_empty() {
            text += &format!(" with subresource {:?}", self.subresource);
        }
        if self.operation == Operation::Update {
            text += &format!(" using {}", self.api_version);
        }
        text
    }

    /// What sorts managers in messages.
    pub(super) fn rank(&self) -> (&str, Operation, &str, &str) {
        let version = if self.operation == Operation::Apply { "" } else { &self.api_version };
        (&self.manager, self.operation, version, &self.subresource)
    }

    fn read(entry: &Value) -> Result<Self, String> {
        let text = |field: &str| entry[field].as_str().unwrap_or_default();
        let operation = match text("operation") {
            "Apply" => Operation::Apply,
            "Update" => Operation::Update,
            _ => return Err("operation must be `Apply` or `Update`".to_owned()),
        };
        if text("apiVersion").is_empty() {
            return Err("apiVersion must not be empty".to_owned());
        }
        if text("fieldsType") != "FieldsV1" {
            return Err(format!("invalid fieldsType {:?}", text("fieldsType")));
        }
        Ok(Self {
            manager: text("manager").to_owned(),
            operation,
            subresource: text("subresource").to_owned(),
            api_version: text("apiVersion").to_owned(),
            time: entry["time"].clone(),
            fields: match &entry["fieldsV1"] {
                Value::Null => Set::default(),
                fields => Set::read(fields)?,
            },
        })
    }

    fn written(&self) -> Value {
        let mut entry = Map::new();
        let mut put = |name: &str, value: Value| entry.insert(name.to_owned(), value);
        put("apiVersion", self.api_version.as_str().into());
        put("fieldsType", "FieldsV1".into());
        put("fieldsV1", self.fields.written());
        put("manager", self.manager.as_str().into());
        put("operation", self.operation.name().into());
        if !self.subresource.is_empty() {
            put("subresource", self.subresource.as_str().into());
        }
        if !self.time.is_null() {
            put("time", self.time.clone());
        }
        Value::Object(entry)
    }
}

/// All managers of an object.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Managed(pub Vec<Entry>);

impl Managed {
    /// Reads `metadata.managedFields`; of two entries of one manager the later counts.
    ///
    /// Errors say what is malformed.
    pub fn read(managers: Option<&Value>) -> Result<Self, String> {
        let mut managed = Self::default();
        for entry in managers.and_then(Value::as_array).into_iter().flatten() {
            managed.put(Entry::read(entry)?);
        }
        Ok(managed)
    }

    /// Who owned the fields before a write: what the request says, where it says something, else what the object
    /// says that is there. `[]` and `[{}]` in a request end all ownership.
    #[must_use]
    pub fn before(live: Option<&Value>, said: Option<&Value>) -> Self {
        let from_live = || Self::read(live).unwrap_or_default();
        match said.and_then(Value::as_array).map(Vec::as_slice) {
            Some([]) => Self::default(),
            Some([one]) if *one == json!({}) => Self::default(),
            Some(_) => Self::read(said).ok().filter(|managed| !managed.0.is_empty()).unwrap_or_else(from_live),
            None => from_live(),
        }
    }

    /// Adds an entry in place of that of the same manager.
    pub(super) fn put(&mut self, entry: Entry) {
        match self.0.iter_mut().find(|one| one.is_of(&entry)) {
            Some(one) => *one = entry,
            None => self.0.push(entry),
        }
    }

    /// The entry of the same manager.
    pub(super) fn get(&self, entry: &Entry) -> Option<&Entry> {
        self.0.iter().find(|one| one.is_of(entry))
    }

    /// `metadata.managedFields` in upstream's order; `None` when nobody owns anything.
    #[must_use]
    pub fn written(mut self) -> Option<Value> {
        self.0.sort_by(|a, b| {
            let rank = |one: &Entry| (one.operation, seconds(&one.time));
            let rest = |one: &Entry| (one.manager.clone(), one.api_version.clone(), one.subresource.clone());
            rank(a).cmp(&rank(b)).then_with(|| rest(a).cmp(&rest(b)))
        });
        (!self.0.is_empty()).then(|| self.0.iter().map(Entry::written).collect())
    }
}

/// A time as `metadata` writes it sorts as a text; none is before all others.
pub(super) fn seconds(time: &Value) -> String {
    time.as_str().unwrap_or_default().to_owned()
}

/// Whether two writings of `metadata.managedFields` differ in times at most.
#[must_use]
pub fn same_but_times(a: Option<&Value>, b: Option<&Value>) -> bool {
    let timeless = |value: Option<&Value>| -> Vec<Value> {
        let entries = value.and_then(Value::as_array).into_iter().flatten().cloned();
        let mut entries: Vec<Value> = entries
            .map(|mut entry| {
                entry.as_object_mut().map(|entry| entry.remove("time"));
                entry
            })
            .collect();
        entries.sort_by_key(|entry| {
            ["operation", "manager", "apiVersion", "subresource"].map(|field| entry[field].to_string())
        });
        entries
    };
    a == b || timeless(a) == timeless(b)
}
