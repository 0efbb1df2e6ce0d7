//! The command line: one file a command.

use std::process::ExitCode;

/// Parses the command line and runs the command it names.
pub fn main() -> ExitCode {
    ExitCode::SUCCESS
}
