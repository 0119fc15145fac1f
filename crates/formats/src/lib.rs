//! Reads what standard tools print.
