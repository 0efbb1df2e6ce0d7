//! The connection with the claim.

use std::time::Duration;

use super::setup::Setup;
use super::threads::credentials_of;
use super::trouble::{Blame, Stage, Trouble};
use super::wire::{Answer, Request, filters};
use crate::config;
use crate::identity::Platform;
use crate::link::connect::LinkConnector;
use crate::link::options;
use crate::link::talk::{Asked, Talk};
use crate::message::{Outbound, Qos, Topic, TopicFilter};
use crate::mqtt::KeepAlive;
use crate::net::credentials::CredentialsProblems;
use crate::net::{Network, Purpose, Transport};

/// How long an answer may take.
const ANSWER: Duration = Duration::from_secs(30);

/// It lasts no longer than a few questions: with a longer one nothing has to be said meanwhile.
const KEEP_ALIVE: Duration = Duration::from_secs(300);

/// See the module.
pub(super) struct ClaimConnection<S> {
    talk: Talk<S>,
    client_id: String,
    ack_timeout: Duration,
}

impl<S: Transport> ClaimConnection<S> {
    /// Connects, and subscribes to all answers: before anything is asked it is clear that they can come.
    pub(super) async fn open<N: Network<Stream = S>>(
        network: &N,
        setup: &Setup,
        platform: &dyn Platform,
    ) -> Result<ClaimConnection<S>, Trouble> {
        let told = setup.provisioning.told.as_ref().map_err(no_value)?;
        let connection = config::Connection {
            client_id: told.client_id.clone(),
            session_expiry: Duration::ZERO,
            keep_alive: KeepAlive::Fixed(KEEP_ALIVE),
            will: None,
            birth: None,
            topic_alias: false,
            ..setup.connection.clone()
        };
        let credentials = credentials_of(platform, Stage::Connect, setup.provisioning.claim(&setup.tls)).await?;
        let credentials = credentials.map_err(|problems| unusable(&problems))?;
        let of_link = |error| Trouble::of_link(Stage::Connect, &error, &told.client_id);
        let opened =
            LinkConnector::new(network, &connection, &credentials, Purpose::Identity).connect(&mut |_| {}).await;
        let opened = opened.map_err(of_link)?;
        let deadline = opened.deadline;
        let mut talk = Talk::asking(opened, &options(&connection));
        talk.connected(deadline).await.map_err(of_link)?;
        let mut claim =
            ClaimConnection { talk, client_id: told.client_id.clone(), ack_timeout: connection.ack_timeout };
        match claim.subscribe(&setup.provisioning.template).await {
            Ok(()) => Ok(claim),
            Err(trouble) => {
                claim.close().await;
                Err(trouble)
            }
        }
    }

    async fn subscribe(&mut self, template: &str) -> Result<(), Trouble> {
        for filter in filters(template) {
            let Ok(filter) = TopicFilter::new(&filter) else { continue };
            let subscribed = self.talk.subscribe(&filter, Qos::AtLeastOnce, self.ack_timeout).await;
            subscribed
                .map_err(|error| Trouble::of_link(Stage::Connect, &error, &self.client_id))?
                .map_err(|reason| Trouble::of_filter(&filter, &reason))?;
        }
        Ok(())
    }

    /// Asks, and waits for the answer.
    pub(super) async fn ask(&mut self, request: &Request) -> Result<Answer, Trouble> {
        let no_topic = |error| Trouble::of_answer(request.stage, &format!("the topic can't be used: {error}"));
        let message = Outbound {
            topic: Topic::new(&request.topic).map_err(no_topic)?,
            payload: request.payload.clone().into(),
            qos: Qos::AtLeastOnce,
            retain: false,
            urgent: false,
            properties: None,
        };
        let asked = self.talk.ask(&message, &request.answers(), ANSWER).await;
        match asked.map_err(|error| Trouble::of_link(request.stage, &error, &self.client_id))? {
            Asked::Answered(place, payload) => Ok(Answer { is_accepted: place == 0, payload: payload.to_vec() }),
            other => Err(Trouble::of_asked(request, &other)),
        }
    }

    pub(super) async fn close(self) {
        self.talk.close().await;
    }

    pub(super) fn client_id(&self) -> &str {
        &self.client_id
    }
}

/// A placeholder has no value on this machine.
fn no_value(lacks: &config::NoValue) -> Trouble {
    let config::NoValue { key, place, .. } = lacks;
    Trouble {
        stage: Stage::Connect,
        blame: Blame::Here,
        code: "no_value".to_owned(),
        message: format!("{place}: `{key}`: {lacks}, and nothing is sent"),
        advice: lacks.advice().to_owned(),
    }
}

fn unusable(problems: &CredentialsProblems) -> Trouble {
    let said: Vec<String> = problems.of_claim().map(|(_, _, said)| said).collect();
    Trouble {
        stage: Stage::Connect,
        blame: Blame::Here,
        code: "claim_files".to_owned(),
        message: format!("the claim can't be used: {}", said.join("; ")),
        advice: String::new(),
    }
}
