//! Tokens of service accounts: signed by the cluster's key, bound to the lives of the objects they name.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use k8s_openapi::api::core::v1::{Node, Pod, Secret, ServiceAccount};
use kprov_schema::{Key, Resource, Status};
use ring::digest::{SHA256, digest};
use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair, UnparsedPublicKey,
};
use serde_json::{Value, json};

use super::errors;
use super::user::User;
use crate::store::{Store, StoreKey};

/// Signs and checks tokens.
pub(crate) struct Tokens {
    key: EcdsaKeyPair,
    key_id: String,
    issuer: String,
    random: SystemRandom,
}

/// What a token is bound to beside its account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Bound {
    /// `pod`, `secret` or `node`.
    pub(crate) kind: &'static str,
    pub(crate) name: String,
    pub(crate) uid: String,
}

/// A token to be made.
pub(crate) struct Grant {
    pub(crate) namespace: String,
    pub(crate) account: String,
    pub(crate) uid: String,
    pub(crate) audiences: Vec<String>,
    /// Seconds since the epoch.
    pub(crate) now: i64,
    pub(crate) expires: i64,
    pub(crate) bound: Vec<Bound>,
    /// A unique name of the token.
    pub(crate) id: String,
}

/// Objects that a token may be bound to, by their claim, with where they are kept.
const BINDABLE: &[(&str, Resource, bool)] = &[
    ("pod", Resource::of::<Pod>(), true),
    ("secret", Resource::of::<Secret>(), true),
    ("node", Resource::of::<Node>(), false),
];

/// What the rows of the table are about.
#[cfg(test)]
pub(super) fn rows() -> Vec<Resource> {
    BINDABLE.iter().map(|(_, resource, _)| resource.clone()).collect()
}

impl Tokens {
    /// Reads the key: PKCS#8, ECDSA P-256.
    pub(crate) fn new(pkcs8: &[u8], domain: &str) -> Result<Self, Status> {
        let random = SystemRandom::new();
        let key = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8, &random)
            .map_err(|error| errors::internal(format!("the service account key can't be used: {error}")))?;
        let key_id = URL_SAFE_NO_PAD.encode(digest(&SHA256, key.public_key().as_ref()));
        let issuer = format!("https://kubernetes.default.svc.{domain}");
        Ok(Self { key, key_id, issuer, random })
    }

    /// The audience of the API server itself.
    pub(crate) fn audience(&self) -> &str {
        &self.issuer
    }

    /// Makes a token.
    pub(crate) fn sign(&self, grant: &Grant) -> Result<String, Status> {
        let head = json!({"alg": "ES256", "kid": self.key_id});
        let mut about = json!({
            "namespace": grant.namespace,
            "serviceaccount": {"name": grant.account, "uid": grant.uid},
        });
        for bound in &grant.bound {
            about[bound.kind] = json!({"name": bound.name, "uid": bound.uid});
        }
        let claims = json!({
            "aud": grant.audiences, "exp": grant.expires, "iat": grant.now, "nbf": grant.now,
            "iss": self.issuer, "jti": grant.id, "kubernetes.io": about,
            "sub": format!("system:serviceaccount:{}:{}", grant.namespace, grant.account),
        });
        let coded = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let text = format!("{}.{}", coded(&head), coded(&claims));
        let signature = self
            .key
            .sign(&self.random, text.as_bytes())
            .map_err(|error| errors::internal(format!("the token can't be signed: {error}")))?;
        Ok(format!("{text}.{}", URL_SAFE_NO_PAD.encode(signature)))
    }

    /// The user of a token for the API server that is good at a time; what it is bound to must still live.
    pub(crate) fn verify(&self, token: &str, now: i64, store: &Store) -> Option<User> {
        self.verify_for(token, now, store, std::slice::from_ref(&self.issuer)).map(|(user, _)| user)
    }

    /// The same for a token that is meant for one of `audiences`; those of them that it is meant for come with it.
    pub(crate) fn verify_for(
        &self,
        token: &str,
        now: i64,
        store: &Store,
        audiences: &[String],
    ) -> Option<(User, Vec<String>)> {
        let (text, signature) = token.rsplit_once('.')?;
        let signature = URL_SAFE_NO_PAD.decode(signature).ok()?;
        UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, self.key.public_key().as_ref())
            .verify(text.as_bytes(), &signature)
            .ok()?;
        let claims = URL_SAFE_NO_PAD.decode(text.split_once('.')?.1).ok()?;
        let claims: Value = serde_json::from_slice(&claims).ok()?;
        let meant = claims["aud"].as_array()?;
        let meant: Vec<String> =
            audiences.iter().filter(|audience| meant.iter().any(|one| one == audience.as_str())).cloned().collect();
        let timely = claims["nbf"].as_i64()? <= now && now < claims["exp"].as_i64()?;
        if meant.is_empty() || !timely || claims["iss"].as_str() != Some(&self.issuer) {
            return None;
        }
        Some((user(&claims, store)?, meant))
    }
}

fn lives(store: &Store, resource: &Resource, key: &Key, uid: &str) -> bool {
    store.get(&StoreKey::new(resource, key)).is_some_and(|stored| stored.object.uid().0 == uid)
}

fn user(claims: &Value, store: &Store) -> Option<User> {
    let about = &claims["kubernetes.io"];
    let namespace = about["namespace"].as_str()?;
    let account = about["serviceaccount"]["name"].as_str()?;
    let uid = about["serviceaccount"]["uid"].as_str()?;
    if !lives(store, &Resource::of::<ServiceAccount>(), &Key::new(namespace, account), uid) {
        return None;
    }
    let id = claims["jti"].as_str().unwrap_or_default();
    let mut extra = vec![("authentication.kubernetes.io/credential-id".to_owned(), format!("JTI={id}"))];
    for (claim, resource, namespaced) in BINDABLE {
        let Some(bound) = about.get(*claim) else { continue };
        let (name, uid) = (bound["name"].as_str()?, bound["uid"].as_str()?);
        let key = Key::new(if *namespaced { namespace } else { "" }, name);
        // A pod's token also names its node, which a pod may outlive.
        if *claim != "node" && !lives(store, resource, &key, uid) {
            return None;
        }
        extra.push((format!("authentication.kubernetes.io/{claim}-name"), name.to_owned()));
        extra.push((format!("authentication.kubernetes.io/{claim}-uid"), uid.to_owned()));
    }
    Some(User { uid: uid.to_owned(), extra, ..User::service_account(namespace, account) })
}
