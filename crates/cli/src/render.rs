//! What a trace looks like on the outside: JSON for programs, text for people.

#[cfg(test)]
mod fixture;
pub(crate) mod json;
pub(crate) mod miss;
pub(crate) mod odds;
pub(crate) mod text;
pub(crate) mod view;
