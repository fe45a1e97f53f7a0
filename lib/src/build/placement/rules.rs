//! The words of placement: places, rules for nodes and labels, tolerations, spreads.

use k8s_openapi::api::core::v1 as core;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, LabelSelectorRequirement};

use crate::build::amount::Time;
use crate::build::text::{Key, LabelValue, Of};
use crate::build::workload::Selects;
use crate::build::wraps::part;

/// What counts as one place: nodes with an equal label are in the same one.
///
/// ```
/// # use kprov::build::*;
/// assert_eq!(Topology::Zone.key(), "topology.kubernetes.io/zone");
/// ```
/// Source: <https://kubernetes.io/docs/reference/labels-annotations-taints/#topologykubernetesiozone>
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Topology {
    /// Every node is a place of its own.
    Host,
    /// A zone of a cloud.
    Zone,
    /// A region of a cloud.
    Region,
    /// Nodes of the same value of that label.
    Label(Key),
}

impl Topology {
    /// The label of nodes that tells places apart.
    #[must_use]
    pub fn key(&self) -> &str {
        match self {
            Self::Host => "kubernetes.io/hostname",
            Self::Zone => "topology.kubernetes.io/zone",
            Self::Region => "topology.kubernetes.io/region",
            Self::Label(key) => key.as_str(),
        }
    }
}

part! {
    /// How evenly pods are spread over places.
    ///
    /// ```
    /// # use kprov::build::*;
    /// let web = Deployment::new("web", Container::new("web", "nginx:1.27"))
    ///     .spread_over(Spread::over(Topology::Zone).max_skew(2).strictly());
    /// ```
    /// Source: <https://kubernetes.io/docs/concepts/scheduling-eviction/topology-spread-constraints/>
    Spread(core::TopologySpreadConstraint)
}

/// How strictly.
///
/// ```
/// # use kprov::build::*;
/// let strict = Spread::over(Topology::Zone).max_skew(2).min_places(3);
/// assert_eq!(strict.build().when_unsatisfiable, "DoNotSchedule");
/// ```
impl Spread {
    /// As evenly as possible, with one pod of difference between places.
    #[must_use]
    pub fn over(place: Topology) -> Self {
        Self(core::TopologySpreadConstraint {
            max_skew: 1,
            topology_key: place.key().to_owned(),
            when_unsatisfiable: "ScheduleAnyway".to_owned(),
            ..core::TopologySpreadConstraint::default()
        })
    }

    /// How many pods more one place may have than another, at least 1.
    #[must_use]
    #[track_caller]
    pub fn max_skew(mut self, pods: u16) -> Self {
        assert!(pods > 0, "places can't all be equal while one pod is added: write 1 or more");
        self.0.max_skew = i32::from(pods);
        self
    }

    /// A pod rather waits than makes the places uneven.
    #[must_use]
    pub fn strictly(mut self) -> Self {
        self.0.when_unsatisfiable = "DoNotSchedule".to_owned();
        self
    }

    /// At least so many places are counted, though some have no fitting node. Only when it waits.
    #[must_use]
    pub fn min_places(self, places: u16) -> Self {
        let mut strict = self.strictly();
        strict.0.min_domains = Some(i32::from(places));
        strict
    }
}

impl From<Topology> for Spread {
    fn from(place: Topology) -> Self {
        Self::over(place)
    }
}

part! {
    /// A taint of nodes that pods put up with.
    ///
    /// ```
    /// # use kprov::build::*;
    /// let it = Toleration::of("dedicated").value("db").no_schedule();
    /// ```
    /// Source: <https://kubernetes.io/docs/concepts/scheduling-eviction/taint-and-toleration/>
    Toleration(core::Toleration)
}

/// Which taints, by key, value and effect.
///
/// ```
/// # use kprov::build::*;
/// use std::time::Duration;
/// let some = [
///     Toleration::everything(),
///     Toleration::of("example.com/slow").prefer_no_schedule(),
///     Toleration::of("dedicated").value("db").no_execute(),
///     Toleration::of("node.kubernetes.io/unreachable").no_execute_for(Duration::from_secs(30)),
/// ];
/// assert_eq!(some[3].build().toleration_seconds, Some(30));
/// ```
impl Toleration {
    /// Taints of that key, whatever their value and effect.
    #[must_use]
    #[track_caller]
    pub fn of(key: impl Of<Key>) -> Self {
        let key = Some(key.checked().into());
        Self(core::Toleration { key, operator: Some("Exists".to_owned()), ..core::Toleration::default() })
    }

    /// Every taint there is.
    #[must_use]
    pub fn everything() -> Self {
        Self(core::Toleration { operator: Some("Exists".to_owned()), ..core::Toleration::default() })
    }

    /// Only when the taint has that value.
    ///
    /// Panics on [`Toleration::everything`], which has no key that could have a value.
    #[must_use]
    #[track_caller]
    pub fn value(mut self, value: impl Of<LabelValue>) -> Self {
        assert!(self.0.key.is_some(), "a value belongs to a key: write `Toleration::of(key).value(..)`");
        self.0.operator = Some("Equal".to_owned());
        self.0.value = Some(value.checked().into());
        self
    }

    fn effect(mut self, effect: &str) -> Self {
        self.0.effect = Some(effect.to_owned());
        self
    }

    /// Only taints that keep new pods away.
    #[must_use]
    pub fn no_schedule(self) -> Self {
        self.effect("NoSchedule")
    }

    /// Only taints that rather keep new pods away.
    #[must_use]
    pub fn prefer_no_schedule(self) -> Self {
        self.effect("PreferNoSchedule")
    }

    /// Only taints that drive pods away; these stay.
    #[must_use]
    pub fn no_execute(self) -> Self {
        self.effect("NoExecute")
    }

    /// Only taints that drive pods away; these stay for that time.
    #[must_use]
    #[track_caller]
    pub fn no_execute_for(self, time: impl Time) -> Self {
        let mut toleration = self.no_execute();
        toleration.0.toleration_seconds = Some(time.whole_seconds());
        toleration
    }
}

/// A label that is looked at, before it is said what must be true of it.
///
/// ```
/// # use kprov::build::*;
/// let rule = LabelRule::label("tier").is_not_in(["test"]);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Looked<R> {
    key: String,
    rule: std::marker::PhantomData<R>,
}

/// A rule for the labels of nodes.
///
/// ```
/// # use kprov::build::*;
/// let it = NodeRule::label("kubernetes.io/hostname").is_in(["node-1", "node-2"]);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeRule(Rule);

/// A rule for the labels of pods; it [`Selects`] them.
///
/// ```
/// # use kprov::build::*;
/// let web = Deployment::new("web", Container::new("web", "nginx:1.27"))
///     .away_from(&LabelRule::label("app").is_in(["zk"]), Topology::Host);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LabelRule(Rule);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Rule {
    key: String,
    operator: &'static str,
    values: Vec<String>,
}

macro_rules! looks {
    ($name:ident) => {
        /// ```
        /// # use kprov::build::*;
        /// let rule = NodeRule::label("kubernetes.io/arch").is_in(["arm64"]);
        /// ```
        impl $name {
            /// Looks at the label of that key.
            #[must_use]
            #[track_caller]
            pub fn label(key: impl Of<Key>) -> Looked<Self> {
                Looked { key: key.checked().into(), rule: std::marker::PhantomData }
            }
        }

        /// What must be true of the label.
        ///
        /// ```
        /// # use kprov::build::*;
        /// let ssd = NodeRule::label("disk").is_in(["ssd", "nvme"]);
        /// let stable = LabelRule::label("tier").is_not_in(["test"]);
        /// let owned = NodeRule::label("team").exists();
        /// let free = NodeRule::label("team").is_absent();
        /// ```
        impl Looked<$name> {
            fn rule(self, operator: &'static str, values: Vec<String>) -> $name {
                $name(Rule { key: self.key, operator, values })
            }

            /// Its value is one of these.
            #[must_use]
            #[track_caller]
            pub fn is_in(self, values: impl IntoIterator<Item = impl Of<LabelValue>>) -> $name {
                let values = texts(values);
                self.rule("In", values)
            }

            /// Its value is none of these, or it is not there.
            #[must_use]
            #[track_caller]
            pub fn is_not_in(self, values: impl IntoIterator<Item = impl Of<LabelValue>>) -> $name {
                let values = texts(values);
                self.rule("NotIn", values)
            }

            /// It is there.
            #[must_use]
            pub fn exists(self) -> $name {
                self.rule("Exists", Vec::new())
            }

            /// It is not there.
            #[must_use]
            pub fn is_absent(self) -> $name {
                self.rule("DoesNotExist", Vec::new())
            }
        }
    };
}
looks!(NodeRule);
looks!(LabelRule);

/// What must be true of a label that is a whole number.
///
/// ```
/// # use kprov::build::*;
/// let large = NodeRule::label("example.com/cores").more_than(7);
/// let small = NodeRule::label("example.com/cores").less_than(8);
/// ```
impl Looked<NodeRule> {
    /// Its value is a larger number.
    #[must_use]
    pub fn more_than(self, number: u32) -> NodeRule {
        self.rule("Gt", vec![number.to_string()])
    }

    /// Its value is a smaller number.
    #[must_use]
    pub fn less_than(self, number: u32) -> NodeRule {
        self.rule("Lt", vec![number.to_string()])
    }
}

/// Panics when there is no value: the rule would fit nothing.
#[track_caller]
fn texts(values: impl IntoIterator<Item = impl Of<LabelValue>>) -> Vec<String> {
    let mut texts = Vec::new();
    for value in values {
        texts.push(value.checked().into());
    }
    assert!(!texts.is_empty(), "a rule with no value fits nothing: name at least one");
    texts
}

impl From<NodeRule> for core::NodeSelectorRequirement {
    fn from(NodeRule(Rule { key, operator, values }): NodeRule) -> Self {
        Self { key, operator: operator.to_owned(), values: (!values.is_empty()).then_some(values) }
    }
}

impl From<LabelRule> for LabelSelectorRequirement {
    fn from(LabelRule(Rule { key, operator, values }): LabelRule) -> Self {
        Self { key, operator: operator.to_owned(), values: (!values.is_empty()).then_some(values) }
    }
}

#[diagnostic::do_not_recommend]
impl Selects for LabelRule {
    fn label_selector(&self) -> LabelSelector {
        LabelSelector { match_labels: None, match_expressions: Some(vec![self.clone().into()]) }
    }
}
