//! The state machine of AWS IoT Jobs, which answers as badly as it can.

use bytes::Bytes;
use serde_json::{Value, json};

use crate::message::{Outbound, Topic};

/// What becomes of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mood {
    Works,
    /// It is done, and the answer is lost.
    Deaf,
    /// It isn't done, and there is no answer.
    Dead,
    Throttles,
    Fails,
    /// start-next names an execution that is over, as if AWS hadn't taken notice of that yet.
    Stale,
}

#[derive(Debug, Clone)]
pub(super) struct Job {
    pub(super) id: String,
    pub(super) number: i64,
    pub(super) status: String,
    pub(super) version: i64,
    pub(super) document: String,
    pub(super) details: Value,
    /// It was ended by somebody else than the gateway.
    pub(super) by_others: bool,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Cloud {
    pub(super) jobs: Vec<Job>,
    /// Executions that aren't there any more.
    pub(super) gone: Vec<Job>,
    pub(super) heard: Vec<Outbound>,
    pub(super) on_its_way: Vec<(Topic, Bytes)>,
    first: Option<(String, i64)>,
    created: usize,
}

pub(super) fn is_terminal(status: &str) -> bool {
    !matches!(status, "QUEUED" | "IN_PROGRESS")
}

impl Cloud {
    pub(super) fn create(&mut self, document: &str) {
        self.created += 1;
        self.jobs.push(Job {
            id: format!("job-{}", self.created),
            number: 1,
            status: "QUEUED".to_owned(),
            version: 1,
            document: document.to_owned(),
            details: json!({}),
            by_others: false,
        });
        self.notify();
    }

    /// Somebody ends one that isn't over.
    pub(super) fn end(&mut self, which: usize, status: &str) {
        let mut open: Vec<&mut Job> = self.jobs.iter_mut().filter(|job| !is_terminal(&job.status)).collect();
        let count = open.len();
        if let Some(index) = which.checked_rem(count) {
            let job = &mut open[index];
            (job.status, job.by_others) = (status.to_owned(), true);
            job.version += 1;
        }
        self.notify();
    }

    pub(super) fn delete(&mut self, which: usize) {
        if let Some(index) = which.checked_rem(self.jobs.len()) {
            self.gone.push(Job { by_others: true, ..self.jobs.remove(index) });
        }
        self.notify();
    }

    /// AWS tries a failed one again, as another execution.
    pub(super) fn retry(&mut self) {
        if let Some(job) = self.jobs.iter_mut().find(|job| job.status == "FAILED") {
            self.gone.push(job.clone());
            (job.status, job.by_others) = ("QUEUED".to_owned(), false);
            (job.number, job.version) = (job.number + 1, 1);
        }
        self.notify();
    }

    /// AWS goes back to before the gateway has ended an execution.
    pub(super) fn forget(&mut self, which: usize) {
        let mut ended: Vec<&mut Job> =
            self.jobs.iter_mut().filter(|job| is_terminal(&job.status) && !job.by_others).collect();
        let count = ended.len();
        if let Some(index) = which.checked_rem(count) {
            ended[index].status = "IN_PROGRESS".to_owned();
        }
        self.notify();
    }

    fn first(&self) -> Option<usize> {
        let with = |status: &str| self.jobs.iter().position(|job| job.status == status);
        with("IN_PROGRESS").or_else(|| with("QUEUED"))
    }

    fn notify(&mut self) {
        let first = self.first().map(|index| (self.jobs[index].id.clone(), self.jobs[index].number));
        if first == self.first {
            return;
        }
        let payload = match &first {
            Some((id, number)) => json!({"timestamp": 1, "execution": {"jobId": id, "executionNumber": number}}),
            None => json!({"timestamp": 1}),
        };
        self.first = first;
        self.on_its_way.push((Topic::received("$aws/things/t/jobs/notify-next"), Bytes::from(payload.to_string())));
    }

    /// Looks at one of the requests.
    pub(super) fn serve(&mut self, which: usize, mood: Mood) {
        let Some(index) = which.checked_rem(self.heard.len()) else { return };
        let request = self.heard.remove(index);
        let body: Value = serde_json::from_slice(&request.payload).unwrap();
        let answer = match mood {
            Mood::Works => self.answer(&request, &body),
            Mood::Stale => match self.stale().filter(|_| request.topic.as_str().ends_with("start-next")) {
                Some(answer) => Ok(answer),
                None => self.answer(&request, &body),
            },
            Mood::Deaf => {
                let _ = self.answer(&request, &body);
                return;
            }
            Mood::Dead => return,
            Mood::Throttles => Err(json!({"code": "RequestThrottled", "message": "slowly"})),
            Mood::Fails => Err(json!({"code": "InternalError", "message": "oh"})),
        };
        let (end, mut answer) = answer.map_or_else(|no| ("rejected", no), |yes| ("accepted", yes));
        answer["clientToken"] = body["clientToken"].clone();
        let topic = Topic::received(&format!("{}/{end}", request.topic));
        self.on_its_way.push((topic, Bytes::from(answer.to_string())));
    }

    fn answer(&mut self, request: &Outbound, body: &Value) -> Result<Value, Value> {
        let what: Vec<&str> = request.topic.as_str().strip_prefix("$aws/things/t/jobs/").unwrap().split('/').collect();
        let answer = match what[..] {
            ["start-next"] => Ok(self.start_next()),
            [id, "get"] => self.get(id, body),
            [id, "update"] => self.update(id, body),
            _ => panic!("{}", request.topic),
        };
        self.notify();
        answer
    }

    fn start_next(&mut self) -> Value {
        let Some(index) = self.first() else { return json!({"timestamp": 1}) };
        let job = &mut self.jobs[index];
        if job.status == "QUEUED" {
            job.status = "IN_PROGRESS".to_owned();
            job.version += 1;
        }
        json!({"timestamp": 1, "execution": {
            "jobId": job.id, "thingName": "t", "status": job.status, "statusDetails": job.details, "queuedAt": 1,
            "versionNumber": job.version, "executionNumber": job.number, "jobDocument": {"do": job.document},
        }})
    }

    /// One that the gateway has ended.
    fn stale(&self) -> Option<Value> {
        let job = self.jobs.iter().rev().find(|job| is_terminal(&job.status) && !job.by_others)?;
        Some(json!({"timestamp": 1, "execution": {
            "jobId": job.id, "thingName": "t", "status": "IN_PROGRESS", "versionNumber": job.version - 1,
            "executionNumber": job.number, "jobDocument": {"do": job.document},
        }}))
    }

    fn find(&mut self, id: &str, body: &Value) -> Result<&mut Job, Value> {
        let number = body["executionNumber"].as_i64();
        let found = self.jobs.iter_mut().find(|job| job.id == id && number.is_none_or(|number| number == job.number));
        found.ok_or_else(|| json!({"code": "ResourceNotFound", "message": "none"}))
    }

    fn get(&mut self, id: &str, body: &Value) -> Result<Value, Value> {
        let job = self.find(id, body)?;
        let (status, version, number) = (&job.status, job.version, job.number);
        Ok(json!({"execution": {"jobId": id, "status": status, "versionNumber": version, "executionNumber": number}}))
    }

    fn update(&mut self, id: &str, body: &Value) -> Result<Value, Value> {
        let job = self.find(id, body)?;
        let state = json!({"status": job.status, "statusDetails": job.details, "versionNumber": job.version});
        // Which of the two is looked at first, nothing says.
        if is_terminal(&job.status) && job.version % 2 == 0 {
            return Err(json!({"code": "TerminalStateReached", "message": "over"}));
        }
        if body["expectedVersion"].as_i64() != Some(job.version) {
            return Err(json!({"code": "VersionMismatch", "message": "another", "executionState": state}));
        }
        if is_terminal(&job.status) {
            return Err(json!({"code": "InvalidStateTransition", "message": "over"}));
        }
        if body["statusDetails"]["bad"] == json!("yes") {
            return Err(json!({"code": "InvalidRequest", "message": "statusDetails"}));
        }
        job.status = body["status"].as_str().unwrap().to_owned();
        job.version += 1;
        if let Some(details) = body.get("statusDetails") {
            job.details = details.clone();
        }
        Ok(json!({"timestamp": 1, "executionState":
            {"status": job.status, "statusDetails": job.details, "versionNumber": job.version}}))
    }
}
