//! What is asked of AWS over the link.

use super::Task;
use crate::rotation::asking::Asking;
use crate::rotation::{NoAnswer, Question, Rotations, said};
use crate::services::{Asker, Event, Names, RequestId};

impl Task<'_> {
    pub(super) fn ask(&mut self, question: Question) {
        let service = Asking::service(&question);
        let names = Names { thing: &self.files.thing, template: &self.settings.provisioning.template };
        // It stays subscribed to until it isn't asked any more.
        let filters = service.filters(names).unwrap_or_default();
        let csr = self.csr.as_ref().map_or("", |csr| &csr.pem);
        let request = self.asking().request(&question, csr);
        self.around.services.configure(Asker::Rotation, [(service, filters)].into());
        let id = request.map(|request| self.around.services.ask().ask(request));
        match id {
            Ok(Some(id)) => self.asked = Some((id, question)),
            Ok(None) => {
                let text = "too much is asked of AWS at once".to_owned();
                self.machine.answered(Err(NoAnswer { text, is_final: true }), Rotations::now());
            }
            Err(fault) => self.machine.answered(Err(fault), Rotations::now()),
        }
    }

    pub(super) fn withdraw(&mut self) {
        self.asked = None;
        self.around.services.ask().withdraw_all(Asker::Rotation);
        self.around.services.configure(Asker::Rotation, [].into());
    }

    fn asking(&self) -> Asking<'_> {
        Asking { thing: &self.files.thing, provisioning: &self.settings.provisioning }
    }

    pub(super) fn event(&mut self, event: Event) {
        match event {
            Event::Delayed(id, None, _) => self.unanswered(Some(id), "no answer has come"),
            Event::Ready(_) | Event::Delayed(..) => {}
            Event::Refused(service, why) => {
                if self.asked.take_if(|(_, question)| Asking::service(question) == service).is_some() {
                    let text = format!("IoT Core refuses it: {why}");
                    self.machine.answered(Err(NoAnswer { text, is_final: true }), Rotations::now());
                }
            }
            Event::Answered(id, answer) => {
                let Some((_, question)) = self.asked.take_if(|(asked, _)| *asked == id) else { return };
                let key = self.csr.as_ref().map(|csr| &*csr.key);
                let answered = self.asking().answered(&question, answer, key);
                if let Err(NoAnswer { text, is_final: false }) = &answered {
                    said::unusable(text);
                }
                self.machine.answered(answered, Rotations::now());
            }
        }
    }

    /// Each CreateCertificateFromCsr makes a certificate at AWS, whether its answer comes or not: it isn't sent a second time. `id`: of
    /// which it is known; else it is looked whether it was sent at all.
    pub(super) fn unanswered(&mut self, id: Option<RequestId>, why: &str) {
        let Some((asked, Question::CreateFromCsr)) = self.asked else { return };
        let was_sent = match id {
            Some(id) => id == asked,
            None => !self.around.services.requests().is_unsent(asked),
        };
        if was_sent {
            self.asked = None;
            let text =
                format!("CreateCertificateFromCsr: {why}, and it makes a certificate each time that it is asked");
            self.machine.answered(Err(NoAnswer { text, is_final: true }), Rotations::now());
        }
    }
}
