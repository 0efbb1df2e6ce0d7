//! What nobody may see: keys, passwords, PINs.

use std::fmt;

/// Something that can be used, but neither shown nor logged: it has no `Display`, and its `Debug` says nothing of it. Whoever takes
/// it out ([`Secret::expose`]) can be found by that name.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Secret<T>(T);

impl<T> Secret<T> {
    pub(crate) fn new(secret: T) -> Secret<T> {
        Secret(secret)
    }

    /// While it is put together.
    pub(crate) fn expose_mut(&mut self) -> &mut T {
        &mut self.0
    }

    /// For whom it is meant, never for a message.
    pub(crate) fn expose(&self) -> &T {
        &self.0
    }
}

impl<T> fmt::Debug for Secret<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_of_it_is_shown() {
        let secret = Secret::new("hunter2".to_owned());
        assert_eq!(
            (format!("{secret:?} {secret:#?}"), secret.expose().as_str()),
            ("Secret Secret".to_owned(), "hunter2")
        );
    }
}
