//! Manifests: objects as they stand in files, with the place of every field.
//!
//! ```
//! use kprov::manifest::Manifests;
//!
//! let read = Manifests::parse("web.yaml", "kind: Service\n---\nkind: Deployment\n");
//! assert_eq!(read.all[1].object.kind(), "Deployment");
//! ```

use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use kprov_schema::Object;
use kprov_schema::yaml::{self, Content, Node, YamlError};

use crate::check::syntax;
use crate::problem::{Problem, Source};

/// Endings of files that are read in a folder.
const ENDINGS: [&str; 3] = ["yaml", "yml", "json"];
/// A larger file is no manifest.
const LARGEST_BYTES: u64 = 256 << 20;

/// Where an object was read.
///
/// ```
/// use kprov::manifest::Manifests;
///
/// let read = Manifests::parse("web.yaml", "kind: Pod\nspec:\n  nodeName: a\n");
/// let origin = &read.all[0].origin;
/// assert_eq!(origin.node.find("spec.nodeName").at.start.line, 3);
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Origin {
    /// The text.
    pub source: Arc<Source>,
    /// The object in it, with the place of every field.
    pub node: Arc<Node>,
}

/// An object with where it was read.
///
/// ```
/// let read = kprov::manifest::Manifests::parse("web.yaml", "kind: Pod\nmetadata: {name: web}\n");
/// assert_eq!(read.all[0].object.name(), "web");
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Manifest {
    /// The object, exactly as it stands there.
    pub object: Object,
    /// Where that is.
    pub origin: Origin,
}

/// What was read: objects in order, and what could not be read.
///
/// ```
/// let read = kprov::manifest::Manifests::parse("web.yaml", "kind: Pod\n---\n- a list\n");
/// assert_eq!((read.all.len(), read.problems.len()), (1, 1));
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Manifests {
    /// In the order of the files and of the texts; the items of lists one by one.
    pub all: Vec<Manifest>,
    /// Files that can't be read, and what is no YAML. What stands beside it is read all the same.
    pub problems: Vec<Problem>,
}

impl Manifests {
    /// Reads a text of YAML documents, lists or JSON. `name` is what problems call it.
    ///
    /// ```
    /// let read = kprov::manifest::Manifests::parse("web.yaml", "kind: List\nitems: [{kind: A}, {kind: B}]\n");
    /// assert_eq!(read.all.len(), 2);
    /// assert_eq!(read.all[1].origin.node.span.start.line, 2);
    /// ```
    #[must_use]
    pub fn parse(name: impl Into<String>, text: impl Into<String>) -> Self {
        let mut read = Self::default();
        read.add_text(name.into(), text.into());
        read
    }

    /// Reads files, the `.yaml`, `.yml` and `.json` files of folders, and for `-` standard input.
    ///
    /// Files of a folder come by name; of folders inside of it only when `recursive`.
    ///
    /// ```no_run
    /// use kprov::manifest::Manifests;
    ///
    /// let read = Manifests::read(["base/", "web.yaml"], true);
    /// for problem in &read.problems {
    ///     eprintln!("{}", problem.render(false));
    /// }
    /// ```
    #[must_use]
    pub fn read<P: AsRef<Path>>(paths: impl IntoIterator<Item = P>, recursive: bool) -> Self {
        let mut read = Self::default();
        for path in paths {
            read.add_path(path.as_ref(), recursive);
        }
        read
    }

    fn add_path(&mut self, path: &Path, recursive: bool) {
        if path == Path::new("-") {
            let mut text = String::new();
            match std::io::stdin().take(LARGEST_BYTES).read_to_string(&mut text) {
                Ok(_) => self.add_text("<stdin>".to_owned(), text),
                Err(error) => self.problems.push(Problem::error(format!("reading standard input: {error}"))),
            }
            return;
        }
        match files(path, recursive) {
            Ok(files) if files.is_empty() => self.problems.push(nothing_in(path, recursive)),
            Ok(files) => files.iter().for_each(|file| self.add_file(file)),
            Err(problem) => self.problems.push(*problem),
        }
    }

    fn add_file(&mut self, path: &Path) {
        let text = fs::metadata(path).and_then(|about| {
            if about.len() > LARGEST_BYTES {
                return Err(std::io::Error::other(format!("it is larger than {} MiB", LARGEST_BYTES >> 20)));
            }
            fs::read_to_string(path)
        });
        match text {
            Ok(text) => self.add_text(path.display().to_string(), text),
            Err(error) => self.problems.push(unreadable(path, &error)),
        }
    }

    fn add_text(&mut self, name: String, text: String) {
        let source = Arc::new(Source { name, text });
        for read in yaml::nodes(&source.text) {
            match read {
                Ok(node) => self.add_node(&source, node),
                Err(error) => self.problems.push(syntax(&source, &error)),
            }
        }
    }

    fn add_node(&mut self, source: &Arc<Source>, node: Node) {
        let is_list = node.get("kind").and_then(Node::text).is_some_and(|kind| kind.ends_with("List"));
        match node.content {
            Content::Map(entries) if is_list && entries.iter().any(|entry| is_items(&entry.key, &entry.value)) => {
                let items = entries.into_iter().filter(|entry| entry.key == "items").map(|entry| entry.value.content);
                for item in items {
                    if let Content::List(items) = item {
                        items.into_iter().for_each(|item| self.add_node(source, item));
                    }
                }
            }
            Content::Map(_) => match Object::try_from(node.to_value()) {
                Ok(object) => {
                    let origin = Origin { source: source.clone(), node: Arc::new(node) };
                    self.all.push(Manifest { object, origin });
                }
                Err(error) => self.problems.push(Problem::error(error).at(source, node.span)),
            },
            Content::List(_) => {
                let problem = Problem::error("an object is a map, and this is a list").at(source, node.span);
                self.problems
                    .push(problem.hint("several objects are documents with `---` between them, or a `kind: List`"));
            }
            Content::Scalar { text, .. } => {
                let shown: String = text.chars().take(40).collect();
                self.problems
                    .push(Problem::error(format!("an object is a map, and this is {shown:?}")).at(source, node.span));
            }
        }
    }
}

fn is_items(key: &str, value: &Node) -> bool {
    key == "items" && (matches!(value.content, Content::List(_)) || value.is_null())
}

fn nothing_in(path: &Path, recursive: bool) -> Problem {
    let problem = Problem::error(format!("{} holds no file that ends in .yaml, .yml or .json", path.display()));
    if recursive { problem } else { problem.hint("-R also reads the folders inside of it") }
}

fn unreadable(path: &Path, error: &std::io::Error) -> Problem {
    Problem::error(format!("reading {}: {error}", path.display()))
}

/// The files that a path stands for.
fn files(path: &Path, recursive: bool) -> Result<Vec<PathBuf>, Box<Problem>> {
    if !path.is_dir() {
        return match fs::metadata(path) {
            Ok(_) => Ok(vec![path.to_owned()]),
            Err(error) => Err(Box::new(unreadable(path, &error))),
        };
    }
    let entries = fs::read_dir(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let mut inside: Vec<PathBuf> =
        entries.map_err(|error| Box::new(unreadable(path, &error)))?.iter().map(fs::DirEntry::path).collect();
    inside.sort();
    let mut found = Vec::new();
    for path in inside {
        if path.is_dir() {
            // A link that leads back up would never end.
            if recursive && !path.is_symlink() {
                found.extend(files(&path, true)?);
            }
        } else if path.extension().is_some_and(|ending| ENDINGS.iter().any(|known| ending == *known)) {
            found.push(path);
        }
    }
    Ok(found)
}

fn syntax(source: &Arc<Source>, error: &YamlError) -> Problem {
    let problem = Problem::error(format!("not YAML: {}", error.message));
    let Some(span) = error.span else { return problem };
    match syntax::slip(&source.text, span.start) {
        Some(slip) => problem.at(source, slip.span).hint(slip.hint),
        None => problem.at(source, span),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mistakes_stand_beside_what_is_read() {
        let read = Manifests::parse("a.yaml", "kind: A\n---\n- kind: B\n---\nkind: C\n---\nx: [\n---\nhello\n");
        assert_eq!(read.all.len(), 2);
        let told: Vec<String> = read.problems.iter().map(ToString::to_string).collect();
        assert!(told[0].starts_with("a.yaml:3:1: an object is a map, and this is a list"), "{told:?}");
        assert!(told[1].starts_with("a.yaml:7:4: not YAML: "), "{told:?}");
        assert!(told[2].starts_with("a.yaml:9:1: an object is a map, and this is \"hello\""), "{told:?}");
    }

    #[test]
    fn files_and_folders_are_read_by_name() {
        let folder = std::env::temp_dir().join(format!("kprov-manifests-{}", std::process::id()));
        fs::create_dir_all(folder.join("inner")).unwrap();
        for (name, text) in [("b.yml", "kind: B"), ("a.yaml", "kind: A"), ("no.txt", "kind: T"), ("inner/c.json", "{}")]
        {
            fs::write(folder.join(name), text).unwrap();
        }
        let names = |read: &Manifests| read.all.iter().map(|one| one.object.kind().to_owned()).collect::<Vec<_>>();
        assert_eq!(names(&Manifests::read([&folder], false)), ["A", "B"]);
        assert_eq!(names(&Manifests::read([&folder], true)), ["A", "B", ""]);
        assert_eq!(names(&Manifests::read([folder.join("no.txt")], false)), ["T"], "a file is read whatever its name");
        let missing = Manifests::read([folder.join("inner").join("d.yaml")], false);
        assert!(missing.problems[0].message.contains("d.yaml: No such file"), "{}", missing.problems[0]);
        fs::remove_dir_all(&folder).unwrap();
    }
}
