//! Kinds that are defined at run time.

use kprov_tests::cluster::TestCluster;

use super::KPROV;

const DEFINITION: &str = "
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: crontabs.stable.example.com}
spec:
  group: stable.example.com
  scope: Namespaced
  names: {plural: crontabs, singular: crontab, kind: CronTab, shortNames: [ct], categories: [all]}
  versions:
  - name: v1
    served: true
    storage: true
    subresources: {status: {}, scale: {specReplicasPath: .spec.replicas, statusReplicasPath: .status.replicas}}
    additionalPrinterColumns:
    - {name: Spec, type: string, jsonPath: .spec.cronSpec}
    - {name: Replicas, type: integer, jsonPath: .spec.replicas}
    schema:
      openAPIV3Schema:
        type: object
        properties:
          spec:
            type: object
            description: What is to be done.
            properties:
              cronSpec: {type: string, pattern: '^[0-9*/ ]+$'}
              replicas: {type: integer, minimum: 1, maximum: 10, default: 1}
            x-kubernetes-validations:
            - {rule: \"self.replicas < 5 || self.cronSpec.startsWith('0')\", message: many run on the hour alone}
          status:
            type: object
            properties: {replicas: {type: integer}}
";

const OBJECT: &str = "
apiVersion: stable.example.com/v1
kind: CronTab
metadata: {name: my-crontab}
spec: {cronSpec: '* * * * */5'}
";

#[test]
fn a_kind_is_defined_used_and_removed() {
    let cluster = TestCluster::up(KPROV, "defs", &["--nodes", "0"]).unwrap();
    let said = cluster.apply(OBJECT).unwrap_err().to_string();
    assert!(said.contains("no matches for kind \"CronTab\" in version \"stable.example.com/v1\""), "{said}");
    assert!(said.contains("ensure CRDs are installed first"), "{said}");

    cluster.apply(DEFINITION).unwrap();
    cluster.k("wait --for=condition=Established crd/crontabs.stable.example.com --timeout=30s").unwrap();
    assert_eq!(cluster.apply(OBJECT).unwrap(), "crontab.stable.example.com/my-crontab created\n");
    assert_eq!(cluster.apply(OBJECT).unwrap(), "crontab.stable.example.com/my-crontab unchanged\n");
    let table = cluster.k("get ct").unwrap();
    assert!(table.starts_with("NAME         SPEC          REPLICAS"), "{table}");
    assert!(cluster.k("get all").unwrap().contains("crontab.stable.example.com/my-crontab"));
    let explained = cluster.k("explain crontab.spec").unwrap();
    assert!(explained.contains("What is to be done.") && explained.contains("cronSpec"), "{explained}");
    cluster.k("scale crontab my-crontab --replicas=3").unwrap();
    assert_eq!(cluster.k("get ct my-crontab -o jsonpath={.spec.replicas}").unwrap(), "3");

    let bad = OBJECT.replace("'* * * * */5'", "'* * * * */5', replicas: 7");
    assert!(cluster.apply(&bad).unwrap_err().to_string().contains("many run on the hour alone"));
    let unknown = OBJECT.replace("cronSpec:", "cronSpecs:");
    assert!(cluster.apply(&unknown).unwrap_err().to_string().contains("unknown field \"spec.cronSpecs\""));

    cluster.k("delete crd crontabs.stable.example.com --timeout=30s").unwrap();
    // kubectl remembers for a while which resources there are.
    let said = cluster.k("get crontabs").unwrap_err().to_string();
    assert!(said.contains("the server could not find the requested resource"), "{said}");
}
