//! `[provisioning]`.

use super::*;
use crate::config::provisioning::Told;
use crate::identity::{self, KeyKind};

const PROVISIONING: &str =
    "[provisioning]\ntemplate = \"gateways\"\nclaim_cert_file = \"/c/cert\"\nclaim_key_file = \"/c/key\"\n";

fn connection() -> String {
    CONNECTION.replace("thing-1", "{{thing}}")
}

fn provisioning(rest: &str) -> Provisioning {
    load(&format!("{}{PROVISIONING}{rest}", connection()), &[]).expect(rest).0.provisioning.unwrap()
}

/// Of lines below `[provisioning]`, the first of which is the ninth.
fn wrong(rest: &str) -> Vec<String> {
    load(&format!("{}{PROVISIONING}{rest}", connection()), &[]).expect_err(rest)
}

const MACHINE_ID: &str = "0123456789abcdef0123456789abcdef";

#[test]
fn left_out_keys_have_the_defaults_of_the_documentation() {
    assert_eq!(load(CONNECTION, &[]).unwrap().0.provisioning, None);
    assert_eq!(
        provisioning(""),
        Provisioning {
            state: "/var/lib/gatewire".into(),
            template: "gateways".to_owned(),
            claim_cert_file: "/c/cert".into(),
            claim_key_file: "/c/key".into(),
            claim_client_id_begins: "claim-".to_owned(),
            is_claim_client_id_fixed: false,
            told: Ok(Told { client_id: format!("claim-{MACHINE_ID}"), parameters: BTreeMap::new() }),
            key: KeyKind::EcP256,
            claim_after: ClaimAfter::Keep,
            renew_before: Some(Duration::from_secs(30 * 24 * 3600)),
            longest_name: None,
            client_id: ("{{thing}}".to_owned(), "pi4".to_owned()),
        }
    );
    let other = provisioning("key = \"rsa-2048\"\nclaim_after = \"delete\"\nrenew_before = \"0s\"\n");
    assert_eq!((other.key, other.claim_after, other.renew_before), (KeyKind::Rsa2048, ClaimAfter::Delete, None));
}

#[test]
fn placeholders_are_filled_in_with_what_this_machine_is_known_by() {
    let told = provisioning(
        "claim_client_id = \"a-{{hostname}}-b\"\nparameters = { A = \"{{machine_id}}/{{ hostname }}\", \"b c\" = \"\" }\n",
    );
    assert_eq!((told.claim_client_id_begins.as_str(), told.is_claim_client_id_fixed), ("a-", false));
    let told = told.told.unwrap();
    assert_eq!(told.client_id, "a-pi4-b");
    let pairs: Vec<_> = told.parameters.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
    assert_eq!(pairs, [("A", format!("{MACHINE_ID}/pi4").as_str()), ("b c", "")]);
}

#[test]
fn a_placeholder_without_a_value_is_no_error_but_there_is_nothing_to_tell() {
    let lacks = provisioning("parameters = { SerialNumber = \"{{serial}}\" }\n").told.unwrap_err();
    assert_eq!((lacks.placeholder, lacks.key.as_str()), ("serial", "provisioning.parameters"));
    assert!(lacks.place.ends_with("gatewire.toml:9"), "{lacks:?}");
    let lacks = provisioning("claim_client_id = \"c-{{serial}}\"\n").told.unwrap_err();
    assert_eq!((lacks.placeholder, lacks.key.as_str()), ("serial", "provisioning.claim_client_id"));
}

#[test]
fn the_identity_is_where_the_state_is_and_what_is_put_there_by_hand_excludes_it() {
    let config = load(&format!("{}{PROVISIONING}", connection()), &[]).unwrap().0;
    assert_eq!(config.tls.cert_file, Path::new("/var/lib/gatewire/identity/certificate.pem.crt"));
    assert_eq!(config.tls.key_file.path().unwrap(), Path::new("/var/lib/gatewire/identity/private.pem.key"));
    assert_eq!(config.tls.ca_file, Path::new("/etc/gatewire/certs/AmazonRootCA1.pem"));
    for (key, line) in [("cert_file", 9), ("key_file", 9)] {
        let found = wrong(&format!("[tls]\n{key} = \"/x\"\n"));
        let said = format!("gatewire.toml:{}: `tls.{key}`: with [provisioning] gatewire ", line + 1);
        assert!(found.len() == 1 && found[0].starts_with(&said) && found[0].contains("delete this line"), "{found:#?}");
    }
    let token = "[tls]\nkey_file = \"pkcs11:token=gw;object=key?module-path=/usr/lib/m.so\"\n";
    assert!(load(&format!("{}{PROVISIONING}{token}", connection()), &[]).unwrap().0.tls.key_file.token().is_some());
    let found = load(&format!("{}thing = \"gw\"\n{PROVISIONING}", connection()), &[]).unwrap_err();
    let said =
        "gatewire.toml:5: `connection.thing`: with [provisioning] AWS says the name of the thing; delete this line";
    assert!(found.len() == 1 && found[0].starts_with(said), "{found:#?}");
}

#[test]
fn nothing_else_may_be_where_gatewire_keeps_what_it_makes() {
    const STATE: &str = "/var/lib/gatewire";
    let bridge = "[[bridge]]\nname = \"b\"\n[[bridge.up]]\nfrom = \"a\"\n";
    for (rest, of) in [
        ("[outbox]\npath = \"PATH\"\n".to_owned(), "outbox.path"),
        ("[status]\nsocket = \"PATH\"\n".to_owned(), "status.socket"),
        ("[tls]\nca_file = \"PATH\"\n".to_owned(), "tls.ca_file"),
        ("[jobs]\nsocket = \"PATH\"\n".to_owned(), "jobs.socket"),
        ("[[forward]]\nname = \"f\"\nfilters = [\"a\"]\nsocket = \"PATH\"\n".to_owned(), "forward.socket"),
        ("[[ingest]]\nname = \"i\"\ntopics = [\"a\"]\nsocket = \"PATH\"\n".to_owned(), "ingest.socket"),
        (bridge.replace("\n[[", "\nbroker = \"unix:PATH\"\n[["), "bridge.broker"),
        ("[tls]\nkey_file = \"pkcs11:token=t?module-path=/m.so&pin-source=PATH\"\n".to_owned(), "tls.key_file"),
    ] {
        for name in identity::NAMES {
            for path in [format!("{STATE}/{name}"), format!("{STATE}/x/../{name}/x")] {
                let found = wrong(&rest.replace("PATH", &path));
                let said =
                    format!("`{of}`: {path} is in {STATE}/{name}, where gatewire keeps the identity that it makes");
                assert!(found.len() == 1 && found[0].contains(&said), "{path}\n{found:#?}");
            }
        }
        let beside = rest.replace("PATH", &format!("{STATE}/identity.db"));
        assert!(load(&format!("{}{PROVISIONING}{beside}", connection()), &[]).is_ok(), "{beside}");
        // Without [provisioning] that is a directory as any other.
        let by_hand = rest.replace("PATH", &format!("{STATE}/identity/x"));
        assert!(load(&format!("{CONNECTION}{by_hand}"), &[]).is_ok(), "{by_hand}");
    }
    let publish =
        "[[publish]]\nname = \"p\"\ntopic = \"t\"\nevery = \"1h\"\nfile = \"/var/lib/gatewire/identity/thing.json\"\n";
    assert!(load(&format!("{}{PROVISIONING}{publish}", connection()), &[]).is_ok(), "to read it harms nobody");
}

#[test]
fn what_is_wrong_is_told_on_its_line() {
    let found = load(&format!("{}[provisioning]\n", connection()), &[]).unwrap_err();
    for (key, example) in [
        ("template", "\"gateways\""),
        ("claim_cert_file", "\"/etc/gatewire/claim/certificate.pem.crt\""),
        ("claim_key_file", "\"/etc/gatewire/claim/private.pem.key\""),
    ] {
        let said = format!("gatewire.toml:5: `provisioning.{key}`: is missing; it is written like `{key} = {example}`");
        assert!(found.contains(&said), "{found:#?}");
    }
    let (long, longer) = ("x".repeat(2049), "x".repeat(4097));
    for (rest, expected) in [
        ("claim_client_id = \"\"\n", "9: `provisioning.claim_client_id`: must not be blank"),
        (
            "claim_client_id = \"{{thing}}\"\n",
            "`{{thing}}` isn't known; serial, machine_id and hostname may stand here",
        ),
        ("claim_client_id = \"{{serialnumber}}\"\n", "did you mean `{{serial}}`?"),
        ("claim_client_id = \"$x\"\n", "must not begin with `$`"),
        (&format!("claim_client_id = \"{}\"\n", &long[..129]), "is 129 bytes long, IoT Core takes at most 128"),
        (
            "parameters = \"x\"\n",
            "9: `provisioning.parameters`: must be a table, such as { SerialNumber = \"{{serial}}\" }",
        ),
        ("parameters = { A = 5 }\n", "must be a string in quotes, \"5\""),
        ("parameters = { \"\" = \"x\" }\n", "the name of a parameter must not be empty"),
        (&format!("parameters = {{ {long} = \"x\" }}\n"), "this name has 2049 characters, AWS IoT takes at most 2048"),
        (
            &format!("parameters = {{ A = \"{longer}\" }}\n"),
            "the value of A has 4097 characters, AWS IoT takes at most 4096",
        ),
        ("key = \"rsa\"\n", "\"rsa\" isn't one of \"ec-p256\", \"rsa-2048\"; did you mean \"rsa-2048\"?"),
        ("key = \"ec\"\n", "did you mean \"ec-p256\"?"),
        ("claim_after = \"remove\"\n", "isn't one of \"keep\", \"delete\"; did you mean \"delete\"?"),
        ("renew_before = 30\n", "must be a duration with its unit in quotes"),
        ("renew_befor = \"30d\"\n", "9: `provisioning.renew_befor`: unknown key; did you mean `renew_before`?"),
        ("params = { A = \"b\" }\n", "did you mean `parameters`?"),
    ] {
        let found = wrong(rest);
        assert!(found.len() == 1 && found[0].contains(expected), "{rest}\n{found:#?}");
    }
    for (from, to, expected) in [
        ("\"gateways\"", "\"\"", "must not be empty"),
        ("\"gateways\"", "\"my.template\"", "can't be the name of a provisioning template at AWS IoT"),
        (
            "\"gateways\"",
            "\"arn:aws:iot:eu-west-1:123456789012:provisioningtemplate/gw\"",
            "write the name alone, \"gw\"",
        ),
        ("\"/c/cert\"", "\"cert\"", "must be an absolute path"),
        (
            "\"/c/key\"",
            "\"/var/lib/gatewire/identity/private.pem.key\"",
            "is in /var/lib/gatewire/identity, where gatewire keeps the identity that it makes",
        ),
        ("[provisioning]", "[fleet]", "`fleet`: unknown section; did you mean `[provisioning]`?"),
    ] {
        let found = load(&format!("{CONNECTION}{}", PROVISIONING.replace(from, to)), &[]).unwrap_err();
        assert!(found.len() == 1 && found[0].contains(expected), "{to}\n{found:#?}");
    }
}

#[test]
fn what_is_doubtful_is_a_warning() {
    let warnings = |rest: &str| load(&format!("{}{PROVISIONING}{rest}", connection()), &[]).unwrap().1;
    for (rest, expected) in [
        (
            "claim_client_id = \"{{machine_id}}\"\n",
            "begins with a placeholder, so that the claim's policy must allow any client id",
        ),
        ("claim_client_id = \"claim\"\n", "is the same on each gateway"),
        ("claim_client_id = \"claim-${serial}\"\n", "`${serial}` isn't filled in; the placeholder is `{{serial}}`"),
        (
            "parameters = { A = \"<machine_id>\" }\n",
            "`<machine_id>` isn't filled in; the placeholder is `{{machine_id}}`",
        ),
    ] {
        let found = warnings(rest);
        assert!(found.iter().any(|warning| warning.contains(expected)), "{rest}\n{found:#?}");
    }
    assert_eq!(warnings(""), [""; 0]);
}

/// What holds the name in one of its tables, and beside it what doesn't.
const NAMED: &str = "[[publish]]\nname = \"named\"\ntopic = \"t\"\nevery = \"1s\"\npayload = \"{{client_id}}\"\n\
    [[publish]]\nname = \"plain\"\ntopic = \"t\"\nevery = \"1s\"\npayload = \"x\"\n\
    [[ingest]]\nname = \"named\"\nsocket = \"/run/i1.sock\"\ntopics = [\"g/{{thing}}/#\", \"plain/#\"]\n\
    [[ingest]]\nname = \"plain\"\nsocket = \"/run/i2.sock\"\ntopics = [\"plain/#\"]\n\
    [[bridge]]\nname = \"named\"\nbroker = \"127.0.0.1:1883\"\n[[bridge.up]]\nfrom = \"a\"\n\
    [[bridge]]\nname = \"plain\"\nbroker = \"127.0.0.1:1884\"\nclient_id = \"gw\"\n[[bridge.up]]\nfrom = \"a\"\n\
    [jobs]\n[commands]\n";

fn names<'a>(names: impl Iterator<Item = &'a String>) -> Vec<&'a str> {
    names.map(String::as_str).collect()
}

#[test]
fn what_holds_the_name_of_the_thing_waits_for_it_and_nothing_else_does() {
    let config = load(&format!("{}{PROVISIONING}{NAMED}", connection()), &[]).unwrap().0;
    assert!(!config.connection.is_named);
    assert_eq!(names(config.publications().iter().map(|publish| &publish.name)), ["plain"]);
    assert_eq!(names(config.bridges().map(|bridge| &bridge.name)), ["plain"]);
    assert_eq!(config.services(), [], "of which thing isn't known");
    let ingest = |name: &str| config.ingest.iter().find(|ingest| ingest.name == name).unwrap();
    let topics = |name: &str| ingest(name).topics.iter().map(TopicFilter::as_str).collect::<Vec<_>>();
    assert_eq!((topics("named"), ingest("named").awaits_name), (vec!["plain/#"], true));
    assert_eq!((topics("plain"), ingest("plain").awaits_name), (vec!["plain/#"], false));
}

#[test]
fn the_name_that_aws_has_given_is_filled_in_wherever_it_stands() {
    let directory = files(format!("{}{PROVISIONING}{NAMED}", connection()).as_bytes(), &[]);
    let environment = Environment { thing: |_| Some("gw-7".to_owned()), ..environment() };
    let config = read(&directory.path().join("gatewire.toml"), &environment).unwrap().config;
    let connection = &config.connection;
    assert_eq!((connection.thing.as_str(), connection.client_id.as_str(), connection.is_named), ("gw-7", "gw-7", true));
    assert_eq!((config.publications().len(), config.bridges().count(), config.services().len()), (2, 2, 2));
    assert_eq!(config.ingest[0].topics[0].as_str(), "g/gw-7/#");
    assert!(!config.ingest[0].awaits_name);
    assert_eq!(config.publish[0].payload.constant(), Some("gw-7"));
}

#[test]
fn the_client_id_of_a_thing_is_what_the_configuration_makes_of_it() {
    let of = |written: &str, thing: &str| {
        let text = format!("{}{PROVISIONING}", CONNECTION.replace("thing-1", written));
        load(&text, &[]).unwrap().0.provisioning.unwrap().client_id_of(thing)
    };
    assert_eq!(of("{{thing}}", "gw-7").unwrap(), "gw-7");
    assert_eq!(of("{{thing}}-{{hostname}}", "gw-7").unwrap(), "gw-7-pi4");
    assert_eq!(of("fixed", "gw-7").unwrap(), "fixed");
    assert_eq!(of("{{thing}}", &"x".repeat(128)).unwrap().len(), 128);
    let fault = of("{{thing}}-{{hostname}}", &"x".repeat(125)).unwrap_err();
    assert!(fault.starts_with("has 125 characters, and with more than 124 the"), "{fault}");
    assert!(
        fault.ends_with("gatewire.toml:3: `connection.client_id`: is 129 bytes long, IoT Core takes at most 128"),
        "{fault}"
    );
}

#[test]
fn a_name_with_which_the_configuration_cant_be_used_is_refused_before_it_is_put_in_force() {
    let publish =
        |topic: &str| format!("[[publish]]\nname = \"a\"\ntopic = \"{topic}\"\nevery = \"1d\"\npayload = \"x\"\n");
    let forward =
        "[[forward]]\nname = \"b\"\nsocket = \"/run/gatewire/b.sock\"\nfilters = [\"{{thing}}/{{thing}}/x\"]\n";
    let rest = publish(&format!("{}/{{{{thing}}}}", "t".repeat(195)));
    let with = |thing: &str| provisioning(&format!("{rest}{forward}")).client_id_of(thing);
    assert_eq!(with(&"g".repeat(60)).unwrap().len(), 60);
    let fault = with(&"g".repeat(61)).unwrap_err();
    assert!(fault.starts_with("has 61 characters, and with more than 60 the configuration can't be used: "), "{fault}");
    assert!(fault.contains("/{{thing}}\", which can't be used: it is 257 bytes long"), "{fault}");
    // What a start refuses with that name.
    let directory = files(format!("{}{PROVISIONING}{rest}", connection()).as_bytes(), &[]);
    let environment = Environment { thing: |_| Some("g".repeat(61)), ..environment() };
    let refused = read(&directory.path().join("gatewire.toml"), &environment).unwrap_err().errors[0].to_string();
    let refused = refused.replace(&"g".repeat(61), &"x".repeat(61));
    assert_eq!(refused.rsplit_once("gatewire.toml").unwrap().1, fault.rsplit_once("gatewire.toml").unwrap().1);
}

#[test]
fn a_file_that_is_for_something_else_too_isnt_deleted_with_the_claim() {
    let ca = |file: &str| format!("[tls]\nca_file = \"{file}\"\n");
    let published = "[[publish]]\nname = \"a\"\ntopic = \"t\"\nevery = \"1d\"\nfile = \"/c/key\"\n".to_owned();
    for (rest, line, key, file) in [
        (ca("/c/cert"), 7, "claim_cert_file", "/c/cert is the file of `tls.ca_file` at gatewire.toml:11"),
        (published, 8, "claim_key_file", "/c/key is the file of `publish.file` at gatewire.toml:14"),
    ] {
        let refused = wrong(&format!("claim_after = \"delete\"\n{rest}"));
        let text = format!(
            "gatewire.toml:{line}: `provisioning.{key}`: {file}, too, and `claim_after = \"delete\"` deletes it once there is an \
             identity; name a copy of the file here, or write `claim_after = \"keep\"`"
        );
        assert_eq!(refused, [text]);
        provisioning(&rest);
    }
    // What a link leads to goes, too.
    let directory = tempfile::tempdir().unwrap();
    let (file, link) = (directory.path().join("cert"), directory.path().join("link"));
    std::fs::write(&file, "x").unwrap();
    std::os::unix::fs::symlink(&file, &link).unwrap();
    let linked = PROVISIONING.replace("/c/cert", link.to_str().unwrap());
    let linked = format!("{}{linked}claim_after = \"delete\"\n{}", connection(), ca(file.to_str().unwrap()));
    assert!(load(&linked, &[]).unwrap_err()[0].contains("link is the file of `tls.ca_file` at gatewire.toml:11, too"));
    // Certificate and key in one file are the claim.
    let one = PROVISIONING.replace("/c/key", "/c/cert");
    load(&format!("{}{one}claim_after = \"delete\"\n", connection()), &[]).unwrap();
}
