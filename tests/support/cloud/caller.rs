//! Who has asked a service, and who is answered.
//!
//! mosquitto tells everybody what AWS tells the one who asked, and tells nobody with which certificate something came. So what a
//! client publishes to such a service goes to `front/from/CLIENT/CERTIFICATE/TOPIC`, and it is subscribed to `front/to/CLIENT/FILTER`.

/// Who has asked a service, as far as that is known: it comes by the front, or doesn't.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Caller {
    /// The client id, in hex.
    client: Option<String>,
    pub certificate: Option<String>,
}

impl Caller {
    /// Where an answer goes that nobody else gets.
    pub fn answered(&self, topic: &str) -> String {
        match &self.client {
            Some(client) => format!("front/to/{client}/{topic}"),
            None => topic.to_owned(),
        }
    }
}

/// Who has published, and the topic as it was meant.
pub fn asked(topic: &str) -> (Caller, &str) {
    let Some(rest) = topic.strip_prefix("front/from/") else { return (Caller::default(), topic) };
    let mut parts = rest.splitn(3, '/');
    let (client, certificate) = (parts.next().map(str::to_owned), parts.next().map(str::to_owned));
    (Caller { client, certificate }, parts.next().unwrap_or_default())
}
