//! `$(NAME)` references in commands, arguments, values and paths.

/// Replaces `$(NAME)` by the value of `NAME`; `$$` stands for one `$`, and a name without a value stays as it is.
///
/// Source: <https://kubernetes.io/docs/tasks/inject-data-application/define-interdependent-environment-variables/>
#[must_use]
pub fn expand<'a>(text: &str, value: &dyn Fn(&str) -> Option<&'a str>) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        out.push_str(&rest[..at]);
        let after = &rest[at + 1..];
        if let Some(tail) = after.strip_prefix('$') {
            out.push('$');
            rest = tail;
        } else if let Some((name, tail)) = after.strip_prefix('(').and_then(|inner| inner.split_once(')')) {
            match value(name) {
                Some(found) => out.push_str(found),
                None => {
                    out.push_str("$(");
                    out.push_str(name);
                    out.push(')');
                }
            }
            rest = tail;
        } else {
            out.push('$');
            rest = after;
        }
    }
    out.push_str(rest);
    out
}

/// The command line of a container: its own command or the image's entrypoint, then its own arguments or, only when
/// there is no own command, the image's.
///
/// Source: <https://kubernetes.io/docs/tasks/inject-data-application/define-command-argument-container/>
#[must_use]
pub fn command_line(
    command: &[String],
    args: &[String],
    entrypoint: &[String],
    image_args: &[String],
    value: &dyn Fn(&str) -> Option<String>,
) -> Vec<String> {
    let expanded = |texts: &[String]| -> Vec<String> { texts.iter().map(|text| expand_owned(text, value)).collect() };
    let (head, tail) = match (command.is_empty(), args.is_empty()) {
        (false, _) => (expanded(command), expanded(args)),
        (true, false) => (entrypoint.to_vec(), expanded(args)),
        (true, true) => (entrypoint.to_vec(), image_args.to_vec()),
    };
    head.into_iter().chain(tail).collect()
}

/// [`expand`] for values that are made on the way.
#[must_use]
pub fn expand_owned(text: &str, value: &dyn Fn(&str) -> Option<String>) -> String {
    let names = names(text);
    let values: Vec<(String, String)> =
        names.into_iter().filter_map(|name| value(&name).map(|found| (name, found))).collect();
    expand(text, &|name| values.iter().find(|(one, _)| one == name).map(|(_, found)| found.as_str()))
}

/// Every name that a text refers to.
#[must_use]
pub fn names(text: &str) -> Vec<String> {
    let found = std::cell::RefCell::new(Vec::new());
    let _ = expand(text, &|name| {
        found.borrow_mut().push(name.to_owned());
        None
    });
    found.into_inner()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references() {
        let cases = [
            ("$(A)", "x"),
            ("$$(A)", "$(A)"),
            ("$(NOPE)", "$(NOPE)"),
            ("a$(A)b$(B)c", "axbyc"),
            ("$", "$"),
            ("$A", "$A"),
            ("$(A", "$(A"),
            ("$$$(A)", "$x"),
            ("$$$$", "$$"),
        ];
        for (text, wanted) in cases {
            let got = expand(text, &|name| match name {
                "A" => Some("x"),
                "B" => Some("y"),
                _ => None,
            });
            assert_eq!(got, wanted, "{text}");
        }
    }

    #[test]
    fn own_command_drops_the_arguments_of_the_image() {
        let list = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
        let none: &dyn Fn(&str) -> Option<String> = &|_| None;
        let (entry, cmd) = (list(&["e"]), list(&["d"]));
        assert_eq!(command_line(&[], &[], &entry, &cmd, none), ["e", "d"]);
        assert_eq!(command_line(&[], &list(&["a"]), &entry, &cmd, none), ["e", "a"]);
        assert_eq!(command_line(&list(&["c"]), &[], &entry, &cmd, none), ["c"]);
        assert_eq!(command_line(&list(&["c"]), &list(&["a"]), &entry, &cmd, none), ["c", "a"]);
    }
}
