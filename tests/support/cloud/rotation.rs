//! The other end of a job that rotates a certificate, without I/O. Source: the certificate rotator of AWS's labs, whose backend answers
//! on `awslabs/things/THING/certificate/`.

use serde_json::{Map, Value, json};

use super::certificates::{Certificates, State};

/// A certificate that was given out.
#[derive(Debug, Clone)]
struct Given {
    thing: String,
    job: String,
    certificate: String,
}

#[derive(Debug, Default)]
pub struct Rotation {
    given: Vec<Given>,
}

impl Rotation {
    /// What is answered to a request for a certificate: it counts at once, beside the old one. `other`: for another key.
    pub fn create(
        &mut self,
        certificates: &mut Certificates,
        thing: &str,
        body: &Map<String, Value>,
        other: bool,
    ) -> Result<Value, String> {
        let (Some(job), Some(request)) = (text(body, "jobId"), text(body, "csr")) else {
            return Err("no jobId, or no csr".to_owned());
        };
        let signed = certificates.sign_request(request)?;
        let certificate = if other { certificates.issue_pending().1 } else { signed };
        let known = certificates.get_mut(&certificate.id);
        (known.state, known.thing) = (State::Active, Some(thing.to_owned()));
        self.given.push(Given { thing: thing.to_owned(), job: job.to_owned(), certificate: certificate.id });
        Ok(json!({"certificatePem": certificate.pem}))
    }

    /// What is answered to a commit that came by a connection with `certificate`, if that is known: one that was given out for the
    /// job. The thing's other ones don't count any more.
    pub fn commit(
        &mut self,
        certificates: &mut Certificates,
        thing: &str,
        certificate: Option<&str>,
        body: &Map<String, Value>,
    ) -> Result<Value, String> {
        let job = text(body, "jobId").ok_or("no jobId")?;
        let mut given = self.given.iter().rev().filter(|given| given.thing == thing && given.job == job);
        let new = given.find(|given| certificate.is_none_or(|shown| shown == given.certificate));
        let new = new.ok_or_else(|| format!("the connection's certificate isn't one that {job} has given {thing}"))?;
        let all: Vec<String> = certificates.of_thing(thing).into_iter().map(|known| known.id.clone()).collect();
        for id in all.into_iter().filter(|id| *id != new.certificate) {
            certificates.get_mut(&id).state = State::Inactive;
        }
        Ok(json!({}))
    }
}

fn text<'a>(body: &'a Map<String, Value>, key: &str) -> Option<&'a str> {
    body.get(key)?.as_str()
}
