//! A setting as a row of a table: its key, what it means, what it may be, and how it is read and
//! written. The macros here turn one declaration into a struct, its defaults and its rows, or into
//! an enum and its names.

use anyhow::{Context, Result};
use toml::Value;

use crate::Settings;
use crate::allowed::Allowed;

/// One setting.
#[derive(Clone, Copy, Debug)]
pub struct Key {
    /// Dotted, as in `decode.size`.
    pub name: &'static str,
    /// What it is, in sentences; the first stands for all where there is little room.
    pub help: &'static str,
    /// What it may be.
    pub allowed: Allowed,
    pub(crate) get: fn(&Settings) -> Result<Value, toml::ser::Error>,
    pub(crate) set: fn(&mut Settings, Value) -> Result<(), toml::de::Error>,
}

impl Key {
    /// The key without its section.
    pub fn short_name(&self) -> &'static str {
        self.name.rsplit_once('.').map_or(self.name, |(_, name)| name)
    }

    /// The first sentence of the help, without its full stop.
    pub fn summary(&self) -> &'static str {
        let first = self.help.split_once(". ").map_or(self.help, |(first, _)| first);
        first.trim_end_matches('.')
    }

    /// The variable of the environment that gives it.
    pub fn variable(&self) -> String {
        format!("TUWEN_{}", self.name.replace('.', "_").to_uppercase())
    }

    /// Its value in `settings`.
    ///
    /// # Errors
    /// A number beyond TOML's 64 bits with a sign; none that was given to `resolve` is.
    pub fn value(&self, settings: &Settings) -> Result<Value> {
        (self.get)(settings).with_context(|| self.name)
    }

    /// Sets it to a value that is allowed.
    pub(crate) fn set(&self, settings: &mut Settings, value: Value) -> Result<()> {
        (self.set)(settings, value).with_context(|| self.name)
    }
}

/// The settings of one table of `tuwen.toml`.
#[derive(Clone, Copy, Debug)]
pub struct Section {
    /// As in `[decode]`; empty for the settings above all tables.
    pub name: &'static str,
    /// What they are about.
    pub help: &'static str,
    /// In the order in which they are declared.
    pub keys: &'static [Key],
}

/// All sections; the first is that of the settings above all tables.
pub fn sections() -> impl Iterator<Item = Section> {
    let top = Section { name: "", help: "What all commands have.", keys: Settings::KEYS };
    std::iter::once(top).chain(Settings::SECTIONS.iter().copied())
}

/// All settings, section by section.
pub fn keys() -> impl Iterator<Item = &'static Key> {
    sections().flat_map(|section| section.keys)
}

/// The setting of that dotted name, or none.
pub(crate) fn find(name: &str) -> Option<&'static Key> {
    keys().find(|key| key.name == name)
}

/// Declares settings. `("fetch.", settings => settings.fetch)` is what their keys begin with and
/// where they are in [`Settings`]; a line is `name: type = default, allowed;` and its doc comment
/// is its help.
macro_rules! settings {
    (
        $(#[doc = $struct_doc:literal])+
        pub struct $struct:ident($prefix:literal, $root:ident => $place:expr) {
            $(
                $(#[doc = $doc:literal])+
                $field:ident: $type:ty = $default:expr, $allowed:expr;
            )+
        }
        $(
            sections {
                $(
                    $(#[doc = $section_doc:literal])+
                    $section:ident: $section_type:ty;
                )+
            }
        )?
    ) => {
        $(#[doc = $struct_doc])+
        #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
        #[serde(deny_unknown_fields, default)]
        pub struct $struct {
            $(
                $(#[doc = $doc])+
                pub $field: $type,
            )+
            $($(
                $(#[doc = $section_doc])+
                pub $section: $section_type,
            )+)?
        }

        impl Default for $struct {
            fn default() -> Self {
                Self {
                    $($field: $default,)+
                    $($($section: Default::default(),)+)?
                }
            }
        }

        impl $struct {
            /// Its settings, in the order in which they are declared.
            pub const KEYS: &[crate::key::Key] = &[$(
                crate::key::Key {
                    name: concat!($prefix, stringify!($field)),
                    help: concat!($($doc),+).trim_ascii(),
                    allowed: $allowed,
                    get: |$root| toml::Value::try_from(&$place.$field),
                    set: |$root, value| {
                        $place.$field = value.try_into()?;
                        Ok(())
                    },
                },
            )+];

            $(
                /// Its sections, in the order in which they are declared.
                pub(crate) const SECTIONS: &[crate::key::Section] = &[$(
                    crate::key::Section {
                        name: stringify!($section),
                        help: concat!($($section_doc),+).trim_ascii(),
                        keys: <$section_type>::KEYS,
                    },
                )+];
            )?
        }
    };
}
pub(crate) use settings;

/// Declares an enum whose values are words in settings; a line is `Variant = "word",`.
macro_rules! choices {
    (
        $(#[$attribute:meta])+
        pub enum $enum:ident {
            $(
                $(#[$variant_attribute:meta])+
                $variant:ident = $word:literal,
            )+
        }
    ) => {
        $(#[$attribute])+
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
        pub enum $enum {
            $(
                $(#[$variant_attribute])+
                #[serde(rename = $word)]
                $variant,
            )+
        }

        impl $enum {
            /// All of them.
            pub const ALL: [Self; Self::NAMES.len()] = [$(Self::$variant),+];

            /// Their names in settings.
            pub const NAMES: &[&str] = &[$($word),+];

            /// Its name in settings.
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $word,)+
                }
            }

            /// The one of that name, or none.
            pub fn of(name: &str) -> Option<Self> {
                Self::ALL.into_iter().find(|one| one.name() == name)
            }
        }
    };
}
pub(crate) use choices;
