//! A document, and what should come of it.

use std::time::Duration;

use fastrand::Rng;
use serde_json::{Value, json};

use super::super::SECOND;
use super::super::draw::between;
use crate::simulation::actions::{AGAIN, SOMETIMES};

/// See the module.
#[derive(Debug, Clone)]
pub(in crate::simulation) struct Asked {
    pub(in crate::simulation) document: Value,
    pub(in crate::simulation) steps: Vec<Step>,
    pub(in crate::simulation) expected: Expected,
}

/// A program that is to run.
#[derive(Debug, Clone)]
pub(in crate::simulation) struct Step {
    pub(in crate::simulation) action: &'static str,
    pub(in crate::simulation) word: String,
    /// What follows is done all the same.
    pub(in crate::simulation) may_fail: bool,
    /// It is done only if all before it have succeeded.
    pub(in crate::simulation) is_final: bool,
}

/// What comes of it, if nothing comes in between.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::simulation) enum Expected {
    Success,
    Failure,
    Rejection,
    /// That depends on when it is done.
    Any,
}

impl Asked {
    pub(super) fn draw(rng: &mut Rng, longest: Duration) -> Asked {
        match rng.u8(..24) {
            0..=7 => Asked::one("work", &success(rng, longest, 0), Expected::Success),
            8 => Asked::one("work", &failure(rng, longest, 0), Expected::Failure),
            9 => Asked::one("work", "hang-0", Expected::Failure),
            10 => Asked::one("work", "stubborn-0", Expected::Failure),
            11 | 12 => Asked::one(AGAIN, &success(rng, longest, 0), Expected::Success),
            13 => Asked::one(SOMETIMES, &success(rng, longest.min(30 * SECOND), 0), Expected::Any),
            14 => Asked::one("format", "exit-0-0-0", Expected::Rejection),
            15 => Asked::one("work", "--a b;c", Expected::Rejection),
            16 | 17 => Asked::steps(rng, longest / 3),
            18 => Asked::built_in("gatewire:reload"),
            19 => Asked::built_in("gatewire:diagnose"),
            20 | 21 => Asked::fetch(rng, longest),
            22 => Asked::one("boot", if rng.u8(..3) > 0 { "boot-0" } else { "exit-0-100-0" }, Expected::Any),
            _ => Asked::one("upgrade", if rng.u8(..3) > 0 { "restart-0" } else { "exit-0-100-0" }, Expected::Any),
        }
    }

    /// A single program.
    pub(in crate::simulation) fn one(action: &'static str, word: &str, expected: Expected) -> Asked {
        let steps = match expected {
            Expected::Rejection => Vec::new(),
            _ => vec![Step { action, word: word.to_owned(), may_fail: false, is_final: false }],
        };
        Asked { document: json!({"operation": action, "args": [word]}), steps, expected }
    }

    fn built_in(name: &str) -> Asked {
        // A reload may be refused: the disk may have to be asked.
        Asked { document: json!({"operation": name}), steps: Vec::new(), expected: Expected::Any }
    }

    /// In the form of AWS's templates.
    fn steps(rng: &mut Rng, longest: Duration) -> Asked {
        let (mut steps, mut actions, mut fails, mut all_succeed) = (Vec::new(), Vec::new(), false, true);
        let count = rng.usize(2..5);
        for number in 0..count {
            let (is_failure, may_fail) = (rng.u8(..6) == 0, rng.u8(..3) == 0);
            let word = if is_failure { failure(rng, longest, number) } else { success(rng, longest, number) };
            (fails, all_succeed) = (fails || is_failure && !may_fail, all_succeed && !is_failure);
            let input = json!({"handler": "work.sh", "args": [word]});
            let ignores = may_fail.to_string();
            let name = format!("step {number}");
            actions.push(
                json!({"action": {"name": name, "type": "runHandler", "input": input, "ignoreStepFailure": ignores}}),
            );
            steps.push(Step { action: "work", word, may_fail, is_final: false });
        }
        let mut document = json!({"version": "1.0", "steps": actions});
        if all_succeed && rng.bool() {
            document["finalStep"] = document["steps"].as_array_mut().and_then(Vec::pop).unwrap_or_default();
            steps.last_mut().into_iter().for_each(|last| last.is_final = true);
        }
        Asked { document, steps, expected: if fails { Expected::Failure } else { Expected::Success } }
    }

    fn fetch(rng: &mut Rng, longest: Duration) -> Asked {
        let (file, word) = (success(rng, longest / 2, 0), success(rng, longest / 2, 1));
        let (file, expected) = match rng.u8(..4) {
            0 => (failure(rng, longest / 2, 0), Expected::Failure),
            _ => (file, Expected::Success),
        };
        let url = format!("https://files.example/{file}");
        let document = json!({"operation": "fetch", "args": [word], "url": url, "sha256": "0a".repeat(32)});
        Asked { document, steps: vec![Step { action: "fetch", word, may_fail: false, is_final: false }], expected }
    }
}

fn success(rng: &mut Rng, longest: Duration, step: usize) -> String {
    format!("exit-0-{}-{step}", between(rng, SECOND / 100, longest).as_millis())
}

fn failure(rng: &mut Rng, longest: Duration, step: usize) -> String {
    format!("exit-{}-{}-{step}", rng.u8(1..100), between(rng, SECOND / 100, longest).as_millis())
}
