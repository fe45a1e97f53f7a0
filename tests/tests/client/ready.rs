//! `ready` ends at its deadline with the pod's own reason, and tells on the way. Needs root.

use std::time::Duration;

use kprov::client::{Client, ClientError, Delete, Logs, Progress};
use kprov_tests::cluster::TestCluster;

use super::{KPROV, bundle};

fn web(name: &str, image: &str, more: &str) -> String {
    format!(
        "apiVersion: apps/v1\nkind: Deployment\nmetadata: {{name: {name}}}\nspec:\n  replicas: 2\n  \
         selector: {{matchLabels: {{app: {name}}}}}\n  template:\n    metadata: {{labels: {{app: {name}}}}}\n    \
         spec: {{containers: [{{name: main, image: '{image}'{more}}}]}}\n"
    )
}

async fn not_ready(client: &Client, text: &str, within: u64) -> (String, bool) {
    let bundle = bundle(text);
    client.apply(&bundle).await.unwrap();
    let mut told = Vec::new();
    let mut tell = |progress: Progress<'_>| {
        if let Progress::Waiting { reason, .. } = progress {
            told.push(reason.to_owned());
        }
    };
    let error = client.ready_with(&bundle, Duration::from_secs(within), &mut tell).await.unwrap_err();
    let ClientError::NotReady(missed) = error else { panic!("{error}") };
    let last = &missed.objects[0];
    assert!(told.contains(&last.reason), "what is told last was told on the way: {told:?}");
    (missed.to_string(), missed.within == Some(Duration::from_secs(within)))
}

#[tokio::test]
async fn a_deployment_that_can_not_run_ends_at_its_deadline_with_its_pods_reason() {
    let cluster = TestCluster::up(KPROV, "ready", &[]).unwrap();
    let client = Client::from_kubeconfig(&cluster.kubeconfig()).await.unwrap();

    let (said, at_deadline) = not_ready(&client, &web("gone", "no.such/image:1", ""), 6).await;
    assert!(at_deadline, "{said}");
    assert!(
        said.starts_with("not ready after 6 s\n  Deployment default/gone: 0 of 2 pods are available; pod gone-"),
        "{said}"
    );
    assert!(said.contains("ErrImagePull: ") || said.contains("ImagePullBackOff: "), "{said}");

    let (said, _) =
        not_ready(&client, &web("huge", kprov_node::images::BUILTIN, ", resources: {requests: {cpu: '900'}}"), 4).await;
    assert!(said.contains("0/1 nodes are available"), "{said}");

    let echo = bundle(&web("echo", kprov_node::images::BUILTIN, ""));
    client.apply(&echo).await.unwrap();
    let mut ready = Vec::new();
    let mut tell = |progress: Progress<'_>| {
        if let Progress::Ready(object) = progress {
            ready.push(object.to_string());
        }
    };
    client.ready_with(&echo, Duration::from_secs(30), &mut tell).await.unwrap();
    assert_eq!(ready, ["Deployment default/echo"]);

    let missing = Logs::of("Deployment", "none");
    assert!(client.logs(&missing).await.err().unwrap().is_not_found());
    let refused = client.output("none", None, &["true"]).await.unwrap_err().to_string();
    assert!(refused.contains("run \"true\" in Pod default/none"), "{refused}");

    let mut gone = Vec::new();
    let mut tell = |progress: Progress<'_>| {
        if let Progress::Gone(object) = progress {
            gone.push(object.to_string());
        }
    };
    let thorough = Delete::new().foreground().wait(Duration::from_secs(60));
    client.delete_with(&echo, &thorough, &mut tell).await.unwrap();
    assert_eq!(gone, ["Deployment default/echo"]);
    assert!(cluster.k("get pods -l app=echo -o name").unwrap().is_empty(), "what it owned went first");
    let again = client.delete(&echo).await.unwrap();
    assert_eq!(super::words(&again), ["Deployment default/echo was not there"]);
}
