//! What the kernel derives from addresses: the connected, local and broadcast routes.

use natpath_model::{Family, Link, Route};

/// The routes that the kernel makes for the addresses of links that are up.
#[must_use]
pub fn routes(_links: &[Link], _family: Family) -> Vec<Route> {
    Vec::new()
}
