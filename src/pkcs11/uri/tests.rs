//! URIs as people write them.

use super::*;

fn parse(text: &str) -> Result<Uri, String> {
    Uri::parse(text, |path| match path.strip_prefix("$CREDENTIALS_DIRECTORY/") {
        Some(name) => Ok(Path::new("/run/credentials/gatewire.service").join(name)),
        None if path.starts_with('/') => Ok(path.into()),
        None => Err("must be an absolute path".to_owned()),
    })
}

#[test]
fn every_attribute_is_read() {
    let text = "pkcs11:token=The%20Software%20PKCS%2311%20Softtoken;manufacturer=Snake%20Oil,%20Inc.;model=1.0;\
                serial=4a1;library-manufacturer=Maker;library-description=Soft;library-version=2.6;\
                slot-description=Slot;slot-manufacturer=S;slot-id=327;object=my-key&1;type=private;id=%69%95%3E%00?\
                module-path=/usr/lib/m.so&pin-source=file:/etc/token%20pin";
    let uri = parse(text).unwrap();
    let some = |text: &str| Some(text.to_owned());
    let token = Token {
        label: some("The Software PKCS#11 Softtoken"),
        manufacturer: some("Snake Oil, Inc."),
        serial: some("4a1"),
        model: some("1.0"),
    };
    let library = Library { manufacturer: some("Maker"), description: some("Soft"), version: Some((2, 6)) };
    let slot = Slot { description: some("Slot"), manufacturer: some("S"), id: Some(327) };
    let key = Key { label: some("my-key&1"), id: Some(vec![0x69, 0x95, 0x3e, 0]) };
    assert_eq!((&uri.token, &uri.library, &uri.slot, &uri.key), (&token, &library, &slot, &key));
    assert_eq!(uri.module, Path::new("/usr/lib/m.so"));
    assert_eq!(uri.pin_file.as_deref(), Some(Path::new("/etc/token pin")));
    assert_eq!(uri.to_string(), text);
    assert_eq!(uri.key.to_string(), "object \"my-key&1\", id 69953e00");
}

#[test]
fn a_pin_is_in_a_file_however_that_is_named() {
    for (source, path) in [
        ("/etc/pin", "/etc/pin"),
        ("file:/etc/pin", "/etc/pin"),
        ("file:///etc/pin", "/etc/pin"),
        ("FILE://localhost/etc/pin", "/etc/pin"),
        ("$CREDENTIALS_DIRECTORY/pin", "/run/credentials/gatewire.service/pin"),
        ("file:$CREDENTIALS_DIRECTORY/pin", "/run/credentials/gatewire.service/pin"),
        ("/etc/a:b", "/etc/a:b"),
    ] {
        let uri = parse(&format!("PKCS11:object=k?pin-source={source}&module-path=/m.so")).unwrap();
        assert_eq!(uri.pin_file.as_deref(), Some(Path::new(path)), "{source}");
    }
    assert_eq!(parse("pkcs11:?module-path=/m.so").unwrap().pin_file, None);
}

#[test]
fn what_is_wrong_is_said_with_what_to_write_and_without_the_pin() {
    for (text, said) in [
        ("pkcs11:object=k", "names no module"),
        ("pkcs11:object=k;module-path=/m.so", "lacks the `?`"),
        ("pkcs11:object=k;module-path=/m.so?", "`module-path` belongs behind the `?`"),
        ("pkcs11:?object=k&module-path=/m.so", "`object` belongs in front of the `?`"),
        ("pkcs11:object=a;object=b?module-path=/m.so", "has `object` twice"),
        ("pkcs11:objekt=a?module-path=/m.so", "`objekt`; did you mean `object`?"),
        ("pkcs11:x-vendor=a?module-path=/m.so", "`x-vendor`; there are id, library-description"),
        ("pkcs11:object=my key?module-path=/m.so", "`object` has a blank in it, which is written %20"),
        ("pkcs11:object=ü?module-path=/m.so", "which is written %C3%BC"),
        ("pkcs11:object=a/b?module-path=/m.so", "which is written %2F"),
        ("pkcs11:object=100%?module-path=/m.so", "`%` without two hexadecimal digits"),
        ("pkcs11:object=%4?module-path=/m.so", "`%` without two hexadecimal digits"),
        ("pkcs11:object=%+4?module-path=/m.so", "`%` without two hexadecimal digits"),
        ("pkcs11:object=%ff?module-path=/m.so", "`object` isn't UTF-8"),
        ("pkcs11:object=%0a?module-path=/m.so", "`object` has a control character"),
        ("pkcs11:object=?module-path=/m.so", "`object` is empty"),
        ("pkcs11:object=k;?module-path=/m.so", "a part without `=`"),
        ("pkcs11:object=k?module-path=m.so", "`module-path`: must be an absolute path"),
        ("pkcs11:object=k?module-name=softhsm2", "`module-name` isn't supported"),
        ("pkcs11:type=cert?module-path=/m.so", "(`type=cert`) than a private key"),
        ("pkcs11:type=key?module-path=/m.so", "`type` is none of"),
        ("pkcs11:slot-id=+1?module-path=/m.so", "`slot-id` must be a number"),
        ("pkcs11:library-version=2.x?module-path=/m.so", "`library-version` must be like"),
        ("pkcs11:?module-path=/m.so&pin-source=%7C/bin/hunter2", "names a program"),
        ("pkcs11:?module-path=/m.so&pin-source=https:hunter2", "must name a file"),
        ("pkcs11:?module-path=/m.so&pin-value=hunter2", "must not hold a PIN"),
        ("pkcs11:?module-path=/m.so&pin-value=a&hunter2=b", "an attribute that isn't known"),
        ("file:/etc", "must begin with `pkcs11:`"),
    ] {
        let error = parse(text).unwrap_err();
        assert!(error.contains(said) && !error.contains("hunter2"), "{text}: {error}");
    }
    assert!(parse(&format!("pkcs11:object={}?module-path=/m", "x".repeat(MAX_LEN))).unwrap_err().contains("long"));
}
