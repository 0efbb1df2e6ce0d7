//! The policy of a claim certificate: with it a gateway may ask for an identity, and nothing else.

use serde_json::{Value, json};

use super::Action;
use super::resource::escaped;
use super::scope::Scope;
use crate::config::Provisioning;

/// The least policy for the claim of `[provisioning]`. Who has the claim can connect with the client ids of claims alone, so that no
/// gateway at work is disconnected, and use no template but this one. `requests` are the topics on which it asks.
pub(crate) fn policy(provisioning: &Provisioning, requests: &[String; 2], scope: &Scope) -> Value {
    let answers = requests.clone().map(|request| format!("{request}/*"));
    let more = if provisioning.is_claim_client_id_fixed { "" } else { "*" };
    let clients = format!("{}{more}", escaped(&provisioning.claim_client_id_begins));
    let statement = |sid: &str, action: Action, names: &[String]| {
        let resources: Vec<String> =
            names.iter().map(|name| format!("{scope}{}{name}", action.resource_type())).collect();
        let resource = if let [one] = &resources[..] { json!(one) } else { json!(resources) };
        json!({ "Sid": sid, "Effect": "Allow", "Action": action.name(), "Resource": resource })
    };
    json!({
        "Version": "2012-10-17",
        "Statement": [
            statement("Connect", Action::Connect, &[clients]),
            statement("Publish", Action::Publish, requests),
            statement("Subscribe", Action::Subscribe, &answers),
            statement("Receive", Action::Receive, &answers),
        ]
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::fuzzing::configured;

    const REQUESTS: [&str; 2] =
        ["$aws/certificates/create-from-csr/json", "$aws/provisioning-templates/gateways/provision/json"];

    fn printed(rest: &str) -> Value {
        let text = format!(
            "[connection]\nendpoint = \"localhost\"\nclient_id = \"{{{{thing}}}}\"\n[provisioning]\ntemplate = \"gateways\"\n\
             claim_cert_file = \"/c/cert\"\nclaim_key_file = \"/c/key\"\n{rest}\n"
        );
        let requests = REQUESTS.map(str::to_owned);
        policy(&configured(&text).provisioning.unwrap(), &requests, &Scope::new("eu-west-1", "123456789012"))
    }

    #[test]
    fn a_claim_may_connect_as_claims_do_and_ask_for_an_identity_and_nothing_else() {
        let arn = |name: &str| format!("arn:aws:iot:eu-west-1:123456789012:{name}");
        let both = |begin: &str, end: &str| REQUESTS.map(|topic| arn(&format!("{begin}/{topic}{end}")));
        assert_eq!(
            printed(""),
            json!({"Version": "2012-10-17", "Statement": [
                {"Sid": "Connect", "Effect": "Allow", "Action": "iot:Connect", "Resource": arn("client/claim-*")},
                {"Sid": "Publish", "Effect": "Allow", "Action": "iot:Publish", "Resource": both("topic", "")},
                {"Sid": "Subscribe", "Effect": "Allow", "Action": "iot:Subscribe", "Resource": both("topicfilter", "/*")},
                {"Sid": "Receive", "Effect": "Allow", "Action": "iot:Receive", "Resource": both("topic", "/*")},
            ]})
        );
    }

    #[test]
    fn the_client_ids_are_those_of_the_configuration_whatever_stands_in_them() {
        let clients = |id: &str| {
            let policy = printed(&format!("claim_client_id = \"{id}\""));
            policy["Statement"][0]["Resource"].as_str().unwrap().rsplit_once("client/").unwrap().1.to_owned()
        };
        assert_eq!(clients("new-{{machine_id}}-gw"), "new-*");
        assert_eq!(clients("the-claim"), "the-claim");
        assert_eq!(clients("a*b-{{hostname}}"), "a${*}b-*");
    }
}
