//! The one table of a cluster file's fields: reading, defaults, the JSON schema and the example are made from it.

use kprov_schema::version::MINOR;
use serde_json::{Value, json};

/// A field of the file.
pub(super) struct Field {
    pub(super) name: &'static str,
    pub(super) sort: Sort,
    pub(super) need: Need,
    pub(super) of: Of,
    /// What it means, in one sentence.
    pub(super) doc: &'static str,
}

/// Whether a field must be there.
pub(super) enum Need {
    /// It must.
    Required,
    /// What stands for it when it is not, as JSON.
    Default(&'static str),
    /// The text that stands for it when it is not.
    Word(&'static str),
    /// It may be left out; then there is none.
    Optional,
}

/// The provider that uses a field. The others read it and leave it alone, so that one file can move between them.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Of {
    All,
    Local,
    Eks,
}

/// The values of a field.
pub(super) enum Sort {
    /// A text of a form.
    Text(&'static Form),
    /// A whole number from, to.
    Number(u32, u32),
    /// True or false.
    Truth,
    /// One of some words.
    OneOf(&'static [&'static str]),
    /// A map of fields.
    Map(&'static [Field]),
    /// A list.
    List(&'static Sort),
    /// A map of any names to texts.
    Texts,
}

/// A form of texts.
pub(super) struct Form {
    /// What fits, as a regular expression over the whole text.
    pub(super) pattern: &'static str,
    /// The form in words.
    pub(super) words: &'static str,
}

const NAME: Form = Form {
    pattern: "^[a-z0-9]([-a-z0-9]{0,38}[a-z0-9])?$",
    words: "1 to 40 lower-case letters, digits and '-', beginning and ending with a letter or digit",
};
const VERSION: Form = Form { pattern: "^1\\.[0-9]{2}$", words: "a minor version in quotes, such as \"1.37\"" };
const REGION: Form = Form { pattern: "^[a-z]{2}(-[a-z]+)+-[0-9]$", words: "a region of AWS, such as eu-central-1" };
const ACCOUNT: Form = Form { pattern: "^[0-9]{12}$", words: "an account of AWS: 12 digits, in quotes" };
const CIDR: Form = Form {
    pattern: "^(25[0-5]|2[0-4][0-9]|1?[0-9]?[0-9])(\\.(25[0-5]|2[0-4][0-9]|1?[0-9]?[0-9])){3}/(1[6-9]|2[0-4])$",
    words: "a network of 16 to 24 bits, such as 10.0.0.0/16",
};
const ARN: Form =
    Form { pattern: "^arn:aws[a-z-]*:iam::[0-9]{12}:(user|role)/.+$", words: "the ARN of a user or a role" };
const WORD: Form = Form { pattern: "^\\S+$", words: "a word" };
const INSTANCE: Form = Form { pattern: "^[a-z][a-z0-9-]*\\.[a-z0-9-]+$", words: "an instance type, such as t3.large" };

const fn field(name: &'static str, sort: Sort, need: Need, doc: &'static str) -> Field {
    Field { name, sort, need, of: Of::All, doc }
}

const fn of(of: Of, field: Field) -> Field {
    Field { of, ..field }
}

use Need::{Default, Optional, Required, Word};
use Sort::{List, Map, Number, OneOf, Text, Texts, Truth};

/// The fields of the file, in the order of the example.
pub(super) const FILE: &[Field] = &[
    field("apiVersion", OneOf(&["kprov.dev/v1"]), Required, "The version of this file's form."),
    field("kind", OneOf(&["Cluster"]), Required, "What the file describes."),
    field("name", Text(&NAME), Required, "The cluster's name, unique on its provider."),
    field(
        "provider",
        OneOf(&["local", "eks"]),
        Word("local"),
        "Where the cluster lives: on this machine, or on Amazon EKS.",
    ),
    field("version", Text(&VERSION), Word(MINOR), "The Kubernetes version."),
    of(Of::Local, field("nodes", Number(0, 10_000), Default("1"), "The number of nodes; 0 is a control plane alone.")),
    of(
        Of::Local,
        field(
            "runtime",
            OneOf(&["containers", "simulated"]),
            Word("containers"),
            "Real Linux containers (needs root), or pods without processes behind them.",
        ),
    ),
    of(
        Of::Local,
        field(
            "port",
            Number(1, 65_535),
            Optional,
            "The port of the API server on this machine; a free one when left out.",
        ),
    ),
    of(
        Of::Local,
        field(
            "nodeGraceSeconds",
            Number(1, 3_600),
            Default("50"),
            "How long a node may be silent before it counts as lost.",
        ),
    ),
    of(Of::Eks, field("region", Text(&REGION), Required, "The region of AWS.")),
    of(Of::Eks, field("account", Text(&ACCOUNT), Optional, "The account that must be used; any other is refused.")),
    of(Of::Eks, field("network", Map(NETWORK), Default("{}"), "The cluster's own network.")),
    of(Of::Eks, field("nodeGroups", List(&Map(NODE_GROUP)), Required, "Groups of equal nodes.")),
    of(Of::Eks, field("access", Map(ACCESS), Default("{}"), "Who may reach the API server, and as what.")),
    of(Of::Eks, field("ingress", Map(INGRESS), Default("{}"), "How requests from outside get in.")),
    of(
        Of::Eks,
        field(
            "addons",
            List(&OneOf(&["vpc-cni", "coredns", "kube-proxy", "aws-ebs-csi-driver", "metrics-server"])),
            Default("[\"vpc-cni\",\"coredns\",\"kube-proxy\"]"),
            "Addons of EKS.",
        ),
    ),
];

const NETWORK: &[Field] = &[
    field("cidr", Text(&CIDR), Default("\"10.0.0.0/16\""), "The addresses of the network."),
    field("zones", Number(2, 6), Default("3"), "The number of availability zones."),
    field(
        "nat",
        OneOf(&["none", "single", "perZone"]),
        Word("single"),
        "Gateways by which private nodes reach the internet.",
    ),
];

const NODE_GROUP: &[Field] = &[
    field("name", Text(&NAME), Required, "The group's name, unique in the cluster."),
    field("instanceTypes", List(&Text(&INSTANCE)), Default("[\"t3.medium\"]"), "Instance types, the best first."),
    field("min", Number(0, 450), Default("1"), "The least number of nodes."),
    field("max", Number(1, 450), Default("3"), "The largest number of nodes."),
    field("desired", Number(0, 450), Optional, "The number of nodes to begin with; `min` when left out."),
    field("diskGib", Number(20, 16_384), Default("20"), "The size of a node's disk in GiB."),
    field("spot", Truth, Default("false"), "Whether nodes are spare ones that AWS may take back."),
    field("labels", Texts, Default("{}"), "Labels of the nodes."),
    field("taints", List(&Map(TAINT)), Default("[]"), "Taints of the nodes."),
];

const TAINT: &[Field] = &[
    field("key", Text(&WORD), Required, "The taint's key."),
    field("value", Text(&WORD), Optional, "The taint's value."),
    field(
        "effect",
        OneOf(&["NoSchedule", "PreferNoSchedule", "NoExecute"]),
        Required,
        "What it does to pods that do not tolerate it.",
    ),
];

const ACCESS: &[Field] = &[
    field(
        "endpoint",
        OneOf(&["public", "private", "both"]),
        Word("public"),
        "From where the API server can be reached.",
    ),
    field(
        "grants",
        List(&Map(GRANT)),
        Default("[]"),
        "Users and roles of AWS with their rights; who makes the cluster is its administrator.",
    ),
];

const GRANT: &[Field] = &[
    field("arn", Text(&ARN), Required, "The user or role."),
    field("rights", OneOf(&["admin", "edit", "view"]), Default("\"view\""), "What it may do in the whole cluster."),
    field(
        "groups",
        List(&Text(&WORD)),
        Default("[]"),
        "Groups of Kubernetes that it belongs to, for bindings of your own.",
    ),
];

const INGRESS: &[Field] = &[
    field("controller", OneOf(&["none", "nginx"]), Word("none"), "The ingress controller to install."),
    field("class", Text(&WORD), Word("nginx"), "The name of its ingress class."),
];

/// The default of a field as a value; `None` when it has none.
pub(super) fn default(field: &Field) -> Option<Value> {
    let value = match field.need {
        Default(text) => serde_json::from_str(text).expect("the table's defaults are JSON: a test reads them"),
        Word(text) => Value::from(text),
        Required | Optional => return None,
    };
    Some(match (&field.sort, value) {
        (Map(fields), Value::Object(_)) => defaults(fields),
        (_, value) => value,
    })
}

/// A map with the defaults of its fields.
fn defaults(fields: &[Field]) -> Value {
    let pairs = fields.iter().filter_map(|field| Some((field.name.to_owned(), default(field)?)));
    Value::Object(pairs.collect())
}

/// The JSON schema of the file, for editors.
///
/// ```
/// let schema = kprov::cluster::json_schema();
/// assert_eq!(schema["properties"]["nodes"]["type"], "integer");
/// ```
#[must_use]
pub fn json_schema() -> Value {
    let mut schema = map_schema(FILE);
    schema["$schema"] = json!("http://json-schema.org/draft-07/schema#");
    schema["title"] = json!("A cluster of kprov");
    let eks: Vec<&str> = FILE
        .iter()
        .filter(|field| field.of == Of::Eks && matches!(field.need, Required))
        .map(|field| field.name)
        .collect();
    schema["if"] = json!({"properties": {"provider": {"const": "eks"}}, "required": ["provider"]});
    schema["then"] = json!({"required": eks});
    schema
}

fn map_schema(fields: &[Field]) -> Value {
    let properties = fields.iter().map(|field| {
        let mut schema = sort_schema(&field.sort);
        schema["description"] = json!(field.doc);
        if let Some(default) = default(field) {
            schema["default"] = default;
        }
        (field.name.to_owned(), schema)
    });
    let properties: Value = Value::Object(properties.collect());
    let needed = fields.iter().filter(|field| field.of == Of::All && matches!(field.need, Required));
    let required: Vec<&str> = needed.map(|field| field.name).collect();
    json!({"type": "object", "properties": properties, "required": required, "additionalProperties": false})
}

fn sort_schema(sort: &Sort) -> Value {
    match sort {
        Text(form) => json!({"type": "string", "pattern": form.pattern}),
        Number(low, high) => json!({"type": "integer", "minimum": low, "maximum": high}),
        Truth => json!({"type": "boolean"}),
        OneOf(words) => json!({"type": "string", "enum": words}),
        Map(fields) => map_schema(fields),
        List(item) => json!({"type": "array", "items": sort_schema(item)}),
        Texts => json!({"type": "object", "additionalProperties": {"type": "string"}}),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn each(fields: &'static [Field], look: &mut dyn FnMut(&Field)) {
        for field in fields {
            look(field);
            let mut sort = &field.sort;
            while let List(item) = sort {
                sort = item;
            }
            if let Map(inner) = sort {
                each(inner, look);
            }
        }
    }

    #[test]
    fn the_table_is_sound() {
        let mut count = 0;
        each(FILE, &mut |field| {
            count += 1;
            assert!(field.doc.ends_with('.') && !field.name.is_empty(), "{}", field.name);
            let _ = default(field);
            if let Text(form) = &field.sort {
                regex::Regex::new(form.pattern).unwrap();
            }
        });
        assert!(count > 30);
    }

    #[test]
    fn the_schema_says_what_the_table_says() {
        let schema = json_schema();
        assert_eq!(schema["properties"]["nodes"]["default"], 1);
        assert_eq!(schema["properties"]["nodeGroups"]["items"]["required"], json!(["name"]));
        assert_eq!(schema["required"], json!(["apiVersion", "kind", "name"]));
        assert_eq!(schema["then"]["required"], json!(["region", "nodeGroups"]));
        assert_eq!(schema["properties"]["network"]["default"]["zones"], 3);
    }
}
