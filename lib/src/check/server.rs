//! The server's door without a server: strict decoding, defaults, what admission fills in, validation, warnings.
//!
//! What the server takes from its cluster is made up here: addresses and ports of services, the values of priority
//! classes. Nothing is refused for the lack of it.

use kprov_schema::decode::{Target, Validation, decode_value};
use kprov_schema::kind::Write;
use kprov_schema::rules::service;
use kprov_schema::status::FieldError;
use kprov_schema::{Kind, Object, Status, canonical, meta};
use serde_json::{Value, json};

/// The node ports of a cluster that was not told otherwise.
const NODE_PORTS: std::ops::RangeInclusive<i64> = 30_000..=32_767;

/// What the server makes of an object.
pub(crate) struct Accepted {
    /// Advice that goes back with it.
    pub(crate) warnings: Vec<String>,
}

/// Why it does not take it.
pub(crate) struct Refusal {
    /// Its answer.
    pub(crate) status: Status,
    /// The mistakes that the answer names, one by one.
    pub(crate) errors: Vec<FieldError>,
}

impl From<Status> for Box<Refusal> {
    fn from(status: Status) -> Self {
        Self::new(Refusal { status, errors: Vec::new() })
    }
}

/// What the server would answer to the creation of an object.
pub(crate) fn answer(kind: &Kind, object: &Object, validation: Validation) -> Result<Accepted, Box<Refusal>> {
    let unreadable = |why: String| {
        let (name, version) = (&kind.kind, kind.resource.api_version());
        Status::bad_request(format!("{name} in version \"{version}\" cannot be handled as a {name}: {why}"))
    };
    let invalid = |object: &Object, errors: Vec<FieldError>| {
        Box::new(Refusal { status: kind.invalid(object.name(), &errors), errors })
    };
    let decoded = decode_value(&Target::of(kind), Value::from(object.clone()), validation)?;
    let mut warnings: Vec<String> = kind.deprecated.as_deref().map(str::to_owned).into_iter().collect();
    warnings.extend(decoded.warnings);
    let mut object = decoded.object;
    begin(kind, &mut object);
    kind.fill_defaults(&mut object).map_err(unreadable)?;
    admit(kind, &mut object);
    kind.prepare(&mut object, None, Write::Main).map_err(unreadable)?;
    let errors = allocate(kind, &mut object).map_err(unreadable)?;
    if !errors.is_empty() {
        return Err(invalid(&object, errors));
    }
    let errors = kind.validate(&object, None, Write::Main).map_err(unreadable)?;
    if !errors.is_empty() {
        return Err(invalid(&object, errors));
    }
    let errors = out_of_range(kind, &object);
    if !errors.is_empty() {
        return Err(invalid(&object, errors));
    }
    canonical::canonicalise(kind, &mut object);
    warnings.extend(kind.warnings(&object, None).map_err(unreadable)?);
    Ok(Accepted { warnings })
}

/// What the server says about an object itself before it looks at it.
fn begin(kind: &Kind, object: &mut Object) {
    if kind.is_namespaced() && object.namespace().is_empty() {
        object.set(&["metadata", "namespace"], json!("default"));
    }
    meta::clear_for_create(object);
    meta::generate_name(object, "abcde");
    object.set(&["metadata", "uid"], json!("00000000-0000-4000-8000-000000000000"));
}

/// What a pod gets from its cluster: a priority and a service account.
fn admit(kind: &Kind, object: &mut Object) {
    if kind.kind != "Pod" {
        return;
    }
    if object.at(&["spec", "priority"]).is_none() {
        object.set(&["spec", "priority"], json!(0));
    }
    if object.text(&["spec", "serviceAccountName"]).unwrap_or_default().is_empty() {
        object.set(&["spec", "serviceAccountName"], json!("default"));
    }
    if object.at(&["spec", "preemptionPolicy"]).is_none() {
        object.set(&["spec", "preemptionPolicy"], json!("PreemptLowerPriority"));
    }
}

/// What a service gets from its cluster: families, an address, ports.
fn allocate(kind: &Kind, object: &mut Object) -> Result<Vec<FieldError>, String> {
    if kind.kind != "Service" || !kind.resource.group.is_empty() {
        return Ok(Vec::new());
    }
    let errors = service::assign_families(object, None, &["IPv4"])?;
    if !errors.is_empty() || object.text(&["spec", "type"]) == Some("ExternalName") {
        return Ok(errors);
    }
    if object.at(&["spec", "clusterIP"]).is_none() {
        object.set(&["spec", "clusterIP"], json!("10.96.77.77"));
        object.set(&["spec", "clusterIPs"], json!(["10.96.77.77"]));
    }
    allocate_ports(object);
    Ok(Vec::new())
}

fn allocate_ports(service: &mut Object) {
    let kind = service.text(&["spec", "type"]).unwrap_or_default().to_owned();
    let balanced = kind == "LoadBalancer";
    let wanted = kind == "NodePort"
        || (balanced && service.at(&["spec", "allocateLoadBalancerNodePorts"]) != Some(&Value::Bool(false)));
    let mut ports = service.at(&["spec", "ports"]).cloned().unwrap_or_default();
    let given = |port: &Value| port["nodePort"].as_i64().filter(|port| *port != 0);
    let used: Vec<i64> = ports.as_array().into_iter().flatten().filter_map(given).collect();
    let mut free = NODE_PORTS.filter(|port| !used.contains(port));
    for port in ports.as_array_mut().into_iter().flatten().filter(|port| wanted && given(port).is_none()) {
        if let (Some(port), Some(number)) = (port.as_object_mut(), free.next()) {
            port.insert("nodePort".to_owned(), json!(number));
        }
    }
    if wanted && !ports.is_null() {
        service.set(&["spec", "ports"], ports);
    }
    let local = service.text(&["spec", "externalTrafficPolicy"]) == Some("Local");
    if balanced && local && service.at(&["spec", "healthCheckNodePort"]).is_none() {
        service.set(&["spec", "healthCheckNodePort"], json!(*NODE_PORTS.end()));
    }
}

/// Node ports that a cluster does not give away, unless it was told to.
fn out_of_range(kind: &Kind, service: &Object) -> Vec<FieldError> {
    if kind.kind != "Service" || !kind.resource.group.is_empty() {
        return Vec::new();
    }
    let ports = service.at(&["spec", "ports"]).and_then(Value::as_array).into_iter().flatten().enumerate();
    let outside = ports.filter(|(_, port)| {
        port["nodePort"].as_i64().is_some_and(|number| number > 0 && !NODE_PORTS.contains(&number))
    });
    let (low, high) = (NODE_PORTS.start(), NODE_PORTS.end());
    let why = format!("provided port is not in the valid range. The range of valid ports is {low}-{high}");
    outside
        .map(|(index, port)| FieldError::invalid(format!("spec.ports[{index}].nodePort"), &port["nodePort"], &why))
        .collect()
}
