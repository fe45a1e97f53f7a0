//! Clusters as typed values.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::fields::Of;
use super::{Name, NameError, Runtime};

/// What a cluster should be, on the provider that shall bring it up.
///
/// ```
/// use kprov::cluster::Cluster;
///
/// let dev = Cluster::from_yaml("dev.yaml", "apiVersion: kprov.dev/v1\nkind: Cluster\nname: dev\n").unwrap();
/// assert_eq!(dev.name().as_str(), "dev");
/// assert!(matches!(dev, Cluster::Local(local) if local.nodes == 1));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cluster {
    /// On this machine.
    Local(LocalCluster),
    /// On Amazon EKS.
    Eks(Box<EksCluster>),
}

/// The Kubernetes version that clusters have when nobody says otherwise; local ones have no other.
///
/// ```
/// use kprov::cluster::{Cluster, VERSION};
///
/// assert_eq!(Cluster::eks("prod", "eu-central-1").version, VERSION);
/// ```
pub const VERSION: &str = kprov_schema::version::MINOR;

impl Cluster {
    /// A cluster on this machine, of one node with real containers.
    ///
    /// Panics when the text is no cluster name: that is a mistake in the program, not in its input.
    ///
    /// ```
    /// use kprov::cluster::Cluster;
    ///
    /// let dev: Cluster = Cluster::local("dev").nodes(2).simulated().into();
    /// assert!(dev.to_yaml().contains("nodes: 2\n"));
    /// ```
    #[must_use]
    #[track_caller]
    pub fn local(name: &str) -> LocalCluster {
        LocalCluster::new(literal(name))
    }

    /// A cluster on Amazon EKS, so far without nodes.
    ///
    /// Panics when the text is no cluster name: that is a mistake in the program, not in its input.
    ///
    /// ```
    /// use kprov::cluster::{Cluster, NodeGroup};
    ///
    /// let prod: Cluster = Cluster::eks("prod", "eu-central-1").node_group(NodeGroup::new("web").size(2, 6)).into();
    /// assert_eq!(Cluster::from_yaml("prod.yaml", &prod.to_yaml()), Ok(prod));
    /// ```
    #[must_use]
    #[track_caller]
    pub fn eks(name: &str, region: impl Into<String>) -> EksCluster {
        EksCluster {
            name: literal(name),
            region: region.into(),
            account: None,
            version: VERSION.to_owned(),
            network: Network::default(),
            node_groups: Vec::new(),
            access: Access::default(),
            ingress: Ingress::default(),
            addons: ["vpc-cni", "coredns", "kube-proxy"].map(str::to_owned).to_vec(),
        }
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &Name {
        match self {
            Self::Local(cluster) => &cluster.name,
            Self::Eks(cluster) => &cluster.name,
        }
    }

    pub(super) fn of(&self) -> Of {
        match self {
            Self::Local(_) => Of::Local,
            Self::Eks(_) => Of::Eks,
        }
    }
}

#[track_caller]
fn literal(name: &str) -> Name {
    match name.parse() {
        Ok(name) => name,
        Err(error) => panic!("{error}"),
    }
}

impl From<LocalCluster> for Cluster {
    fn from(cluster: LocalCluster) -> Self {
        Self::Local(cluster)
    }
}

impl From<EksCluster> for Cluster {
    fn from(cluster: EksCluster) -> Self {
        Self::Eks(Box::new(cluster))
    }
}

/// A cluster on this machine.
///
/// ```
/// use kprov::cluster::{Cluster, LocalCluster};
///
/// let dev = LocalCluster::new("dev".parse()?).nodes(3).port(6443).simulated();
/// assert_eq!(dev.node_grace_seconds, LocalCluster::GRACE_SECONDS);
/// # Ok::<(), kprov::cluster::NameError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalCluster {
    /// Name, unique on this machine.
    pub name: Name,
    /// Number of nodes; 0 is a control plane alone.
    pub nodes: u32,
    /// Whether containers are real.
    pub runtime: Runtime,
    /// Port of the API server; `None` takes a free one and keeps it.
    pub port: Option<u16>,
    /// Seconds that a node may be silent before it counts as lost.
    pub node_grace_seconds: u32,
}

impl LocalCluster {
    /// Seconds that a node may be silent when nobody says otherwise.
    ///
    /// Source: `node-monitor-grace-period` of kube-controller-manager.
    pub const GRACE_SECONDS: u32 = 50;

    /// One node with real containers.
    #[must_use]
    pub fn new(name: Name) -> Self {
        Self { name, nodes: 1, runtime: Runtime::Containers, port: None, node_grace_seconds: Self::GRACE_SECONDS }
    }

    /// The same with so many nodes; 0 is a control plane alone.
    #[must_use]
    pub fn nodes(mut self, nodes: u32) -> Self {
        self.nodes = nodes;
        self
    }

    /// The same with pods that have no processes behind them.
    #[must_use]
    pub fn simulated(mut self) -> Self {
        self.runtime = Runtime::Simulated;
        self
    }

    /// The same with the API server on a port of this machine.
    #[must_use]
    pub fn port(mut self, port: u16) -> Self {
        self.port = Some(port);
        self
    }
}

/// A cluster on Amazon EKS.
///
/// ```
/// use kprov::cluster::{Cluster, NodeGroup, Rights};
///
/// let prod = Cluster::eks("prod", "eu-central-1")
///     .account("012345678901")
///     .node_group(NodeGroup::new("web").instances(["m6i.large", "m5.large"]).size(2, 6))
///     .grant("arn:aws:iam::012345678901:role/ops", Rights::Admin);
/// assert_eq!(prod.addons, ["vpc-cni", "coredns", "kube-proxy"]);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EksCluster {
    /// Name, unique in its account and region.
    pub name: Name,
    /// Region of AWS, such as `eu-central-1`.
    pub region: String,
    /// Account that must be used, 12 digits.
    pub account: Option<String>,
    /// Kubernetes version, such as `1.37`.
    pub version: String,
    /// Its network.
    pub network: Network,
    /// Groups of equal nodes.
    pub node_groups: Vec<NodeGroup>,
    /// Who may reach the API server.
    pub access: Access,
    /// How requests from outside get in.
    pub ingress: Ingress,
    /// Addons of EKS by their names there, such as `coredns`.
    pub addons: Vec<String>,
}

impl EksCluster {
    /// The same with one more group of nodes.
    #[must_use]
    pub fn node_group(mut self, group: NodeGroup) -> Self {
        self.node_groups.push(group);
        self
    }

    /// The same for one account alone, which keeps its twelve digits.
    #[must_use]
    pub fn account(mut self, account: impl Into<String>) -> Self {
        self.account = Some(account.into());
        self
    }

    /// The same with rights for a user or a role of AWS.
    #[must_use]
    pub fn grant(mut self, arn: impl Into<String>, rights: Rights) -> Self {
        self.access.grants.push(Grant { arn: arn.into(), rights, groups: Vec::new() });
        self
    }
}

/// The network of an EKS cluster.
///
/// ```
/// use kprov::cluster::{Cluster, Nat, Network};
///
/// let mut prod = Cluster::eks("prod", "eu-central-1");
/// prod.network = Network { zones: 2, ..Network::default() };
/// assert_eq!((prod.network.cidr.as_str(), prod.network.nat), ("10.0.0.0/16", Nat::Single));
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Network {
    /// Addresses of its machines, as a network such as `10.0.0.0/16`.
    pub cidr: String,
    /// Number of availability zones.
    pub zones: u32,
    /// Gateways to the internet.
    pub nat: Nat,
}

impl Default for Network {
    fn default() -> Self {
        Self { cidr: "10.0.0.0/16".to_owned(), zones: 3, nat: Nat::Single }
    }
}

/// Gateways by which private nodes reach the internet.
///
/// ```
/// use kprov::cluster::{Nat, Network};
///
/// let network = Network { nat: Nat::PerZone, ..Network::default() };
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Nat {
    /// There is none.
    None,
    /// One for all zones.
    Single,
    /// One a zone.
    PerZone,
}

/// A group of equal nodes.
///
/// ```
/// use kprov::cluster::{NodeGroup, Taint};
///
/// let mut batch = NodeGroup::new("batch").instances(["c6i.xlarge"]).size(0, 20);
/// batch.spot = true;
/// batch.taints.push(Taint { key: "dedicated".to_owned(), value: None, effect: "NoSchedule".to_owned() });
/// assert_eq!(batch.disk_gib, 20);
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NodeGroup {
    /// Name, unique in the cluster.
    pub name: String,
    /// Instance types, the best first.
    pub instance_types: Vec<String>,
    /// Least number of nodes.
    pub min: u32,
    /// Largest number of nodes.
    pub max: u32,
    /// Number of nodes to begin with; `None` is `min`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub desired: Option<u32>,
    /// Size of a node's disk in GiB.
    pub disk_gib: u32,
    /// Whether AWS may take nodes back.
    pub spot: bool,
    /// Labels of the nodes.
    pub labels: BTreeMap<String, String>,
    /// Taints of the nodes.
    pub taints: Vec<Taint>,
}

impl NodeGroup {
    /// One to three nodes of type t3.medium.
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            instance_types: vec!["t3.medium".to_owned()],
            min: 1,
            max: 3,
            desired: None,
            disk_gib: 20,
            spot: false,
            labels: BTreeMap::new(),
            taints: Vec::new(),
        }
    }

    /// The same with other instance types, the best first.
    #[must_use]
    pub fn instances<T: Into<String>>(mut self, types: impl IntoIterator<Item = T>) -> Self {
        self.instance_types = types.into_iter().map(Into::into).collect();
        self
    }

    /// The same with at least and at most so many nodes.
    #[must_use]
    pub fn size(mut self, min: u32, max: u32) -> Self {
        (self.min, self.max) = (min, max);
        self
    }
}

/// A taint of the nodes of a group.
///
/// ```
/// use kprov::cluster::Taint;
///
/// let batch = Taint { key: "dedicated".to_owned(), value: Some("batch".to_owned()), effect: "NoSchedule".to_owned() };
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Taint {
    /// Key.
    pub key: String,
    /// Value.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
    /// `NoSchedule`, `PreferNoSchedule` or `NoExecute`.
    pub effect: String,
}

/// Who may reach the API server, and as what.
///
/// ```
/// use kprov::cluster::{Access, Endpoint};
///
/// let inside = Access { endpoint: Endpoint::Private, ..Access::default() };
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Access {
    /// From where.
    pub endpoint: Endpoint,
    /// Users and roles of AWS with their rights.
    pub grants: Vec<Grant>,
}

impl Default for Access {
    fn default() -> Self {
        Self { endpoint: Endpoint::Public, grants: Vec::new() }
    }
}

/// From where the API server can be reached.
///
/// ```
/// use kprov::cluster::{Access, Endpoint};
///
/// assert_eq!(Access::default().endpoint, Endpoint::Public);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Endpoint {
    /// From everywhere.
    Public,
    /// From the cluster's network.
    Private,
    /// From everywhere; nodes stay inside of the network.
    Both,
}

/// Rights of a user or a role of AWS.
///
/// ```
/// use kprov::cluster::{Grant, Rights};
///
/// let ada = Grant {
///     arn: "arn:aws:iam::012345678901:user/ada".to_owned(),
///     rights: Rights::Edit,
///     groups: vec!["shop".to_owned()],
/// };
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Grant {
    /// The user or role by its ARN, such as `arn:aws:iam::012345678901:role/ops`.
    pub arn: String,
    /// What it may do in the whole cluster.
    pub rights: Rights,
    /// Groups of Kubernetes that it belongs to.
    pub groups: Vec<String>,
}

/// What somebody may do in the whole cluster.
///
/// ```
/// use kprov::cluster::{Cluster, Rights};
///
/// let prod = Cluster::eks("prod", "eu-central-1").grant("arn:aws:iam::012345678901:role/audit", Rights::View);
/// assert_eq!(prod.access.grants[0].rights, Rights::View);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Rights {
    /// Everything.
    Admin,
    /// Change what is in namespaces.
    Edit,
    /// Read.
    View,
}

/// How requests from outside get in.
///
/// ```
/// use kprov::cluster::Ingress;
///
/// let nginx = Ingress { controller: "nginx".to_owned(), ..Ingress::default() };
/// assert_eq!(nginx.class, "nginx");
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ingress {
    /// `none` or `nginx`.
    pub controller: String,
    /// Name of the ingress class.
    pub class: String,
}

impl Default for Ingress {
    fn default() -> Self {
        Self { controller: "none".to_owned(), class: "nginx".to_owned() }
    }
}

/// A cluster as it stands in a file, whatever its provider.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct File {
    api_version: String,
    kind: String,
    name: String,
    provider: String,
    version: String,
    nodes: u32,
    runtime: Runtime,
    port: Option<u16>,
    node_grace_seconds: u32,
    region: Option<String>,
    account: Option<String>,
    network: Network,
    #[serde(default)]
    node_groups: Vec<NodeGroup>,
    access: Access,
    ingress: Ingress,
    addons: Vec<String>,
}

impl File {
    /// What is wrong between fields: paths with messages.
    pub(super) fn mistakes(&self) -> Vec<(String, String)> {
        let mut found = Vec::new();
        if self.provider == "local" && self.version != VERSION {
            let message = format!("the local provider serves Kubernetes {VERSION}, not {}", self.version);
            found.push(("version".to_owned(), message));
        }
        if self.provider == "eks" && self.node_groups.is_empty() {
            found.push(("nodeGroups".to_owned(), "nodeGroups is empty: a cluster needs a group of nodes".to_owned()));
        }
        for (index, group) in self.node_groups.iter().enumerate() {
            let path = format!("nodeGroups[{index}]");
            if self.node_groups[..index].iter().any(|other| other.name == group.name) {
                found.push((format!("{path}.name"), format!("two groups are named {:?}", group.name)));
            }
            if group.min > group.max {
                found.push((format!("{path}.min"), format!("min {} is more than max {}", group.min, group.max)));
            }
            if let Some(desired) = group.desired.filter(|desired| !(group.min..=group.max).contains(desired)) {
                let message = format!("desired {desired} is not between min {} and max {}", group.min, group.max);
                found.push((format!("{path}.desired"), message));
            }
            if group.instance_types.is_empty() {
                found.push((format!("{path}.instanceTypes"), "instanceTypes is empty".to_owned()));
            }
        }
        found
    }

    pub(super) fn into_cluster(self) -> Result<Cluster, NameError> {
        let name: Name = self.name.parse()?;
        Ok(if self.provider == "eks" {
            EksCluster {
                name,
                region: self.region.unwrap_or_default(),
                account: self.account,
                version: self.version,
                network: self.network,
                node_groups: self.node_groups,
                access: self.access,
                ingress: self.ingress,
                addons: self.addons,
            }
            .into()
        } else {
            Cluster::Local(LocalCluster {
                name,
                nodes: self.nodes,
                runtime: self.runtime,
                port: self.port,
                node_grace_seconds: self.node_grace_seconds,
            })
        })
    }
}

impl From<Cluster> for File {
    fn from(cluster: Cluster) -> Self {
        let name = cluster.name().clone();
        let mut file = Self {
            api_version: "kprov.dev/v1".to_owned(),
            kind: "Cluster".to_owned(),
            name: name.to_string(),
            provider: "local".to_owned(),
            version: VERSION.to_owned(),
            nodes: 1,
            runtime: Runtime::Containers,
            port: None,
            node_grace_seconds: LocalCluster::GRACE_SECONDS,
            region: None,
            account: None,
            network: Network::default(),
            node_groups: Vec::new(),
            access: Access::default(),
            ingress: Ingress::default(),
            addons: Vec::new(),
        };
        match cluster {
            Cluster::Local(local) => {
                file.nodes = local.nodes;
                file.runtime = local.runtime;
                file.port = local.port;
                file.node_grace_seconds = local.node_grace_seconds;
            }
            Cluster::Eks(eks) => {
                let eks = *eks;
                file.provider = "eks".to_owned();
                file.region = Some(eks.region);
                file.account = eks.account;
                file.version = eks.version;
                file.network = eks.network;
                file.node_groups = eks.node_groups;
                file.access = eks.access;
                file.ingress = eks.ingress;
                file.addons = eks.addons;
            }
        }
        file
    }
}
