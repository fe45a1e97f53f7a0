//! The user's kubeconfig: our entries go in and out, everything else stays.

use std::fs::{self, File};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use kprov::yaml;
use serde_json::{Map, Value, json};

use crate::whole;

/// Lists of a kubeconfig that hold named entries.
const LISTS: [&str; 3] = ["clusters", "contexts", "users"];

/// The file that kubectl would write to: the first of `$KUBECONFIG`, else `~/.kube/config`.
pub(crate) fn path() -> anyhow::Result<PathBuf> {
    let listed = std::env::var_os("KUBECONFIG").unwrap_or_default();
    if let Some(first) = std::env::split_paths(&listed).find(|path| !path.as_os_str().is_empty()) {
        return Ok(first);
    }
    let Some(home) = std::env::home_dir() else {
        bail!("no home folder for a kubeconfig: set KUBECONFIG to a file");
    };
    Ok(home.join(".kube/config"))
}

/// Name of a cluster's entries.
pub(crate) fn context_of(cluster: &str) -> String {
    format!("kprov-{cluster}")
}

/// Whether `file` has the entries of `admin` under the context's name.
pub(crate) fn has(file: &Path, context: &str, admin: &str) -> anyhow::Result<bool> {
    let Some(config) = read(file)? else { return Ok(false) };
    let mut with = config.clone();
    insert(&mut with, context, admin)?;
    Ok(LISTS.iter().all(|list| config.get(*list) == with.get(*list)))
}

/// Puts the cluster of the kubeconfig `admin` into `file` under the context's name, and makes it the current one.
///
/// Errors: a file that can't be read as a kubeconfig is left as it is.
pub(crate) fn add(file: &Path, context: &str, admin: &str) -> anyhow::Result<()> {
    change(file, |config| {
        insert(config, context, admin)?;
        config.insert("current-context".to_owned(), json!(context));
        Ok(())
    })
}

/// Takes the context's entries out of `file`; a file without them is not touched.
pub(crate) fn remove(file: &Path, context: &str) -> anyhow::Result<()> {
    let Some(config) = read(file)? else { return Ok(()) };
    let named = |list: &str| entries(&config, list).any(|entry| entry["name"] == context);
    if !LISTS.iter().any(|list| named(list)) {
        return Ok(());
    }
    change(file, |config| {
        for list in LISTS {
            if let Some(Value::Array(entries)) = config.get_mut(list) {
                entries.retain(|entry| entry["name"] != context);
            }
        }
        if config.get("current-context") == Some(&json!(context)) {
            config.insert("current-context".to_owned(), json!(""));
        }
        Ok(())
    })
}

fn entries<'a>(config: &'a Map<String, Value>, list: &str) -> impl Iterator<Item = &'a Value> {
    config.get(list).and_then(Value::as_array).into_iter().flatten()
}

fn insert(config: &mut Map<String, Value>, context: &str, admin: &str) -> anyhow::Result<()> {
    let admin: Value = yaml::from_str(admin)
        .context("the cluster's own kubeconfig is damaged: `kprov down`, then `kprov up`, makes the cluster anew")?;
    let parts = [
        ("clusters", json!({"name": context, "cluster": admin["clusters"][0]["cluster"]})),
        ("users", json!({"name": context, "user": admin["users"][0]["user"]})),
        ("contexts", json!({"name": context, "context": {"cluster": context, "user": context}})),
    ];
    for (list, entry) in parts {
        let held = config.entry(list.to_owned()).or_insert_with(|| json!([]));
        if held.is_null() {
            *held = json!([]);
        }
        let Value::Array(held) = held else { bail!("`{list}` is no list") };
        match held.iter_mut().find(|held| held["name"] == context) {
            // The user may have set a namespace for the context.
            Some(held) if list == "contexts" => {
                held["context"]["cluster"] = json!(context);
                held["context"]["user"] = json!(context);
            }
            Some(held) => *held = entry,
            None => held.push(entry),
        }
    }
    Ok(())
}

fn read(file: &Path) -> anyhow::Result<Option<Map<String, Value>>> {
    let text = match fs::read_to_string(file) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        other => other.with_context(|| format!("reading the kubeconfig {}", file.display()))?,
    };
    let help = || {
        format!(
            "{} is no kubeconfig, so it is left as it is: mend it, or set KUBECONFIG to another file",
            file.display()
        )
    };
    match yaml::from_str(&text).with_context(help)? {
        Value::Object(map) => Ok(Some(map)),
        Value::Null => Ok(Some(Map::new())),
        _ => bail!(help()),
    }
}

/// Reads, changes and replaces the file under the lock that kubectl uses.
fn change(file: &Path, change: impl FnOnce(&mut Map<String, Value>) -> anyhow::Result<()>) -> anyhow::Result<()> {
    // A link to a file elsewhere stays a link.
    let file = &fs::canonicalize(file).unwrap_or_else(|_| file.to_owned());
    let what = || format!("changing the kubeconfig {}", file.display());
    if let Some(folder) = file.parent() {
        fs::create_dir_all(folder).with_context(what)?;
    }
    let _lock = Lock::take(file)?;
    let mut config = read(file)?.unwrap_or_else(|| {
        let fresh = json!({"apiVersion": "v1", "kind": "Config", "preferences": {}});
        fresh.as_object().cloned().unwrap_or_default()
    });
    change(&mut config).with_context(what)?;
    let text = yaml::to_string(&config).with_context(what)?;
    whole::write(file, text.as_bytes()).with_context(what)
}

struct Lock(PathBuf);

impl Lock {
    fn take(file: &Path) -> anyhow::Result<Self> {
        let path = file.with_added_extension("lock");
        match File::options().write(true).create_new(true).open(&path) {
            Ok(_) => Ok(Self(path)),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => bail!(
                "{} is locked: another program is changing it; if none is, remove {}",
                file.display(),
                path.display()
            ),
            Err(error) => Err(error).with_context(|| format!("locking {}", file.display())),
        }
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        fs::remove_file(&self.0).ok();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ADMIN: &str = "
clusters: [{name: c, cluster: {server: 'https://127.0.0.1:1', certificate-authority-data: QQ==}}]
users: [{name: u, user: {client-certificate-data: QQ==, client-key-data: QQ==}}]
contexts: [{name: x, context: {cluster: c, user: u}}]
current-context: x
";

    fn file(text: &str) -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config");
        fs::write(&path, text).unwrap();
        (folder, path)
    }

    #[test]
    fn entries_come_and_go_and_the_users_own_stay() {
        let own = "apiVersion: v1\nkind: Config\ncurrent-context: mine\nclusters:\n- name: mine\n  cluster:\n    server: https://a\n    odd: 1\nusers: null\nextra: [1]\n";
        let (_folder, path) = file(own);
        add(&path, "kprov-a", ADMIN).unwrap();
        assert!(has(&path, "kprov-a", ADMIN).unwrap());
        let with: Value = yaml::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
        assert_eq!(with["current-context"], "kprov-a");
        assert_eq!(with["clusters"][0]["cluster"]["odd"], 1);
        assert_eq!(with["clusters"][1]["cluster"]["server"], "https://127.0.0.1:1");
        remove(&path, "kprov-a").unwrap();
        let without: Value = yaml::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
        assert_eq!(without["clusters"].as_array().unwrap().len(), 1);
        assert_eq!(without["extra"], json!([1]));
        assert!(!has(&path, "kprov-a", ADMIN).unwrap());
    }

    #[test]
    fn a_missing_file_is_made_for_its_owner_alone() {
        let (_folder, path) = file("");
        fs::remove_file(&path).unwrap();
        add(&path, "kprov-a", ADMIN).unwrap();
        let mode = std::os::unix::fs::PermissionsExt::mode(&fs::metadata(&path).unwrap().permissions());
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn a_damaged_or_locked_file_is_left_alone() {
        for text in ["a: [", "- list", "just text"] {
            let (_folder, path) = file(text);
            let error = format!("{:#}", add(&path, "kprov-a", ADMIN).unwrap_err());
            assert!(error.contains("KUBECONFIG"), "{error}");
            assert_eq!(fs::read_to_string(&path).unwrap(), text);
        }
        let (_folder, path) = file("");
        fs::write(path.with_added_extension("lock"), "").unwrap();
        assert!(add(&path, "kprov-a", ADMIN).unwrap_err().to_string().contains("is locked"));
    }

    #[test]
    fn a_namespace_set_by_hand_stays() {
        let (_folder, path) = file("");
        add(&path, "kprov-a", ADMIN).unwrap();
        let text = fs::read_to_string(&path).unwrap().replace("user: kprov-a", "user: kprov-a\n    namespace: shop");
        fs::write(&path, text).unwrap();
        add(&path, "kprov-a", ADMIN).unwrap();
        assert!(fs::read_to_string(&path).unwrap().contains("namespace: shop"));
    }
}
