//! Priority levels: how much of the API server's attention requests of a priority get.

use k8s_openapi::api::flowcontrol::v1::{
    ExemptPriorityLevelConfiguration, LimitResponse, LimitedPriorityLevelConfiguration, PriorityLevelConfiguration,
    PriorityLevelConfigurationSpec, PriorityLevelConfigurationStatus, QueuingConfiguration,
};
use serde_json::Value;

use super::check::{Errors, Path};
use super::fields::{list, text};
use super::flow_defaults::LEVELS;
use super::flow_schema::condition_types;
use super::parts;
use crate::internal::shown;
use crate::kind::{Column, Reset, Rules, STATUS_ALONE, Subresource, Write};
use crate::meta::{MetaRules, Repeats};
use crate::status::FieldError;
use crate::table;

const TYPE: &str = "`type` indicates whether this priority level is subject to limitation on request execution.  A \
    value of `\"Exempt\"` means that requests of this priority level are not subject to a limit (and thus are never \
    queued) and do not detract from the capacity made available to other priority levels.  A value of `\"Limited\"` \
    means that (a) requests of this priority level _are_ subject to limits and (b) some of the server's limited \
    capacity is made available exclusively to this priority level. Required.";
const SHARES: &str = "`nominalConcurrencyShares` (NCS) contributes to the computation of the NominalConcurrencyLimit \
    (NominalCL) of this level. This is the number of execution seats available at this priority level. This is used \
    both for requests dispatched from this priority level as well as requests dispatched from other priority levels \
    borrowing seats from this level. The server's concurrency limit (ServerCL) is divided among the Limited priority \
    levels in proportion to their NCS values:\n\nNominalCL(i)  = ceil( ServerCL * NCS(i) / sum_ncs ) sum_ncs = \
    sum[priority level k] NCS(k)\n\nBigger numbers mean a larger nominal concurrency limit, at the expense of every \
    other priority level.\n\nIf not specified, this field defaults to a value of 30.\n\nSetting this field to zero \
    supports the construction of a \"jail\" for this priority level that is used to hold some request(s)";
const QUEUES: &str = "`queues` is the number of queues for this priority level. The queues exist independently at each \
    apiserver. The value must be positive.  Setting it to 1 effectively precludes shufflesharding and thus makes the \
    distinguisher method of associated flow schemas irrelevant.  This field has a default value of 64.";
const HAND: &str = "`handSize` is a small positive number that configures the shuffle sharding of requests into \
    queues.  When enqueuing a request at this priority level the request's flow identifier (a string pair) is hashed \
    and the hash value is used to shuffle the list of queues and deal a hand of the size specified here.  The request \
    is put into one of the shortest queues in that hand. `handSize` must be no larger than `queues`, and should be \
    significantly smaller (so that a few heavy flows do not saturate most of the queues).  See the user-facing \
    documentation for more extensive guidance on setting this field.  This field has a default value of 8.";
const LENGTH: &str = "`queueLengthLimit` is the maximum number of requests allowed to be waiting in a given queue of \
    this priority level at a time; excess requests are rejected.  This value must be positive.  If not specified, it \
    will be defaulted to 50.";

const EXEMPT: &str = "exempt";
const QUEUES_MAX: i32 = 10_000_000;
/// The bits of a hash by which queues are chosen.
const HASH_BITS: f64 = 60.0;

impl Rules for PriorityLevelConfiguration {
    const SUBRESOURCES: &'static [Subresource] = &[Subresource::Status];
    const META: MetaRules = MetaRules::COMMON.repeating(Repeats::Create);
    const RESETS: &'static [(Write, Reset)] = STATUS_ALONE;
    const COLUMNS: &'static [Column<Self>] = &[
        table::name(),
        table::text("Type", TYPE, |it, _| it.spec.type_.as_str().into()),
        table::text("NominalConcurrencyShares", SHARES, |it, _| {
            or_none(it.spec.limited.as_ref().and_then(|limited| limited.nominal_concurrency_shares))
        }),
        table::text("Queues", QUEUES, |it, _| or_none(queuing(it).and_then(|one| one.queues))),
        table::text("HandSize", HAND, |it, _| or_none(queuing(it).and_then(|one| one.hand_size))),
        table::text("QueueLengthLimit", LENGTH, |it, _| or_none(queuing(it).and_then(|one| one.queue_length_limit))),
        table::age(),
    ];

    fn fill_defaults(&mut self) {
        if let Some(exempt) = &mut self.spec.exempt {
            exempt.nominal_concurrency_shares.get_or_insert(0);
            exempt.lendable_percent.get_or_insert(0);
        }
        if let Some(limited) = &mut self.spec.limited {
            limited.nominal_concurrency_shares.get_or_insert(30);
            limited.lendable_percent.get_or_insert(0);
            if let Some(queuing) = &mut limited.limit_response.queuing {
                fill(&mut queuing.hand_size, 8);
                fill(&mut queuing.queues, 64);
                fill(&mut queuing.queue_length_limit, 50);
            }
        }
        self.status.get_or_insert_default();
    }

    fn prepare(&mut self, old: Option<&Self>, write: Write) {
        let before = old.map(|old| (&old.metadata, &old.spec, &old.status));
        parts::prepare_counted_alone((&mut self.metadata, &mut self.spec, &mut self.status), before, write);
    }

    fn validate(&self, _: Option<&Self>, write: Write) -> Vec<FieldError> {
        let mut errors = Errors::default();
        if write != Write::Status {
            annotations(&mut errors, self);
            let at = Path::root("spec");
            spec(&mut errors, &at, &self.spec, text(&self.metadata.name));
            fixed(&mut errors, &at, self);
        }
        let none = PriorityLevelConfigurationStatus::default();
        let conditions = list(&self.status.as_ref().unwrap_or(&none).conditions);
        condition_types(&mut errors, conditions.iter().map(|one| one.type_.as_str()));
        errors.into_vec()
    }
}

fn fill(field: &mut Option<i32>, value: i32) {
    if field.unwrap_or_default() == 0 {
        *field = Some(value);
    }
}

fn or_none(number: Option<i32>) -> Value {
    number.map_or_else(|| table::NONE.into(), Value::from)
}

fn queuing(level: &PriorityLevelConfiguration) -> Option<&QueuingConfiguration> {
    level.spec.limited.as_ref().and_then(|limited| limited.limit_response.queuing.as_ref())
}

fn annotations(errors: &mut Errors, level: &PriorityLevelConfiguration) {
    const ZERO: &str = "flowcontrol.k8s.io/v1beta3-preserve-zero-concurrency-shares";
    if level.metadata.annotations.as_ref().is_some_and(|all| all.contains_key(ZERO)) {
        let at = Path::root("metadata");
        errors.forbidden(&at.child("annotations"), &format!("annotation '{ZERO}' is forbidden"));
    }
}

/// Holds the levels that a cluster can't be without to what they are.
fn fixed(errors: &mut Errors, at: &Path<'_>, level: &PriorityLevelConfiguration) {
    let name = text(&level.metadata.name);
    let Some(known) = LEVELS.iter().find(|one| one.mandatory && one.name == name) else { return };
    let (mut wanted, mut words) = (known.spec(), "");
    if name == EXEMPT {
        wanted.exempt.clone_from(&level.spec.exempt);
        words = " except the 'spec.exempt' field";
    }
    if level.spec != wanted {
        let whole = shown("api.flowcontrol.v1.PriorityLevelConfigurationSpec", &level.spec);
        errors.invalid_written(at, &whole, &format!("spec of '{name}'{words} must equal the fixed value"));
    }
}

fn spec(errors: &mut Errors, at: &Path<'_>, spec: &PriorityLevelConfigurationSpec, name: &str) {
    let (exempt_at, limited_at) = (at.child("exempt"), at.child("limited"));
    if (name == EXEMPT) != (spec.type_ == "Exempt") {
        let why = "must be 'Exempt' if and only if `name` is 'exempt'";
        errors.invalid(&at.child("type"), spec.type_.as_str(), why);
    }
    match spec.type_.as_str() {
        "Exempt" => {
            if spec.limited.is_some() {
                errors.forbidden(&limited_at, "must be nil if the type is not Limited");
            }
            spec.exempt.iter().for_each(|one| exempt(errors, &exempt_at, one));
        }
        "Limited" => {
            if spec.exempt.is_some() {
                errors.forbidden(&exempt_at, "must be nil if the type is Limited");
            }
            match &spec.limited {
                None => errors.required(&limited_at, "must not be empty when type is Limited"),
                Some(one) => limited(errors, &limited_at, one),
            }
        }
        other => errors.not_supported(&at.child("type"), other, &["Exempt", "Limited"]),
    }
}

fn exempt(errors: &mut Errors, at: &Path<'_>, exempt: &ExemptPriorityLevelConfiguration) {
    shares(errors, at, exempt.nominal_concurrency_shares);
    lendable(errors, at, exempt.lendable_percent);
}

fn limited(errors: &mut Errors, at: &Path<'_>, limited: &LimitedPriorityLevelConfiguration) {
    shares(errors, at, limited.nominal_concurrency_shares);
    response(errors, &at.child("limitResponse"), &limited.limit_response);
    lendable(errors, at, limited.lendable_percent);
    if let Some(percent) = limited.borrowing_limit_percent.filter(|percent| *percent < 0) {
        let why = "if specified, must be a non-negative integer";
        errors.invalid(&at.child("borrowingLimitPercent"), percent, why);
    }
}

fn shares(errors: &mut Errors, at: &Path<'_>, shares: Option<i32>) {
    if let Some(shares) = shares.filter(|shares| *shares < 0) {
        errors.invalid(&at.child("nominalConcurrencyShares"), shares, "must be a non-negative integer");
    }
}

fn lendable(errors: &mut Errors, at: &Path<'_>, percent: Option<i32>) {
    if let Some(percent) = percent.filter(|percent| !(0..=100).contains(percent)) {
        errors.invalid(&at.child("lendablePercent"), percent, "must be between 0 and 100, inclusive");
    }
}

fn response(errors: &mut Errors, at: &Path<'_>, response: &LimitResponse) {
    let queuing_at = at.child("queuing");
    match (response.type_.as_str(), &response.queuing) {
        ("Reject", None) => {}
        ("Reject", Some(_)) => {
            errors.forbidden(&queuing_at, "must be nil if limited.limitResponse.type is not Limited");
        }
        ("Queue", None) => {
            errors.required(&queuing_at, "must not be empty if limited.limitResponse.type is Limited");
        }
        ("Queue", Some(one)) => queues(errors, &queuing_at, one),
        (other, _) => errors.not_supported(&at.child("type"), other, &["Queue", "Reject"]),
    }
}

fn queues(errors: &mut Errors, at: &Path<'_>, queuing: &QueuingConfiguration) {
    let number = |field: Option<i32>| field.unwrap_or_default();
    let (length, queues, hand) =
        (number(queuing.queue_length_limit), number(queuing.queues), number(queuing.hand_size));
    let (queues_at, hand_at) = (at.child("queues"), at.child("handSize"));
    if length <= 0 {
        errors.invalid(&at.child("queueLengthLimit"), length, "must be positive");
    }
    if queues <= 0 {
        errors.invalid(&queues_at, queues, "must be positive");
    } else if queues > QUEUES_MAX {
        errors.invalid(&queues_at, queues, &format!("must not be greater than {QUEUES_MAX}"));
    }
    let bits = (f64::from(queues).log2() * f64::from(hand)).ceil();
    if hand <= 0 {
        errors.invalid(&hand_at, hand, "must be positive");
    } else if hand > queues {
        errors.invalid(&hand_at, hand, &format!("should not be greater than queues ({queues})"));
    } else if bits > HASH_BITS {
        let why = format!(
            "required entropy bits of deckSize {queues} and handSize {hand} should not be greater than {HASH_BITS}"
        );
        errors.invalid(&hand_at, hand, &why);
    }
}
