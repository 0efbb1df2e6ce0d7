//! The ingest sockets on the page.

use super::{Page, TableRow};
use crate::cli::output::Tone;
use crate::cli::status::words::{causes, total};
use crate::status::document::IngestDocument;

/// What is shown of each wherever ingest sockets are listed.
pub(in crate::cli::status) const HEADS: [&str; 4] = ["INGEST", "CLIENTS", "ACCEPTED", "REFUSED"];

/// The cells below [`HEADS`].
pub(in crate::cli::status) fn cells(ingest: &IngestDocument) -> [String; HEADS.len()] {
    [
        ingest.name.clone(),
        ingest.clients.to_string(),
        ingest.accepted.to_string(),
        total(ingest.refused.values().copied()).to_string(),
    ]
}

impl Page {
    pub(super) fn ingests(&mut self, ingests: &[IngestDocument]) {
        let row = |ingest: &IngestDocument| TableRow {
            cells: cells(ingest).into_iter().chain([ingest.socket.clone()]).collect(),
            below: causes(&ingest.refused).map(|refused| (Tone::Bad, format!("refused: {refused}"))),
        };
        let rows: Vec<TableRow> = ingests.iter().map(row).collect();
        self.rows(&[&HEADS[..], &["SOCKET"]].concat(), &rows);
    }
}
