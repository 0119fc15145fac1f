//! What happens to a packet.

pub mod session;
pub mod trace;

pub use session::{FlowError, Session};
