//! The priorities and flows that every cluster has from its first moment on.
//!
//! Source: <https://kubernetes.io/docs/concepts/cluster-administration/flow-control/#defaults>

use k8s_openapi::api::flowcontrol::v1::{
    ExemptPriorityLevelConfiguration, FlowDistinguisherMethod, FlowSchemaSpec, GroupSubject, LimitResponse,
    LimitedPriorityLevelConfiguration, NonResourcePolicyRule, PolicyRulesWithSubjects,
    PriorityLevelConfigurationReference, PriorityLevelConfigurationSpec, QueuingConfiguration, ResourcePolicyRule,
    ServiceAccountSubject, Subject, UserSubject,
};

/// A priority level that every cluster has.
pub struct Level {
    /// Its name.
    pub name: &'static str,
    /// Whether its spec can't be changed.
    pub mandatory: bool,
    limits: Limits,
}

enum Limits {
    Exempt,
    /// What is too much is refused: shares.
    Reject(i32),
    /// What is too much waits: shares, percent that may be lent, queues, hand size.
    Queue(i32, i32, i32, i32),
}

/// The priority levels, as upstream lists them.
pub const LEVELS: &[Level] = &[
    Level { name: "catch-all", mandatory: true, limits: Limits::Reject(5) },
    Level { name: "exempt", mandatory: true, limits: Limits::Exempt },
    Level { name: "system", mandatory: false, limits: Limits::Queue(30, 33, 64, 6) },
    Level { name: "node-high", mandatory: false, limits: Limits::Queue(40, 25, 64, 6) },
    Level { name: "leader-election", mandatory: false, limits: Limits::Queue(10, 0, 16, 4) },
    Level { name: "workload-high", mandatory: false, limits: Limits::Queue(40, 50, 128, 6) },
    Level { name: "workload-low", mandatory: false, limits: Limits::Queue(100, 90, 128, 6) },
    Level { name: "global-default", mandatory: false, limits: Limits::Queue(20, 50, 128, 6) },
];

impl Level {
    /// Its spec.
    #[must_use]
    pub fn spec(&self) -> PriorityLevelConfigurationSpec {
        let limited = |shares, lendable, queuing: Option<QueuingConfiguration>| PriorityLevelConfigurationSpec {
            type_: "Limited".to_owned(),
            limited: Some(LimitedPriorityLevelConfiguration {
                nominal_concurrency_shares: Some(shares),
                lendable_percent: Some(lendable),
                borrowing_limit_percent: None,
                limit_response: LimitResponse {
                    type_: if queuing.is_some() { "Queue" } else { "Reject" }.to_owned(),
                    queuing,
                },
            }),
            exempt: None,
        };
        match self.limits {
            Limits::Exempt => PriorityLevelConfigurationSpec {
                type_: "Exempt".to_owned(),
                exempt: Some(ExemptPriorityLevelConfiguration {
                    nominal_concurrency_shares: Some(0),
                    lendable_percent: Some(0),
                }),
                limited: None,
            },
            Limits::Reject(shares) => limited(shares, 0, None),
            Limits::Queue(shares, lendable, queues, hand) => {
                let queuing =
                    QueuingConfiguration { queues: Some(queues), hand_size: Some(hand), queue_length_limit: Some(50) };
                limited(shares, lendable, Some(queuing))
            }
        }
    }
}

/// A flow that every cluster has.
pub struct Flow {
    /// Its name.
    pub name: &'static str,
    /// Whether its spec can't be changed.
    pub mandatory: bool,
    level: &'static str,
    precedence: i32,
    /// What tells its requests apart.
    by: Option<&'static str>,
    who: &'static [Who],
    what: What,
}

enum Who {
    Group(&'static str),
    User(&'static str),
    /// The accounts of the namespace `kube-system`.
    SystemAccounts,
}

enum What {
    Everything,
    /// Paths that are read.
    Paths(&'static [&'static str]),
    /// Verbs, group, resources, and whether those that are in no namespace count, too.
    Resources(&'static [Resources]),
}

type Resources = (&'static [&'static str], &'static str, &'static [&'static str], bool);

const EVERYBODY: &[Who] = &[Who::Group("system:unauthenticated"), Who::Group("system:authenticated")];
const NODES: &[Who] = &[Who::Group("system:nodes")];
const USER: Option<&str> = Some("ByUser");
const NAMESPACE: Option<&str> = Some("ByNamespace");
const LEASES: &[&str] = &["leases"];

const fn everything(
    name: &'static str,
    level: &'static str,
    precedence: i32,
    by: Option<&'static str>,
    who: &'static [Who],
) -> Flow {
    Flow { name, mandatory: false, level, precedence, by, who, what: What::Everything }
}

/// The flows, as upstream lists them.
pub const FLOWS: &[Flow] = &[
    Flow { mandatory: true, ..everything("exempt", "exempt", 1, None, &[Who::Group("system:masters")]) },
    Flow { mandatory: true, ..everything("catch-all", "catch-all", 10_000, USER, EVERYBODY) },
    everything("system-nodes", "system", 500, USER, NODES),
    Flow {
        what: What::Resources(&[
            (&["*"], "", &["nodes", "nodes/status"], true),
            (&["*"], "coordination.k8s.io", LEASES, false),
        ]),
        ..everything("system-node-high", "node-high", 400, USER, NODES)
    },
    Flow {
        what: What::Paths(&["/healthz", "/readyz", "/livez"]),
        ..everything("probes", "exempt", 2, None, EVERYBODY)
    },
    Flow {
        what: What::Resources(&[(&["get", "create", "update"], "coordination.k8s.io", LEASES, false)]),
        ..everything(
            "system-leader-election",
            "leader-election",
            100,
            USER,
            &[Who::User("system:kube-controller-manager"), Who::User("system:kube-scheduler"), Who::SystemAccounts],
        )
    },
    everything(
        "kube-controller-manager",
        "workload-high",
        800,
        NAMESPACE,
        &[Who::User("system:kube-controller-manager")],
    ),
    everything("kube-scheduler", "workload-high", 800, NAMESPACE, &[Who::User("system:kube-scheduler")]),
    everything("kube-system-service-accounts", "workload-high", 900, NAMESPACE, &[Who::SystemAccounts]),
    everything("service-accounts", "workload-low", 9000, USER, &[Who::Group("system:serviceaccounts")]),
    everything("global-default", "global-default", 9900, USER, EVERYBODY),
];

impl Flow {
    /// Its spec.
    #[must_use]
    pub fn spec(&self) -> FlowSchemaSpec {
        let rules = PolicyRulesWithSubjects {
            subjects: self.who.iter().map(subject).collect(),
            resource_rules: self.what.resources(),
            non_resource_rules: self.what.paths(),
        };
        FlowSchemaSpec {
            priority_level_configuration: PriorityLevelConfigurationReference { name: self.level.to_owned() },
            matching_precedence: Some(self.precedence),
            distinguisher_method: self.by.map(|by| FlowDistinguisherMethod { type_: by.to_owned() }),
            rules: Some(vec![rules]),
        }
    }
}

fn subject(who: &Who) -> Subject {
    let (kind, name) = match who {
        Who::Group(name) => ("Group", *name),
        Who::User(name) => ("User", *name),
        Who::SystemAccounts => ("ServiceAccount", "*"),
    };
    let name = name.to_owned();
    let mut subject = Subject { kind: kind.to_owned(), ..Subject::default() };
    match who {
        Who::Group(_) => subject.group = Some(GroupSubject { name }),
        Who::User(_) => subject.user = Some(UserSubject { name }),
        Who::SystemAccounts => {
            subject.service_account = Some(ServiceAccountSubject { name, namespace: "kube-system".to_owned() });
        }
    }
    subject
}

fn owned(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}

impl What {
    fn resources(&self) -> Option<Vec<ResourcePolicyRule>> {
        let rule = |(verbs, group, resources, cluster): &Resources| ResourcePolicyRule {
            verbs: owned(verbs),
            api_groups: vec![(*group).to_owned()],
            resources: owned(resources),
            cluster_scope: cluster.then_some(true),
            namespaces: Some(vec!["*".to_owned()]),
        };
        match self {
            Self::Everything => Some(vec![rule(&(&["*"], "*", &["*"], true))]),
            Self::Paths(_) => None,
            Self::Resources(all) => Some(all.iter().map(rule).collect()),
        }
    }

    fn paths(&self) -> Option<Vec<NonResourcePolicyRule>> {
        let (verbs, paths): (&[&str], &[&str]) = match self {
            Self::Everything => (&["*"], &["*"]),
            Self::Paths(paths) => (&["get"], paths),
            Self::Resources(_) => return None,
        };
        Some(vec![NonResourcePolicyRule { verbs: owned(verbs), non_resource_urls: owned(paths) }])
    }
}
