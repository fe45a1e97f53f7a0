//! Deployments.

use k8s_openapi::api::apps::v1 as apps;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;

use super::amount::{Portion, Time};
use super::pod::Template;
use super::text::{Name, Of};
use super::workload::{agreeing, workload};
use super::wraps::object;

object! {
    /// Keeps a number of equal pods, and replaces them step by step when they change.
    ///
    /// ```
    /// use kprov::build::*;
    /// let web = Deployment::new("web", Container::new("nginx", "nginx:1.27").port("http", 80)).replicas(3).rolling(1, "25%");
    /// assert_eq!(web.build().spec.replicas, Some(3));
    /// ```
    /// Source: <https://kubernetes.io/docs/concepts/workloads/controllers/deployment/>
    namespaced Deployment(apps::Deployment)
}
workload!(Deployment, template, replicas, history);

impl Deployment {
    /// One pod of that kind.
    #[must_use]
    #[track_caller]
    pub fn new(name: impl Of<Name>, pod: impl Into<Template>) -> Self {
        let (metadata, selector, template) = agreeing(name.checked(), pod.into());
        let spec = apps::DeploymentSpec { selector, template, ..apps::DeploymentSpec::default() };
        Self(apps::Deployment { metadata, spec, status: None })
    }

    /// Replaces pods step by step: this many more than wanted at a time, this many fewer. 25 % each without it.
    ///
    /// Panics when both are 0: nothing could ever be replaced.
    ///
    /// ```
    /// # use kprov::build::*;
    /// let web = Deployment::new("web", Container::new("web", "nginx:1.27").port("http", 80)).rolling(1, "25%");
    /// ```
    #[must_use]
    #[track_caller]
    pub fn rolling(mut self, surge: impl Of<Portion>, unavailable: impl Of<Portion>) -> Self {
        let (surge, unavailable) = Portion::step(surge.checked(), unavailable.checked());
        let rolling = apps::RollingUpdateDeployment { max_surge: Some(surge), max_unavailable: Some(unavailable) };
        let type_ = Some("RollingUpdate".to_owned());
        self.0.spec.strategy = Some(apps::DeploymentStrategy { rolling_update: Some(rolling), type_ });
        self
    }

    /// Ends all pods before new ones start: for what can't run twice.
    ///
    /// ```
    /// # use kprov::build::*;
    /// let web = Deployment::new("web", Container::new("web", "nginx:1.27").port("http", 80)).recreate();
    /// ```
    #[must_use]
    pub fn recreate(mut self) -> Self {
        let type_ = Some("Recreate".to_owned());
        self.0.spec.strategy = Some(apps::DeploymentStrategy { rolling_update: None, type_ });
        self
    }

    /// How long a change may make no progress before it counts as failed; 10 minutes without it.
    ///
    /// ```
    /// # use kprov::build::*;
    /// use std::time::Duration;
    /// let web = Deployment::new("web", Container::new("web", "nginx:1.27").port("http", 80)).progress_deadline(Duration::from_secs(120));
    /// ```
    #[must_use]
    #[track_caller]
    pub fn progress_deadline(mut self, time: impl Time) -> Self {
        self.0.spec.progress_deadline_seconds = Some(time.whole_seconds());
        self
    }

    /// Holds changes back until it is taken away.
    ///
    /// ```
    /// # use kprov::build::*;
    /// let web = Deployment::new("web", Container::new("web", "nginx:1.27")).paused();
    /// assert_eq!(web.build().spec.paused, Some(true));
    /// ```
    #[must_use]
    pub fn paused(mut self) -> Self {
        self.0.spec.paused = Some(true);
        self
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::build::{Container, Object, Pods, Workload};

    #[test]
    fn a_deployment_and_its_service_agree() {
        let web = Deployment::new("web", Container::new("c", "nginx").port("http", 8080)).replicas(2);
        let deployment = serde_json::to_value(&web).unwrap();
        let service = serde_json::to_value(web.expose("http").node_port()).unwrap();
        let selector = json!({"app.kubernetes.io/name": "web"});
        assert_eq!(deployment["spec"]["selector"]["matchLabels"], selector);
        assert_eq!(deployment["spec"]["template"]["metadata"]["labels"], selector);
        assert_eq!(service["spec"]["selector"], selector);
        assert_eq!(service["spec"]["ports"], json!([{"name": "http", "port": 8080, "targetPort": "http"}]));
        assert_eq!(service["spec"]["type"], "NodePort");
    }

    #[test]
    fn a_chosen_label_replaces_the_one_made_from_the_name() {
        let web = Deployment::new("web", Container::new("c", "nginx").unnamed_port(80))
            .label("tier", "front")
            .labelled("app", "nginx")
            .labelled("part", "web");
        let deployment = serde_json::to_value(&web).unwrap();
        let selector = json!({"app": "nginx", "part": "web"});
        assert_eq!(deployment["metadata"]["labels"], json!({"tier": "front"}));
        assert_eq!(deployment["spec"]["selector"]["matchLabels"], selector);
        assert_eq!(deployment["spec"]["template"]["metadata"]["labels"], selector);
        assert_eq!(serde_json::to_value(web.expose_on(8080, 80)).unwrap()["spec"]["selector"], selector);
    }

    #[test]
    fn a_label_that_was_given_before_the_selector_stays() {
        let key = "app.kubernetes.io/name";
        let web = Deployment::new("web", Container::new("c", "nginx")).label(key, "shop").labelled(key, "shop");
        let deployment = serde_json::to_value(&web).unwrap();
        let labels = json!({key: "shop"});
        assert_eq!(deployment["metadata"]["labels"], labels);
        assert_eq!(deployment["spec"]["selector"]["matchLabels"], labels);
    }

    #[test]
    #[should_panic(expected = "no container of web has a port named \"http\"; its ports: web")]
    fn exposing_an_unknown_port_is_a_mistake() {
        let _ = Deployment::new("web", Container::new("c", "nginx").port("web", 80)).expose("http");
    }

    #[test]
    #[should_panic(expected = "the pods are selected by app.kubernetes.io/name=web")]
    fn a_pod_cannot_be_hidden_from_its_workload() {
        let _ = Deployment::new("web", Container::new("c", "nginx")).pod_label("app.kubernetes.io/name", "other");
    }
}
