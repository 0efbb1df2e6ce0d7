use super::*;
use crate::message::TopicError;

fn ready(answers: &mut Answers) -> String {
    let mut cx = Context::from_waker(std::task::Waker::noop());
    let _ = answers.poll_ready(&mut cx);
    let text = String::from_utf8(answers.ready().to_vec()).unwrap();
    answers.wrote(text.len());
    text
}

#[test]
fn answers_come_in_the_order_of_the_lines() {
    let mut answers = Answers::default();
    let ((first, first_outcome), (second, second_outcome)) = (oneshot::channel(), oneshot::channel());
    answers.wait_for(Some("\"a7\""), first_outcome);
    answers.wait_for(None, second_outcome);
    answers.reject(Some("17"), &Reject::BadTopic(String::new(), TopicError::Empty));
    second.send(MessageOutcome::Sent).unwrap();
    assert_eq!(ready(&mut answers), "");
    first.send(MessageOutcome::Delivered).unwrap();
    assert_eq!(
        ready(&mut answers),
        "{\"id\":\"a7\",\"result\":\"delivered\"}\n{\"result\":\"sent\"}\n\
         {\"id\":17,\"error\":\"bad_topic\",\"detail\":\"topic ``: it is empty\"}\n"
    );
    assert!(answers.are_empty());
}

#[test]
fn what_is_given_up_is_said_with_its_code() {
    let mut answers = Answers::default();
    for refusal in [Some(Refusal::OutboxFull), Some(Refusal::NotConnected), Some(Refusal::ShuttingDown), None] {
        let (sender, outcome) = oneshot::channel();
        answers.wait_for(None, outcome);
        refusal.map(|refusal| sender.send(MessageOutcome::Refused(refusal)));
    }
    let text = ready(&mut answers);
    let lines = text.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
    let codes: Vec<String> = lines.map(|line| line["error"].as_str().unwrap().to_owned()).collect();
    assert_eq!(codes, ["outbox_full", "not_connected", "shutting_down", "shutting_down"]);
}

#[test]
fn the_memory_of_a_client_that_waits_for_nothing_is_bounded() {
    let mut answers = Answers::default();
    let mut senders = Vec::new();
    while answers.have_room() {
        let (sender, outcome) = oneshot::channel();
        senders.push(sender);
        answers.wait_for(Some("1"), outcome);
    }
    assert_eq!(senders.len(), MAX_WAITING);

    let (mut answers, mut count) = (Answers::default(), 0);
    while answers.have_room() {
        answers.reject(Some(&"9".repeat(1000)), &Reject::BadQos);
        count += 1;
    }
    assert!(answers.ready().len() < MAX_READY + 2000 && count > 10, "{count}");
}

#[test]
fn to_a_client_that_does_not_listen_nothing_is_owed() {
    let mut answers = Answers::default();
    let (sender, outcome) = oneshot::channel();
    answers.wait_for(None, outcome);
    answers.forget();
    answers.reject(None, &Reject::BadQos);
    assert!(answers.are_empty() && answers.have_room());
    assert!(sender.is_closed());
}
