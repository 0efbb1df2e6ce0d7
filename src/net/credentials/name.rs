//! Distinguished names as text.

use x509_parser::objects::oid2abbrev;
use x509_parser::oid_registry::OidRegistry;
use x509_parser::x509::X509Name;

use crate::mqtt::reason::shown;

/// A name in one line, without what isn't fit to be shown.
///
/// It is what `X509Name` displays. But that looks its attributes up in a table of all that may be in a certificate, which is made for it
/// and kept for good, 40 KiB of heap; and they mostly are of the eight that have an abbreviation.
pub(super) fn text_of(name: &X509Name<'_>) -> Box<str> {
    let no_others = OidRegistry::default();
    let is_short = name.iter_attributes().all(|attribute| oid2abbrev(attribute.attr_type(), &no_others).is_ok());
    let text = if is_short { name.to_string_with_registry(&no_others).ok() } else { None };
    shown(&text.unwrap_or_else(|| name.to_string()))
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, DnType, KeyPair};
    use x509_parser::parse_x509_certificate;

    use super::*;

    #[test]
    fn a_name_reads_as_its_parser_shows_it() {
        let serial_number = DnType::CustomDnType(vec![2, 5, 4, 5]);
        let nobodys = DnType::CustomDnType(vec![1, 3, 6, 1, 4, 1, 99999, 1]);
        for (attributes, text) in [
            (vec![], ""),
            (vec![(DnType::CommonName, "AWS IoT Certificate")], "CN=AWS IoT Certificate"),
            (
                vec![
                    (DnType::CountryName, "US"),
                    (DnType::OrganizationName, "Amazon"),
                    (DnType::CommonName, "Amazon Root CA 1"),
                ],
                "C=US, O=Amazon, CN=Amazon Root CA 1",
            ),
            (vec![(DnType::CommonName, "a"), (serial_number, "17")], "CN=a, serialNumber=17"),
            (vec![(nobodys, "b")], "OID(1.3.6.1.4.1.99999.1)=b"),
        ] {
            let mut params = CertificateParams::default();
            params.distinguished_name = rcgen::DistinguishedName::new();
            for (kind, value) in attributes {
                params.distinguished_name.push(kind, value);
            }
            let certificate = params.self_signed(&KeyPair::generate().unwrap()).unwrap();
            let (_, certificate) = parse_x509_certificate(certificate.der()).unwrap();
            assert_eq!(&*text_of(certificate.subject()), text);
            assert_eq!(certificate.subject().to_string(), text);
        }
    }
}
