//! AWS IoT Device Management commands for one account, without I/O and without a clock. Source: "AWS IoT Device Management commands",
//! "AWS IoT Commands Troubleshooting" in the AWS IoT developer guide.

use serde_json::{Map, Value};

use super::checks;

/// A command for one thing.
#[derive(Debug, Clone)]
pub struct Command {
    pub thing: String,
    pub execution: String,
    /// As AWS writes it, from `CREATED` on.
    pub status: String,
    /// What the device has said of it and AWS has taken, the oldest first.
    pub responses: Vec<Value>,
    /// The device has ended it. That AWS says that it has timed out isn't the end.
    pub is_over: bool,
    /// The answer to the last response isn't sent yet: further ones conflict with it.
    pub is_busy: bool,
}

#[derive(Debug, Default)]
pub struct Commands {
    commands: Vec<Command>,
}

impl Commands {
    pub fn send(&mut self, thing: &str, execution: &str) {
        assert!(checks::is_id(execution), "{execution:?} can't be an execution's id");
        assert!(self.get(execution).is_none(), "there is a command {execution}");
        self.commands.push(Command {
            thing: thing.to_owned(),
            execution: execution.to_owned(),
            status: "CREATED".to_owned(),
            responses: Vec::new(),
            is_over: false,
            is_busy: false,
        });
    }

    pub fn get(&self, execution: &str) -> Option<&Command> {
        self.commands.iter().find(|command| command.execution == execution)
    }

    pub fn get_mut(&mut self, execution: &str) -> Option<&mut Command> {
        self.commands.iter_mut().find(|command| command.execution == execution)
    }

    /// Its time has passed: AWS says so of one that isn't over.
    pub fn time_out(&mut self, execution: &str) {
        if let Some(command) = self.get_mut(execution).filter(|command| !command.is_over) {
            command.status = "TIMED_OUT".to_owned();
        }
    }

    pub fn delete(&mut self, execution: &str) {
        self.commands.retain(|command| command.execution != execution);
    }

    /// What is answered to a response.
    pub fn answer(
        &mut self,
        thing: &str,
        execution: &str,
        body: &Map<String, Value>,
    ) -> Result<(), (&'static str, String)> {
        checks::response(body).map_err(|text| ("InvalidRequest", text))?;
        let found = self.get_mut(execution).filter(|command| command.thing == thing);
        let command = found.ok_or_else(|| ("ResourceNotFound", "there is no such execution".to_owned()))?;
        let status = body["status"].as_str().unwrap_or_default();
        match (&*command.status, status) {
            _ if command.is_over => return Err(("TerminalStateReached", "the execution is over".to_owned())),
            _ if command.is_busy => return Err(("DataConflict", "the update before isn't done".to_owned())),
            ("TIMED_OUT", "IN_PROGRESS") => return Err(("InvalidStateTransition", "it has timed out".to_owned())),
            _ => {}
        }
        command.status = status.to_owned();
        command.is_over = status != "IN_PROGRESS";
        command.responses.push(Value::Object(body.clone()));
        Ok(())
    }
}
