//! What must happen in the child after a fork: its parent's threads are gone, so its pools are, too.

use std::sync::Once;

/// Registers the handler, once; called before the first pool can be made.
#[cfg(unix)]
#[expect(unsafe_code, reason = "the only way to learn of a fork that does not go through Python")]
pub(super) fn register() {
    extern "C" fn child() {
        crate::parallel::forked();
    }
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // SAFETY: the handler adds to an atomic and does nothing else, which is safe in a child whose other threads are
        // gone; extension modules are never unloaded, so it stays where it is.
        unsafe { libc::pthread_atfork(None, None, Some(child)) };
    });
}

/// Elsewhere there is no fork.
#[cfg(not(unix))]
pub(super) fn register() {}
