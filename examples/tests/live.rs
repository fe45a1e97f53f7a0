//! The objects of the programs on clusters of the test's own: on a simulated one applied, read back, changed, deleted; on
//! a real one, which needs root, asked over the network.
//!
//! It has no harness: the cluster's server is this program, started once more.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#![allow(clippy::disallowed_types, reason = "starts itself with a home of its own")]

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::MetadataExt;
use std::process::{Command, ExitCode};
use std::time::Duration;

use kprov::Bundle;
use kprov::build::*;
use kprov::client::{Client, ClientError, Outcome};
use kprov::cluster::{Cluster, LocalCluster, Report};
use kprov_examples::programs::{aws_auth, claim, deployment, ingress, naked_pod, service};
use serde_json::{Value, json};

/// Says nothing.
struct Silent;

impl Report for Silent {
    fn says(&self, _: &str) {}
}

/// Set in the process that has a home of its own.
const AT_HOME: &str = "KPROV_LIVE_TEST";

fn main() -> ExitCode {
    if let Some(code) = kprov_cli::child() {
        return code;
    }
    if std::env::var_os(AT_HOME).is_none() {
        return again_at_home();
    }
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(on(Cluster::local("programs").simulated(), programs));
    if std::fs::metadata("/proc/self").is_ok_and(|own| own.uid() == 0) {
        runtime.block_on(on(Cluster::local("answers"), pods_answer));
    } else {
        println!("pods that answer need root: not tested");
        assert!(std::env::var_os("CI").is_none(), "everything is tested where CI is set");
    }
    ExitCode::SUCCESS
}

/// Runs this program with a home and a kubeconfig that are nobody else's.
fn again_at_home() -> ExitCode {
    let home = tempfile::Builder::new().prefix("kp").tempdir().unwrap();
    let mut again = Command::new(std::env::current_exe().unwrap());
    again.env(AT_HOME, "1").env("KPROV_HOME", home.path()).env("KUBECONFIG", home.path().join("kubeconfig"));
    if again.status().unwrap().success() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Brings a cluster up, does something with it, and takes it down.
async fn on<F: Future<Output = ()> + Send + 'static>(cluster: LocalCluster, what: impl FnOnce(Client) -> F) {
    let client = kprov_cli::up(&cluster, &Silent).await.unwrap();
    // On a task of its own: whatever fails there, the cluster is taken down.
    let outcome = tokio::spawn(what(client)).await;
    kprov_cli::down(&cluster.name, &Silent).await.unwrap();
    outcome.unwrap();
}

async fn programs(client: Client) {
    a_naked_pod(&client).await.unwrap();
    a_deployment_and_its_service(&client).await.unwrap();
    an_ingress(&client).await.unwrap();
    a_claim_and_a_deployment(&client).await.unwrap();
    the_config_map_of_an_eks_cluster(client).await.unwrap();
}

/// The tutorial's image is on no machine: the cluster's own runs in its place, on the port that it has.
async fn pods_answer(client: Client) {
    let mut deployment = json_of(deployment::deployment());
    deployment["spec"]["template"]["spec"]["containers"][0]["image"] = kprov_node::runtime::BUILTIN.into();
    let mut service = json_of(service::service());
    service["spec"]["ports"][0]["targetPort"] = 8080.into();
    // Nobody balances loads on one machine; the service's port on the node is open all the same.
    let application = Bundle::from_yaml("answers", &format!("{deployment}\n---\n{service}\n")).unwrap();
    client.apply(&application).await.unwrap();
    client.ready(&Bundle::from_yaml("answers", &deployment.to_string()).unwrap(), MINUTE).await.unwrap();

    let service = json_of(client.of_kind("v1", "Service").get("alpine-service").await.unwrap());
    let port = service["spec"]["ports"][0]["nodePort"].as_u64().unwrap();
    let nodes = client.of_kind("v1", "Node").list("").await.unwrap();
    let host = json_of(&nodes[0])["status"]["addresses"][0]["address"].as_str().unwrap().to_owned();
    let hosts: BTreeSet<String> = (0..20).map(|_| hostname(&format!("{host}:{port}"))).collect();
    assert_eq!(hosts.len(), 2, "both pods answer: {hosts:?}");
}

/// Who answers at an address.
fn hostname(address: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(MINUTE)).unwrap();
    stream.write_all(b"GET / HTTP/1.0\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer.lines().find(|line| line.starts_with("Hostname:")).unwrap_or_else(|| panic!("{answer}")).to_owned()
}

const MINUTE: Duration = Duration::from_secs(60);

fn bundle<K: kprov::k8s_openapi::Resource + serde::Serialize>(object: K) -> Bundle {
    let mut bundle = Bundle::new("program");
    bundle.add(object);
    bundle
}

fn json_of(object: impl serde::Serialize) -> Value {
    serde_json::to_value(object).unwrap()
}

/// Changes an object as it is by then: who writes it in between, as controllers do, is read again.
async fn change<K>(client: &Client, name: &str, with: impl Fn(K) -> K) -> Result<(), ClientError>
where
    K: kprov::k8s_openapi::Resource + serde::Serialize + serde::de::DeserializeOwned,
{
    loop {
        match client.of().replace(&with(client.get::<K>(name).await?)).await {
            Err(error) if error.api().is_some_and(|status| status.reason() == "Conflict") => {}
            done => return done.map(drop),
        }
    }
}

async fn a_naked_pod(client: &Client) -> Result<(), ClientError> {
    client.create(&naked_pod::pod()).await?;
    client.ready(&bundle(naked_pod::pod()), MINUTE).await?;
    let again = client.create(&naked_pod::pod()).await.unwrap_err();
    assert!(matches!(&again, ClientError::Api { .. }), "{again}");
    let pod = client.get::<Pod>("naked-pod-demo").await?;
    assert_eq!(json_of(&pod)["spec"]["containers"][0]["image"], "nginx");
    change(client, "naked-pod-demo", |pod: Pod| pod.label("tier", "front")).await?;
    assert_eq!(client.of::<Pod>().list("tier=front").await?.len(), 1);
    gone(client, &bundle(naked_pod::pod())).await
}

async fn a_deployment_and_its_service(client: &Client) -> Result<(), ClientError> {
    client.create(&deployment::deployment()).await?;
    client.create(&service::service().build()).await?;
    client.ready(&bundle(deployment::deployment()), MINUTE).await?;
    assert_eq!(client.of::<Pod>().list("app=alpine").await?.len(), 2);

    let service = json_of(client.of_kind("v1", "Service").get("alpine-service").await?);
    assert_eq!(service["spec"]["ports"][0]["protocol"], "TCP");
    assert!(service["spec"]["ports"][0]["nodePort"].is_number(), "{service}");

    let three = bundle(client.get::<Deployment>("alpine").await?.replicas(3));
    change(client, "alpine", |deployment: Deployment| deployment.replicas(3)).await?;
    client.ready(&three, MINUTE).await?;
    assert_eq!(json_of(client.get::<Deployment>("alpine").await?)["status"]["readyReplicas"], 3);
    gone(client, &bundle(service::service())).await?;
    gone(client, &bundle(deployment::deployment())).await
}

async fn an_ingress(client: &Client) -> Result<(), ClientError> {
    client.create(&ingress::ingress()).await?;
    client.ready(&bundle(ingress::ingress()), MINUTE).await?;
    change(client, "test-ingress", |ingress: Ingress| ingress.path("/nginx", ("nginx-service", 8080))).await?;
    let read = json_of(client.get::<Ingress>("test-ingress").await?);
    let paths: Vec<&Value> =
        read["spec"]["rules"][0]["http"]["paths"].as_array().unwrap().iter().map(|path| &path["path"]).collect();
    assert_eq!(paths, ["/tomcat", "/httpd", "/nginx"]);
    assert!(read["status"]["loadBalancer"]["ingress"][0]["ip"].is_string(), "{read}");
    gone(client, &bundle(ingress::ingress())).await
}

/// The default class makes a volume as soon as a pod that mounts the claim has a node.
async fn a_claim_and_a_deployment(client: &Client) -> Result<(), ClientError> {
    let both = claim::application();
    client.apply(&both).await?;
    client.ready(&both, MINUTE).await?;
    assert!(!client.apply(&both).await?.changed(), "a second time nothing is written");
    let claim = json_of(client.get::<PersistentVolumeClaim>("my-pvc").await?);
    assert_eq!(claim["status"]["phase"], "Bound");
    assert_eq!(claim["spec"]["resources"]["requests"], json!({"storage": "32Gi"}));

    let labelled = claim::application().label("part", "storage");
    assert!(client.apply(&labelled).await?.changed());
    assert_eq!(client.of::<PersistentVolumeClaim>().list("part=storage").await?.len(), 1);
    gone(client, &both).await
}

async fn the_config_map_of_an_eks_cluster(client: Client) -> Result<(), ClientError> {
    let maps = client.in_namespace("kube-system").of::<ConfigMap>();
    for (was_there, role) in [(false, "arn:aws:iam::012345678901:role/a"), (true, "arn:aws:iam::012345678901:role/b")] {
        assert_eq!(maps.get_if_exists("aws-auth").await?.is_some(), was_there);
        maps.recreate(&aws_auth::config_map(role.checked())).await?;
        assert!(json_of(maps.get("aws-auth").await?)["data"]["mapRoles"].as_str().unwrap().contains(role));
    }
    maps.delete("aws-auth").await?;
    assert_eq!(maps.get_if_exists("aws-auth").await?, None);
    Ok(())
}

/// Deletes what was there, and sees that it is not any more.
async fn gone(client: &Client, bundle: &Bundle) -> Result<(), ClientError> {
    let how = kprov::client::Delete::new().foreground().wait(MINUTE);
    let report = client.delete_with(bundle, &how, &mut |_| {}).await?;
    assert!(report.objects.iter().all(|did| matches!(did.outcome, Outcome::Deleted)));
    let again = client.delete(bundle).await?;
    assert!(again.objects.iter().all(|did| matches!(did.outcome, Outcome::Missing)));
    Ok(())
}
