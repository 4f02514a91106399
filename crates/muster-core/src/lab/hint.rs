//! What of the lab decides nothing.

/// Something that is only told to people. Labs that differ in it alone decide alike, so it is not shown to
/// those who compare labs.
#[derive(Clone, Copy, Default)]
pub(super) struct Hint<T>(pub(super) T);

impl<T> std::fmt::Debug for Hint<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Hint")
    }
}
