//! What can be told of an expression before it runs: names that nothing has, and results that are of no use.

use kube_cel::cel::common::ast::{CallExpr, ComprehensionExpr, EntryExpr, Expr, LiteralValue, SelectExpr};

use super::{Names, Returns};

/// Names that all expressions may use.
const GIVEN: &[&str] = &["object", "oldObject", "request", "namespaceObject"];
/// Names of types.
const TYPES: &[&str] =
    &["bool", "bytes", "double", "int", "list", "map", "null_type", "string", "timestamp", "duration", "type", "uint"];
/// What stands before the names of functions without being a value.
const LIBRARIES: &[&str] = &[
    "base64",
    "cel",
    "cidr",
    "google",
    "ip",
    "jsonpatch",
    "math",
    "optional",
    "quantity",
    "semver",
    "sets",
    "strings",
];
/// Fields of `request`.
const REQUEST: &[&str] = &[
    "dryRun",
    "kind",
    "name",
    "namespace",
    "operation",
    "options",
    "requestKind",
    "requestResource",
    "requestSubResource",
    "resource",
    "subResource",
    "userInfo",
];

/// Everything that is wrong, as upstream's compiler tells it.
pub(super) fn wrong(expr: &Expr, text: &str, names: &Names<'_>, returns: Returns) -> Option<String> {
    let mut walk = Walk { text, names: *names, bound: Vec::new(), issues: Vec::new(), used: Vec::new() };
    walk.look(expr);
    if !walk.issues.is_empty() {
        return Some(format!("compilation failed: {}", walk.issues.join("\n")));
    }
    let (wanted, fits): (_, &[&str]) = match returns {
        Returns::Anything => return None,
        Returns::Bool => ("bool", &["bool"]),
        Returns::Text => ("string", &["string"]),
        Returns::TextOrNull => ("one of [string null_type]", &["string", "null_type"]),
    };
    let got = kind(expr).filter(|got| !fits.contains(got))?;
    Some(format!("must evaluate to {wanted} but got {got}"))
}

struct Walk<'a> {
    text: &'a str,
    names: Names<'a>,
    /// Loop variables.
    bound: Vec<&'a str>,
    issues: Vec<String>,
    /// Names that were told about: the next time it is about the next place.
    used: Vec<&'a str>,
}

impl<'a> Walk<'a> {
    fn look(&mut self, expr: &'a Expr) {
        match expr {
            Expr::Ident(name) => self.ident(name),
            Expr::Select(select) => self.select(select),
            Expr::Call(call) => self.call(call),
            Expr::List(list) => list.elements.iter().for_each(|one| self.look(&one.expr)),
            Expr::Map(map) => map.entries.iter().for_each(|one| self.entry(&one.expr)),
            Expr::Struct(made) => made.entries.iter().for_each(|one| self.entry(&one.expr)),
            Expr::Comprehension(all) => self.comprehension(all),
            Expr::Literal(_) | Expr::Unspecified => {}
        }
    }

    fn entry(&mut self, entry: &'a EntryExpr) {
        match entry {
            EntryExpr::MapEntry(entry) => {
                self.look(&entry.key.expr);
                self.look(&entry.value.expr);
            }
            EntryExpr::StructField(field) => self.look(&field.value.expr),
        }
    }

    fn ident(&mut self, name: &'a str) {
        let given = GIVEN.contains(&name) || TYPES.contains(&name) || self.bound.contains(&name);
        let offered = match name {
            "params" => self.names.params,
            "authorizer" => self.names.authorizer,
            "variables" => self.names.variables.is_some(),
            _ => false,
        };
        if given || offered {
            return;
        }
        let place = self.place(name, false);
        self.tell(place, &format!("undeclared reference to '{name}' (in container '')"));
    }

    fn select(&mut self, select: &'a SelectExpr) {
        self.look(&select.operand.expr);
        let Expr::Ident(of) = &select.operand.expr else { return };
        let field = select.field.as_str();
        let known = match (of.as_str(), self.names.variables) {
            _ if self.bound.contains(&of.as_str()) => true,
            ("request", _) => REQUEST.contains(&field),
            ("namespaceObject", _) => ["metadata", "spec", "status"].contains(&field),
            ("variables", Some(variables)) => variables.contains(&field),
            _ => true,
        };
        if !known {
            let place = self.place(field, true);
            self.tell(place, &format!("undefined field '{field}'"));
        }
    }

    fn call(&mut self, call: &'a CallExpr) {
        if let Some(target) = &call.target {
            let is_library = matches!(&target.expr, Expr::Ident(name) if LIBRARIES.contains(&name.as_str()));
            if !is_library {
                self.look(&target.expr);
            }
        }
        call.args.iter().for_each(|one| self.look(&one.expr));
    }

    fn comprehension(&mut self, all: &'a ComprehensionExpr) {
        self.look(&all.iter_range.expr);
        self.look(&all.accu_init.expr);
        let before = self.bound.len();
        self.bound.push(&all.accu_var);
        self.bound.push(&all.iter_var);
        self.bound.extend(all.iter_var2.as_deref());
        for inner in [&all.loop_cond, &all.loop_step, &all.result] {
            self.look(&inner.expr);
        }
        self.bound.truncate(before);
    }

    /// The byte at which a name stands, or the dot before a field; of several the next that was not told about.
    fn place(&mut self, name: &'a str, is_field: bool) -> usize {
        let nth = self.used.iter().filter(|used| **used == name).count();
        self.used.push(name);
        let is_word = |byte: Option<&u8>| byte.is_some_and(|byte| byte.is_ascii_alphanumeric() || *byte == b'_');
        let bytes = self.text.as_bytes();
        let fits = |at: usize| {
            let before = at.checked_sub(1).and_then(|at| bytes.get(at));
            let dotted = before == Some(&b'.');
            !is_word(bytes.get(at + name.len())) && !is_word(before) && dotted == is_field && !is_quoted(self.text, at)
        };
        let found = self.text.match_indices(name).map(|(at, _)| at).filter(|at| fits(*at)).nth(nth);
        found.unwrap_or_default().saturating_sub(usize::from(is_field))
    }

    fn tell(&mut self, at: usize, what: &str) {
        let before = &self.text[..at];
        let line = before.matches('\n').count();
        let column = before.rsplit('\n').next().unwrap_or_default().chars().count();
        let shown = self.text.lines().nth(line).unwrap_or_default();
        let dots = ".".repeat(column);
        self.issues.push(format!("ERROR: <input>:{}:{}: {what}\n | {shown}\n | {dots}^", line + 1, column + 1));
    }
}

/// Whether a place is inside of a text of the expression.
fn is_quoted(text: &str, at: usize) -> bool {
    let mut open = None;
    let mut escaped = false;
    for byte in text.bytes().take(at) {
        match open {
            _ if escaped => escaped = false,
            Some(_) if byte == b'\\' => escaped = true,
            Some(quote) if byte == quote => open = None,
            None if byte == b'"' || byte == b'\'' => open = Some(byte),
            _ => {}
        }
    }
    open.is_some()
}

/// The type of what an expression comes to, where it can be told from the expression alone.
fn kind(expr: &Expr) -> Option<&'static str> {
    match expr {
        Expr::Literal(literal) => Some(match literal {
            LiteralValue::Boolean(_) => "bool",
            LiteralValue::Bytes(_) => "bytes",
            LiteralValue::Double(_) => "double",
            LiteralValue::Int(_) => "int",
            LiteralValue::Null => "null_type",
            LiteralValue::String(_) => "string",
            LiteralValue::UInt(_) => "uint",
        }),
        Expr::Ident(name) => ["object", "oldObject", "params"].contains(&name.as_str()).then_some("dyn"),
        Expr::Select(select) if select.test => Some("bool"),
        Expr::Select(select) => kind(&select.operand.expr).filter(|of| *of == "dyn"),
        Expr::Call(call) => called(call),
        _ => None,
    }
}

fn called(call: &CallExpr) -> Option<&'static str> {
    let arg = |index: usize| call.args.get(index).and_then(|one| kind(&one.expr));
    match call.func_name.as_str() {
        "_==_" | "_!=_" | "_<_" | "_<=_" | "_>_" | "_>=_" | "_&&_" | "_||_" | "!_" | "@in" | "startsWith"
        | "endsWith" | "contains" | "matches" | "isIP" | "isURL" | "isQuantity" | "bool" | "allowed" | "errored" => {
            Some("bool")
        }
        "string" | "reason" | "error" | "lowerAscii" | "upperAscii" | "trim" | "join" | "format" => Some("string"),
        "size" | "int" | "indexOf" => Some("int"),
        "_[_]" => arg(0).filter(|of| *of == "dyn"),
        "_+_" => [arg(0), arg(1)].into_iter().flatten().find(|kind| *kind == "string"),
        "_?_:_" => arg(1).filter(|kind| arg(2) == Some(kind)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::wrong;
    use super::*;

    fn told(text: &str, returns: Returns) -> String {
        wrong(text, &Names { variables: Some(&["n"]), ..Names::default() }, returns).unwrap_or_default()
    }

    #[test]
    fn names_that_nothing_has_are_told() {
        for (text, want) in [
            ("object.spec.replicas > 1 && variables.n == 2", ""),
            ("object.list.all(x, x > 1) && sets.contains([1], [1]) && type(1) == int", ""),
            ("request.userInfo.username == 'a' && has(namespaceObject.metadata)", ""),
            ("a == 'b'", "ERROR: <input>:1:1: undeclared reference to 'a' (in container '')\n | a == 'b'\n | ^"),
            (
                "'a' == b.a",
                "ERROR: <input>:1:8: undeclared reference to 'b' (in container '')\n | 'a' == b.a\n | .......^",
            ),
            ("variables.m == 1", "ERROR: <input>:1:10: undefined field 'm'\n | variables.m == 1\n | .........^"),
            ("request.nope == 1", "ERROR: <input>:1:8: undefined field 'nope'\n | request.nope == 1\n | .......^"),
            ("true &&\n x", "ERROR: <input>:2:2: undeclared reference to 'x' (in container '')\n |  x\n | .^"),
        ] {
            let want = if want.is_empty() { String::new() } else { format!("compilation failed: {want}") };
            assert_eq!(told(text, Returns::Bool), want, "{text}");
        }
        assert_eq!(told("a + a", Returns::Anything).matches("ERROR").count(), 2);
        assert!(told("a + a", Returns::Anything).contains("1:5: undeclared"));
        assert!(told("1 +", Returns::Bool).starts_with("compilation failed: ERROR: <input>:1:4: Syntax error"));
    }

    #[test]
    fn results_of_no_use_are_told() {
        for (text, returns, want) in [
            ("'a'", Returns::Bool, "must evaluate to bool but got string"),
            ("object.spec.paused", Returns::Bool, "must evaluate to bool but got dyn"),
            ("object.spec.paused == true", Returns::Bool, ""),
            ("'a' + object.metadata.name", Returns::Text, ""),
            ("1", Returns::Text, "must evaluate to string but got int"),
            ("1", Returns::TextOrNull, "must evaluate to one of [string null_type] but got int"),
            ("null", Returns::TextOrNull, ""),
            ("true ? 'a' : 'b'", Returns::Bool, "must evaluate to bool but got string"),
            ("1", Returns::Anything, ""),
        ] {
            assert_eq!(told(text, returns), want, "{text}");
        }
    }
}
