//! Becomes a container's program, and tells why when it can't.

use std::collections::HashMap;
use std::ffi::CString;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use libcontainer::oci_spec::runtime::Spec;
use libcontainer::workload::{Executor, ExecutorError, ExecutorSetEnvsError, ExecutorValidationError};
use rustix::fs::Access;
use rustix::io::Errno;

use super::seccomp::{self, Filter};

/// Runs inside the container, after everything else is set up.
#[derive(Clone)]
pub(super) struct Program {
    /// Takes the words of a failure. It is closed when the program has been executed.
    pub(super) failure: Rc<OwnedFd>,
    /// Loaded when nothing but the program itself is left to be executed.
    pub(super) filter: Option<Rc<Filter>>,
}

impl Program {
    /// A pipe takes a few words at once, also when nobody reads yet.
    fn fail(&self, words: &str) -> String {
        let words = format!("unable to start container process: {words}");
        match rustix::io::write(&*self.failure, words.as_bytes()) {
            Ok(_) => words,
            Err(error) => format!("{words} (and that could not be told: {error})"),
        }
    }
}

impl Executor for Program {
    fn exec(&self, spec: &Spec) -> Result<(), ExecutorError> {
        let process = spec.process().as_ref().ok_or(ExecutorError::InvalidArg)?;
        let (args, env) = (process.args().clone().unwrap_or_default(), process.env().clone().unwrap_or_default());
        let path = locate(&args, &env).map_err(|words| ExecutorError::Other(self.fail(&words)))?;
        let text = |words: Vec<String>| words.into_iter().map(CString::new).collect::<Result<Vec<_>, _>>();
        let (Ok(args), Ok(env), Ok(file)) = (text(args), text(env), CString::new(path.as_os_str().as_encoded_bytes()))
        else {
            return Err(ExecutorError::Other(self.fail("an argument or a variable holds a zero byte")));
        };
        if let Some(filter) = &self.filter {
            seccomp::install(filter)
                .map_err(|error| ExecutorError::Other(self.fail(&format!("load the seccomp profile: {error}"))))?;
        }
        let Err(error) = nix::unistd::execve(&file, &args, &env);
        Err(ExecutorError::Other(self.fail(&format!(
            "exec {}: {}",
            path.display(),
            words(Errno::from_raw_os_error(error as i32))
        ))))
    }

    fn validate(&self, spec: &Spec) -> Result<(), ExecutorValidationError> {
        let process =
            spec.process().as_ref().ok_or_else(|| ExecutorValidationError::ArgValidationError("no process".into()))?;
        let (args, env) = (process.args().clone().unwrap_or_default(), process.env().clone().unwrap_or_default());
        locate(&args, &env).map(drop).map_err(|words| ExecutorValidationError::ArgValidationError(self.fail(&words)))
    }

    /// The environment is handed over in its own order when the program is executed.
    fn setup_envs(&self, _envs: HashMap<String, String>) -> Result<(), ExecutorSetEnvsError> {
        Ok(())
    }
}

/// Finds the file to execute as a shell would. The words of a failure are upstream's.
fn locate(args: &[String], env: &[String]) -> Result<PathBuf, String> {
    let program = args.first().map(String::as_str).unwrap_or_default();
    if program.contains('/') {
        return check(Path::new(program)).map(|()| program.into()).map_err(|errno| match errno {
            Errno::NOENT => format!("exec: {program:?}: stat {program}: no such file or directory"),
            other => format!("exec: {program:?}: {}", words(other)),
        });
    }
    let path = env.iter().rev().find_map(|entry| entry.strip_prefix("PATH=")).unwrap_or_default();
    let mut denied = false;
    for folder in path.split(':').filter(|_| !program.is_empty()) {
        let candidate = Path::new(if folder.is_empty() { "." } else { folder }).join(program);
        match check(&candidate) {
            Ok(()) => return Ok(candidate),
            Err(errno) => denied |= errno == Errno::ACCESS,
        }
    }
    let why = if denied { "permission denied" } else { "executable file not found in $PATH" };
    Err(format!("exec: {program:?}: {why}"))
}

fn check(path: &Path) -> Result<(), Errno> {
    let found = rustix::fs::stat(path)?;
    if rustix::fs::FileType::from_raw_mode(found.st_mode) == rustix::fs::FileType::Directory {
        return Err(Errno::ISDIR);
    }
    rustix::fs::access(path, Access::EXEC_OK)
}

fn words(errno: Errno) -> String {
    match errno {
        Errno::NOENT => "no such file or directory".into(),
        Errno::ACCESS => "permission denied".into(),
        Errno::ISDIR => "is a directory".into(),
        Errno::NOEXEC => "exec format error".into(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn programs_are_found_in_the_path() {
        let folder = tempfile::tempdir().unwrap();
        let app = folder.path().join("app");
        std::fs::write(&app, "").unwrap();
        std::fs::set_permissions(&app, std::fs::Permissions::from_mode(0o755)).unwrap();
        let env = [format!("PATH=/no/such:{}", folder.path().display())];
        let find = |program: &str| locate(&[program.to_owned()], &env);
        assert_eq!(find("app"), Ok(app.clone()));
        assert_eq!(find(app.to_str().unwrap()), Ok(app));
        assert_eq!(find("nope"), Err(r#"exec: "nope": executable file not found in $PATH"#.into()));
        assert_eq!(find("/no/pe"), Err(r#"exec: "/no/pe": stat /no/pe: no such file or directory"#.into()));
        assert_eq!(find("/"), Err(r#"exec: "/": is a directory"#.into()));
        assert_eq!(find(""), Err(r#"exec: "": executable file not found in $PATH"#.into()));
    }
}
