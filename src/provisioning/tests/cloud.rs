//! A cloud that does what it is asked, or anything else.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use fastrand::Rng;
use rcgen::{CertificateParams, CertifiedIssuer, KeyPair};
use serde_json::json;

use crate::identity::{Signer, certificate_of};
use crate::provisioning::trouble::{Blame, Stage, Trouble};
use crate::provisioning::wire::Answer;

#[derive(Debug, Clone, PartialEq)]
enum State {
    Pending(Instant),
    Active(String),
    /// Somebody has made it so.
    Revoked,
}

/// See the module.
pub(super) struct Cloud {
    pub(super) rng: Rng,
    pub(super) is_hostile: bool,
    authority: CertifiedIssuer<'static, KeyPair>,
    stranger: KeyPair,
    certificates: HashMap<String, State>,
    tokens: HashMap<String, String>,
    /// Answers that come too late.
    late: VecDeque<Answer>,
    pub(super) things: usize,
    /// Those whose certificate has connected.
    pub(super) accepted: Vec<(String, String)>,
}

pub(super) fn trouble(stage: Stage, blame: Blame) -> Trouble {
    Trouble { stage, blame, code: "t".to_owned(), message: "t".to_owned(), advice: String::new() }
}

fn yes(value: &serde_json::Value) -> Answer {
    Answer { is_accepted: true, payload: value.to_string().into_bytes() }
}

impl Cloud {
    pub(super) fn new(seed: u64) -> Cloud {
        let authority =
            CertifiedIssuer::self_signed(CertificateParams::default(), KeyPair::generate().unwrap()).unwrap();
        Cloud {
            rng: Rng::with_seed(seed),
            is_hostile: true,
            authority,
            stranger: KeyPair::generate().unwrap(),
            certificates: HashMap::new(),
            tokens: HashMap::new(),
            late: VecDeque::new(),
            things: 0,
            accepted: Vec::new(),
        }
    }

    fn turns(&mut self, one_in: u32) -> bool {
        self.is_hostile && self.rng.u32(..one_in) == 0
    }

    /// What may happen to any connection.
    fn reached(&mut self, stage: Stage) -> Result<(), Trouble> {
        match (self.turns(5), self.turns(4)) {
            (true, _) => Err(trouble(stage, Blame::Network)),
            (_, true) => Err(trouble(stage, Blame::Server)),
            _ => Ok(()),
        }
    }

    pub(super) fn connect(&mut self) -> Result<(), Trouble> {
        self.reached(Stage::Connect)
    }

    fn sign(&self, key: &Signer) -> String {
        CertificateParams::default().signed_by(&key, &self.authority).unwrap().pem()
    }

    /// An answer, or one of others, or none.
    fn answered(&mut self, stage: Stage, answer: Answer) -> Result<Answer, Trouble> {
        if self.turns(6) {
            self.late.push_back(answer);
            return Err(trouble(stage, Blame::Server));
        }
        if self.turns(6)
            && let Some(late) = self.late.pop_front()
        {
            return Ok(late);
        }
        if self.turns(8) {
            let bad: [&[u8]; 6] = [
                b"",
                b"{",
                b"null",
                b"{\"thingName\":7}",
                b"\xff\xfe",
                br#"{"statusCode":403,"errorMessage":"\u001b[2Jno"}"#,
            ];
            let payload = bad[self.rng.usize(..bad.len())].to_vec();
            return Ok(Answer { is_accepted: self.rng.bool(), payload });
        }
        Ok(answer)
    }

    pub(super) fn create(&mut self, key: &Signer, now: Instant) -> Result<Answer, Trouble> {
        self.reached(Stage::CreateCertificate)?;
        let is_wrong = self.turns(8);
        let pem = if is_wrong { self.sign(&self.stranger) } else { self.sign(key) };
        if !is_wrong {
            self.certificates.insert(certificate_of(key, &pem).unwrap(), State::Pending(now));
        }
        let id = certificate_of(key, &pem).unwrap_or_default();
        let token = format!("token {}", self.tokens.len());
        self.tokens.insert(token.clone(), id.clone());
        let answer = json!({"certificateId": id, "certificatePem": pem, "certificateOwnershipToken": token});
        self.answered(Stage::CreateCertificate, yes(&answer))
    }

    pub(super) fn register(&mut self, token: &str, now: Instant) -> Result<Answer, Trouble> {
        self.reached(Stage::RegisterThing)?;
        let id = self.tokens.get(token).cloned().unwrap_or_default();
        let hook_says_no = self.turns(5);
        let bad_name = self.turns(10);
        let hour = Duration::from_secs(3600);
        let answer = match self.certificates.get(&id) {
            Some(State::Pending(since)) if now.duration_since(*since) < hour && !hook_says_no => {
                self.things += 1;
                let thing = if bad_name { "a/b".to_owned() } else { format!("thing-{}", self.things) };
                let state = if self.turns(6) { State::Revoked } else { State::Active(thing.clone()) };
                self.certificates.insert(id, state);
                yes(&json!({"thingName": thing, "deviceConfiguration": {"n": self.things.to_string()}}))
            }
            // Asked twice.
            Some(State::Active(thing)) => yes(&json!({"thingName": thing})),
            _ => {
                Answer { is_accepted: false, payload: br#"{"statusCode":400,"errorCode":"InvalidParameter"}"#.to_vec() }
            }
        };
        self.answered(Stage::RegisterThing, answer)
    }

    /// Somebody connects with this certificate, as the client of this thing.
    pub(super) fn try_out(&mut self, id: &str, thing: &str) -> Result<(), Trouble> {
        self.reached(Stage::Trial)?;
        match self.certificates.get(id) {
            Some(State::Active(name)) if name == thing => {
                self.accepted.push((id.to_owned(), thing.to_owned()));
                Ok(())
            }
            _ => Err(trouble(Stage::Trial, Blame::Server)),
        }
    }
}
