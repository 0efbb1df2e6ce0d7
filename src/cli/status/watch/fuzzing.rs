//! Any document in the view.

use std::time::Duration;

use jiff::Timestamp;
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::buffer::Buffer;

use super::look::{Glyphs, Look};
use super::model::{Model, Moment};
use super::view;
use crate::printable::printable;
use crate::status::document::Document;

/// What is drawn on a terminal of this size.
pub(super) fn drawn(model: &Model, now: Moment, look: Look, (width, height): (u16, u16)) -> Buffer {
    let mut terminal = match Terminal::new(TestBackend::new(width, height)) {
        Ok(terminal) => terminal,
        Err(error) => match error {},
    };
    match terminal.draw(|frame| view::draw(model, now, look, frame.buffer_mut())) {
        Ok(_) => {}
        Err(error) => match error {},
    }
    let buffer = terminal.backend().buffer().clone();
    for cell in buffer.content() {
        assert_eq!(printable(cell.symbol()), cell.symbol());
    }
    buffer
}

/// Shows a document, at odd times and sizes.
pub(crate) fn view(read: impl Fn() -> Option<Document>) {
    let moment = |wall, seconds| Moment { wall, boot: Duration::from_secs(seconds) };
    let times = [moment(Timestamp::UNIX_EPOCH, 1), moment(Timestamp::MAX, 3), moment(Timestamp::MIN, 2)];
    let mut model = Model::new(times[0]);
    for (now, size) in times.into_iter().zip([(80, 24), (33, 9), (7, 2)]) {
        if let Some(document) = read() {
            model.learn(Ok(document), now);
        }
        drawn(&model, times[1], Look { glyphs: Glyphs::Unicode, has_colours: false }, size);
    }
}
