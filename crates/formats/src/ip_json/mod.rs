//! Reads the JSON of iproute2: `ip -j -d addr`, `ip -j route`, `ip -j rule`, `ip -j neigh`.

use natpath_model::{Diagnostic, Family, Link, Neighbour, PolicyRule, Route};

/// `ip -j -d addr`.
pub mod addr {
    use super::*;
    /// Reads links with their addresses.
    ///
    /// # Errors
    /// If the text is not JSON of the expected shape.
    pub fn parse(_text: &str, _file_name: &str) -> Result<(Vec<Link>, Vec<Diagnostic>), Diagnostic> {
        Ok(Default::default())
    }
}
/// `ip -j route show table all`.
pub mod route {
    use super::*;
    /// Reads routes; rows that are visibly of the other family are kept (see `snapshot`).
    ///
    /// # Errors
    /// If the text is not JSON of the expected shape.
    pub fn parse(_text: &str, _file_name: &str, _family: Family) -> Result<(Vec<Route>, Vec<Diagnostic>), Diagnostic> {
        Ok(Default::default())
    }
}
/// `ip -j rule`.
pub mod rule {
    use super::*;
    /// Reads policy rules.
    ///
    /// # Errors
    /// If the text is not JSON of the expected shape.
    pub fn parse(_text: &str, _file_name: &str, _family: Family) -> Result<(Vec<PolicyRule>, Vec<Diagnostic>), Diagnostic> {
        Ok(Default::default())
    }
}
/// `ip -j neigh`.
pub mod neigh {
    use super::*;
    /// Reads neighbours.
    ///
    /// # Errors
    /// If the text is not JSON of the expected shape.
    pub fn parse(_text: &str, _file_name: &str) -> Result<(Vec<Neighbour>, Vec<Diagnostic>), Diagnostic> {
        Ok(Default::default())
    }
}
