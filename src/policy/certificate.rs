//! The policy variables of an X.509 certificate, by the names that AWS gives them.

use std::collections::BTreeMap;

use x509_parser::parse_x509_certificate;
use x509_parser::x509::X509Name;

use super::context::Certificate;

/// The attributes of a name: identifier and the end of the variable.
const ATTRIBUTES: [(&str, &str); 13] = [
    ("2.5.4.46", "distinguishednamequalifier"),
    ("2.5.4.6", "country"),
    ("2.5.4.10", "organization"),
    ("2.5.4.11", "organizationalunit"),
    ("2.5.4.8", "state"),
    ("2.5.4.3", "commonname"),
    ("2.5.4.5", "serialnumber"),
    ("2.5.4.12", "title"),
    ("2.5.4.4", "surname"),
    ("2.5.4.42", "givenname"),
    ("2.5.4.43", "initials"),
    ("2.5.4.65", "pseudonym"),
    ("2.5.4.44", "generationqualifier"),
];

/// What the certificate in `der` says of its subject and issuer.
pub(crate) fn variables(der: &[u8]) -> Certificate {
    match parse_x509_certificate(der) {
        Ok((_, certificate)) => {
            let mut fields = BTreeMap::new();
            collect("iot:certificate.subject.", certificate.subject(), &mut fields);
            collect("iot:certificate.issuer.", certificate.issuer(), &mut fields);
            Certificate::Known(fields)
        }
        Err(_) => Certificate::Unknown("cert_file holds no certificate that can be read".to_owned()),
    }
}

fn collect(begin: &str, name: &X509Name<'_>, into: &mut BTreeMap<String, Vec<String>>) {
    for attribute in name.iter_attributes() {
        let identifier = attribute.attr_type().to_id_string();
        let known = ATTRIBUTES.iter().find(|(known, _)| *known == identifier);
        if let (Some((_, end)), Ok(value)) = (known, attribute.as_str()) {
            into.entry(format!("{begin}{end}")).or_default().push(value.to_owned());
        }
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, DnType, KeyPair};

    use super::*;

    #[test]
    fn subject_and_issuer_are_found_by_their_variables() {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name.push(DnType::CommonName, "bulb-1");
        params.distinguished_name.push(DnType::OrganizationalUnitName, "LightBulb");
        let made = params.self_signed(&KeyPair::generate().unwrap()).unwrap();
        let Certificate::Known(fields) = variables(made.der()) else { panic!("unknown") };
        assert_eq!(fields["iot:certificate.subject.commonname"], ["bulb-1"]);
        assert_eq!(fields["iot:certificate.issuer.organizationalunit"], ["LightBulb"]);
        assert!(!fields.contains_key("iot:certificate.subject.country"));
        assert!(matches!(variables(b"x"), Certificate::Unknown(_)));
    }
}
