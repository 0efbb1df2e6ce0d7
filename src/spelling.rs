//! What is meant by a name that isn't known: "did you mean ...?", wherever that is asked.

/// The name among `known` that is meant by `name`, if that can be told: one that is spelt almost so, or what others call the
/// same by `other_names` (their name, and the one that is known here).
pub(crate) fn meant<'a>(name: &str, known: &[&'a str], other_names: &[(&str, &str)]) -> Option<&'a str> {
    let plain = |text: &str| text.to_lowercase().replace(['-', ' ', '.'], "_");
    let name = plain(name);
    let without = |text: &str| text.replace('_', "");
    let same = known.iter().find(|known| without(&plain(known)) == without(&name)).copied();
    let other = other_names.iter().find(|(other, key)| without(other) == without(&name) && known.contains(key));
    let other = other.and_then(|(_, key)| known.iter().find(|known| *known == key).copied());
    same.or(other).or_else(|| nearest(&name, known.iter().copied()))
}

/// The name among `known` that is spelt almost like `name`: at most every third letter is another, missing, added or swapped.
pub(crate) fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let lower = name.to_lowercase();
    let scored =
        known.into_iter().map(|candidate| (strsim::damerau_levenshtein(&candidate.to_lowercase(), &lower), candidate));
    let close =
        scored.filter(|(distance, candidate)| distance * 3 <= candidate.chars().count().max(name.chars().count()));
    close.min_by_key(|(distance, _)| *distance).map(|(_, candidate)| candidate)
}
