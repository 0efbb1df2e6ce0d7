//! Fleet provisioning for one account, without I/O and without a clock: what gets old does so when it is told to. Source: "Device
//! provisioning MQTT API", "Provisioning devices that don't have device certificates" in the AWS IoT developer guide.

use std::time::Duration;

use serde_json::{Map, Value, json};

use super::certificates::{Certificate, Certificates, State};

/// How long an ownership token is worth something.
const TOKEN_LIFE: Duration = Duration::from_secs(3600);

/// Why AWS refuses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    pub status: u16,
    pub code: &'static str,
    pub message: String,
}

impl Refusal {
    /// With the status that belongs to the code.
    pub fn new(code: &'static str, message: impl Into<String>) -> Refusal {
        let status = match code {
            "AccessDenied" => 403,
            "ResourceNotFound" => 404,
            "ThrottlingException" | "Throttled" | "TooManyRequests" => 429,
            "InternalError" | "InternalFailure" => 500,
            _ => 400,
        };
        Refusal { status, code, message: message.into() }
    }
}

/// What makes a thing of parameters.
#[derive(Debug, Clone)]
pub struct Template {
    pub name: String,
    /// The parameters that must be given. Others may be.
    pub parameters: Vec<String>,
    /// The thing's name; `{SerialNumber}` is that parameter.
    pub thing: String,
    /// deviceConfiguration.
    pub configuration: Value,
    /// Parameters that the pre-provisioning hook refuses, with its words: (key, value, words).
    pub hook: Vec<(String, String, String)>,
}

impl Template {
    /// The one with this body, as AWS takes it: its thing's name is joined from texts and parameters.
    pub fn of(name: &str, body: &Value) -> Template {
        let resources = body["Resources"].as_object().unwrap().values();
        let of_kind =
            |kind: &str| resources.clone().find(|resource| resource["Type"] == kind).map(|it| &it["Properties"]);
        let certificate = of_kind("AWS::IoT::Certificate").expect("a certificate");
        assert_eq!(certificate["CertificateId"], json!({"Ref": "AWS::IoT::Certificate::Id"}));
        assert_eq!(certificate["Status"].as_str().map(str::to_uppercase).as_deref(), Some("ACTIVE"));
        let parameters: Vec<String> = body["Parameters"].as_object().unwrap().keys().cloned().collect();
        let piece = |piece: &Value| match piece {
            Value::String(text) => text.clone(),
            other => {
                let parameter = other["Ref"].as_str().unwrap();
                assert!(parameters.iter().any(|known| known == parameter), "{parameter} is no parameter");
                format!("{{{parameter}}}")
            }
        };
        let thing = &of_kind("AWS::IoT::Thing").expect("a thing")["ThingName"];
        let joined = thing["Fn::Join"][1].as_array().map(|pieces| {
            let between = thing["Fn::Join"][0].as_str().unwrap();
            pieces.iter().map(piece).collect::<Vec<_>>().join(between)
        });
        Template {
            name: name.to_owned(),
            thing: joined.unwrap_or_else(|| piece(thing)),
            parameters: parameters.into_iter().filter(|name| !name.starts_with("AWS::")).collect(),
            configuration: body["DeviceConfiguration"].clone(),
            hook: Vec::new(),
        }
    }
}

#[derive(Debug, Clone)]
struct Token {
    text: String,
    certificate: String,
    age: Duration,
}

/// See the module.
#[derive(Debug)]
pub struct Provisioning {
    templates: Vec<Template>,
    tokens: Vec<Token>,
    last_token: u32,
}

impl Default for Provisioning {
    /// With the template `gateways`.
    fn default() -> Provisioning {
        let template = Template {
            name: "gateways".to_owned(),
            parameters: vec!["SerialNumber".to_owned()],
            thing: "gateway-{SerialNumber}".to_owned(),
            configuration: json!({"Site": "north"}),
            hook: Vec::new(),
        };
        Provisioning { templates: vec![template], tokens: Vec::new(), last_token: 0 }
    }
}

impl Provisioning {
    /// To change it.
    pub fn template(&mut self, name: &str) -> &mut Template {
        let found = self.templates.iter_mut().find(|template| template.name == name);
        found.unwrap_or_else(|| panic!("there is no template {name}"))
    }

    pub fn add(&mut self, template: Template) {
        self.templates.push(template);
    }

    pub fn remove(&mut self, name: &str) {
        self.templates.retain(|template| template.name != name);
    }

    /// The tokens get older. The certificates of those that are worth nothing any more are as good as deleted.
    pub fn pass(&mut self, time: Duration, certificates: &mut Certificates) {
        self.tokens.iter_mut().for_each(|token| token.age += time);
        for token in self.tokens.extract_if(.., |token| token.age >= TOKEN_LIFE) {
            let certificate = certificates.get_mut(&token.certificate);
            if certificate.state == State::PendingActivation {
                certificate.state = State::Revoked;
            }
        }
    }

    /// The tokens that are worth something.
    pub fn tokens(&self) -> impl Iterator<Item = &str> {
        self.tokens.iter().map(|token| &*token.text)
    }

    /// What is answered to a certificate's request. `other`: for another key than it should be.
    pub fn create_from_csr(
        &mut self,
        certificates: &mut Certificates,
        body: &Map<String, Value>,
        other: bool,
    ) -> Result<Value, Refusal> {
        only(body, &["certificateSigningRequest"])?;
        let request = body.get("certificateSigningRequest").and_then(Value::as_str);
        let request = request.ok_or_else(|| Refusal::new("InvalidPayload", "no certificateSigningRequest"))?;
        let signed = certificates.sign_request(request).map_err(|text| Refusal::new("InvalidCSR", text))?;
        let certificate = if other { certificates.issue_pending().1 } else { signed };
        Ok(self.own(&certificate))
    }

    /// With a key that is made here.
    pub fn create_keys(
        &mut self,
        certificates: &mut Certificates,
        body: &Map<String, Value>,
    ) -> Result<Value, Refusal> {
        only(body, &[])?;
        let (key, certificate) = certificates.issue_pending();
        let mut answer = self.own(&certificate);
        answer["privateKey"] = key.into();
        Ok(answer)
    }

    fn own(&mut self, Certificate { id, pem, .. }: &Certificate) -> Value {
        self.last_token += 1;
        let text = format!("token-{}", self.last_token);
        self.tokens.push(Token { text: text.clone(), certificate: id.clone(), age: Duration::ZERO });
        json!({"certificateId": id, "certificatePem": pem, "certificateOwnershipToken": text})
    }

    /// RegisterThing.
    pub fn register(
        &mut self,
        certificates: &mut Certificates,
        template: &str,
        body: &Map<String, Value>,
    ) -> Result<Value, Refusal> {
        only(body, &["certificateOwnershipToken", "parameters"])?;
        let found = self.templates.iter().find(|known| known.name == template);
        let template = found.ok_or_else(|| Refusal::new("ResourceNotFound", format!("no template {template}")))?;
        let token = body.get("certificateOwnershipToken").and_then(Value::as_str).unwrap_or_default();
        let index = self.tokens.iter().position(|known| known.text == token);
        let index = index.ok_or_else(|| {
            Refusal::new("InvalidCertificateOwnershipToken", "Certificate ownership token is invalid or expired")
        })?;
        let none = Map::new();
        let parameters = match body.get("parameters") {
            None => &none,
            Some(Value::Object(parameters)) => parameters,
            Some(other) => return Err(Refusal::new("InvalidPayload", format!("parameters are {other}"))),
        };
        let mut thing = template.thing.clone();
        for (key, value) in parameters {
            let Value::String(value) = value else {
                return Err(Refusal::new("InvalidPayload", format!("{key} is no string")));
            };
            if key.chars().count() > 2048 || value.chars().count() > 4096 {
                return Err(Refusal::new("InvalidPayload", "a parameter is too long"));
            }
            if let Some((.., words)) = template.hook.iter().find(|(of, refused, _)| (of, refused) == (key, value)) {
                return Err(Refusal::new("AccessDenied", words));
            }
            thing = thing.replace(&format!("{{{key}}}"), value);
        }
        if let Some(missing) = template.parameters.iter().find(|name| !parameters.contains_key(*name)) {
            return Err(Refusal::new("InvalidParameters", format!("Missing required parameter {missing}")));
        }
        let answer = json!({"deviceConfiguration": template.configuration, "thingName": thing});
        let token = self.tokens.remove(index);
        let certificate = certificates.get_mut(&token.certificate);
        (certificate.state, certificate.thing) = (State::Active, Some(thing));
        Ok(answer)
    }
}

fn only(body: &Map<String, Value>, known: &[&str]) -> Result<(), Refusal> {
    match body.keys().find(|key| !known.contains(&&***key)) {
        Some(key) => Err(Refusal::new("InvalidPayload", format!("there is no {key}"))),
        None => Ok(()),
    }
}
