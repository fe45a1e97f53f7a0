//! Services: their number, their ports on nodes, their load balancers.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Service, ServicePort};

use super::Amounts;
use crate::kind::Typed;
use crate::object::Object;
use crate::quantity::Quantity;

pub(super) const NAMES: &[&str] = &["services", "services.nodeports", "services.loadbalancers"];

pub(super) fn usage(object: &Object, _: Timestamp) -> Result<Amounts, String> {
    let spec = Service::from_object(object)?.spec.unwrap_or_default();
    let ports = spec.ports.unwrap_or_default();
    let (balanced, open) = match spec.type_.as_deref() {
        Some("NodePort") => (0, ports.len()),
        Some("LoadBalancer") if spec.allocate_load_balancer_node_ports == Some(false) => {
            let has_node_port = |port: &&ServicePort| port.node_port.is_some_and(|number| number != 0);
            (1, ports.iter().filter(has_node_port).count())
        }
        Some("LoadBalancer") => (1, ports.len()),
        _ => (0, 0),
    };
    let open = i64::try_from(open).unwrap_or(i64::MAX);
    let amounts = [("services", 1), ("services.nodeports", open), ("services.loadbalancers", balanced)];
    Ok(amounts.map(|(name, number)| (name.to_owned(), Quantity::whole(number))).into())
}
