//! The mistakes of the tutorials: each is told with its line, its path, what is wrong and what was probably meant.

use kprov::manifest::Manifests;
use kprov::{Bundle, Problem};

/// A manifest with a mistake, and what must be said of it: line, path, words of the message, words of a hint.
type Case = (&'static str, &'static str, &'static [(u32, &'static str, &'static str, &'static str)]);

const POD_REST: &str = "    metadata: {labels: {a: b}}\n    spec: {containers: [{name: c, image: i}]}\n";

const CASES: &[Case] = &[
    (
        "B01",
        "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: nginx}\nspec:\n  replicase: 1\n  selector: {matchLabels: {a: b}}\n  template:\n$POD",
        &[(5, "spec.replicase", "unknown field \"spec.replicase\"", "did you mean `replicas`?")],
    ),
    (
        "B02",
        "apiVersion: v1\nkind: Service\nmetadata:\n  name: s\nspec:\n  selector: {a: b}\n  ports:\n  - portocol: TCP\n    port: 80\n",
        &[(8, "spec.ports[0].portocol", "unknown field \"spec.ports[0].portocol\"", "did you mean `protocol`?")],
    ),
    (
        "B03",
        "apiVersion: v1\nkind: Service\nmetadata:\n  name: s\nspec:\n  type: NodePort\n  ports:\n  - port: 80\n    nodeProt:35010\n  selector:\n    a: b\n",
        &[(9, "", "not YAML", "expected `key: value`; a blank is missing behind the colon: `nodeProt: 35010`")],
    ),
    (
        "B04, B05",
        "apiVersion: v1\nkind: Service\nmetadata:\n  name: s\nspec:\n  type: NodePort\n  ports:\n  - port: 80\n    nodeProt: 35010\n  - port: 81\n    name: b\n    nodePort: 35010\n",
        &[
            (9, "spec.ports[0].nodeProt", "unknown field \"spec.ports[0].nodeProt\"", "did you mean `nodePort`?"),
            (8, "spec.ports[0].name", "spec.ports[0].name: Required value", "needs a name for each"),
        ],
    ),
    (
        "B05",
        "apiVersion: v1\nkind: Service\nmetadata:\n  name: s\nspec:\n  type: NodePort\n  ports:\n  - port: 80\n    nodePort: 35010\n",
        &[(
            9,
            "spec.ports[0].nodePort",
            "Invalid value: 35010: provided port is not in the valid range. The range of valid ports is 30000-32767",
            "leave nodePort out",
        )],
    ),
    (
        "B06",
        "apiVersion: v1\nkind: Pod\nmetadata:\n  name: p\nspec:\n  containers:\n  - {name: c, image: i}\n  volumes:\n  - name: v\n    persistentVoumeClaim:\n      claimName: c\n",
        &[(
            10,
            "spec.volumes[0].persistentVoumeClaim",
            "unknown field \"spec.volumes[0].persistentVoumeClaim\"",
            "did you mean `persistentVolumeClaim`?",
        )],
    ),
    (
        "B07 a mount without its volume",
        "apiVersion: v1\nkind: Pod\nmetadata:\n  name: p\nspec:\n  containers:\n  - name: c\n    image: i\n    volumeMounts:\n    - name: mypod\n      mountPath: /data\n  volumes:\n  - name: mypd\n    emptyDir: {}\n",
        &[(
            10,
            "spec.containers[0].volumeMounts[0].name",
            "spec.containers[0].volumeMounts[0].name: Not found: \"mypod\"",
            "the mount refers to volume \"mypod\", volumes are: mypd",
        )],
    ),
    (
        "B07 volumes indented by three",
        "apiVersion: v1\nkind: Pod\nmetadata:\n  name: p\nspec:\n  containers:\n    - name: c\n      image: i\n   volumes:\n    - name: mypd\n      emptyDir: {}\n",
        &[(9, "", "not YAML", "`volumes` is indented by 3, where 2 or 4 is expected")],
    ),
    (
        "B08",
        "apiVersion: v1\nkind: PersistenVolume\nmetadata:\n  name: pv\n",
        &[(2, "kind", "no matches for kind \"PersistenVolume\" in version \"v1\"", "did you mean PersistentVolume?")],
    ),
    (
        "B09",
        "appVersion: v1\nkind: Service\nmetadata:\n  name: s\n",
        &[(1, "appVersion", "apiVersion is missing (found appVersion)", "did you mean `apiVersion`?")],
    ),
    (
        "B10",
        "apiVersion: v1\nkind: Deployment\nmetadata:\n  name: d\n",
        &[(1, "apiVersion", "no matches for kind \"Deployment\" in version \"v1\"", "Deployment is in apps/v1")],
    ),
    (
        "B11",
        "apiVersion: networking.k8s.io/v1\nkind: Ingress\nmetadata:\n  name: i\nspec:\n  tls:\n  - host:\n    - a.example.com\n    secretName: s\n  rules:\n  - host: a.example.com\n",
        &[(7, "spec.tls[0].host", "unknown field \"spec.tls[0].host\"", "did you mean `hosts`?")],
    ),
    (
        "B12",
        "apiVersion: networking.k8s.io/v1\nkind: Ingress\nmetadata:\n  name: i\nspec:\n  tls:\n  - hosts:\n    - a.example.com\n  secretName: s\nrules:\n- host: a.example.com\n",
        &[
            (9, "spec.secretName", "unknown field \"spec.secretName\"", "its place is `spec.tls[].secretName`"),
            (10, "rules", "unknown field \"rules\"", "its place is `spec.rules`"),
            (5, "spec", "either `defaultBackend` or `rules` must be specified", ""),
        ],
    ),
    (
        "B13 networking",
        "apiVersion: networking.k8s.io/v1beta1\nkind: Ingress\nmetadata:\n  name: i\n",
        &[(1, "apiVersion", "no matches for kind", "removed in Kubernetes 1.22: use apiVersion networking.k8s.io/v1")],
    ),
    (
        "B13 extensions",
        "apiVersion: extensions/v1beta1\nkind: Deployment\nmetadata:\n  name: d\n",
        &[(1, "apiVersion", "no matches for kind", "removed in Kubernetes 1.16: use apiVersion apps/v1")],
    ),
    (
        "B14",
        "apiVersion: policy/v1beta1\nkind: PodDisruptionBudget\nmetadata:\n  name: d\n",
        &[(1, "apiVersion", "no matches for kind", "removed in Kubernetes 1.25: use apiVersion policy/v1")],
    ),
    (
        "B15",
        "apiVersion: networking.k8s.io/v1\nkind: Ingress\nmetadata:\n  name: i\nspec:\n  rules:\n  - http:\n      paths:\n        path: /\n        pathType: Prefix\n",
        &[(8, "spec.rules[0].http.paths", "", "begin each item with `- `")],
    ),
    (
        "B16",
        "apiVersion: networking.k8s.io/v1\nkind: Ingress\nmetadata:\n  name: i\nspec:\n  rules:\n  - http:\n      paths:\n      - path: /\n        pathType: Prefix\n        backend:\n          serviceName: s\n          servicePort: 80\n",
        &[
            (12, "spec.rules[0].http.paths[0].backend.serviceName", "unknown field", "did you mean `service.name`?"),
            (
                13,
                "spec.rules[0].http.paths[0].backend.servicePort",
                "unknown field",
                "did you mean `service.port.number`",
            ),
            (11, "spec.rules[0].http.paths[0].backend", "resource or service backend is required", ""),
        ],
    ),
    (
        "B17",
        "apiVersion: v1\nkind: Pod\nmetadata:\n  name: p\nspec:\n  containers:\n  - name: c\n    image: i\n    port: 80\n",
        &[(
            9,
            "spec.containers[0].port",
            "unknown field \"spec.containers[0].port\"",
            "did you mean `ports[].containerPort`?",
        )],
    ),
    (
        "B18",
        "apiVersion: v1\nkind: Pod\nmetadata:\n  name: p\nspec:\n  affinity:\n    nodeAffinity:\n      requiredDuringSchedulingIgnoredDuringExecution:\n        nodeSelectorTerms:\n        - matchExpressions:\n          - key: k\n            operator: In\n              values:\n              - v\n",
        &[(13, "", "not YAML", "line 12 gives `operator` the value `In` already: `values` can't stand below it")],
    ),
    (
        "B19",
        "apiVersion: v1\nkind: Service\nmetadata:\n  name: s\nspec:\n  ports: [{port: 80}]\n type: NodePort\n  selector:\n    a: b\n",
        &[(7, "", "not YAML", "`type` is indented by 1, where 0 or 2 is expected")],
    ),
    (
        "B20",
        "apiVersion: 1.0\nkind: Deployment\nmetadata:\n  name: d\n",
        &[(
            1,
            "apiVersion",
            "apiVersion must be a string such as apps/v1, found number 1.0",
            "Deployment is in apps/v1",
        )],
    ),
    (
        "B21",
        "apiVersion: apps/v1\nkind: Deployment\nmetadata:\n  name: rest_service-deployment\nspec:\n  selector: {matchLabels: {a: b}}\n  template:\n$POD",
        &[(
            4,
            "metadata.name",
            "metadata.name: Invalid value: \"rest_service-deployment\": a lowercase RFC 1123 subdomain",
            "`rest-service-deployment` would do",
        )],
    ),
    (
        "B22",
        "apiVersion: apps/v1\nkind: Deployment\nmetadata:\n  name: d\nspec:\n  selector: {matchLabels: {a: b}}\n  template:\n    labels:\n      a: b\n  spec:\n    containers:\n    - {name: c, image: i}\n",
        &[
            (
                8,
                "spec.template.labels",
                "unknown field \"spec.template.labels\"",
                "its place is `spec.template.metadata.labels`",
            ),
            (10, "spec.spec", "unknown field \"spec.spec\"", "its place is `spec.template.spec`"),
        ],
    ),
    (
        "B23",
        "apiVersion: apps/v1\nkind: Deployment\nmetadata:\n  name: d\nspec:\n  template:\n$POD",
        &[
            (
                5,
                "spec.selector",
                "spec.selector: Required value",
                "add spec.selector.matchLabels with labels of the pods: {a: b}",
            ),
            (7, "spec.template.metadata.labels", "`selector` does not match template `labels`", ""),
        ],
    ),
    (
        "B24",
        "apiVersion: v1\nkind: Secret\nmetadata:\n  name: s\ndata:\n  password: s^pEr3eC8==\n  user: OFJKHasidjfh=\n",
        &[
            (6, "data.password", "illegal base64 data at input byte 1", "use stringData for plain text"),
            (7, "data.user", "data.user is not base64", "use stringData for plain text"),
        ],
    ),
    (
        "B25",
        "apiVersion: v1\nkind: Pod\nmetadata:\n  name: p\nspec:\n  containers:\n  - name: c\n    image: i\n    volumes: db-secret\n    - name: db-secret\n      secret:\n        secretName: db-secrets\n",
        &[(10, "", "not YAML", "line 9 gives `volumes` the value `db-secret` already")],
    ),
    (
        "B25 the secret's name",
        "apiVersion: v1\nkind: Secret\nmetadata:\n  name: db-secret\n---\napiVersion: v1\nkind: Pod\nmetadata:\n  name: p\nspec:\n  containers:\n  - {name: c, image: i}\n  volumes:\n  - name: db\n    secret:\n      secretName: db-secrets\n",
        &[(
            16,
            "spec.volumes[0].secret.secretName",
            "Secret \"db-secrets\" is not in the bundle",
            "did you mean `db-secret`?",
        )],
    ),
    (
        "B26",
        "apiVersion: apps/v1\nkind: StatefulSet\nmetadata:\n  name: zk\nspec:\n  serviceName: zk\n  selector: {matchLabels: {a: b}}\n  template:\n    updateStrategy:\n      type: RollingUpdate\n$POD",
        &[(
            9,
            "spec.template.updateStrategy",
            "unknown field \"spec.template.updateStrategy\"",
            "its place is `spec.updateStrategy`: it stands too far in",
        )],
    ),
    (
        "B27",
        "apiVersion: policy/v1beta1\nkind: PodSecurityPolicy\nmetadata:\n  name: psp\n",
        &[(1, "apiVersion", "no matches for kind \"PodSecurityPolicy\"", "was removed in Kubernetes 1.25")],
    ),
    (
        "B28",
        "apiVersion: v1\nkind: Service\nmetadata:\n  name: s\nspec:\n  ports:\n  - port: 80\n  - port: 443\n",
        &[
            (
                7,
                "spec.ports[0].name",
                "spec.ports[0].name: Required value",
                "a service with several ports needs a name for each",
            ),
            (
                8,
                "spec.ports[1].name",
                "spec.ports[1].name: Required value",
                "a service with several ports needs a name for each",
            ),
        ],
    ),
    (
        "B29",
        "apiVersion: v1\nkind: Service\nmetadata:\n  name: s\ntype: NodePort\nspec:\n  ports:\n  - port: 80\n",
        &[(5, "type", "unknown field \"type\"", "its place is `spec.type`")],
    ),
    (
        "B30",
        "apiVersion: v1\nkind: Pod\nmetadata:\n  name: p\nspec:\n  containers:\n  - name: c\n    image: i\n  volumes\n  - name: v\n    emptyDir: {}\n",
        &[(9, "", "not YAML", "`volumes` has no colon")],
    ),
    (
        "a backend that is not there",
        "apiVersion: v1\nkind: Service\nmetadata: {name: httpd-service}\nspec: {ports: [{port: 80}]}\n---\napiVersion: networking.k8s.io/v1\nkind: Ingress\nmetadata:\n  name: i\nspec:\n  rules:\n  - http:\n      paths:\n      - path: /alpine\n        pathType: Prefix\n        backend:\n          service:\n            name: alpine-service\n            port:\n              number: 80\n",
        &[(
            18,
            "spec.rules[0].http.paths[0].backend.service.name",
            "backend service \"alpine-service\" is not in the bundle: requests would get 503",
            "services are: httpd-service",
        )],
    ),
    (
        "a selector that matches nothing",
        "apiVersion: v1\nkind: Service\nmetadata: {name: s}\nspec:\n  selector: {app: wep}\n  ports: [{port: 80, targetPort: htpt}]\n---\napiVersion: v1\nkind: Pod\nmetadata: {name: p, labels: {app: web}}\nspec: {containers: [{name: c, image: i}]}\n",
        &[(
            5,
            "spec.selector",
            "spec.selector {\"app\":\"wep\"} matches no pod of the bundle",
            "pods of Pod/p have the labels",
        )],
    ),
    (
        "a port that no container has",
        "apiVersion: v1\nkind: Service\nmetadata: {name: s}\nspec:\n  selector: {app: web}\n  ports:\n  - port: 80\n    targetPort: htpt\n---\napiVersion: v1\nkind: Pod\nmetadata: {name: p, labels: {app: web}}\nspec: {containers: [{name: c, image: i, ports: [{name: http, containerPort: 80}]}]}\n",
        &[(
            8,
            "spec.ports[0].targetPort",
            "no container of the pods has a port named \"htpt\"",
            "did you mean `http`?",
        )],
    ),
    (
        "a key that is not there",
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: settings}\ndata: {greeting: hello}\n---\napiVersion: v1\nkind: Pod\nmetadata: {name: p}\nspec:\n  containers:\n  - name: c\n    image: i\n    env:\n    - name: G\n      valueFrom:\n        configMapKeyRef:\n          name: settings\n          key: greting\n",
        &[(
            17,
            "spec.containers[0].env[0].valueFrom.configMapKeyRef.name",
            "ConfigMap \"settings\" has no key \"greting\"",
            "did you mean `greeting`?",
        )],
    ),
    (
        "the same object twice",
        "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: a\n---\napiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: a\n",
        &[(9, "metadata.name", "ConfigMap/a is there twice, first at case.yaml:1", "another name")],
    ),
    (
        "an account that would lose its digits",
        "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: a\ndata:\n  account: 012345678901\n",
        &[(6, "data.account", "cannot unmarshal number", "put it in quotes")],
    ),
    (
        "equal keys",
        "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: a\n  name: b\n",
        &[(5, "", "not YAML: duplicate key \"name\": it stands on line 4 already", "")],
    ),
];

fn told(text: &str) -> Vec<Problem> {
    let read = Manifests::parse("case.yaml", text);
    if !read.problems.is_empty() {
        return read.problems;
    }
    Bundle::from_manifests("b", read).unwrap().check()
}

#[test]
fn every_mistake_is_told_with_its_place_and_what_was_meant() {
    let mut wrong = Vec::new();
    for (case, text, wanted) in CASES {
        let text = text.replace("$POD", POD_REST);
        let told = told(&text);
        for (line, path, message, hint) in *wanted {
            let fits = |problem: &&Problem| {
                problem.path == *path
                    && problem.at.as_ref().is_some_and(|at| at.span.start.line == *line)
                    && problem.message.contains(message)
                    && (hint.is_empty() || problem.hints.iter().any(|one| one.contains(hint)))
            };
            if !told.iter().any(|problem| fits(&problem)) {
                let told: Vec<String> = told.iter().map(|problem| format!("[{}] {problem}", problem.path)).collect();
                wrong.push(format!(
                    "{case}: wanted line {line}, {path:?}, {message:?}, {hint:?}\n  {}",
                    told.join("\n  ")
                ));
            }
        }
        // Nothing is told but the mistake and what the server would find missing for it.
        let errors = told.iter().filter(|problem| problem.severity == kprov::Severity::Error).count();
        if errors > wanted.len() {
            let told: Vec<String> = told.iter().map(ToString::to_string).collect();
            wrong.push(format!("{case}: more is told than {}:\n  {}", wanted.len(), told.join("\n  ")));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_trailing_tab_is_nothing() {
    let text =
        "apiVersion: v1\nkind: Pod\nmetadata:\n  name: p\nspec:\n  containers:\n  - name: c\n    image: tomcat\t\n";
    assert_eq!(told(text), []);
}

#[test]
fn pods_are_held_to_the_namespace_beside_them() {
    let text = "apiVersion: v1\nkind: Namespace\nmetadata:\n  name: shop\n  labels:\n    \
                pod-security.kubernetes.io/enforce: baseline\n    pod-security.kubernetes.io/warn: restricted\n---\n\
                apiVersion: v1\nkind: Pod\nmetadata: {name: a, namespace: shop}\nspec:\n  hostPID: true\n  \
                containers: [{name: c, image: i}]\n---\n\
                apiVersion: v1\nkind: Pod\nmetadata: {name: b, namespace: shop}\nspec:\n  containers: [{name: c, image: i}]\n---\n\
                apiVersion: batch/v1\nkind: Job\nmetadata: {name: j, namespace: shop}\nspec:\n  template:\n    spec:\n      \
                restartPolicy: Never\n      hostIPC: true\n      containers: [{name: c, image: i}]\n";
    let problems = Bundle::from_yaml("shop", text).unwrap().check();
    let told: Vec<String> = problems
        .iter()
        .filter(|problem| problem.message.contains("PodSecurity"))
        .map(|problem| format!("{} {} {}", problem.severity.text(), problem.object, problem.message))
        .collect();
    let demands =
        "allowPrivilegeEscalation != false (container \"c\" must set securityContext.allowPrivilegeEscalation=false)";
    assert_eq!(told.len(), 3, "{told:#?}");
    let host = "error Pod/a violates PodSecurity \"baseline:latest\": host namespaces (hostPID=true)";
    assert_eq!(told[0], host);
    assert!(
        told[1].starts_with(&format!("warning Pod/b would violate PodSecurity \"restricted:latest\": {demands}")),
        "{told:#?}"
    );
    assert_eq!(told[2], "warning Job/j would violate PodSecurity \"baseline:latest\": host namespaces (hostIPC=true)");
}
