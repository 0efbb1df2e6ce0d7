//! What is wrong with a cron pattern, field by field: the parser only says that something is.

use std::ops::RangeInclusive;

/// A field of a pattern.
struct Field {
    name: &'static str,
    range: RangeInclusive<u32>,
    /// What may stand for a number.
    words: &'static [&'static str],
}

const FIELDS: [Field; 6] = [
    Field { name: "second", range: 0..=59, words: &[] },
    Field { name: "minute", range: 0..=59, words: &[] },
    Field { name: "hour", range: 0..=23, words: &[] },
    Field { name: "day of the month", range: 1..=31, words: &[] },
    Field {
        name: "month",
        range: 1..=12,
        words: &["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"],
    },
    Field { name: "day of the week", range: 0..=7, words: &["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"] },
];

/// Why `pattern`, which the parser refuses, isn't one; the text follows the pattern and a colon.
pub(super) fn fault(pattern: &str) -> String {
    let fields: Vec<&str> = pattern.split_whitespace().collect();
    let known = match fields.len() {
        5 => &FIELDS[1..],
        6 => &FIELDS[..],
        n => {
            let fields = if n == 1 { "field" } else { "fields" };
            return format!(
                "it has {n} {fields}, there must be five (minute, hour, day of the month, month, day of the week), or six with \
                 seconds in front"
            );
        }
    };
    let mut faults = fields.iter().zip(known).filter_map(|(text, field)| field.fault(text));
    faults.next().unwrap_or_else(|| "its fields can't be read together".to_owned())
}

impl Field {
    fn fault(&self, text: &str) -> Option<String> {
        let (least, most) = (self.range.start(), self.range.end());
        let name = self.name;
        for item in text.split(',') {
            let (range, step) = item.split_once('/').map_or((item, None), |(range, step)| (range, Some(step)));
            if let Some(step) = step {
                match step.parse::<u32>() {
                    Ok(0) | Err(_) => {
                        return Some(format!("the {name} `{item}` has no step after the `/`, as in `*/5`"));
                    }
                    Ok(step) if step > *most => {
                        return Some(format!(
                            "the step {step} of the {name} is out of range, it must be from 1 to {most}"
                        ));
                    }
                    Ok(step) if !range.contains(['*', '-', '?']) => {
                        return Some(format!(
                            "the {name} `{item}` has a step but no range; write `*/{step}` or `{range}-{most}/{step}`"
                        ));
                    }
                    Ok(_) => {}
                }
            }
            if matches!(range, "*" | "?") {
                continue;
            }
            let mut ends = Vec::new();
            for end in range.split('-') {
                // `L`, `#` and `W` belong to the parser; what they stand beside is a number all the same.
                let bare = end
                    .trim_end_matches(['L', 'l', 'W', 'w'])
                    .split('#')
                    .next()
                    .unwrap_or_default()
                    .trim_start_matches('+');
                if bare.is_empty() && !end.is_empty() {
                    continue;
                }
                match bare.parse::<u32>() {
                    Ok(number) if self.range.contains(&number) => ends.push(number),
                    Ok(number) => {
                        return Some(format!("the {name} {number} is out of range, it must be from {least} to {most}"));
                    }
                    Err(_) => match self.words.iter().position(|word| word.eq_ignore_ascii_case(bare)) {
                        Some(at) => ends.push(u32::try_from(at).unwrap_or_default() + u32::from(*least == 1)),
                        None => return Some(self.unreadable(end)),
                    },
                }
            }
            if let [from, to] = ends[..]
                && from > to
            {
                return Some(format!("the {name} `{item}` goes backwards; write `{from}-{most},{least}-{to}`"));
            }
        }
        None
    }

    fn unreadable(&self, item: &str) -> String {
        let words = match self.words {
            [first, .., last] => format!(", or from {first} to {last}"),
            _ => String::new(),
        };
        let (least, most) = (self.range.start(), self.range.end());
        format!("the {} `{item}` can't be read; it is `*`, or numbers from {least} to {most}{words}", self.name)
    }
}
