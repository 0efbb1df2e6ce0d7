//! Anything at the status socket.

use std::path::Path;

use jiff::Timestamp;

use super::{Style, prometheus, table, understood, watch};
use crate::printable::printable;

/// Reads `text` as a status document: the page is lines that no terminal obeys, and the view on terminals of any size, too; the
/// metrics are samples and comments.
pub fn status_document(text: &[u8]) {
    let read = || understood(text, Path::new("status.sock"));
    let Ok(document) = read() else { return };
    watch::fuzzing::view(|| read().ok());
    for now in [Timestamp::MIN, Timestamp::UNIX_EPOCH, Timestamp::MAX] {
        let page = table::table(&document, now, Style::Plain).to_string();
        assert!(page.lines().all(|line| printable(line) == line), "{page:?}");
    }
    for line in prometheus::exposition(&document).lines() {
        let is_sample = line.starts_with("gatewire_")
            && line.rsplit_once(' ').is_some_and(|(_, value)| value.parse::<f64>().is_ok());
        assert!(is_sample || line.starts_with("# HELP ") || line.starts_with("# TYPE "), "{line:?}");
    }
}
