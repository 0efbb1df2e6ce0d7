use proptest::prelude::*;
use proptest::test_runner::TestCaseError;

use super::super::head::ContentRange;
use super::*;

const MAX: u64 = 1000;

fn etag(name: &str) -> Option<Validator> {
    Some(Validator::Etag(format!("\"{name}\"")))
}

fn known(name: &str, total: u64) -> Known {
    Known { validator: etag(name), total: Some(total) }
}

/// A 206 of the file `name` from 40 on.
fn rest_of(name: &str, total: Option<u64>) -> Head {
    let range = Some(ContentRange { from: Some(40), total });
    Head { status: 206, length: Some(60), range, validator: etag(name), ..Head::default() }
}

fn after_40(head: &Head, known: &Known) -> Next {
    next(head, Ask::From(40), Held { length: 40, known }, MAX)
}

#[test]
fn what_is_there_decides_what_is_asked_for() {
    let ask = |length, total| Held { length, known: &Known { validator: None, total } }.ask(MAX);
    assert_eq!((ask(0, None), ask(0, Some(10))), (Ask::Whole, Ask::Whole));
    assert_eq!((ask(5, None), ask(5, Some(10))), (Ask::From(5), Ask::From(5)));
    assert_eq!((ask(10, Some(10)), ask(11, Some(10))), (Ask::Nothing, Ask::Whole));
    assert_eq!((ask(MAX + 1, None), ask(MAX + 1, Some(MAX + 1))), (Ask::Whole, Ask::Whole));
}

#[test]
fn the_rest_of_the_same_file_is_appended() {
    assert_eq!(after_40(&rest_of("a", Some(100)), &known("a", 100)), Next::Append(known("a", 100)));
    assert_eq!(after_40(&rest_of("a", None), &known("a", 100)), Next::Append(known("a", 100)));
    // The first answer named neither size nor version.
    assert_eq!(after_40(&rest_of("a", Some(100)), &Known::default()), Next::Append(known("a", 100)));
    // Nor does this one: the sum will tell.
    let bare = Head { validator: None, ..rest_of("a", Some(100)) };
    assert_eq!(after_40(&bare, &known("a", 100)), Next::Append(known("a", 100)));
}

#[test]
fn the_rest_of_another_file_is_not() {
    let elsewhere = Head { range: Some(ContentRange { from: Some(39), total: Some(100) }), ..rest_of("a", None) };
    let unsaid = Head { range: None, ..rest_of("a", None) };
    for (head, of) in [
        (rest_of("b", Some(100)), known("a", 100)),
        (rest_of("a", Some(101)), known("a", 100)),
        (elsewhere, known("a", 100)),
        (unsaid, known("a", 100)),
    ] {
        assert_eq!(after_40(&head, &of), Next::AskForAll, "{head:?}");
    }
}

#[test]
fn a_server_that_sends_all_of_it_begins_anew() {
    let all = Head { status: 200, length: Some(90), validator: etag("b"), ..Head::default() };
    assert_eq!(after_40(&all, &known("a", 100)), Next::Anew(known("b", 90)));
    assert_eq!(
        after_40(&Head { length: None, ..all }, &known("a", 100)),
        Next::Anew(Known { validator: etag("b"), total: None })
    );
}

#[test]
fn nothing_behind_what_is_there_is_the_end_or_another_file() {
    let none = |name: &str, total| {
        let range = Some(ContentRange { from: None, total });
        Head { status: 416, range, validator: etag(name), ..Head::default() }
    };
    let unsure = Known { total: None, ..known("a", 0) };
    assert_eq!(after_40(&none("a", Some(40)), &unsure), Next::Complete);
    assert_eq!(after_40(&none("a", Some(39)), &unsure), Next::AskForAll);
    assert_eq!(after_40(&none("b", Some(40)), &unsure), Next::AskForAll);
    assert_eq!(after_40(&none("a", None), &unsure), Next::AskForAll);
    assert_eq!(after_40(&Head { range: None, ..none("a", None) }, &unsure), Next::AskForAll);
}

#[test]
fn what_is_too_large_is_refused_before_a_byte_of_it() {
    let large = |size| Next::Failed(DownloadFault::TooLarge { size: Some(size), max: MAX });
    let all = Head { status: 200, length: Some(MAX + 1), ..Head::default() };
    assert_eq!(after_40(&all, &Known::default()), large(MAX + 1));
    assert_eq!(after_40(&rest_of("a", Some(MAX + 1)), &Known::default()), large(MAX + 1));
    let more = Head { length: Some(MAX), ..rest_of("a", None) };
    assert_eq!(after_40(&more, &Known::default()), large(MAX + 40));
}

#[test]
fn an_answer_to_another_question_is_a_failure() {
    let held = Held { length: 0, known: &Known::default() };
    for status in [100, 204, 206, 300, 304, 400, 403, 404, 416, 500, 999] {
        let head = Head { status, ..Head::default() };
        assert_eq!(next(&head, Ask::Whole, held, MAX), Next::Failed(DownloadFault::status(&head)), "{status}");
    }
    let moved = Head { status: 302, location: Some("/x".to_owned()), ..Head::default() };
    assert_eq!(next(&moved, Ask::Whole, held, MAX), Next::Elsewhere("/x".to_owned()));
    let nowhere = Head { location: None, ..moved };
    assert_eq!(next(&nowhere, Ask::Whole, held, MAX), Next::Failed(DownloadFault::NoLocation { status: 302 }));
}

fn heads() -> impl Strategy<Value = Head> {
    let validators = || {
        proptest::option::of(prop_oneof![
            Just(etag("a").unwrap()),
            Just(etag("b").unwrap()),
            Just(Validator::LastModified("then".to_owned()))
        ])
    };
    let size = || 0..MAX + 50;
    let range = (proptest::option::of(size()), proptest::option::of(size()))
        .prop_map(|(from, total)| ContentRange { from, total });
    let status = prop_oneof![Just(200), Just(206), Just(416), Just(302), Just(503)];
    (status, proptest::option::of(size()), proptest::option::of(range), validators()).prop_map(
        |(status, length, range, validator)| Head {
            status,
            length,
            range,
            validator,
            location: None,
            ..Head::default()
        },
    )
}

proptest! {
    #[test]
    fn nothing_too_large_and_nothing_of_another_place_is_ever_taken(
        head in heads(), length in 0..MAX + 50, total in proptest::option::of(0..MAX + 50), named in any::<bool>()
    ) {
        let known = Known { validator: if named { etag("a") } else { None }, total };
        let held = Held { length, known: &known };
        let ask = held.ask(MAX);
        prop_assert!(ask != Ask::From(0) && ask != Ask::From(MAX + 1));
        for ask in [ask, Ask::Whole] {
            match next(&head, ask, held, MAX) {
                Next::Append(new) => {
                    prop_assert!(ask == Ask::From(length) && head.range.is_some_and(|range| range.from == Some(length)));
                    prop_assert!(new.total.is_none_or(|total| total <= MAX) && head.length.is_none_or(|rest| length + rest <= MAX));
                    prop_assert!(known.total.is_none() || new.total == known.total);
                    prop_assert!(known.validator.is_none() || new.validator == known.validator);
                }
                Next::Anew(new) => prop_assert!(new.total.is_none_or(|total| total <= MAX) && new.total == head.length),
                Next::AskForAll | Next::Complete => prop_assert!(matches!(ask, Ask::From(_))),
                Next::Elsewhere(_) | Next::Failed(_) => {}
            }
        }
    }
}

/// A server of one file, which may be exchanged, and whose answers may end early.
#[derive(Debug, Clone)]
struct Server {
    file: Vec<u8>,
    name: Option<&'static str>,
    ranges: bool,
    if_range: bool,
    says_length: bool,
}

impl Server {
    fn answer(&self, ask: Ask, known: &Known) -> (Head, Vec<u8>) {
        let validator = self.name.and_then(etag);
        let all = self.file.len() as u64;
        let is_same = !self.if_range || known.validator.is_none() || known.validator == validator;
        let length = |bytes: u64| self.says_length.then_some(bytes);
        match ask {
            Ask::From(from) if self.ranges && is_same && from < all => {
                let range = Some(ContentRange { from: Some(from), total: length(all) });
                let head = Head { status: 206, length: length(all - from), range, validator, ..Head::default() };
                (head, self.file[from as usize..].to_vec())
            }
            Ask::From(_) if self.ranges && is_same => {
                let range = Some(ContentRange { from: None, total: Some(all) });
                (Head { status: 416, range, validator, ..Head::default() }, Vec::new())
            }
            _ => (Head { status: 200, length: length(all), validator, ..Head::default() }, self.file.clone()),
        }
    }
}

fn servers() -> impl Strategy<Value = Server> {
    let file = (0u8..3, 1usize..40).prop_map(|(letter, length)| vec![letter; length]);
    let name = proptest::option::of(prop_oneof![Just("a"), Just("b"), Just("c")]);
    (file, name, any::<(bool, bool, bool)>()).prop_map(|(file, name, (ranges, if_range, says_length))| Server {
        file,
        name,
        ranges,
        if_range,
        says_length,
    })
}

proptest! {
    /// Whatever servers did before, the last one's file is there in the end: at once, or after one wrong sum.
    #[test]
    fn the_last_servers_file_is_there_in_the_end(
        before in proptest::collection::vec((servers(), 0usize..40), 0..5), last in servers()
    ) {
        let (mut bytes, mut known) = (Vec::new(), Known::default());
        let ask_once = |server: &Server, cut: usize, bytes: &mut Vec<u8>, known: &mut Known| -> Result<(), TestCaseError> {
            let mut ask = Held { length: bytes.len() as u64, known }.ask(MAX);
            if ask == Ask::Nothing {
                return Ok(());
            }
            loop {
                let (head, body) = server.answer(ask, known);
                match next(&head, ask, Held { length: bytes.len() as u64, known }, MAX) {
                    Next::Append(new) => *known = new,
                    Next::Anew(new) => {
                        *known = new;
                        bytes.clear();
                    }
                    Next::Complete => return Ok(()),
                    Next::AskForAll => {
                        prop_assert!(ask != Ask::Whole);
                        ask = Ask::Whole;
                        continue;
                    }
                    other => return Err(TestCaseError::fail(format!("{other:?}"))),
                }
                bytes.extend(&body[..cut.min(body.len())]);
                return Ok(());
            }
        };
        for (server, cut) in &before {
            ask_once(server, *cut, &mut bytes, &mut known)?;
        }
        let mut sums = 0;
        while bytes != last.file {
            if sums > 0 {
                (bytes, known) = (Vec::new(), Known::default());
            }
            ask_once(&last, usize::MAX, &mut bytes, &mut known)?;
            sums += 1;
            prop_assert!(sums <= 2, "{bytes:?} {known:?}");
        }
    }
}
