//! From a profile to the kernel's packet filter language.
//!
//! The kernel keeps the answers that depend on nothing but a call's number, so the order of a filter costs nothing later.

use std::collections::BTreeMap;

use nix::libc::{self, sock_filter};

use super::{Action, Condition, Filter, Op, Profile, Rule};

/// Longest filter that the kernel takes.
const LONGEST: usize = 4096;

/// Where things are in what a filter looks at: `struct seccomp_data`.
const NUMBER: u32 = 0;
const ARCHITECTURE: u32 = 4;
const ARGUMENTS: u32 = 16;

const LOAD: u16 = (libc::BPF_LD | libc::BPF_W | libc::BPF_ABS) as u16;
const AND: u16 = (libc::BPF_ALU | libc::BPF_AND | libc::BPF_K) as u16;
const RETURN: u16 = (libc::BPF_RET | libc::BPF_K) as u16;
const JUMP: u16 = (libc::BPF_JMP | libc::BPF_JA) as u16;
const IF_EQUAL: u16 = (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16;
const IF_GREATER: u16 = (libc::BPF_JMP | libc::BPF_JGT | libc::BPF_K) as u16;
const IF_NOT_LESS: u16 = (libc::BPF_JMP | libc::BPF_JGE | libc::BPF_K) as u16;

/// A jump behind the end of the alternative it is in.
const FAIL: u8 = u8::MAX;

/// A set of system calls of the machine.
struct Architecture {
    /// As profiles name it.
    name: &'static str,
    /// As the kernel names it.
    audit: u32,
    number: fn(&str) -> Option<u32>,
    /// Numbers from here on belong to a third set that nobody may use.
    end: Option<u32>,
}

fn number<T: std::str::FromStr>(id: fn(&T) -> i32) -> impl Fn(&str) -> Option<u32> {
    move |name| u32::try_from(id(&name.parse().ok()?)).ok()
}

/// The machine's own set first.
#[cfg(target_arch = "x86_64")]
const ARCHITECTURES: &[Architecture] = &[
    Architecture {
        name: "SCMP_ARCH_X86_64",
        audit: 0xc000_003e,
        number: |name| number(syscalls::x86_64::Sysno::id)(name),
        end: Some(0x4000_0000),
    },
    Architecture {
        name: "SCMP_ARCH_X86",
        audit: 0x4000_0003,
        number: |name| number(syscalls::x86::Sysno::id)(name),
        end: None,
    },
];
#[cfg(target_arch = "aarch64")]
const ARCHITECTURES: &[Architecture] = &[
    Architecture {
        name: "SCMP_ARCH_AARCH64",
        audit: 0xc000_00b7,
        number: |name| number(syscalls::aarch64::Sysno::id)(name),
        end: None,
    },
    Architecture {
        name: "SCMP_ARCH_ARM",
        audit: 0x4000_0028,
        number: |name| number(syscalls::arm::Sysno::id)(name),
        end: None,
    },
];
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
const ARCHITECTURES: &[Architecture] = &[];

/// Calls by the machine's further sets, by name, as profiles list them.
pub(super) fn other_architectures() -> impl Iterator<Item = &'static str> {
    ARCHITECTURES.iter().skip(1).map(|one| one.name)
}

/// Errors: what the profile asks for and can't be said to the kernel.
pub(super) fn compile(profile: &Profile) -> Result<Filter, String> {
    let wrong = profile.syscalls.iter().flat_map(|rule| &rule.args).find(|condition| condition.index > 5);
    if let Some(condition) = wrong {
        return Err(format!("a seccomp profile asks for argument {}, and calls have 0 to 5", condition.index));
    }
    if ARCHITECTURES.is_empty() {
        return Err("seccomp profiles can't be enforced on this processor".to_owned());
    }
    let mut filter = vec![load(ARCHITECTURE)];
    for (index, architecture) in ARCHITECTURES.iter().enumerate() {
        if index > 0 && !profile.architectures.iter().any(|name| name == architecture.name) {
            continue;
        }
        let section = section(profile, architecture);
        filter.push(instruction(IF_EQUAL, architecture.audit, 1, 0));
        filter.push(instruction(JUMP, u32::try_from(section.len()).unwrap_or(u32::MAX), 0, 0));
        filter.extend(section);
    }
    filter.push(end(libc::SECCOMP_RET_KILL_PROCESS));
    if filter.len() > LONGEST {
        return Err(format!("a seccomp profile is too long: {} steps, and {LONGEST} are allowed", filter.len()));
    }
    Ok(filter)
}

/// What happens to a call of one set.
#[derive(Default)]
struct Verdict {
    /// Each with all its conditions, in order.
    alternatives: Vec<(Vec<Condition>, u32)>,
    /// Whatever the arguments.
    always: Option<u32>,
}

fn section(profile: &Profile, architecture: &Architecture) -> Filter {
    let default = value(profile.default_action, profile.default_errno_ret);
    let verdicts = verdicts(profile, architecture, default);
    let mut filter = vec![load(NUMBER)];
    if let Some(limit) = architecture.end {
        filter.extend([instruction(IF_NOT_LESS, limit, 0, 1), end(default)]);
    }
    for (number, verdict) in verdicts.iter().filter(|(_, verdict)| !verdict.alternatives.is_empty()) {
        let mut body: Filter = verdict.alternatives.iter().flat_map(|(all, then)| alternative(all, *then)).collect();
        body.push(end(verdict.always.unwrap_or(default)));
        filter.push(instruction(IF_EQUAL, *number, 1, 0));
        filter.push(instruction(JUMP, u32::try_from(body.len()).unwrap_or(u32::MAX), 0, 0));
        filter.extend(body);
    }
    let plain = verdicts.iter().filter(|(_, verdict)| verdict.alternatives.is_empty());
    for (first, last, then) in ranges(plain.filter_map(|(number, verdict)| Some((*number, verdict.always?)))) {
        match first == last {
            true => filter.push(instruction(IF_EQUAL, first, 0, 1)),
            false => filter.extend([instruction(IF_NOT_LESS, first, 0, 2), instruction(IF_GREATER, last, 1, 0)]),
        }
        filter.push(end(then));
    }
    filter.push(end(default));
    filter
}

/// By number. Names that the set does not have are of other machines.
fn verdicts(profile: &Profile, architecture: &Architecture, default: u32) -> BTreeMap<u32, Verdict> {
    let mut verdicts: BTreeMap<u32, Verdict> = BTreeMap::new();
    for rule in &profile.syscalls {
        let then = value(rule.action, rule.errno_ret);
        if then == default {
            continue;
        }
        for number in rule.names.iter().filter_map(|name| (architecture.number)(name)) {
            let verdict = verdicts.entry(number).or_default();
            match rule.args.is_empty() {
                true => verdict.always = Some(then),
                false => verdict.alternatives.extend(alternatives(rule).into_iter().map(|all| (all, then))),
            }
        }
    }
    verdicts
}

/// Conditions on one argument are alternatives, as OCI runtimes have it.
fn alternatives(rule: &Rule) -> Vec<Vec<Condition>> {
    let repeated = (0..6).any(|index| rule.args.iter().filter(|one| one.index == index).count() > 1);
    if repeated { rule.args.iter().map(|one| vec![*one]).collect() } else { vec![rule.args.clone()] }
}

/// Neighbours with the same answer, as first, last, answer.
fn ranges(numbers: impl Iterator<Item = (u32, u32)>) -> Vec<(u32, u32, u32)> {
    let mut ranges: Vec<(u32, u32, u32)> = Vec::new();
    for (number, then) in numbers {
        match ranges.last_mut() {
            Some((_, last, same)) if *last + 1 == number && *same == then => *last = number,
            _ => ranges.push((number, number, then)),
        }
    }
    ranges
}

/// Returns `then` when every condition holds, and falls through when one does not.
fn alternative(conditions: &[Condition], then: u32) -> Filter {
    let mut filter: Filter = conditions.iter().flat_map(|one| condition(*one)).collect();
    filter.push(end(then));
    let length = filter.len();
    for (place, step) in filter.iter_mut().enumerate() {
        let behind = u8::try_from(length - place - 1).expect("six conditions are short");
        for jump in [&mut step.jt, &mut step.jf] {
            if *jump == FAIL {
                *jump = behind;
            }
        }
    }
    filter
}

/// Goes on when a condition holds. Arguments have 64 bits, and the filter looks at 32 at a time.
fn condition(condition: Condition) -> Filter {
    let Condition { index, value, value_two, op } = condition;
    let split = |value: u64| ((value >> 32) as u32, value as u32);
    let ((high, low), (high_two, low_two)) = (split(value), split(value_two));
    let low_half = ARGUMENTS + 8 * u32::from(index);
    let (load_low, load_high) = (load(low_half), load(low_half + 4));
    let compare = instruction;
    match op {
        Op::Equal => {
            vec![load_high, compare(IF_EQUAL, high, 0, FAIL), load_low, compare(IF_EQUAL, low, 0, FAIL)]
        }
        Op::NotEqual => vec![load_high, compare(IF_EQUAL, high, 0, 2), load_low, compare(IF_EQUAL, low, FAIL, 0)],
        Op::MaskedEqual => vec![
            load_high,
            instruction(AND, high, 0, 0),
            compare(IF_EQUAL, high_two, 0, FAIL),
            load_low,
            instruction(AND, low, 0, 0),
            compare(IF_EQUAL, low_two, 0, FAIL),
        ],
        Op::Greater | Op::GreaterOrEqual => {
            let last = if op == Op::Greater { IF_GREATER } else { IF_NOT_LESS };
            vec![
                load_high,
                compare(IF_GREATER, high, 3, 0),
                compare(IF_EQUAL, high, 0, FAIL),
                load_low,
                compare(last, low, 0, FAIL),
            ]
        }
        Op::Less | Op::LessOrEqual => {
            let last = if op == Op::Less { IF_NOT_LESS } else { IF_GREATER };
            vec![
                load_high,
                compare(IF_GREATER, high, FAIL, 0),
                compare(IF_EQUAL, high, 0, 2),
                load_low,
                compare(last, low, FAIL, 0),
            ]
        }
    }
}

fn value(action: Action, errno: Option<u16>) -> u32 {
    let number = u32::from(errno.unwrap_or(libc::EPERM as u16));
    match action {
        Action::Allow => libc::SECCOMP_RET_ALLOW,
        Action::Log => libc::SECCOMP_RET_LOG,
        Action::Errno => libc::SECCOMP_RET_ERRNO | number,
        Action::Trap => libc::SECCOMP_RET_TRAP,
        Action::Trace => libc::SECCOMP_RET_TRACE | number,
        Action::KillThread => libc::SECCOMP_RET_KILL_THREAD,
        Action::KillProcess => libc::SECCOMP_RET_KILL_PROCESS,
    }
}

fn load(offset: u32) -> sock_filter {
    instruction(LOAD, offset, 0, 0)
}

fn end(answer: u32) -> sock_filter {
    instruction(RETURN, answer, 0, 0)
}

fn instruction(code: u16, k: u32, jt: u8, jf: u8) -> sock_filter {
    sock_filter { code, jt, jf, k }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWN: &Architecture = &ARCHITECTURES[0];
    const ALLOW: u32 = libc::SECCOMP_RET_ALLOW;

    /// What the kernel would answer.
    fn answer(filter: &[sock_filter], architecture: u32, number: u32, arguments: [u64; 6]) -> u32 {
        let word = |offset: u32| match offset {
            NUMBER => number,
            ARCHITECTURE => architecture,
            _ => {
                let argument = arguments[((offset - ARGUMENTS) / 8) as usize];
                if offset.is_multiple_of(8) { argument as u32 } else { (argument >> 32) as u32 }
            }
        };
        let (mut at, mut held) = (0_usize, 0_u32);
        loop {
            let step = filter[at];
            at += 1;
            let jump = |holds: bool| usize::from(if holds { step.jt } else { step.jf });
            match step.code {
                LOAD => held = word(step.k),
                AND => held &= step.k,
                RETURN => return step.k,
                JUMP => at += step.k as usize,
                IF_EQUAL => at += jump(held == step.k),
                IF_GREATER => at += jump(held > step.k),
                IF_NOT_LESS => at += jump(held >= step.k),
                other => panic!("step {other}"),
            }
        }
    }

    fn profile(text: &str) -> Profile {
        serde_json::from_str(text).expect("a profile")
    }

    fn of_number(name: &str) -> u32 {
        (OWN.number)(name).expect("a call of this machine")
    }

    #[test]
    fn conditions_compare_all_64_bits() {
        const BIG: u64 = 5 << 32 | 7;
        let cases: &[(&str, &[u64], &[u64])] = &[
            ("EQ", &[BIG], &[7, 5 << 32, BIG + 1]),
            ("NE", &[7, 5 << 32, BIG + 1], &[BIG]),
            ("GT", &[BIG + 1, 6 << 32], &[BIG, BIG - 1, 8]),
            ("GE", &[BIG, BIG + 1, 6 << 32], &[BIG - 1, 8]),
            ("LT", &[BIG - 1, 8, 4 << 32 | 9], &[BIG, BIG + 1, 6 << 32]),
            ("LE", &[BIG, BIG - 1, 8], &[BIG + 1, 6 << 32]),
        ];
        for (op, holds, fails) in cases {
            let text = format!(
                r#"{{"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [{{"names": ["read"], "action": "SCMP_ACT_ALLOW",
                "args": [{{"index": 1, "value": {BIG}, "op": "SCMP_CMP_{op}"}}]}}]}}"#
            );
            let filter = compile(&profile(&text)).expect("compiles");
            for (values, wanted) in [(holds, ALLOW), (fails, libc::SECCOMP_RET_ERRNO | 1)] {
                for value in *values {
                    let arguments = [0, *value, 0, 0, 0, 0];
                    let got = answer(&filter, OWN.audit, of_number("read"), arguments);
                    assert_eq!(got, wanted, "{op} {value:#x}");
                }
            }
        }
    }

    #[test]
    fn rules_are_what_oci_runtimes_make_of_them() {
        let filter = compile(&profile(
            r#"{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [
                {"names": ["mkdirat", "no-such-call"], "action": "SCMP_ACT_ERRNO", "errnoRet": 38},
                {"names": ["read", "write"], "action": "SCMP_ACT_KILL_PROCESS", "args": [
                    {"index": 0, "value": 3, "op": "SCMP_CMP_EQ"}, {"index": 2, "value": 6, "valueTwo": 2,
                     "op": "SCMP_CMP_MASKED_EQ"}]},
                {"names": ["close"], "action": "SCMP_ACT_LOG", "args": [
                    {"index": 0, "value": 3, "op": "SCMP_CMP_EQ"}, {"index": 0, "value": 5, "op": "SCMP_CMP_EQ"}]}]}"#,
        ))
        .expect("compiles");
        let of = |name: &str, arguments| answer(&filter, OWN.audit, of_number(name), arguments);
        assert_eq!(of("mkdirat", [0; 6]), libc::SECCOMP_RET_ERRNO | 38);
        assert_eq!(of("getpid", [0; 6]), ALLOW);
        assert_eq!(of("read", [3, 0, 2, 0, 0, 0]), libc::SECCOMP_RET_KILL_PROCESS, "all hold");
        assert_eq!(of("read", [3, 0, 4, 0, 0, 0]), ALLOW, "one does not");
        assert_eq!(of("close", [5, 0, 0, 0, 0, 0]), libc::SECCOMP_RET_LOG, "one argument's are alternatives");
        assert_eq!(of("close", [4, 0, 0, 0, 0, 0]), ALLOW);
        assert_eq!(answer(&filter, 1, 0, [0; 6]), libc::SECCOMP_RET_KILL_PROCESS, "another machine's calls");
    }
}
