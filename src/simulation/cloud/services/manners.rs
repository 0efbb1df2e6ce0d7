//! How well or badly Jobs and Commands answer.

use fastrand::Rng;

use super::aws::service::{Kind, Mood};
use super::identities::is_of_identities;
use crate::simulation::server::behaviour::{Delay, FilterAnswer, Refuses, happens};

/// The default answers soon, once, and to everything. Probabilities are from 0 to 1, of each request.
#[derive(Debug, Clone)]
pub(crate) struct Manners {
    /// From a request to its answer, and from a change to the news of it. Each is as late as it is: they overtake each other.
    pub(crate) delay: Delay,
    /// It is done, and not answered.
    pub(crate) lost: f64,
    /// It isn't done, and not answered.
    pub(crate) dead: f64,
    /// It is answered twice.
    pub(crate) twice: f64,
    /// It isn't done, and is to be asked later.
    pub(crate) throttles: f64,
    /// It isn't done, as if something were wrong with it.
    pub(crate) refuses: f64,
    /// It is done, and the answer isn't what AWS documents, or of another key: of certificates alone.
    pub(crate) garbles: f64,
    /// From a request of the certificate rotator until its backend hears of it.
    pub(crate) lag: Delay,
    /// The policy of the certificate doesn't allow a service.
    pub(crate) lacks: Option<Lack>,
}

/// What IoT Core does where the policy doesn't allow something.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Lack {
    /// How the topics of the service begin.
    pub(crate) prefix: &'static str,
    pub(crate) filter: Option<FilterAnswer>,
    pub(crate) publish: Option<Refuses>,
}

impl Default for Manners {
    fn default() -> Manners {
        let delay = Delay::between(std::time::Duration::from_millis(20), std::time::Duration::from_millis(200));
        Manners {
            delay,
            lost: 0.0,
            dead: 0.0,
            twice: 0.0,
            throttles: 0.0,
            refuses: 0.0,
            garbles: 0.0,
            lag: delay,
            lacks: None,
        }
    }
}

impl Manners {
    /// How a request is treated, if not as it should be.
    pub(super) fn mood(&self, kind: Kind, random: &mut Rng) -> Option<Mood> {
        let busy = match kind {
            Kind::Response => ["ThrottlingException", "InternalError", "DataConflict"],
            Kind::CreateCertificate | Kind::RegisterThing | Kind::RotatorCreate | Kind::RotatorCommit => {
                ["ThrottlingException", "InternalError", "ThrottlingException"]
            }
            Kind::StartNext | Kind::Get | Kind::Update => ["RequestThrottled", "InternalError", "RequestThrottled"],
        };
        let moods = [
            (self.lost, Mood::Silent),
            (self.dead, Mood::Dead),
            (self.twice, Mood::Repeats),
            (self.throttles, Mood::Refuses(busy[random.usize(..3)])),
            (self.refuses, Mood::Refuses("InvalidRequest")),
        ];
        let mood = moods.into_iter().find(|(probability, _)| happens(random, *probability)).map(|(_, mood)| mood);
        let is_garbled = mood.is_none() && is_of_identities(kind) && happens(random, self.garbles);
        let garbage = [Mood::OtherKey, Mood::Says("{"), Mood::Says("{\"certificatePem\":7}")];
        mood.or_else(|| is_garbled.then(|| garbage[random.usize(..3)]))
    }
}
