//! One deployment, said in four ways: short, from the bottom up, by hand, and going down and coming up again.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;

use kprov::build::*;
use kprov::k8s_openapi::api::{apps::v1 as apps, core::v1 as core};
use kprov::k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};

fn short() -> Deployment {
    let httpd = Container::new("alpine-ctr", "httpd:alpine").unnamed_port(80);
    Deployment::new("alpine", httpd).labelled("app", "alpine").replicas(2)
}

fn from_the_bottom_up() -> Deployment {
    let container = Container::new("alpine-ctr", "httpd:alpine").unnamed_port(80);
    let template = Template::new(container).pod_label("app", "alpine");
    Deployment::new("alpine", template).labelled("app", "alpine").replicas(2)
}

fn by_hand() -> apps::Deployment {
    let port = core::ContainerPort { container_port: 80, ..Default::default() };
    let container = core::Container {
        name: "alpine-ctr".to_owned(),
        image: Some("httpd:alpine".to_owned()),
        ports: Some(vec![port]),
        ..Default::default()
    };
    let labels = BTreeMap::from([("app".to_owned(), "alpine".to_owned())]);
    let template = core::PodTemplateSpec {
        metadata: Some(ObjectMeta { labels: Some(labels.clone()), ..Default::default() }),
        spec: Some(core::PodSpec { containers: vec![container], ..Default::default() }),
    };
    apps::Deployment {
        metadata: ObjectMeta { name: Some("alpine".to_owned()), ..Default::default() },
        spec: apps::DeploymentSpec {
            replicas: Some(2),
            selector: LabelSelector { match_labels: Some(labels), match_expressions: None },
            template,
            ..Default::default()
        },
        status: None,
    }
}

fn down_and_up() -> Deployment {
    let mut raw: apps::Deployment = short().replicas(7).into();
    raw.spec.paused = Some(true);
    let again = Deployment::from(raw).replicas(2);
    again.edit(|raw| raw.spec.paused = None)
}

#[test]
fn all_forms_are_the_same_object() {
    assert_eq!(from_the_bottom_up(), short());
    assert_eq!(by_hand(), short().build());
    assert_eq!(down_and_up(), short());
}

#[test]
fn parts_made_by_hand_go_in_and_come_out() {
    let mut container = Container::new("web", "nginx:1.27").build();
    container.stdin_once = Some(true);
    let pod = core::PodSpec { containers: vec![container.clone()], ..Default::default() };
    let web =
        Deployment::new("web", Template::from(pod)).container(Container::from(container_named("log", &container)));
    let containers = web.build().spec.template.spec.unwrap().containers;
    assert_eq!(containers, [container.clone(), container_named("log", &container)]);
}

fn container_named(name: &str, like: &core::Container) -> core::Container {
    core::Container { name: name.to_owned(), ..like.clone() }
}

#[test]
fn a_name_that_no_builder_would_take_is_no_reason_to_end() {
    let mut raw = by_hand();
    raw.metadata.name = Some(format!("aa{}", "é".repeat(40)));
    let labelled = Deployment::from(raw).labelled("tier", "front").build();
    assert_eq!(labelled.spec.selector.match_labels.unwrap().len(), 2);
}
