//! Which taints a toleration bears.

use k8s_openapi::api::core::v1::{Taint, Toleration};

/// Whether a toleration bears a taint.
#[must_use]
pub fn bears(toleration: &Toleration, taint: &Taint) -> bool {
    let text = |field: &Option<String>| field.clone().unwrap_or_default();
    let (effect, key, operator) = (text(&toleration.effect), text(&toleration.key), text(&toleration.operator));
    (effect.is_empty() || effect == taint.effect)
        && (key.is_empty() && operator == "Exists" || key == taint.key)
        && (operator == "Exists" || text(&toleration.value) == taint.value.clone().unwrap_or_default())
}

/// Whether any of some tolerations bears a taint.
#[must_use]
pub fn tolerated(tolerations: &[Toleration], taint: &Taint) -> bool {
    tolerations.iter().any(|toleration| bears(toleration, taint))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn tolerations_bear_taints() {
        let taint: Taint = serde_json::from_value(json!({"key": "k", "value": "v", "effect": "NoSchedule"})).unwrap();
        for (toleration, wanted) in [
            (json!({"operator": "Exists"}), true),
            (json!({"key": "k", "operator": "Exists"}), true),
            (json!({"key": "k", "value": "v"}), true),
            (json!({"key": "k", "operator": "Equal", "value": "w"}), false),
            (json!({"key": "k", "operator": "Exists", "effect": "NoExecute"}), false),
            (json!({"key": "other", "operator": "Exists"}), false),
        ] {
            let toleration: Toleration = serde_json::from_value(toleration).unwrap();
            assert_eq!(bears(&toleration, &taint), wanted, "{toleration:?}");
        }
    }
}
