//! What a rule of a role allows, and which rights are more than others.
//!
//! Source: `pkg/apis/rbac/v1/evaluation_helpers.go`, component-helpers `auth/rbac/validation`.

use std::collections::BTreeSet;

use k8s_openapi::api::rbac::v1::PolicyRule;

use crate::api::authorize::Attributes;

fn list(field: &Option<Vec<String>>) -> &[String] {
    field.as_deref().unwrap_or_default()
}

fn has(all: &[String], one: &str) -> bool {
    all.iter().any(|each| each == "*" || each == one)
}

/// Whether a rule allows something.
pub(super) fn allows(rule: &PolicyRule, wanted: &Attributes) -> bool {
    if !has(&rule.verbs, &wanted.verb) {
        return false;
    }
    if !wanted.is_resource() {
        return list(&rule.non_resource_urls).iter().any(|url| path_fits(url, &wanted.path));
    }
    let place = &wanted.place;
    let names = list(&rule.resource_names);
    has(list(&rule.api_groups), &place.group)
        && list(&rule.resources).iter().any(|one| resource_fits(one, &place.plural, &place.subresource))
        && (names.is_empty() || names.iter().any(|name| name == wanted.name()))
}

fn path_fits(url: &str, path: &str) -> bool {
    url == "*" || url == path || url.ends_with('*') && path.starts_with(url.trim_end_matches('*'))
}

/// Whether a resource of a rule, such as `pods`, `pods/log` or `*/scale`, is meant.
fn resource_fits(one: &str, plural: &str, part: &str) -> bool {
    match one.split_once('/') {
        _ if one == "*" => true,
        None => part.is_empty() && one == plural,
        Some((of, wanted)) => !part.is_empty() && wanted == part && (of == "*" || of == plural),
    }
}

/// The rights among `wanted` that `held` does not give, each as a rule of one verb on one thing.
pub(super) fn missing<'a>(
    held: impl Iterator<Item = &'a PolicyRule> + Clone,
    wanted: &[PolicyRule],
) -> Vec<PolicyRule> {
    let singles = wanted.iter().flat_map(singles);
    singles.filter(|single| !held.clone().any(|rule| covers(rule, single))).collect()
}

/// A rule as rules of one verb on one thing.
fn singles(rule: &PolicyRule) -> Vec<PolicyRule> {
    let mut all = Vec::new();
    for group in list(&rule.api_groups) {
        for resource in list(&rule.resources) {
            for verb in &rule.verbs {
                let single = PolicyRule {
                    api_groups: Some(vec![group.clone()]),
                    resources: Some(vec![resource.clone()]),
                    verbs: vec![verb.clone()],
                    ..PolicyRule::default()
                };
                match list(&rule.resource_names) {
                    [] => all.push(single),
                    names => all.extend(
                        names
                            .iter()
                            .map(|name| PolicyRule { resource_names: Some(vec![name.clone()]), ..single.clone() }),
                    ),
                }
            }
        }
    }
    for url in list(&rule.non_resource_urls) {
        for verb in &rule.verbs {
            all.push(PolicyRule {
                non_resource_urls: Some(vec![url.clone()]),
                verbs: vec![verb.clone()],
                ..PolicyRule::default()
            });
        }
    }
    all
}

/// Whether a rule gives all that another one does.
fn covers(rule: &PolicyRule, single: &PolicyRule) -> bool {
    let every = |all: &[String], wanted: &[String]| wanted.iter().all(|one| has(all, one));
    let resources = |wanted: &[String]| {
        wanted.iter().all(|one| {
            let (of, part) = one.split_once('/').unwrap_or((one, ""));
            list(&rule.resources).iter().any(|held| held == one || resource_fits(held, of, part))
        })
    };
    let names = |wanted: &[String]| {
        let held = list(&rule.resource_names);
        held.is_empty() || !wanted.is_empty() && wanted.iter().all(|one| held.contains(one))
    };
    let paths = |wanted: &[String]| {
        wanted.iter().all(|path| list(&rule.non_resource_urls).iter().any(|url| path_fits(url, path)))
    };
    every(&rule.verbs, &single.verbs)
        && every(list(&rule.api_groups), list(&single.api_groups))
        && resources(list(&single.resources))
        && names(list(&single.resource_names))
        && paths(list(&single.non_resource_urls))
}

/// Rules in short, for people: what is on the same thing is put together.
pub(super) fn described(rules: &[PolicyRule]) -> String {
    let mut merged: Vec<PolicyRule> = Vec::new();
    for rule in rules {
        let same = |other: &&mut PolicyRule| {
            rule.non_resource_urls.is_none()
                && (&other.api_groups, &other.resources, &other.resource_names, &other.non_resource_urls)
                    == (&rule.api_groups, &rule.resources, &rule.resource_names, &rule.non_resource_urls)
        };
        match merged.iter_mut().find(same) {
            Some(other) => other.verbs.extend(rule.verbs.iter().cloned()),
            None => merged.push(rule.clone()),
        }
    }
    let lines: BTreeSet<String> = merged.iter().map(written).collect();
    lines.into_iter().collect::<Vec<_>>().join("\n")
}

fn written(rule: &PolicyRule) -> String {
    let parts = [
        ("APIGroups", list(&rule.api_groups)),
        ("Resources", list(&rule.resources)),
        ("NonResourceURLs", list(&rule.non_resource_urls)),
        ("ResourceNames", list(&rule.resource_names)),
        ("Verbs", rule.verbs.as_slice()),
    ];
    let filled = parts.iter().filter(|(_, all)| !all.is_empty());
    let texts: Vec<String> = filled.map(|(name, all)| format!("{name}:{}", quoted(all))).collect();
    format!("{{{}}}", texts.join(", "))
}

/// A list of texts as Go quotes one: `["a" "b"]`.
pub(super) fn quoted(all: &[String]) -> String {
    let texts: Vec<String> = all.iter().map(|one| format!("{one:?}")).collect();
    format!("[{}]", texts.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::path::Place;

    fn rule(verbs: &[&str], groups: &[&str], resources: &[&str], names: &[&str]) -> PolicyRule {
        let texts = |all: &[&str]| all.iter().map(|one| (*one).to_owned()).collect::<Vec<_>>();
        PolicyRule {
            verbs: texts(verbs),
            api_groups: Some(texts(groups)),
            resources: Some(texts(resources)),
            resource_names: Some(texts(names)).filter(|names| !names.is_empty()),
            ..PolicyRule::default()
        }
    }

    fn wanted(verb: &'static str, plural: &str, part: &str, name: &str) -> Attributes {
        let place = Place {
            plural: plural.to_owned(),
            subresource: part.to_owned(),
            name: name.to_owned(),
            ..Place::default()
        };
        Attributes { verb: verb.into(), place, ..Attributes::default() }
    }

    #[test]
    fn rules_on_resources() {
        let pods = rule(&["get"], &[""], &["pods"], &[]);
        for (rule, verb, plural, part, name, want) in [
            (&pods, "get", "pods", "", "a", true),
            (&pods, "list", "pods", "", "", false),
            (&pods, "get", "pods", "log", "a", false),
            (&rule(&["*"], &["*"], &["*"], &[]), "delete", "pods", "log", "a", true),
            (&rule(&["get"], &[""], &["pods/log"], &[]), "get", "pods", "log", "a", true),
            (&rule(&["get"], &[""], &["pods/log"], &[]), "get", "pods", "", "a", false),
            (&rule(&["get"], &[""], &["*/scale"], &[]), "get", "things", "scale", "a", true),
            (&rule(&["get"], &[""], &["*/scale"], &[]), "get", "things", "status", "a", false),
            (&rule(&["get"], &["apps"], &["pods"], &[]), "get", "pods", "", "a", false),
            (&rule(&["get"], &[""], &["pods"], &["a", "b"]), "get", "pods", "", "b", true),
            (&rule(&["get"], &[""], &["pods"], &["a", "b"]), "get", "pods", "", "c", false),
            (&rule(&["list"], &[""], &["pods"], &["a"]), "list", "pods", "", "", false),
        ] {
            assert_eq!(allows(rule, &wanted(verb, plural, part, name)), want, "{rule:?} {verb} {plural}/{part} {name}");
        }
    }

    #[test]
    fn rules_on_paths() {
        let rule = |urls: &[&str]| PolicyRule {
            verbs: vec!["get".to_owned()],
            non_resource_urls: Some(urls.iter().map(|url| (*url).to_owned()).collect()),
            ..PolicyRule::default()
        };
        for (urls, path, want) in [
            (&["/healthz"], "/healthz", true),
            (&["/healthz"], "/healthz/etcd", false),
            (&["/api/*"], "/api/v1", true),
            (&["/api/*"], "/apis", false),
            (&["*"], "/anything", true),
        ] {
            assert_eq!(allows(&rule(urls), &Attributes::of_path(path, "get")), want, "{urls:?} {path}");
        }
        assert!(!allows(&rule(&["*"]), &wanted("get", "pods", "", "")));
    }

    #[test]
    fn nobody_gives_more_than_they_have() {
        let held = [rule(&["get", "list"], &[""], &["pods", "pods/*"], &[]), rule(&["*"], &["apps"], &["*"], &[])];
        let tell = |wanted: &[PolicyRule]| described(&missing(held.iter(), wanted));
        assert_eq!(tell(&[rule(&["get"], &[""], &["pods"], &["a"])]), "");
        assert_eq!(tell(&[rule(&["delete"], &["apps"], &["deployments/scale"], &[])]), "");
        assert_eq!(
            tell(&[rule(&["get", "watch"], &["", "apps"], &["nodes"], &[])]),
            r#"{APIGroups:[""], Resources:["nodes"], Verbs:["get" "watch"]}"#
        );
        let named = [rule(&["get"], &[""], &["secrets"], &["a"])];
        assert_eq!(missing(named.iter(), &[rule(&["get"], &[""], &["secrets"], &[])]).len(), 1);
        assert!(missing(named.iter(), &named).is_empty());
    }
}
