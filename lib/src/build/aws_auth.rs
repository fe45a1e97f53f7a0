//! Who of an AWS account is who in an EKS cluster: the config map `aws-auth`.

use std::fmt::Write as _;

use super::config::ConfigMap;
use super::object::Object;
use super::text::{Of, text};
use crate::yaml;

text! {
    /// The ARN of an IAM role or user: `arn:PARTITION:iam::ACCOUNT:role/NAME`.
    ///
    /// ```
    /// # use kprov::build::*;
    /// assert!("arn:aws:iam::012345678901:role/nodes".parse::<IamArn>().is_ok());
    /// let error = "nodes".parse::<IamArn>().unwrap_err().to_string();
    /// assert_eq!(error, "\"nodes\" is no ARN of an IAM role or user: it is like arn:aws:iam::012345678901:role/NAME");
    /// ```
    /// Source: <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference-arns.html>
    IamArn, "ARN of an IAM role or user", |text| {
        if is_arn(text) { Vec::new() } else { vec!["it is like arn:aws:iam::012345678901:role/NAME".to_owned()] }
    }
}

fn is_arn(text: &str) -> bool {
    let parts: Vec<&str> = text.split(':').collect();
    let ["arn", partition, "iam", "", account, who] = parts[..] else { return false };
    let named = |rest: &str| {
        !rest.is_empty() && rest.chars().all(|one| one.is_ascii_alphanumeric() || "+=,.@_-/".contains(one))
    };
    let known = who.split_once('/').is_some_and(|(sort, name)| ["role", "user"].contains(&sort) && named(name));
    partition.starts_with("aws") && account.len() == 12 && account.bytes().all(|one| one.is_ascii_digit()) && known
}

/// Who of an AWS account is who in an EKS cluster. It becomes the config map `aws-auth` of the namespace `kube-system`,
/// which the cluster's authenticator reads.
///
/// ```
/// # use kprov::build::*;
/// let map: ConfigMap = AwsAuth::new()
///     .nodes("arn:aws:iam::012345678901:role/nodes")
///     .user("arn:aws:iam::012345678901:user/ann", "ann", ["system:masters"])
///     .into();
/// let raw = map.build();
/// assert!(raw.data.unwrap()["mapUsers"].contains("username: ann"));
/// ```
/// Source: <https://docs.aws.amazon.com/eks/latest/userguide/auth-configmap.html>
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AwsAuth {
    roles: String,
    users: String,
}

impl AwsAuth {
    /// Nobody.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Machines with this IAM role are nodes.
    #[must_use]
    #[track_caller]
    pub fn nodes(self, role: impl Of<IamArn>) -> Self {
        self.role(role, "system:node:{{EC2PrivateDNSName}}", ["system:bootstrappers", "system:nodes"])
    }

    /// Whoever has assumed this IAM role is a user of Kubernetes, in these groups.
    ///
    /// The authenticator sees assumed roles without their path, so a path in the ARN is left out. In the name
    /// `{{SessionName}}` stands for that of the session, `{{EC2PrivateDNSName}}` for that of the machine.
    ///
    /// ```
    /// # use kprov::build::*;
    /// let auth = AwsAuth::new().role("arn:aws:iam::012345678901:role/team/dev", "dev-{{SessionName}}", ["developers"]);
    /// let map = ConfigMap::from(auth).build();
    /// assert!(map.data.unwrap()["mapRoles"].starts_with("- rolearn: arn:aws:iam::012345678901:role/dev\n"));
    /// ```
    #[must_use]
    #[track_caller]
    pub fn role<G: AsRef<str>>(
        mut self,
        role: impl Of<IamArn>,
        name: &str,
        groups: impl IntoIterator<Item = G>,
    ) -> Self {
        let role = role.checked();
        let (account, path) = role.as_str().split_once('/').expect("an ARN of IAM has a name");
        let last = path.rsplit('/').next().unwrap_or(path);
        entry(&mut self.roles, "rolearn", &format!("{account}/{last}"), name, groups);
        self
    }

    /// This IAM user is a user of Kubernetes, in these groups.
    #[must_use]
    #[track_caller]
    pub fn user<G: AsRef<str>>(
        mut self,
        user: impl Of<IamArn>,
        name: &str,
        groups: impl IntoIterator<Item = G>,
    ) -> Self {
        entry(&mut self.users, "userarn", user.checked().as_str(), name, groups);
        self
    }
}

/// Adds an item to a list in YAML.
fn entry<G: AsRef<str>>(list: &mut String, key: &str, arn: &str, name: &str, groups: impl IntoIterator<Item = G>) {
    let mut groups = groups.into_iter().peekable();
    let none = if groups.peek().is_none() { " []" } else { "" };
    let mut line = |text: String| writeln!(list, "{text}").expect("a String takes all");
    line(format!("- {key}: {arn}"));
    line(format!("  username: {}", scalar(name)));
    line(format!("  groups:{none}"));
    groups.for_each(|group| line(format!("    - {}", scalar(group.as_ref()))));
}

/// A text as YAML has it on one line.
fn scalar(text: &str) -> String {
    let plain = |one: char| one.is_ascii_alphanumeric() || ":-_./{}@".contains(one);
    let is_plain =
        text.starts_with(|one: char| one.is_ascii_alphabetic()) && text.chars().all(plain) && !text.ends_with(':');
    match yaml::to_string(&text) {
        Ok(written) if is_plain && written.trim_end() == text => text.to_owned(),
        _ => serde_json::Value::from(text).to_string(),
    }
}

impl From<AwsAuth> for ConfigMap {
    fn from(auth: AwsAuth) -> Self {
        let lists = [("mapRoles", auth.roles), ("mapUsers", auth.users)];
        let map = Self::new("aws-auth").namespace("kube-system");
        lists.into_iter().filter(|(_, list)| !list.is_empty()).fold(map, |map, (key, list)| map.file(key, list))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn read(auth: AwsAuth, key: &str) -> Value {
        let text = ConfigMap::from(auth).build().data.unwrap()[key].clone();
        yaml::from_str(&text).unwrap_or_else(|error| panic!("{error}\n{text}"))
    }

    #[test]
    fn lists_are_yaml_whatever_the_names() {
        let arn = "arn:aws:iam::012345678901:role/a";
        for name in ["yes", "no: body", "{{SessionName}}", "system:node:{{EC2PrivateDNSName}}", "a\nb", "", "12", "x:"]
        {
            let written = read(AwsAuth::new().role(arn, name, [name]), "mapRoles");
            assert_eq!(written, json!([{"rolearn": arn, "username": name, "groups": [name]}]), "{name}");
        }
        let none: [&str; 0] = [];
        assert_eq!(read(AwsAuth::new().role(arn, "a", none), "mapRoles")[0]["groups"], json!([]));
    }

    #[test]
    fn arns_are_told_from_other_texts() {
        for good in ["arn:aws:iam::012345678901:role/a", "arn:aws-cn:iam::012345678901:user/team/b.c@d"] {
            assert!(is_arn(good), "{good}");
        }
        for bad in [
            "",
            "a",
            "arn:aws:iam::1:role/a",
            "arn:aws:iam::012345678901:role/",
            "arn:aws:iam::012345678901:group/a",
            "arn:aws:iam:eu:012345678901:role/a",
        ] {
            assert!(!is_arn(bad), "{bad}");
        }
    }
}
