//! Certificate signing requests: who asks for which certificate, and what was decided.

use k8s_openapi::api::certificates::v1::{
    CertificateSigningRequest, CertificateSigningRequestCondition, CertificateSigningRequestSpec,
    CertificateSigningRequestStatus,
};

use serde_json::json;

use super::check::{Errors, Path};
use super::fields::{list, text};
use super::pod::update::difference;
use crate::kind::{Column, Reset, Rules, Selectable, Subresource, Write};
use crate::meta::{MetaRules, Repeats};
use crate::names::{self, NameRule};
use crate::status::{FieldError, quoted};
use crate::table;

const SIGNER: &str = "Requested signer for the request. It is a qualified name in the form: \
    `scope-hostname.io/name`. If empty, it will be defaulted:\n 1. If it's a kubelet client certificate, it is \
    assigned\n    \"kubernetes.io/kube-apiserver-client-kubelet\".\n 2. If it's a kubelet serving certificate, it is \
    assigned\n    \"kubernetes.io/kubelet-serving\".\n 3. Otherwise, it is assigned \"kubernetes.io/legacy-unknown\".\n\
    Distribution of trust for signers happens out of band. You can select on this field using `spec.signerName`.";
const REQUEST: &str = "Base64-encoded PKCS#10 CSR data";
const DURATION: &str = "expirationSeconds is the requested duration of validity of the issued certificate. The \
    certificate signer may issue a certificate with a different validity duration so a client must check the delta \
    between the notBefore and and notAfter fields in the issued certificate to determine the actual duration.\n\nThe \
    v1.22+ in-tree implementations of the well-known Kubernetes signers will honor this field as long as the requested \
    duration is not greater than the maximum duration they will honor per the --cluster-signing-duration CLI flag to \
    the Kubernetes controller manager.\n\nCertificate signers may not honor this field for various reasons:\n\n  1. \
    Old signer that is unaware of the field (such as the in-tree\n     implementations prior to v1.22)\n  2. Signer \
    whose configured maximum is shorter than the requested duration\n  3. Signer whose configured minimum is longer \
    than the requested duration\n\nThe minimum valid value for expirationSeconds is 600, i.e. 10 minutes.";
const CONDITIONS: &str = "Conditions applied to the request, such as approval or denial.";

/// What a certificate may be used for.
///
/// Source: <https://kubernetes.io/docs/reference/access-authn-authz/certificate-signing-requests/>
pub const USAGES: &[&str] = &[
    "any",
    "cert sign",
    "client auth",
    "code signing",
    "content commitment",
    "crl sign",
    "data encipherment",
    "decipher only",
    "digital signature",
    "email protection",
    "encipher only",
    "ipsec end system",
    "ipsec tunnel",
    "ipsec user",
    "key agreement",
    "key encipherment",
    "microsoft sgc",
    "netscape sgc",
    "ocsp signing",
    "s/mime",
    "server auth",
    "signing",
    "timestamping",
];

const LEAST_SECONDS: i32 = 600;
/// What is decided once and for all, for which only `True` can be said.
const DECISIONS: &[&str] = &["Approved", "Denied", "Failed"];
const STATUSES: &[&str] = &["False", "True", "Unknown"];
const LEGACY: &str = "kubernetes.io/legacy-unknown";
const APPROVAL: Write = Write::Other(Subresource::Approval);

impl Rules for CertificateSigningRequest {
    const SUBRESOURCES: &'static [Subresource] = &[Subresource::Approval, Subresource::Status];
    const META: MetaRules = MetaRules::COMMON.named(NameRule::Path).repeating(Repeats::Both);
    const SELECTABLE: &'static [Selectable] = &[Selectable::text("spec.signerName")];
    const RESETS: &'static [(Write, Reset)] = &[
        (Write::Main, Reset::Except(&[&["spec"], &["status"]])),
        (Write::Status, Reset::Except(&[&["spec"], &["status", "conditions"]])),
        (APPROVAL, Reset::Except(&[&["spec"], &["status", "certificate"]])),
    ];
    const COLUMNS: &'static [Column<Self>] = &[
        table::name(),
        table::age(),
        table::text("SignerName", SIGNER, |it, _| table::or_none(Some(&it.spec.signer_name))),
        table::text("Requestor", REQUEST, |it, _| text(&it.spec.username).into()),
        table::text("RequestedDuration", DURATION, |it, _| {
            let seconds = it.spec.expiration_seconds;
            seconds.map_or_else(|| table::NONE.to_owned(), |seconds| table::duration(seconds.into())).into()
        }),
        table::text("Condition", CONDITIONS, |it, _| state(it).into()),
    ];

    fn fill_defaults(&mut self) {
        self.status.get_or_insert_default();
    }

    fn prepare(&mut self, old: Option<&Self>, write: Write) {
        let Some(old) = old else {
            self.status = Some(CertificateSigningRequestStatus::default());
            return;
        };
        self.spec.clone_from(&old.spec);
        match write {
            Write::Status => keep_decisions(self, old),
            APPROVAL => {
                let conditions = self.status.take().and_then(|status| status.conditions);
                self.status.clone_from(&old.status);
                self.status.get_or_insert_default().conditions = conditions;
            }
            Write::Main | Write::Other(_) => self.status.clone_from(&old.status),
        }
    }

    fn validate(&self, old: Option<&Self>, write: Write) -> Vec<FieldError> {
        let mut errors = Errors::default();
        spec(&mut errors, &Path::root("spec"), &self.spec, old.map(|old| &old.spec));
        conditions(&mut errors, self, old);
        certificate(&mut errors, self, old);
        if let Some(old) = old {
            update(&mut errors, self, old, write);
        }
        errors.into_vec()
    }
}

fn of(request: &CertificateSigningRequest) -> &[CertificateSigningRequestCondition] {
    request.status.as_ref().map(|status| list(&status.conditions)).unwrap_or_default()
}

fn has(request: &CertificateSigningRequest, type_: &str) -> bool {
    of(request).iter().any(|condition| condition.type_ == type_)
}

fn issued(request: &CertificateSigningRequest) -> &[u8] {
    let certificate = request.status.as_ref().and_then(|status| status.certificate.as_ref());
    certificate.map(|certificate| certificate.0.as_slice()).unwrap_or_default()
}

fn state(request: &CertificateSigningRequest) -> String {
    let decided = [("Denied", "Denied"), ("Approved", "Approved")].into_iter().find(|(type_, _)| has(request, type_));
    let mut state = decided.map_or("Pending", |(_, word)| word).to_owned();
    if has(request, "Failed") {
        state.push_str(",Failed");
    }
    if !issued(request).is_empty() {
        state.push_str(",Issued");
    }
    state
}

/// Who writes the status can't change what was approved or denied.
fn keep_decisions(new: &mut CertificateSigningRequest, old: &CertificateSigningRequest) {
    for type_ in &DECISIONS[..2] {
        let kept: Vec<_> = of(old).iter().filter(|condition| condition.type_ == *type_).cloned().collect();
        let conditions = new.status.as_mut().and_then(|status| status.conditions.as_mut());
        let mut given: Vec<_> = conditions.into_iter().flatten().filter(|one| one.type_ == *type_).collect();
        if given.len() == kept.len() {
            given.iter_mut().zip(kept).for_each(|(one, kept)| **one = kept);
        }
    }
}

fn spec(
    errors: &mut Errors,
    at: &Path<'_>,
    spec: &CertificateSigningRequestSpec,
    old: Option<&CertificateSigningRequestSpec>,
) {
    // What stands in the block is read by the API server, which knows certificates.
    if pem_labels(&spec.request.0).first().is_none_or(|label| label != "CERTIFICATE REQUEST") {
        errors.invalid(&at.child("request"), json!(spec.request), "PEM block type must be CERTIFICATE REQUEST");
    }
    let usages_at = at.child("usages");
    let usages = list(&spec.usages);
    if usages.is_empty() {
        errors.required(&usages_at, "");
    }
    // What was taken once is not asked again: the spec never changes.
    for (index, usage) in usages.iter().enumerate().filter(|_| old.is_none()) {
        errors.one_of(&usages_at.index(index), usage, USAGES);
        if usages[..index].contains(usage) {
            errors.duplicate(&usages_at.index(index), usage);
        }
    }
    let signer_at = at.child("signerName");
    if old.is_none() && spec.signer_name == LEGACY {
        errors.invalid(&signer_at, LEGACY, "the legacy signerName is not allowed via this API version");
    } else {
        signer(errors, &signer_at, &spec.signer_name);
    }
    if let Some(seconds) = spec.expiration_seconds.filter(|seconds| *seconds < LEAST_SECONDS) {
        let why = "may not specify a duration less than 600 seconds (10 minutes)";
        errors.invalid(&at.child("expirationSeconds"), seconds, why);
    }
}

/// Checks the name of a signer: a domain of two or more labels with a path behind it.
pub(super) fn signer(errors: &mut Errors, at: &Path<'_>, name: &str) {
    const DOMAIN_MAX: usize = 253;
    const PATH_MAX: usize = 253 + 63 + 1;
    const FORM: &str = "must be a fully qualified domain and path of the form 'example.com/signer-name'";
    if !errors.filled(at, name) {
        return;
    }
    let [domain, path] = name.split('/').collect::<Vec<_>>()[..] else { return errors.invalid(at, name, FORM) };
    if domain.len() > DOMAIN_MAX {
        errors.too_long(at, DOMAIN_MAX);
    }
    labels(errors, at, domain, names::dns1123_label);
    if !domain.contains('.') {
        errors.invalid(at, domain, "should be a domain with at least two segments separated by dots");
    }
    labels(errors, at, path, names::dns1123_subdomain);
    if name.len() > DOMAIN_MAX + PATH_MAX + 1 {
        errors.too_long(at, DOMAIN_MAX + PATH_MAX + 1);
    }
}

/// The complaints about the first label that is not one.
fn labels(errors: &mut Errors, at: &Path<'_>, text: &str, rule: fn(&str) -> Vec<String>) {
    let wrong = text.split('.').map(|label| (label, rule(label))).find(|(_, wrong)| !wrong.is_empty());
    for (label, why) in wrong.into_iter().flat_map(|(label, all)| all.into_iter().map(move |why| (label, why))) {
        errors.invalid(at, text, &format!("validating label {}: {why}", quoted(label)));
    }
}

fn conditions(errors: &mut Errors, new: &CertificateSigningRequest, old: Option<&CertificateSigningRequest>) {
    let at = Path::root("status");
    let at = at.child("conditions");
    let both = old.is_some_and(|old| has(old, "Approved") && has(old, "Denied"));
    let all = of(new);
    for (index, condition) in all.iter().enumerate() {
        let (one_at, type_) = (at.index(index), condition.type_.as_str());
        errors.filled(&one_at.child("type"), type_);
        let allowed = if DECISIONS.contains(&type_) { &["True"] } else { STATUSES };
        errors.filled_one_of(&one_at.child("status"), &condition.status, allowed);
        let before = &all[..index];
        let other = match type_ {
            "Approved" => "Denied",
            "Denied" => "Approved",
            _ => "",
        };
        if !both && !other.is_empty() && before.iter().any(|one| one.type_ == other) {
            errors.invalid(&at, type_, "Approved and Denied conditions are mutually exclusive");
        }
        if before.iter().any(|one| one.type_ == type_) {
            errors.duplicate(&one_at.child("type"), type_);
        }
    }
}

fn certificate(errors: &mut Errors, new: &CertificateSigningRequest, old: Option<&CertificateSigningRequest>) {
    let given = issued(new);
    if given.is_empty() || old.is_some_and(|old| issued(old) == given) {
        return;
    }
    let at = Path::root("status");
    let labels = pem_labels(given);
    let why = match labels.iter().find(|label| *label != "CERTIFICATE") {
        Some(other) => format!("only CERTIFICATE PEM blocks are allowed, found {other:?}"),
        None if labels.is_empty() => "must contain at least one CERTIFICATE PEM block".to_owned(),
        None => return,
    };
    errors.invalid(&at.child("certificate"), "<certificate data>", &why);
}

/// What the blocks of a PEM file hold.
fn pem_labels(bytes: &[u8]) -> Vec<String> {
    let text = String::from_utf8_lossy(bytes);
    let begins = text.lines().filter_map(|line| line.trim().strip_prefix("-----BEGIN ")?.strip_suffix("-----"));
    begins.filter(|label| text.contains(&format!("-----END {label}-----"))).map(str::to_owned).collect()
}

fn update(errors: &mut Errors, new: &CertificateSigningRequest, old: &CertificateSigningRequest, write: Write) {
    let at = Path::root("status");
    let (conditions_at, certificate_at) = (at.child("conditions"), at.child("certificate"));
    let find = |request: &CertificateSigningRequest, type_: &str| -> Vec<CertificateSigningRequestCondition> {
        of(request).iter().filter(|condition| condition.type_ == type_).cloned().collect()
    };
    for type_ in DECISIONS {
        if find(new, type_).len() < find(old, type_).len() {
            errors.forbidden(&conditions_at, &format!("updates may not remove a condition of type \"{type_}\""));
        }
    }
    for type_ in DECISIONS[..2].iter().filter(|_| write != APPROVAL) {
        let (new, old) = (find(new, type_), find(old, type_));
        if new.len() > old.len() {
            errors.forbidden(&conditions_at, &format!("updates may not add a condition of type \"{type_}\""));
        } else if new.len() == old.len() && new != old {
            let why = format!("updates may not modify a condition of type \"{type_}\"\n{}", difference(&new, &old));
            errors.forbidden(&conditions_at, &why);
        }
    }
    if issued(new) != issued(old) {
        if write != Write::Status {
            errors.forbidden(&certificate_at, "updates may not set certificate content");
        } else if !issued(old).is_empty() {
            errors.forbidden(&certificate_at, "updates may not modify existing certificate content");
        }
    }
}
