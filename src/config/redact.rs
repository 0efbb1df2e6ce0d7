//! What stands in a configuration and must not be repeated: the login of a proxy, a key that was pasted where the name of a file
//! belongs. Every remark goes through here, whoever wrote it and whatever it quotes.

/// So many characters of a key in a row tell something of it.
const RUN: usize = 16;

/// What is shown instead.
const HIDDEN: &str = "...";

/// `text` without logins and without what looks like a part of a key.
pub(crate) fn without_secrets(text: &str) -> String {
    without_runs(&without_bare_logins(&without_logins(&without_named(&without_options(&without_keys(text))))))
}

/// Without what stands between the lines that begin and end a PEM section, or behind the first.
fn without_keys(text: &str) -> String {
    let (mut shown, mut rest) = (String::with_capacity(text.len()), text);
    while let Some(begin) = rest.find("-----BEGIN") {
        let label = rest[begin + 5..].find("-----").map_or(begin + 10, |end| begin + 5 + end + 5);
        let ends = [rest[label..].find("-----END"), rest[label..].find(['`', '"'])];
        let end = ends.into_iter().flatten().min().map_or(rest.len(), |end| label + end);
        shown.push_str(&rest[..label]);
        if label < end {
            shown.push_str(HIDDEN);
        }
        rest = &rest[end..];
    }
    shown.push_str(rest);
    shown
}

/// Without the word behind an option that names a secret, as `--password`, or that is a login, as curl's `-u`; and behind the
/// `Bearer` and `Basic` of HTTP.
fn without_options(text: &str) -> String {
    const LOGINS: [&str; 4] = ["-u", "--user", "-U", "--proxy-user"];
    let is_around = |c: char| c.is_whitespace() || "\"'`,[](){}“”".contains(c);
    let mut shown = String::with_capacity(text.len());
    let mut is_secret = false;
    for piece in text.split_inclusive(is_around) {
        let word = piece.trim_end_matches(is_around);
        if word.is_empty() {
            shown.push_str(piece);
            continue;
        }
        match is_secret {
            true => shown.extend([HIDDEN, &piece[word.len()..]]),
            false => shown.push_str(piece),
        }
        let names = word.starts_with('-') && names_a_secret(word.trim_start_matches('-'));
        is_secret = names || LOGINS.contains(&word) || ["bearer", "basic"].contains(&&*word.to_lowercase());
    }
    shown
}

/// Whether a value holds a key or certificate itself.
pub(super) fn holds_a_key(text: &str) -> bool {
    text.contains("-----BEGIN") || runs(text).any(|(start, end)| end - start > 2 * RUN && is_random(&text[start..end]))
}

/// Whether the value of such a key is a secret, whether gatewire knows the key or not.
fn names_a_secret(name: &str) -> bool {
    const PARTS: [&str; 9] =
        ["password", "passwd", "passphrase", "passcode", "secret", "token", "apikey", "credential", "pwd"];
    const WORDS: [&str; 4] = ["pass", "pin", "key", "auth"];
    let plain = name.to_lowercase().replace('-', "_");
    // As a command line becomes that is taken for a key: `curl_-u_me`.
    plain.contains("__")
        || PARTS.iter().any(|part| plain.replace('_', "").contains(part))
        || plain.split('_').any(|word| WORDS.contains(&word))
            && !["key", "key_file", "claim_key_file", "pin_source"].contains(&&*plain)
}

/// Without what is written behind a name such as `password` and its `=` or `:`: up to the end of what is quoted from the file.
fn without_named(text: &str) -> String {
    let is_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
    let (mut shown, mut rest) = (String::with_capacity(text.len()), text);
    while let Some(sign) = rest.find(['=', ':']) {
        let before = rest[..sign].trim_end().trim_end_matches(['"', '\'']);
        let name = &before[before.trim_end_matches(is_name).len()..];
        let after = &rest[sign + 1..];
        shown.push_str(&rest[..=sign]);
        rest = after;
        let value = after.trim_start_matches([' ', '=', '>', '\t']);
        // A sentence may go on behind a colon: only what a key and its value look like is meant.
        if !names_a_secret(name) || value.is_empty() || value.starts_with('`') {
            continue;
        }
        let end = value.rfind('`').unwrap_or(value.len());
        shown.extend([&after[..after.len() - value.len()], HIDDEN]);
        rest = &value[end..];
    }
    shown.push_str(rest);
    shown
}

/// Without what stands between `://` and the last `@`, and in front of an `@` with a colon in it.
fn without_logins(text: &str) -> String {
    let Some(at) = text.rfind('@') else { return text.to_owned() };
    let login = match text[..at].find("://") {
        Some(scheme) => Some(scheme + 3),
        None => {
            let start =
                text[..at].rfind(|c: char| c.is_whitespace() || "\"'`=".contains(c)).map_or(0, |start| start + 1);
            text[start..at].contains(':').then_some(start)
        }
    };
    login.map_or_else(|| text.to_owned(), |start| format!("{}{HIDDEN}{}", &text[..start], &text[at..]))
}

/// Likewise in each word, as there may be several.
fn without_bare_logins(text: &str) -> String {
    let is_end = |c: char| c.is_whitespace() || "\"'`=[],".contains(c);
    let mut shown = String::with_capacity(text.len());
    for word in text.split_inclusive(is_end) {
        match word.rfind('@') {
            Some(at) if word[..at].contains(':') => {
                let start = word[..at].find("://").map_or(0, |scheme| scheme + 3);
                shown.extend([&word[..start], HIDDEN, &word[at..]]);
            }
            _ => shown.push_str(word),
        }
    }
    shown
}

fn without_runs(text: &str) -> String {
    let (mut shown, mut rest) = (String::with_capacity(text.len()), 0);
    for (start, end) in runs(text).filter(|(start, end)| is_random(&text[*start..*end])) {
        shown.push_str(&text[rest..start]);
        shown.push_str(HIDDEN);
        rest = end;
    }
    shown.push_str(&text[rest..]);
    shown
}

/// Where runs of Base64 begin and end.
fn runs(text: &str) -> impl Iterator<Item = (usize, usize)> {
    let is_base64 = |c: char| c.is_ascii_alphanumeric() || "+/=".contains(c);
    text.split(move |c| !is_base64(c)).filter(|run| run.len() >= RUN).map(|run| {
        let start = run.as_ptr() as usize - text.as_ptr() as usize;
        (start, start + run.len())
    })
}

/// Whether letters of both sizes and digits change as they do by chance: in three of five places, and in words far less.
fn is_random(run: &str) -> bool {
    let class = |byte: u8| (byte.is_ascii_uppercase(), byte.is_ascii_lowercase());
    // Paths and topics are parted by slashes.
    let is_change = |pair: &&[u8]| !pair.contains(&b'/') && class(pair[0]) != class(pair[1]);
    let changes = run.as_bytes().windows(2).filter(is_change).count();
    let has = |of: fn(&u8) -> bool| run.as_bytes().iter().any(of);
    // The shorter it is, the more may be by chance.
    let is_often = if run.len() >= 40 { changes * 4 >= run.len() } else { changes * 5 >= run.len() * 2 };
    has(u8::is_ascii_uppercase) && has(u8::is_ascii_lowercase) && is_often
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;

    use super::*;
    use crate::message::BASE64;

    #[test]
    fn no_part_of_a_key_is_repeated() {
        for seed in 0..2000 {
            let mut random = fastrand::Rng::with_seed(seed);
            let bytes: Vec<u8> = (0..48).map(|_| random.u8(..)).collect();
            let line = BASE64.encode(bytes);
            let said =
                without_secrets(&format!("`tls.key_file`: \"-----BEGIN PRIVATE KEY-----\\n{line}\\n\" is no path"));
            assert!(said.starts_with("`tls.key_file`: ") && said.ends_with("is no path"), "{said}");
            for start in 0..=line.len() - RUN {
                assert!(!said.contains(&line[start..start + RUN]), "seed {seed}: {said}");
            }
            assert!(holds_a_key(&line), "seed {seed}: {line}");
        }
    }

    #[test]
    fn no_login_is_repeated() {
        for (text, shown) in [
            ("not TOML, at `http://me:secret@proxy:1`", "not TOML, at `http://...@proxy:1`"),
            ("\"http://me:p@ss/word@proxy:1\" is no path", "\"http://...@proxy:1\" is no path"),
            ("write `endpoint = \"me:secret@proxy\"`", "write `endpoint = \"...@proxy\"`"),
            ("proxy=me:secret@proxy", "proxy=...@proxy"),
            ("[me:secret@proxy] = [\"me:secret@proxy\"]", "[...@proxy] = [\"...@proxy\"]"),
            (
                "text must be in quotes; write `password = \"hunter2\"`",
                "text must be in quotes; write `password = ...`",
            ),
            ("write `a = { url = \"x\", api-token = \"hunter2\" }`", "write `a = { url = \"x\", api-token = ...`"),
            ("write `PROXY_PASSWORD = \"hunter2\"`", "write `PROXY_PASSWORD = ...`"),
            ("\"pkcs11:object=k?pin-value=hunter2\" must be a path", "\"pkcs11:object=k?pin-value=..."),
            ("`?pin-source=file:/etc/pin&pin-value=hunter2`", "`?pin-source=file:/etc/pin&pin-value=...`"),
            ("write `client_pin = \"hunter 2\"`", "write `client_pin = ...`"),
            ("write `x = \"curl --token hunter2 -v\"`", "write `x = \"curl --token ... -v\"`"),
            ("write `command = [\"curl\", \"-u\", \"me:hunter2\"]`", "write `command = [\"curl\", \"-u\", \"...\"]`"),
            ("\"Authorization: Bearer hunter2\" is no topic", "\"Authorization: Bearer ...\" is no topic"),
            (
                "`-----BEGIN X----- hunter2 -----END X-----` is no name",
                "`-----BEGIN X-----...-----END X-----` is no name",
            ),
            ("write `x = \"-----BEGIN X----- hunter2\"`, or", "write `x = \"-----BEGIN X-----...\"`, or"),
            ("write `curl_-u_me = \"hunter2 x\"`", "write `curl_-u_me = ...`"),
        ] {
            assert_eq!(without_secrets(text), shown);
        }
    }

    #[test]
    fn other_words_stay_as_they_are() {
        for text in [
            "\"/etc/gatewire/certs/AmazonRootCA1.pem\" must name a file",
            "\"a1b2c3d4e5f6g7-ats.iot.eu-west-1.amazonaws.com\" TemperatureSensorValue",
            "AWS_IOT_MQTT_PORT_UPDATE 3f2504e0-4f89-41d3-9a0c-0305e82c3301",
            "0a9bfe2c0d4de0ca9fd6e6c6c5bd2ac54a3a1a8a6d1c5ce2f3c4b5a697887766-private.pem.key",
            "/tmp/.tmpQy5rFi/gatewire",
            "someone@example.org",
            "`connection.password`: unknown key; there are ack_timeout, backoff",
            "write `key_file = \"/etc/gatewire/certs/private.pem.key\"`",
            "`connection.keep_alive`: \"30\" isn't a duration such as \"500ms\"",
        ] {
            assert_eq!(without_secrets(text), text);
            assert!(!holds_a_key(text), "{text}");
        }
    }
}
