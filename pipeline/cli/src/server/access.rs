//! Who may ask. In: the token that was set, of a file or of the environment. Out: whether one that somebody shows is it. Keeps its
//! digest alone, and never shows either.

use std::fmt;
use std::path::Path;

use anyhow::{Context, Result};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use tuwen_settings::WrongSetting;

/// The variable of the environment that may hold the token. No setting: those are shown by `tuwen config` and kept in `runs`.
pub(crate) const TOKEN_VARIABLE: &str = "TUWEN_TOKEN";

/// Letters of a token at least: fewer can be guessed.
const LEAST_TOKEN_LETTERS: usize = 16;

/// Who may ask.
#[derive(Clone)]
pub(crate) struct Access {
    /// Of the token; none: everybody may who reaches the address.
    digest: Option<[u8; 32]>,
}

impl fmt::Debug for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.needs_token() { "who has the token" } else { "everybody" })
    }
}

impl Access {
    /// Everybody may ask: for addresses that only this machine reaches.
    pub(crate) fn open() -> Self {
        Self { digest: None }
    }

    /// Those who have `token`.
    pub(crate) fn of_token(token: &str) -> Self {
        Self { digest: Some(digest(token)) }
    }

    /// Those who have the token of the file, or of `variable` ([`TOKEN_VARIABLE`]); everybody if there is neither.
    ///
    /// # Errors
    /// The file cannot be read, or the token is none.
    pub(crate) fn of_settings(token_file: &str, variable: Option<&str>) -> Result<Self> {
        let (token, origin) = match (token_file, variable) {
            ("", None | Some("")) => return Ok(Self::open()),
            ("", Some(token)) => (token.to_owned(), TOKEN_VARIABLE.to_owned()),
            (file, _) => {
                let text = std::fs::read_to_string(Path::new(file))
                    .with_context(|| format!("serve.token_file: reading {file}"))?;
                (text.trim().to_owned(), format!("serve.token_file, {file}"))
            }
        };
        if token.len() < LEAST_TOKEN_LETTERS || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
            let expected = format!("at least {LEAST_TOKEN_LETTERS} ASCII letters and no blanks");
            let found = format!("{} bytes", token.len());
            return Err(WrongSetting(format!(
                "{origin}: expected a token of {expected}, found {found}\n\
                 hint: openssl rand -hex 32 > token"
            ))
            .into());
        }
        Ok(Self::of_token(&token))
    }

    /// Whether a token has to be shown.
    pub(crate) fn needs_token(&self) -> bool {
        self.digest.is_some()
    }

    /// Whether who shows `token` may ask. Takes as long whatever it is.
    pub(crate) fn allows(&self, token: &str) -> bool {
        self.digest.is_none_or(|expected| expected.ct_eq(&digest(token)).into())
    }

    /// Whether who sent this `Authorization` header (none: no such header) may ask: `Bearer TOKEN`.
    pub(crate) fn allows_header(&self, authorization: Option<&str>) -> bool {
        let token = authorization.and_then(bearer);
        !self.needs_token() || token.is_some_and(|token| self.allows(token))
    }
}

/// The token of `Bearer TOKEN`; the scheme is of any case (RFC 9110).
fn bearer(authorization: &str) -> Option<&str> {
    let (scheme, token) = authorization.trim().split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

/// Digests are compared, so that how long it takes says nothing of the token, nor of its length.
fn digest(token: &str) -> [u8; 32] {
    Sha256::digest(token.as_bytes()).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOKEN: &str = "0123456789abcdef";

    #[test]
    fn only_the_token_is_the_token() {
        let access = Access::of_token(TOKEN);
        for (token, expected) in
            [(TOKEN, true), ("", false), ("0123456789abcdeF", false), ("0123456789abcdef0", false)]
        {
            assert_eq!(access.allows(token), expected, "{token}");
        }
        for (header, expected) in [
            (Some("Bearer 0123456789abcdef"), true),
            (Some("bearer  0123456789abcdef "), true),
            (Some("Basic 0123456789abcdef"), false),
            (Some(TOKEN), false),
            (Some("Bearer"), false),
            (None, false),
        ] {
            assert_eq!(access.allows_header(header), expected, "{header:?}");
        }
        assert!(Access::open().allows("") && Access::open().allows_header(None));
        assert!(!format!("{access:?}").contains("012"));
    }

    #[test]
    fn a_token_comes_of_a_file_or_a_variable() {
        let folder = tempfile::TempDir::new().unwrap();
        let file = folder.path().join("token");
        let file = file.to_str().unwrap();
        std::fs::write(file, format!("{TOKEN}\n")).unwrap();
        assert!(!Access::of_settings("", None).unwrap().needs_token());
        assert!(!Access::of_settings("", Some("")).unwrap().needs_token());
        assert!(Access::of_settings("", Some(TOKEN)).unwrap().allows(TOKEN));
        // The file counts where both are given.
        let access = Access::of_settings(file, Some("another token, another")).unwrap();
        assert!(access.allows(TOKEN));
        std::fs::write(file, "short\n").unwrap();
        let error = Access::of_settings(file, None).unwrap_err().to_string();
        assert!(error.contains("found 5 bytes\nhint: openssl rand"), "{error}");
        assert!(Access::of_settings("", Some("a token with blanks in it")).is_err());
        assert!(Access::of_settings("gone/token", None).is_err());
    }
}
