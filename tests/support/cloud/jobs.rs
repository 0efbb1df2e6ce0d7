//! AWS IoT Jobs for one account, without I/O and without a clock: what runs out does so when it is told to. Source: "Jobs device MQTT
//! API", "Job execution states" in the AWS IoT developer guide.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

use super::checks;

/// Where an execution is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Status {
    Queued,
    InProgress,
    Succeeded,
    Failed,
    TimedOut,
    Rejected,
    Removed,
    Canceled,
}

impl Status {
    pub fn as_str(self) -> &'static str {
        match self {
            Status::Queued => "QUEUED",
            Status::InProgress => "IN_PROGRESS",
            Status::Succeeded => "SUCCEEDED",
            Status::Failed => "FAILED",
            Status::TimedOut => "TIMED_OUT",
            Status::Rejected => "REJECTED",
            Status::Removed => "REMOVED",
            Status::Canceled => "CANCELED",
        }
    }

    pub fn is_terminal(self) -> bool {
        !matches!(self, Status::Queued | Status::InProgress)
    }

    fn told(text: &str) -> Status {
        match text {
            "IN_PROGRESS" => Status::InProgress,
            "SUCCEEDED" => Status::Succeeded,
            "FAILED" => Status::Failed,
            "REJECTED" => Status::Rejected,
            _ => panic!("{text} was checked"),
        }
    }
}

/// What an execution was at one of its versions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Version {
    pub number: i64,
    pub status: Status,
    pub details: BTreeMap<String, String>,
}

/// One of a job, on one thing.
#[derive(Debug, Clone)]
pub struct Execution {
    pub thing: String,
    pub job: String,
    pub number: i64,
    pub document: Value,
    pub status: Status,
    pub details: BTreeMap<String, String>,
    /// From 1, grows with each change.
    pub version: i64,
    /// The minutes of the step timer, as long as there is one.
    pub step_minutes: Option<i64>,
    /// Its versions, this one included.
    pub history: Vec<Version>,
    /// How often AWS tries it again once it has failed or timed out.
    retries: u32,
    queued_at: i64,
    started_at: Option<i64>,
    updated_at: i64,
}

/// Why AWS refuses: code, text, and the state if it is told.
#[derive(Debug, Clone, PartialEq)]
pub struct Refusal {
    pub code: &'static str,
    pub message: String,
    pub state: Option<Value>,
}

impl Refusal {
    pub fn new(code: &'static str, message: impl Into<String>) -> Refusal {
        Refusal { code, message: message.into(), state: None }
    }
}

#[derive(Debug, Default)]
pub struct Jobs {
    executions: Vec<Execution>,
    /// Seconds since 1970, of a sort: each change takes one.
    clock: i64,
    /// What each thing was told of: its first execution, and those that are pending.
    told: BTreeMap<String, (Option<Identity>, BTreeSet<Identity>)>,
}

type Identity = (String, i64);

impl Jobs {
    pub fn create(&mut self, thing: &str, job: &str, document: Value, retries: u32) {
        assert!(checks::is_id(job), "{job:?} can't be a job's id");
        assert!(document.to_string().len() <= 32 * 1024, "the document is too large");
        assert!(self.of_job(job).is_none(), "there is a job {job}");
        self.queue(thing, job, 1, document, retries);
    }

    fn queue(&mut self, thing: &str, job: &str, number: i64, document: Value, retries: u32) {
        self.clock += 1;
        let mut execution = Execution {
            thing: thing.to_owned(),
            job: job.to_owned(),
            number,
            document,
            status: Status::Queued,
            details: BTreeMap::new(),
            version: 0,
            step_minutes: None,
            history: Vec::new(),
            retries,
            queued_at: self.clock,
            started_at: None,
            updated_at: self.clock,
        };
        execution.change(Status::Queued, None, self.clock);
        self.executions.push(execution);
    }

    /// The newest execution of a job.
    pub fn of_job(&self, job: &str) -> Option<&Execution> {
        self.executions.iter().filter(|execution| execution.job == job).max_by_key(|execution| execution.number)
    }

    fn of_job_mut(&mut self, job: &str) -> Option<&mut Execution> {
        self.executions.iter_mut().filter(|execution| execution.job == job).max_by_key(|execution| execution.number)
    }

    /// One that was tried again has several.
    pub fn all(&self) -> &[Execution] {
        &self.executions
    }

    /// Cancels an execution; one that is in progress only by `force`. Whether that was possible.
    pub fn cancel(&mut self, job: &str, force: bool) -> bool {
        let can = |status| status == Status::Queued || force && status == Status::InProgress;
        self.end(job, Status::Canceled, |execution| can(execution.status))
    }

    /// The in-progress timer runs out.
    pub fn time_out(&mut self, job: &str) -> bool {
        self.end(job, Status::TimedOut, |execution| execution.status == Status::InProgress)
    }

    /// The step timer runs out, if there is one.
    pub fn expire_step(&mut self, job: &str) -> bool {
        let has_timer = |execution: &Execution| execution.step_minutes.is_some();
        self.end(job, Status::TimedOut, |execution| execution.status == Status::InProgress && has_timer(execution))
    }

    /// The thing isn't in the job's group any more.
    pub fn remove(&mut self, job: &str) -> bool {
        self.end(job, Status::Removed, |execution| !execution.status.is_terminal())
    }

    fn end(&mut self, job: &str, status: Status, can: impl Fn(&Execution) -> bool) -> bool {
        self.clock += 1;
        let clock = self.clock;
        let Some(execution) = self.of_job_mut(job).filter(|execution| can(execution)) else { return false };
        execution.change(status, None, clock);
        self.try_again(job);
        true
    }

    /// A job's executions are gone.
    pub fn delete(&mut self, job: &str) {
        self.executions.retain(|execution| execution.job != job);
    }

    fn try_again(&mut self, job: &str) {
        let Some(last) = self.of_job_mut(job) else { return };
        if last.retries > 0 && matches!(last.status, Status::Failed | Status::TimedOut) {
            let retries = std::mem::take(&mut last.retries) - 1;
            let (thing, number, document) = (last.thing.clone(), last.number + 1, last.document.clone());
            self.queue(&thing, job, number, document, retries);
        }
    }

    /// Those that aren't over, the first first.
    fn pending(&self, thing: &str) -> Vec<&Execution> {
        let is_pending = |execution: &&Execution| execution.thing == thing && !execution.status.is_terminal();
        let mut pending: Vec<&Execution> = self.executions.iter().filter(is_pending).collect();
        pending.sort_by_key(|execution| (execution.started_at.unwrap_or(i64::MAX), execution.queued_at));
        pending
    }

    /// What things are told of without asking: topics and payloads.
    pub fn news(&mut self) -> Vec<(String, Value)> {
        let mut things: BTreeSet<String> = self.executions.iter().map(|execution| execution.thing.clone()).collect();
        things.extend(self.told.keys().cloned());
        let mut news = Vec::new();
        for thing in things {
            let pending = self.pending(&thing);
            let identity = |execution: &&Execution| (execution.job.clone(), execution.number);
            let now = (pending.first().map(identity), pending.iter().map(identity).collect());
            let before = self.told.get(&thing).cloned().unwrap_or_default();
            let timestamp = self.clock;
            if before.1 != now.1 {
                let of =
                    |status| pending.iter().filter(move |found| found.status == status).map(|found| found.summary());
                let mut jobs = Map::new();
                for status in [Status::InProgress, Status::Queued] {
                    let list: Vec<Value> = of(status).collect();
                    if !list.is_empty() {
                        jobs.insert(status.as_str().to_owned(), Value::from(list));
                    }
                }
                news.push((format!("$aws/things/{thing}/jobs/notify"), json!({"timestamp": timestamp, "jobs": jobs})));
            }
            if before.0 != now.0 {
                let mut payload = json!({"timestamp": timestamp, "execution": {}});
                if let Some(first) = pending.first() {
                    payload["execution"] = first.full(true);
                }
                news.push((format!("$aws/things/{thing}/jobs/notify-next"), payload));
            }
            self.told.insert(thing, now);
        }
        news
    }

    /// What is answered to a request on `$aws/things/THING/jobs/` + `what`.
    pub fn answer(&mut self, thing: &str, what: &str, body: &Map<String, Value>) -> Result<Value, Refusal> {
        let invalid = |text| Refusal::new("InvalidRequest", text);
        let mut answer = match what.split('/').collect::<Vec<_>>()[..] {
            ["get"] => {
                checks::job_request("pending", body).map_err(invalid)?;
                self.list(thing)
            }
            ["start-next"] => {
                checks::job_request("start-next", body).map_err(invalid)?;
                self.start_next(thing, body)
            }
            ["$next", "get"] => {
                checks::job_request("get", body).map_err(invalid)?;
                let first = self.pending(thing).first().map(|execution| execution.full(with_document(body)));
                first.map_or_else(|| json!({}), |execution| json!({"execution": execution}))
            }
            [job, "get"] if checks::is_id(job) => {
                checks::job_request("get", body).map_err(invalid)?;
                let execution = self.find(thing, job, body)?;
                if execution.status.is_terminal() {
                    return Err(Refusal::new("TerminalStateReached", "the execution is over"));
                }
                json!({"execution": execution.full(with_document(body))})
            }
            [job, "update"] if checks::is_id(job) => {
                checks::job_request("update", body).map_err(invalid)?;
                self.update(thing, job, body)?
            }
            _ => return Err(Refusal::new("InvalidTopic", format!("no API is at {what}"))),
        };
        answer["timestamp"] = Value::from(self.clock);
        Ok(answer)
    }

    fn list(&self, thing: &str) -> Value {
        let of = |status| -> Vec<Value> {
            let pending = self.pending(thing).into_iter();
            pending.filter(|execution| execution.status == status).map(Execution::summary).collect()
        };
        json!({"inProgressJobs": of(Status::InProgress), "queuedJobs": of(Status::Queued)})
    }

    fn start_next(&mut self, thing: &str, body: &Map<String, Value>) -> Value {
        self.clock += 1;
        let clock = self.clock;
        let first = self.pending(thing).first().map(|execution| (execution.job.clone(), execution.number));
        let Some((job, number)) = first else { return json!({}) };
        let mut executions = self.executions.iter_mut();
        let execution = executions.find(|found| found.job == job && found.number == number).unwrap();
        if execution.status == Status::Queued {
            execution.started_at = Some(clock);
            execution.set_timer(body);
            execution.change(Status::InProgress, told_details(body), clock);
        }
        json!({"execution": execution.full(true)})
    }

    fn find(&mut self, thing: &str, job: &str, body: &Map<String, Value>) -> Result<&mut Execution, Refusal> {
        let number = body.get("executionNumber").and_then(Value::as_i64);
        let number = number.or_else(|| self.of_job(job).map(|execution| execution.number));
        let is_it = |found: &&mut Execution| found.thing == thing && found.job == job && Some(found.number) == number;
        let found = self.executions.iter_mut().find(is_it);
        found.ok_or_else(|| Refusal::new("ResourceNotFound", format!("there is no execution of {job}")))
    }

    fn update(&mut self, thing: &str, job: &str, body: &Map<String, Value>) -> Result<Value, Refusal> {
        self.clock += 1;
        let clock = self.clock;
        let execution = self.find(thing, job, body)?;
        let refuse = |code, message: &str, execution: &Execution| Refusal {
            state: Some(execution.state()),
            ..Refusal::new(code, message)
        };
        if execution.status.is_terminal() {
            return Err(refuse("InvalidStateTransition", "the execution is over", execution));
        }
        let expected = body.get("expectedVersion").and_then(Value::as_i64);
        if expected.is_some_and(|expected| expected != execution.version) {
            return Err(refuse("VersionMismatch", "the execution has another version", execution));
        }
        let status = Status::told(body["status"].as_str().unwrap_or_default());
        execution.started_at = execution.started_at.or(Some(clock));
        execution.set_timer(body);
        execution.change(status, told_details(body), clock);
        let is_true = |name| body.get(name) == Some(&Value::Bool(true));
        let mut answer = json!({});
        if is_true("includeJobExecutionState") {
            answer["executionState"] = execution.state();
        }
        if is_true("includeJobDocument") {
            answer["jobDocument"] = execution.document.clone();
        }
        self.try_again(job);
        Ok(answer)
    }
}

fn with_document(body: &Map<String, Value>) -> bool {
    body.get("includeJobDocument") != Some(&Value::Bool(false))
}

fn told_details(body: &Map<String, Value>) -> Option<BTreeMap<String, String>> {
    let details = body.get("statusDetails")?.as_object()?;
    Some(details.iter().map(|(key, value)| (key.clone(), value.as_str().unwrap_or_default().to_owned())).collect())
}

impl Execution {
    fn change(&mut self, status: Status, details: Option<BTreeMap<String, String>>, clock: i64) {
        (self.status, self.version, self.updated_at) = (status, self.version + 1, clock);
        // Left out, they stay as they are.
        self.details = details.unwrap_or_else(|| std::mem::take(&mut self.details));
        if status.is_terminal() {
            self.step_minutes = None;
        }
        self.history.push(Version { number: self.version, status, details: self.details.clone() });
    }

    fn set_timer(&mut self, body: &Map<String, Value>) {
        match body.get("stepTimeoutInMinutes").and_then(Value::as_i64) {
            None => {}
            Some(-1) => self.step_minutes = None,
            Some(minutes) => self.step_minutes = Some(minutes),
        }
    }

    fn state(&self) -> Value {
        json!({"status": self.status.as_str(), "statusDetails": self.details, "versionNumber": self.version})
    }

    fn summary(&self) -> Value {
        let mut summary = json!({
            "jobId": self.job,
            "queuedAt": self.queued_at,
            "lastUpdatedAt": self.updated_at,
            "versionNumber": self.version,
            "executionNumber": self.number,
        });
        if let Some(started) = self.started_at {
            summary["startedAt"] = Value::from(started);
        }
        summary
    }

    fn full(&self, with_document: bool) -> Value {
        let mut full = self.summary();
        full["thingName"] = Value::from(&*self.thing);
        full["status"] = Value::from(self.status.as_str());
        if !self.details.is_empty() {
            full["statusDetails"] = json!(self.details);
        }
        if with_document {
            full["jobDocument"] = self.document.clone();
        }
        full
    }
}
