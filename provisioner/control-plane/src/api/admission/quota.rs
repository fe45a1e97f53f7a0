//! The quotas of a namespace: what a write takes of them is booked in the transaction that writes it.
//!
//! A quota is charged by the store's writer, on the quota as it is by then. Of writes that come at the same time none
//! is counted on what another one has taken, and none has to be tried again while there is enough for all.
//! Source: `staging/src/k8s.io/apiserver/pkg/admission/plugin/resourcequota`

use std::sync::Arc;

use k8s_openapi::api::core::v1::ResourceQuota;
use kprov_schema::kind::Write;
use kprov_schema::quota::{Counted, Demand, written};
use kprov_schema::{Object, Status, Typed};

use super::{Effects, Intent};
use crate::api::errors;
use crate::api::write;
use crate::store::{Amend, Amendment, CommitError, Committed, Effect, Expect, Op, Stored, Txn};

/// How often a write is judged anew because a quota has changed in between.
const TRIES: usize = 16;

/// What a write takes of the quotas of its namespace; nothing when it is not counted.
pub(crate) struct Charge(Option<Arc<Demand>>);

impl Charge {
    /// For a write of `object` through a door.
    pub(crate) fn of(intent: &Intent<'_>, object: &Object, door: Write) -> Result<Self, Status> {
        let unreadable = |why: String| write::unreadable(&intent.target.kind, &why);
        let namespace = &intent.target.key.namespace;
        let Some(counted) = Counted::of(&intent.target.kind.resource).filter(|_| !namespace.is_empty()) else {
            return Ok(Self(None));
        };
        let charged = match intent.old {
            Some(old) => counted.charges(old, object, door).map_err(unreadable)?,
            None => true,
        };
        if !charged || quotas(intent)?.is_empty() {
            return Ok(Self(None));
        }
        let demand = Demand {
            counted,
            new: Arc::new(object.clone()),
            old: intent.old.cloned(),
            forced: door == Write::Status,
            now: intent.core.world.clock.now(),
        };
        Ok(Self(Some(Arc::new(demand))))
    }

    /// The changes of quotas that go with the write, or that one of them refuses it.
    pub(crate) fn ops(&self, intent: &Intent<'_>) -> Result<Vec<Op>, Status> {
        let Some(demand) = &self.0 else { return Ok(Vec::new()) };
        let mut ops = Vec::new();
        for stored in quotas(intent)? {
            let quota = ResourceQuota::from_object(&stored.object).map_err(errors::internal)?;
            let charged = demand.charge(&quota);
            let refuse =
                |why: String| errors::forbidden(&intent.target.kind.resource, intent.target.key.name.as_str(), &why);
            if charged.map_err(refuse)?.is_some() {
                let demand = Arc::clone(demand);
                let effect = Effect::Amend(Amend::new(move |quota| booked(&demand, quota)));
                ops.push(Op { key: stored.key.clone(), expect: Expect::Any, effect });
            }
        }
        Ok(ops)
    }

    /// Commits a transaction that begins with the write, and the changes of quotas with it.
    pub(crate) async fn commit(
        &self,
        intent: &Intent<'_>,
        effects: &mut Effects,
        txn: Txn,
    ) -> Result<Result<Committed, CommitError>, Status> {
        if self.0.is_none() {
            return Ok(effects.settle(intent.core, txn).await);
        }
        for _ in 0..TRIES {
            let mut with = txn.clone();
            with.0.extend(self.ops(intent)?);
            match effects.settle(intent.core, with).await {
                Err(CommitError::Conflict { key, .. }) if key != intent.target.place() => {}
                done => return Ok(done),
            }
        }
        Err(errors::unavailable("the namespace's quotas change too quickly"))
    }
}

fn quotas(intent: &Intent<'_>) -> Result<Vec<Arc<Stored>>, Status> {
    intent.core.list::<ResourceQuota>(&intent.target.key.namespace)
}

fn booked(demand: &Demand, stored: &Stored) -> Amendment {
    let Ok(quota) = ResourceQuota::from_object(&stored.object) else { return Amendment::Refuse };
    match demand.charge(&quota) {
        Err(_) => Amendment::Refuse,
        Ok(None) => Amendment::Leave,
        Ok(Some(used)) => {
            let mut object = Object::clone(&stored.object);
            object.set(&["status", "used"], written(&used));
            Amendment::Put(object)
        }
    }
}
