//! The way from what somebody wants to what may be committed, written once: for objects that are made and for those
//! that change, through every door.
//!
//! [`Shaped::of`], then [`Shaped::ready`]. What comes before (is it the object that is meant?) and after (the quotas,
//! the commit, what a conflict means) is the caller's.

use kprov_schema::kind::Write;
use kprov_schema::{Kind, Object, Status, Subresource, canonical, meta};
use serde_json::Value;

use super::admission::{self, Effects, Intent};
use super::errors;
use super::owners::{Owners, Writer};
use super::write::{MANAGERS, Proposal, unreadable};

/// A proposal in the form in which it is judged.
pub(crate) struct Shaped {
    object: Object,
    /// The form in which it is written, where that is another one.
    written: Option<Object>,
    /// What the object says of its owners.
    said: Option<Value>,
    warnings: Vec<String>,
    owners: Owners,
}

/// What nobody objects to.
pub(crate) struct Ready {
    /// The object as it is stored, but for its owners.
    pub(crate) object: Object,
    /// Who owns its fields then.
    pub(crate) managers: Option<Value>,
    /// Advice, and what was set aside for the object.
    pub(crate) effects: Effects,
}

impl Shaped {
    /// Fills in defaults, and brings the object into the form in which it is checked.
    pub(crate) fn of(kind: &Kind, proposal: Proposal) -> Result<Self, Status> {
        let Proposal { mut object, warnings, owners } = proposal;
        // Who owns what is no rule's matter: until the object is stored, it goes without.
        let said = object.remove(MANAGERS);
        object.set(&["apiVersion"], kind.resource.api_version().into());
        object.set(&["kind"], kind.kind.as_ref().into());
        kind.fill_defaults(&mut object).map_err(|why| unreadable(kind, &why))?;
        let written = canonical::given(kind, &mut object).then(|| {
            let mut written = object.clone();
            canonical::written(kind, &mut written);
            written
        });
        Ok(Self { object, written, said, warnings, owners })
    }

    /// The object's name: defaults may name one that the client left nameless.
    pub(crate) fn name(&self) -> &str {
        self.object.name()
    }

    /// Takes the object through everything that has a say in it.
    ///
    /// The old object of `intent` does not name its owners: `had` are those.
    pub(crate) fn ready(self, intent: &Intent<'_>, writer: &Writer<'_>, had: Option<&Value>) -> Result<Ready, Status> {
        let Self { mut object, written, said, warnings, owners } = self;
        let (kind, door, old) = (&intent.target.kind, writer.door, intent.old.map(|old| &**old));
        let mut effects = Effects::with(warnings);
        let managers = owners.after(writer, (old, had), (written.as_ref().unwrap_or(&object), said.as_ref()));
        admission::admit(intent, door, &mut object)?;
        if let Some(old) = old {
            keep_identity(&mut object, old);
        }
        if !is_own(door) {
            kind.prepare(&mut object, old, door).map_err(|why| unreadable(kind, &why))?;
            if door == Write::Main {
                admission::allocate(intent, &mut object, &mut effects)?;
            }
            canonical::given(kind, &mut object);
            check(kind, &object, old, door)?;
        }
        let mut advice = Vec::new();
        if door == Write::Main {
            advice = kind.warnings(&object, old).map_err(|why| unreadable(kind, &why))?;
        }
        let judged = admission::judge(intent, door, &object, &mut advice);
        judged.map_err(|status| status.advised(&advice))?;
        effects.warnings.extend(advice);
        canonical::canonicalise(kind, &mut object);
        Ok(Ready { object, managers, effects })
    }
}

/// What of its metadata an object keeps from the one before; it is of that one's revision.
fn keep_identity(object: &mut Object, old: &Object) {
    const VERSION: &[&str] = &["metadata", "resourceVersion"];
    meta::keep_on_update(object, old);
    object.set(VERSION, old.text(VERSION).unwrap_or_default().into());
}

/// Whether the change is the server's own, made from what the client said: the action's rules are all there are.
fn is_own(door: Write) -> bool {
    matches!(door, Write::Other(Subresource::Binding | Subresource::Eviction))
}

/// Everything that is wrong with an object, as one error.
fn check(kind: &Kind, object: &Object, old: Option<&Object>, door: Write) -> Result<(), Status> {
    let errors = kind.validate(object, old, door).map_err(|why| unreadable(kind, &why))?;
    if errors.is_empty() { Ok(()) } else { Err(errors::invalid(kind, object.name(), &errors)) }
}
