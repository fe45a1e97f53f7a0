//! What a pod is called inside and whom it asks for names: host name, `/etc/hosts`, `resolv.conf`.

use std::net::IpAddr;

use k8s_openapi::api::core::v1::Pod;

/// The longest host name that the kernel takes.
const LONGEST: usize = 63;
/// Most name servers that a `resolv.conf` may name.
const SERVERS: usize = 3;
/// Most search domains, and their length together.
const SEARCHES: (usize, usize) = (32, 2048);

/// Host name and domain of a pod; the domain is empty without a subdomain.
#[must_use]
pub fn host(pod: &Pod, cluster_domain: &str) -> (String, String) {
    let Some(spec) = &pod.spec else { return Default::default() };
    let name = pod.metadata.name.clone().unwrap_or_default();
    if let Some(own) = spec.hostname_override.clone().filter(|own| !own.is_empty()) {
        return (own, String::new());
    }
    if let Some(node) = spec.node_name.clone().filter(|_| shares_network(pod)) {
        return (node, String::new());
    }
    let host = spec.hostname.clone().filter(|own| !own.is_empty()).unwrap_or(name);
    let host = if host.len() > LONGEST { host[..LONGEST].trim_end_matches(['-', '.']).to_owned() } else { host };
    let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
    let sub = spec.subdomain.as_deref().filter(|sub| !sub.is_empty());
    (host, sub.map_or_else(String::new, |sub| format!("{sub}.{namespace}.svc.{cluster_domain}")))
}

/// Whether a pod has the network of its node, and its name.
#[must_use]
pub fn shares_network(pod: &Pod) -> bool {
    pod.spec.as_ref().is_some_and(|spec| spec.host_network == Some(true))
}

/// What the kernel calls the pod: the host name, or the whole one where the pod asks for it.
///
/// Errors: a text for the pod's events when the whole name is too long.
pub fn kernel_hostname(pod: &Pod, cluster_domain: &str) -> Result<String, String> {
    let (host, domain) = host(pod, cluster_domain);
    let whole = pod.spec.as_ref().and_then(|spec| spec.set_hostname_as_fqdn) == Some(true);
    if !whole || domain.is_empty() {
        return Ok(host);
    }
    let name = format!("{host}.{domain}");
    if name.len() > LONGEST + 1 {
        return Err(format!(
            "failed to construct FQDN from pod hostname and cluster domain, FQDN {name} is too long ({} characters is the max, {} characters requested)",
            LONGEST + 1,
            name.len()
        ));
    }
    Ok(name)
}

/// The pod's `/etc/hosts`.
///
/// Source: kubelet `managedHostsFileContent`.
#[must_use]
pub fn hosts_file(pod: &Pod, address: IpAddr, cluster_domain: &str) -> String {
    let (host, domain) = host(pod, cluster_domain);
    let mut text =
        "# Kubernetes-managed hosts file.\n127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n\
        fe00::0\tip6-localnet\nfe00::0\tip6-mcastprefix\nfe00::1\tip6-allnodes\nfe00::2\tip6-allrouters\n"
            .to_owned();
    if domain.is_empty() {
        text.push_str(&format!("{address}\t{host}\n"));
    } else {
        text.push_str(&format!("{address}\t{host}.{domain}\t{host}\n"));
    }
    let aliases = pod.spec.iter().flat_map(|spec| spec.host_aliases.iter().flatten());
    let lines: Vec<String> = aliases
        .map(|alias| {
            format!("{}\t{}\n", alias.ip, alias.hostnames.iter().flatten().cloned().collect::<Vec<_>>().join("\t"))
        })
        .collect();
    if !lines.is_empty() {
        text.push_str("\n# Entries added by HostAliases.\n");
        text.extend(lines);
    }
    text
}

/// A `resolv.conf` in its parts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Resolver {
    /// Addresses to ask, in order.
    pub servers: Vec<String>,
    /// Domains that short names are tried in.
    pub searches: Vec<String>,
    /// Options such as `ndots:5`.
    pub options: Vec<String>,
}

impl Resolver {
    /// Reads a file. Lines that are none of the three are ignored, as the C library does.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let mut all = Self::default();
        for line in text.lines() {
            let mut words = line.split_whitespace();
            match words.next() {
                Some("nameserver") => all.servers.extend(words.next().map(str::to_owned)),
                Some("search") => {
                    all.searches =
                        words.filter(|one| *one != ".").map(|one| one.trim_end_matches('.').to_owned()).collect();
                }
                Some("options") => merge_options(&mut all.options, words.map(str::to_owned)),
                _ => {}
            }
        }
        all
    }

    /// The file's text.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = String::new();
        if !self.searches.is_empty() {
            text.push_str(&format!("search {}\n", self.searches.join(" ")));
        }
        for server in &self.servers {
            text.push_str(&format!("nameserver {server}\n"));
        }
        if !self.options.is_empty() {
            text.push_str(&format!("options {}\n", self.options.join(" ")));
        }
        text
    }

    /// Keeps what upstream's limits allow; the texts tell what was left out.
    pub fn limit(&mut self) -> Vec<String> {
        let mut complaints = Vec::new();
        let (count, length) = (self.searches.len(), self.searches.join(" ").len());
        self.searches.truncate(SEARCHES.0);
        while self.searches.join(" ").len() > SEARCHES.1 {
            self.searches.pop();
        }
        if count > SEARCHES.0 || length > SEARCHES.1 {
            let line = self.searches.join(" ");
            complaints.push(format!(
                "Search Line limits were exceeded, some search paths have been omitted, the applied search line is: {line}"
            ));
        }
        if self.servers.len() > SERVERS {
            self.servers.truncate(SERVERS);
            complaints.push(format!(
                "Nameserver limits were exceeded, some nameservers have been omitted, the applied nameserver line is: {}",
                self.servers.join(" ")
            ));
        }
        complaints
    }
}

/// An option replaces an earlier one of the same name.
fn merge_options(options: &mut Vec<String>, more: impl Iterator<Item = String>) {
    let name = |option: &str| option.split(':').next().unwrap_or_default().to_owned();
    for option in more {
        match options.iter_mut().find(|one| name(one) == name(&option)) {
            Some(one) => *one = option,
            None => options.push(option),
        }
    }
}

/// The pod's resolver by its `dnsPolicy` and `dnsConfig`; `node` is the node's own.
///
/// Source: <https://kubernetes.io/docs/concepts/services-networking/dns-pod-service/#pod-s-dns-policy>
#[must_use]
pub fn resolver(pod: &Pod, dns_address: IpAddr, cluster_domain: &str, node: &Resolver) -> Resolver {
    let Some(spec) = &pod.spec else { return Resolver::default() };
    let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
    let mut all = match spec.dns_policy.as_deref() {
        Some("None") => Resolver::default(),
        Some("Default") => node.clone(),
        // Who shares the node's network asks whom the node asks, unless it says otherwise.
        Some("ClusterFirst") | None if shares_network(pod) => node.clone(),
        _ => {
            let own = [
                format!("{namespace}.svc.{cluster_domain}"),
                format!("svc.{cluster_domain}"),
                cluster_domain.to_owned(),
            ];
            let mut searches = own.to_vec();
            searches.extend(node.searches.iter().filter(|one| !own.contains(one)).cloned());
            Resolver { servers: vec![dns_address.to_string()], searches, options: vec!["ndots:5".to_owned()] }
        }
    };
    if let Some(own) = &spec.dns_config {
        let more = own.nameservers.iter().flatten();
        all.servers.extend(more.cloned());
        all.searches.extend(own.searches.iter().flatten().cloned());
        dedup(&mut all.servers);
        dedup(&mut all.searches);
        let options = own.options.iter().flatten().filter_map(|option| {
            let name = option.name.clone()?;
            Some(option.value.as_ref().map_or(name.clone(), |value| format!("{name}:{value}")))
        });
        merge_options(&mut all.options, options);
    }
    all
}

fn dedup(list: &mut Vec<String>) {
    let mut seen = std::collections::BTreeSet::new();
    list.retain(|one| seen.insert(one.clone()));
}

#[cfg(test)]
mod tests {
    use expect_test::expect;
    use serde_json::{Value, json};

    use super::*;

    fn pod(spec: Value) -> Pod {
        let mut spec = spec;
        spec["containers"] = json!([]);
        serde_json::from_value(json!({"metadata": {"name": "p", "namespace": "ns"}, "spec": spec})).expect("a pod")
    }

    #[test]
    fn hosts() {
        let one = pod(json!({
            "hostname": "h1", "subdomain": "sub", "hostAliases": [{"ip": "1.2.3.4", "hostnames": ["x.local", "y.local"]}],
        }));
        expect![[r#"
            # Kubernetes-managed hosts file.
            127.0.0.1	localhost
            ::1	localhost ip6-localhost ip6-loopback
            fe00::0	ip6-localnet
            fe00::0	ip6-mcastprefix
            fe00::1	ip6-allnodes
            fe00::2	ip6-allrouters
            10.0.0.1	h1.sub.ns.svc.cluster.local	h1

            # Entries added by HostAliases.
            1.2.3.4	x.local	y.local
        "#]]
        .assert_eq(&hosts_file(&one, [10, 0, 0, 1].into(), "cluster.local"));
    }

    #[test]
    fn hostnames() {
        let whole = json!({"hostname": "h1", "subdomain": "sub", "setHostnameAsFQDN": true});
        assert_eq!(kernel_hostname(&pod(json!({})), "cluster.local").as_deref(), Ok("p"));
        assert_eq!(kernel_hostname(&pod(whole), "cluster.local").as_deref(), Ok("h1.sub.ns.svc.cluster.local"));
        let shares = json!({"hostNetwork": true, "nodeName": "n1", "hostname": "h1"});
        assert_eq!(kernel_hostname(&pod(shares), "cluster.local").as_deref(), Ok("n1"));
        let long = json!({"hostname": "a".repeat(60), "subdomain": "sub", "setHostnameAsFQDN": true});
        assert!(kernel_hostname(&pod(long), "cluster.local").is_err());
    }

    #[test]
    fn resolvers() {
        let node = Resolver::parse("nameserver 9.9.9.9\nsearch example.com.\noptions edns0\n");
        let text = |spec: Value| resolver(&pod(spec), [10, 96, 0, 10].into(), "cluster.local", &node).text();
        let cluster = "search ns.svc.cluster.local svc.cluster.local cluster.local example.com";
        assert_eq!(text(json!({})), format!("{cluster}\nnameserver 10.96.0.10\noptions ndots:5\n"));
        assert_eq!(text(json!({"hostNetwork": true})), text(json!({"dnsPolicy": "Default"})));
        assert!(text(json!({"hostNetwork": true, "dnsPolicy": "ClusterFirstWithHostNet"})).starts_with(cluster));
        assert_eq!(text(json!({"dnsPolicy": "Default"})), "search example.com\nnameserver 9.9.9.9\noptions edns0\n");
        assert_eq!(
            text(json!({"dnsPolicy": "None", "dnsConfig": {"nameservers": ["1.1.1.1"]}})),
            "nameserver 1.1.1.1\n"
        );
        let options = json!({"dnsConfig": {"searches": ["a.example.com"], "options": [{"name": "ndots", "value": "2"}, {"name": "edns0"}]}});
        assert_eq!(text(options), format!("{cluster} a.example.com\nnameserver 10.96.0.10\noptions ndots:2 edns0\n"));
    }

    #[test]
    fn limits() {
        let mut all =
            Resolver { servers: vec!["1.1.1.1".to_owned(); 4], searches: vec!["a".to_owned(); 40], options: vec![] };
        assert_eq!(all.limit().len(), 2);
        assert_eq!((all.servers.len(), all.searches.len()), (3, 32));
    }
}
