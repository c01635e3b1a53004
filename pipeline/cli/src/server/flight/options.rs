//! Messages about sessions, which the arrow-flight crate has not: those of Flight.proto, by the numbers of their fields.
//! <https://arrow.apache.org/docs/format/Flight.html>

use std::collections::BTreeMap;

use prost::{Enumeration, Message, Oneof};

/// The value of an option.
#[derive(Clone, PartialEq, Message)]
pub(super) struct SessionOptionValue {
    #[prost(oneof = "OptionValue", tags = "1, 2, 3, 4, 5")]
    pub(super) value: Option<OptionValue>,
}

/// The value of an option, by its type.
#[derive(Clone, PartialEq, Oneof)]
pub(super) enum OptionValue {
    #[prost(string, tag = "1")]
    Text(String),
    #[prost(bool, tag = "2")]
    Bool(bool),
    #[prost(sfixed64, tag = "3")]
    Int64(i64),
    #[prost(double, tag = "4")]
    Double(f64),
    #[prost(message, tag = "5")]
    Texts(StringListValue),
}

/// A list of texts.
#[derive(Clone, PartialEq, Message)]
pub(super) struct StringListValue {
    #[prost(string, repeated, tag = "1")]
    pub(super) values: Vec<String>,
}

/// `SetSessionOptions`.
#[derive(Clone, PartialEq, Message)]
pub(super) struct SetSessionOptionsRequest {
    #[prost(btree_map = "string, message", tag = "1")]
    pub(super) session_options: BTreeMap<String, SessionOptionValue>,
}

/// What was wrong with which options.
#[derive(Clone, PartialEq, Message)]
pub(super) struct SetSessionOptionsResult {
    #[prost(btree_map = "string, message", tag = "1")]
    pub(super) errors: BTreeMap<String, OptionError>,
}

/// What was wrong with an option.
#[derive(Clone, PartialEq, Message)]
pub(super) struct OptionError {
    #[prost(enumeration = "OptionFault", tag = "1")]
    pub(super) value: i32,
}

/// What was wrong with an option.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Enumeration)]
#[repr(i32)]
pub(super) enum OptionFault {
    Unspecified = 0,
    InvalidName = 1,
    InvalidValue = 2,
    Failed = 3,
}

/// The answer to `GetSessionOptions`.
#[derive(Clone, PartialEq, Message)]
pub(super) struct GetSessionOptionsResult {
    #[prost(btree_map = "string, message", tag = "1")]
    pub(super) session_options: BTreeMap<String, SessionOptionValue>,
}

/// The answer to `CloseSession`: 1, closed.
#[derive(Clone, PartialEq, Message)]
pub(super) struct CloseSessionResult {
    #[prost(int32, tag = "1")]
    pub(super) status: i32,
}

/// `Status::CLOSED` of [`CloseSessionResult`].
pub(super) const CLOSED: i32 = 1;
